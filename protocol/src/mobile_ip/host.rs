//! A mobile node of Mobile IPv6 (RFC 6275 §11) or HMIPv6 (RFC 5380 §6): below, its bindings; above, a user agent that has its
//! home address for good and knows nothing of movement.
//!
//! ```text
//! AddressConfigured ┬ Mobile IPv6 ▶ BU to the home agent ─▶ BAck
//!                   ├ HMIPv6, same MAP ▶ BU to the MAP ─▶ BAck
//!                   └ HMIPv6, another MAP ▶ BU to the MAP ─▶ BAck ─▶ BU to the home agent, by way of the MAP ─▶ BAck
//! route optimisation ▶ with each peer of a call: return routability, BU (`routes.rs`)
//! ```

use super::association::Association;
use super::correspondent::Correspondent;
use super::forwarding::Forwarding;
use super::lifetime::{of_units, to_units};
use super::message::{Acknowledgement, Message, Update, status};
use super::packet::Packet;
use super::routes::Peer;
use crate::mobile_node::MobileNode;
use crate::node::{Census, Input, MediaCommand, Node, Output, Transmit};
use crate::random::Random;
use crate::timers::Timers;
use samp_model::record::{HandoffNumber, RegistrationScope};
use samp_model::{Event, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The first wait for an acknowledgement when the address is new to the agent, which may have to check it
/// (InitialBindackTimeoutFirstReg, RFC 6275 §12).
const FIRST_TIMEOUT: Duration = Duration::from_millis(1500);
/// The first wait otherwise (INITIAL_BINDACK_TIMEOUT).
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// Each wait is twice the one before, up to this (MAX_BINDACK_TIMEOUT).
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(32);
/// Mobility anchor points that are remembered at most.
const MAX_FORMER: usize = 64;
/// Errors that are sent at most: one in so long (RFC 4443 §2.4 f wants a limit).
const ERROR_INTERVAL: Duration = Duration::from_millis(100);

/// What a mobile node knows from the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// Its home address.
    pub home: Ipv6Addr,
    /// Its home agent.
    pub home_agent: Ipv6Addr,
    /// Whether it uses the mobility anchor points that access routers tell of (HMIPv6).
    pub hierarchical: bool,
    /// Whether it tells peers where it is, so that they reach it without its home agent.
    pub route_optimization: bool,
    /// How long its bindings are to last, up to 262,140 s.
    pub lifetime: Duration,
    /// What it shares with its home agent, where that wants proof.
    pub association: Option<Association>,
}

/// A mobile node.
#[derive(Debug)]
pub struct Host {
    pub(super) settings: HostSettings,
    user_agent: MobileNode,
    correspondent: Correspondent,
    pub(super) random: Random,
    pub(super) handoff: HandoffNumber,
    /// The address on the present link.
    pub(super) care_of: Option<Ipv6Addr>,
    /// The mobility anchor point that the present access router tells of.
    advertised_map: Option<Ipv6Addr>,
    pub(super) home: Registration,
    pub(super) regional: Option<Registration>,
    /// Mobility anchor points that this node has left and that may still have it bound, and until when: their numbers go
    /// on where they were.
    former: BTreeMap<Ipv6Addr, (Registration, Time)>,
    pub(super) peers: BTreeMap<Ipv6Addr, Peer>,
    pub(super) timers: Timers<Timer>,
    /// Until when no further error is sent.
    silent_until: Time,
    pub(super) outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// When an update without an answer is sent again.
    Resend(RegistrationScope),
    /// When a binding is due for a refresh.
    Refresh(RegistrationScope),
    /// When what a peer has not answered is sent again.
    ResendTo(Ipv6Addr),
    /// When a binding at a peer is due for a refresh, or over.
    RefreshAt(Ipv6Addr),
}

/// A binding at an agent: an entry of the binding update list (RFC 6275 §11.1).
#[derive(Debug)]
pub(super) struct Registration {
    scope: RegistrationScope,
    agent: Ipv6Addr,
    /// The address that is bound.
    pub(super) address: Ipv6Addr,
    sequence: u16,
    /// The care-of address that was sent last.
    care_of: Ipv6Addr,
    /// The one that was accepted last.
    pub(super) accepted: Option<Ipv6Addr>,
    pending: Option<Pending>,
}

/// An update that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    handoff: HandoffNumber,
    first_sent: Time,
    interval: Duration,
    /// Whether the records tell of it: not of refreshes.
    is_told: bool,
    is_removal: bool,
}

