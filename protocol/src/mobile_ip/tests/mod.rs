//! Bytes worked out by hand from RFC 6275, and any others.

mod agent;
mod association;
mod host;

use super::forwarding::Forwarding;
use super::message::{Acknowledgement, Authentication, Message, Test, Update};
use super::packet::Packet;
use crate::node::{Node, Output};
use proptest::prelude::*;
use samp_model::Time;
use samp_model::topology::Subnet;
use std::net::{IpAddr, Ipv6Addr};

const CARE_OF: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 2);
const AGENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const HOME_SUBNET: Subnet =
    Subnet { prefix: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, 0)), prefix_len: 64 };
const HOME: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, 2);

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

/// All that a node has to say.
fn outputs(node: &mut impl Node) -> Vec<Output> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

fn packets(node: &mut impl Node) -> Vec<Packet> {
    let packet = |output| match output {
        Output::Packet(packet) => Some(*packet),
        _ => None,
    };
    outputs(node).into_iter().filter_map(packet).collect()
}

fn forwardings(node: &mut impl Node) -> Vec<Forwarding> {
    let forwarding = |output| match output {
        Output::Forwarding(forwarding) => Some(forwarding),
        _ => None,
    };
    outputs(node).into_iter().filter_map(forwarding).collect()
}

fn update() -> Update {
    Update { sequence: 7, acknowledge: true, home_registration: true, lifetime: 150, ..Update::default() }
}

/// The bytes without their checksum, which is checked apart.
fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = message.encode(CARE_OF, AGENT);
    bytes[4..6].fill(0);
    bytes
}

#[test]
fn messages_have_the_bytes_of_the_rfc() {
    let test = Test { nonce: 3, cookie: 0x0102_0304_0506_0708, token: 0x1112_1314_1516_1718 };
    let cookie = test.cookie;
    let cookie_bytes = [1, 2, 3, 4, 5, 6, 7, 8];
    let token_bytes = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
    let padn = |zeros: usize| [&[1, zeros as u8][..], &vec![0; zeros]].concat();
    let care_of = CARE_OF.octets();
    let authenticator = [9; 12];
    let to_correspondent = Update {
        home_registration: false,
        nonces: Some([3, 4]),
        authenticator: Some(authenticator),
        ..update()
    };
    let to_map =
        Update { home_registration: false, map_registration: true, care_of: Some(CARE_OF), ..update() };
    let accepted = Acknowledgement { sequence: 7, lifetime: 150, refresh: Some(75), ..Default::default() };
    let signed = Acknowledgement { status: 135, authenticator: Some(authenticator), ..accepted.clone() };
    for (message, expected) in [
        (Message::RefreshRequest, vec![&[59, 0, 0, 0, 0, 0, 0, 0][..]]),
        (Message::HomeTestInit { cookie }, vec![&[59, 1, 1, 0, 0, 0, 0, 0], &cookie_bytes]),
        (Message::CareOfTestInit { cookie }, vec![&[59, 1, 2, 0, 0, 0, 0, 0], &cookie_bytes]),
        (Message::HomeTest(test), vec![&[59, 2, 3, 0, 0, 0, 0, 3], &cookie_bytes, &token_bytes]),
        (Message::CareOfTest(test), vec![&[59, 2, 4, 0, 0, 0, 0, 3], &cookie_bytes, &token_bytes]),
        // Twelve bytes, so four of padding.
        (Message::Update(update()), vec![&[59, 1, 5, 0, 0, 0, 0, 7, 0xc0, 0, 0, 150], &padn(2)]),
        // The alternate care-of address begins at 8n + 6.
        (
            Message::Update(to_map),
            vec![&[59, 3, 5, 0, 0, 0, 0, 7, 0x88, 0, 0, 150], &padn(0), &[3, 16], &care_of],
        ),
        // The nonce indices at 2n, the authorization data at 8n + 2, and nothing behind it.
        (
            Message::Update(to_correspondent),
            vec![
                &[59, 3, 5, 0, 0, 0, 0, 7, 0x80, 0, 0, 150],
                &[4, 4, 0, 3, 0, 4],
                &[5, 12],
                &authenticator[..],
            ],
        ),
        (Message::Acknowledgement(accepted), vec![&[59, 1, 6, 0, 0, 0, 0, 0, 0, 7, 0, 150], &[2, 2, 0, 75]]),
        (
            Message::Acknowledgement(signed),
            vec![
                &[59, 3, 6, 0, 0, 0, 135, 0, 0, 7, 0, 150],
                &[2, 2, 0, 75],
                &padn(0),
                &[5, 12],
                &authenticator,
            ],
        ),
        (Message::Error { status: 1, home: CARE_OF }, vec![&[59, 2, 7, 0, 0, 0, 1, 0], &care_of]),
    ] {
        assert_eq!(bytes_of(&message), expected.concat(), "{message:?}");
        assert_eq!(Message::decode(&message.encode(CARE_OF, AGENT), CARE_OF, AGENT), Some(message));
    }
}

