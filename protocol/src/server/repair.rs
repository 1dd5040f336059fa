//! Keeping records where they belong: with the owner and the r − 1 distinct servers behind it.
//!
//! After every change of the ring, and every ten periods in any case, an owner compares its arcs with its replicas'.
//! A server that has lost keys to others compares those with their owners, and a member that has joined compares its
//! arc with its successor's, and passes lookups on to that one until it has what is its own. A comparison that silence
//! ends is begun again a period later.

use super::reconcile::Reconciliation;
use super::{Asked, SampServer};
use crate::overlay::arc::Arc;
use crate::overlay::member::Member;
use crate::overlay::wire::{OverlayRequest, Told};
use crate::overlay::{NextHop, Peer};
use samp_model::{OverlayId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Stabilisation periods between two comparisons in a quiet ring.
const REPAIR_PERIODS: u32 = 10;
/// After a change comparisons begin this part of a period later, when the next changes have come, too.
const HASTE: u32 = 20;
/// Arcs that wait to be handed over at most.
const MAX_HANDOVERS: usize = 256;

/// What is being compared with whom.
#[derive(Debug)]
pub(super) struct Repairs {
    pub(super) next: Time,
    /// The ring's, at the last look.
    revision: u64,
    /// What was owned at the last look: where each member's arc began.
    owned: BTreeMap<OverlayId, OverlayId>,
    running: BTreeMap<SocketAddr, Reconciliation>,
    /// Keys that others own now.
    handovers: VecDeque<Arc>,
}

impl Repairs {
    pub(super) fn new(now: Time) -> Self {
        Self {
            next: now,
            revision: u64::MAX,
            owned: BTreeMap::new(),
            running: BTreeMap::new(),
            handovers: VecDeque::new(),
        }
    }

    /// Comparisons under way.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.handovers.len()
    }
}

impl SampServer {
    /// Looks whether the ring around this server has changed.
    pub(super) fn watch_ring(&mut self, now: Time) {
        if self.repairs.revision == self.chord.revision() {
            return;
        }
        self.repairs.revision = self.chord.revision();
        if self.is_leaving() {
            return self.progress_all(now);
        }
        let owned: BTreeMap<_, _> = self.chord.arcs().map(|(_, arc)| (arc.to, arc.from)).collect();
        let has_gained = owned.iter().any(|(&to, &from)| {
            let before = self.repairs.owned.get(&to);
            before.is_none_or(|&before| before != from && (Arc { from, to }).contains(before))
        });
        if has_gained {
            // What is written from now on supersedes what an earlier owner may still be writing.
            self.seen_epoch = self.seen_epoch.saturating_add(1);
            self.epoch = self.seen_epoch;
        }
        self.repairs.owned.extend(owned);
        for arc in self.chord.take_lost() {
            self.repairs.handovers.push_back(arc);
            self.repairs.handovers.truncate(MAX_HANDOVERS);
        }
        self.repair_soon(now);
        self.progress_all(now);
    }

    pub(super) fn repair_soon(&mut self, now: Time) {
        self.repairs.next = self.repairs.next.min(now + self.settings.chord.stabilize_period / HASTE);
    }

    /// Begins to compare what is to be compared.
    pub(super) fn repair(&mut self, now: Time) {
        self.repairs.next = now + self.settings.chord.stabilize_period * REPAIR_PERIODS;
        let replicas = self.settings.chord.replicas.saturating_sub(1);
        let mut work: BTreeMap<SocketAddr, (Vec<Arc>, Vec<OverlayId>)> = BTreeMap::new();
        let mut settled = Vec::new();
        for (member, arc) in self.chord.arcs() {
            let least = usize::from(member.is_unsettled());
            let servers: Vec<_> =
                member.successors().servers(self.me.address).take(replicas.max(least)).collect();
            for (index, &server) in servers.iter().enumerate() {
                let (arcs, settles) = work.entry(server).or_default();
                arcs.push(arc);
                settles.extend((index < least).then_some(arc.to));
            }
            settled.extend((servers.is_empty() && member.is_unsettled()).then_some(arc.to));
        }
        settled.into_iter().for_each(|id| self.chord.settle(id));
        for (server, (arcs, settles)) in work {
            self.compare(now, server, &arcs, settles);
        }
        self.hand_over(now);
    }

    /// Compares arcs with a server; the members `settles` have what is theirs once that is done.
    pub(super) fn compare(&mut self, now: Time, server: SocketAddr, arcs: &[Arc], settles: Vec<OverlayId>) {
        let reconciliation = self.repairs.running.entry(server).or_default();
        reconciliation.add(arcs);
        reconciliation.settles.extend(settles);
        self.advance(now, server);
    }

