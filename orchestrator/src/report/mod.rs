//! What the records say: pure functions over records and topology.
//!
//! Nothing here asks a lab anything; the same code reports on a lab, a simulation and an old run.

mod calls;
mod e_model;
mod effect;
mod floor;
mod handoffs;
mod history;
mod interventions;
mod ladder;
mod ledger;
mod messages;
mod outages;
mod path;
mod processors;
mod registrations;
mod samples;
mod statistics;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod transfers;
mod tunnels;

pub use self::calls::{CallOutcome, CallReport, MediaReport};
pub use self::effect::{cliffs_delta, paired, unpaired};
pub use self::floor::Floors;
pub use self::handoffs::{CallHandoff, Direction, Handoff, Handoffs, Phase, registered_with};
pub use self::history::{Call, Established, History, MediaTotals};
pub use self::interventions::Intervention;
pub use self::ladder::{Ladder, Ladders, Rung, Traced, What};
pub use self::ledger::Signalling;
pub use self::outages::{Outage, ServerDeath};
pub use self::path::{CriticalPath, Milestone, Segment};
pub use self::processors::{Cpu, processors, server_work};
pub use self::registrations::{Registration, RegistrationOutcome};
pub use self::samples::{Figures, MetricFigures, Samples, Values, number};
pub use self::statistics::{Delta, Ranks, rank};
pub use self::summary::{
    CacheSummary, CallSummary, HandoffSummary, MediaSummary, Named, PathSummary, RegistrationSummary,
    SegmentSummary, SignallingSummary, Summary, TransferSummary,
};
pub use self::text::{Style, emulation, table, waterfall, word, write_summary};
pub use self::transfers::Transfer;
pub use self::tunnels::TunnelCost;

use self::ledger::Ledger;
use samp_model::knobs::Knob;
use samp_model::settings::Records;
use samp_model::{Record, Topology};
use serde::Serialize;

/// Everything that a run's records say.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Each handoff.
    pub handoffs: Handoffs,
    /// Each registration.
    pub registrations: Vec<Registration>,
    /// Each call.
    pub calls: Vec<CallReport>,
    /// Each attempt to move a call to another terminal.
    pub transfers: Vec<Transfer>,
    /// What was done to the lab from outside.
    pub interventions: Vec<Intervention>,
    /// The servers that died.
    pub deaths: Vec<ServerDeath>,
    /// What tunnels cost.
    pub tunnels: Vec<TunnelCost>,
    /// Whether single messages were recorded.
    pub records: Records,
    /// How SAMP was set, knob by knob.
    pub knobs: Vec<Knob>,
}

impl Report {
    /// From the records of a run, in any order.
    pub fn assemble(topology: &Topology, records: &[Record]) -> Self {
        Self::from_history(topology, &records.iter().cloned().collect())
    }

    /// As [`Report::assemble`], from records in order.
    pub fn from_history(topology: &Topology, history: &History) -> Self {
        let fastest = floor::at_its_fastest(topology, history);
        let floors = Floors::new(&fastest);
        let mut handoffs = Handoffs::from_history(&floors, history);
        let mut calls = CallReport::all(&floors, history);
        if let Some(ledger) = Ledger::new(topology, history) {
            for handoff in &mut handoffs.0 {
                handoff.signalling = ledger.of_handoff(handoff);
            }
            for call in &mut calls {
                call.signalling = history.call(&call.call).and_then(|of| ledger.of_call(&call.call, of));
            }
        }
        Self {
            handoffs,
            registrations: Registration::all(&floors, history),
            calls,
            transfers: Transfer::all(history),
            interventions: Intervention::all(history),
            deaths: ServerDeath::all(topology, history),
            tunnels: TunnelCost::all(topology, history),
            records: topology.samp.records,
            knobs: topology.samp.knobs(),
        }
    }

    /// The run in figures.
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }
}
