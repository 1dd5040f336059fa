//! The DHCP server of an access router: manual allocation (RFC 2131 §1), so that it keeps no state of its clients.

use super::message::Message;
use samp_model::record::DhcpMessage;
use samp_model::settings::AddressSettings;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A server for one subnet.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its own address there, which is also the router's.
    address: Ipv4Addr,
    subnet_mask: Ipv4Addr,
    lease: Duration,
    rapid_commit: bool,
    /// Who may come, and the address of each.
    expected: BTreeMap<[u8; 6], Ipv4Addr>,
}

impl Server {
    /// A server with this address on a subnet with so many bits of prefix, who expects nobody.
    pub fn new(address: Ipv4Addr, prefix_len: u8, settings: &AddressSettings) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
        Self {
            address,
            subnet_mask: mask.into(),
            lease: settings.lease,
            rapid_commit: settings.rapid_commit,
            expected: BTreeMap::new(),
        }
    }

    /// From now on this client gets this address.
    pub fn expect(&mut self, mac: [u8; 6], address: Ipv4Addr) {
        self.expected.insert(mac, address);
    }

    /// The answer to a message, if it is for this server and wants one (RFC 2131 §4.3).
    pub fn answer(&self, message: &Message) -> Option<Message> {
        let address = self.expected.get(&message.mac).copied();
        match message.kind {
            DhcpMessage::Discover => {
                let commits = self.rapid_commit && message.rapid_commit;
                let kind = if commits { DhcpMessage::Ack } else { DhcpMessage::Offer };
                Some(Message { rapid_commit: commits, ..self.gives(kind, message, address?) })
            }
            // Somebody else's offer was taken.
            DhcpMessage::Request if message.server.is_some_and(|server| server != self.address) => None,
            DhcpMessage::Request => {
                let asked = message.requested.or(message.client_address)?;
                match address {
                    Some(address) if asked == address => Some(self.gives(DhcpMessage::Ack, message, address)),
                    // Who did not mean this server hears of a wrong network only (RFC 2131 §4.3.2).
                    None if message.server.is_none() && self.is_on_subnet(asked) => None,
                    _ => Some(Message {
                        broadcast: true,
                        server: Some(self.address),
                        ..Message::new(DhcpMessage::Nak, message.transaction, message.mac)
                    }),
                }
            }
            DhcpMessage::Offer | DhcpMessage::Ack | DhcpMessage::Nak => None,
        }
    }

    fn gives(&self, kind: DhcpMessage, message: &Message, address: Ipv4Addr) -> Message {
        Message {
            broadcast: message.broadcast,
            client_address: message.client_address,
            your_address: Some(address),
            server: Some(self.address),
            subnet_mask: Some(self.subnet_mask),
            router: Some(self.address),
            lease: Some(self.lease),
            ..Message::new(kind, message.transaction, message.mac)
        }
    }

    fn is_on_subnet(&self, address: Ipv4Addr) -> bool {
        address & self.subnet_mask == self.address & self.subnet_mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::settings::AddressProfile;

    const KNOWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
    const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

    fn server(profile: AddressProfile) -> Server {
        let mut server = Server::new(SERVER, 24, &AddressSettings::of_profile(profile));
        server.expect(KNOWN, GIVEN);
        server
    }

    #[test]
    fn each_message_has_its_answer() {
        use DhcpMessage::*;
        let slow = server(AddressProfile::Rfc);
        let fast = server(AddressProfile::Fast);
        // The server's rapid commit, who asks, what, of which server, for which address, whether it takes two messages:
        // what it hears.
        let table = [
            (&slow, KNOWN, Discover, None, None, false, Some(Offer)),
            (&slow, KNOWN, Discover, None, None, true, Some(Offer)),
            (&fast, KNOWN, Discover, None, None, false, Some(Offer)),
            (&fast, KNOWN, Discover, None, None, true, Some(Ack)),
            (&fast, STRANGER, Discover, None, None, true, None),
            (&slow, KNOWN, Request, Some(SERVER), Some(GIVEN), false, Some(Ack)),
            (&slow, KNOWN, Request, Some(SERVER), Some(ELSEWHERE), false, Some(Nak)),
            (&slow, KNOWN, Request, Some(ELSEWHERE), Some(GIVEN), false, None),
            (&slow, KNOWN, Request, None, Some(GIVEN), false, Some(Ack)),
            (&slow, KNOWN, Request, None, Some(ELSEWHERE), false, Some(Nak)),
            (&slow, KNOWN, Request, None, None, false, None),
            (&slow, STRANGER, Request, None, Some(ELSEWHERE), false, Some(Nak)),
            (&slow, STRANGER, Request, None, Some(GIVEN), false, None),
            (&slow, STRANGER, Request, Some(SERVER), Some(GIVEN), false, Some(Nak)),
            (&slow, KNOWN, Offer, None, None, false, None),
            (&slow, KNOWN, Ack, None, None, false, None),
            (&slow, KNOWN, Nak, None, None, false, None),
        ];
        for (number, (server, mac, kind, of, requested, rapid_commit, expected)) in
            table.into_iter().enumerate()
        {
            let message = Message { server: of, requested, rapid_commit, ..Message::new(kind, 7, mac) };
            let answer = server.answer(&message);
            assert_eq!(answer.as_ref().map(|answer| answer.kind), expected, "row {number}");
            if let Some(answer) = answer.filter(|answer| answer.kind != Nak) {
                let told = (answer.your_address, answer.router, answer.subnet_mask, answer.transaction);
                let mask = Ipv4Addr::new(255, 255, 255, 0);
                assert_eq!(told, (Some(GIVEN), Some(SERVER), Some(mask), 7), "row {number}");
            }
        }
    }

    #[test]
    fn a_client_renews_with_the_address_that_it_has() {
        let server = server(AddressProfile::Rfc);
        let renew = Message { client_address: Some(GIVEN), ..Message::new(DhcpMessage::Request, 7, KNOWN) };
        assert_eq!(server.answer(&renew).map(|answer| answer.kind), Some(DhcpMessage::Ack));
    }
}
