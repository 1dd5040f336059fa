//! What the tunnels of Mobile IPv6 cost: how much longer probes through them took than the links on their way.

use crate::report::{Delta, Floors, rank};
use samp_model::control::{LabStatus, Probes, TunnelProbes};
use samp_model::mobility::Agents;
use samp_model::{NodeId, Topology};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// One way through a mobile node's tunnels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tunnel {
    /// The node that sent the probes.
    pub from: String,
    /// The node that received them.
    pub to: String,
    /// At how many nodes headers were put around them, or taken off.
    pub passes: usize,
    /// How many were sent.
    pub probes: u32,
    /// How many did not arrive.
    pub lost: u32,
    /// Their median.
    pub p50_ms: Option<f64>,
    /// Their 99th percentile.
    pub p99_ms: Option<f64>,
    /// The least that the links on their way take.
    pub links_ms: Option<f64>,
    /// The median less that: what the tunnels cost.
    pub cost_ms: Option<f64>,
}

/// Both ways of each.
pub(super) fn tunnels(status: &LabStatus, probes: &[TunnelProbes]) -> Vec<Tunnel> {
    let topology = status.topology_now();
    let (floors, agents) = (Floors::new(&topology), Agents::new(&topology));
    let both = probes.iter().flat_map(|TunnelProbes { mobile_node, agent, directions }| {
        let at = status.nodes.get(mobile_node.0).and_then(|node| topology.find(node.attached_to.as_ref()?));
        let way = at.and_then(|router| way(&topology, &agents, *mobile_node, router)).unwrap_or_default();
        let back: Vec<_> = way.iter().rev().copied().collect();
        let ends = [*mobile_node, *agent].map(|node| topology.node(node).name.as_str());
        [
            Tunnel::new(ends, &way, &floors, &directions[0]),
            Tunnel::new([ends[1], ends[0]], &back, &floors, &directions[1]),
        ]
    });
    both.collect()
}

/// The tunnels' ends, as addresses of the network, from a mobile node at an access router to its home agent.
fn way(
    topology: &Topology,
    agents: &Agents,
    mobile_node: NodeId,
    access_router: NodeId,
) -> Option<Vec<IpAddr>> {
    let address = |node: NodeId| topology.node(node).address();
    let home_agent = agents.serving(agents.home_address(mobile_node)?.into())?;
    let map = agents.map_at(access_router).and_then(|map| agents.serving(map.into()));
    let mut way = vec![topology.care_of_address(mobile_node, access_router)];
    way.extend(map.into_iter().chain([home_agent]).filter_map(address));
    // A home agent and a MAP at one node do their work at once.
    way.dedup();
    Some(way)
}

impl Tunnel {
    fn new([from, to]: [&str; 2], way: &[IpAddr], floors: &Floors<'_>, probes: &Probes) -> Self {
        let mut sorted = probes.one_way.clone();
        sorted.sort_unstable();
        let at = |percent| rank(&sorted, percent).map(Duration::from_nanos);
        let links = floors.along(way).filter(|_| way.len() > 1);
        let millis = |time: Duration| Delta::from(time).as_millis();
        let cost = at(50).zip(links).map(|(p50, links)| Delta::above(p50, links).as_millis());
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            passes: way.len(),
            probes: probes.sent,
            lost: probes.sent.saturating_sub(u32::try_from(sorted.len()).unwrap_or(u32::MAX)),
            p50_ms: at(50).map(millis),
            p99_ms: at(99).map(millis),
            links_ms: links.map(millis),
            cost_ms: cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology;

    fn shipped(name: &str, text: &str, protocol: &str) -> Topology {
        let text = format!("family: ipv6\nprotocol: {protocol}\n{text}");
        topology::parse(name, &text).unwrap_or_else(|errors| panic!("{:?}", errors.first()))
    }

    /// Of probes that took so many milliseconds, one more of which was lost, to the home agent from where a node is.
    fn tunnel(topology: &Topology, at: &str, millis: &[u64]) -> Tunnel {
        let [mobile_node, at] = ["mn1", at].map(|name| topology.find(name).expect("it is there"));
        let (floors, agents) = (Floors::new(topology), Agents::new(topology));
        let way = way(topology, &agents, mobile_node, at).expect("a way");
        let one_way: Vec<_> = millis.iter().map(|millis| millis * 1_000_000).collect();
        let probes = Probes { sent: one_way.len() as u32 + 1, one_way };
        Tunnel::new(["mn1", "s1"], &way, &floors, &probes)
    }

    #[test]
    fn what_takes_longer_than_the_links_is_the_tunnels() {
        let line = include_str!("../../../topologies/line.yaml");
        for protocol in ["mipv6", "hmipv6"] {
            // Radio 1 ms, from ar2 to ar1 5 ms, to s1 0.5 ms; there is only one MAP, at the home agent.
            let line = shipped("line.yaml", line, protocol);
            let expected = Tunnel {
                from: "mn1".into(),
                to: "s1".into(),
                passes: 2,
                probes: 4,
                lost: 1,
                p50_ms: Some(7.0),
                p99_ms: Some(9.0),
                links_ms: Some(6.5),
                cost_ms: Some(0.5),
            };
            assert_eq!(tunnel(&line, "ar2", &[9, 6, 7]), expected, "{protocol}");
            assert_eq!(tunnel(&line, "ar2", &[]).cost_ms, None);
        }
    }

    #[test]
    fn a_mobility_anchor_point_elsewhere_is_one_more_pass() {
        let city = include_str!("../../../topologies/grid-small.yaml");
        for (protocol, passes) in [("mipv6", 2), ("hmipv6", 3)] {
            let city = shipped("grid-small.yaml", city, protocol);
            assert_eq!(tunnel(&city, "ar-3-3", &[30]).passes, passes, "{protocol}");
        }
    }
}
