//! Control groups that bound the CPU time of processes (cgroups(7)): `cpu.max` in cgroup v2, `cpu.cfs_quota_us` in v1.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, access};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a group may take to become empty when all that was in it is about to end: to end takes CPU time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where this process may make groups that bound CPU time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuController {
    version: Version,
    base: PathBuf,
}

/// The two generations of cgroups; a machine has its CPU controller in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Groups below one of their own, which processes enter one by one. Dropping this removes none.
///
/// It reaches them even when something is mounted over the cgroup file system.
#[derive(Debug)]
pub struct CpuGroups {
    version: Version,
    base: File,
    name: String,
}

/// What the processes of a group have had since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// CPU time. In v1 without `cpuacct` beside `cpu`, that of the processes that live.
    pub used: Duration,
    /// For how long they were held back, having used up their quota.
    pub throttled: Duration,
    /// Periods in which one of them ran.
    pub periods: u64,
    /// Those of them in which they were held back.
    pub periods_throttled: u64,
}

impl CpuController {
    /// The first group that may be given others below it: for root from the top, for anybody else from the group that this
    /// process is in upwards, which is where delegated ones are.
    ///
    /// # Errors
    /// `Unsupported` when there is none.
    pub fn find(root: bool) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let found = candidates(&mounts, &own, root).into_iter().find(Self::is_usable);
        found.ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "there is no cgroup with a CPU controller to write to")
        })
    }

    /// Where a group of this name would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Makes a group for others; an empty one of this name is replaced.
    ///
    /// # Errors
    /// `ResourceBusy` when there is one that is not empty, or the kernel refuses.
    pub fn create(&self, name: &str) -> io::Result<CpuGroups> {
        remove(&self.path(name))?;
        let groups =
            CpuGroups { version: self.version, base: File::open(&self.base)?, name: name.to_owned() };
        if self.version == Version::V2 && !has_cpu(&self.base.join("cgroup.subtree_control")) {
            fs::write(self.base.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir(groups.dir())?;
        if self.version == Version::V2 {
            fs::write(groups.dir().join("cgroup.subtree_control"), "+cpu")?;
        }
        Ok(groups)
    }

    fn is_usable(&self) -> bool {
        let is_ours = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
        let in_base = |file: &str| self.base.join(file);
        match self.version {
            Version::V1 => is_ours(&self.base),
            Version::V2 => {
                // Processes are moved with the rights of the group that is above where they come from and where they go
                // to. But for the topmost one, a group with processes cannot hand its controllers down.
                let may_enable = || {
                    !in_base("cgroup.type").exists()
                        || fs::read_to_string(in_base("cgroup.procs")).is_ok_and(|list| list.is_empty())
                };
                is_ours(&self.base)
                    && is_ours(&in_base("cgroup.procs"))
                    && has_cpu(&in_base("cgroup.controllers"))
                    && (has_cpu(&in_base("cgroup.subtree_control")) || may_enable())
            }
        }
    }
}

impl CpuGroups {
    /// Makes a group whose processes together get `quota` of CPU time in each `period`, both 1 ms to 1 s.
    ///
    /// # Errors
    /// It exists, or the kernel refuses.
    pub fn add(&self, group: &str, quota: Duration, period: Duration) -> io::Result<()> {
        let dir = self.dir().join(group);
        let (quota, period) = (quota.as_micros(), period.as_micros());
        fs::create_dir(&dir)?;
        match self.version {
            Version::V2 => fs::write(dir.join("cpu.max"), format!("{quota} {period}")),
            Version::V1 => fs::write(dir.join("cpu.cfs_period_us"), period.to_string())
                .and_then(|()| fs::write(dir.join("cpu.cfs_quota_us"), quota.to_string())),
        }
    }

    /// The file of a group into which a process writes `0` to enter.
    ///
    /// # Errors
    /// There is no such group.
    pub fn entrance(&self, group: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.dir().join(group).join("cgroup.procs"))
    }

    /// What the processes of a group have had.
    ///
    /// # Errors
    /// There is no such group.
    pub fn usage(&self, group: &str) -> io::Result<CpuUsage> {
        let dir = self.dir().join(group);
        let stat = fs::read_to_string(dir.join("cpu.stat"))?;
        let figure = |name| figure(&stat, name);
        let (used, throttled) = match self.version {
            Version::V2 => {
                (Duration::from_micros(figure("usage_usec")), Duration::from_micros(figure("throttled_usec")))
            }
            Version::V1 => (used_v1(&dir)?, Duration::from_nanos(figure("throttled_time"))),
        };
        let (periods, periods_throttled) = (figure("nr_periods"), figure("nr_throttled"));
        Ok(CpuUsage { used, throttled, periods, periods_throttled })
    }

    /// Ends whoever is in one of them, and removes them all.
    ///
    /// # Errors
    /// Somebody does not end.
    pub fn end(&self) -> io::Result<()> {
        remove_tree(&self.dir(), true)
    }

    fn dir(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.base.as_raw_fd().to_string()).join(&self.name)
    }
}

/// Removes a group and those below it, when nobody is in them any more, for which it waits a moment. There need not be any.
///
/// # Errors
/// `ResourceBusy` when somebody stays.
pub fn remove(group: &Path) -> io::Result<()> {
    remove_tree(group, false)
}

