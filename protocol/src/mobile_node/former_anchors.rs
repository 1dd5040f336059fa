//! Anchors that a mobile node has left, and what they still hold of it. Who comes back to one tells it to forget the old
//! care-of addresses: until they expired, it would ring them, too.

use super::registration::Anchor;
use crate::sip::Uri;
use samp_model::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Anchors that are remembered at most.
const MAX_LEFT: usize = 32;

/// By address: until when its bindings may last, and for which contacts.
#[derive(Debug, Default)]
pub(super) struct FormerAnchors(BTreeMap<SocketAddr, (Time, BTreeSet<Uri>)>);

impl FormerAnchors {
    /// This anchor is left; its bindings have expired by then.
    pub(super) fn leave(&mut self, anchor: Anchor, until: Time) {
        self.0.insert(anchor.address, (until, anchor.contacts));
        if self.0.len() > MAX_LEFT
            && let Some(first) =
                self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(address, _)| *address)
        {
            self.0.remove(&first);
        }
    }

    /// The contacts that a server which becomes the anchor again may still hold.
    pub(super) fn take(&mut self, now: Time, address: SocketAddr) -> BTreeSet<Uri> {
        self.0.retain(|_, (until, _)| *until > now);
        self.0.remove(&address).map(|(_, contacts)| contacts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(number: u8, contact: &str) -> Anchor {
        let mut anchor = Anchor::new(SocketAddr::from(([172, 16, 0, number], 5060)));
        anchor.contacts.insert(contact.parse().unwrap());
        anchor
    }

    #[test]
    fn what_a_former_anchor_holds_is_known_until_it_expires() {
        let at = |seconds| Time::from_nanos(seconds * 1_000_000_000);
        let (one, two) = (anchor(1, "sip:mn1@10.0.0.2"), anchor(2, "sip:mn1@10.0.1.2"));
        let (first, second) = (one.address, two.address);
        let mut former = FormerAnchors::default();
        former.leave(one, at(600));
        former.leave(two, at(700));
        assert!(former.take(at(600), first).is_empty(), "it has expired");
        assert_eq!(former.take(at(699), second).len(), 1);
        assert!(former.take(at(699), second).is_empty(), "it has been told");
        for number in 0..=MAX_LEFT as u8 {
            former.leave(anchor(number, "sip:mn1@10.0.0.2"), at(1000 + u64::from(number)));
        }
        assert!(former.take(at(800), anchor(0, "sip:mn1@10.0.0.2").address).is_empty(), "the oldest goes");
        assert_eq!(former.0.len(), MAX_LEFT);
    }
}
