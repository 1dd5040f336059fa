//! A mobile node that makes its addresses itself: its sockets around the state machine, and the kernel's duplicate
//! address detection.

use crate::address_client::Step;
use crate::icmp6::Icmp6Socket;
use crate::watch::watch;
use anyhow::Context;
use samp_model::Time;
use samp_model::agent::{LinkAddress, LinkUp};
use samp_model::record::Event;
use samp_model::settings::{AddressSettings, Dad};
use samp_protocol::slaac::{ALL_ROUTERS, Host, HostOutput, Message};
use samp_sys::netlink::{AddressState, AddressWatch};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The host of one interface.
pub(crate) struct SlaacClient {
    machine: Host,
    mac: [u8; 6],
    interface: u32,
    dad: Dad,
    icmp: Icmp6Socket,
    addresses: AsyncFd<AddressWatch>,
    /// The link on which it is, with the address that it made there, once it has.
    link: Option<LinkUp>,
    /// With `trigger: ra`, the link to come, of which only an advertisement tells.
    next: Option<LinkUp>,
    /// Whether the kernel is still asking whether somebody else has that address.
    is_checking: bool,
    steps: VecDeque<Step>,
}

impl SlaacClient {
    /// Opens the sockets in the calling thread's network namespace.
    ///
    /// # Errors
    /// A privilege is missing, or the kernel cannot do what `dad` wants.
    pub(crate) fn open(
        name: &str,
        interface: u32,
        mac: [u8; 6],
        identifier: u64,
        settings: AddressSettings,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let dad = settings.dad;
        // Only now: the link-local address has come without, as its uniqueness follows from the plan's MAC addresses.
        let on = |is_on: bool| if is_on { "1" } else { "0" };
        for (parameter, value) in [
            ("accept_dad", on(dad != Dad::Off)),
            ("optimistic_dad", on(dad == Dad::Optimistic)),
            ("use_optimistic", on(dad == Dad::Optimistic)),
        ] {
            samp_sys::sysctl::write(&format!("net/ipv6/conf/{name}/{parameter}"), value)?;
        }
        let icmp = Icmp6Socket::open(name, interface).context("cannot open a socket for ICMPv6")?;
        let addresses = AddressWatch::open().context("cannot watch the kernel's addresses")?;
        Ok(Self {
            machine: Host::new(identifier, settings, seed),
            mac,
            interface,
            dad,
            icmp,
            addresses: watch(addresses, Interest::READABLE)?,
            link: None,
            next: None,
            is_checking: false,
            steps: VecDeque::new(),
        })
    }

    /// The radio is at another access router.
    pub(crate) fn handle_link_up(&mut self, now: Time, link: LinkUp) {
        self.steps.clear();
        self.is_checking = false;
        let router_mac = link.gateway_mac;
        self.link = Some(link);
        self.machine.handle_link_up(now, router_mac);
        self.flush(now);
    }

    /// The node will hear of this link by an advertisement there.
    pub(crate) fn expect(&mut self, link: LinkUp) {
        self.next = Some(link);
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        tokio::select! {
            ready = self.icmp.readable() => ready,
            ready = self.addresses.readable() => ready.map(drop),
        }
    }

    /// Takes what has arrived.
    pub(crate) fn handle_readable(&mut self) -> io::Result<()> {
        while let Some(received) = self.icmp.try_receive()? {
            let (at, from, is_solicited) = (received.at, received.from, received.is_unicast);
            let Some(Message::Advertisement(advertisement)) = Message::decode(received.bytes) else {
                continue;
            };
            if self.machine.has_moved(from, &advertisement) {
                self.handle_move(at, advertisement.source_mac);
            }
            self.machine.handle_advertisement(from, &advertisement);
            while let Some(output) = self.machine.poll_output() {
                self.obey(at, output, is_solicited);
            }
        }
        loop {
            match self.addresses.try_io_mut(Interest::READABLE, AddressWatch::next_change) {
                Ok(change) if change.interface == self.interface => {
                    self.handle_change(change.address, change.state);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// There is another router, which has this link-layer address.
    fn handle_move(&mut self, at: Time, router_mac: Option<[u8; 6]>) {
        let (Some(next), Some(router_mac)) = (self.next.take(), router_mac) else { return };
        self.steps.clear();
        self.is_checking = false;
        self.machine.handle_move(router_mac);
        self.steps.push_back(Step::Moved(at, next.handoff));
        self.link = Some(LinkUp { gateway_mac: router_mac, ..next });
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.machine.handle_timeout(now);
        self.flush(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.machine.poll_timeout()
    }

    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn flush(&mut self, now: Time) {
        while let Some(output) = self.machine.poll_output() {
            self.obey(now, output, false);
        }
    }

    fn obey(&mut self, at: Time, output: HostOutput, is_solicited: bool) {
        let Some(link) = &mut self.link else { return };
        let handoff = link.handoff;
        match output {
            HostOutput::Solicit => {
                let at = Time::from_nanos(samp_sys::clock::monotonic_nanos());
                let solicitation = Message::Solicitation { source_mac: Some(self.mac) };
                if let Err(error) = self.icmp.send(&solicitation.encode(), ALL_ROUTERS) {
                    // As if it had been lost: the host solicits again.
                    tracing::warn!(%error, "cannot send a router solicitation");
                }
                self.steps.push_back(Step::Record(at, Event::RouterSolicited { handoff }));
            }
            HostOutput::Form { address, router, map } => {
                let advertised = Event::RouterAdvertised { handoff, router, solicited: is_solicited };
                self.steps.push_back(Step::Record(at, advertised));
                link.addresses = vec![LinkAddress { address: address.into(), gateway: router.into() }];
                link.map = map;
                self.is_checking = self.dad != Dad::Off;
                self.steps.push_back(Step::Configure(link.clone(), self.dad));
            }
        }
    }

    /// The kernel tells of an address that is not checked any more.
    fn handle_change(&mut self, address: IpAddr, state: AddressState) {
        let Some(link) = self.link.as_ref().filter(|_| self.is_checking) else { return };
        let is_own = link.addresses.first().is_some_and(|own| own.address == address);
        if !is_own || state == AddressState::Tentative {
            return;
        }
        self.is_checking = false;
        let is_unique = state == AddressState::Usable;
        let at = Time::from_nanos(samp_sys::clock::monotonic_nanos());
        let checked = Event::AddressChecked { handoff: link.handoff, address, unique: is_unique };
        self.steps.push_back(Step::Record(at, checked));
        match (is_unique, self.dad) {
            (true, Dad::On) => self.steps.push_back(Step::Use(link.clone())),
            (true, _) => {}
            // RFC 4862 §5.4.5: it is not used, and there is no other one.
            (false, _) => self.steps.push_back(Step::Lose),
        }
    }
}