fn remove_tree(group: &Path, end: bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_one(&entry.path(), end, deadline)?;
        }
    }
    remove_one(group, end, deadline)
}

fn remove_one(group: &Path, end: bool, deadline: Instant) -> io::Result<()> {
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The kernel tells nobody, in v1, when a group becomes empty.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                if end {
                    lift_quota(group)?;
                    kill_all(group)?;
                }
                sleep(Duration::from_millis(1));
            }
            removed => return removed,
        }
    }
}

/// Who is held back would take long to end.
fn lift_quota(group: &Path) -> io::Result<()> {
    for (file, unlimited) in [("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")] {
        let file = group.join(file);
        if file.exists() {
            fs::write(file, unlimited)?;
        }
    }
    Ok(())
}

fn kill_all(group: &Path) -> io::Result<()> {
    let processes = fs::read_to_string(group.join("cgroup.procs"))?;
    // 0 stands for one that this process cannot see.
    for pid in processes.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0) {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn used_v1(dir: &Path) -> io::Result<Duration> {
    if let Ok(used) = fs::read_to_string(dir.join("cpuacct.usage")) {
        return Ok(Duration::from_nanos(used.trim().parse().unwrap_or(0)));
    }
    let tasks = fs::read_to_string(dir.join("tasks"))?;
    // proc_pid_schedstat: the first number is the time on a processor. A task may end while it is asked.
    let used = tasks.lines().filter_map(|task| {
        let stat = fs::read_to_string(format!("/proc/{task}/schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok(Duration::from_nanos(used.sum()))
}

/// A figure of a file with lines of a name and a number.
fn figure(stat: &str, name: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|figure| figure.parse().ok()).unwrap_or(0)
}

fn has_cpu(list: &Path) -> bool {
    fs::read_to_string(list).is_ok_and(|list| list.split_whitespace().any(|controller| controller == "cpu"))
}

/// The groups above this process that can be reached, as `/proc/self/mountinfo` and `/proc/self/cgroup` show them.
fn candidates(mounts: &str, own: &str, root: bool) -> Vec<CpuController> {
    let mut candidates = Vec::new();
    for line in mounts.lines() {
        // proc_pid_mountinfo(5): what is behind the dash is the file system's.
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let (mount, system): (Vec<_>, Vec<_>) = (mount.split(' ').collect(), system.split(' ').collect());
        let (&[_, _, _, top, point, ..], &[kind, _, options]) = (&mount[..], &system[..]) else { continue };
        let has_cpu = |list: &str| list.split(',').any(|option| option == "cpu");
        let version = match kind {
            "cgroup2" => Version::V2,
            "cgroup" if has_cpu(options) => Version::V1,
            _ => continue,
        };
        let own = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let is_it = if version == Version::V2 { controllers.is_empty() } else { has_cpu(controllers) };
            Path::new(path).strip_prefix(top).ok().filter(|_| is_it)
        });
        // What lies outside of what is mounted cannot be reached.
        let own = own.filter(|path| path.components().all(|part| matches!(part, Component::Normal(_))));
        let ancestors = own.unwrap_or(Path::new("")).ancestors();
        let mut found: Vec<_> =
            ancestors.map(|path| CpuController { version, base: Path::new(point).join(path) }).collect();
        if root {
            found.reverse();
        }
        candidates.append(&mut found);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(mounts: &str, own: &str, root: bool) -> Vec<(Version, String)> {
        let found = candidates(mounts, own, root).into_iter();
        found.map(|it| (it.version, it.base.to_string_lossy().trim_end_matches('/').to_owned())).collect()
    }

    #[test]
    fn groups_are_looked_for_from_ones_own_upwards_and_by_root_downwards() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/user.slice/run.scope\n";
        let [top, slice, scope] = ["", "/user.slice", "/user.slice/run.scope"]
            .map(|path| (Version::V2, format!("/sys/fs/cgroup{path}")));
        assert_eq!(bases(v2, own, false), [scope.clone(), slice.clone(), top.clone()]);
        assert_eq!(bases(v2, own, true), [top.clone(), slice, scope]);
        // Outside of this cgroup namespace, and a mount of a part.
        assert_eq!(bases(v2, "0::/../other\n", false), std::slice::from_ref(&top));
        let part = v2.replace("0:26 / ", "0:26 /user.slice ");
        assert_eq!(bases(&part, own, false)[0].1, "/sys/fs/cgroup/run.scope");
    }

    #[test]
    fn of_the_first_generation_it_is_the_hierarchy_of_the_cpu_controller() {
        let mounts = "22 21 0:21 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                      23 21 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      24 21 0:23 / /proc rw - proc proc rw\n";
        let own = "3:cpuset:/\n2:cpu,cpuacct:/job\n1:name=systemd:/x\n";
        let expected = ["/job", ""].map(|path| (Version::V1, format!("/sys/fs/cgroup/cpu,cpuacct{path}")));
        assert_eq!(bases(mounts, own, false), expected);
        assert_eq!(bases("garbage - cgroup2\n- - -\n", "::", true), []);
    }

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let stat = "usage_usec 12\nnr_periods 3\nnr_throttled 2\nthrottled_usec 99\n";
        assert_eq!(["nr_periods", "nr_throttled", "usage"].map(|name| figure(stat, name)), [3, 2, 0]);
    }
}
