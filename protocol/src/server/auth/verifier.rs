//! Verifiers: what a home server gives an anchor, so that the anchor can tell by itself who a REGISTER is from.
//!
//! It is H(A1) of each algorithm for the anchor's own realm, so it is of use at that anchor only. It travels masked and
//! signed with the ring's key.

use crate::digest::{Algorithm, hex, unhex};
use crate::keys::RingKey;
use samp_model::Time;
use std::time::Duration;

/// How long a verifier is good for: a changed password is known everywhere after that.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Bytes of H(A1): SHA-256, MD5.
const SECRETS: usize = 32 + 16;
/// Bytes of a tag.
const TAG: usize = 16;

/// H(A1) of one user at one anchor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verifier {
    pub(super) expires_at: Time,
    secrets: Vec<u8>,
}

impl Verifier {
    /// The verifier that this function gives H(A1) of, good from `now`.
    pub(super) fn new(now: Time, secret: impl Fn(Algorithm) -> String) -> Self {
        let secrets = Algorithm::ALL.into_iter().filter_map(|algorithm| unhex(&secret(algorithm)));
        Self { expires_at: now + LIFETIME, secrets: secrets.flatten().collect() }
    }

    /// H(A1).
    pub(super) fn secret(&self, algorithm: Algorithm) -> String {
        hex(match algorithm {
            Algorithm::Sha256 => &self.secrets[..32],
            Algorithm::Md5 => &self.secrets[32..],
        })
    }

    /// Its wire form, for this user at the anchor with this realm.
    pub(super) fn seal(&self, key: &RingKey, address_of_record: &str, realm: &str) -> String {
        let expires = self.expires_at.as_nanos().to_be_bytes();
        let parts = [address_of_record.as_bytes(), realm.as_bytes(), &expires];
        let masked = masked(key, &parts, &self.secrets);
        let tag = key.tag("verifier", &[parts[0], parts[1], parts[2], &masked]);
        hex(&[&expires, &masked[..], &tag[..TAG]].concat())
    }

    /// Reads the wire form; none if no server of the ring has made it for this user and realm, or if it has expired.
    pub(super) fn open(
        key: &RingKey,
        now: Time,
        text: &str,
        address_of_record: &str,
        realm: &str,
    ) -> Option<Self> {
        let bytes = unhex(text).filter(|bytes| bytes.len() == 8 + SECRETS + TAG)?;
        let (expires, rest) = bytes.split_at(8);
        let (masked_secrets, tag) = rest.split_at(SECRETS);
        let parts = [address_of_record.as_bytes(), realm.as_bytes(), expires];
        let expires_at = Time::from_nanos(u64::from_be_bytes(expires.try_into().ok()?));
        let good = key.verifies("verifier", &[parts[0], parts[1], parts[2], masked_secrets], tag);
        (good && expires_at > now).then(|| Self { expires_at, secrets: masked(key, &parts, masked_secrets) })
    }
}

/// Masks secrets, or unmasks them: a stream that nobody without the key can tell from a random one.
fn masked(key: &RingKey, parts: &[&[u8]; 3], secrets: &[u8]) -> Vec<u8> {
    let stream = ["mask 1", "mask 2"].map(|purpose| key.tag(purpose, parts)).concat();
    secrets.iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ring_makes_and_reads_verifiers_and_each_is_for_one_user_at_one_anchor() {
        let (key, now) = (RingKey::new("ring"), Time::from_nanos(5));
        let (user, anchor) = ("sip:mn1@samp.test", "10.0.0.1");
        let secret = |algorithm: Algorithm| algorithm.secret("mn1", anchor, "password");
        let verifier = Verifier::new(now, secret);
        assert_eq!(verifier.secret(Algorithm::Md5), secret(Algorithm::Md5));
        let text = verifier.seal(&key, user, anchor);
        assert!(!text.contains(&secret(Algorithm::Sha256)), "masked");
        let open =
            |key: &RingKey, now, text: &str, user, anchor| Verifier::open(key, now, text, user, anchor);
        assert_eq!(open(&key, now, &text, user, anchor), Some(verifier));
        assert_eq!(open(&RingKey::new("other"), now, &text, user, anchor), None);
        assert_eq!(open(&key, now, &text, "sip:mn2@samp.test", anchor), None);
        assert_eq!(open(&key, now, &text, user, "10.0.0.2"), None);
        assert_eq!(open(&key, now + LIFETIME, &text, user, anchor), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(open(&key, now, &String::from_utf8(forged).unwrap(), user, anchor), None);
        }
        assert_eq!(open(&key, now, &text[2..], user, anchor), None);
    }
}
