//! How mobile nodes get their addresses where the link trigger does not bring them: by DHCP or by stateless
//! autoconfiguration. The state machines are the lab's; here is what is around them: the radio link, and in the place of the
//! kernel duplicate address detection, which finds no duplicate.

use super::attachment::OnAir;
use super::{Actor, World};
use crate::wires::Hop;
use rand::RngExt;
use rand_pcg::Pcg64;
use samp_model::mobility::Agents;
use samp_model::random::{generator, seed_for};
use samp_model::settings::{AddressMethod, Dad};
use samp_model::topology::{NodeKind, Subnet};
use samp_model::{Event, NodeId, Time, Topology};
use samp_protocol::slaac::{ALL_NODES, HostOutput};
use samp_protocol::{Input, dhcp, slaac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A probe waits at random up to this, so that not all hosts probe at once (RFC 4862 §5.4.2, MAX_RTR_SOLICITATION_DELAY).
const PROBE_DELAY: Duration = Duration::from_secs(1);
/// How long an answer to it is waited for (RFC 4861 §10, RETRANS_TIMER).
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of Ethernet, IPv4 and UDP headers.
const DHCP_HEADERS: usize = 14 + 20 + 8;
/// Bytes of Ethernet and IPv6 headers.
const SLAAC_HEADERS: usize = 14 + 40;
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// The access routers' ends, and what is on its way between them and mobile nodes.
#[derive(Debug, Default)]
pub(super) struct Addressing {
    services: BTreeMap<NodeId, Service>,
    /// When advertisements are due.
    due: BTreeSet<(Time, NodeId)>,
    /// By arrival; the number keeps what arrives in one instant in order.
    on_link: BTreeMap<(Time, u64), OnLink>,
    sent: u64,
    /// Who is at each access router, or was last, and where each is.
    at: BTreeMap<NodeId, BTreeSet<NodeId>>,
    place_of: BTreeMap<NodeId, NodeId>,
}

/// What gives addresses at an access router.
#[derive(Debug)]
enum Service {
    Dhcp(dhcp::Server),
    Advertisements(Box<slaac::Router>),
}

/// Who wants addresses at a mobile node.
#[derive(Debug)]
pub(super) enum Client {
    Dhcp(Box<dhcp::Client>),
    Slaac(Box<SlaacClient>),
}

#[derive(Debug)]
pub(super) struct SlaacClient {
    host: slaac::Host,
    dad: Dad,
    random: Pcg64,
    /// With `trigger: ra`: only an advertisement will tell it of its new link.
    awaits_advertisement: bool,
    /// The mobility anchor point that it was told of last.
    map: Option<Ipv6Addr>,
    /// The address that is being checked, and until when.
    checking: Option<(Time, Ipv6Addr)>,
}

/// A message between a mobile node and its access router.
#[derive(Debug)]
struct OnLink {
    frame: OnAir,
    mobile_node: NodeId,
    access_router: NodeId,
    is_to_router: bool,
    message: Message,
}

#[derive(Clone, Debug)]
enum Message {
    Dhcp(dhcp::Message),
    Slaac {
        message: slaac::Message,
        /// Whether it is to this node alone.
        is_unicast: bool,
    },
}

impl Addressing {
    /// The access routers' ends; none where addresses are static.
    pub(super) fn new(topology: &Topology, agents: &Agents) -> Self {
        let mut addressing = Self::default();
        for (id, node) in topology.nodes() {
            let Some(subnet) = node.access().and_then(|access| access.subnets.first()) else { continue };
            let seed = seed_for(topology.seed, &format!("node {}", node.name));
            let map = agents.map_at(id);
            let Some(service) = Service::new(topology, id, subnet, map, seed) else { continue };
            addressing.due.extend(service.next_due().map(|due| (due, id)));
            addressing.services.insert(id, service);
        }
        addressing
    }

    /// Whether addresses take more than the link.
    pub(super) fn is_in_use(&self) -> bool {
        !self.services.is_empty()
    }

    /// When a message arrives next, or an advertisement is due.
    pub(super) fn next_instant(&self) -> Option<Time> {
        let arrival = self.on_link.first_key_value().map(|((at, _), _)| *at);
        arrival.into_iter().chain(self.due.first().map(|(at, _)| *at)).min()
    }
}

impl Service {
    fn new(
        topology: &Topology,
        access_router: NodeId,
        subnet: &Subnet,
        map: Option<Ipv6Addr>,
        seed: u64,
    ) -> Option<Self> {
        let settings = &topology.addressing;
        match (settings.address, subnet.gateway(), subnet.prefix) {
            (AddressMethod::Dhcp, IpAddr::V4(gateway), _) => {
                Some(Self::Dhcp(dhcp::Server::new(gateway, subnet.prefix_len, settings)))
            }
            (AddressMethod::Slaac, _, IpAddr::V6(prefix)) => {
                let mac = mac(access_router);
                let router = slaac::Router::new(Time::ZERO, mac, prefix, settings.clone(), seed);
                Some(Self::Advertisements(Box::new(map.into_iter().fold(router, slaac::Router::with_map))))
            }
            _ => None,
        }
    }

    fn next_due(&self) -> Option<Time> {
        match self {
            Self::Dhcp(_) => None,
            Self::Advertisements(router) => Some(router.poll_timeout()),
        }
    }
}

impl Client {
    /// What a mobile node with this host number has; none where addresses are static.
    pub(super) fn new(topology: &Topology, mobile_node: NodeId, seed: u64) -> Option<Self> {
        let NodeKind::MobileNode { host, .. } = topology.node(mobile_node).kind else { return None };
        let settings = topology.addressing.clone();
        Some(match settings.address {
            AddressMethod::Static => return None,
            AddressMethod::Dhcp => Self::Dhcp(Box::new(dhcp::Client::new(mac(mobile_node), settings, seed))),
            AddressMethod::Slaac => Self::Slaac(Box::new(SlaacClient {
                dad: settings.dad,
                host: slaac::Host::new(host.into(), settings, seed),
                random: generator(seed, "probe delay"),
                awaits_advertisement: false,
                map: None,
                checking: None,
            })),
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Dhcp(client) => client.poll_timeout(),
            Self::Slaac(client) => {
                let checked = client.checking.map(|(until, _)| until);
                client.host.poll_timeout().into_iter().chain(checked).min()
            }
        }
    }
}

impl World {
    /// A mobile node wants an address at this access router; it may not know yet that it is there.
    pub(super) fn look_for_address(&mut self, id: NodeId, access_router: NodeId, hears_by_itself: bool) {
        let Addressing { at, place_of, .. } = &mut self.addressing;
        if let Some(there) = place_of.insert(id, access_router).and_then(|old| at.get_mut(&old)) {
            there.remove(&id);
        }
        at.entry(access_router).or_default().insert(id);
        if let (Some(Service::Dhcp(server)), IpAddr::V4(address)) = (
            self.addressing.services.get_mut(&access_router),
            self.topology.care_of_address(id, access_router),
        ) {
            server.expect(mac(id), address);
        }
        let now = self.now;
        match self.actors[id.0].as_mut().and_then(|actor| actor.client.as_mut()) {
            Some(Client::Dhcp(client)) => client.handle_link_up(now),
            Some(Client::Slaac(client)) if hears_by_itself => client.awaits_advertisement = true,
            Some(Client::Slaac(client)) => {
                client.checking = None;
                client.host.handle_link_up(now, mac(access_router));
            }
            None => {}
        }
        self.flush_client(id, false);
    }

    /// An arrival or an advertisement is due.
    pub(super) fn step_addressing(&mut self, now: Time) {
        if let Some(arrival) = self.addressing.on_link.first_entry().filter(|entry| entry.key().0 <= now) {
            let message = arrival.remove();
            if !self.was_left_behind(message.frame) {
                self.arrive_on_link(message);
            }
        } else if let Some((_, router)) = self.addressing.due.pop_first() {
            self.advertise(router);
        }
    }

    fn arrive_on_link(&mut self, OnLink { mobile_node, access_router, is_to_router, message, .. }: OnLink) {
        if !is_to_router {
            return self.hear_of_address(mobile_node, access_router, message);
        }
        let now = self.now;
        match (self.addressing.services.get_mut(&access_router), message) {
            (Some(Service::Dhcp(server)), Message::Dhcp(message)) => {
                if let Some(answer) = server.answer(&message) {
                    self.send_on_link(mobile_node, access_router, false, Message::Dhcp(answer));
                }
            }
            (Some(Service::Advertisements(router)), Message::Slaac { .. }) => {
                self.addressing.due.remove(&(router.poll_timeout(), access_router));
                router.handle_solicitation(now, link_local(mobile_node));
                self.addressing.due.insert((router.poll_timeout(), access_router));
            }
            _ => {}
        }
    }

    /// Sends the advertisements of an access router that are due.
    fn advertise(&mut self, access_router: NodeId) {
        loop {
            let Some(Service::Advertisements(router)) = self.addressing.services.get_mut(&access_router)
            else {
                return;
            };
            let Some((to, message)) = router.poll_advertisement(self.now) else {
                self.addressing.due.insert((router.poll_timeout(), access_router));
                return;
            };
            let is_unicast = to != ALL_NODES;
            let there = self.addressing.at.get(&access_router).into_iter().flatten();
            let hearers: Vec<_> = there.copied().filter(|id| !is_unicast || link_local(*id) == to).collect();
            for mobile_node in hearers {
                let message = Message::Slaac { message: message.clone(), is_unicast };
                self.send_on_link(mobile_node, access_router, false, message);
            }
        }
    }

    /// Sends a message over a mobile node's radio link, if it has one to this access router.
    fn send_on_link(
        &mut self,
        mobile_node: NodeId,
        access_router: NodeId,
        is_to_router: bool,
        message: Message,
    ) {
        if self.attached_to(mobile_node) != Some(access_router) {
            return;
        }
        let bytes = match &message {
            Message::Dhcp(message) => DHCP_HEADERS + message.encode().len(),
            Message::Slaac { message, .. } => SLAAC_HEADERS + message.encode().len(),
        };
        let hop = Hop::Radio(mobile_node, usize::from(!is_to_router));
        for arrival in self.network.wires.pass(self.now, hop, bytes, false).into_iter().flatten() {
            let frame = self.note_on_air(mobile_node, access_router, self.now, arrival);
            let message = message.clone();
            self.addressing.sent += 1;
            self.addressing.on_link.insert(
                (arrival, self.addressing.sent),
                OnLink { frame, mobile_node, access_router, is_to_router, message },
            );
        }
    }

    /// A mobile node hears its access router. One that is paused does not.
    fn hear_of_address(&mut self, id: NodeId, access_router: NodeId, message: Message) {
        let (now, handoff) = (self.now, self.handoff_of(id));
        let Some(actor) = self.actors[id.0].as_mut().filter(|actor| actor.paused.is_none()) else { return };
        match (&mut actor.client, message) {
            (Some(Client::Dhcp(client)), Message::Dhcp(message)) => {
                client.handle_message(now, &message);
                self.flush_client(id, false);
            }
            (
                Some(Client::Slaac(client)),
                Message::Slaac { message: slaac::Message::Advertisement(advertisement), is_unicast },
            ) => {
                let from = link_local(access_router);
                let has_moved = client.awaits_advertisement && client.host.has_moved(from, &advertisement);
                if let Some(router_mac) = advertisement.source_mac.filter(|_| has_moved) {
                    client.awaits_advertisement = false;
                    client.checking = None;
                    client.host.handle_move(router_mac);
                }
                client.host.handle_advertisement(from, &advertisement);
                if has_moved {
                    self.input(id, Input::LinkTrigger { handoff });
                }
                self.flush_client(id, is_unicast);
            }
            _ => {}
        }
    }

    /// What a mobile node's client has waited for is due.
    pub(super) fn handle_client_timeout(&mut self, id: NodeId) {
        let (now, handoff) = (self.now, self.handoff_of(id));
        let Some(Actor { client: Some(client), paused: None, .. }) = &mut self.actors[id.0] else { return };
        match client {
            Client::Dhcp(client) => client.handle_timeout(now),
            Client::Slaac(client) => {
                client.host.handle_timeout(now);
                if let Some((_, address)) = client.checking.take_if(|(until, _)| *until <= now) {
                    let (address, is_usable) = (IpAddr::V6(address), client.dad == Dad::On);
                    self.note_event(id, Event::AddressChecked { handoff, address, unique: true });
                    if is_usable {
                        self.use_address(id, address);
                    }
                }
            }
        }
        self.flush_client(id, false);
    }

    /// Does what a mobile node's client wants; `is_solicited` is of what it has just heard.
    fn flush_client(&mut self, id: NodeId, is_solicited: bool) {
        let handoff = self.handoff_of(id);
        let access_router = self.attached_to(id);
        while let Some(Actor { client: Some(client), paused: None, .. }) = &mut self.actors[id.0] {
            match client {
                Client::Dhcp(client) => match client.poll_output() {
                    Some(dhcp::ClientOutput::Send(message, _)) => {
                        self.note_event(id, Event::DhcpSent { handoff, message: message.kind });
                        if let Some(access_router) = access_router {
                            self.send_on_link(id, access_router, true, Message::Dhcp(message));
                        }
                    }
                    Some(dhcp::ClientOutput::Received(message)) => {
                        self.note_event(id, Event::DhcpReceived { handoff, message });
                    }
                    Some(dhcp::ClientOutput::Bound(lease)) => self.use_address(id, lease.address.into()),
                    Some(dhcp::ClientOutput::Lost) => self.lose_address(id),
                    None => break,
                },
                Client::Slaac(client) => match client.host.poll_output() {
                    Some(HostOutput::Solicit) => {
                        self.note_event(id, Event::RouterSolicited { handoff });
                        if let Some(access_router) = access_router {
                            let message = slaac::Message::Solicitation { source_mac: Some(mac(id)) };
                            let message = Message::Slaac { message, is_unicast: false };
                            self.send_on_link(id, access_router, true, message);
                        }
                    }
                    Some(HostOutput::Form { address, router, map }) => {
                        client.map = map;
                        let probe = match client.dad {
                            Dad::Off => None,
                            Dad::Optimistic => Some(Duration::ZERO),
                            Dad::On => Some(PROBE_DELAY.mul_f64(client.random.random())),
                        };
                        client.checking = probe.map(|delay| (self.now + delay + PROBE_TIMEOUT, address));
                        let is_usable = client.dad != Dad::On;
                        let solicited = is_solicited;
                        self.note_event(id, Event::RouterAdvertised { handoff, router, solicited });
                        if is_usable {
                            self.use_address(id, address.into());
                        } else {
                            // Those of the old link are gone, and this one may not be used yet.
                            self.lose_address(id);
                        }
                    }
                    None => break,
                },
            }
        }
        self.flush(id);
    }

    fn use_address(&mut self, id: NodeId, address: IpAddr) {
        let handoff = self.handoff_of(id);
        self.take_address(id, address);
        if let Some(Actor { client: Some(Client::Slaac(client)), .. }) = &self.actors[id.0]
            && self.is_mobile_ip()
        {
            self.input(id, Input::MapAdvertised(client.map));
        }
        self.input(id, Input::AddressConfigured { handoff, address });
    }

    fn lose_address(&mut self, id: NodeId) {
        let address = self.actors[id.0].as_mut().and_then(|actor| actor.address.take());
        address.map(|address| self.owners.remove(&address));
    }
}

/// A node's link-layer address: one that it administers itself.
fn mac(node: NodeId) -> [u8; 6] {
    let [a, b, c, d] = (node.0 as u32).to_be_bytes();
    [2, 0, a, b, c, d]
}

/// A node's link-local address.
fn link_local(node: NodeId) -> Ipv6Addr {
    (u128::from(LINK_LOCAL) + node.0 as u128 + 1).into()
}
