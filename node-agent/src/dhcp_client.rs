//! A mobile node's DHCP client: its sockets around the state machine.

use crate::address_client::Step;
use crate::udp::{Departure, UdpSocket};
use anyhow::Context;
use samp_model::Time;
use samp_model::agent::{LinkAddress, LinkUp};
use samp_model::record::Event;
use samp_model::settings::{AddressSettings, Dad, Family};
use samp_protocol::dhcp::{CLIENT_PORT, Client, ClientOutput, Destination, Message, SERVER_PORT};
use samp_sys::frames::FrameSocket;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// The EtherType of IPv4.
const IPV4: u16 = 0x0800;

/// The client of one interface.
pub(crate) struct DhcpClient {
    machine: Client,
    interface: u32,
    /// For what is sent while there is no address, or only that of the old link: a UDP socket would not leave the
    /// source address out.
    frames: FrameSocket,
    udp: UdpSocket,
    /// The link on which it is.
    link: Option<LinkUp>,
    /// When the machine was last told something.
    told: Time,
}

impl DhcpClient {
    /// Opens the sockets in the calling thread's network namespace.
    ///
    /// # Errors
    /// The port is taken, or a privilege is missing.
    pub(crate) fn open(
        interface: u32,
        mac: [u8; 6],
        settings: AddressSettings,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let udp = UdpSocket::bind(Family::Ipv4, CLIENT_PORT).context("cannot open the DHCP socket")?;
        udp.allow_broadcast().context("cannot broadcast")?;
        let frames = FrameSocket::open_to_send(IPV4).context("cannot open a packet socket")?;
        let machine = Client::new(mac, settings, seed);
        Ok(Self { machine, interface, frames, udp, link: None, told: Time::ZERO })
    }

    /// The radio is at another access router.
    pub(crate) fn handle_link_up(&mut self, now: Time, link: LinkUp) {
        self.link = Some(link);
        self.told = now;
        self.machine.handle_link_up(now);
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.udp.readable().await
    }

    /// Takes what has arrived.
    pub(crate) fn handle_readable(&mut self) -> io::Result<()> {
        while let Some(datagram) = self.udp.try_receive()? {
            if let Some(message) = Message::decode(datagram.payload) {
                self.told = datagram.at;
                self.machine.handle_message(datagram.at, &message);
            }
        }
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.told = now;
        self.machine.handle_timeout(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.machine.poll_timeout()
    }

    /// Sends what is to be sent, up to the next thing that the driver has to do.
    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        let output = self.machine.poll_output()?;
        let LinkUp { handoff, gateway_mac, .. } = *self.link.as_ref()?;
        Some(match output {
            ClientOutput::Send(message, destination) => {
                let at = Time::from_nanos(samp_sys::clock::monotonic_nanos());
                if let Err(error) = self.send(&message, destination) {
                    // As if it had been lost: the client sends again.
                    tracing::warn!(%error, message = ?message.kind, "cannot send a DHCP message");
                }
                Step::Record(at, Event::DhcpSent { handoff, message: message.kind })
            }
            ClientOutput::Received(message) => {
                Step::Record(self.told, Event::DhcpReceived { handoff, message })
            }
            ClientOutput::Bound(lease) => {
                let address = LinkAddress { address: lease.address.into(), gateway: lease.router.into() };
                Step::Configure(
                    LinkUp { handoff, radio: 0, addresses: vec![address], gateway_mac, map: None },
                    Dad::Off,
                )
            }
            ClientOutput::Lost => Step::Lose,
        })
    }

    fn send(&self, message: &Message, destination: Destination) -> io::Result<()> {
        let payload = message.encode();
        let departure = Departure { interface: Some(self.interface), ..Departure::default() };
        let to = |address: Ipv4Addr| SocketAddr::new(address.into(), SERVER_PORT);
        match destination {
            Destination::Unbound => self.frames.send(self.interface, [0xff; 6], &unbound_packet(&payload)),
            Destination::Broadcast => self.udp.send(&payload, to(Ipv4Addr::BROADCAST), departure),
            Destination::Server(server) => self.udp.send(&payload, to(server), departure),
        }
    }
}

/// An IPv4 packet from no address to all on the link: a UDP datagram for a DHCP server (RFC 2131 §4.1).
fn unbound_packet(payload: &[u8]) -> Vec<u8> {
    const HEADERS: u16 = 20 + 8;
    let length = |headers: u16| (headers + payload.len() as u16).to_be_bytes();
    let mut ip = [0; 20];
    // Version 4, five words of header; time to live; UDP.
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&length(HEADERS));
    ip[8] = 64;
    ip[9] = 17;
    ip[16..20].copy_from_slice(&Ipv4Addr::BROADCAST.octets());
    let sum: u32 = ip.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    let mut packet = ip.to_vec();
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(length(8));
    // No checksum, which UDP allows over IPv4 (RFC 768).
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_is_a_datagram_to_all() {
        let packet = unbound_packet(&[7; 300]);
        assert_eq!(packet.len(), 20 + 8 + 300);
        // RFC 1071: a header with its checksum adds up to all ones.
        let words =
            packet[..20].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(packet[2..4], 328u16.to_be_bytes());
        assert_eq!(packet[12..20], [0, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(packet[20..28], [0, 68, 0, 67, 1, 52, 0, 0]);
    }
}
