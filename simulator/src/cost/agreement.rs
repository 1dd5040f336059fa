//! Message level and cost level held against each other: the same walk and the same sessions, step by step, once as messages
//! over links and once as formulas.
//!
//! Two things differ by nature. Which anchor a node draws is the message level's choice, and the cost level is charged for
//! the same one; the REGISTER that finds the old anchor too slow, and the discovery, are not part of the formula. And a
//! caller that is itself a mobile node of HMIPv6 sends through its own MAP, where the formula has a correspondent node that
//! is none: that detour is taken off.
//!
//! Ways to where somebody is no more are left out on both sides: by messages they are longer, as an anchor that was left
//! still passes on what comes, and INVITEs are sent again until somebody gives up. And nobody calls who has called it: it
//! would know where that one is, which the formulas leave out.

use super::cell::State;
use super::drive::{Watch, drive};
use super::overlay::Overlay;
use super::{Cell, Counted, Hops, Parameters, World};
use crate::city::{Position, Spot};
use samp_model::{Event, NodeId, Time, Topology, topology};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Odd domains have a middle, so that a grid's servers are where the cost level has them.
const SIZE: u16 = 27;
const DOMAIN: u16 = 9;
/// How long everything that a move sets off may take.
const MOVED: Duration = Duration::from_millis(500);
/// The same of a call, which may be sent after somebody in vain.
const CALLED: Duration = Duration::from_secs(1);
/// After this the ring's fingers are right.
const RING_AT_REST: Duration = Duration::from_secs(400);
/// How far the two may be apart.
const TOLERANCE: f64 = 0.02;

/// Hops that messages made.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    registrations: u64,
    first_packets: u64,
    /// The same by the servers that the answer names: without what was sent where a cache wrongly believed the callee.
    ways: u64,
}

impl Measured {
    /// Says what INVITEs to where nobody is any more come to.
    fn tell_vain(&self, formula: u64) {
        let more = self.first_packets as f64 / formula as f64 - 1.0;
        println!("  with what was sent in vain: {:.0} % more", 100.0 * more);
    }
}

/// A world of messages beside one of formulas.
struct Both<'a> {
    formulas: State<'a>,
    places: &'a World,
    world: crate::World,
    access_routers: BTreeMap<Position, NodeId>,
    mobile_nodes: Vec<NodeId>,
    seen: usize,
    measured: Measured,
}

fn parameters() -> Parameters {
    Parameters {
        size: SIZE,
        domain: DOMAIN,
        nodes: 16,
        moves: 50,
        home_agent: Spot::Centre,
        sessions: 0.25,
        stale_legs: Counted::No,
        ..Parameters::default()
    }
}

/// The cost level's city as a topology; the server in the middle is the home agent.
fn city(parameters: &Parameters, knobs: &str, samp: &str) -> Topology {
    let mut text = format!(
        "family: ipv6
addressing: {{ dad: off }}
samp: {{ delta: 35ms, stabilize_period: 2s, registration_lifetime: 36000s, replicas: 1{samp} }}
{knobs}
grid:
  width: {SIZE}
  height: {SIZE}
  domain: {{ width: {DOMAIN}, height: {DOMAIN} }}
  link: {{ one_way_delay: 2ms }}
  server_link: {{ one_way_delay: 500us }}
nodes:
"
    );
    for node in 0..parameters.nodes {
        text += &format!("  mn{node}: {{ kind: mobile_node, start: ar-0-0 }}\n");
    }
    topology::parse("city.yaml", &text).expect("a valid topology")
}

