//! An access router's DHCP server: its socket around the state machine.

use crate::udp::{Departure, UdpSocket};
use anyhow::{Context, bail};
use samp_model::settings::{AddressSettings, Family};
use samp_model::topology::Subnet;
use samp_protocol::dhcp::{CLIENT_PORT, Message, SERVER_PORT, Server};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A DHCP server and its socket.
pub(crate) struct DhcpServer {
    machine: Server,
    address: Ipv4Addr,
    interface: u32,
    udp: UdpSocket,
}

impl DhcpServer {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The port is taken, a privilege is missing, or the subnet is not IPv4.
    pub(crate) fn open(
        name: &str,
        interface: u32,
        subnet: &Subnet,
        settings: &AddressSettings,
    ) -> anyhow::Result<Self> {
        let IpAddr::V4(address) = subnet.gateway() else { bail!("DHCP is for IPv4") };
        let udp = UdpSocket::bind(Family::Ipv4, SERVER_PORT).context("cannot open the DHCP socket")?;
        udp.allow_broadcast().context("cannot broadcast")?;
        udp.bind_to_interface(name).with_context(|| format!("cannot bind to interface {name}"))?;
        let machine = Server::new(address, subnet.prefix_len, settings);
        Ok(Self { machine, address, interface, udp })
    }

    /// From now on this client gets this address.
    pub(crate) fn expect(&mut self, mac: [u8; 6], address: Ipv4Addr) {
        self.machine.expect(mac, address);
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.udp.readable().await
    }

    /// Answers what has arrived.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        while let Some(datagram) = self.udp.try_receive()? {
            let Some(message) = Message::decode(datagram.payload) else { continue };
            let Some(answer) = self.machine.answer(&message) else { continue };
            // RFC 2131 §4.1. A client without an address, but which hears what is sent to it, is a neighbour of the
            // router's already.
            let to = match (answer.broadcast, answer.client_address, answer.your_address) {
                (false, Some(address), _) | (false, None, Some(address)) => address,
                _ => Ipv4Addr::BROADCAST,
            };
            let departure = Departure {
                source: Some(self.address.into()),
                interface: Some(self.interface),
                ..Departure::default()
            };
            let to = SocketAddr::new(to.into(), CLIENT_PORT);
            if let Err(error) = self.udp.send(&answer.encode(), to, departure) {
                // As if it had been lost: the client asks again.
                tracing::warn!(%error, %to, "cannot send a DHCP message");
            }
        }
        Ok(())
    }
}
