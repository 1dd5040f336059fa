//! Router solicitations and advertisements and their bytes (RFC 4861 §4.1, §4.2, §4.6; RFC 5380 §4), without the
//! checksum, which is the kernel's.

use std::net::Ipv6Addr;
use std::time::Duration;

/// What hosts and routers of a lab tell each other; other fields and options are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A host asks who is there.
    Solicitation {
        /// Its link-layer address.
        source_mac: Option<[u8; 6]>,
    },
    /// A router says what the link is like.
    Advertisement(Advertisement),
}

/// A router advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// How long the router is a default router, in whole seconds up to 65,535; zero is not at all.
    pub router_lifetime: Duration,
    /// The router's link-layer address.
    pub source_mac: Option<[u8; 6]>,
    /// The first prefix of which hosts are to make addresses.
    pub prefix: Option<Prefix>,
    /// The first mobility anchor point.
    pub map: Option<Map>,
}

/// A mobility anchor point that a router tells of (RFC 5380 §4), which lets mobile nodes form regional care-of addresses
/// (the flag R is not used any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its distance in routers, 1 to 15.
    pub distance: u8,
    /// How much it is preferred, 0 to 15; 0 is not to be used.
    pub preference: u8,
    /// How many seconds it may be used.
    pub valid: u32,
    /// Its address, whose first 64 bits are the prefix of regional care-of addresses.
    pub address: Ipv6Addr,
}

impl Map {
    /// Whether a mobile node may take it (RFC 5380 §6.1).
    pub(super) fn is_usable(&self) -> bool {
        let address = self.address;
        let is_routable = !(address.is_multicast()
            || address.is_unspecified()
            || address.is_loopback()
            || address.is_unicast_link_local());
        self.preference > 0 && self.valid > 0 && is_routable
    }
}

/// A prefix for autonomous address configuration (the flag A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its bits; those beyond its length are zero.
    pub prefix: Ipv6Addr,
    /// Its length in bits.
    pub len: u8,
    /// How many seconds addresses are valid; `u32::MAX` is for ever.
    pub valid: u32,
    /// How many seconds they are preferred.
    pub preferred: u32,
}

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// What is before the options.
const SOLICITATION_LEN: usize = 8;
const ADVERTISEMENT_LEN: usize = 16;

const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const PREFIX_INFORMATION: u8 = 3;
const MAP: u8 = 23;
/// Lengths of options count in units of this.
const UNIT: usize = 8;
/// The flag A of a prefix.
const AUTONOMOUS: u8 = 0x40;

impl Message {
    /// Its bytes, with a checksum of zero.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Message::Solicitation { source_mac } => {
                let mut bytes = vec![0; SOLICITATION_LEN];
                bytes[0] = SOLICITATION;
                bytes.extend(source_mac.iter().flat_map(link_layer_address));
                bytes
            }
            Message::Advertisement(advertisement) => {
                let mut bytes = vec![0; ADVERTISEMENT_LEN];
                bytes[0] = ADVERTISEMENT;
                let lifetime = u16::try_from(advertisement.router_lifetime.as_secs()).unwrap_or(u16::MAX);
                bytes[6..8].copy_from_slice(&lifetime.to_be_bytes());
                bytes.extend(advertisement.source_mac.iter().flat_map(link_layer_address));
                if let Some(Prefix { prefix, len, valid, preferred }) = advertisement.prefix {
                    bytes.extend([PREFIX_INFORMATION, 4, len, AUTONOMOUS]);
                    bytes.extend(valid.to_be_bytes());
                    bytes.extend(preferred.to_be_bytes());
                    bytes.extend([0; 4]);
                    bytes.extend(prefix.octets());
                }
                if let Some(Map { distance, preference, valid, address }) = advertisement.map {
                    bytes.extend([MAP, 3, distance << 4 | preference & 0xf, 0]);
                    bytes.extend(valid.to_be_bytes());
                    bytes.extend(address.octets());
                }
                bytes
            }
        }
    }

    /// The message of these bytes; none when they are something else, or not as RFC 4861 §6.1 wants them.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[kind, code], length) = (bytes.get(..2)?.first_chunk()?, bytes.len());
        if code != 0 {
            return None;
        }
        match kind {
            SOLICITATION if length >= SOLICITATION_LEN => {
                let mut source_mac = None;
                for option in Options(&bytes[SOLICITATION_LEN..]) {
                    let (kind, value) = option?;
                    source_mac = source_mac.or(mac(kind, value));
                }
                Some(Message::Solicitation { source_mac })
            }
            ADVERTISEMENT if length >= ADVERTISEMENT_LEN => {
                let lifetime = u16::from_be_bytes([bytes[6], bytes[7]]);
                let router_lifetime = Duration::from_secs(lifetime.into());
                let mut found = Advertisement { router_lifetime, source_mac: None, prefix: None, map: None };
                for option in Options(&bytes[ADVERTISEMENT_LEN..]) {
                    let (kind, value) = option?;
                    found.source_mac = found.source_mac.or(mac(kind, value));
                    found.prefix = found.prefix.or(prefix(kind, value));
                    found.map = found.map.or(map(kind, value));
                }
                Some(Message::Advertisement(found))
            }
            _ => None,
        }
    }
}

