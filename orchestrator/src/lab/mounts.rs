//! What a lab mounts: `/proc` and `/sys` of its own, which the host never sees.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::io;

const NOTHING: Option<&str> = None;

/// The host never sees what is mounted from now on, and processes of the lab see their own `/proc` and `/sys`.
///
/// # Errors
/// This process has no mount namespace of its own.
pub(super) fn make_private() -> io::Result<()> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys")] {
        // Inside a container the kernel may refuse it to a user namespace; then `exec` shows the container's.
        if let Err(error) = mount_over(kind, target) {
            tracing::warn!(%error, "cannot mount {kind} on {target}");
        }
    }
    Ok(())
}

/// A mount of `/proc` over the lab's own, which is forgotten with all that was looked up in it.
pub(super) struct FreshProc;

impl FreshProc {
    /// None where the kernel does not allow it.
    pub(super) fn mount() -> Option<Self> {
        mount_over("proc", "/proc").ok().map(|()| Self)
    }
}

impl Drop for FreshProc {
    fn drop(&mut self) {
        // It fails only when it is not there.
        let _ = umount2("/proc", MntFlags::MNT_DETACH);
    }
}

fn mount_over(kind: &str, target: &str) -> nix::Result<()> {
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(kind), target, Some(kind), plain, NOTHING)
}
