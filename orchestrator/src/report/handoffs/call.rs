//! A handoff as one call of the node sees it: the update of the session, and the media of each direction.

use super::super::floor::Floors;
use super::super::history::History;
use super::super::path::{CriticalPath, Milestone};
use super::{CallHandoff, Direction, Facts, Span};
use samp_model::{Event, Record, Time};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// What is needed to see a handoff as one call does.
pub(super) struct CallView<'a> {
    pub(super) history: &'a History,
    pub(super) floors: &'a Floors<'a>,
    pub(super) facts: &'a Facts<'a>,
    pub(super) node: &'a str,
    pub(super) peer: &'a str,
    pub(super) id: &'a str,
    pub(super) until: Time,
}

impl CallView<'_> {
    pub(super) fn assemble(&self) -> (CallHandoff, Option<Span>) {
        if let Some(homes) = self.homes() {
            return self.assemble_tunnelled(homes);
        }
        let outcome = CallHandoff {
            call: self.id.to_owned(),
            peer: self.peer.to_owned(),
            downlink: self.downlink(),
            uplink: self.uplink(),
        };
        (outcome, self.session_update())
    }

    /// From the update of the session to its answer.
    pub(super) fn session_update(&self) -> Option<Span> {
        let (sent, (answered, _)) = self.update_sent().zip(self.update_answered())?;
        Some(Span(sent, answered, "session_update", Some(self.peer.to_owned())))
    }

    /// The home addresses of this node and its peer, with Mobile IPv6.
    fn homes(&self) -> Option<[Ipv6Addr; 2]> {
        Some([self.floors.home_of(self.node)?, self.floors.home_of(self.peer)?])
    }

    /// What has not happened yet. A call that ends meanwhile is not waited for, unless the update failed: then that
    /// is why it ended.
    pub(super) fn missing(&self, outcome: &CallHandoff, ends_meanwhile: bool) -> Vec<String> {
        let mut missing = Vec::new();
        match self.update_answered() {
            Some((_, 200..300)) => {}
            Some((_, status)) => missing.push(format!("session update (answered {status} by {})", self.peer)),
            None if ends_meanwhile => {}
            // With Mobile IPv6 a peer need not know.
            None if self.update_sent().is_none() && self.homes().is_some() => {}
            None => missing.push(format!("session update by {}", self.peer)),
        }
        for (direction, which) in [(&outcome.downlink, "from"), (&outcome.uplink, "to")] {
            if direction.path.is_none() && !ends_meanwhile {
                missing.push(format!("media {which} {}", self.peer));
            }
        }
        missing
    }

    /// re-INVITE to the peer, whose media then comes to the new care-of address.
    fn downlink(&self) -> Direction {
        let Some(own) = self.facts.address else { return Default::default() };
        let retargeted = self.at_peer(
            |event| matches!(event, Event::MediaRetargeted { call, to } if call == self.id && *to == own),
        );
        let sent = self.at_peer(
            |event| matches!(event, Event::MediaFirstSent { call, to } if call == self.id && *to == own),
        );
        let received = self.at_node().iter().find_map(|record| match &record.event {
            Event::MediaFirstReceived { call, from, at, silence, lost } if call == self.id && *at == own => {
                Some((record.at, *from, *silence, *lost))
            }
            _ => None,
        });
        let peer = received.map(|(_, from, ..)| from);
        let leg = |from: Option<IpAddr>, to: Option<IpAddr>| self.floors.one_way(from?, to?);
        let mut milestones = self.facts.head();
        milestones.extend([
            Milestone::local("update_dispatch", self.update_sent()),
            Milestone::over("update_transit", retargeted, leg(Some(own), peer)),
            Milestone::local("packetisation", sent),
            Milestone::over("media_transit", received.map(|(at, ..)| at), leg(peer, Some(own))),
        ]);
        self.direction(&milestones, received.map(|(at, _, silence, lost)| (at, silence, lost)))
    }

    /// Own media from the new care-of address, as soon as there is one.
    fn uplink(&self) -> Direction {
        let Some(own) = self.facts.address else { return Default::default() };
        let received =
            self.history.window(self.peer, self.facts.detached, self.until).iter().find_map(|record| {
                match &record.event {
                    Event::MediaFirstReceived { call, from, at, silence, lost }
                        if call == self.id && *from == own =>
                    {
                        Some((record.at, *at, *silence, *lost))
                    }
                    _ => None,
                }
            });
        let sent = self.at_node().iter().find_map(|record| match &record.event {
            Event::MediaFirstSent { call, .. }
                if call == self.id && Some(record.at) >= self.facts.configured =>
            {
                Some(record.at)
            }
            _ => None,
        });
        let floor = received.and_then(|(_, peer, ..)| self.floors.one_way(own, peer));
        let mut milestones = self.facts.head();
        milestones.extend([
            Milestone::local("packetisation", sent),
            Milestone::over("media_transit", received.map(|(at, ..)| at), floor),
        ]);
        self.direction(&milestones, received.map(|(at, _, silence, lost)| (at, silence, lost)))
    }

    pub(super) fn direction(
        &self,
        milestones: &[Milestone],
        received: Option<(Time, Duration, u64)>,
    ) -> Direction {
        Direction {
            path: CriticalPath::new(self.facts.detached, milestones),
            media_gap: received.map(|(_, silence, _)| silence),
            packets_lost: received.map(|(_, _, lost)| lost),
            tunnel_cost: None,
        }
    }

    fn update_sent(&self) -> Option<Time> {
        self.facts.records.iter().find_map(|record| match &record.event {
            Event::UpdateSent { call, .. } if call == self.id => Some(record.at),
            _ => None,
        })
    }

    fn update_answered(&self) -> Option<(Time, u16)> {
        self.facts.records.iter().rev().find_map(|record| match &record.event {
            Event::UpdateAnswered { call, status, .. } if call == self.id => Some((record.at, *status)),
            _ => None,
        })
    }

    pub(super) fn at_node(&self) -> &[Record] {
        self.history.window(self.node, self.facts.detached, self.until)
    }

    fn at_peer(&self, wanted: impl Fn(&Event) -> bool) -> Option<Time> {
        let records = self.history.window(self.peer, self.facts.detached, self.until);
        records.iter().find(|record| wanted(&record.event)).map(|record| record.at)
    }
}
