//! One member of the ring: the protocol that Zave proved correct (IEEE TSE 2017, figures 5 to 8).
//!
//! ```text
//!            ┌──────────────── no place found ────────────────┐
//!            ▼                                                │
//!          Out ──join──▶ Finding ──found──▶ Copying(p) ──▶ between(p, me, p's head)? ──no──▶ Copying(p's head)
//!        the lookup of the own identifier    p's whole list       │yes: p's list is mine, p is my predecessor
//!                                                                 ▼
//!   ┌──────────────────────────────────────────────────────────▶ In
//!   │                                                             │ stabilize: what are head's predecessor and list?
//!   │  silence: the next of the list is head                      ▼
//!   ├◀─────────────────────────────────────────────────── Stabilizing(head)
//!   │  answer: head + its list, but the last, is my list          │
//!   ├◀─ its predecessor is not nearer: notify head ───────────────┤
//!   │                                                             ▼ it is nearer: what is its list?
//!   └◀─ notify head ───────────────────────────────────── Adopting(nearer)
//!      answer: nearer + its list, but the last, is my list; silence: nothing changes
//!
//!   notified by p (rectify):  no predecessor, or between(predecessor, p, me)  ──▶ p is my predecessor
//!                             else, and not p itself: is the predecessor alive? ──silence──▶ p is my predecessor
//! ```
//! A question and what its answer changes are one step in the proof. Here an answer counts only in the phase that
//! waits for it, and what changed in between is looked at again.

use super::Peer;
use super::arc::Arc;
use super::list::SuccessorList;
use super::wire::{Neighbours, OverlayRequest};
use samp_model::OverlayId;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Predecessors that a joining member asks one behind the other before it looks for its place anew.
const COPY_ATTEMPTS: u8 = 8;

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not in the ring.
    Out,
    /// Waiting for the owner of its own identifier.
    Finding,
    /// Waiting for the list of what should be its predecessor.
    Copying { from: Peer, attempts: u8 },
    /// In the ring, waiting for nothing.
    In,
    /// In the ring, waiting for the successor's predecessor and list.
    Stabilizing(Peer),
    /// In the ring, waiting for the list of a nearer successor.
    Adopting(Peer),
}

/// Why a peer was asked something: what its answer, or its silence, will mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The owner of the own identifier, to join there.
    Find,
    /// The list of what should be the predecessor.
    Copy(Peer),
    /// The successor's predecessor and list.
    Stabilize(Peer),
    /// A nearer successor's list.
    Adopt(Peer),
    /// To tell the successor that this member precedes it.
    Notify,
    /// Whether the predecessor is alive and in the ring, or the candidate takes its place.
    Probe { predecessor: Peer, candidate: Peer },
}

/// One member's state.
#[derive(Debug)]
pub(crate) struct Member {
    me: Peer,
    /// L.
    length: usize,
    phase: Phase,
    predecessor: Option<Peer>,
    successors: SuccessorList,
    probing: bool,
    /// It owns keys whose records it has not been given yet.
    is_unsettled: bool,
    /// The keys that it owned when it was last asked what it has lost, and knew.
    owned: Option<Arc>,
    /// What to ask of whom.
    questions: VecDeque<(SocketAddr, Step, OverlayRequest)>,
    changed: bool,
}

impl Member {
    /// A member that is not in a ring yet.
    pub(crate) fn new(me: Peer, length: usize) -> Self {
        Self {
            me,
            length,
            phase: Phase::Out,
            predecessor: None,
            successors: SuccessorList::empty(),
            probing: false,
            is_unsettled: false,
            owned: None,
            questions: VecDeque::new(),
            changed: false,
        }
    }

    /// Puts the member at its place without asking anybody: among the virtual nodes of the server that starts a ring.
    pub(crate) fn place(&mut self, predecessor: Option<Peer>, successors: SuccessorList) {
        self.phase = Phase::In;
        self.predecessor = predecessor;
        self.successors = successors;
    }

    /// Who this is.
    pub(crate) fn me(&self) -> Peer {
        self.me
    }

    /// What it is doing.
    #[cfg(test)]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it is in the ring.
    pub(crate) fn is_in(&self) -> bool {
        !matches!(self.phase, Phase::Out | Phase::Finding | Phase::Copying { .. })
    }

    /// The predecessor, if known.
    pub(crate) fn predecessor(&self) -> Option<Peer> {
        self.predecessor
    }

    /// The successor list.
    pub(crate) fn successors(&self) -> &SuccessorList {
        &self.successors
    }

    /// What a peer that asks gets to know.
    pub(crate) fn neighbours(&self) -> Neighbours {
        Neighbours { predecessor: self.predecessor, successors: self.successors.peers().to_vec() }
    }

