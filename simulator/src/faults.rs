//! What can go wrong in a world, and the schedule of it that a seed draws.

use crate::network::Weather;
use crate::trace::{name, names};
use crate::world::World;
use rand::RngExt;
use rand_pcg::Pcg64;
use samp_model::random::generator;
use samp_model::{NodeId, Topology};
use samp_protocol::overlay::Peer;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A fault, from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// These nodes lose their state; at the end they start again.
    Crash(Vec<NodeId>),
    /// These servers stop; at the end they go on.
    Pause(Vec<NodeId>),
    /// This server leaves the ring; at the end it ends, and starts again.
    Leave(NodeId),
    /// The network is in two: these routers with all that is attached to them, and the others.
    Partition(BTreeSet<NodeId>),
    /// The network is worse than usual.
    Storm(Weather),
}

impl Fault {
    /// Lets it begin, if the world may be asked for it; says whether it has begun.
    ///
    /// The servers promise to bear a fault of the ring when they are over the one before, and one of them has to be
    /// left.
    pub(crate) fn begin(&self, world: &mut World) -> bool {
        let is_server = |node: &NodeId| world.topology().node(*node).address().is_some();
        let strikes_ring = match self {
            Self::Crash(nodes) | Self::Pause(nodes) => nodes.iter().any(is_server),
            Self::Partition(_) | Self::Leave(_) => true,
            Self::Storm(_) => false,
        };
        if strikes_ring
            && !(world.ring_is_at_rest(repair_time(world.topology())) && self.leaves_a_server(world))
        {
            return false;
        }
        match self {
            Self::Crash(nodes) => nodes.iter().for_each(|&node| world.crash(node)),
            Self::Pause(nodes) => nodes.iter().for_each(|&node| world.pause(node)),
            Self::Leave(server) => world.leave(*server),
            Self::Partition(side) => world.partition(side.clone()),
            Self::Storm(weather) => world.set_weather(*weather),
        }
        true
    }

    /// Lets it end; `usual` is the weather before and after.
    pub(crate) fn end(&self, world: &mut World, usual: Weather) {
        match self {
            Self::Crash(nodes) => nodes.iter().for_each(|&node| world.restart(node)),
            Self::Pause(nodes) => nodes.iter().for_each(|&node| world.resume(node)),
            Self::Leave(server) => {
                world.crash(*server);
                world.restart(*server);
            }
            Self::Partition(_) => world.heal(),
            Self::Storm(_) => world.set_weather(usual),
        }
    }

    fn leaves_a_server(&self, world: &World) -> bool {
        let nodes = match self {
            Self::Crash(nodes) | Self::Pause(nodes) => nodes.as_slice(),
            Self::Leave(server) => std::slice::from_ref(server),
            Self::Partition(_) | Self::Storm(_) => return true,
        };
        world.topology().sip_servers().any(|server| world.is_running(server) && !nodes.contains(&server))
    }

    pub(crate) fn describe(&self, topology: &Topology) -> String {
        match self {
            Self::Crash(nodes) => format!("crash of {}", names(topology, nodes)),
            Self::Pause(nodes) => format!("pause of {}", names(topology, nodes)),
            Self::Leave(server) => format!("leave of {}", name(topology, *server)),
            Self::Partition(side) => format!("partition of {} from the others", names(topology, side)),
            Self::Storm(weather) => format!("storm: {weather}"),
        }
    }
}

/// How long the servers get, after the last change of the ring, to copy bindings where they now belong.
pub(crate) fn repair_time(topology: &Topology) -> Duration {
    2 * topology.samp.chord.stabilize_period + 2 * topology.samp.chord.peer_timeout
}

/// Faults one after another, each with its beginning and, unless it stays, its length.
pub(crate) fn draw(
    seed: u64,
    topology: &Topology,
    until: Duration,
) -> Vec<(Duration, Fault, Option<Duration>)> {
    let random = &mut generator(seed, "faults");
    let ring = servers_by_identifier(topology);
    let mut faults = Vec::new();
    let mut now = millis(random, 2_000, 15_000);
    while now < until {
        let lasts = millis(random, 500, 15_000);
        let (fault, stays) = draw_one(random, topology, &ring);
        faults.push((now, fault, (!stays).then_some(lasts)));
        now += lasts + repair_time(topology) + millis(random, 0, 8_000);
    }
    faults
}

fn draw_one(random: &mut Pcg64, topology: &Topology, ring: &[NodeId]) -> (Fault, bool) {
    match random.random_range(0..12) {
        0..4 => (Fault::Crash(victims(random, topology, ring)), random.random_bool(0.2)),
        4 | 5 => (Fault::Pause(victims(random, topology, ring)), false),
        6 | 7 => (partition(random, topology), false),
        8 | 9 => {
            let nodes: Vec<_> = topology.mobile_nodes().collect();
            (Fault::Crash(vec![nodes[random.random_range(0..nodes.len())]]), false)
        }
        10 => (Fault::Leave(ring[random.random_range(0..ring.len())]), false),
        _ => (Fault::Storm(Weather::draw(random, 0.5)), false),
    }
}

/// Up to r − 1 servers, mostly neighbours on the ring; where one copy is all there is, a loss is no surprise, so that
/// one server may go, too.
fn victims(random: &mut Pcg64, topology: &Topology, ring: &[NodeId]) -> Vec<NodeId> {
    let most = (topology.samp.chord.replicas - 1).max(1).min(ring.len());
    let (count, first) = (random.random_range(1..=most), random.random_range(0..ring.len()));
    if random.random_bool(0.7) {
        return (0..count).map(|step| ring[(first + step) % ring.len()]).collect();
    }
    let chosen: BTreeSet<_> = (0..count).map(|_| ring[random.random_range(0..ring.len())]).collect();
    chosen.into_iter().collect()
}

fn partition(random: &mut Pcg64, topology: &Topology) -> Fault {
    Fault::Partition(topology.access_routers().filter(|_| random.random_bool(0.5)).collect())
}

fn servers_by_identifier(topology: &Topology) -> Vec<NodeId> {
    let id = |server: &NodeId| {
        topology.node(*server).address().map(|ip| Peer::at(SocketAddr::new(ip, crate::world::SIP_PORT)).id)
    };
    let mut servers: Vec<_> = topology.sip_servers().collect();
    servers.sort_by_key(id);
    servers
}

fn millis(random: &mut Pcg64, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..=to))
}
