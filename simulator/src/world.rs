//! The nodes of a topology, and the clock.

mod flight;

use crate::network::{Network, Place, Weather};
use crate::trace::Trace;
use flight::InFlight;
use samp_model::agent::{AgentConfig, Role};
use samp_model::paths::WiredGraph;
use samp_model::ring::RingView;
use samp_model::topology::NodeKind;
use samp_model::{Event, NodeId, Record, Time, Topology};
use samp_protocol::{Census, Input, MediaCommand, Node, Output, RingKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The port of SIP.
pub(crate) const SIP_PORT: u16 = 5060;
/// What the servers share with `auth: digest`.
const RING_KEY: &str = "simulated";
/// What waits for a paused node at most, as in a socket's buffer; more is lost.
const INBOX: usize = 1000;

/// A topology's servers and mobile nodes in virtual time.
pub struct World {
    topology: Topology,
    seed: u64,
    network: Network,
    now: Time,
    /// What is under way, by arrival; the number keeps messages of one instant in the order of their sending.
    in_flight: BTreeMap<(Time, u64), Box<InFlight>>,
    sent: u64,
    steps: u64,
    calls: u64,
    /// By [`NodeId`]; routers and crashed nodes have none.
    actors: Vec<Option<Actor>>,
    /// How often each node has started.
    starts: Vec<u64>,
    /// Where mobile nodes are attached, running or not.
    attached: BTreeMap<NodeId, Attachment>,
    /// When each actor wants to hear of the time.
    timeouts: BTreeSet<(Time, NodeId)>,
    /// Who has which address now.
    owners: HashMap<IpAddr, NodeId>,
    /// Where every address is that anybody has had.
    places: HashMap<IpAddr, Place>,
    servers: Vec<(NodeId, IpAddr)>,
    ring: RingView,
    ring_changed_at: Time,
    /// Whether the ring is ideal, once it has been looked at since its last change.
    ideal: Option<bool>,
    happened: Vec<Happened>,
    trace: Trace,
    over_the_wire: bool,
}

/// One thing that happened at one node: a [`Record`] without the node's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub event: Event,
}

struct Actor {
    node: Box<dyn Node>,
    address: Option<IpAddr>,
    timeout: Option<Time>,
    /// Since when it is paused, and what has come meanwhile.
    paused: Option<(Time, Vec<Input>)>,
    /// Where its calls' media goes.
    media: BTreeMap<String, SocketAddr>,
}

#[derive(Clone, Copy)]
struct Attachment {
    access_router: NodeId,
    handoff: u32,
}

impl World {
    /// All servers of the topology started, no mobile node attached.
    pub fn new(topology: Topology, seed: u64) -> Self {
        let servers: Vec<_> = topology
            .sip_servers()
            .map(|id| (id, topology.node(id).address().expect("a server has an address")))
            .collect();
        let nodes: Vec<_> = topology.sip_servers().chain(topology.mobile_nodes()).collect();
        let mut world = Self {
            seed,
            network: Network::new(&topology, seed),
            now: Time::ZERO,
            in_flight: BTreeMap::new(),
            sent: 0,
            steps: 0,
            calls: 0,
            actors: topology.nodes.iter().map(|_| None).collect(),
            starts: vec![0; topology.nodes.len()],
            attached: BTreeMap::new(),
            timeouts: BTreeSet::new(),
            owners: HashMap::new(),
            places: HashMap::new(),
            servers,
            ring: RingView::default(),
            ring_changed_at: Time::ZERO,
            ideal: None,
            happened: Vec::new(),
            trace: Trace::default(),
            over_the_wire: false,
            topology,
        };
        let wired = WiredGraph::new(&world.topology);
        for &(id, address) in &world.servers {
            let router = wired.neighbours(id).next().map_or(id, |step| step.node);
            world.places.insert(address, Place { vertex: id, router, mobile_node: None });
        }
        for id in nodes {
            world.start(id);
        }
        world
    }

    /// From now on every message goes through its wire form and back, so that what the lab could not say is not said
    /// here either. This is what a world spends most of its time with, so it is a choice.
    pub fn send_over_the_wire(&mut self) {
        self.over_the_wire = true;
    }

