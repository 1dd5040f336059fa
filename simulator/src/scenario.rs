//! What a seed stands for: a world, and what happens in it.

use crate::faults::{self, Fault};
use crate::network::Weather;
use crate::terrain;
use crate::workload::{self, Work};
use rand::RngExt;
use samp_model::Topology;
use samp_model::random::generator;
use std::fmt::Write;
use std::time::Duration;

/// A world and what happens in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What everything else follows from, but what has been taken out since.
    pub seed: u64,
    /// Nodes, links and knobs.
    pub topology: Topology,
    /// The usual weather.
    pub weather: Weather,
    /// What happens, in no particular order.
    pub steps: Vec<Step>,
    /// When everything that happens has happened; from then on the weather is fair and the world is to come to rest.
    pub length: Duration,
}

/// Something that happens at some time after the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A user does something.
    Work(Work),
    /// Something goes wrong, for so long, or for good.
    Fault(Fault, Option<Duration>),
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let random = &mut generator(seed, "scenario");
        let length = Duration::from_millis(random.random_range(15_000..50_000));
        let weather = match random.random_range(0..10) {
            0..4 => Weather::default(),
            4..9 => Weather::draw(random, 0.05),
            _ => Weather::draw(random, 0.2),
        };
        let topology = terrain::draw(seed);
        let faults = faults::draw(seed, &topology, length);
        let faults =
            faults.into_iter().map(|(at, fault, lasts)| Step { at, action: Action::Fault(fault, lasts) });
        let work = workload::draw(seed, &topology, length);
        let work = work.into_iter().map(|(at, work)| Step { at, action: Action::Work(work) });
        Self { seed, weather, steps: faults.chain(work).collect(), length, topology }
    }

    /// The scenario in words, a step a line.
    pub fn describe(&self) -> String {
        let (servers, nodes) = (self.topology.sip_servers().count(), self.topology.mobile_nodes().count());
        let routers = self.topology.access_routers().count();
        let mut text = format!(
            "seed {}: {servers} servers, {routers} access routers, {nodes} mobile nodes, {:?}; {}\n{:?}\n",
            self.seed, self.topology.family, self.weather, self.topology.samp
        );
        let mut steps: Vec<_> = self.steps.iter().collect();
        steps.sort_by_key(|step| step.at);
        for Step { at, action } in steps {
            let (what, lasts) = match action {
                Action::Work(work) => (work.describe(&self.topology), String::new()),
                Action::Fault(fault, lasts) => (
                    fault.describe(&self.topology),
                    lasts.map_or(", for good".to_owned(), |lasts| format!(", for {lasts:?}")),
                ),
            };
            writeln!(text, "{:>9.3} s  {what}{lasts}", at.as_secs_f64()).expect("room in memory");
        }
        text
    }
}