fn link_layer_address(mac: &[u8; 6]) -> [u8; UNIT] {
    let [a, b, c, d, e, f] = *mac;
    [SOURCE_LINK_LAYER_ADDRESS, 1, a, b, c, d, e, f]
}

/// The options of a message, each as its type and what follows its length; an error ends them.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.0.split_first()?;
        // A length of zero, or one beyond the end, makes the whole message void (RFC 4861 §4.6).
        let units = rest.first().copied().map_or(0, usize::from);
        match self.0.split_at_checked(units * UNIT) {
            Some((option, others)) if units > 0 => {
                self.0 = others;
                Some(Some((kind, &option[2..])))
            }
            _ => {
                self.0 = &[];
                Some(None)
            }
        }
    }
}

fn mac(kind: u8, value: &[u8]) -> Option<[u8; 6]> {
    if kind == SOURCE_LINK_LAYER_ADDRESS { value.try_into().ok() } else { None }
}

fn prefix(kind: u8, value: &[u8]) -> Option<Prefix> {
    if kind != PREFIX_INFORMATION {
        return None;
    }
    let value: &[u8; 30] = value.try_into().ok()?;
    let word = |at: usize| u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
    let [len, flags] = [value[0], value[1]];
    if len > 128 || flags & AUTONOMOUS == 0 {
        return None;
    }
    let octets: [u8; 16] = value[14..].try_into().ok()?;
    // What is beyond the length is passed over (RFC 4861 §4.6.2).
    let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
    let prefix = (u128::from_be_bytes(octets) & mask).into();
    Some(Prefix { prefix, len, valid: word(2), preferred: word(6) })
}

fn map(kind: u8, value: &[u8]) -> Option<Map> {
    if kind != MAP {
        return None;
    }
    let value: &[u8; 22] = value.try_into().ok()?;
    let valid = u32::from_be_bytes(*value[2..].first_chunk()?);
    let address = Ipv6Addr::from(*value.last_chunk::<16>()?);
    Some(Map { distance: value[0] >> 4, preference: value[0] & 0xf, valid, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn advertisement() -> Advertisement {
        let prefix = Ipv6Addr::new(0xfd53, 0x414d, 0x50, 2, 0, 0, 0, 0);
        Advertisement {
            router_lifetime: Duration::from_secs(1800),
            source_mac: Some(MAC),
            prefix: Some(Prefix { prefix, len: 64, valid: u32::MAX, preferred: 600 }),
            map: None,
        }
    }

    #[test]
    fn messages_have_the_bytes_of_the_rfc() {
        let solicitation = Message::Solicitation { source_mac: Some(MAC) };
        assert_eq!(solicitation.encode(), [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 7]);
        let bytes = Message::Advertisement(advertisement()).encode();
        let expected = [
            &[134, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 1, 2, 0, 0, 0, 0, 7],
            &[3, 4, 64, 0x40, 0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0x58, 0, 0, 0, 0],
            &[0xfd, 0x53, 0x41, 0x4d, 0, 0x50, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(bytes, expected.concat());
        let map = Map {
            distance: 2,
            preference: 10,
            valid: 600,
            address: Ipv6Addr::new(0xfd53, 0, 0, 0, 0, 0, 0, 9),
        };
        let with_map = Message::Advertisement(Advertisement { map: Some(map), ..advertisement() }).encode();
        assert_eq!(with_map[..bytes.len()], bytes);
        let option = [23, 3, 0x2a, 0, 0, 0, 2, 0x58, 0xfd, 0x53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(with_map[bytes.len()..], option);
    }

    #[test]
    fn what_is_wrong_makes_a_message_void() {
        let good = Message::Advertisement(advertisement()).encode();
        assert!(Message::decode(&good).is_some());
        for (what, at, value) in [("code", 1, 1), ("an option of no length", 17, 0), ("a long option", 17, 9)]
        {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Message::decode(&bad), None, "{what}");
        }
        for length in 0..ADVERTISEMENT_LEN {
            assert_eq!(Message::decode(&good[..length]), None, "{length} bytes");
        }
        // Of a prefix that is not for autonomous configuration, or is longer than an address, nothing is taken.
        for (at, value) in [(27, 0x80), (26, 129)] {
            let mut other = good.clone();
            other[at] = value;
            let expected = Advertisement { prefix: None, ..advertisement() };
            assert_eq!(Message::decode(&other), Some(Message::Advertisement(expected)));
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            lifetime in any::<u16>(), mac in any::<Option<[u8; 6]>>(), bits in any::<u128>(), len in 0..=128u8,
            valid in any::<u32>(), preferred in any::<u32>(), has_prefix in any::<bool>(), has_map in any::<bool>(),
            distance in 0..16u8, preference in 0..16u8,
        ) {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            let prefix = Prefix { prefix: (bits & mask).into(), len, valid, preferred };
            let message = Message::Advertisement(Advertisement {
                router_lifetime: Duration::from_secs(lifetime.into()),
                source_mac: mac,
                prefix: has_prefix.then_some(prefix),
                map: has_map.then_some(Map { distance, preference, valid, address: bits.into() }),
            });
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            let message = Message::Solicitation { source_mac: mac };
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }
}