    /// From now on everything is written down, for [`trace`](Self::trace).
    pub fn enable_trace(&mut self) {
        self.trace.enable();
    }

    /// What happened since [`enable_trace`](Self::enable_trace), line by line.
    pub fn trace(&self) -> &[String] {
        self.trace.lines()
    }

    /// Writes a line of the caller's into the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many messages have arrived and timers have fired so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What has happened so far.
    pub fn happened(&self) -> &[Happened] {
        &self.happened
    }

    /// What has happened, in the form in which the lab writes it down.
    pub fn record(&self, happened: &Happened) -> Record {
        let node = self.topology.node(happened.node).name.clone();
        Record { at: happened.at, node, event: happened.event.clone() }
    }

    /// The topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether the node runs, paused or not.
    pub fn is_running(&self, node: NodeId) -> bool {
        self.actors[node.0].is_some()
    }

    /// What a node keeps now; nothing when it has crashed.
    pub fn census(&self, node: NodeId) -> Census {
        self.actors[node.0].as_ref().map(|actor| actor.node.census(self.now)).unwrap_or_default()
    }

    /// The address of a running node, if it has one.
    pub fn address(&self, node: NodeId) -> Option<IpAddr> {
        self.actors[node.0].as_ref()?.address
    }

    /// Where a mobile node sends the media of its calls, by Call-ID.
    pub fn media(&self, node: NodeId) -> impl Iterator<Item = (&str, SocketAddr)> {
        let media = self.actors[node.0].iter().flat_map(|actor| &actor.media);
        media.map(|(call, remote)| (call.as_str(), *remote))
    }

