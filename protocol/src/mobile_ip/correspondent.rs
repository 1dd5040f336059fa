//! A correspondent node (RFC 6275 §9): it answers tests of routability, and keeps bindings of those who pass them.
//!
//! Without such a binding a mobile node is reached through its home agent. One that is in use when it is about to end is
//! asked for again (§9.5.5); the driver, which sees what goes there, tells of that:
//!
//! ```text
//! soon over ▶ Watch ─ a datagram goes there ▶ InUse ▶ BRR, Watch again after 1 s, 2 s, 4 s, 8 s
//! ```

use super::Forwarding;
use super::agent::is_removal;
use super::authorization::{Nonces, Tested, authenticator, binding_key, is_authentic};
use super::binding_cache::{Binding, BindingCache};
use super::lifetime::{of_units, to_units};
use super::message::{Acknowledgement, Message, Test, Update, status};
use super::packet::Packet;
use crate::node::Output;
use crate::timers::Timers;
use samp_model::{Event, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

/// The longest lifetime of a binding that return routability alone has authorised (§12).
const MAX_RR_BINDING_LIFETIME: Duration = Duration::from_secs(420);
/// Bindings at most.
const MAX_BINDINGS: usize = 1024;
/// How long before its end a binding is first asked for again, or a quarter of its lifetime where that is less.
const REFRESH_BEFORE_END: Duration = Duration::from_secs(32);
/// The first wait for an update that was asked for; each is twice the one before.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a binding is asked for at most.
const MAX_REFRESH_REQUESTS: u32 = 5;

/// A node as correspondent of mobile nodes.
#[derive(Debug)]
pub(super) struct Correspondent {
    /// Its own address, as others know it.
    address: Ipv6Addr,
    nonces: Nonces,
    cache: BindingCache,
    /// When it is looked whether a binding is in use.
    watches: Timers<Ipv6Addr>,
    /// How often each binding has been asked for.
    requests: BTreeMap<Ipv6Addr, u32>,
}

impl Correspondent {
    /// At this address, with a secret of its own.
    pub(super) fn new(address: Ipv6Addr, secret: &str) -> Self {
        Self {
            address,
            nonces: Nonces::new(secret),
            cache: BindingCache::new(MAX_BINDINGS),
            watches: Timers::default(),
            requests: BTreeMap::new(),
        }
    }

    /// Answers a test; no state is kept of it (§5.2.5).
    pub(super) fn answer_test(&self, now: Time, packet: &Packet, outputs: &mut VecDeque<Output>) {
        let nonce = self.nonces.newest(now);
        let test =
            |tested, cookie| Test { nonce, cookie, token: self.nonces.token(nonce, tested, packet.source) };
        let message = match packet.message {
            Message::HomeTestInit { cookie } => Message::HomeTest(test(Tested::Home, cookie)),
            Message::CareOfTestInit { cookie } => Message::CareOfTest(test(Tested::CareOf, cookie)),
            _ => return,
        };
        let answer = Packet::new(packet.destination, packet.source, message);
        outputs.push_back(Output::Packet(Box::new(answer)));
    }

    /// A mobile node tells where it is. Without proof it is not answered (§9.5.1).
    pub(super) fn handle_update(
        &mut self,
        now: Time,
        packet: &Packet,
        update: &Update,
        outputs: &mut VecDeque<Output>,
    ) {
        let (Some(home), Some([home_index, care_of_index])) = (packet.home, update.nonces) else { return };
        let care_of = packet.care_of(update);
        let key = binding_key(
            self.nonces.token(home_index, Tested::Home, home),
            self.nonces.token(care_of_index, Tested::CareOf, care_of),
        );
        if !is_authentic(&key, care_of, packet.destination, &packet.message, update.authenticator) {
            return;
        }
        let is_fresh = [home_index, care_of_index].map(|index| self.nonces.is_fresh(now, index));
        let last = self.cache.get(home).map(|known| known.sequence);
        let refusal = match is_fresh {
            [false, false] => Some(status::EXPIRED_NONCES),
            [false, true] => Some(status::EXPIRED_HOME_NONCE),
            [true, false] => Some(status::EXPIRED_CARE_OF_NONCE),
            [true, true] => self.cache.refusal(home, last, update),
        };
        let lifetime = update.lifetime.min(to_units(MAX_RR_BINDING_LIFETIME));
        let mut sequence = update.sequence;
        match refusal {
            Some(status::SEQUENCE_OUT_OF_WINDOW) => {
                sequence = last.unwrap_or(sequence);
            }
            Some(_) => {}
            None if is_removal(packet, update) => {
                self.cache.remove(home);
                self.forget(home, outputs);
            }
            None => {
                self.cache.bind(now, home, Binding { care_of, sequence }, lifetime);
                let lasts = of_units(lifetime);
                self.watches.set(home, now + (lasts - REFRESH_BEFORE_END.min(lasts / 4)));
                self.requests.remove(&home);
                outputs.push_back(Output::Forwarding(Forwarding::Reach(home, Some(care_of))));
                outputs.push_back(Output::Record(Event::BindingAccepted { home, care_of }));
            }
        }
        if update.acknowledge || refusal.is_some() {
            let acknowledgement = Acknowledgement {
                status: refusal.unwrap_or(status::ACCEPTED),
                sequence,
                lifetime: if refusal.is_none() { lifetime } else { 0 },
                authenticator: Some(Default::default()),
                ..Acknowledgement::default()
            };
            outputs.push_back(Output::Packet(Box::new(signed(&key, packet, care_of, acknowledgement))));
        }
    }

    /// Something goes to where this mobile node is, by its binding, which is about to end: it is asked to refresh it.
    pub(super) fn handle_use(&mut self, now: Time, home: Ipv6Addr, outputs: &mut VecDeque<Output>) {
        let requests = self.requests.get(&home).copied().unwrap_or(0);
        if self.cache.get(home).is_none() || requests == MAX_REFRESH_REQUESTS {
            return;
        }
        let request = Packet::new(self.address, home, Message::RefreshRequest);
        outputs.push_back(Output::Packet(Box::new(request)));
        self.requests.insert(home, requests + 1);
        self.watches.set(home, now + REFRESH_TIMEOUT * (1 << requests));
    }

    /// When the next binding ends, or is to be watched.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        [self.cache.next_end(), self.watches.next()].into_iter().flatten().min()
    }

    /// Bindings end, or are about to.
    pub(super) fn handle_timeout(&mut self, now: Time, outputs: &mut VecDeque<Output>) {
        while let Some(home) = self.cache.ended(now) {
            self.forget(home, outputs);
        }
        while let Some(home) = self.watches.expired(now) {
            outputs.push_back(Output::Forwarding(Forwarding::Watch(home)));
        }
    }

    /// A binding is no more.
    fn forget(&mut self, home: Ipv6Addr, outputs: &mut VecDeque<Output>) {
        self.watches.stop(&home);
        self.requests.remove(&home);
        outputs.push_back(Output::Forwarding(Forwarding::Reach(home, None)));
    }

    /// How many bindings there are.
    pub(super) fn len(&self) -> usize {
        self.cache.len()
    }
}

/// An answer with its authenticator.
fn signed(
    key: &[u8; 20],
    update: &Packet,
    care_of: Ipv6Addr,
    mut acknowledgement: Acknowledgement,
) -> Packet {
    let unsigned = Message::Acknowledgement(acknowledgement.clone());
    acknowledgement.authenticator = Some(authenticator(key, care_of, update.destination, &unsigned));
    let message = Message::Acknowledgement(acknowledgement);
    let mut answer = Packet::new(update.destination, update.source, message);
    answer.routed_home = update.home;
    answer
}
