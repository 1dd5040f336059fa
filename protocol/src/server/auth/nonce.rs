//! Nonces: an instant, signed with the ring's key, so that any server can tell whether one of them made it, and when.

use crate::digest::{hex, unhex};
use crate::keys::RingKey;
use samp_model::Time;
use std::time::Duration;

/// How long a nonce is good for.
pub(in crate::server) const NONCE_LIFETIME: Duration = Duration::from_secs(300);
const PURPOSE: &str = "nonce";
/// Bytes of a tag that a nonce shows.
const TAG: usize = 16;

/// A nonce for this user: 16 digits of time, in nanoseconds, and 32 of its tag.
pub(super) fn make(key: &RingKey, now: Time, address_of_record: &str) -> String {
    let at = now.as_nanos().to_be_bytes();
    let tag = key.tag(PURPOSE, &[&at, address_of_record.as_bytes()]);
    format!("{}{}", hex(&at), hex(&tag[..TAG]))
}

/// When a server of the ring made this nonce for this user; none if none did.
pub(super) fn made_at(key: &RingKey, nonce: &str, address_of_record: &str) -> Option<Time> {
    let bytes = unhex(nonce)?;
    let (at, tag) = bytes.split_at_checked(8)?;
    let at: [u8; 8] = at.try_into().ok()?;
    key.verifies(PURPOSE, &[&at, address_of_record.as_bytes()], tag)
        .then(|| Time::from_nanos(u64::from_be_bytes(at)))
}

/// Whether a nonce of this instant is good now.
pub(super) fn is_fresh(now: Time, at: Time) -> bool {
    at <= now && now - at <= NONCE_LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_user_at_every_server_of_the_ring_and_for_a_while() {
        let (key, at) = (RingKey::new("ring"), Time::from_nanos(7_000_000_000));
        let nonce = make(&key, at, "sip:mn1@samp.test");
        assert_eq!(made_at(&RingKey::new("ring"), &nonce, "sip:mn1@samp.test"), Some(at));
        assert_eq!(made_at(&RingKey::new("other"), &nonce, "sip:mn1@samp.test"), None);
        assert_eq!(made_at(&key, &nonce, "sip:mn2@samp.test"), None);
        assert_eq!(made_at(&key, &nonce.replacen('0', "1", 1), "sip:mn1@samp.test"), None);
        for nonce in ["", "00", &nonce[..16], "ä"] {
            assert_eq!(made_at(&key, nonce, "sip:mn1@samp.test"), None);
        }
        assert!(is_fresh(at, at) && is_fresh(at + NONCE_LIFETIME, at));
        assert!(!is_fresh(Time::ZERO, at) && !is_fresh(at + NONCE_LIFETIME + Duration::from_nanos(1), at));
    }
}