    /// What the network does to messages from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.network.set_weather(weather);
    }

    /// Cuts the network in two: these routers with all that is attached to them, and the others.
    pub fn partition(&mut self, side: BTreeSet<NodeId>) {
        self.network.set_partition(Some(side));
    }

    /// Whether the network is in two.
    pub fn is_parted(&self) -> bool {
        self.network.is_parted()
    }

    /// Whether a server is paused: the others take it for dead and, when it goes on, it does them.
    pub(crate) fn pauses_a_server(&self) -> bool {
        let is_paused = |actor: &Actor| actor.paused.is_some();
        self.topology.sip_servers().any(|server| self.actors[server.0].as_ref().is_some_and(is_paused))
    }

    /// Whether the weather loses messages.
    pub fn loses_messages(&self) -> bool {
        self.network.weather().loss > 0.0
    }

    /// Ends a partition.
    pub fn heal(&mut self) {
        self.network.set_partition(None);
    }

    /// Attaches a mobile node to an access router: for the first time, or as a handoff. Its number is returned.
    pub fn attach(&mut self, mobile_node: NodeId, access_router: NodeId) -> u32 {
        let handoff = self.attached.get(&mobile_node).map_or(0, |before| before.handoff + 1);
        self.attached.insert(mobile_node, Attachment { access_router, handoff });
        self.configure(mobile_node);
        handoff
    }

    /// Attaches a mobile node anew to the access router where it is.
    pub fn come_back(&mut self, mobile_node: NodeId) {
        if let Some(Attachment { access_router, .. }) = self.attached.get(&mobile_node).copied() {
            self.attach(mobile_node, access_router);
        }
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
        let call = format!("call-{}", self.calls);
        self.calls += 1;
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
        let address = self.address(to).expect("an attached node");
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

    /// Lets a server leave the ring; then it may be ended without loss.
    pub fn leave(&mut self, server: NodeId) {
        self.input(server, Input::Leave);
    }

    /// Ends a node without a word; what it knew is lost.
    pub fn crash(&mut self, node: NodeId) {
        let Some(actor) = self.actors[node.0].take() else { return };
        actor.address.map(|address| self.owners.remove(&address));
        actor.timeout.map(|at| self.timeouts.remove(&(at, node)));
        self.ring_changed();
    }

    /// Starts a crashed node again, with its old address and another seed. A mobile node is where it was.
    pub fn restart(&mut self, node: NodeId) {
        if self.is_running(node) {
            return;
        }
        self.ring.forget(&self.topology.node(node).name);
        self.start(node);
        if let Some(attachment) = self.attached.get_mut(&node) {
            attachment.handoff += 1;
            self.configure(node);
        }
    }

    /// Stops a node where it is: nothing reaches it and its timers do not fire, but what comes waits for it.
    pub fn pause(&mut self, node: NodeId) {
        if let Some(actor) = &mut self.actors[node.0] {
            actor.paused.get_or_insert((self.now, Vec::new()));
            actor.timeout.take().map(|at| self.timeouts.remove(&(at, node)));
        }
    }

    /// Lets a paused node go on: first comes what waited for it, and it is told for how long, then the timers that are
    /// late.
    pub fn resume(&mut self, node: NodeId) {
        let paused = self.actors[node.0].as_mut().and_then(|actor| actor.paused.take());
        let Some((since, waiting)) = paused else { return };
        self.input(node, Input::Lag(self.now - since));
        for input in waiting {
            self.input(node, input);
        }
        self.input(node, Input::Lag(Duration::ZERO));
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_instant().filter(|&next| next <= end) {
            self.step(next);
        }
        self.now = end;
    }

    /// Lets time pass, for `limit` at most, until `shown` says of something that happened that it has seen enough.
    ///
    /// Everything is shown once, the past first. Says whether that point was reached.
    pub fn run_until(&mut self, limit: Duration, mut shown: impl FnMut(&Happened) -> bool) -> bool {
        let end = self.now + limit;
        let mut seen = 0;
        loop {
            let fresh = &self.happened[seen..];
            seen += fresh.len();
            if fresh.iter().filter(|happened| shown(happened)).count() > 0 {
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

    /// Whether the servers that have not crashed form an ideal ring.
    pub fn ring_is_ideal(&mut self) -> bool {
        let ideal = self.ideal.unwrap_or_else(|| self.out_of_place().is_empty());
        self.ideal = Some(ideal);
        ideal
    }

    /// The servers that have not crashed and are not at their places on the ring.
    pub fn out_of_place(&self) -> Vec<&str> {
        let servers = self.servers.iter().filter(|(id, _)| self.actors[id.0].is_some());
        let names: Vec<_> = servers.map(|(id, _)| self.topology.node(*id).name.as_str()).collect();
        self.ring.out_of_place(&names, &self.topology.samp.chord)
    }

    /// Whether the ring is ideal, and has been as it is for so long.
    pub fn ring_is_at_rest(&mut self, for_so_long: Duration) -> bool {
        self.now - self.ring_changed_at >= for_so_long && self.ring_is_ideal()
    }

    fn ring_changed(&mut self) {
        self.ring_changed_at = self.now;
        self.ideal = None;
    }

    /// Builds a node and lets it run.
    fn start(&mut self, id: NodeId) {
        let node = self.topology.node(id);
        let address = node.address();
        let role = match &node.kind {
            NodeKind::MobileNode { address_of_record, .. } => Role::MobileNode {
                address_of_record: address_of_record.clone(),
                interface: String::new(),
                family: self.topology.family,
                media: self.topology.media.clone(),
                mac: [0; 6],
                identifier: 0,
                addressing: self.topology.addressing.clone(),
            },
            _ => Role::SipServer {
                address: SocketAddr::new(address.expect("a server has an address"), SIP_PORT),
                join: self.join_through(id),
                interface: String::new(),
            },
        };
        let start = &mut self.starts[id.0];
        let nth = id.0 as u64 + (*start << 32);
        *start += 1;
        let samp = self.topology.samp.clone();
        let secret = samp.auth.is_on().then(|| match &role {
            Role::MobileNode { address_of_record, .. } => {
                RingKey::new(RING_KEY).password(&samp, address_of_record)
            }
            _ => RING_KEY.to_owned(),
        });
        let seed = self.seed ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let config = AgentConfig { name: node.name.clone(), seed, samp, secret, role };
        let node = samp_protocol::build(&config, self.now).expect("a valid address-of-record");
        self.owners.extend(address.map(|address| (address, id)));
        self.actors[id.0] =
            Some(Actor { node, address, timeout: None, paused: None, media: BTreeMap::new() });
        self.ring_changed();
        self.flush(id);
    }

    /// The member through which a server joins: the first one for all others, and, when it is the first one that
    /// starts again, the next that runs.
    fn join_through(&self, server: NodeId) -> Option<SocketAddr> {
        let others = self.servers.iter().filter(|(id, _)| *id != server);
        let running = others.filter(|(id, _)| self.actors[id.0].is_some());
        running.map(|(_, ip)| SocketAddr::new(*ip, SIP_PORT)).next()
    }

    /// Gives a mobile node the address of the place where it is attached.
    fn configure(&mut self, id: NodeId) {
        let Attachment { access_router, handoff } = self.attached[&id];
        let Some(actor) = &mut self.actors[id.0] else { return };
        let address = self.topology.care_of_address(id, access_router);
        let left = actor.address.replace(address);
        left.map(|address| self.owners.remove(&address));
        self.owners.insert(address, id);
        let place = Place { vertex: access_router, router: access_router, mobile_node: Some(id) };
        self.places.insert(address, place);
        self.input(id, Input::LinkTrigger { handoff });
        self.input(id, Input::AddressConfigured { handoff, address });
    }

    fn next_instant(&self) -> Option<Time> {
        let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
        let timeout = self.timeouts.first().map(|(at, _)| *at);
        [arrival, timeout].into_iter().flatten().min()
    }

    fn step(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.steps += 1;
        if let Some(arrival) = self.in_flight.first_entry().filter(|arrival| arrival.key().0 <= now) {
            let message = *arrival.remove();
            self.deliver(message);
        } else if let Some((_, id)) = self.timeouts.pop_first() {
            if let Some(actor) = &mut self.actors[id.0] {
                actor.timeout = None;
                actor.node.handle_timeout(now);
            }
            self.flush(id);
        }
    }

    /// Who has the address now gets the message; nobody may. Who sent it over a connection gets to know that.
    fn input(&mut self, id: NodeId, input: Input) {
        let Some(actor) = &mut self.actors[id.0] else { return };
        match &mut actor.paused {
            Some((_, inbox)) if inbox.len() < INBOX => inbox.push(input),
            Some(_) => {}
            None => {
                actor.node.handle_input(self.now, input);
                self.flush(id);
            }
        }
    }

    /// Takes from a node what it has to tell and to send, and notes when it wants to be woken.
    fn flush(&mut self, id: NodeId) {
        let Some(actor) = self.actors[id.0].as_mut().filter(|actor| actor.paused.is_none()) else { return };
        while let Some(output) = actor.node.poll_event() {
            match output {
                Output::Record(event) => {
                    let happened = Happened { at: self.now, node: id, event };
                    if matches!(happened.event, Event::RingChanged { .. } | Event::RingLeft { .. }) {
                        let node = self.topology.node(id).name.clone();
                        self.ring.note(&Record { at: self.now, node, event: happened.event.clone() });
                        (self.ring_changed_at, self.ideal) = (self.now, None);
                    }
                    self.trace.event(&self.topology, &happened);
                    self.happened.push(happened);
                }
                Output::Media(
                    MediaCommand::Start { call, remote, .. } | MediaCommand::Retarget { call, remote },
                ) => {
                    actor.media.insert(call, remote);
                }
                Output::Media(MediaCommand::Stop { call }) => drop(actor.media.remove(&call)),
                Output::Left => {}
            }
        }
        let mut transmits = Vec::new();
        while let Some(transmit) = actor.node.poll_transmit() {
            transmits.push(transmit);
        }
        let wanted = actor.node.poll_timeout();
        if wanted != actor.timeout {
            actor.timeout.map(|at| self.timeouts.remove(&(at, id)));
            self.timeouts.extend(wanted.map(|at| (at, id)));
            actor.timeout = wanted;
        }
        let Some(source) = actor.address else { return };
        for transmit in transmits {
            self.transmit(source, transmit);
        }
    }
}
