//! What a mobile node and its home agent share, and how their messages show it (RFC 4285).
//!
//! An association is one of a name and a home address, so that nobody's key is good for the home address of somebody else.
//! Against replays there are the sequence numbers (§5.1), which outlast the bindings.

use super::authorization::{authenticator, is_authentic};
use super::message::{Authentication, Message};
use crate::keys::RingKey;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

/// Bytes of a key (RFC 4285 §5.1).
const KEY_LEN: usize = 16;
/// The first index that is not reserved (§5.1): a mobile node and its home agent have one association.
const SPI: u32 = 256;

/// The mobility security association of a mobile node and its home agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Association {
    /// The mobile node's network access identifier.
    identifier: String,
    key: [u8; KEY_LEN],
}

impl Association {
    /// That of the mobile node of this name, which needs no realm (RFC 4282 §2.1), by what the two share.
    pub fn new(identifier: &str, secret: &str) -> Self {
        let mut key = [0; KEY_LEN];
        key.copy_from_slice(&Sha256::digest(secret)[..KEY_LEN]);
        Self { identifier: identifier.to_owned(), key }
    }

    /// Lets an update or acknowledgement show of whom it is.
    pub(super) fn sign(&self, care_of: Ipv6Addr, home: Ipv6Addr, message: &mut Message) {
        let shown = |authenticator| {
            Some(Authentication { identifier: self.identifier.clone(), spi: SPI, authenticator })
        };
        message.set_authentication(shown(Default::default()));
        message.set_authentication(shown(authenticator(&self.key, care_of, home, message)));
    }

    /// Whether a message shows that it is of one of the two, about this home address at this care-of address.
    pub(super) fn verifies(&self, care_of: Ipv6Addr, home: Ipv6Addr, message: &Message) -> bool {
        let shown = message.authentication().filter(|it| it.spi == SPI && it.identifier == self.identifier);
        is_authentic(&self.key, care_of, home, message, shown.map(|it| it.authenticator))
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Association").field(&self.identifier).finish()
    }
}

/// The associations of a home agent with its mobile nodes, all of which follow from one key.
#[derive(Debug)]
pub(super) struct Associations {
    key: RingKey,
    /// The last sequence numbers that have been accepted, by home address.
    numbers: BTreeMap<Ipv6Addr, u16>,
}

impl Associations {
    pub(super) fn new(secret: &str) -> Self {
        Self { key: RingKey::new(secret), numbers: BTreeMap::new() }
    }

    /// The association of who sends this, about this home address; none when it has another index than all of them.
    pub(super) fn of(&self, shown: &Authentication, home: Ipv6Addr) -> Option<Association> {
        let secret = || self.key.mobility_secret(&shown.identifier, home);
        (shown.spi == SPI).then(|| Association::new(&shown.identifier, &secret()))
    }

    /// The last sequence number of a home address.
    pub(super) fn last_number(&self, home: Ipv6Addr) -> Option<u16> {
        self.numbers.get(&home).copied()
    }

    /// A message with this number has been accepted.
    pub(super) fn note_number(&mut self, home: Ipv6Addr, sequence: u16) {
        self.numbers.insert(home, sequence);
    }
}
