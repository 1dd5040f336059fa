//! Datagrams and what is put around them, byte by byte: another IPv6 header (RFC 2473), or in their own one other addresses, with
//! the home addresses behind it (RFC 6275 §6.3, §6.4). All that comes in is hostile.

use super::forwarding::Outer;
use super::message;
use super::options::{self, Options};
use std::net::Ipv6Addr;

/// Bytes of an IPv6 header.
const HEADER_LEN: usize = 40;
/// Hop limit of what is sent: the default of 64 is shorter than the diameter of a big grid.
const HOP_LIMIT: u8 = 255;
/// Next Header values.
const HOP_BY_HOP: u8 = 0;
const IPV6: u8 = 41;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
/// Both extension headers are so long: 8 bytes and an address.
const EXTENSION_LEN: usize = 24;
/// Which they say in units of 8, the first one left out.
const EXTENSION_UNITS: u8 = 2;

/// An IPv6 datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram(Vec<u8>);

impl Datagram {
    /// Those bytes of a frame's payload that are its datagram; none when there is none, or not all of one.
    pub fn of_frame(payload: &[u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes(*payload.get(4..)?.first_chunk()?));
        let bytes = payload.get(..HEADER_LEN + length)?;
        (bytes[0] >> 4 == 6).then(|| Self(bytes.to_vec()))
    }

    /// One from parts.
    pub(super) fn new(ends: [Ipv6Addr; 2], next: u8, payload: &[&[u8]]) -> Option<Self> {
        let length = payload.iter().map(|part| part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEADER_LEN + length);
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend(u16::try_from(length).ok()?.to_be_bytes());
        bytes.extend([next, HOP_LIMIT]);
        ends.iter().for_each(|end| bytes.extend(end.octets()));
        payload.iter().for_each(|part| bytes.extend_from_slice(part));
        Some(Self(bytes))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its source address.
    pub fn source(&self) -> Ipv6Addr {
        self.address(8)
    }

    /// Its destination address.
    pub fn destination(&self) -> Ipv6Addr {
        self.address(24)
    }

    /// Whether it has a Mobility Header right behind its own.
    pub fn is_mobility(&self) -> bool {
        self.next() == message::PROTOCOL
    }

    /// Whether home addresses may come right behind its header: nothing comes before options for every hop (RFC 8200 §4.1).
    pub fn takes_home_addresses(&self) -> bool {
        !matches!(self.next(), HOP_BY_HOP | message::PROTOCOL)
    }

    /// As a router passes it on; none when it has come too far.
    pub fn passed_on(mut self) -> Option<Self> {
        self.0[7] = self.0[7].checked_sub(1).filter(|&hops| hops > 0)?;
        Some(self)
    }

    /// Puts something around it; none when it gets too long.
    pub fn wrap(&self, outer: &Outer) -> Option<Self> {
        if outer.is_tunnel {
            return Self::new(outer.ends, IPV6, &[&self.0]);
        }
        let [from, to] = outer.ends;
        let home = Some(self.source()).filter(|source| *source != from);
        let routed_home = Some(self.destination()).filter(|destination| *destination != to);
        let (next, homes) = Homes { home, routed_home }.encode(self.next());
        let mut wrapped = Self::new(outer.ends, next, &[&homes, self.payload()])?;
        wrapped.0[7] = self.0[7];
        Some(wrapped)
    }

    /// What it was, and what was put around it; none when nothing was, or it is malformed.
    pub fn unwrap(&self) -> Option<(Outer, Self)> {
        let ends = [self.source(), self.destination()];
        if self.next() == IPV6 {
            return Some((
                Outer { ends, bytes: HEADER_LEN, is_tunnel: true },
                Self::of_frame(self.payload())?,
            ));
        }
        let (homes, next, payload) = self.homes()?;
        if homes == Homes::default() {
            return None;
        }
        let bytes = self.payload().len() - payload.len();
        let inner = [homes.home.unwrap_or(ends[0]), homes.routed_home.unwrap_or(ends[1])];
        let mut inner = Self::new(inner, next, &[payload])?;
        inner.0[7] = self.0[7];
        Some((Outer { ends, bytes, is_tunnel: false }, inner))
    }

    /// The home addresses behind its header, the next header after them and what is there; none when it is malformed.
    pub(super) fn homes(&self) -> Option<(Homes, u8, &[u8])> {
        Homes::decode(self.next(), self.payload())
    }

    fn payload(&self) -> &[u8] {
        &self.0[HEADER_LEN..]
    }

    fn next(&self) -> u8 {
        self.0[6]
    }

    fn address(&self, at: usize) -> Ipv6Addr {
        self.0[at..].first_chunk::<16>().map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
    }
}

/// The home addresses behind a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Homes {
    /// The sender's, in a Home Address destination option.
    pub(super) home: Option<Ipv6Addr>,
    /// The receiver's, in a type 2 routing header.
    pub(super) routed_home: Option<Ipv6Addr>,
}

