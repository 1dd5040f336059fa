//! Route optimisation: a mobile node proves to a peer that it has both its addresses, and binds them there (RFC 6275
//! §11.6, §11.7.2).
//!
//! ```text
//! HoTI by way of the home agent ─▶ HoT ┐
//! CoTI straight to the peer     ─▶ CoT ┴▶ BU with the authenticator ─▶ BAck ─▶ straight there from now on
//! ```
//! A home token serves several moves, a care-of token one (§11.7.2). A binding that no call needs any more is kept up to
//! date until its lifetime is over: the peer would believe it. It lasts for longer if the peer asks for that (§11.7.4).

use super::authorization::{authenticator, binding_key, is_authentic};
use super::forwarding::Forwarding;
use super::host::{Host, MAX_TIMEOUT, TIMEOUT, Timer};
use super::lifetime::{of_units, to_units};
use super::message::{Acknowledgement, Message, Test, Update, status};
use super::packet::Packet;
use samp_model::record::HandoffNumber;
use samp_model::{Event, Time};
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

/// How long a token may be used (MAX_TOKEN_LIFETIME, RFC 6275 §12).
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(210);
/// The longest lifetime of such a binding (MAX_RR_BINDING_LIFETIME).
const MAX_RR_BINDING_LIFETIME: Duration = Duration::from_secs(420);
/// Peers that are told at most; others are talked to by way of the home agent.
const MAX_PEERS: usize = 256;
/// In records an accepted update counts as a 200.
const OK: u16 = 200;

/// What is known of a peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    calls: BTreeSet<String>,
    home_cookie: u64,
    care_of_cookie: u64,
    /// The home test's answer, and when it came.
    home_test: Option<(Test, Time)>,
    care_of_test: Option<Test>,
    sequence: u16,
    /// The key of the last update.
    key: [u8; 20],
    pending: Option<Pending>,
    /// Whether it has asked for a refresh: it uses the binding, if for a call or not.
    is_asking: bool,
    /// The care-of address that it has accepted, and until when.
    bound: Option<(Ipv6Addr, Time)>,
}

/// A test or an update that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    handoff: HandoffNumber,
    care_of: Ipv6Addr,
    interval: Duration,
    /// Whether the records tell of it: not of refreshes.
    is_told: bool,
}

impl Host {
    /// The care-of address that peers and home agent know; none before the agents do.
    fn routable(&self) -> Option<Ipv6Addr> {
        match &self.regional {
            Some(regional) => regional.accepted.map(|_| regional.address),
            None => self.care_of,
        }
    }

