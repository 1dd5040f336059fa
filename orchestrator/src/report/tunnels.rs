//! What the tunnels of Mobile IPv6 cost: how long datagrams were at the agents that put headers around them or took them off.

use super::history::History;
use super::statistics::milliseconds;
use samp_model::topology::{NodeKind, Topology};
use samp_model::{Event, Record, Time};
use serde::Serialize;
use std::time::Duration;

/// The cost at one kind of node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelCost {
    /// Which kind: mobile nodes, or home agents and mobility anchor points.
    pub at: &'static str,
    /// Datagrams; one that passes two agents counts twice.
    pub datagrams: u64,
    /// How long each was there, at the mean.
    #[serde(rename = "mean_ms", serialize_with = "milliseconds")]
    pub mean: Duration,
    /// How long the slowest was.
    #[serde(rename = "longest_ms", serialize_with = "milliseconds")]
    pub longest: Duration,
}

impl TunnelCost {
    /// Of a run; none where there were no tunnels.
    pub fn all(topology: &Topology, history: &History) -> Vec<Self> {
        let is_mobile = |name: &str| {
            let node = topology.find(name).map(|id| &topology.node(id).kind);
            matches!(node, Some(NodeKind::MobileNode { .. }))
        };
        let kinds = [("mobile nodes", true), ("agents", false)];
        let costs = kinds.into_iter().map(|(at, mobile)| {
            let nodes = history.nodes().filter(|(name, _)| is_mobile(name) == mobile);
            let (mut datagrams, mut all, mut slowest) = (0, Duration::ZERO, Duration::ZERO);
            for record in nodes.flat_map(|(_, records)| records) {
                if let Event::Tunnelled { datagrams: more, took, longest } = record.event {
                    datagrams += more;
                    all += took;
                    slowest = slowest.max(longest);
                }
            }
            Self { at, datagrams, mean: mean(all, datagrams), longest: slowest }
        });
        costs.filter(|cost| cost.datagrams > 0).collect()
    }
}

/// How long datagrams were at a node at the mean in the second of this instant, or in the last one before of which it is
/// known.
pub(super) fn mean_around(records: &[Record], at: Time) -> Option<Duration> {
    let mean = |record: &Record| match record.event {
        Event::Tunnelled { datagrams, took, .. } => Some(mean(took, datagrams)),
        _ => None,
    };
    let (before, after) = records.split_at(records.partition_point(|record| record.at < at));
    after.iter().find_map(mean).or_else(|| before.iter().rev().find_map(mean))
}

fn mean(took: Duration, datagrams: u64) -> Duration {
    Duration::from_nanos(took.as_nanos().checked_div(datagrams.into()).unwrap_or(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_added_up_by_kind_of_node() {
        let topology = include_str!("../../../topologies/line.yaml");
        let topology = samp_model::topology::parse("line.yaml", topology).expect("valid");
        let record = |node: &str, datagrams, micros, longest| Record {
            at: Time::ZERO,
            node: node.into(),
            event: Event::Tunnelled {
                datagrams,
                took: Duration::from_micros(micros),
                longest: Duration::from_micros(longest),
            },
        };
        let server =
            topology.sip_servers().next().map(|id| topology.node(id).name.clone()).expect("a server");
        let records = [record("mn1", 2, 100, 70), record("mn1", 1, 50, 50), record(&server, 1, 9, 9)];
        let cost = |at, datagrams, mean, longest| TunnelCost {
            at,
            datagrams,
            mean: Duration::from_micros(mean),
            longest: Duration::from_micros(longest),
        };
        let all = TunnelCost::all(&topology, &records.into_iter().collect());
        assert_eq!(all, [cost("mobile nodes", 3, 50, 70), cost("agents", 1, 9, 9)]);
        assert_eq!(TunnelCost::all(&topology, &History::default()), []);
    }

    #[test]
    fn around_an_instant_is_the_second_that_ends_after_it() {
        let record = |ms: u64, datagrams, micros| Record {
            at: Time::from_nanos(ms * 1_000_000),
            node: "mn1".into(),
            event: Event::Tunnelled {
                datagrams,
                took: Duration::from_micros(micros),
                longest: Duration::ZERO,
            },
        };
        let records = [record(1000, 2, 100), record(2000, 3, 90)];
        let around = |ms: u64| mean_around(&records, Time::from_nanos(ms * 1_000_000));
        for (at, micros) in [(0, 50), (1000, 50), (1001, 30), (2001, 30)] {
            assert_eq!(around(at), Some(Duration::from_micros(micros)), "at {at} ms");
        }
        assert_eq!(mean_around(&[], Time::ZERO), None);
    }
}
