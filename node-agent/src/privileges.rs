//! What an agent may still do once its sockets are open.

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use samp_model::agent::Role;
use samp_model::settings::TunnelBackend;

/// The capabilities that a node uses after its start: a mobile node changes its address at every handoff, an agent with the
/// kernel's tunnels their ends.
pub(crate) fn needed_by(role: &Role) -> &'static [Capability] {
    match role {
        Role::MobileNode { .. } => &[Capability::CAP_NET_ADMIN],
        Role::MobilityAgent(_) if role.tunnels() == Some(TunnelBackend::Kernel) => {
            &[Capability::CAP_NET_ADMIN]
        }
        Role::SipServer { .. }
        | Role::AccessRouter { .. }
        | Role::MobilityAgent(_)
        | Role::Flooder { .. } => &[],
    }
}

/// The user and group of an agent that could be root: `nobody` on every Linux, and mapped into most user namespaces.
const NOBODY: u32 = 65534;

/// Makes this process, if it is root, one of an ordinary user that has root's capabilities until its sockets are
/// open ([`run`](crate::run) drops them). A user namespace without that user, as a lab's own when it runs without root,
/// leaves the process as it is: its root is the user who started the lab.
///
/// # Errors
/// None on the kernels that samp-lab runs on.
pub fn leave_root() -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    match setresgid(group, group, group) {
        Err(Errno::EINVAL) => return Ok(()),
        result => result.context("cannot leave root's group")?,
    }
    setgroups(&[]).context("cannot leave root's groups")?;
    nix::sys::prctl::set_keepcaps(true).context("cannot keep capabilities")?;
    setresuid(user, user, user).context("cannot leave root's user")?;
    // The change has emptied the effective set.
    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &permitted)?;
    Ok(())
}

/// Takes all other capabilities from the calling thread; `execve` does not bring them back, not even for root.
///
/// # Errors
/// None on the kernels that samp-lab runs on.
pub(crate) fn drop_all_but(needed: &[Capability]) -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = needed.iter().copied().filter(|needed| permitted.contains(needed)).collect();
    if permitted.contains(&Capability::CAP_SETPCAP) {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    samp_sys::process::set_no_new_privs()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn only_what_is_needed_stays() {
        // Capabilities belong to a thread: this one's are not the test process's.
        let left = thread::spawn(|| {
            let before = caps::read(None, CapSet::Permitted).expect("permitted");
            drop_all_but(&[Capability::CAP_NET_ADMIN]).expect("dropped");
            let left = [CapSet::Permitted, CapSet::Effective].map(|set| caps::read(None, set).expect("read"));
            let expected: CapsHashSet =
                before.into_iter().filter(|capability| *capability == Capability::CAP_NET_ADMIN).collect();
            assert_eq!(left, [expected.clone(), expected]);
            drop_all_but(&[]).expect("dropped");
            caps::read(None, CapSet::Permitted).expect("permitted")
        });
        assert!(left.join().expect("no panic").is_empty());
    }
}