    /// A call begins with this peer.
    pub(super) fn begin_with(&mut self, now: Time, peer: Ipv6Addr, call: &str) {
        let has_room = self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer);
        if self.settings.route_optimization && has_room {
            let entry = self.peers.entry(peer).or_default();
            entry.calls.insert(call.to_owned());
            self.test(now, peer, false);
        }
    }

    /// A call ends.
    pub(super) fn end_with(&mut self, call: &str) {
        for peer in self.peers.values_mut() {
            peer.calls.remove(call);
        }
    }

    /// The care-of address may be another one.
    pub(super) fn test_all_peers(&mut self, now: Time) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.test(now, peer, true));
    }

    /// Begins to prove to a peer where this node is, unless it knows or that is under way.
    fn test(&mut self, now: Time, address: Ipv6Addr, is_told: bool) {
        let (Some(care_of), Some(_)) = (self.routable(), self.home.accepted) else { return };
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let is_bound = peer.bound.is_some_and(|(bound, until)| bound == care_of && now < until);
        if is_bound || peer.pending.is_some_and(|pending| pending.care_of == care_of) {
            return;
        }
        self.begin_test(now, address, care_of, is_told);
    }

    fn begin_test(&mut self, now: Time, address: Ipv6Addr, care_of: Ipv6Addr, is_told: bool) {
        let handoff = self.handoff;
        let cookies = [(); 2].map(|()| self.random.number("cookie"));
        let Some(peer) = self.peers.get_mut(&address) else { return };
        [peer.home_cookie, peer.care_of_cookie] = cookies;
        peer.home_test = peer.home_test.filter(|(_, at)| now - *at < MAX_TOKEN_LIFETIME);
        peer.care_of_test = None;
        peer.pending = Some(Pending { handoff, care_of, interval: TIMEOUT, is_told });
        let has_moved = peer.bound.is_some_and(|(bound, _)| bound != care_of);
        let calls: Vec<_> = peer.calls.iter().cloned().collect();
        if has_moved {
            self.forward(Forwarding::Direct(address, None));
        }
        if is_told {
            calls.into_iter().for_each(|call| self.record(Event::UpdateSent { handoff, call }));
        }
        self.ask(now, address);
    }

    /// Sends what is still to be answered.
    fn ask(&mut self, now: Time, address: Ipv6Addr) {
        let Some(peer) = self.peers.get(&address) else { return };
        let Some(Pending { care_of, interval, .. }) = peer.pending else { return };
        let (home, care_of_cookie, home_cookie) = (self.settings.home, peer.care_of_cookie, peer.home_cookie);
        self.timers.set(Timer::ResendTo(address), now + interval);
        let (lacks_home, lacks_care_of) = (peer.home_test.is_none(), peer.care_of_test.is_none());
        if lacks_home {
            self.send(Packet::new(home, address, Message::HomeTestInit { cookie: home_cookie }));
        }
        if lacks_care_of {
            self.send(Packet::new(care_of, address, Message::CareOfTestInit { cookie: care_of_cookie }));
        }
        if !lacks_home && !lacks_care_of {
            self.update_peer(now, address);
        }
    }

    /// A peer has answered a test.
    pub(super) fn handle_test(&mut self, now: Time, packet: &Packet) {
        let home = self.settings.home;
        let Some(peer) = self.peers.get_mut(&packet.source) else { return };
        let Some(pending) = peer.pending else { return };
        match packet.message {
            Message::HomeTest(test) if packet.destination == home && test.cookie == peer.home_cookie => {
                peer.home_test = Some((test, now));
            }
            Message::CareOfTest(test)
                if packet.destination == pending.care_of && test.cookie == peer.care_of_cookie =>
            {
                peer.care_of_test = Some(test);
            }
            _ => return,
        }
        if peer.home_test.is_some() && peer.care_of_test.is_some() {
            self.ask(now, packet.source);
        }
    }

    fn update_peer(&mut self, now: Time, address: Ipv6Addr) {
        let home = self.settings.home;
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let (Some(Pending { care_of, .. }), Some((home_test, _)), Some(care_of_test)) =
            (peer.pending, peer.home_test, peer.care_of_test)
        else {
            return;
        };
        let most = match peer.bound {
            Some((_, until)) if peer.calls.is_empty() && !peer.is_asking => until.max(now) - now,
            _ => MAX_RR_BINDING_LIFETIME,
        };
        peer.sequence = peer.sequence.wrapping_add(1);
        peer.key = binding_key(home_test.token, care_of_test.token);
        let mut update = Update {
            sequence: peer.sequence,
            acknowledge: true,
            lifetime: to_units(most.min(self.settings.lifetime)),
            nonces: Some([home_test.nonce, care_of_test.nonce]),
            authenticator: Some(Default::default()),
            ..Update::default()
        };
        let unsigned = Message::Update(update.clone());
        update.authenticator = Some(authenticator(&peer.key, care_of, address, &unsigned));
        let mut packet = Packet::new(care_of, address, Message::Update(update));
        packet.home = Some(home);
        self.send(packet);
    }

    /// A peer has answered an update.
    pub(super) fn handle_peer_acknowledgement(
        &mut self,
        now: Time,
        packet: &Packet,
        acknowledgement: &Acknowledgement,
    ) {
        let (address, home) = (packet.source, self.settings.home);
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let Some(pending) = peer.pending else { return };
        let Pending { handoff, care_of, is_told, .. } = pending;
        let is_ours = packet.routed_home == Some(home)
            && packet.destination == care_of
            && is_authentic(&peer.key, care_of, address, &packet.message, acknowledgement.authenticator);
        if !is_ours {
            return;
        }
        match acknowledgement.status {
            status::SEQUENCE_OUT_OF_WINDOW => {
                peer.sequence = acknowledgement.sequence;
                return self.ask(now, address);
            }
            status::EXPIRED_HOME_NONCE | status::EXPIRED_CARE_OF_NONCE | status::EXPIRED_NONCES => {
                (peer.home_test, peer.care_of_test) = (None, None);
                return self.ask(now, address);
            }
            _ if acknowledgement.sequence != peer.sequence => return,
            _ => {}
        }
        let lifetime = of_units(acknowledgement.lifetime);
        let is_accepted = acknowledgement.is_accepted();
        (peer.pending, peer.is_asking) = (None, false);
        peer.bound = is_accepted.then_some((care_of, now + lifetime));
        let calls: Vec<_> = peer.calls.iter().cloned().collect();
        self.timers.stop(&Timer::ResendTo(address));
        // A home token is too old before that.
        let refresh = (lifetime / 2).clamp(TIMEOUT, MAX_TOKEN_LIFETIME);
        self.timers.set(Timer::RefreshAt(address), now + refresh);
        if is_accepted {
            self.forward(Forwarding::Direct(address, Some(care_of)));
        }
        let status = if is_accepted { OK } else { acknowledgement.status.into() };
        if is_told {
            for call in calls {
                self.record(Event::UpdateAnswered { handoff, call, status });
            }
        }
    }

    pub(super) fn resend_to(&mut self, now: Time, address: Ipv6Addr) {
        let pending = self.peers.get_mut(&address).and_then(|peer| peer.pending.as_mut());
        if let Some(pending) = pending {
            pending.interval = (2 * pending.interval).min(MAX_TIMEOUT);
            self.ask(now, address);
        }
    }

    /// A binding at a peer grows old: it is renewed for a call, or else it ends in time.
    pub(super) fn refresh_at(&mut self, now: Time, address: Ipv6Addr) {
        let Some(peer) = self.peers.get(&address) else { return };
        match (peer.calls.is_empty(), peer.bound) {
            (false, _) => {
                if let Some(care_of) = self.routable().filter(|_| peer.pending.is_none()) {
                    self.begin_test(now, address, care_of, false);
                }
            }
            (true, Some((_, until))) if now < until => self.timers.set(Timer::RefreshAt(address), until),
            (true, _) => {
                self.peers.remove(&address);
                self.timers.stop(&Timer::ResendTo(address));
                self.forward(Forwarding::Direct(address, None));
            }
        }
    }

    /// A peer asks for a refresh, or says that it knows nothing of this node.
    pub(super) fn handle_peer_wants_more(&mut self, now: Time, packet: &Packet) {
        let Some(peer) = self.peers.get_mut(&packet.source).filter(|peer| peer.pending.is_none()) else {
            return;
        };
        match packet.message {
            Message::Error { home, .. } if home == self.settings.home => {
                peer.bound = None;
                self.forward(Forwarding::Direct(packet.source, None));
            }
            Message::RefreshRequest => peer.is_asking = true,
            _ => return,
        }
        if let Some(care_of) = self.routable() {
            self.begin_test(now, packet.source, care_of, false);
        }
    }
}
