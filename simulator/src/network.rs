//! What the weather and partitions of whole sides do to messages, beside what links do.

use crate::wires::Wires;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use samp_model::{NodeId, Topology};
use std::collections::BTreeSet;
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

/// The links, and what the weather and partitions do.
#[derive(Debug)]
pub(crate) struct Network {
    weather: Weather,
    /// The routers of one side, while there are two.
    partition: Option<BTreeSet<NodeId>>,
    pub(crate) wires: Wires,
    random: Pcg64,
}

impl Network {
    /// Fair weather; `seed` is that of what the weather does, `link_seed` that of what the links do.
    pub(crate) fn new(topology: &Topology, seed: u64, link_seed: u64) -> Self {
        Self {
            weather: Weather::default(),
            partition: None,
            wires: Wires::new(topology, link_seed),
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

    /// The delays beyond the links' with which copies of a message arrive that is sent now: none when it is lost.
    ///
    /// What belongs to a byte stream is neither lost, doubled nor overtaken: only a partition stops it.
    pub(crate) fn send(&mut self, from: Place, to: Place, is_stream: bool) -> [Option<Duration>; 2] {
        let is_cut = self
            .partition
            .as_ref()
            .is_some_and(|side| side.contains(&from.router) != side.contains(&to.router));
        if is_cut || self.wires.routers(from, to).is_none() {
            return [None, None];
        }
        if is_stream {
            return [Some(Duration::ZERO), None];
        }
        if self.chance(self.weather.loss) {
            return [None, None];
        }
        let is_doubled = self.chance(self.weather.duplication);
        [Some(self.jitter()), is_doubled.then(|| self.jitter())]
    }

    /// Draws only where there is something to draw, so that fair weather costs nothing.
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random_bool(probability)
    }

    fn jitter(&mut self) -> Duration {
        let most = self.weather.jitter.as_nanos() as u64;
        if most == 0 { Duration::ZERO } else { Duration::from_nanos(self.random.random_range(0..=most)) }
    }
}