/// What both levels make of a seed, with these knobs of the topology.
fn compare(knobs: &str, samp: &str) -> (Cell, Measured) {
    let parameters = parameters();
    let topology = city(&parameters, knobs, samp);
    let mut places = World::new(&parameters, 7);
    let addresses = topology.sip_servers().filter_map(|id| topology.node(id).address());
    let addresses: Vec<_> = addresses.map(|address| SocketAddr::new(address, 5060)).collect();
    let nodes = parameters.nodes as usize;
    places.overlay =
        Overlay::new(&places.grid, &places.placement.servers, nodes, &topology.samp.chord, true, &addresses);

    let find = |name: String| topology.find(&name).expect("it is there");
    let all = (0..SIZE).flat_map(|y| (0..SIZE).map(move |x| Position { x, y }));
    let access_routers = all.map(|place| (place, find(format!("ar-{}-{}", place.x, place.y)))).collect();
    let mobile_nodes = (0..nodes).map(|node| find(format!("mn{node}"))).collect();
    let mut world = crate::World::new(topology, 7);
    world.run_for(RING_AT_REST);
    assert!(world.ring_is_ideal());
    world.watch_legs();
    let formulas = State::new(&places);
    let mut both = Both {
        formulas,
        places: &places,
        world,
        access_routers,
        mobile_nodes,
        seen: 0,
        measured: Measured::default(),
    };
    for (node, &place) in places.placement.nodes.iter().enumerate() {
        if let Some(anchor) = both.attach(node, place) {
            both.formulas.change_anchor(node, anchor);
        }
    }
    // What the first attachments cost is nobody's step.
    (both.measured, both.formulas.cell) = Default::default();
    drive(&places, 0.2, &mut both);
    (both.formulas.cell, both.measured)
}

impl Both<'_> {
    /// Lets a node move. The anchor that it has then is returned, if it has chosen another one.
    fn attach(&mut self, node: usize, place: Position) -> Option<u16> {
        self.world.take_legs();
        self.seen = self.world.happened().len();
        let mobile_node = self.mobile_nodes[node];
        self.world.attach(mobile_node, self.access_routers[&place]);
        self.world.run_for(MOVED);
        let chosen = self.world.happened()[self.seen..].iter().rev().find_map(|happened| {
            let Event::AnchorSelected { anchor, .. } = happened.event else { return None };
            let server = self.world.topology().locate(anchor)?.0;
            let number = self.world.topology().sip_servers().position(|id| id == server)?;
            Some((number as u16, happened.at)).filter(|_| happened.node == mobile_node)
        });
        // The choice may fall on the anchor that there is, which has all that it needs.
        let present = self.formulas.anchors[node];
        let chosen = chosen.filter(|(anchor, _)| *anchor != present);
        let since = chosen.map_or(Time::ZERO, |(_, at)| at);
        // Others renew their registrations meanwhile.
        let own = self.world.happened()[self.seen..].iter().filter(|happened| happened.node == mobile_node);
        let own: BTreeSet<_> = own
            .filter_map(|happened| match &happened.event {
                Event::MessageSent { summary, call, .. } => Some((call.clone(), summary.clone())),
                _ => None,
            })
            .collect();
        let mut messages: BTreeMap<_, (Time, u64)> = BTreeMap::new();
        for leg in self.world.take_legs() {
            let is_registration = leg.summary.starts_with("REGISTER ") || leg.summary.starts_with("BU ");
            let message = (leg.call, leg.summary);
            if is_registration && own.contains(&message) {
                let (_, links) = messages.entry(message).or_insert((leg.at, 0));
                *links += u64::from(leg.links);
            }
        }
        let counted = messages.values().filter(|(first, _)| *first >= since);
        self.measured.registrations += counted.map(|(_, links)| links).sum::<u64>();
        chosen.map(|(anchor, _)| anchor)
    }
}

