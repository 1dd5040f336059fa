//! The Chord ring (Stoica et al., SIGCOMM 2001) in the form that Zave proved correct (IEEE TSE 2017), with virtual
//! nodes.
//!
//! A server is one or several members of the ring (`member.rs`). What they share is here: the way to a key, fingers,
//! the detection of failures, and the search for parts of the ring that have been cut off.
//!
//! Every peer in anybody's tables is asked for a sign of life once in a period. A server that is silent is gone from
//! all tables at once, so that no lookup goes there, and is not believed in on others' words until it speaks itself.

pub(crate) mod arc;
pub(crate) mod fingerprint;
mod fingers;
mod ideal;
pub(crate) mod list;
pub(crate) mod member;
mod peer;
pub(crate) mod record;
mod route;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use ideal::IdealRing;
pub use peer::{Peer, identifier_of};
pub(crate) use route::NextHop;

use crate::timers::Timers;
use arc::Arc;
use fingers::{FingerName, Fingers};
use list::SuccessorList;
use member::{Member, Step};
use samp_model::ring::LONGEST_LIST;
use samp_model::settings::ChordSettings;
use samp_model::{Event, OverlayId, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use wire::{Neighbours, OverlayRequest};

/// Stabilisation periods between two looks for another part of the ring.
const MEET_PERIODS: u32 = 10;
/// Stabilisation periods for which a silent server is not believed in on others' words.
const SUSPICION_PERIODS: u32 = 5;
/// After a change the period is this part of the configured one, and doubles until it is that again.
const HASTE: u32 = 20;
/// Servers that are remembered as ways to other parts of the ring, at most.
const MAX_CONTACTS: usize = 16;

/// Why a server was asked something: what its answer, or its silence, will mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A step of the member of this number.
    Member(usize, Step),
    /// To fill a finger, by way of this peer.
    Finger(FingerName, Peer),
    /// A sign of life.
    Ping,
    /// Who owns the identifier of the member of this number, in the eyes of a server that may be cut off.
    Meet(usize),
    /// The member of this number says goodbye.
    Leave(usize),
}

impl Purpose {
    /// Whether the answer comes from the owner of a key, and not from whom was asked.
    pub(crate) fn is_routed(&self) -> bool {
        matches!(self, Purpose::Member(_, Step::Find) | Purpose::Finger(..) | Purpose::Meet(_))
    }

    /// Whether a member is asked for its neighbours.
    pub(crate) fn wants_neighbours(&self) -> bool {
        matches!(
            self,
            Purpose::Member(_, Step::Copy(_) | Step::Stabilize(_) | Step::Adopt(_) | Step::Probe { .. })
        )
    }
}

/// A request for a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) to: SocketAddr,
    pub(crate) purpose: Purpose,
    pub(crate) request: OverlayRequest,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// To `neighbours`.
    Neighbours(Neighbours),
    /// To `find`: the owner and its neighbours.
    Found(Peer, Neighbours),
    /// To what needs no words.
    Noted,
    /// The peer is not in the ring.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Stabilize(usize),
    Ping,
    Meet,
}

/// One server's view of the ring.
#[derive(Debug)]
pub(crate) struct Chord {
    address: SocketAddr,
    settings: ChordSettings,
    members: Vec<Member>,
    /// The present period of each member.
    paces: Vec<Duration>,
    fingers: Fingers,
    /// Servers to join through and to find other parts of the ring by; the next one to ask comes first.
    contacts: VecDeque<SocketAddr>,
    next_to_meet: usize,
    /// A contact has not answered yet, and may be dead.
    is_meeting: bool,
    /// Whom it has left the ring to: who has not heard of that yet is passed on there.
    heir: Option<Peer>,
    /// Silent servers, and until when others' words about them do not count.
    suspects: BTreeMap<SocketAddr, Time>,
    /// Servers found to be gone, for the server to hear of.
    buried: VecDeque<SocketAddr>,
    pinged: BTreeSet<SocketAddr>,
    timers: Timers<Timer>,
    asks: VecDeque<Ask>,
    events: VecDeque<Event>,
    /// Rises with every change of a predecessor or list.
    revision: u64,
    /// What was last recorded of each member.
    told: Vec<Option<Neighbours>>,
}