    /// Whether it is the only member of its ring.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_in() && self.successors.peers().is_empty()
    }

    /// The keys that it owns: those between the predecessor and itself, or all when it is alone.
    pub(crate) fn arc(&self) -> Option<Arc> {
        let to = self.me.id;
        let from = self.predecessor.map(|predecessor| predecessor.id).or(self.is_alone().then_some(to))?;
        self.is_in().then_some(Arc { from, to })
    }

    /// Whether it owns keys whose records it has not been given yet.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// It has been given the records of its keys.
    pub(crate) fn settle(&mut self) {
        self.is_unsettled = false;
    }

    /// Keys that it has lost since this was last asked, as somebody joined in front of it: their records go there.
    pub(crate) fn take_lost(&mut self) -> Option<Arc> {
        // What it owns is not known meanwhile, when it finds a successor before a predecessor.
        let now = self.arc()?;
        let before = self.owned.replace(now)?;
        let lost = Arc { from: before.from, to: now.from };
        (before.contains(now.from) && now.from != before.to).then_some(lost)
    }

    /// The successor that owns the key, as far as the list reaches.
    pub(crate) fn owner(&self, key: OverlayId) -> Option<Peer> {
        let mut from = self.me.id;
        let mut peers = self.successors.peers().iter();
        peers.find(|peer| key.in_arc(std::mem::replace(&mut from, peer.id), peer.id)).copied()
    }

    /// Looks for a place, by way of a server that is in the ring.
    pub(crate) fn join(&mut self, through: SocketAddr) {
        if self.phase == Phase::Out {
            self.phase = Phase::Finding;
            self.ask(through, Step::Find, OverlayRequest::Find { key: self.me.id });
        }
    }

    /// Begins a stabilisation, unless one is under way.
    pub(crate) fn stabilize(&mut self) {
        if let (Phase::In, Some(head)) = (self.phase, self.successors.head()) {
            self.phase = Phase::Stabilizing(head);
            self.ask(head.address, Step::Stabilize(head), OverlayRequest::Neighbours { of: head });
        }
    }

    /// A peer says that it precedes this member (rectify).
    pub(crate) fn handle_notify(&mut self, peer: Peer) {
        if peer == self.me || !self.is_in() {
            return;
        }
        if self.successors.peers().is_empty() {
            self.set_successors(peer, &[]);
        }
        match self.predecessor {
            Some(predecessor) if predecessor == peer => {}
            Some(predecessor) if !peer.id.between(predecessor.id, self.me.id) => {
                if !self.probing {
                    self.probing = true;
                    // A sign of life is not enough: a server that begins anew at once is alive, but not in the ring.
                    let what = OverlayRequest::Neighbours { of: predecessor };
                    self.ask(predecessor.address, Step::Probe { predecessor, candidate: peer }, what);
                }
            }
            _ => self.set_predecessor(Some(peer)),
        }
    }

    /// Another ring, or a part of this one that has been cut off, takes `owner` for the owner of this member's
    /// identifier: the two come together here.
    pub(crate) fn meet(&mut self, owner: Peer) {
        let is_nearer = self.successors.head().is_none_or(|head| owner.id.between(self.me.id, head.id));
        match self.phase {
            _ if owner == self.me => {}
            Phase::In if is_nearer => self.adopt(owner),
            _ if self.is_in() && !is_nearer => self.notify(owner),
            _ => {}
        }
    }

    /// A neighbour leaves, and says who its own neighbours are.
    pub(crate) fn handle_leave(&mut self, leaver: Peer, neighbours: &Neighbours) {
        if self.predecessor == Some(leaver) {
            self.set_predecessor(neighbours.predecessor.filter(|next| *next != self.me && *next != leaver));
        }
        if self.successors.head() == Some(leaver)
            && let Some((&next, rest)) = neighbours.successors.split_first()
        {
            self.set_successors(next, rest);
        }
    }

    /// Leaves the ring: who is to be told, and what.
    pub(crate) fn leave(&mut self) -> (Vec<Peer>, Neighbours) {
        let neighbours = self.neighbours();
        let mut told: Vec<_> = self.predecessor.into_iter().chain(self.successors.head()).collect();
        told.dedup();
        *self = Self::new(self.me, self.length);
        (told, neighbours)
    }

    /// Whoever was asked has answered.
    pub(crate) fn handle_neighbours(
        &mut self,
        step: Step,
        answer: &Neighbours,
        is_suspect: impl Fn(Peer) -> bool,
    ) {
        match (step, self.phase) {
            (Step::Copy(peer), Phase::Copying { from, attempts }) if peer == from => {
                self.handle_copy(peer, attempts, answer);
            }
            (Step::Stabilize(peer), Phase::Stabilizing(head)) if peer == head => {
                self.phase = Phase::In;
                if self.successors.head() != Some(head) {
                    return self.stabilize();
                }
                let live: Vec<_> =
                    answer.successors.iter().copied().filter(|&peer| !is_suspect(peer)).collect();
                self.set_successors(head, &live);
                match answer.predecessor {
                    Some(nearer) if nearer.id.between(self.me.id, head.id) && !is_suspect(nearer) => {
                        self.adopt(nearer);
                    }
                    _ => self.notify(head),
                }
            }
            (Step::Adopt(peer), Phase::Adopting(nearer)) if peer == nearer => {
                self.phase = Phase::In;
                let is_nearer =
                    self.successors.head().is_none_or(|head| nearer.id.between(self.me.id, head.id));
                if is_nearer {
                    let live: Vec<_> =
                        answer.successors.iter().copied().filter(|&peer| !is_suspect(peer)).collect();
                    self.set_successors(nearer, &live);
                }
                self.notify_head();
            }
            (Step::Probe { .. }, _) => self.probing = false,
            _ => {}
        }
    }

    /// The owner of the own identifier, as the ring sees it, and the owner's neighbours.
    pub(crate) fn handle_found(&mut self, owner: Peer, neighbours: &Neighbours) {
        if self.phase != Phase::Finding {
            return;
        }
        let alone = neighbours.successors.is_empty().then_some(owner);
        match neighbours.predecessor.or(alone) {
            Some(predecessor) if predecessor != self.me && owner != self.me => {
                self.copy(predecessor, COPY_ATTEMPTS)
            }
            _ => self.phase = Phase::Out,
        }
    }

    /// Whoever was asked did not answer in time, or is not in the ring. If it is known who that was, it has been
    /// [forgotten](Self::forget) before.
    pub(crate) fn handle_silence(&mut self, step: Step) {
        match (step, self.phase) {
            (Step::Find, Phase::Finding) => self.phase = Phase::Out,
            (Step::Probe { candidate, .. }, _) => {
                self.probing = false;
                let is_better = |predecessor: Peer| candidate.id.between(predecessor.id, self.me.id);
                if self.predecessor.is_none_or(is_better) {
                    self.set_predecessor(Some(candidate));
                }
            }
            _ => {}
        }
    }

    /// Peers are dead, unreachable or no members: they are no neighbours any more, and nothing is expected of them.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(Peer) -> bool) {
        self.changed |= self.successors.remove(&is_gone);
        if self.predecessor.is_some_and(&is_gone) {
            self.set_predecessor(None);
        }
        if self.successors.peers().is_empty() && self.is_in() {
            match self.predecessor {
                // The whole list is gone: the way back leads round by the predecessors.
                Some(predecessor) if predecessor != self.me => self.set_successors(predecessor, &[]),
                _ => self.successors = SuccessorList::empty(),
            }
        }
        match self.phase {
            Phase::Copying { from, .. } if is_gone(from) => self.phase = Phase::Out,
            Phase::Stabilizing(peer) if is_gone(peer) => {
                self.phase = Phase::In;
                self.stabilize();
            }
            Phase::Adopting(peer) if is_gone(peer) => {
                // The successor still believes in a dead predecessor: told about this member, it looks after it.
                self.phase = Phase::In;
                self.notify_head();
            }
            _ => {}
        }
    }

    /// The next question.
    pub(crate) fn poll_question(&mut self) -> Option<(SocketAddr, Step, OverlayRequest)> {
        self.questions.pop_front()
    }

    /// Whether predecessor or list have changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn handle_copy(&mut self, predecessor: Peer, attempts: u8, answer: &Neighbours) {
        match answer.successors.split_first() {
            Some((&head, _)) if !self.me.id.between(predecessor.id, head.id) && head != self.me => {
                self.copy(head, attempts - 1);
            }
            Some((&head, rest)) if head != self.me => self.enter(predecessor, head, rest),
            // It is alone, or has met this member before and does not know yet that it was away.
            _ => self.enter(predecessor, predecessor, &answer.successors),
        }
    }

    fn enter(&mut self, predecessor: Peer, head: Peer, rest: &[Peer]) {
        self.phase = Phase::In;
        self.is_unsettled = true;
        self.predecessor = Some(predecessor);
        self.set_successors(head, rest);
        self.changed = true;
        self.stabilize();
    }

    fn copy(&mut self, from: Peer, attempts: u8) {
        if attempts == 0 {
            self.phase = Phase::Out;
            return;
        }
        self.phase = Phase::Copying { from, attempts };
        self.ask(from.address, Step::Copy(from), OverlayRequest::Neighbours { of: from });
    }

    fn adopt(&mut self, nearer: Peer) {
        self.phase = Phase::Adopting(nearer);
        self.ask(nearer.address, Step::Adopt(nearer), OverlayRequest::Neighbours { of: nearer });
    }

    fn notify_head(&mut self) {
        if let Some(head) = self.successors.head() {
            self.notify(head);
        }
    }

    fn notify(&mut self, peer: Peer) {
        self.ask(peer.address, Step::Notify, OverlayRequest::Notify { to: peer });
    }

    fn ask(&mut self, to: SocketAddr, step: Step, what: OverlayRequest) {
        self.questions.push_back((to, step, what));
    }

    fn set_predecessor(&mut self, predecessor: Option<Peer>) {
        self.changed |= self.predecessor != predecessor;
        self.predecessor = predecessor;
    }

    fn set_successors(&mut self, head: Peer, rest: &[Peer]) {
        let successors = SuccessorList::new(self.me, self.length, head, rest);
        self.changed |= self.successors != successors;
        self.successors = successors;
    }
}
