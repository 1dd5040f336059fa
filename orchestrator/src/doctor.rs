//! What labs need of a machine: each need is tried out, in fresh namespaces as `up` makes them.

use crate::plan::Machine;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use samp_emulation::{DelayLine, LineSpec};
use samp_sys::cgroup::CpuController;
use samp_sys::multicast::{MulticastRouter, Version};
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{Batch, Netlink, VethEnd};
use samp_sys::{netem, process};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

/// The hidden sub-command that runs [`probe`].
const PROBE_COMMAND: &str = "__probe";
/// The oldest kernel that has all system calls needed (epoll_pwait2).
const OLDEST_KERNEL: (u32, u32) = (5, 11);
/// Open files that a lab of a thousand nodes needs, about.
const FILES: u64 = 4096;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Labs run, but not as well as they could.
    Lacking,
    /// Labs cannot run.
    Missing,
}

/// Looks at the machine and tries out everything that a lab needs.
pub fn examine() -> Vec<Check> {
    let root = nix::unistd::geteuid().is_root();
    let mut checks = vec![kernel(), user(root), files(), cpu_quota(root)];
    match probe_in_namespaces(!root) {
        Ok(found) => {
            checks.push(good("namespaces", "PID, mount, network, IPC and UTS namespaces can be created"));
            checks.extend(found);
        }
        Err(error) => checks.push(missing("namespaces", &error, namespaces_remedy(root))),
    }
    checks
}

/// Tries out what only fresh namespaces allow; to be called as process 1 of its own.
pub fn probe() -> Vec<Check> {
    let try_one = |name: &str, attempt: fn() -> Result<String, Box<dyn Error>>, remedy: &str| match attempt()
    {
        Ok(found) => good(name, found),
        Err(error) => missing(name, &*error, remedy),
    };
    vec![
        try_one("veth", veth, "load the module: `modprobe veth`"),
        try_one("multicast routing", multicast, "use a kernel with CONFIG_IP_MROUTE"),
        try_one("packet sockets", packet_socket, "load the module: `modprobe af_packet`"),
        netem(),
        tunnels(),
        realtime(),
    ]
}

/// Runs this program's [`PROBE_COMMAND`] in fresh namespaces and reads what it found.
fn probe_in_namespaces(rootless: bool) -> io::Result<Vec<Check>> {
    let executable = std::env::current_exe()?;
    let (mut reader, writer) = io::pipe()?;
    let stderr = io::stderr();
    let inherited = [(1, writer.as_fd()), (2, stderr.as_fd())];
    let child = process::spawn_pid1(&executable, &[PROBE_COMMAND.into()], &inherited, rootless)?;
    drop(writer);
    let mut found = Vec::new();
    reader.read_to_end(&mut found)?;
    child.wait()?;
    Ok(serde_json::from_slice(&found)?)
}

fn kernel() -> Check {
    let release = match nix::sys::utsname::uname() {
        Ok(name) => name.release().to_string_lossy().into_owned(),
        Err(error) => return missing("kernel", &error, "run on Linux"),
    };
    let (major, minor) = OLDEST_KERNEL;
    if version(&release).is_some_and(|version| version >= OLDEST_KERNEL) {
        return good("kernel", release);
    }
    missing("kernel", &*Box::<dyn Error>::from(release), format!("use Linux {major}.{minor} or newer"))
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn user(root: bool) -> Check {
    if root {
        return good("privilege", "root");
    }
    let limit = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    if limit("/proc/sys/user/max_user_namespaces") == Some(0)
        || limit("/proc/sys/kernel/unprivileged_userns_clone") == Some(0)
    {
        let found = Box::<dyn Error>::from("no root, and user namespaces are forbidden");
        return missing("privilege", &*found, "use sudo");
    }
    good("privilege", "no root, labs run in user namespaces")
}

fn namespaces_remedy(root: bool) -> &'static str {
    if root {
        "inside a container, run it privileged (CAP_SYS_ADMIN); otherwise use a kernel with all namespaces"
    } else {
        "use sudo, or permit user namespaces: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu, \
         `sysctl kernel.unprivileged_userns_clone=1` on Debian"
    }
}

fn files() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= FILES => good("open files", format!("up to {hard}")),
        Ok((_, hard)) => lacking(
            "open files",
            format!("{hard} at most"),
            "raise the limit for large labs: `ulimit -Hn 65536`, or LimitNOFILE in systemd",
        ),
        Err(error) => missing("open files", &error, "run on Linux"),
    }
}

