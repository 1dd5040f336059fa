//! How long a message takes from one place to another, and whether, and how often, it arrives.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use samp_model::paths::{ShortestPaths, WiredGraph};
use samp_model::topology::NodeKind;
use samp_model::{NodeId, Topology};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

/// What the network does to messages beyond the topology's delay. The default is fair weather.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// Probability that a message is lost, 0.0 to 1.0.
    pub loss: f64,
    /// Probability that a message arrives twice, 0.0 to 1.0.
    pub duplication: f64,
    /// Each message takes up to so much longer than the topology says, so messages overtake each other.
    pub jitter: Duration,
}

impl Weather {
    /// Any weather, loss up to `worst`.
    pub(crate) fn draw(random: &mut Pcg64, worst: f64) -> Self {
        Self {
            loss: random.random_range(0.0..worst),
            duplication: random.random_range(0.0..0.2),
            jitter: Duration::from_millis(random.random_range(0..50)),
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loss, duplication, jitter } = self;
        write!(f, "loss {:.1} %, duplication {:.1} %, jitter {jitter:?}", 100.0 * loss, 100.0 * duplication)
    }
}

/// Where a message starts or ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The server, or the access router behind which the mobile node is.
    pub(crate) vertex: NodeId,
    /// The router that decides on which side of a partition this is.
    pub(crate) router: NodeId,
    /// The mobile node whose radio link comes on top.
    pub(crate) mobile_node: Option<NodeId>,
}

/// The topology's delays, and what the weather and partitions do.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    /// The routers of one side, while there are two.
    partition: Option<BTreeSet<NodeId>>,
    wired: WiredGraph,
    /// The shortest paths from every vertex that has sent something.
    paths: HashMap<NodeId, ShortestPaths>,
    random: Pcg64,
}

impl Network {
    pub(crate) fn new(topology: &Topology, seed: u64) -> Self {
        Self {
            weather: Weather::default(),
            partition: None,
            wired: WiredGraph::new(topology),
            paths: HashMap::new(),
            random: Pcg64::seed_from_u64(seed),
        }
    }

    pub(crate) fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    pub(crate) fn set_partition(&mut self, side: Option<BTreeSet<NodeId>>) {
        self.partition = side;
    }

    pub(crate) fn weather(&self) -> Weather {
        self.weather
    }

    pub(crate) fn is_parted(&self) -> bool {
        self.partition.is_some()
    }

    /// The delays after which copies of a message arrive that is sent now: none when it is lost, or there is no way.
    ///
    /// What belongs to a byte stream is neither lost, doubled nor overtaken: only a partition stops it.
    pub(crate) fn send(
        &mut self,
        topology: &Topology,
        from: Place,
        to: Place,
        is_stream: bool,
    ) -> [Option<Duration>; 2] {
        let is_cut = self
            .partition
            .as_ref()
            .is_some_and(|side| side.contains(&from.router) != side.contains(&to.router));
        let delay = self.delay(topology, from, to).filter(|_| !is_cut);
        let (Some(delay), false) = (delay, is_stream) else { return [delay, None] };
        if self.chance(self.weather.loss) {
            return [None, None];
        }
        let is_doubled = self.chance(self.weather.duplication);
        [Some(delay + self.jitter()), is_doubled.then(|| delay + self.jitter())]
    }

    /// Draws only where there is something to draw, so that fair weather costs nothing.
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random_bool(probability)
    }

    fn jitter(&mut self) -> Duration {
        let most = self.weather.jitter.as_nanos() as u64;
        if most == 0 { Duration::ZERO } else { Duration::from_nanos(self.random.random_range(0..=most)) }
    }

    fn delay(&mut self, topology: &Topology, from: Place, to: Place) -> Option<Duration> {
        let paths =
            self.paths.entry(from.vertex).or_insert_with(|| ShortestPaths::new(&self.wired, from.vertex));
        let wired = paths.one_way_delay(to.vertex)?;
        let radio = |place: Place| match place.mobile_node.map(|id| &topology.node(id).kind) {
            Some(NodeKind::MobileNode { radio, .. }) => Some(radio),
            _ => None,
        };
        let up = radio(from).map_or(Duration::ZERO, |radio| radio.up.one_way_delay);
        let down = radio(to).map_or(Duration::ZERO, |radio| radio.down.one_way_delay);
        Some(up + wired + down)
    }
}