// Construction and getters.
impl Chord {
    /// A server that joins the ring through `join`, or starts one.
    pub(crate) fn new(
        address: SocketAddr,
        settings: ChordSettings,
        join: Option<SocketAddr>,
        now: Time,
    ) -> Self {
        let peers = (0..settings.virtual_nodes).map(|number| Peer::virtual_node(address, number as u16));
        let mut peers: Vec<_> = peers.collect();
        peers.sort();
        let mut chord = Self {
            address,
            members: peers.iter().map(|&peer| Member::new(peer, settings.successors)).collect(),
            paces: vec![settings.stabilize_period / HASTE; peers.len()],
            fingers: Fingers::default(),
            contacts: join.into_iter().collect(),
            next_to_meet: 0,
            is_meeting: false,
            heir: None,
            suspects: BTreeMap::new(),
            buried: VecDeque::new(),
            pinged: BTreeSet::new(),
            timers: Timers::default(),
            asks: VecDeque::new(),
            events: VecDeque::new(),
            revision: 0,
            told: vec![None; peers.len()],
            settings,
        };
        if join.is_none() {
            chord.place(&peers);
        }
        let period = chord.settings.stabilize_period;
        for index in 0..chord.members.len() {
            chord.timers.set(Timer::Stabilize(index), if join.is_some() { now } else { now + period });
        }
        chord.timers.set(Timer::Ping, now + period);
        chord.timers.set(Timer::Meet, now + period * MEET_PERIODS);
        chord
    }

    /// Puts this server's members where they belong among `ring`, all members in the order of their identifiers.
    fn place(&mut self, ring: &[Peer]) {
        for index in 0..self.members.len() {
            let me = self.members[index].me();
            let position = ring.binary_search(&me).expect("own members are in the ring");
            let next = |step: usize| ring[(position + step) % ring.len()];
            // One more than a list has room for shows that it is not the whole ring.
            let rest: Vec<_> = (2..=ring.len()).map(next).take(LONGEST_LIST).collect();
            let successors = SuccessorList::new(me, self.settings.successors, next(1), &rest);
            let predecessor = Some(next(ring.len() - 1)).filter(|peer| *peer != me);
            self.members[index].place(predecessor, successors);
            self.report(index);
        }
    }

    /// What a peer that asks for this member gets to know; none while the member is not in the ring.
    pub(crate) fn neighbours(&self, of: Peer) -> Option<Neighbours> {
        self.index(of).map(|index| self.members[index].neighbours())
    }

    /// Whether any member is in the ring.
    pub(crate) fn is_in(&self) -> bool {
        self.members.iter().any(Member::is_in)
    }

    /// The members that are in the ring and know what they own, with the keys.
    pub(crate) fn arcs(&self) -> impl Iterator<Item = (&Member, Arc)> {
        self.members.iter().filter_map(|member| Some((member, member.arc()?)))
    }

    /// Another number after every change of a predecessor or list.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Keys that members have lost to others since this was last asked.
    pub(crate) fn take_lost(&mut self) -> Vec<Arc> {
        self.members.iter_mut().filter_map(Member::take_lost).collect()
    }

    /// The member with this identifier has been given the records of its keys.
    pub(crate) fn settle(&mut self, id: OverlayId) {
        self.members.iter_mut().filter(|member| member.me().id == id).for_each(Member::settle);
    }

    /// Whether this server precedes one of the members here.
    pub(crate) fn is_preceded_by(&self, server: IpAddr) -> bool {
        self.members.iter().filter_map(Member::predecessor).any(|peer| peer.address.ip() == server)
    }

    /// The member in whose name this is asked.
    pub(crate) fn asker(&self, purpose: Purpose) -> Option<Peer> {
        let (Purpose::Member(index, _) | Purpose::Leave(index)) = purpose else { return None };
        self.members.get(index).map(Member::me)
    }

    /// All peers in anybody's tables.
    fn known(&self) -> impl Iterator<Item = Peer> {
        let neighbours = self
            .members
            .iter()
            .flat_map(|member| member.successors().peers().iter().copied().chain(member.predecessor()));
        neighbours.chain(self.fingers.peers()).filter(|peer| peer.address != self.address)
    }

    fn index(&self, of: Peer) -> Option<usize> {
        self.members.iter().position(|member| member.me() == of && member.is_in())
    }
}

// Input.
impl Chord {
    /// A server has said something to this one: it is alive.
    pub(crate) fn hear(&mut self, from: SocketAddr) {
        self.suspects.remove(&from);
    }

    /// A peer says that it precedes the member `to`; whether that is a member here.
    pub(crate) fn handle_notify(&mut self, now: Time, to: Peer, peer: Peer) -> bool {
        let Some(index) = self.index(to) else { return false };
        self.members[index].handle_notify(peer);
        self.carry(now, index);
        true
    }

    /// A neighbour of the member `to` leaves the ring; whether that is a member here.
    pub(crate) fn handle_leave(
        &mut self,
        now: Time,
        to: Peer,
        leaver: Peer,
        neighbours: &Neighbours,
    ) -> bool {
        let Some(index) = self.index(to) else { return false };
        self.members[index].handle_leave(leaver, neighbours);
        self.forget(now, |peer| peer == leaver);
        true
    }

