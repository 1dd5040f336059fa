//! Delays that pass links: what was measured against what was predicted, at the median.
//!
//! What passes no link (the trigger, the address, the wait for the next media packet) is the processor's doing or
//! chance's, and has no prediction.

use crate::report::{Delta, Ranks, Report, Summary, word};
use samp_model::Record;
use samp_model::topology::{NodeKind, Topology};
use serde::{Serialize, Serializer};
use std::time::Duration;

/// What a delay may be off in any case: so many hundredths of its floor.
const PERCENT: i64 = 5;

/// A delay, measured and predicted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DelayComparison {
    /// Which one.
    pub delay: String,
    /// How many were measured.
    pub n: usize,
    /// Links on the way, of the median.
    pub hops: u64,
    /// The measured median.
    #[serde(rename = "measured_ms", serialize_with = "milliseconds")]
    pub measured: Delta,
    /// The predicted median.
    #[serde(rename = "predicted_ms", serialize_with = "milliseconds")]
    pub predicted: Delta,
    /// By how much they may differ.
    #[serde(rename = "allowed_ms", serialize_with = "milliseconds")]
    pub allowed: Delta,
}

impl DelayComparison {
    /// Whether they differ by no more than they may.
    pub fn agrees(&self) -> bool {
        (self.measured.0 - self.predicted.0).abs() <= self.allowed.0
    }
}

/// A delay of a run: its name, how long it took, and what the links alone make of it.
type Figure = (String, Ranks<Delta>, Ranks<Delta>);

/// All delays that pass links and are in both. Each may be off by `per_hop` for each link on its way, as processors and
/// kernels take their time.
pub fn compare_delays(
    topology: &Topology,
    measured: &[Record],
    predicted: &[Record],
    per_hop: Duration,
) -> Vec<DelayComparison> {
    let figures = |topology: &Topology, records| figures(&Report::assemble(topology, records).summary());
    let (ours, theirs) = (figures(topology, measured), figures(topology, predicted));
    let longer = figures(&each_link_a_nanosecond_longer(topology), measured);
    let compare = |((name, took, floor), (_, _, longer)): (Figure, Figure)| {
        let (_, expected, _) = theirs.iter().find(|(theirs, ..)| *theirs == name)?;
        let hops = longer.p50.0 - floor.p50.0;
        let allowed = (floor.p50.0 * PERCENT / 100).max(Delta::from(per_hop).0 * hops);
        Some(DelayComparison {
            delay: name,
            n: took.n,
            hops: hops.max(0) as u64,
            measured: took.p50,
            predicted: expected.p50,
            allowed: Delta(allowed),
        })
    };
    ours.into_iter().zip(longer).filter_map(compare).collect()
}

fn figures(summary: &Summary) -> Vec<Figure> {
    let segments = summary.handoffs.paths.iter().flat_map(|path| {
        let name = |segment| format!("{}: {segment}", path.path);
        path.segments.iter().filter_map(move |one| Some((name(one.segment), one.took, one.floor?)))
    });
    let registrations = summary.registrations.iter().filter_map(|registrations| {
        Some((
            format!("registration: {}", word(&registrations.scope)),
            registrations.rrd?,
            registrations.floor?,
        ))
    });
    let calls = summary
        .calls
        .by_cache
        .iter()
        .filter_map(|calls| Some((format!("call: {}", word(&calls.cache)), calls.srd, calls.floor?)));
    let passes_links = |(_, _, floor): &Figure| floor.max.0 > 0;
    segments.chain(registrations).chain(calls).filter(passes_links).collect()
}

/// With this topology every floor is longer by a nanosecond for each link on its way, which so are counted: of several
/// shortest ways the one with the fewest links is taken anyway.
fn each_link_a_nanosecond_longer(topology: &Topology) -> Topology {
    let mut topology = topology.clone();
    let wired = topology.links.iter_mut().flat_map(|link| &mut link.quality);
    let radios = topology.nodes.iter_mut().flat_map(|node| match &mut node.kind {
        NodeKind::MobileNode { radio, .. } => vec![&mut radio.up, &mut radio.down],
        _ => Vec::new(),
    });
    for quality in wired.chain(radios) {
        quality.one_way_delay += Duration::from_nanos(1);
    }
    topology
}

fn milliseconds<S: Serializer>(delta: &Delta, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(delta.as_millis())
}