    /// Hands over whatever is held, as this server leaves: its own arcs to those that hold copies of them, all other keys
    /// to their owners.
    pub(super) fn hand_everything_over(&mut self, now: Time) {
        let mut work: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (member, arc) in self.chord.arcs() {
            let others = member.successors().servers(self.me.address);
            others
                .take(self.settings.chord.replicas)
                .for_each(|server| work.entry(server).or_default().push(arc));
        }
        self.repairs.handovers = self.foreign_arcs().into();
        for (server, arcs) in work {
            self.compare(now, server, &arcs, Vec::new());
        }
        self.hand_over(now);
    }

    /// The ring without its own arcs.
    fn foreign_arcs(&self) -> Vec<Arc> {
        let mut own: Vec<_> = self.chord.arcs().map(|(_, arc)| arc).collect();
        own.sort_by_key(|arc| arc.to);
        let next = own.iter().cycle().skip(1);
        let between = own.iter().zip(next).map(|(arc, next)| Arc { from: arc.to, to: next.from });
        between.filter(|arc| arc.from != arc.to).collect()
    }

    /// Looks up who owns the first keys that are held here of the next arc that others own now.
    fn hand_over(&mut self, now: Time) {
        while let Some(&arc) = self.repairs.handovers.front() {
            let Some((key, _)) = self.home.versions(arc).next() else {
                self.repairs.handovers.pop_front();
                continue;
            };
            match self.chord.next_hop(key) {
                NextHop::Owner(peer) | NextHop::Nearer(peer) => {
                    self.repairs.handovers.pop_front();
                    self.ask(now, peer.address, Asked::Owner(arc), OverlayRequest::Find { key });
                }
                // What is its own again needs no handing over.
                NextHop::Here => drop(self.repairs.handovers.pop_front()),
                NextHop::Unknown => return,
            }
        }
    }

    /// The owner of the first keys of an arc is known, or could not be found.
    pub(super) fn handle_owner(&mut self, now: Time, arc: Arc, owner: Option<Peer>) {
        let Some(owner) = owner else {
            // Tried again with the next comparison.
            self.repairs.handovers.push_back(arc);
            if self.is_leaving() {
                self.hand_over(now);
            }
            return;
        };
        let its = if arc.contains(owner.id) { Arc { from: arc.from, to: owner.id } } else { arc };
        if its.to != arc.to {
            self.repairs.handovers.push_back(Arc { from: its.to, to: arc.to });
        }
        if owner.address != self.me.address {
            self.compare(now, owner.address, &[its], Vec::new());
            let running = self.repairs.running.get_mut(&owner.address);
            running.into_iter().for_each(|running| running.handed.push(its));
        }
        self.hand_over(now);
    }

    /// Asks the next question of a comparison, or ends it.
    fn advance(&mut self, now: Time, server: SocketAddr) {
        let Some(running) = self.repairs.running.get_mut(&server) else { return };
        if let Some(request) = running.next(&self.home) {
            self.ask(now, server, Asked::Reconcile, request);
        } else if running.is_done() {
            let done = self.repairs.running.remove(&server);
            done.into_iter().flat_map(|done| done.settles).for_each(|id| self.chord.settle(id));
        }
    }

    /// A server has answered a question of a comparison, or not in time.
    pub(super) fn handle_reconciled(&mut self, now: Time, server: SocketAddr, told: Option<Told>) {
        match (told, self.repairs.running.get_mut(&server)) {
            (Some(told), Some(running)) => {
                running.handle(&mut self.home, told);
                self.advance(now, server);
            }
            // What has not been compared may be missing there.
            _ => {
                let ended = self.repairs.running.remove(&server);
                if self.is_leaving() {
                    return self.hand_everything_over(now);
                }
                self.repairs.handovers.extend(ended.into_iter().flat_map(|ended| ended.handed));
                self.repairs.next = self.repairs.next.min(now + self.settings.chord.stabilize_period);
            }
        }
    }

    /// The successor to pass a request about a key on to, as this server owns the key but has not been given its
    /// record yet.
    pub(super) fn previous_owner(&self, key: OverlayId) -> Option<Peer> {
        let member: &Member = self.chord.home(key).filter(|member| member.is_unsettled())?;
        member.successors().peers().iter().copied().find(|peer| peer.address != self.me.address)
    }
}
