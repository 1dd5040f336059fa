//! What labs must leave as it was: the host's network devices and mounts, and nobody's namespaces and processes.

use nix::unistd::geteuid;
use samp_sys::cgroup::CpuController;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// The host, seen from outside of any lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Network interfaces in the host's own namespace.
    pub links: BTreeSet<String>,
    /// Mounts in the host's own namespace.
    pub mounts: BTreeSet<String>,
    /// Network, PID, mount and user namespaces that some process is in.
    pub namespaces: BTreeSet<String>,
    /// Processes of samp-lab.
    pub processes: BTreeSet<String>,
    /// Control groups of labs.
    pub groups: BTreeSet<String>,
}

impl Host {
    /// The host as it is now.
    pub fn look() -> Self {
        let mut host = Self {
            links: names_in("/sys/class/net"),
            mounts: fs::read_to_string("/proc/self/mountinfo")
                .expect("mounts")
                .lines()
                .map(str::to_owned)
                .collect(),
            namespaces: BTreeSet::new(),
            processes: BTreeSet::new(),
            groups: groups(),
        };
        for pid in names_in("/proc").iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            // What has ended and only waits for the host's init to collect its status is not there any more.
            if has_ended(pid) {
                continue;
            }
            for kind in ["net", "pid", "mnt", "user"] {
                // A process may end while it is looked at.
                if let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/{kind}")) {
                    host.namespaces.insert(namespace.to_string_lossy().into_owned());
                }
            }
            if let Ok(program) = fs::read_link(format!("/proc/{pid}/exe"))
                && program.file_name().is_some_and(|name| name == "samp-lab")
            {
                host.processes.insert(format!("{pid} {}", program.display()));
            }
        }
        host
    }

    /// Waits until the host is as it was, for `limit` at most, as the kernel frees namespaces by and by.
    ///
    /// # Panics
    /// When it is not, with the difference.
    #[track_caller]
    pub fn wait_until_as_before(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let now = Self::look();
            // Namespaces and processes that others had may have gone; what counts is that none are new.
            let nothing_new =
                now.namespaces.is_subset(&self.namespaces) && now.processes.is_subset(&self.processes);
            let nothing_new = nothing_new && now.groups.is_subset(&self.groups);
            if nothing_new && now.links == self.links && now.mounts == self.mounts {
                return;
            }
            assert!(Instant::now() < deadline, "the host is not as it was: {}", self.difference(&now));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn difference(&self, now: &Self) -> String {
        let parts = [
            ("links", &self.links, &now.links),
            ("mounts", &self.mounts, &now.mounts),
            ("namespaces", &self.namespaces, &now.namespaces),
            ("processes", &self.processes, &now.processes),
            ("control groups", &self.groups, &now.groups),
        ];
        let differences =
            parts.iter().filter(|(_, before, after)| before != after).map(|(what, before, after)| {
                format!(
                    "{what}: new {:?}, gone {:?}",
                    after.difference(before).collect::<Vec<_>>(),
                    before.difference(after).collect::<Vec<_>>()
                )
            });
        differences.collect::<Vec<_>>().join("; ")
    }
}

fn names_in(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}

/// Where labs of this user have their control groups; none where they can have none.
fn groups() -> BTreeSet<String> {
    let Ok(controller) = CpuController::find(geteuid().is_root()) else { return BTreeSet::new() };
    let names = names_in(controller.path("").to_str().expect("UTF-8"));
    names.into_iter().filter(|name| name.starts_with("samp-lab.")).collect()
}

fn has_ended(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state follows the name, which is in parentheses and may contain any.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}