impl Registration {
    fn new(scope: RegistrationScope, agent: Ipv6Addr, address: Ipv6Addr) -> Self {
        Self { scope, agent, address, sequence: 0, care_of: address, accepted: None, pending: None }
    }
}

impl Host {
    /// A mobile node that is nowhere yet, around its user agent, which has the home address.
    pub fn new(user_agent: MobileNode, settings: HostSettings, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let home = Registration::new(RegistrationScope::Home, settings.home_agent, settings.home);
        Self {
            correspondent: Correspondent::new(settings.home, &random.token("correspondent")),
            random,
            user_agent,
            handoff: 0,
            care_of: None,
            advertised_map: None,
            home,
            regional: None,
            former: BTreeMap::new(),
            peers: BTreeMap::new(),
            timers: Timers::default(),
            silent_until: Time::ZERO,
            outputs: VecDeque::new(),
            settings,
        }
    }

    /// The node has another address on another link.
    fn handle_address(&mut self, now: Time, handoff: HandoffNumber, address: Ipv6Addr) {
        self.handoff = handoff;
        self.care_of = Some(address);
        self.record(Event::AddressConfigured { handoff, address: address.into() });
        match self.advertised_map.filter(|_| self.settings.hierarchical) {
            Some(map) => self.register_with_map(now, map, address),
            None => self.register(now, RegistrationScope::Home, address, true),
        }
        self.test_all_peers(now);
    }

    fn register_with_map(&mut self, now: Time, map: Ipv6Addr, care_of: Ipv6Addr) {
        if self.regional.as_ref().is_none_or(|regional| regional.agent != map) {
            // The subnet of the MAP, and the interface identifier of the home address.
            let identifier = u128::from(self.settings.home) & u128::from(u64::MAX);
            let regional = (u128::from(map) & !u128::from(u64::MAX) | identifier).into();
            self.former.retain(|_, (_, until)| now < *until);
            let known = self.former.remove(&map).map(|(known, _)| known);
            let next = known.unwrap_or_else(|| Registration::new(RegistrationScope::Anchor, map, regional));
            if let Some(old) = self.regional.replace(next) {
                self.forward(Forwarding::From(old.address, None));
                if self.former.len() < MAX_FORMER {
                    self.former.insert(old.agent, (old, now + self.settings.lifetime));
                }
            }
        }
        self.register(now, RegistrationScope::Anchor, care_of, true);
    }

    fn registration(&mut self, scope: RegistrationScope) -> Option<&mut Registration> {
        match scope {
            RegistrationScope::Anchor => self.regional.as_mut(),
            RegistrationScope::Home => Some(&mut self.home),
        }
    }

    /// Binds an address of this node's to a care-of address.
    fn register(&mut self, now: Time, scope: RegistrationScope, care_of: Ipv6Addr, is_told: bool) {
        let handoff = self.handoff;
        let Some(registration) = self.registration(scope) else { return };
        registration.care_of = care_of;
        let is_known = registration.accepted.is_some();
        let interval = if is_known { TIMEOUT } else { FIRST_TIMEOUT };
        registration.pending =
            Some(Pending { handoff, first_sent: now, interval, is_told, is_removal: false });
        if is_told {
            self.record(Event::RegisterSent { handoff, scope });
        }
        self.send_update(now, scope);
        if is_known {
            // What goes through the tunnel goes behind the update.
            self.open_tunnel(scope);
        }
    }

    /// Sends an update, each time with another number (RFC 6275 §11.8).
    fn send_update(&mut self, now: Time, scope: RegistrationScope) {
        let lifetime = to_units(self.settings.lifetime);
        let Some(registration) = self.registration(scope) else { return };
        let Some(Pending { interval, is_removal, .. }) = registration.pending else { return };
        registration.sequence = registration.sequence.wrapping_add(1);
        let is_home = scope == RegistrationScope::Home;
        let update = Update {
            sequence: registration.sequence,
            acknowledge: true,
            home_registration: is_home,
            map_registration: !is_home,
            lifetime: if is_removal { 0 } else { lifetime },
            // A home agent may believe nothing else (§11.7.1).
            care_of: is_home.then_some(registration.care_of),
            ..Update::default()
        };
        let mut packet = Packet::new(registration.care_of, registration.agent, Message::Update(update));
        packet.home = Some(registration.address);
        if let Some(association) = self.settings.association.as_ref().filter(|_| is_home) {
            association.sign(packet.source, self.settings.home, &mut packet.message);
        }
        self.send(packet);
        self.timers.set(Timer::Resend(scope), now + interval);
    }

