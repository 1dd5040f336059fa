//! DHCP messages and their bytes (RFC 2131 §2, options of RFC 2132).

use samp_model::record::DhcpMessage;
use std::net::Ipv4Addr;
use std::time::Duration;

/// What client and server of a lab tell each other; other fields and options are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Option 53.
    pub kind: DhcpMessage,
    /// Which exchange it belongs to, `xid`.
    pub transaction: u32,
    /// The client's link-layer address, `chaddr`.
    pub mac: [u8; 6],
    /// Whether the client hears nothing but broadcasts (the flag BROADCAST).
    pub broadcast: bool,
    /// The client's address, when it has one already, `ciaddr`.
    pub client_address: Option<Ipv4Addr>,
    /// The address that the server gives, `yiaddr`.
    pub your_address: Option<Ipv4Addr>,
    /// Option 50: the address that the client asks for.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server that is meant, or that speaks.
    pub server: Option<Ipv4Addr>,
    /// Option 1.
    pub subnet_mask: Option<Ipv4Addr>,
    /// Option 3: the first router.
    pub router: Option<Ipv4Addr>,
    /// Option 51, in whole seconds.
    pub lease: Option<Duration>,
    /// Option 80 (RFC 4039).
    pub rapid_commit: bool,
}

/// `op`.
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// `htype` and `hlen` of Ethernet.
const ETHERNET: [u8; 2] = [1, 6];
/// Where the options begin, behind the magic cookie.
const COOKIE_AT: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// A message of BOOTP is so long at least (RFC 951 §3); some relays drop shorter ones.
const SHORTEST: usize = 300;

const PAD: u8 = 0;
const END: u8 = 255;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const RAPID_COMMIT: u8 = 80;

/// Values of option 53.
const KINDS: [(u8, DhcpMessage); 5] = [
    (1, DhcpMessage::Discover),
    (2, DhcpMessage::Offer),
    (3, DhcpMessage::Request),
    (5, DhcpMessage::Ack),
    (6, DhcpMessage::Nak),
];

impl Message {
    /// A message without any address or option but its type.
    pub fn new(kind: DhcpMessage, transaction: u32, mac: [u8; 6]) -> Self {
        Self {
            kind,
            transaction,
            mac,
            broadcast: false,
            client_address: None,
            your_address: None,
            requested: None,
            server: None,
            subnet_mask: None,
            router: None,
            lease: None,
            rapid_commit: false,
        }
    }

    /// Whether it comes from a server.
    fn is_reply(kind: DhcpMessage) -> bool {
        matches!(kind, DhcpMessage::Offer | DhcpMessage::Ack | DhcpMessage::Nak)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; COOKIE_AT];
        bytes[0] = if Self::is_reply(self.kind) { REPLY } else { REQUEST };
        bytes[1..3].copy_from_slice(&ETHERNET);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[10] = u8::from(self.broadcast) << 7;
        let address = |address: Option<Ipv4Addr>| address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        bytes[12..16].copy_from_slice(&address(self.client_address));
        bytes[16..20].copy_from_slice(&address(self.your_address));
        bytes[28..34].copy_from_slice(&self.mac);
        bytes.extend(COOKIE);
        let number = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or(0, |(number, _)| *number);
        bytes.extend([MESSAGE_TYPE, 1, number]);
        let addresses = [
            (REQUESTED_ADDRESS, self.requested),
            (SERVER_IDENTIFIER, self.server),
            (SUBNET_MASK, self.subnet_mask),
            (ROUTER, self.router),
        ];
        for (option, address) in addresses {
            if let Some(address) = address {
                bytes.extend([option, 4]);
                bytes.extend(address.octets());
            }
        }
        if let Some(lease) = self.lease {
            bytes.extend([LEASE_TIME, 4]);
            bytes.extend(u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
        }
        if self.rapid_commit {
            bytes.extend([RAPID_COMMIT, 0]);
        }
        bytes.push(END);
        bytes.resize(bytes.len().max(SHORTEST), PAD);
        bytes
    }