    /// Leaves the ring for good: the neighbours are told, and nothing happens by itself any more.
    pub(crate) fn leave(&mut self) {
        self.timers = Timers::default();
        for index in 0..self.members.len() {
            let (told, mut neighbours) = self.members[index].leave();
            // All of this server's members leave together.
            let is_other = |peer: &Peer| peer.address != self.address;
            neighbours.predecessor = neighbours.predecessor.filter(is_other);
            neighbours.successors.retain(is_other);
            self.heir = neighbours.successors.first().copied().or(self.heir);
            for to in told.into_iter().filter(is_other) {
                let request = OverlayRequest::Leave { to, neighbours: neighbours.clone() };
                self.asks.push_back(Ask { to: to.address, purpose: Purpose::Leave(index), request });
            }
            self.events.push_back(Event::RingLeft { id: self.members[index].me().id });
        }
    }

    /// A server answered.
    pub(crate) fn handle_answer(&mut self, now: Time, to: SocketAddr, purpose: Purpose, answer: Answer) {
        self.pinged.remove(&to);
        self.is_meeting &= !matches!(purpose, Purpose::Meet(_));
        match (purpose, answer) {
            (Purpose::Member(index, step), answer) => {
                match answer {
                    Answer::Found(owner, neighbours) => self.members[index].handle_found(owner, &neighbours),
                    Answer::Neighbours(neighbours) => {
                        let suspects = &self.suspects;
                        let is_suspect =
                            |peer: Peer| suspects.get(&peer.address).is_some_and(|&until| until > now);
                        self.members[index].handle_neighbours(step, &neighbours, is_suspect);
                    }
                    Answer::Noted => {}
                    Answer::Refused => {
                        if let Step::Copy(gone)
                        | Step::Stabilize(gone)
                        | Step::Adopt(gone)
                        | Step::Probe { predecessor: gone, .. } = step
                        {
                            self.forget(now, |peer| peer == gone);
                        }
                        self.members[index].handle_silence(step);
                    }
                }
                self.carry(now, index);
            }
            (Purpose::Finger(name, _), Answer::Found(owner, _)) if owner.address != self.address => {
                self.fingers.set(name, owner);
            }
            (Purpose::Finger(name, _), _) => self.fingers.clear(name),
            (Purpose::Meet(index), Answer::Found(owner, _)) => {
                self.members[index].meet(owner);
                self.carry(now, index);
            }
            // It has left, or begun anew.
            (Purpose::Ping, Answer::Refused) => self.forget(now, |peer| peer.address == to),
            (Purpose::Ping | Purpose::Meet(_) | Purpose::Leave(_), _) => {}
        }
    }

    /// A server did not answer in time.
    pub(crate) fn handle_silence(&mut self, now: Time, to: SocketAddr, purpose: Purpose) {
        self.pinged.remove(&to);
        self.is_meeting &= !matches!(purpose, Purpose::Meet(_));
        match purpose {
            // The answer comes from somebody else: the silence may be anybody's on the way.
            Purpose::Member(index, Step::Find) => {
                self.members[index].handle_silence(Step::Find);
                self.contacts.rotate_left(1);
            }
            Purpose::Meet(_) | Purpose::Leave(_) => {}
            Purpose::Finger(name, asked) => {
                self.fingers.clear(name);
                self.fingers.forget(|peer| peer == asked);
            }
            Purpose::Member(index, step) => {
                self.bury(now, to);
                self.members[index].handle_silence(step);
                self.carry(now, index);
            }
            Purpose::Ping => self.bury(now, to),
        }
    }

    /// A server is silent: it is gone from all tables, and what others say of it does not count for a while.
    pub(crate) fn bury(&mut self, now: Time, server: SocketAddr) {
        let until = now + self.settings.stabilize_period * SUSPICION_PERIODS;
        if self.suspects.insert(server, until).is_none() {
            self.buried.push_back(server);
        }
        if !self.contacts.contains(&server) {
            self.contacts.push_back(server);
            self.contacts.truncate(MAX_CONTACTS);
        }
        self.forget(now, |peer| peer.address == server);
    }

    /// Lets the timers that are due do their work.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Stabilize(index) => self.stabilize(now, index),
                Timer::Ping => self.ping(now),
                Timer::Meet => self.look_for_others(now),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next request for a server.
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// The next server that was found to be gone.
    pub(crate) fn poll_buried(&mut self) -> Option<SocketAddr> {
        self.buried.pop_front()
    }