    fn open_tunnel(&mut self, scope: RegistrationScope) {
        let Some(&mut Registration { address, care_of, agent, .. }) = self.registration(scope) else {
            return;
        };
        self.forward(Forwarding::From(address, Some([care_of, agent])));
    }

    fn resend(&mut self, now: Time, scope: RegistrationScope) {
        let pending = self.registration(scope).and_then(|registration| registration.pending.as_mut());
        let Some(pending) = pending else { return };
        pending.interval = (2 * pending.interval).min(MAX_TIMEOUT);
        self.send_update(now, scope);
    }

    /// An agent has answered.
    fn handle_acknowledgement(
        &mut self,
        now: Time,
        scope: RegistrationScope,
        acknowledgement: &Acknowledgement,
    ) {
        let Some(registration) = self.registration(scope) else { return };
        let Some(pending) = registration.pending else { return };
        let Pending { handoff, .. } = pending;
        if acknowledgement.status == status::SEQUENCE_OUT_OF_WINDOW {
            // It may have been sent before a restart of this node (RFC 6275 §11.7.3).
            registration.sequence = acknowledgement.sequence;
            return self.send_update(now, scope);
        }
        if acknowledgement.sequence != registration.sequence {
            return;
        }
        if pending.is_removal {
            (registration.pending, registration.accepted) = (None, None);
            let address = registration.address;
            self.timers.stop(&Timer::Resend(scope));
            self.forward(Forwarding::From(address, None));
            return self.record(Event::Deregistered { handoff, scope });
        }
        if !acknowledgement.is_accepted() {
            let status = acknowledgement.status.into();
            // Nothing but time may help.
            registration.pending = Some(Pending { interval: MAX_TIMEOUT, ..pending });
            self.timers.set(Timer::Resend(scope), now + MAX_TIMEOUT);
            return self.record(Event::RegistrationFailed { handoff, scope, status });
        }
        registration.pending = None;
        registration.accepted = Some(registration.care_of);
        self.timers.stop(&Timer::Resend(scope));
        let half = of_units(acknowledgement.lifetime) / 2;
        let advised = acknowledgement.refresh.map_or(half, of_units).min(half).max(TIMEOUT);
        self.timers.set(Timer::Refresh(scope), now + advised);
        if pending.is_told {
            let path = self.way(scope).map(IpAddr::V6).collect();
            self.record(Event::Registered { handoff, scope, rrd: now - pending.first_sent, path });
        }
        self.open_tunnel(scope);
        match (scope, self.regional.as_ref().map(|regional| regional.address)) {
            (RegistrationScope::Anchor, Some(regional)) if self.home.accepted != Some(regional) => {
                self.register(now, RegistrationScope::Home, regional, true);
            }
            (RegistrationScope::Home, _) => self.test_all_peers(now),
            _ => {}
        }
    }

    /// The agents that an update passes, the last one included.
    fn way(&self, scope: RegistrationScope) -> impl Iterator<Item = Ipv6Addr> + use<> {
        let map = self.regional.as_ref().map(|regional| regional.agent);
        let home_agent = (scope == RegistrationScope::Home).then_some(self.home.agent);
        map.into_iter().chain(home_agent)
    }

    /// The binding grows old.
    fn refresh(&mut self, now: Time, scope: RegistrationScope) {
        let care_of = self.registration(scope).filter(|it| it.pending.is_none()).map(|it| it.care_of);
        if let Some(care_of) = care_of {
            self.register(now, scope, care_of, false);
        }
    }

    /// Leaves: calls end, and the agents forget this node.
    fn deregister(&mut self, now: Time) {
        self.user_agent.handle_input(now, Input::HangUp { call: None });
        let handoff = self.handoff;
        for scope in [RegistrationScope::Home, RegistrationScope::Anchor] {
            self.timers.stop(&Timer::Refresh(scope));
            if let Some(registration) = self.registration(scope) {
                let (interval, is_removal) = (TIMEOUT, true);
                let pending = Pending { handoff, first_sent: now, interval, is_told: false, is_removal };
                registration.pending = Some(pending);
                self.send_update(now, scope);
            }
        }
    }