impl Watch for Both<'_> {
    fn step(&mut self, node: usize, from: Position, to: Position) {
        let anchor = self.attach(node, to).unwrap_or(self.formulas.anchors[node]);
        self.formulas.register(node, from, to, anchor);
    }

    fn call(&mut self, _: Time, caller: usize, callee: usize, places: [Position; 2]) {
        if self.places.contacts(callee).contains(&(caller as u32)) {
            return;
        }
        self.formulas.call(self.world.now(), caller, callee, places);
        self.world.take_legs();
        self.seen = self.world.happened().len();
        self.world.call(self.mobile_nodes[caller], self.mobile_nodes[callee]);
        self.world.run_for(CALLED);
        let legs = self.world.take_legs();
        let invites = legs.iter().filter(|leg| leg.summary.starts_with("INVITE "));
        self.measured.first_packets += invites.map(|leg| u64::from(leg.links)).sum::<u64>();
        let path = self.world.happened()[self.seen..].iter().find_map(|happened| match &happened.event {
            Event::CallEstablished { path, .. } => Some(path),
            _ => None,
        });
        let servers = path.expect("a call").iter().filter_map(|server| {
            let server = self.world.topology().locate(*server)?.0;
            let number = self.world.topology().sip_servers().position(|id| id == server)?;
            Some(self.places.placement.servers[number])
        });
        let stops: Vec<_> = [places[0]].into_iter().chain(servers).chain([places[1]]).collect();
        let grid = &self.places.grid;
        let way = stops.windows(2).map(|leg| u64::from(grid.distance(leg[0], leg[1])));
        self.measured.ways += way.sum::<u64>();
        if self.world.topology().mobility.protocol == samp_model::settings::Protocol::Hmipv6 {
            let World { grid, placement, .. } = self.places;
            let map = placement.servers[grid.domain_of(places[0])];
            let by_map = grid.distance(places[0], map) + grid.distance(map, placement.home_agent);
            let detour = by_map - grid.distance(places[0], placement.home_agent);
            self.measured.first_packets -= u64::from(detour);
        }
        self.world.hang_up(self.mobile_nodes[caller]);
        self.world.run_for(CALLED);
    }
}

/// Says what both have per registration and per session, and that they agree.
#[track_caller]
fn agree(what: &str, measured: u64, formula: u64, count: u64) {
    let [messages, cost] = [measured, formula].map(|hops| hops as f64 / count as f64);
    println!("{what}: {messages:.3} hops by messages, {cost:.3} by formula, of {count}");
    assert!(count > 100, "{what}: {count} are too few");
    assert!((messages - cost).abs() <= TOLERANCE * cost, "{what}: {messages} hops, not {cost}");
}

#[test]
fn mobile_ipv6_costs_what_the_formula_says() {
    let (Cell { registrations, sessions, .. }, measured) =
        compare("protocol: mipv6\nmobility: { agent: s5 }", "");
    agree("Mobile IPv6, registration", measured.registrations, registrations.mipv6, registrations.count);
    agree("Mobile IPv6, first packet", measured.first_packets, sessions.mipv6, sessions.count);
}

#[test]
fn hmipv6_costs_what_the_formula_says() {
    let (Cell { registrations, sessions, crossings, .. }, measured) =
        compare("protocol: hmipv6\nmobility: { agent: s5 }", "");
    assert!(crossings > 20, "{crossings} crossings");
    agree("HMIPv6, registration", measured.registrations, registrations.hmipv6, registrations.count);
    agree("HMIPv6, first packet", measured.first_packets, sessions.hmipv6, sessions.count);
}

#[test]
fn samp_costs_what_the_formula_says_with_hierarchical_registration() {
    let off = "{ enabled: false }";
    let (Cell { registrations, sessions, anchor_changes, .. }, measured) =
        compare("", &format!(", tier1: {off}, tier2: {off}"));
    assert!(anchor_changes > 10, "{anchor_changes} changes");
    let Hops { samp_optimised, count, .. } = registrations;
    agree("SAMP with HR, registration", measured.registrations, samp_optimised, count);
    agree("SAMP without TTC, first packet", measured.ways, sessions.samp, sessions.count);
    measured.tell_vain(sessions.samp);
}

#[test]
fn samp_costs_what_the_formula_says_with_two_tier_caching() {
    let (Cell { registrations, sessions, .. }, measured) = compare("", ", hierarchical_registration: false");
    agree("SAMP without HR, registration", measured.registrations, registrations.samp, registrations.count);
    agree("SAMP with TTC, first packet", measured.ways, sessions.samp_optimised, sessions.count);
    measured.tell_vain(sessions.samp_optimised);
}