/// By giving a quota to a group of nobody's.
fn cpu_quota(root: bool) -> Check {
    const NAME: &str = "CPU quotas";
    const REMEDY: &str = "for `server_cpu` use sudo, or a delegated cgroup: \
                          `systemd-run --user --scope -p Delegate=yes samp-lab …`";
    let name = format!("samp-lab.{}.doctor", std::process::id());
    let tried = CpuController::find(root).and_then(|controller| {
        let millisecond = Duration::from_millis(1);
        let groups = controller.create(&name)?;
        let added = groups.add("probe", millisecond, 10 * millisecond);
        groups.end()?;
        added.map(|()| controller.path(&name))
    });
    match tried {
        Ok(group) => good(NAME, format!("control groups in {}", group.parent().unwrap_or(&group).display())),
        Err(error) => lacking(NAME, format!("none: {error}"), REMEDY),
    }
}

fn veth() -> Result<String, Box<dyn Error>> {
    let [a, b] = [Namespace::create()?, Namespace::create()?];
    let end = |name, namespace| VethEnd { name, namespace, ..VethEnd::default() };
    let mut batch = Batch::default();
    batch.add_veth(end("probe0", None), end("probe1", Some(&b)));
    Netlink::open_in(&a)?.apply(batch)?;
    Ok("a pair across two namespaces".to_owned())
}

fn multicast() -> Result<String, Box<dyn Error>> {
    let namespace = Namespace::create()?;
    MulticastRouter::open_in(&namespace, Version::Ipv4)?;
    let ipv6 = MulticastRouter::open_in(&namespace, Version::Ipv6);
    Ok(match ipv6 {
        Ok(_) => "IPv4 and IPv6".to_owned(),
        Err(error) => format!("IPv4; no IPv6 ({error}): write `family: ipv4`"),
    })
}

fn packet_socket() -> Result<String, Box<dyn Error>> {
    let open = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map(drop);
    Namespace::create()?.run(open)??;
    Ok("for the delay line".to_owned())
}

fn netem() -> Check {
    const REMEDY: &str = "for netem install the kernel's extra modules (linux-modules-extra on Debian and Ubuntu) \
                          and `modprobe sch_netem`";
    match netem::available() {
        Ok(true) => good("netem", "the kernel has sch_netem"),
        Ok(false) => lacking("netem", "no sch_netem: links use the userspace delay line", REMEDY),
        Err(error) => lacking("netem", error.to_string(), REMEDY),
    }
}

fn tunnels() -> Check {
    const NAME: &str = "ip6tnl";
    const REMEDY: &str =
        "for `tunnels: kernel` install the module `ip6_tunnel`, which comes with most kernels";
    match Machine::has_tunnels() {
        Ok(true) => good(NAME, "the kernel can do Mobile IPv6's tunnels"),
        Ok(false) => lacking(NAME, "none: agents do Mobile IPv6's tunnels", REMEDY),
        Err(error) => lacking(NAME, error.to_string(), REMEDY),
    }
}

/// By starting a delay line that has nothing to do.
fn realtime() -> Check {
    const NAME: &str = "real-time priority";
    const REMEDY: &str = "use sudo, or permit it: `ulimit -r 50`, rtprio in limits.conf";
    let start = || -> Result<bool, Box<dyn Error>> {
        let nothing = LineSpec { pipes: Vec::new(), radios: Vec::new(), access: Vec::new(), seed: 0 };
        Ok(DelayLine::start(&Namespace::create()?, nothing)?.realtime())
    };
    match start() {
        Ok(true) => good(NAME, "SCHED_FIFO for the delay line"),
        Ok(false) => lacking(NAME, "none: delays are less exact under load", REMEDY),
        Err(error) => missing(NAME, &*error, "the delay line must be able to start"),
    }
}

fn good(name: &str, found: impl Into<String>) -> Check {
    Check { name: name.into(), verdict: Verdict::Good, found: found.into(), remedy: None }
}

fn lacking(name: &str, found: impl Into<String>, remedy: &str) -> Check {
    Check { name: name.into(), verdict: Verdict::Lacking, found: found.into(), remedy: Some(remedy.into()) }
}

fn missing(name: &str, error: &(impl Error + ?Sized), remedy: impl Into<String>) -> Check {
    let remedy = Some(remedy.into());
    Check { name: name.into(), verdict: Verdict::Missing, found: error.to_string(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_understood() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.11-rc1"), Some((5, 11)));
        assert_eq!(version("linux"), None);
        assert!(version("5.4.0") < Some(OLDEST_KERNEL));
    }
}
