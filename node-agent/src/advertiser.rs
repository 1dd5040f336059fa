//! An access router's advertisements: its socket around the state machine.

use crate::icmp6::Icmp6Socket;
use anyhow::{Context, bail};
use samp_model::Time;
use samp_model::settings::AddressSettings;
use samp_model::topology::Subnet;
use samp_protocol::slaac::{Message, Router};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

/// A router that advertises its network's prefix, and its socket.
pub(crate) struct Advertiser {
    machine: Router,
    icmp: Icmp6Socket,
}

impl Advertiser {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// A privilege is missing, or the subnet is not IPv6.
    pub(crate) fn open(
        name: &str,
        interface: u32,
        mac: [u8; 6],
        subnet: &Subnet,
        map: Option<Ipv6Addr>,
        settings: AddressSettings,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let IpAddr::V6(prefix) = subnet.prefix else { bail!("router advertisements are for IPv6") };
        let icmp = Icmp6Socket::open(name, interface).context("cannot open a socket for ICMPv6")?;
        let now = Time::from_nanos(samp_sys::clock::monotonic_nanos());
        let machine = Router::new(now, mac, prefix, settings, seed);
        Ok(Self { machine: map.into_iter().fold(machine, Router::with_map), icmp })
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.icmp.readable().await
    }

    /// Takes what has arrived, and sends what is due.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        while let Some(received) = self.icmp.try_receive()? {
            if let Some(Message::Solicitation { .. }) = Message::decode(received.bytes) {
                self.machine.handle_solicitation(received.at, received.from);
            }
        }
        self.handle_timeout(Time::from_nanos(samp_sys::clock::monotonic_nanos()));
        Ok(())
    }

    /// Sends what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some((to, message)) = self.machine.poll_advertisement(now) {
            if let Err(error) = self.icmp.send(&message.encode(), to) {
                // As if it had been lost: there will be another one.
                tracing::warn!(%error, %to, "cannot send a router advertisement");
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Time {
        self.machine.poll_timeout()
    }
}
