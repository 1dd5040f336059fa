//! SIP servers that died, and for how long whoever was registered with them was without service.

use super::history::History;
use super::statistics::milliseconds;
use samp_model::locator::Locator;
use samp_model::record::RegistrationScope;
use samp_model::settings::{MobilitySettings, Protocol};
use samp_model::topology::{NodeId, NodeKind, Topology};
use samp_model::{Event, Record, Time};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// A server's death, and whom it hit.
#[derive(Clone, Debug, Serialize)]
pub struct ServerDeath {
    /// The server.
    pub server: String,
    /// When, since the run's first record.
    #[serde(rename = "at_ms", serialize_with = "milliseconds")]
    pub at: Duration,
    /// The mobile nodes that were registered with it, in node order: nobody can call them until they are registered
    /// elsewhere. With HMIPv6 they need both their anchor point and their home agent.
    pub outages: Vec<Outage>,
    /// How many mobile nodes there are in all.
    pub mobile_nodes: usize,
    /// Calls that were begun since.
    pub calls: usize,
    /// Those of them that were not established.
    pub calls_failed: usize,
}

/// A mobile node without service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The mobile node.
    pub node: String,
    /// For how long: until it was registered with another server, or until the run's last record.
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub took: Duration,
    /// Whether it came to its end.
    pub is_over: bool,
}

impl ServerDeath {
    /// All of a run, in order.
    pub fn all(topology: &Topology, history: &History) -> Vec<Self> {
        let records = || history.nodes().flat_map(|(_, records)| records);
        let (Some(start), Some(end)) =
            (records().map(|record| record.at).min(), records().map(|record| record.at).max())
        else {
            return Vec::new();
        };
        let locator = Locator::new(topology);
        let killed = records().filter(|record| record.event == Event::Killed);
        let mut all: Vec<Self> = killed
            .filter_map(|Record { at, node, .. }| {
                let server = topology.find(node)?;
                let NodeKind::SipServer { .. } = topology.node(server).kind else { return None };
                let scopes = scopes(topology.mobility.protocol);
                let outages = topology.mobile_nodes().filter_map(|mobile_node| {
                    let node = &topology.node(mobile_node).name;
                    let of_scopes = scopes.iter().filter_map(|scope| {
                        let registered = registrations(topology, &locator, history.of(node), *scope);
                        outage(node, server, *at, end, registered)
                    });
                    // Who needs two servers is without service until it has both.
                    of_scopes.max_by_key(|outage| (!outage.is_over, outage.took))
                });
                let outages = outages.collect();
                let since: Vec<_> =
                    history.calls().into_iter().filter(|(_, call)| call.started >= Some(*at)).collect();
                let calls_failed = since.iter().filter(|(_, call)| call.established.is_none()).count();
                Some(Self {
                    server: node.clone(),
                    at: at.since(start),
                    outages,
                    mobile_nodes: topology.mobile_nodes().count(),
                    calls: since.len(),
                    calls_failed,
                })
            })
            .collect();
        all.sort_by_key(|death| death.at);
        all
    }
}

/// The registrations without which nobody can call a mobile node.
fn scopes(protocol: Protocol) -> &'static [RegistrationScope] {
    match protocol {
        Protocol::Samp => &[RegistrationScope::Anchor],
        Protocol::Mipv6 | Protocol::Sip => &[RegistrationScope::Home],
        Protocol::Hmipv6 => &[RegistrationScope::Anchor, RegistrationScope::Home],
    }
}

/// The servers that a mobile node was registered with in this scope, one after the other.
fn registrations<'r>(
    topology: &'r Topology,
    locator: &'r Locator,
    records: &'r [Record],
    wanted: RegistrationScope,
) -> impl Iterator<Item = (Time, NodeId)> + 'r {
    let MobilitySettings { protocol, agent, .. } = topology.mobility;
    let at = move |address: Option<&IpAddr>| Some(locator.locate(topology, *address?)?.0);
    let server = move |event: &Event| match event {
        Event::AnchorConfirmed { anchor, .. } if wanted == RegistrationScope::Anchor => at(Some(anchor)),
        // Which says nothing of itself when it is a program of the user's.
        Event::Registered { .. } if protocol == Protocol::Sip => agent,
        Event::Registered { scope: RegistrationScope::Anchor, path, .. }
            if wanted == RegistrationScope::Anchor =>
        {
            at(path.first())
        }
        Event::Registered { scope: RegistrationScope::Home, path, .. }
            if wanted == RegistrationScope::Home =>
        {
            at(path.last())
        }
        _ => None,
    };
    records.iter().filter_map(move |record| Some((record.at, server(&record.event)?)))
}

fn outage(
    node: &str,
    server: NodeId,
    died: Time,
    end: Time,
    registered: impl Iterator<Item = (Time, NodeId)>,
) -> Option<Outage> {
    let (before, after): (Vec<_>, Vec<_>) = registered.partition(|(at, _)| *at <= died);
    before.last().filter(|(_, with)| *with == server)?;
    let over = after.iter().find(|(_, with)| *with != server).map(|(at, _)| *at);
    Some(Outage { node: node.to_owned(), took: over.unwrap_or(end).since(died), is_over: over.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_registered_with_it_is_without_service_until_registered_elsewhere() {
        let (at, [own, other]) = (Time::from_nanos, [NodeId(1), NodeId(2)]);
        let of = |registered: &[(u64, NodeId)]| {
            let registered = registered.iter().map(|(nanos, server)| (at(*nanos), *server));
            outage("mn1", own, at(100), at(900), registered).map(|it| (it.took.as_nanos(), it.is_over))
        };
        assert_eq!(of(&[(10, other), (50, own), (300, other)]), Some((200, true)));
        // An answer that was on its way does not end it.
        assert_eq!(of(&[(50, own), (101, own)]), Some((800, false)));
        assert_eq!(of(&[(10, own), (50, other)]), None);
        assert_eq!(of(&[(300, other)]), None);
    }
}
