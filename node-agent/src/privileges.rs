//! What an agent may still do once its sockets are open.

use caps::{CapSet, Capability, CapsHashSet};
use samp_model::agent::Role;

/// The capabilities that a node uses after its start: a mobile node changes its address at every handoff.
pub(crate) fn needed_by(role: &Role) -> &'static [Capability] {
    match role {
        Role::SipServer { .. } => &[],
        Role::MobileNode { .. } => &[Capability::CAP_NET_ADMIN],
    }
}

/// Takes all other capabilities from the calling thread; `execve` does not bring them back, not even for root.
///
/// # Errors
/// None on the kernels that samp-lab runs on.
pub(crate) fn drop_all_but(needed: &[Capability]) -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = needed.iter().copied().filter(|needed| permitted.contains(needed)).collect();
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
