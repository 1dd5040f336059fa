//! The nodes of a topology, and the clock.

mod addressing;
mod attachment;
mod flight;
mod floods;
mod mobile_ip;
mod nodes;
mod processors;

use crate::network::{Network, Place, Weather};
use crate::trace::Trace;
use crate::wires::Unchanged;
use addressing::{Addressing, Client};
use attachment::{Attachment, Pending};
use flight::InFlight;
pub use flight::Leg;
use floods::Flooder;
use processors::Processors;
use samp_model::control::{LinkChange, LinkId};
use samp_model::mobility::Agents;
use samp_model::paths::WiredGraph;
use samp_model::random::seed_for;
use samp_model::ring::RingView;
use samp_model::settings::Records;
use samp_model::topology::{LinkQuality, NodeKind};
use samp_model::{Event, NodeId, Record, Time, Topology};
use samp_protocol::mobile_ip::ForwardingTable;
use samp_protocol::{Census, Input, Media, Node};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The port of SIP.
pub(crate) const SIP_PORT: u16 = 5060;
/// What waits for a paused node at most, as in a socket's buffer; more is lost.
const INBOX: usize = 1000;

/// A topology's servers and mobile nodes in virtual time.
pub struct World {
    topology: Topology,
    /// Whence the nodes' seeds come; in a lab, from the topology and their names.
    seed: Option<u64>,
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
    /// The handoffs that have begun, by when they go on.
    pending: BTreeMap<(Time, NodeId), Pending>,
    addressing: Addressing,
    processors: Processors,
    /// When each actor wants to hear of the time.
    timeouts: BTreeSet<(Time, NodeId)>,
    /// Who has which address now.
    owners: HashMap<IpAddr, NodeId>,
    /// Where every address is that anybody has had.
    places: HashMap<IpAddr, Place>,
    /// The members of the ring.
    servers: Vec<(NodeId, IpAddr)>,
    /// Who is whose agent, without SAMP.
    agents: Agents,
    /// Who has which home address.
    homes: HashMap<IpAddr, NodeId>,
    /// Ways of messages from node to node, when they are wanted.
    legs: Option<Vec<Leg>>,
    ring: RingView,
    ring_changed_at: Time,
    /// Whether the ring is ideal, once it has been looked at since its last change.
    ideal: Option<bool>,
    floods: Vec<Flooder>,
    happened: Vec<Happened>,
    trace: Trace,
    over_the_wire: bool,
    plays_media: bool,
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
    /// The address that it keeps wherever it is, with Mobile IPv6.
    home: Option<IpAddr>,
    /// What goes into which tunnel there.
    table: ForwardingTable,
    timeout: Option<Time>,
    /// Since when it is paused, and what has come meanwhile.
    paused: Option<(Time, Vec<Input>)>,
    /// Where its calls' media goes.
    media: BTreeMap<String, SocketAddr>,
    /// The media itself, at a mobile node of a world that plays it.
    streams: Option<Media>,
    /// Whence its addresses come, but for static ones.
    client: Option<Client>,
}

impl Actor {
    fn next_timeout(&self) -> Option<Time> {
        let media = self.streams.as_ref().and_then(Media::next_due);
        let client = self.client.as_ref().and_then(Client::poll_timeout);
        self.node.poll_timeout().into_iter().chain(media).chain(client).min()
    }
}

impl World {
    /// All servers of the topology started, no mobile node attached.
    pub fn new(topology: Topology, seed: u64) -> Self {
        let network = Network::new(&topology, seed, seed);
        Self::start_all(topology, Some(seed), network, false)
    }

    /// As [`new`](Self::new), but as a lab of this topology is: nodes and links draw what they draw there, and calls have
    /// media.
    pub(crate) fn of_lab(topology: Topology) -> Self {
        let network = Network::new(&topology, topology.seed, seed_for(topology.seed, "delay line"));
        Self::start_all(topology, None, network, true)
    }

