//! The key that the servers of a ring, or home agents, share, and what follows from it.

use crate::digest::hex;
use hmac::{Hmac, Mac};
use samp_model::agent::{Mobility, Role};
use samp_model::settings::{Authentication, SampSettings};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::Ipv6Addr;

/// Digits of a derived password: 80 bits.
const PASSWORD_DIGITS: usize = 20;

/// A key for messages and nonces that only servers of the ring can make.
#[derive(Clone)]
pub struct RingKey([u8; 32]);

impl RingKey {
    /// The key that this text stands for; it is as secret as the text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// A user's password: the one that the settings give, or the one that follows from the key.
    pub fn password(&self, settings: &SampSettings, address_of_record: &str) -> String {
        if let Some(given) = settings.passwords.get(address_of_record) {
            return given.clone();
        }
        let mut password = hex(&self.tag("password", &[address_of_record.as_bytes()]));
        password.truncate(PASSWORD_DIGITS);
        password
    }

    /// What a mobile node of this name and its home agent share, with this home address (RFC 4285).
    pub fn mobility_secret(&self, name: &str, home: Ipv6Addr) -> String {
        hex(&self.tag("mobility", &[name.as_bytes(), &home.octets()]))
    }

    /// HMAC-SHA-256 of these parts; tags of different purposes have nothing to do with each other.
    pub(crate) fn tag(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.mac(purpose, parts).finalize().into_bytes().into()
    }

    /// Whether `tag` is the beginning, at least 16 bytes, of the tag of these parts; takes as long for any wrong one.
    pub(crate) fn verifies(&self, purpose: &str, parts: &[&[u8]], tag: &[u8]) -> bool {
        tag.len() >= 16 && self.mac(purpose, parts).verify_truncated_left(tag).is_ok()
    }

    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// What a node shares with others, as [`AgentConfig::secret`](samp_model::agent::AgentConfig::secret): all of it follows from
/// the lab's key.
pub fn shared_secret(
    lab_key: &str,
    samp: &SampSettings,
    authentication: Authentication,
    name: &str,
    role: &Role,
) -> Option<String> {
    let is_authenticated = authentication == Authentication::Rfc4285;
    let key = || RingKey::new(lab_key);
    match role {
        Role::MobileNode { mobility: Mobility::MobileIp { home, .. }, .. } => {
            is_authenticated.then(|| key().mobility_secret(name, *home))
        }
        Role::MobileNode { address_of_record, .. } => {
            samp.auth.is_on().then(|| key().password(samp, address_of_record))
        }
        Role::MobilityAgent(_) => is_authenticated.then(|| lab_key.to_owned()),
        Role::SipServer { .. } => samp.auth.is_on().then(|| lab_key.to_owned()),
        Role::AccessRouter { .. } | Role::Flooder { .. } => None,
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_depend_on_key_purpose_and_where_parts_end() {
        let key = RingKey::new("a");
        let tag = key.tag("p", &[b"ab", b"c"]);
        assert!(key.verifies("p", &[b"ab", b"c"], &tag) && key.verifies("p", &[b"ab", b"c"], &tag[..16]));
        for (other, purpose, parts, tag) in [
            (RingKey::new("b"), "p", [&b"ab"[..], b"c"], &tag[..]),
            (key.clone(), "q", [b"ab", b"c"], &tag),
            (key.clone(), "p", [b"a", b"bc"], &tag),
            (key.clone(), "p", [b"ab", b"c"], &tag[..15]),
            (key.clone(), "p", [b"ab", b"c"], &[&tag[..], &[0]].concat()),
        ] {
            assert!(!other.verifies(purpose, &parts, tag));
        }
        let mut settings = SampSettings::default();
        settings.passwords.insert("sip:c@b".to_owned(), "given".to_owned());
        assert_ne!(key.password(&settings, "sip:a@b"), key.password(&settings, "sip:b@b"));
        assert_eq!(key.password(&settings, "sip:a@b").len(), PASSWORD_DIGITS);
        assert_eq!(key.password(&settings, "sip:c@b"), "given");
    }
}
