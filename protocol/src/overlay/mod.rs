//! The Chord ring (Stoica et al., SIGCOMM 2001) in the form that Zave proved correct (IEEE TSE 2017).
//!
//! A joining server copies a member's whole successor list; *stabilize* asks the successor for its predecessor and
//! list; *rectify* answers a notification by adopting the notifier when it is nearer, or when the present
//! predecessor turns out dead. Rings of fewer than L + 1 members keep lists of all other members.

pub(crate) mod record;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use crate::timers::Timers;
use samp_model::settings::ChordSettings;
use samp_model::{Event, OverlayId, Time};
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use wire::{Neighbours, OverlayRequest};

/// The identifier of a name: its SHA-1.
pub fn identifier_of(name: &str) -> OverlayId {
    OverlayId(Sha1::digest(name.as_bytes()).into())
}

/// A member of the ring. Its identifier is the hash of its address, so nobody can choose a place on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Where on the ring.
    pub id: OverlayId,
    /// Where in the network.
    pub address: SocketAddr,
}

impl Peer {
    /// The peer at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { id: identifier_of(&address.to_string()), address }
    }
}

/// Where a key leads from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextHop {
    /// This server owns it.
    Here,
    /// This peer owns it, as far as is known here.
    Owner(Peer),
    /// This peer is nearer to its owner.
    Nearer(Peer),
    /// This server is no member of the ring yet.
    Unknown,
}

/// Why a peer was asked something: what its answer, or its silence, will mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// To find the place where this server joins.
    Join,
    /// Stabilize, first step: the successor's predecessor and list.
    Stabilize(Peer),
    /// Stabilize, second step: the list of a nearer successor.
    Adopt(Peer),
    /// To tell the successor that this server precedes it.
    Notify(Peer),
    /// Rectify: is the predecessor alive, or does this candidate take its place?
    Probe { predecessor: Peer, candidate: Peer },
    /// To fill one finger, by way of `asked`.
    Finger { exponent: usize, asked: Peer },
}

/// A request for a peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) to: SocketAddr,
    pub(crate) purpose: Purpose,
    pub(crate) request: OverlayRequest,
}

/// What a peer answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// To `neighbours`.
    Neighbours(Neighbours),
    /// To `find`: the owner and its successor list.
    Found(Peer, Vec<Peer>),
    /// To `notify`.
    Noted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Join,
    Stabilize,
}

/// One server's view of the ring.
#[derive(Debug)]
pub(crate) struct Chord {
    me: Peer,
    settings: ChordSettings,
    /// The member through which this server joins, and joins again if it loses everybody.
    seed: Option<SocketAddr>,
    joining: bool,
    predecessor: Option<Peer>,
    successors: Vec<Peer>,
    fingers: BTreeMap<usize, Peer>,
    next_finger: usize,
    period: Duration,
    stabilizing: bool,
    probing: bool,
    timers: Timers<Timer>,
    asks: VecDeque<Ask>,
    events: VecDeque<Event>,
}

