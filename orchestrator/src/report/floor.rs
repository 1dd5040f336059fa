//! What theory allows at best: sums of the shortest times that links can take.

use super::history::History;
use super::registrations::address_at;
use samp_model::locator::Locator;
use samp_model::mobility::Agents;
use samp_model::record::RegistrationScope;
use samp_model::topology::{Link, Node, NodeId, NodeKind};
use samp_model::ways::Ways;
use samp_model::{Event, Time, Topology};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A run's topology with each link as fast as it ever was, so that a floor holds whenever its path was taken.
pub(super) fn at_its_fastest<'t>(topology: &'t Topology, history: &History) -> Cow<'t, Topology> {
    let mut fastest = Cow::Borrowed(topology);
    for record in history.nodes().flat_map(|(_, records)| records) {
        let Event::LinkChanged { peer, quality, .. } = &record.event else { continue };
        let Some(node) = topology.find(&record.node) else { continue };
        let peer = peer.as_deref().map(|peer| topology.find(peer));
        let fastest = fastest.to_mut();
        let directions = match peer {
            None => match &mut fastest.nodes[node.0].kind {
                NodeKind::MobileNode { radio, .. } => [&mut radio.up, &mut radio.down],
                _ => continue,
            },
            Some(peer) => {
                match fastest.links.iter_mut().find(|link| Some(link.ends) == peer.map(|peer| [node, peer])) {
                    Some(Link { quality: [there, back], .. }) => [there, back],
                    None => continue,
                }
            }
        };
        for (known, new) in directions.into_iter().zip(quality.iter()) {
            if new.least_delay() < known.least_delay() {
                *known = *new;
            }
        }
    }
    fastest
}

/// The floors of one topology; remembers what it has worked out.
#[derive(Debug)]
pub struct Floors<'a> {
    topology: &'a Topology,
    agents: Agents,
    locator: Locator,
    ways: RefCell<Ways>,
    known: RefCell<HashMap<(IpAddr, IpAddr), Option<Duration>>>,
}

impl<'a> Floors<'a> {
    /// Of this topology.
    pub fn new(topology: &'a Topology) -> Self {
        let (agents, locator, ways) =
            (Agents::new(topology), Locator::new(topology), Ways::new(topology).into());
        Self { topology, agents, locator, ways, known: RefCell::default() }
    }

    /// The topology.
    pub fn topology(&self) -> &'a Topology {
        self.topology
    }

    /// The node with this name.
    pub(super) fn node(&self, name: &str) -> Option<&'a Node> {
        self.locator.find(name).map(|id| self.topology.node(id))
    }

    /// Whose address it is.
    pub(super) fn node_at(&self, address: IpAddr) -> Option<NodeId> {
        self.locator.locate(self.topology, address).map(|(owner, _)| owner)
    }

    /// From one address to another; none when there is no such path.
    pub fn one_way(&self, from: IpAddr, to: IpAddr) -> Option<Duration> {
        *self
            .known
            .borrow_mut()
            .entry((from, to))
            .or_insert_with(|| self.ways.borrow_mut().least_delay(self.topology, &self.locator, from, to))
    }

    /// The address that a mobile node keeps, with Mobile IPv6.
    pub fn home_of(&self, node: &str) -> Option<Ipv6Addr> {
        self.agents.home_address(self.locator.find(node)?)
    }

    /// The addresses that a datagram passes from one mobile node to another at an instant, both care-of addresses included;
    /// with Mobile IPv6 the agents of both ends are between. None where that is not known: with route optimisation it
    /// depends on what either end has bound.
    pub fn way(&self, history: &History, [from, to]: [&str; 2], at: Time) -> Option<Vec<IpAddr>> {
        let mut way = vec![address_at(history, from, at)?];
        if self.topology.mobility.protocol.is_mobile_ip() {
            if self.topology.mobility.route_optimization {
                return None;
            }
            way.extend(self.agents_of(history, from, at));
            way.extend(self.agents_of(history, to, at).into_iter().rev());
        }
        way.push(address_at(history, to, at)?);
        way.dedup();
        Some(way)
    }

    /// The addresses that media passes in a call that is up: as [`way`](Self::way), but with route optimisation, when each end
    /// has bound its care-of address at the other, none of the agents but the receiver's mobility anchor point.
    pub fn way_of_media(&self, history: &History, [from, to]: [&str; 2], at: Time) -> Option<Vec<IpAddr>> {
        if !self.topology.mobility.protocol.is_mobile_ip() || !self.topology.mobility.route_optimization {
            return self.way(history, [from, to], at);
        }
        let mut way = vec![address_at(history, from, at)?];
        way.extend(self.map_of(history, to, at));
        way.push(address_at(history, to, at)?);
        way.dedup();
        Some(way)
    }

    /// The agents through whose tunnels a node's datagrams go, the nearest first.
    fn agents_of(&self, history: &History, node: &str, at: Time) -> Vec<IpAddr> {
        let home_agent = self.locator.find(node).and_then(|node| self.agents.home_agent(node));
        self.map_of(history, node, at).into_iter().chain(home_agent.map(IpAddr::V6)).collect()
    }

    /// The mobility anchor point with which a node is registered, with HMIPv6.
    fn map_of(&self, history: &History, node: &str, at: Time) -> Option<IpAddr> {
        let records = history.of(node);
        let until = records.partition_point(|record| record.at <= at);
        records[..until].iter().rev().find_map(|record| match &record.event {
            Event::Registered { scope: RegistrationScope::Anchor, path, .. } => path.first().copied(),
            _ => None,
        })
    }

    /// The addresses that a datagram passes from a mobile node to one of its agents, care-of address and agent included.
    pub fn way_to_agent(
        &self,
        history: &History,
        node: &str,
        agent: IpAddr,
        at: Time,
    ) -> Option<Vec<IpAddr>> {
        let mut way = vec![address_at(history, node, at)?];
        let agents = self.agents_of(history, node, at);
        let last = agents.iter().position(|known| self.node_at(*known) == self.node_at(agent))?;
        way.extend(&agents[..=last]);
        Some(way)
    }

    /// Along these addresses, first to last.
    pub fn along(&self, way: &[IpAddr]) -> Option<Duration> {
        way.windows(2).map(|leg| self.one_way(leg[0], leg[1])).sum()
    }

    /// Along these addresses, first to last, and back the same way.
    pub fn there_and_back(&self, path: &[IpAddr]) -> Option<Duration> {
        path.windows(2).map(|leg| Some(self.one_way(leg[0], leg[1])? + self.one_way(leg[1], leg[0])?)).sum()
    }
}