/// fd00:0:0:1::2 → fd00::1, 8 bytes, protocol 135: fd00 + 1 + 2 + fd00 + 1 + 8 + 87 and the message's 3b00.
#[test]
fn the_checksum_is_over_the_pseudo_header() {
    let sum: u32 = 0xfd00 + 1 + 2 + 0xfd00 + 1 + 8 + 135 + 0x3b00;
    let folded = (sum & 0xffff) + (sum >> 16);
    let expected = !(folded as u16);
    let bytes = Message::RefreshRequest.encode(CARE_OF, AGENT);
    assert_eq!(bytes[4..6], expected.to_be_bytes());
    assert_eq!(Message::decode(&bytes, HOME, AGENT), None, "from somebody else");
}

#[test]
fn a_datagram_with_home_addresses_has_the_bytes_of_the_rfc() {
    let mut packet = Packet::new(CARE_OF, AGENT, Message::Update(update()));
    packet.home = Some(HOME);
    let bytes = packet.encode();
    let expected = [
        // 24 bytes of destination options, 16 of Mobility Header.
        &[0x60, 0, 0, 0, 0, 40, 60, 255][..],
        &CARE_OF.octets(),
        &AGENT.octets(),
        // The Home Address option at 8n + 6.
        &[135, 2, 1, 2, 0, 0, 201, 16],
        &HOME.octets(),
        // The checksum knows the home address in the place of the care-of address.
        &Message::Update(update()).encode(HOME, AGENT),
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(Packet::decode(&bytes).as_ref(), Some(&packet));

    let mut answer = Packet::new(AGENT, CARE_OF, Message::Acknowledgement(Acknowledgement::default()));
    answer.routed_home = Some(HOME);
    let bytes = answer.encode();
    assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 40, 43, 255]);
    assert_eq!(bytes[40..48], [135, 2, 2, 1, 0, 0, 0, 0]);
    assert_eq!(bytes[48..64], HOME.octets());
    assert_eq!(Packet::decode(&bytes).as_ref(), Some(&answer));
    answer.home = Some(CARE_OF);
    assert_eq!(Packet::decode(&answer.encode()).as_ref(), Some(&answer), "both");
}

#[test]
fn what_is_malformed_is_void() {
    let mut good = Packet::new(CARE_OF, AGENT, Message::Update(update()));
    good.home = Some(HOME);
    good.routed_home = Some(HOME);
    let bytes = good.encode();
    assert!(Packet::decode(&bytes).is_some());
    for length in 0..bytes.len() {
        assert_eq!(Packet::decode(&bytes[..length]), None, "{length} bytes");
    }
    for (what, at, value) in [
        ("IPv4", 0, 0x45),
        ("a length beyond the end", 5, 65),
        ("another extension header", 6, 0),
        ("two segments left", 43, 2),
        ("a routing header of another type", 42, 0),
        ("an unknown destination option", 70, 202),
        ("a home address of another length", 71, 15),
        ("a long extension header", 65, 200),
        ("a multicast home address", 72, 0xff),
        ("another protocol", 64, 17),
        ("something behind the Mobility Header", 88, 17),
        ("a Mobility Header of another length", 89, 2),
        ("another checksum", 92, bytes[92] ^ 1),
    ] {
        let mut bad = bytes.clone();
        bad[at] = value;
        assert_eq!(Packet::decode(&bad), None, "{what}");
    }
    // An unknown message, and one too short for what it is, with right checksums.
    let unknown = with_sum(vec![59, 0, 99, 0, 0, 0, 0, 0]);
    let short = with_sum(vec![59, 0, 3, 0, 0, 0, 0, 0]);
    // Something behind the authorization data.
    let mut more = vec![59, 4, 5, 0, 0, 0, 0, 7, 0, 0, 0, 1, 1, 4, 0, 0, 0, 0, 5, 12];
    more.extend([0; 20]);
    let long_option = with_sum(vec![59, 1, 5, 0, 0, 0, 0, 7, 0, 0, 0, 1, 1, 9, 0, 0]);
    // Authentications: without a name, of another kind, and with padding that is not its own, whose bits nobody knows.
    let shown = |name: &[u8], subtype, padding| {
        let mut bytes = vec![59, 4, 5, 0, 0, 0, 0, 7, 0, 0, 0, 1];
        bytes.extend(name);
        bytes.extend([1, 2, padding, 0, 9, 17, subtype, 0, 0, 1, 0]);
        bytes.resize(40, 7);
        with_sum(bytes)
    };
    let name = [8, 3, 1, b'm', b'n'];
    assert!(Message::decode(&shown(&name, 1, 0), CARE_OF, AGENT).is_some());
    let nameless = shown(&[8, 3, 2, b'm', b'n'], 1, 0);
    let (of_another, padded) = (shown(&name, 2, 0), shown(&name, 1, 1));
    for bytes in [unknown, short, long_option, with_sum(more), nameless, of_another, padded] {
        assert_eq!(Message::decode(&bytes, CARE_OF, AGENT), None, "{bytes:?}");
    }
    // A refresh request with an option that nobody knows is one all the same.
    let option = with_sum(vec![59, 1, 0, 0, 0, 0, 0, 0, 77, 6, 1, 2, 3, 4, 5, 6]);
    assert_eq!(Message::decode(&option, CARE_OF, AGENT), Some(Message::RefreshRequest));
}