impl Chord {
    /// A server that joins the ring through `join`, or starts one.
    pub(crate) fn new(me: Peer, settings: ChordSettings, join: Option<SocketAddr>, now: Time) -> Self {
        let mut chord = Self {
            me,
            period: settings.stabilize_period,
            settings,
            seed: join,
            joining: join.is_some(),
            predecessor: None,
            successors: Vec::new(),
            fingers: BTreeMap::new(),
            next_finger: 0,
            stabilizing: false,
            probing: false,
            timers: Timers::default(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
        };
        if join.is_some() {
            chord.timers.set(Timer::Join, now);
        } else {
            chord.timers.set(Timer::Stabilize, now + chord.period);
            chord.report();
        }
        chord
    }

    /// The nearest successors, at most `count`: where replicas belong.
    pub(crate) fn successors(&self, count: usize) -> &[Peer] {
        &self.successors[..count.min(self.successors.len())]
    }

    /// The predecessor, if known.
    pub(crate) fn predecessor(&self) -> Option<Peer> {
        self.predecessor
    }

    /// What a peer that asks gets to know.
    pub(crate) fn neighbours(&self) -> Neighbours {
        Neighbours { predecessor: self.predecessor, successors: self.successors.clone() }
    }

    /// Whether this server owns the key: it lies between the predecessor and this server.
    pub(crate) fn owns(&self, key: OverlayId) -> bool {
        match self.predecessor {
            Some(predecessor) => key.in_arc(predecessor.id, self.me.id),
            None => self.successors.is_empty() && !self.joining,
        }
    }

    /// Where to send what concerns this key.
    pub(crate) fn next_hop(&self, key: OverlayId) -> NextHop {
        if self.owns(key) {
            return NextHop::Here;
        }
        let mut from = self.me;
        for &successor in &self.successors {
            if key.in_arc(from.id, successor.id) {
                return NextHop::Owner(successor);
            }
            from = successor;
        }
        let known = self.successors.iter().chain(self.fingers.values());
        let preceding = known.filter(|peer| peer.id.between(self.me.id, key));
        // The nearest before the key: of two, the one that lies between the other and the key.
        match preceding.reduce(|best, peer| if peer.id.between(best.id, key) { peer } else { best }) {
            Some(&peer) => NextHop::Nearer(peer),
            None => NextHop::Unknown,
        }
    }

    /// A peer says that it precedes this server (rectify).
    pub(crate) fn handle_notify(&mut self, now: Time, peer: Peer) {
        if peer == self.me {
            return;
        }
        if self.successors.is_empty() {
            self.successors.push(peer);
            self.stabilize_soon(now);
        }
        match self.predecessor {
            Some(predecessor) if predecessor == peer => {}
            Some(predecessor) if !peer.id.between(predecessor.id, self.me.id) => {
                if !self.probing {
                    self.probing = true;
                    self.ask(
                        predecessor.address,
                        Purpose::Probe { predecessor, candidate: peer },
                        OverlayRequest::Neighbours,
                    );
                }
            }
            _ => {
                self.predecessor = Some(peer);
                self.changed(now);
            }
        }
    }

    /// A peer answered.
    pub(crate) fn handle_answer(&mut self, now: Time, purpose: Purpose, answer: Answer) {
        match (purpose, answer) {
            (Purpose::Join, Answer::Found(owner, list)) if owner != self.me => {
                self.joining = false;
                self.timers.stop(&Timer::Join);
                self.set_successors(now, owner, &list);
                self.stabilize_soon(now);
            }
            (Purpose::Stabilize(head), Answer::Neighbours(neighbours)) => {
                self.stabilizing = false;
                if self.successors.first() != Some(&head) {
                    return self.stabilize_soon(now);
                }
                self.set_successors(now, head, &neighbours.successors);
                match neighbours.predecessor {
                    Some(nearer) if nearer.id.between(self.me.id, head.id) => {
                        self.ask(nearer.address, Purpose::Adopt(nearer), OverlayRequest::Neighbours);
                    }
                    _ => self.notify(head),
                }
            }
            (Purpose::Adopt(nearer), Answer::Neighbours(neighbours)) => {
                self.set_successors(now, nearer, &neighbours.successors);
                self.notify(nearer);
            }
            (Purpose::Probe { .. }, Answer::Neighbours(_)) => self.probing = false,
            (Purpose::Finger { exponent, .. }, Answer::Found(owner, _)) if owner != self.me => {
                self.fingers.insert(exponent, owner);
            }
            // The seed knows no other member than this server yet.
            (Purpose::Join, _) => self.join_later(now),
            _ => {}
        }
    }

    /// A peer did not answer in time.
    pub(crate) fn handle_silence(&mut self, now: Time, purpose: Purpose) {
        match purpose {
            Purpose::Join => self.join_later(now),
            Purpose::Stabilize(head) => {
                self.stabilizing = false;
                self.forget(now, head);
                self.stabilize_soon(now);
            }
            Purpose::Adopt(nearer) => {
                // The successor still believes in a dead predecessor: telling it about us makes it rectify.
                self.forget(now, nearer);
                if let Some(&head) = self.successors.first() {
                    self.notify(head);
                }
            }
            Purpose::Notify(_) => {}
            Purpose::Probe { predecessor, candidate } => {
                self.probing = false;
                self.forget(now, predecessor);
                if self.predecessor.is_none_or(|now| candidate.id.between(now.id, self.me.id)) {
                    self.predecessor = Some(candidate);
                    self.changed(now);
                }
            }
            // Who was asked may be dead, or who it asked: neither way is taken before it has been looked up anew.
            Purpose::Finger { exponent, asked } => {
                self.fingers.retain(|&known, peer| known != exponent && *peer != asked);
            }
        }
    }

    /// Lets the timers that are due do their work.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(timer) = self.timers.expired(now) {
            match (timer, self.seed) {
                (Timer::Join, Some(member)) => {
                    self.ask(member, Purpose::Join, OverlayRequest::Find { key: self.me.id });
                }
                (Timer::Join, None) => {}
                (Timer::Stabilize, _) => self.stabilize(now),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next request for a peer.
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// The next thing to record.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn ask(&mut self, to: SocketAddr, purpose: Purpose, request: OverlayRequest) {
        self.asks.push_back(Ask { to, purpose, request });
    }

    fn notify(&mut self, peer: Peer) {
        self.ask(peer.address, Purpose::Notify(peer), OverlayRequest::Notify);
    }

    fn stabilize(&mut self, now: Time) {
        self.timers.set(Timer::Stabilize, now + self.period);
        // A quiet ring is asked at the full period; a change shortens it again.
        self.period = (2 * self.period).min(self.settings.stabilize_period);
        let Some(&head) = self.successors.first() else { return };
        if !self.stabilizing {
            self.stabilizing = true;
            self.ask(head.address, Purpose::Stabilize(head), OverlayRequest::Neighbours);
        }
        self.fix_next_finger();
    }

    /// Looks up the next finger that the successor list does not cover anyway.
    fn fix_next_finger(&mut self) {
        let Some(&last) = self.successors.last() else { return };
        let me = self.me.id;
        let covered = |exponent: usize| me.plus_power_of_two(exponent).in_arc(me, last.id);
        // The successor list is kept alive, fingers that it has caught up with are not.
        self.fingers.retain(|&exponent, _| !covered(exponent));
        let exponents = (self.next_finger..OverlayId::BITS).chain(0..self.next_finger);
        let Some(exponent) = exponents.into_iter().find(|&exponent| !covered(exponent)) else { return };
        self.next_finger = (exponent + 1) % OverlayId::BITS;
        let key = self.me.id.plus_power_of_two(exponent);
        if let NextHop::Owner(peer) | NextHop::Nearer(peer) = self.next_hop(key) {
            let purpose = Purpose::Finger { exponent, asked: peer };
            self.ask(peer.address, purpose, OverlayRequest::Find { key });
        }
    }

    fn stabilize_soon(&mut self, now: Time) {
        self.period = self.settings.stabilize_period / 20;
        self.timers.set(Timer::Stabilize, now);
    }

    /// The successor list is `head` and what it told of its own, up to L members and never this server.
    fn set_successors(&mut self, now: Time, head: Peer, list: &[Peer]) {
        let mut successors = vec![head];
        for &peer in list {
            if peer == self.me || successors.len() == self.settings.successors {
                break;
            }
            if !successors.contains(&peer) {
                successors.push(peer);
            }
        }
        if successors != self.successors {
            self.successors = successors;
            self.changed(now);
        }
    }

    fn join_later(&mut self, now: Time) {
        if self.joining {
            self.timers.set(Timer::Join, now + self.settings.stabilize_period);
        }
    }

    fn forget(&mut self, now: Time, peer: Peer) {
        self.successors.retain(|&known| known != peer);
        self.fingers.retain(|_, known| *known != peer);
        if self.predecessor == Some(peer) {
            self.predecessor = None;
        }
        if self.successors.is_empty() {
            // The whole list is gone: the predecessor, if any, is the only way back, else the seed.
            self.successors.extend(self.predecessor);
            if self.successors.is_empty() && self.seed.is_some() {
                self.joining = true;
                self.timers.set(Timer::Join, now);
            }
        }
        self.events.push_back(Event::PeerFailed { id: peer.id });
        self.changed(now);
    }

    fn changed(&mut self, now: Time) {
        self.period = self.settings.stabilize_period / 20;
        self.timers.set(Timer::Stabilize, now + self.period);
        self.report();
    }

    fn report(&mut self) {
        self.events.push_back(Event::RingChanged {
            id: self.me.id,
            predecessor: self.predecessor.map(|peer| peer.id),
            successors: self.successors.iter().map(|peer| peer.id).collect(),
        });
    }
}
