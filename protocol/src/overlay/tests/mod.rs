//! Rings in memory, without a network: every question and what its answer changes are one step, as in Zave's model.

mod lookups;
mod member;
mod proof;

use super::ideal::{chords, members_of, owner_among, way};
use super::*;
use samp_model::OverlayId;

/// L in these tests.
const LENGTH: usize = 3;

/// Servers, and the questions that are under way between them.
struct Ring {
    now: Time,
    settings: ChordSettings,
    servers: BTreeMap<SocketAddr, Chord>,
    under_way: Vec<(SocketAddr, Ask)>,
    /// Pairs of servers that do not hear each other: those of different parity, while it lasts.
    is_parted: bool,
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 5060))
}

fn settings(virtual_nodes: usize) -> ChordSettings {
    ChordSettings { successors: LENGTH, virtual_nodes, ..ChordSettings::default() }
}

impl Ring {
    /// An ideal ring of these servers, fingers included.
    fn ideal(numbers: impl IntoIterator<Item = u16>, settings: ChordSettings) -> Self {
        let servers: Vec<_> = numbers.into_iter().map(address).collect();
        let now = Time::ZERO;
        let chords = chords(&servers, &settings, now);
        let servers = servers.into_iter().zip(chords).collect();
        Self { now, settings, servers, under_way: Vec::new(), is_parted: false }
    }

    fn join(&mut self, newcomer: SocketAddr, through: SocketAddr) {
        let (settings, now) = (self.settings.clone(), self.now);
        self.servers.entry(newcomer).or_insert_with(|| Chord::new(newcomer, settings, Some(through), now));
        self.collect(newcomer);
    }

    fn crash(&mut self, server: SocketAddr) {
        self.servers.remove(&server);
        self.under_way.retain(|(asker, _)| *asker != server);
    }

    /// Lets one server's next timer fire.
    fn tick(&mut self, server: SocketAddr) {
        let Some(chord) = self.servers.get_mut(&server) else { return };
        if let Some(due) = chord.poll_timeout() {
            self.now = self.now.max(due);
            chord.handle_timeout(self.now);
        }
        self.collect(server);
    }

    /// Lets one question be answered, and the answer change what it changes.
    fn deliver(&mut self, pick: usize) {
        if self.under_way.is_empty() {
            return;
        }
        let (asker, Ask { to, purpose, request }) = self.under_way.swap_remove(pick % self.under_way.len());
        let answer = match request {
            _ if self.is_cut_off(asker, to) => None,
            OverlayRequest::Neighbours { of } => {
                Some(self.servers[&to].neighbours(of).map_or(Answer::Refused, Answer::Neighbours))
            }
            OverlayRequest::Notify { to: member } => {
                let me = self.servers[&asker].asker(purpose).expect("a member notifies");
                let chord = self.servers.get_mut(&to).expect("it is there");
                chord.hear(asker);
                let is_member = chord.handle_notify(self.now, member, me);
                self.collect(to);
                Some(if is_member { Answer::Noted } else { Answer::Refused })
            }
            OverlayRequest::Ping => {
                self.servers.get_mut(&to).expect("it is there").hear(asker);
                Some(Answer::Noted)
            }
            OverlayRequest::Find { key } => match self.find(to, key) {
                Some((owner, _)) => {
                    let neighbours = self.servers[&owner.address].neighbours(owner);
                    Some(neighbours.map_or(Answer::Refused, |neighbours| Answer::Found(owner, neighbours)))
                }
                None => None,
            },
            other => unreachable!("the ring asks nothing about records: {other:?}"),
        };
        let chord = self.servers.get_mut(&asker).expect("it asked");
        match answer {
            Some(answer) => chord.handle_answer(self.now, to, purpose, answer),
            None => chord.handle_silence(self.now, to, purpose),
        }
        self.collect(asker);
    }

    /// Routes a lookup as the servers do: the owner, and the hops to it. None when it meets a dead server.
    fn find(&self, from: SocketAddr, key: OverlayId) -> Option<(Peer, usize)> {
        let limit = 2 * self.servers.len() + 1;
        let reach = |at, next| {
            let is_reached = at == next || !self.is_cut_off(at, next);
            is_reached.then(|| self.servers.get(&next)).flatten()
        };
        let way = way(from, key, limit, reach)?;
        let owner = self.servers[way.last().unwrap_or(&from)].home(key)?;
        Some((owner.me(), way.len()))
    }

    /// Lets time pass by so many stabilisation periods, with every question answered at once.
    fn run(&mut self, periods: u32) {
        let end = self.now + self.settings.stabilize_period * periods;
        loop {
            while !self.under_way.is_empty() {
                self.deliver(0);
            }
            let next = self
                .servers
                .iter()
                .filter_map(|(&server, chord)| Some((chord.poll_timeout()?, server)))
                .min();
            match next {
                Some((due, server)) if due <= end => self.tick(server),
                _ => break,
            }
        }
        self.now = end;
    }

    fn collect(&mut self, server: SocketAddr) {
        let Some(chord) = self.servers.get_mut(&server) else { return };
        while let Some(ask) = chord.poll_ask() {
            assert_ne!(ask.to, server, "nobody asks itself over the network");
            self.under_way.push((server, ask));
        }
        while chord.poll_event().is_some() || chord.poll_buried().is_some() {}
    }

    fn is_cut_off(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let side = |server: SocketAddr| identifier_of(&server.to_string()).0[19] % 2;
        !self.servers.contains_key(&to) || self.is_parted && side(from) != side(to)
    }

    /// Whether every member is at its place.
    fn check_ideal(&self) -> Result<(), String> {
        let all = members_of(self.servers.keys().copied(), self.settings.virtual_nodes);
        for chord in self.servers.values() {
            let mut ideal = Chord::new(chord.address, self.settings.clone(), Some(chord.address), self.now);
            ideal.place(&all);
            for (member, ideal) in chord.members.iter().zip(&ideal.members) {
                let (found, wanted) = (member.neighbours(), ideal.neighbours());
                if found != wanted {
                    return Err(format!("{}: {found:?} instead of {wanted:?}", member.me()));
                }
            }
        }
        Ok(())
    }
}
