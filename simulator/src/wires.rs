//! The topology's links in virtual time: what each does to what passes, and which of them lie on a way.

use crate::network::Place;
use samp_emulation::{Link, Passage};
use samp_model::control::{LinkChange, LinkId};
use samp_model::paths::Step;
use samp_model::topology::{LinkQuality, NodeKind};
use samp_model::ways::Ways;
use samp_model::{NodeId, Time, Topology};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The first number of the radio links' directions, as in the lab's delay line: so the n-th frame of a direction has the
/// same fate there and here.
const RADIOS: u64 = 1 << 32;

/// A direction of a link that a message passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Of this wired link, by its place in the topology: with it (0), or against it (1).
    Wired(usize, usize),
    /// From this mobile node (0), or to it (1).
    Radio(NodeId, usize),
}

/// What a link does to a message: the instants at which copies of it leave it.
pub(crate) type Departures = [Option<Time>; 2];

/// Why a link does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// It is up, or down, already.
    Already(bool),
    /// No link that is up joins the two sides.
    NothingBetween,
    /// There is no partition.
    NoPartition,
    /// A radio link has no state.
    Radio,
    /// The new quality contradicts itself.
    Quality,
}

#[derive(Debug)]
struct Wire {
    up: bool,
    quality: [LinkQuality; 2],
    directions: [Link; 2],
}

/// All links.
#[derive(Debug)]
pub(crate) struct Wires {
    ways: Ways,
    wired: Vec<Wire>,
    radios: HashMap<NodeId, Wire>,
    /// The wired ones that partitions have taken down.
    cut: BTreeSet<usize>,
    /// Whether any link does more than delay, or has ever changed: then every hop counts. Otherwise a way is one sum.
    every_hop_counts: bool,
}

impl Wire {
    fn new(quality: [LinkQuality; 2], seed: u64, first: u64) -> Self {
        let directions = [0, 1].map(|way: usize| Link::new(quality[way], seed, first + way as u64));
        Self { up: true, quality, directions }
    }
}

impl Wires {
    /// As the topology has them; `seed` is that of their random choices.
    pub(crate) fn new(topology: &Topology, seed: u64) -> Self {
        let wired = topology.links.iter().zip(0..);
        let wired: Vec<_> = wired.map(|(link, number)| Wire::new(link.quality, seed, 2 * number)).collect();
        let radios = topology.nodes().filter_map(|(id, node)| match &node.kind {
            NodeKind::MobileNode { radio, .. } => Some((id, [radio.up, radio.down])),
            _ => None,
        });
        let radios = radios.zip(0..);
        let radios: HashMap<_, _> = radios
            .map(|((id, quality), number)| (id, Wire::new(quality, seed, RADIOS + 2 * number)))
            .collect();
        let only_delays = |quality: &LinkQuality| {
            *quality == LinkQuality { one_way_delay: quality.one_way_delay, ..LinkQuality::IDEAL }
        };
        let mut all = wired.iter().chain(radios.values()).flat_map(|wire| &wire.quality);
        let every_hop_counts = !all.all(only_delays);
        Self { ways: Ways::new(topology), wired, radios, cut: BTreeSet::new(), every_hop_counts }
    }

    /// From now on every hop counts: links are going to change.
    pub(crate) fn expect_changes(&mut self) {
        self.every_hop_counts = true;
    }

    /// Whether every hop is to be passed by itself.
    pub(crate) fn every_hop_counts(&self) -> bool {
        self.every_hop_counts
    }

    /// The sum of the delays from one place to another; none where there is no way.
    pub(crate) fn delay(&mut self, from: Place, to: Place) -> Option<Duration> {
        let (ways, end) = self.ways.between(from.vertex, to.vertex);
        let wired = ways.one_way_delay(end)?;
        let radio = |place: Place, way: usize| {
            let radio = place.mobile_node.and_then(|node| self.radios.get(&node));
            radio.map_or(Duration::ZERO, |radio| radio.quality[way].one_way_delay)
        };
        Some(radio(from, 0) + wired + radio(to, 1))
    }

    /// How long a mobile node's radio link takes, from it and to it.
    pub(crate) fn radio_delays(&self, mobile_node: NodeId) -> [Duration; 2] {
        self.radios
            .get(&mobile_node)
            .map_or([Duration::ZERO; 2], |radio| radio.quality.map(|way| way.one_way_delay))
    }

    /// Routers on the way from one place to another, the first one behind a mobile node included; none where there is
    /// no way.
    pub(crate) fn routers(&mut self, from: Place, to: Place) -> Option<u16> {
        let (ways, end) = self.ways.between(from.vertex, to.vertex);
        ways.hops(end)
    }

