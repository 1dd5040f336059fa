//! What this machine can do, probed once.

use nix::unistd::geteuid;
use samp_sys::cgroup::CpuController;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// What this machine can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Whether the kernel has sch_netem.
    pub netem: bool,
    /// Whether the kernel lets labs have its switch of BPF programs.
    #[serde(default)]
    pub bpf: bool,
    /// Whether there is a cgroup below which processes can be given CPU quotas.
    #[serde(default)]
    pub cpu_quota: bool,
    /// Whether the kernel has ip6tnl.
    #[serde(default)]
    pub tunnels: bool,
    /// Whether the kernel has IPv6.
    pub ipv6: bool,
    /// Whether labs run as root; else in a user namespace.
    pub root: bool,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// Looks at this machine.
    ///
    /// As root netem is tried in a throw-away namespace. Without root that cannot be done before the lab's own user
    /// namespace exists: there a kernel counts as having netem when it is built in, loaded or installed as a module.
    ///
    /// # Errors
    /// The kernel refuses a network namespace.
    pub fn probe() -> io::Result<Self> {
        let root = geteuid().is_root();
        let kernel = release()?;
        let netem = if root { samp_sys::netem::available()? } else { is_installed(&kernel, "sch_netem") };
        let tunnels = Self::has_tunnels()?;
        let ipv6 = Path::new("/proc/sys/net/ipv6/conf/default/forwarding").exists();
        let bpf = root && samp_emulation::KernelSwitch::is_available();
        let cpu_quota = CpuController::find(root).is_ok();
        Ok(Self { netem, bpf, cpu_quota, tunnels, ipv6, root, kernel })
    }

    /// Whether ip6tnl is built in, loaded or installed as a module. To try it would load it, and then each namespace of the
    /// host has one interface more.
    ///
    /// # Errors
    /// The kernel does not say which it is.
    pub fn has_tunnels() -> io::Result<bool> {
        Ok(is_installed(&release()?, "ip6_tunnel"))
    }
}

fn release() -> io::Result<String> {
    Ok(nix::sys::utsname::uname()?.release().to_string_lossy().into_owned())
}

/// Whether a module of this kernel's is built in, loaded, or can be.
fn is_installed(kernel: &str, module: &str) -> bool {
    let modules = Path::new("/lib/modules").join(kernel);
    Path::new("/sys/module").join(module).exists()
        || ["modules.builtin", "modules.dep"].iter().any(|list| {
            let file = format!("/{module}.ko");
            fs::read_to_string(modules.join(list)).is_ok_and(|list| list.contains(&file))
        })
}