    /// The next thing to record.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

// What happens by itself.
impl Chord {
    fn stabilize(&mut self, now: Time, index: usize) {
        // A quiet ring is asked at the full period; a change shortens it again.
        self.timers.set(Timer::Stabilize(index), now + self.paces[index]);
        self.paces[index] = (2 * self.paces[index]).min(self.settings.stabilize_period);
        match (self.members[index].is_in(), self.contacts.front()) {
            (true, _) => self.members[index].stabilize(),
            (false, Some(&contact)) => self.members[index].join(contact),
            (false, None) => {}
        }
        self.carry(now, index);
    }

    /// Asks all peers for a sign of life, but those that are asked for their neighbours anyway, and looks up a finger.
    fn ping(&mut self, now: Time) {
        self.timers.set(Timer::Ping, now + self.settings.stabilize_period);
        self.suspects.retain(|_, until| *until > now);
        let heads = self.members.iter().filter_map(|member| member.successors().head());
        let heads: BTreeSet<_> = heads.map(|head| head.address).collect();
        let known: BTreeSet<_> = self.known().map(|peer| peer.address).collect();
        for &to in known.difference(&heads) {
            if self.pinged.insert(to) {
                self.asks.push_back(Ask { to, purpose: Purpose::Ping, request: OverlayRequest::Ping });
            }
        }
        if let Some((name, key)) = self.fingers.next(&self.members)
            && let NextHop::Owner(peer) | NextHop::Nearer(peer) = self.next_hop(key)
        {
            let purpose = Purpose::Finger(name, peer);
            self.asks.push_back(Ask { to: peer.address, purpose, request: OverlayRequest::Find { key } });
        }
    }

    /// Asks a server that this one may have lost sight of for the owner of a member's own identifier. In one ring
    /// that is the member itself; of two rings it makes one, which successor lists alone never do.
    fn look_for_others(&mut self, now: Time) {
        let is_alone = self.members.iter().any(Member::is_alone);
        let periods = if is_alone { 1 } else { MEET_PERIODS };
        self.timers.set(Timer::Meet, now + self.settings.stabilize_period * periods);
        let index = self.next_to_meet % self.members.len();
        self.next_to_meet = index + 1;
        if let Some(&to) = self.contacts.front()
            && self.members[index].is_in()
            && !self.is_meeting
        {
            self.is_meeting = true;
            self.contacts.rotate_left(1);
            let request = OverlayRequest::Find { key: self.members[index].me().id };
            self.asks.push_back(Ask { to, purpose: Purpose::Meet(index), request });
        }
    }

    fn forget(&mut self, now: Time, is_gone: impl Fn(Peer) -> bool) {
        self.fingers.forget(&is_gone);
        for index in 0..self.members.len() {
            self.members[index].forget(&is_gone);
            self.carry(now, index);
        }
    }

    /// Takes a member's questions and changes up. What the server's own members ask of each other is answered here.
    fn carry(&mut self, now: Time, index: usize) {
        if self.members[index].is_alone()
            && let Some(sibling) = self.next_sibling(index)
        {
            self.members[index].meet(sibling);
        }
        while let Some((to, step, request)) = self.members[index].poll_question() {
            if to != self.address {
                self.asks.push_back(Ask { to, purpose: Purpose::Member(index, step), request });
                continue;
            }
            match request {
                OverlayRequest::Neighbours { of } => match self.neighbours(of) {
                    Some(neighbours) => self.members[index].handle_neighbours(step, &neighbours, |_| false),
                    None => {
                        self.members[index].forget(|peer| peer == of);
                        self.members[index].handle_silence(step);
                    }
                },
                OverlayRequest::Notify { to } => {
                    let peer = self.members[index].me();
                    self.handle_notify(now, to, peer);
                }
                _ => {}
            }
        }
        if self.members[index].take_changed() {
            self.revision += 1;
            self.report(index);
            self.paces[index] = self.settings.stabilize_period / HASTE;
            self.timers.set(Timer::Stabilize(index), now + self.paces[index]);
        }
    }

    /// The server's own member in the ring that comes next clockwise: who has lost everybody else still has that one.
    fn next_sibling(&self, index: usize) -> Option<Peer> {
        let mut clockwise = self.members[index + 1..].iter().chain(&self.members[..index]);
        clockwise.find(|member| member.is_in()).map(Member::me)
    }

    fn report(&mut self, index: usize) {
        let member = &self.members[index];
        let told = Some(member.neighbours());
        if std::mem::replace(&mut self.told[index], told.clone()) == told {
            return;
        }
        self.events.push_back(Event::RingChanged {
            id: member.me().id,
            predecessor: member.predecessor().map(|peer| peer.id),
            successors: member.successors().peers().iter().map(|peer| peer.id).collect(),
        });
    }
}
