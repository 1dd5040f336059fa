//! What return routability proves, and how a Binding Update shows it (RFC 6275 §5.2).

use super::message::{AUTHENTICATOR_LEN, Message};
use samp_model::Time;
use sha1::{Digest, Sha1};
use std::net::Ipv6Addr;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How often a correspondent node takes a new nonce.
const NONCE_INTERVAL: Duration = Duration::from_secs(30);
/// So many nonces are good, the newest included: MAX_NONCE_LIFETIME, 240 s (§12).
const NONCES: u16 = 8;
/// Bytes that SHA-1 takes at a time.
const BLOCK: usize = 64;

/// Which of its two addresses a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tested {
    Home,
    CareOf,
}

/// A correspondent node's key and nonces. A nonce is a keyed hash of its index, so none has to be kept.
#[derive(Clone, Debug)]
pub(super) struct Nonces {
    key: [u8; 20],
}

impl Nonces {
    pub(super) fn new(secret: &str) -> Self {
        Self { key: Sha1::digest(secret).into() }
    }

    /// The index of the newest nonce.
    pub(super) fn newest(&self, now: Time) -> u16 {
        (now.as_nanos() / NONCE_INTERVAL.as_nanos() as u64) as u16
    }

    /// Whether the nonce of this index is not too old.
    pub(super) fn is_fresh(&self, now: Time, index: u16) -> bool {
        self.newest(now).wrapping_sub(index) < NONCES
    }

    /// The keygen token of an address (§5.2.3).
    pub(super) fn token(&self, index: u16, tested: Tested, address: Ipv6Addr) -> u64 {
        let nonce = first_64(&hmac(&self.key, &[b"nonce", &index.to_be_bytes()]));
        let which = [u8::from(tested == Tested::CareOf)];
        first_64(&hmac(&self.key, &[&address.octets(), &nonce.to_be_bytes(), &which]))
    }
}

/// The binding management key of both tokens (§5.2.5).
pub(super) fn binding_key(home_token: u64, care_of_token: u64) -> [u8; 20] {
    Sha1::digest([home_token.to_be_bytes(), care_of_token.to_be_bytes()].concat()).into()
}

/// The authenticator of a message that has room for one: by a binding management key over care-of address and correspondent
/// node (§6.2.7), by that of an association over care-of and home address (RFC 4285 §5.1).
pub(super) fn authenticator(
    key: &[u8],
    care_of: Ipv6Addr,
    other: Ipv6Addr,
    message: &Message,
) -> [u8; AUTHENTICATOR_LEN] {
    let hash = hmac(key, &[&care_of.octets(), &other.octets(), &message.authenticated()]);
    let mut first = [0; AUTHENTICATOR_LEN];
    first.copy_from_slice(&hash[..AUTHENTICATOR_LEN]);
    first
}

/// Whether a message shows the authenticator that it should.
pub(super) fn is_authentic(
    key: &[u8],
    care_of: Ipv6Addr,
    other: Ipv6Addr,
    message: &Message,
    shown: Option<[u8; AUTHENTICATOR_LEN]>,
) -> bool {
    shown.is_some_and(|shown| shown.ct_eq(&authenticator(key, care_of, other, message)).into())
}

fn first_64(hash: &[u8; 20]) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// HMAC-SHA-1 (RFC 2104) of these parts, one behind the other. The key is shorter than a block.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let padded = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha1::new();
    inner.update(padded(0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha1::new();
    outer.update(padded(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::message::Update;
    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    /// RFC 2202 §3, test case 1.
    #[test]
    fn hmac_sha_1_as_in_rfc_2202() {
        let hash = hmac(&[0x0b; 20], &[b"Hi ", b"There"]);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b617318655057264e28bc0b6fb378c8ef146be00");
    }

    #[test]
    fn an_authenticator_binds_addresses_key_and_message() {
        let mut update = Update { sequence: 7, authenticator: Some([0; 12]), ..Update::default() };
        let key = binding_key(1, 2);
        update.authenticator = Some(authenticator(&key, A, B, &Message::Update(update.clone())));
        let (message, shown) = (Message::Update(update.clone()), update.authenticator);
        assert!(is_authentic(&key, A, B, &message, shown));
        assert!(!is_authentic(&binding_key(2, 1), A, B, &message, shown));
        assert!(!is_authentic(&key, B, A, &message, shown));
        let other = Message::Update(Update { lifetime: 1, ..update.clone() });
        assert!(!is_authentic(&key, A, B, &other, shown));
        assert!(!is_authentic(&key, A, B, &message, None));
    }

    #[test]
    fn tokens_differ_and_nonces_grow_old() {
        let nonces = Nonces::new("secret");
        let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
        let index = nonces.newest(at(45));
        assert_eq!(index, 1);
        assert!(nonces.is_fresh(at(45), index) && nonces.is_fresh(at(30 + 239), index));
        assert!(!nonces.is_fresh(at(30 + 240), index) && !nonces.is_fresh(at(45), 2), "too old, and not yet");
        let token = nonces.token(index, Tested::Home, A);
        assert_eq!(token, nonces.clone().token(index, Tested::Home, A));
        for other in [
            nonces.token(index, Tested::CareOf, A),
            nonces.token(index, Tested::Home, B),
            nonces.token(index + 1, Tested::Home, A),
            Nonces::new("other").token(index, Tested::Home, A),
        ] {
            assert_ne!(token, other);
        }
    }
}