    /// What these bytes say; none when they are no DHCP message over Ethernet, or one of a type that nobody here sends.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let options = bytes.get(COOKIE_AT..)?.strip_prefix(&COOKIE)?;
        if bytes[1..3] != ETHERNET {
            return None;
        }
        let address =
            |at: usize| Some(Ipv4Addr::from(four(&bytes[at..at + 4])?)).filter(|a| !a.is_unspecified());
        let number = *option(options, MESSAGE_TYPE)?.first()?;
        let (_, kind) = *KINDS.iter().find(|(known, _)| *known == number)?;
        if bytes[0] != if Self::is_reply(kind) { REPLY } else { REQUEST } {
            return None;
        }
        let address_option = |code| Some(Ipv4Addr::from(four(option(options, code)?)?));
        Some(Self {
            kind,
            transaction: u32::from_be_bytes(four(&bytes[4..8])?),
            mac: bytes[28..34].try_into().ok()?,
            broadcast: bytes[10] >> 7 == 1,
            client_address: address(12),
            your_address: address(16),
            requested: address_option(REQUESTED_ADDRESS),
            server: address_option(SERVER_IDENTIFIER),
            subnet_mask: address_option(SUBNET_MASK),
            router: address_option(ROUTER),
            lease: option(options, LEASE_TIME)
                .and_then(four)
                .map(|seconds| Duration::from_secs(u32::from_be_bytes(seconds).into())),
            rapid_commit: option(options, RAPID_COMMIT).is_some(),
        })
    }
}

/// The first four bytes; of a list of addresses, the first one.
fn four(bytes: &[u8]) -> Option<[u8; 4]> {
    bytes.first_chunk().copied()
}

/// The value of the first option with this code; none behind one that is cut off.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [PAD, rest @ ..] => options = rest,
            [END, ..] | [] => return None,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                options = rest;
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = Message> {
        let kind = proptest::sample::select(KINDS.map(|(_, kind)| kind).to_vec());
        let some = || proptest::option::of((1..=u32::MAX).prop_map(Ipv4Addr::from));
        let addresses = (some(), some(), some(), some(), some(), some());
        (kind, any::<u32>(), any::<[u8; 6]>(), any::<[bool; 2]>(), addresses, any::<Option<u32>>()).prop_map(
            |(kind, transaction, mac, [broadcast, rapid_commit], addresses, lease)| {
                let (client_address, your_address, requested, server, subnet_mask, router) = addresses;
                Message {
                    kind,
                    transaction,
                    mac,
                    broadcast,
                    client_address,
                    your_address,
                    requested,
                    server,
                    subnet_mask,
                    router,
                    lease: lease.map(|lease| Duration::from_secs(lease.into())),
                    rapid_commit,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in messages()) {
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Message::decode(&bytes);
        }

        /// Headers and cookie are right, so that the options are looked at.
        #[test]
        fn any_options_are_read_without_harm(
            message in messages(),
            options in proptest::collection::vec(any::<u8>(), 0..64),
            cut in 0..310usize,
        ) {
            let mut bytes = message.encode();
            bytes.truncate(COOKIE_AT + COOKIE.len());
            bytes.extend(options);
            let _ = Message::decode(&bytes);
            bytes.truncate(cut);
            prop_assert!(cut >= COOKIE_AT + COOKIE.len() || Message::decode(&bytes).is_none());
        }
    }

    #[test]
    fn a_message_of_others_is_understood() {
        // As a common client sends it: unknown options, a list of parameters, padding between.
        let mut bytes = Message::new(DhcpMessage::Discover, 7, [2, 0, 0, 0, 0, 1]).encode();
        bytes.truncate(COOKIE_AT + COOKIE.len());
        bytes.extend([61, 7, 1, 2, 0, 0, 0, 0, 1, 0, 0, 53, 1, 1, 55, 3, 1, 3, 6, 80, 0, 255, 50, 4]);
        let message = Message::decode(&bytes).expect("a message");
        assert_eq!(
            (message.kind, message.rapid_commit, message.requested),
            (DhcpMessage::Discover, true, None)
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let good = Message::new(DhcpMessage::Offer, 7, [2; 6]).encode();
        // A request that says it is a reply, another link layer, no cookie, an unknown type.
        for (at, value) in [(0, REQUEST), (1, 6), (2, 16), (COOKIE_AT, 0), (COOKIE_AT + 6, 77)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(Message::decode(&bytes), None, "byte {at}");
        }
    }
}