    fn start_all(topology: Topology, seed: Option<u64>, network: Network, plays_media: bool) -> Self {
        let address = |id| topology.node(id).address().expect("a server has an address");
        let servers: Vec<_> = topology.ring_servers().map(|id| (id, address(id))).collect();
        let agents = Agents::new(&topology);
        let mobility_agents = topology.sip_servers().filter(|&id| agents.mobility_agent(id).is_some());
        let nodes: Vec<_> =
            topology.ring_servers().chain(mobility_agents).chain(topology.mobile_nodes()).collect();
        let homes = topology.mobile_nodes();
        let homes = homes.filter_map(|id| Some((agents.home_address(id)?.into(), id))).collect();
        let mut world = Self {
            seed,
            network,
            now: Time::ZERO,
            in_flight: BTreeMap::new(),
            sent: 0,
            steps: 0,
            calls: 0,
            actors: topology.nodes.iter().map(|_| None).collect(),
            starts: vec![0; topology.nodes.len()],
            attached: BTreeMap::new(),
            pending: BTreeMap::new(),
            addressing: Addressing::new(&topology, &agents),
            processors: Processors::new(&topology),
            timeouts: BTreeSet::new(),
            owners: HashMap::new(),
            places: HashMap::new(),
            servers,
            agents,
            homes,
            legs: None,
            ring: RingView::default(),
            ring_changed_at: Time::ZERO,
            ideal: None,
            floods: Vec::new(),
            happened: Vec::new(),
            trace: Trace::default(),
            over_the_wire: false,
            plays_media,
            topology,
        };
        let wired = WiredGraph::new(&world.topology);
        for id in world.topology.sip_servers() {
            let router = wired.neighbours(id).next().map_or(id, |step| step.node);
            let map = world.agents.mobility_agent(id).and_then(|agent| agent.map).map(IpAddr::V6);
            for address in world.topology.node(id).address().into_iter().chain(map) {
                world.places.insert(address, Place { vertex: id, router, mobile_node: None });
            }
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

    /// Links are going to change: what is on its way then shall be lost.
    pub(crate) fn expect_link_changes(&mut self) {
        self.network.wires.expect_changes();
    }

    /// Changes a link, whose directions are the topology's. Says whether it is up then, and its quality.
    pub(crate) fn change_link(
        &mut self,
        link: LinkId,
        change: &LinkChange,
    ) -> Result<(bool, [LinkQuality; 2]), Unchanged> {
        self.network.wires.change(&self.topology, link, change)
    }

    /// Takes down all links that are up between nodes for which `is_near` holds and nodes for which `is_far` does. Says
    /// how many.
    pub(crate) fn part_links(
        &mut self,
        is_near: impl Fn(NodeId) -> bool,
        is_far: impl Fn(NodeId) -> bool,
    ) -> Result<usize, Unchanged> {
        self.network.wires.part(&self.topology, is_near, is_far)
    }

    /// Brings up what [`part_links`](Self::part_links) has taken down. Says how many, and an end of the first.
    pub(crate) fn heal_links(&mut self) -> Result<(usize, NodeId), Unchanged> {
        self.network.wires.heal(&self.topology)
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

    /// Lets one mobile node call another; the Call-ID is returned.
    pub fn call(&mut self, caller: NodeId, callee: NodeId) -> String {
        let (callee, call) = (self.called(callee), format!("call-{}", self.calls));
        self.calls += 1;
        self.input(caller, Input::Call { callee, call: call.clone() });
        call
    }

    /// The URI by which a mobile node is called.
    pub(crate) fn called(&self, mobile_node: NodeId) -> String {
        self.agents.called(&self.topology, mobile_node)
    }

    /// From now on every way of a message from one node to the next is written down, for [`take_legs`](Self::take_legs).
    pub fn watch_legs(&mut self) {
        self.legs = Some(Vec::new());
    }

    /// The ways since the last time, or since [`watch_legs`](Self::watch_legs).
    pub fn take_legs(&mut self) -> Vec<Leg> {
        self.legs.as_mut().map(std::mem::take).unwrap_or_default()
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
        let target = match self.agents.home_address(to) {
            Some(_) => self.called(to),
            None => format!("sip:{user}@{}", SocketAddr::new(address, SIP_PORT)),
        };
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
        self.processors.end(node);
        self.ring_changed();
    }

    /// Starts a crashed node again, with its old address and another seed. A mobile node is where it was.
    pub fn restart(&mut self, node: NodeId) {
        if self.is_running(node) {
            return;
        }
        self.ring.forget(&self.topology.node(node).name);
        self.start(node);
        self.attach_again(node);
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
        self.begin_next(node);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_instant().filter(|&next| next <= end) {
            self.step(next);
        }
        self.now = end;
    }

    /// Lets time pass until something has happened, but not beyond `deadline`. Says whether it has; otherwise it is the
    /// deadline now.
    pub(crate) fn advance(&mut self, deadline: Time) -> bool {
        let before = self.happened.len();
        while let Some(next) = self.next_instant().filter(|&next| next <= deadline) {
            self.step(next);
            if self.happened.len() > before {
                return true;
            }
        }
        self.now = self.now.max(deadline);
        false
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

    fn next_instant(&self) -> Option<Time> {
        let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
        let timeout = self.timeouts.first().map(|(at, _)| *at);
        let handoff = self.pending.first_key_value().map(|((at, _), _)| *at);
        let others = [self.addressing.next_instant(), self.next_flood(), self.processors.next_instant()];
        [arrival, timeout, handoff].into_iter().chain(others).flatten().min()
    }

    fn step(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.steps += 1;
        if let Some(due) = self.pending.first_entry().filter(|due| due.key().0 <= now) {
            let (_, mobile_node) = *due.key();
            let pending = due.remove();
            self.go_on(mobile_node, pending);
        } else if let Some(arrival) = self.in_flight.first_entry().filter(|arrival| arrival.key().0 <= now) {
            let message = *arrival.remove();
            self.arrive(message);
        } else if self.addressing.next_instant().is_some_and(|at| at <= now) {
            self.step_addressing(now);
        } else if self.next_flood().is_some_and(|at| at <= now) {
            self.step_floods();
        } else if self.processors.next_instant().is_some_and(|at| at <= now) {
            self.step_processors(now);
        } else if let Some(&(_, id)) = self.timeouts.first() {
            let free = self.processors.free_at(id, now);
            if free > now {
                self.set_timeout(id, Some(free));
            } else {
                self.handle_timeouts(id);
            }
        }
    }

    /// A node's timers and media are due.
    fn handle_timeouts(&mut self, id: NodeId) {
        let now = self.now;
        self.set_timeout(id, None);
        self.send_media(id);
        let mut client_is_due = false;
        if let Some(actor) = &mut self.actors[id.0] {
            if actor.node.poll_timeout().is_some_and(|at| at <= now) {
                actor.node.handle_timeout(now);
            }
            client_is_due = actor.client.as_ref().and_then(Client::poll_timeout).is_some_and(|at| at <= now);
        }
        self.flush(id);
        if client_is_due {
            self.handle_client_timeout(id);
        }
    }

    /// When a node is to be looked after again.
    fn set_timeout(&mut self, id: NodeId, wanted: Option<Time>) {
        let Some(actor) = &mut self.actors[id.0] else { return };
        if wanted != actor.timeout {
            actor.timeout.map(|at| self.timeouts.remove(&(at, id)));
            self.timeouts.extend(wanted.map(|at| (at, id)));
            actor.timeout = wanted;
        }
    }

    /// Who has the address now gets the message; nobody may. Who sent it over a connection gets to know that.
    pub(crate) fn input(&mut self, id: NodeId, input: Input) {
        let Some(actor) = &mut self.actors[id.0] else { return };
        match &mut actor.paused {
            Some((_, inbox)) if inbox.len() < INBOX => inbox.push(input),
            Some(_) => {}
            None => {
                if self.topology.samp.records == Records::Messages
                    && let Some(event) = input.received()
                {
                    self.happened.push(Happened { at: self.now, node: id, event });
                }
                actor.node.handle_input(self.now, input);
                self.flush(id);
            }
        }
    }

    /// Writes down what happened to a node from outside.
    pub(crate) fn note_event(&mut self, node: NodeId, event: Event) {
        let happened = Happened { at: self.now, node, event };
        self.trace.event(&self.topology, &happened);
        self.happened.push(happened);
    }
}