fn with_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = super::checksum::checksum(CARE_OF, AGENT, 135, &bytes);
    bytes[4..6].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn any_address() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from(bits >> 8 | 0x20 << 120))
}

/// At most one of the two that come last.
fn any_proof() -> impl Strategy<Value = (Option<[u8; 12]>, Option<Authentication>)> {
    let authentication = (".{0,20}", any::<u32>(), any::<[u8; 12]>());
    prop_oneof![
        any::<Option<[u8; 12]>>().prop_map(|authenticator| (authenticator, None)),
        authentication.prop_map(|(identifier, spi, authenticator)| {
            (None, Some(Authentication { identifier, spi, authenticator }))
        }),
    ]
}

prop_compose! {
    fn any_update()(
        sequence in any::<u16>(), flags in any::<[bool; 3]>(), lifetime in any::<u16>(),
        care_of in proptest::option::of(any_address()), nonces in any::<Option<[u16; 2]>>(),
        (authenticator, authentication) in any_proof(),
    ) -> Update {
        let [acknowledge, home_registration, map_registration] = flags;
        Update {
            sequence, acknowledge, home_registration, map_registration, lifetime, care_of, nonces, authenticator,
            authentication,
        }
    }
}

prop_compose! {
    fn any_acknowledgement()(
        status in any::<u8>(), sequence in any::<u16>(), lifetime in any::<u16>(), refresh in any::<Option<u16>>(),
        (authenticator, authentication) in any_proof(),
    ) -> Acknowledgement {
        Acknowledgement { status, sequence, lifetime, refresh, authenticator, authentication }
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let test = || any::<(u16, u64, u64)>().prop_map(|(nonce, cookie, token)| Test { nonce, cookie, token });
    prop_oneof![
        Just(Message::RefreshRequest),
        any::<u64>().prop_map(|cookie| Message::HomeTestInit { cookie }),
        any::<u64>().prop_map(|cookie| Message::CareOfTestInit { cookie }),
        test().prop_map(Message::HomeTest),
        test().prop_map(Message::CareOfTest),
        any_update().prop_map(Message::Update),
        any_acknowledgement().prop_map(Message::Acknowledgement),
        (any::<u8>(), any_address()).prop_map(|(status, home)| Message::Error { status, home }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        message in any_message(), addresses in proptest::array::uniform2(any_address()),
        homes in proptest::array::uniform2(proptest::option::of(any_address())),
    ) {
        let ([source, destination], [home, routed_home]) = (addresses, homes);
        let packet = Packet { source, destination, home, routed_home, message };
        prop_assert_eq!(Packet::decode(&packet.encode()), Some(packet));
    }

    #[test]
    fn bytes_of_any_kind_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        let _ = Packet::decode(&bytes);
    }

    /// Behind a good start more is looked at.
    #[test]
    fn changed_bytes_are_survived(message in any_message(), at in any::<proptest::sample::Index>(), with in any::<u8>()) {
        let packet = Packet { home: Some(HOME), routed_home: Some(HOME), ..Packet::new(CARE_OF, AGENT, message) };
        let mut bytes = packet.encode();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = Packet::decode(&bytes);
    }
}