    /// The hops from one place to another; none where there is no way. Routes never change.
    pub(crate) fn route(&mut self, topology: &Topology, from: Place, to: Place) -> Option<Vec<Hop>> {
        let mut hops: Vec<_> = to.mobile_node.map(|node| Hop::Radio(node, 1)).into_iter().collect();
        let paths = self.ways.from(from.vertex);
        paths.hops(to.vertex)?;
        let mut here = to.vertex;
        while let Some(Step { node, link }) = paths.step_back(here) {
            hops.push(Hop::Wired(link, usize::from(topology.links[link].ends[0] != node)));
            here = node;
        }
        hops.extend(from.mobile_node.map(|node| Hop::Radio(node, 0)));
        hops.reverse();
        Some(hops)
    }

    /// Lets a frame of so many bytes onto a hop; a byte stream's is neither lost nor doubled.
    pub(crate) fn pass(&mut self, now: Time, hop: Hop, bytes: usize, is_stream: bool) -> Departures {
        let (wire, way) = match hop {
            Hop::Wired(link, way) => (self.wired.get_mut(link), way),
            Hop::Radio(node, way) => (self.radios.get_mut(&node), way),
        };
        let Some(wire) = wire.filter(|wire| wire.up) else { return [None; 2] };
        let link = &mut wire.directions[way];
        let copies = if is_stream { 1 } else { link.copies() };
        let mut pass = |number: u32| {
            let passage = (number < copies).then(|| link.pass(now.as_nanos(), 8 * bytes as u64))?;
            match passage.ok()? {
                Passage::InOrder(departure) | Passage::Ahead(departure) => Some(Time::from_nanos(departure)),
            }
        };
        [pass(0), pass(1)]
    }

    /// Changes a link, whose directions are the topology's. Says whether it is up then, and its quality.
    pub(crate) fn change(
        &mut self,
        topology: &Topology,
        link: LinkId,
        change: &LinkChange,
    ) -> Result<(bool, [LinkQuality; 2]), Unchanged> {
        self.every_hop_counts = true;
        let number = topology.links.iter().position(|known| LinkId::Wired(known.ends) == link);
        let wire = match link {
            LinkId::Wired(_) => number.and_then(|number| self.wired.get_mut(number)),
            LinkId::Radio(node) => self.radios.get_mut(&node),
        };
        let Some(wire) = wire else { return Err(Unchanged::NothingBetween) };
        match change {
            LinkChange::Down | LinkChange::Up => {
                let up = *change == LinkChange::Up;
                let Some(number) = number else { return Err(Unchanged::Radio) };
                if wire.up == up {
                    return Err(Unchanged::Already(up));
                }
                wire.up = up;
                self.cut.remove(&number);
            }
            LinkChange::Quality(changes) => {
                let quality = [0, 1].map(|way: usize| changes[way].applied_to(wire.quality[way]));
                if quality.iter().any(|quality| quality.check().is_err()) {
                    return Err(Unchanged::Quality);
                }
                wire.quality = quality;
                for (direction, quality) in wire.directions.iter_mut().zip(quality) {
                    direction.set_quality(quality);
                }
            }
        }
        Ok((wire.up, wire.quality))
    }

    /// Takes down all links that are up between nodes for which `is_near` holds and nodes for which `is_far` does. Says
    /// how many.
    pub(crate) fn part(
        &mut self,
        topology: &Topology,
        is_near: impl Fn(NodeId) -> bool,
        is_far: impl Fn(NodeId) -> bool,
    ) -> Result<usize, Unchanged> {
        self.every_hop_counts = true;
        let joins = |[a, b]: [NodeId; 2]| is_near(a) && is_far(b) || is_near(b) && is_far(a);
        let links = topology.links.iter().enumerate().filter(|(_, link)| joins(link.ends));
        let numbers: Vec<_> =
            links.map(|(number, _)| number).filter(|&number| self.wired[number].up).collect();
        if numbers.is_empty() {
            return Err(Unchanged::NothingBetween);
        }
        numbers.iter().for_each(|&number| self.wired[number].up = false);
        self.cut.extend(&numbers);
        Ok(numbers.len())
    }

    /// Brings up what partitions have taken down. Says how many, and an end of the first.
    pub(crate) fn heal(&mut self, topology: &Topology) -> Result<(usize, NodeId), Unchanged> {
        let numbers = std::mem::take(&mut self.cut);
        let first = numbers.first().ok_or(Unchanged::NoPartition)?;
        numbers.iter().for_each(|&number| self.wired[number].up = true);
        Ok((numbers.len(), topology.links[*first].ends[0]))
    }
}