    fn handle_packet(&mut self, now: Time, packet: Packet) {
        match &packet.message {
            Message::HomeTestInit { .. } | Message::CareOfTestInit { .. } => {
                self.correspondent.answer_test(now, &packet, &mut self.outputs);
            }
            Message::Update(update) => {
                self.correspondent.handle_update(now, &packet, update, &mut self.outputs);
            }
            Message::Acknowledgement(acknowledgement) => {
                let is_from =
                    |it: &&Registration| it.agent == packet.source && packet.routed_home == Some(it.address);
                let scope = self.regional.iter().chain([&self.home]).find(is_from).map(|it| it.scope);
                match scope {
                    Some(RegistrationScope::Home) if !self.is_authentic(&packet) => {}
                    Some(scope) => self.handle_acknowledgement(now, scope, acknowledgement),
                    None => self.handle_peer_acknowledgement(now, &packet, acknowledgement),
                }
            }
            Message::HomeTest(_) | Message::CareOfTest(_) => self.handle_test(now, &packet),
            Message::RefreshRequest | Message::Error { .. } => self.handle_peer_wants_more(now, &packet),
        }
    }

    /// Whether an answer is the home agent's.
    fn is_authentic(&self, packet: &Packet) -> bool {
        let Some(association) = &self.settings.association else { return true };
        association.verifies(self.home.care_of, self.settings.home, &packet.message)
    }

    /// A datagram came with a home address that is not bound to its source: its sender is told (RFC 6275 §9.3.3).
    fn handle_unknown_binding(&mut self, now: Time, home: Ipv6Addr, care_of: Ipv6Addr) {
        if now >= self.silent_until {
            self.silent_until = now + ERROR_INTERVAL;
            let error = Message::Error { status: status::UNKNOWN_BINDING, home };
            self.send(Packet::new(self.settings.home, care_of, error));
        }
    }

    /// Passes on what the user agent has to tell, and notes who its peers are.
    fn heed_user_agent(&mut self, now: Time) {
        while let Some(output) = self.user_agent.poll_event() {
            match &output {
                Output::Media(
                    MediaCommand::Start { call, remote, .. } | MediaCommand::Retarget { call, remote },
                ) => {
                    if let IpAddr::V6(peer) = remote.ip() {
                        self.begin_with(now, peer, call);
                    }
                }
                Output::Media(MediaCommand::Stop { call }) => self.end_with(call),
                _ => {}
            }
            self.outputs.push_back(output);
        }
    }

    pub(super) fn send(&mut self, packet: Packet) {
        self.outputs.push_back(Output::Packet(Box::new(packet)));
    }

    pub(super) fn forward(&mut self, change: Forwarding) {
        self.outputs.push_back(Output::Forwarding(change));
    }

    pub(super) fn record(&mut self, event: Event) {
        self.outputs.push_back(Output::Record(event));
    }
}

impl Node for Host {
    fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::Packet(packet) => self.handle_packet(now, *packet),
            Input::MapAdvertised(map) => self.advertised_map = map,
            Input::InUse(peer) => self.correspondent.handle_use(now, peer, &mut self.outputs),
            Input::UnknownBinding { home, care_of } => self.handle_unknown_binding(now, home, care_of),
            Input::AddressConfigured { handoff, address: IpAddr::V6(address) } => {
                self.handle_address(now, handoff, address);
            }
            Input::LinkGoingDown { handoff, access_router } => {
                self.record(Event::LinkGoingDown { handoff, access_router });
            }
            Input::LinkTrigger { handoff } => self.record(Event::LinkTriggered { handoff }),
            Input::Deregister => self.deregister(now),
            // Agents are not for IPv4.
            Input::AddressConfigured { .. } | Input::DuplicateAddress(_) => {}
            other => self.user_agent.handle_input(now, other),
        }
        self.heed_user_agent(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.user_agent.handle_timeout(now);
        self.correspondent.handle_timeout(now, &mut self.outputs);
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Resend(scope) => self.resend(now, scope),
                Timer::Refresh(scope) => self.refresh(now, scope),
                Timer::ResendTo(peer) => self.resend_to(now, peer),
                Timer::RefreshAt(peer) => self.refresh_at(now, peer),
            }
        }
        self.heed_user_agent(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.user_agent.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let own = [self.timers.next(), self.correspondent.poll_timeout(), self.user_agent.poll_timeout()];
        own.into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn census(&self, now: Time) -> Census {
        let waiting = self.regional.iter().chain([&self.home]).filter(|it| it.pending.is_some()).count();
        let census = self.user_agent.census(now);
        Census { pending: census.pending + waiting, records: self.correspondent.len(), ..census }
    }
}
