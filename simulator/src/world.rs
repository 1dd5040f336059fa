//! The nodes of a topology, the messages between them, and the clock.

use crate::network::Network;
use samp_model::agent::{AgentConfig, Role};
use samp_model::ring::RingView;
use samp_model::topology::NodeKind;
use samp_model::{NodeId, Record, Time, Topology};
use samp_protocol::sip::{self, Message, Transport};
use samp_protocol::{Input, Node, Output, RingKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The port of SIP.
const SIP_PORT: u16 = 5060;
/// What the servers share with `auth: digest`.
const RING_KEY: &str = "simulated";

/// A topology's servers and mobile nodes in virtual time.
pub struct World {
    topology: Topology,
    network: Network,
    now: Time,
    /// What is under way, by arrival; the number keeps messages of one instant in the order of their sending.
    in_flight: BTreeMap<(Time, u64), InFlight>,
    sent: u64,
    actors: BTreeMap<NodeId, Actor>,
    /// When each actor wants to hear of the time.
    timeouts: BTreeSet<(Time, NodeId)>,
    /// Who has which address now.
    owners: BTreeMap<IpAddr, NodeId>,
    ring: RingView,
    records: Vec<Record>,
}

struct Actor {
    node: Box<dyn Node>,
    address: Option<IpAddr>,
    handoff: u32,
    timeout: Option<Time>,
}

struct InFlight {
    from: SocketAddr,
    to: SocketAddr,
    /// The group, for a multicast message; `to` is then one of its members.
    group: Option<IpAddr>,
    message: Message,
}

impl World {
    /// All servers of the topology started, no mobile node attached.
    pub fn new(topology: Topology, seed: u64) -> Self {
        let mut world = Self {
            network: Network::new(seed),
            now: Time::ZERO,
            in_flight: BTreeMap::new(),
            sent: 0,
            actors: BTreeMap::new(),
            timeouts: BTreeSet::new(),
            owners: BTreeMap::new(),
            ring: RingView::default(),
            records: Vec::new(),
            topology,
        };
        let servers: Vec<_> = world.topology.sip_servers().collect();
        let mobile_nodes: Vec<_> = world.topology.mobile_nodes().collect();
        let first = servers.first().and_then(|&id| world.topology.node(id).address());
        for id in servers.into_iter().chain(mobile_nodes) {
            let node = world.topology.node(id);
            let address = node.address();
            let role = match &node.kind {
                NodeKind::MobileNode { address_of_record, .. } => Role::MobileNode {
                    address_of_record: address_of_record.clone(),
                    interface: String::new(),
                    family: world.topology.family,
                    media: world.topology.media.clone(),
                },
                _ => Role::SipServer {
                    address: SocketAddr::new(address.expect("a server has an address"), SIP_PORT),
                    join: first
                        .filter(|first| Some(*first) != address)
                        .map(|ip| SocketAddr::new(ip, SIP_PORT)),
                    interface: String::new(),
                },
            };
            let samp = world.topology.samp.clone();
            let config = AgentConfig {
                name: node.name.clone(),
                seed: seed ^ (id.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                samp: samp.clone(),
                secret: samp.auth.is_on().then(|| match &role {
                    Role::SipServer { .. } => RING_KEY.to_owned(),
                    Role::MobileNode { address_of_record, .. } => {
                        RingKey::new(RING_KEY).password(&samp, address_of_record)
                    }
                }),
                role,
            };
            let node = samp_protocol::build(&config, world.now).expect("a valid address-of-record");
            world.owners.extend(address.map(|address| (address, id)));
            world.actors.insert(id, Actor { node, address, handoff: 0, timeout: None });
            world.flush(id);
        }
        world
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What has happened so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// From now on messages are lost with this probability.
    pub fn set_loss(&mut self, loss: f64) {
        self.network.set_loss(loss);
    }

    /// Attaches a mobile node to an access router: for the first time, or as a handoff. Its number is returned.
    pub fn attach(&mut self, mobile_node: NodeId, access_router: NodeId) -> u32 {
        let address = self.topology.care_of_address(mobile_node, access_router);
        let actor = self.actors.get_mut(&mobile_node).expect("a node that has not crashed");
        let handoff = actor.handoff;
        actor.handoff += 1;
        let left = actor.address.replace(address);
        actor.node.handle_input(self.now, Input::LinkTrigger { handoff });
        actor.node.handle_input(self.now, Input::AddressConfigured { handoff, address });
        left.map(|address| self.owners.remove(&address));
        self.owners.insert(address, mobile_node);
        self.flush(mobile_node);
        handoff
    }

    /// Attaches every mobile node where it starts.
    pub fn attach_all(&mut self) {
        let starts: Vec<_> = self
            .topology
            .nodes()
            .filter_map(|(id, node)| match node.kind {
                NodeKind::MobileNode { start, .. } => Some((id, start)),
                _ => None,
            })
            .collect();
        for (mobile_node, start) in starts {
            self.attach(mobile_node, start);
        }
    }

    /// Lets one mobile node call another; the Call-ID is returned.
    pub fn call(&mut self, caller: NodeId, callee: NodeId) -> String {
        let NodeKind::MobileNode { address_of_record, .. } = &self.topology.node(callee).kind else {
            panic!("{} is no mobile node", self.topology.node(callee).name)
        };
        let call = format!("call-{}", self.sent);
        let input = Input::Call { callee: address_of_record.clone(), call: call.clone() };
        self.input(caller, input);
        call
    }

    /// Ends all calls of a mobile node.
    pub fn hang_up(&mut self, mobile_node: NodeId) {
        self.input(mobile_node, Input::HangUp { call: None });
    }

    /// Moves a call from the mobile node that is in it to another one.
    pub fn transfer(&mut self, from: NodeId, call: &str, to: NodeId) {
        let address = self.actors.get(&to).and_then(|actor| actor.address).expect("an attached node");
        let NodeKind::MobileNode { address_of_record, .. } = &self.topology.node(to).kind else {
            panic!("{} is no mobile node", self.topology.node(to).name)
        };
        let user = address_of_record.trim_start_matches("sip:").split('@').next().unwrap_or_default();
        let target = format!("sip:{user}@{}", SocketAddr::new(address, SIP_PORT));
        self.input(from, Input::Transfer { call: call.to_owned(), target });
    }

    /// Lets a mobile node leave: its servers are to forget it.
    pub fn deregister(&mut self, mobile_node: NodeId) {
        self.input(mobile_node, Input::Deregister);
    }

    /// Ends a node without a word.
    pub fn crash(&mut self, node: NodeId) {
        if let Some(actor) = self.actors.remove(&node) {
            actor.address.map(|address| self.owners.remove(&address));
            actor.timeout.map(|at| self.timeouts.remove(&(at, node)));
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_instant().filter(|&next| next <= end) {
            self.step(next);
        }
        self.now = end;
    }

    /// Lets time pass, for `limit` at most, until `shown` says of some record that it has seen enough.
    ///
    /// Every record is shown once, those of the past first. Says whether that point was reached.
    pub fn run_until(&mut self, limit: Duration, mut shown: impl FnMut(&Record) -> bool) -> bool {
        let end = self.now + limit;
        let mut seen = 0;
        loop {
            let fresh = &self.records[seen..];
            seen += fresh.len();
            if fresh.iter().filter(|record| shown(record)).count() > 0 {
                return true;
            }
            let Some(next) = self.next_instant().filter(|&next| next <= end) else { return false };
            self.step(next);
        }
    }

    /// Lets time pass, for `limit` at most, until the servers that have not crashed form an ideal ring. Says whether
    /// they do.
    pub fn run_until_ring_is_ideal(&mut self, limit: Duration) -> bool {
        let end = self.now + limit;
        while !self.ring_is_ideal() {
            let Some(next) = self.next_instant().filter(|&next| next <= end) else { return false };
            self.step(next);
        }
        true
    }

    fn ring_is_ideal(&self) -> bool {
        let servers = self.topology.sip_servers().filter(|id| self.actors.contains_key(id));
        let names: Vec<_> = servers.map(|id| self.topology.node(id).name.as_str()).collect();
        self.ring.out_of_place(&names, &self.topology.samp.chord).is_empty()
    }

    fn next_instant(&self) -> Option<Time> {
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        let timeout = self.timeouts.first().map(|(at, _)| *at);
        [arrival, timeout].into_iter().flatten().min()
    }

    fn step(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.in_flight.keys().next().is_some_and(|(at, _)| *at <= now) {
            let arrived = self.in_flight.pop_first();
            arrived.into_iter().for_each(|(_, message)| self.deliver(message));
        } else if let Some((_, id)) = self.timeouts.pop_first() {
            if let Some(actor) = self.actors.get_mut(&id) {
                actor.node.handle_timeout(now);
            }
            self.flush(id);
        }
    }

    /// Who has the address now gets the message; nobody may.
    fn deliver(&mut self, InFlight { from, to, group, message }: InFlight) {
        if let Some(&id) = self.owners.get(&to.ip()) {
            let to = group.unwrap_or(to.ip());
            self.input(id, Input::Message { from, to, transport: Transport::Udp, message });
        }
    }

    fn input(&mut self, id: NodeId, input: Input) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.node.handle_input(self.now, input);
            self.flush(id);
        }
    }

    fn flush(&mut self, id: NodeId) {
        let name = self.topology.node(id).name.clone();
        let Some(actor) = self.actors.get_mut(&id) else { return };
        while let Some(output) = actor.node.poll_event() {
            if let Output::Record(event) = output {
                let record = Record { at: self.now, node: name.clone(), event };
                self.ring.note(&record);
                self.records.push(record);
            }
        }
        if let Some(at) = actor.timeout.take() {
            self.timeouts.remove(&(at, id));
        }
        actor.timeout = actor.node.poll_timeout();
        self.timeouts.extend(actor.timeout.map(|at| (at, id)));
        let Some(source) = actor.address else { return };
        let mut transmits = Vec::new();
        while let Some(transmit) = actor.node.poll_transmit() {
            transmits.push(transmit);
        }
        for transmit in transmits {
            // Through its wire form and back, so that what the lab could not say is not said here either.
            let message =
                sip::parse(&transmit.message.to_bytes()).expect("what a node sends, a node can read");
            let group = transmit.destination.ip();
            if group == self.topology.samp.discovery_group(self.topology.family) {
                let servers = self.topology.sip_servers();
                let members: Vec<_> = servers.filter_map(|id| self.topology.node(id).address()).collect();
                for member in members {
                    let to = SocketAddr::new(member, transmit.destination.port());
                    self.send(source, to, Some(group), message.clone());
                }
            } else {
                self.send(source, transmit.destination, None, message);
            }
        }
    }

    fn send(&mut self, source: IpAddr, to: SocketAddr, group: Option<IpAddr>, message: Message) {
        let Some(delay) = self.network.send(&self.topology, source, to.ip()) else { return };
        self.sent += 1;
        let from = SocketAddr::new(source, SIP_PORT);
        self.in_flight.insert((self.now + delay, self.sent), InFlight { from, to, group, message });
    }
}