impl Homes {
    /// Their extension headers before the next header `last`, and which is the first one then.
    pub(super) fn encode(self, last: u8) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut first = last;
        if let Some(home) = self.home {
            bytes = vec![first, EXTENSION_UNITS];
            options::push(&mut bytes, options::HOME_ADDRESS, &home.octets());
            first = DESTINATION_OPTIONS;
        }
        if let Some(home) = self.routed_home {
            let mut routing = vec![first, EXTENSION_UNITS, 2, 1, 0, 0, 0, 0];
            routing.extend(home.octets());
            bytes.splice(0..0, routing);
            first = ROUTING;
        }
        (first, bytes)
    }

    /// Those at the beginning of what comes after a header, with the next header after them and its bytes.
    fn decode(mut next: u8, mut rest: &[u8]) -> Option<(Self, u8, &[u8])> {
        let mut homes = Self::default();
        if next == ROUTING {
            let (routing, others) = rest.split_first_chunk::<EXTENSION_LEN>()?;
            // One segment, which is the last (RFC 6275 §6.4.1).
            if routing[1..4] != [EXTENSION_UNITS, 2, 1] {
                return None;
            }
            homes.routed_home = Some(Ipv6Addr::from(*routing.last_chunk::<16>()?));
            (next, rest) = (routing[0], others);
        }
        if next == DESTINATION_OPTIONS {
            let units = usize::from(*rest.get(1)?);
            let (extension, others) = rest.split_at_checked((units + 1) * 8)?;
            for option in Options(&extension[2..]) {
                match option? {
                    (options::PAD1 | options::PADN, _) => {}
                    (options::HOME_ADDRESS, value) if homes.home.is_none() => {
                        homes.home = Some(<[u8; 16]>::try_from(value).ok()?.into());
                    }
                    // Whoever knows an option that we do not wants us to know it (RFC 8200 §4.2).
                    _ => return None,
                }
            }
            (next, rest) = (extension[0], others);
        }
        let is_good = ![homes.home, homes.routed_home].iter().flatten().any(is_no_home);
        is_good.then_some((homes, next, rest))
    }
}

/// Home addresses are unicast and routable (RFC 6275 §6.3, §6.4.1).
fn is_no_home(address: &Ipv6Addr) -> bool {
    address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UDP: u8 = 17;

    fn address(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
    }

    fn datagram(from: u16, to: u16) -> Datagram {
        Datagram::new([address(from), address(to)], UDP, &[b"payload"]).expect("it is short")
    }

    fn outer(from: u16, to: u16, is_tunnel: bool, bytes: usize) -> Outer {
        Outer { ends: [address(from), address(to)], bytes, is_tunnel }
    }

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        let inner = datagram(1, 2);
        for outer in
            [outer(3, 4, true, 40), outer(3, 2, false, 24), outer(1, 4, false, 24), outer(3, 4, false, 48)]
        {
            let wrapped = inner.wrap(&outer).expect("it is short");
            assert_eq!(wrapped.bytes().len(), inner.bytes().len() + outer.bytes, "{outer:?}");
            assert_eq!([wrapped.source(), wrapped.destination()], outer.ends);
            assert_eq!(wrapped.unwrap(), Some((outer, inner.clone())));
            // Nobody needs to know more than the frame's bytes.
            let padded = [wrapped.bytes(), &[0; 9]].concat();
            assert_eq!(Datagram::of_frame(&padded), Some(wrapped));
        }
        assert_eq!(inner.unwrap(), None);
    }

    #[test]
    fn headers_have_the_bytes_of_the_rfcs() {
        let inner = datagram(1, 2);
        let tunnelled = inner.wrap(&outer(3, 4, true, 40)).expect("short").0;
        assert_eq!(tunnelled[..8], [0x60, 0, 0, 0, 0, 47, IPV6, 255]);
        assert_eq!(tunnelled[40..], inner.0);
        let optimised = inner.wrap(&outer(3, 4, false, 48)).expect("short").0;
        assert_eq!(optimised[..8], [0x60, 0, 0, 0, 0, 55, ROUTING, 255]);
        assert_eq!(optimised[40..48], [DESTINATION_OPTIONS, 2, 2, 1, 0, 0, 0, 0]);
        assert_eq!(optimised[48..64], address(2).octets());
        // The option is where its alignment of 8n + 6 wants it.
        assert_eq!(optimised[64..72], [UDP, 2, 1, 2, 0, 0, 201, 16]);
        assert_eq!(optimised[72..88], address(1).octets());
        assert_eq!(&optimised[88..], b"payload");
    }

    #[test]
    fn hops_are_counted_and_length_is_bounded() {
        let mut inner = datagram(1, 2);
        inner.0[7] = 2;
        let passed = inner.passed_on().expect("it may go on");
        assert_eq!(passed.0[7], 1);
        assert_eq!(passed.passed_on(), None);
        let longest = Datagram::new([address(1), address(2)], UDP, &[&[0; 65_535]]).expect("just fits");
        assert_eq!(longest.wrap(&outer(3, 4, true, 40)), None);
        assert_eq!(Datagram::new([address(1), address(2)], UDP, &[&[0; 65_536]]), None);
    }

    #[test]
    fn what_is_wrong_is_not_unwrapped() {
        let good = datagram(1, 2).wrap(&outer(3, 4, false, 48)).expect("short").0;
        for (what, at, value) in [
            ("another routing type", 42, 0),
            ("more segments", 43, 2),
            ("a longer routing header", 41, 4),
            ("a multicast home address", 48, 0xff),
            ("an unknown option", 70, 202),
            ("an option beyond the end", 71, 17),
            ("a long option header", 65, 200),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Datagram(bad).unwrap(), None, "{what}");
        }
        for length in 0..good.len() {
            assert_eq!(Datagram::of_frame(&good[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_survived(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..160), next in prop_oneof![Just(41u8), Just(43), Just(60), any::<u8>()],
        ) {
            // As near to a datagram as it takes to come far.
            if bytes.len() >= HEADER_LEN {
                let length = (bytes.len() - HEADER_LEN) as u8;
                bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, length, next, 9]);
            }
            if let Some((outer, inner)) = Datagram::of_frame(&bytes).and_then(|datagram| datagram.unwrap()) {
                prop_assert_eq!(inner.bytes().len() + outer.bytes <= bytes.len(), true);
                let _ = inner.wrap(&outer);
            }
        }
    }
}
