//! A handoff as one call sees it with Mobile IPv6: nobody re-invites anybody, tunnels change their ends.
//!
//! The peer's media comes again once an agent, or with route optimisation the peer, has the new binding; until its next packet
//! passes there nothing can be told apart, so that wait is part of the last segment.

use super::super::path::Milestone;
use super::super::tunnels::mean_around;
use super::call::CallView;
use super::{CallHandoff, Direction, Span};
use samp_model::{Event, Time};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// What a first packet on a new path tells.
type First = (Time, Duration, u64);

impl CallView<'_> {
    /// As [`CallView::assemble`], for nodes with these home addresses.
    pub(super) fn assemble_tunnelled(&self, [own, peer]: [Ipv6Addr; 2]) -> (CallHandoff, Option<Span>) {
        let outcome = CallHandoff {
            call: self.id.to_owned(),
            peer: self.peer.to_owned(),
            downlink: self.tunnelled_downlink([own, peer]),
            uplink: self.tunnelled_uplink([own, peer]),
        };
        (outcome, self.session_update())
    }

    /// BU to whoever redirects the peer's media, which then comes to the new care-of address.
    fn tunnelled_downlink(&self, [own, peer]: [Ipv6Addr; 2]) -> Direction {
        let (Some(care_of), Some(configured)) = (self.facts.address, self.facts.configured) else {
            return Direction::default();
        };
        let received = self.first_received(self.node, [peer, own], configured);
        let redirected = received.and_then(|(until, ..)| self.redirected(own, care_of, until));
        let by = redirected.and_then(|(_, by)| by);
        let update = self.facts.records.iter().find_map(|record| match record.event {
            Event::RegisterSent { .. } => Some(record.at),
            _ => None,
        });
        let there = by.and_then(|by| self.floors.way_to_agent(self.history, self.node, by, received?.0));
        let back = there.as_ref().map(|way| way.iter().rev().copied().collect::<Vec<_>>());
        let along = |way: Option<Vec<IpAddr>>| self.floors.along(&way?);
        let mut milestones = self.facts.head();
        milestones.extend([
            Milestone::local("update_dispatch", update),
            Milestone::over("update_transit", redirected.map(|(at, _)| at), along(there)),
            Milestone::over("media_transit", received.map(|(at, ..)| at), along(back)),
        ]);
        let tunnel_cost = self.tunnel_cost([self.peer, self.node], received);
        Direction { tunnel_cost, ..self.direction(&milestones, received) }
    }

    /// Own media from the new care-of address, as soon as a tunnel takes it.
    fn tunnelled_uplink(&self, [own, peer]: [Ipv6Addr; 2]) -> Direction {
        let (Some(care_of), Some(configured)) = (self.facts.address, self.facts.configured) else {
            return Direction::default();
        };
        let sent = self.at_node().iter().find_map(|record| match &record.event {
            Event::MediaFirstSent { call, .. } if call == self.id && record.at >= configured => {
                Some(record.at)
            }
            _ => None,
        });
        let received = sent.and_then(|sent| self.first_received(self.peer, [own, peer], sent));
        let way = received.and_then(|(at, ..)| self.floors.way(self.history, [self.node, self.peer], at));
        let floor = way.filter(|way| way.first() == Some(&care_of)).and_then(|way| self.floors.along(&way));
        let mut milestones = self.facts.head();
        milestones.extend([
            Milestone::local("packetisation", sent),
            Milestone::over("media_transit", received.map(|(at, ..)| at), floor),
        ]);
        let tunnel_cost = self.tunnel_cost([self.node, self.peer], received);
        Direction { tunnel_cost, ..self.direction(&milestones, received) }
    }

    /// What the tunnels have cost a packet: at each node that has put headers around it or taken some off, the mean around
    /// then.
    fn tunnel_cost(&self, ends: [&str; 2], received: Option<First>) -> Option<Duration> {
        let (at, ..) = received?;
        let way = self.floors.way(self.history, ends, at)?;
        // A home agent and a MAP at one node do their work at once.
        let mut nodes = way.into_iter().map(|stop| self.floors.node_at(stop)).collect::<Option<Vec<_>>>()?;
        nodes.dedup();
        let name = |node| self.floors.topology().node(node).name.as_str();
        nodes.into_iter().map(|node| mean_around(self.history.of(name(node)), at)).sum()
    }

    /// The first packet at a node between these two addresses since then.
    fn first_received(&self, at: &str, [source, destination]: [Ipv6Addr; 2], since: Time) -> Option<First> {
        self.history.window(at, since, self.until).iter().find_map(|record| match &record.event {
            Event::MediaFirstReceived { call, from, at, silence, lost }
                if call == self.id && *from == IpAddr::V6(source) && *at == IpAddr::V6(destination) =>
            {
                Some((record.at, *silence, *lost))
            }
            _ => None,
        })
    }

    /// When somebody last took in where this node is, before `until`, and at which address.
    fn redirected(&self, own: Ipv6Addr, place: IpAddr, until: Time) -> Option<(Time, Option<IpAddr>)> {
        let topology = self.floors.topology();
        let agents = topology.sip_servers().map(|agent| topology.node(agent).name.as_str());
        let accepted = agents.chain([self.peer]).filter_map(|node| {
            let records = self.history.window(node, self.facts.detached, until);
            let at = records.iter().rev().find_map(|record| match record.event {
                Event::BindingAccepted { home, care_of } if home == own || IpAddr::V6(care_of) == place => {
                    Some(record.at)
                }
                _ => None,
            })?;
            let address = topology.find(node).and_then(|id| topology.node(id).address());
            Some((at, address))
        });
        accepted.max_by_key(|(at, _)| *at)
    }
}
