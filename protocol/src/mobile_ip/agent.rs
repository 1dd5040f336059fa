//! A home agent (RFC 6275 §10), a mobility anchor point (RFC 5380 §5), or both: who it has bound, it answers and tunnels for.
//!
//! ```text
//! BU ─▶ of nobody known (RFC 4285): nothing, or BAck 146
//!    ─▶ wrong subnet, sequence, no room: BAck with why
//!    ─▶ known: bound, tunnel, BAck        ─▶ new: duplicate address detection ─▶ bound, tunnel, BAck
//!                                                        └─ somebody has it ─▶ BAck 134
//! ```

use super::Forwarding;
use super::association::{Association, Associations};
use super::binding_cache::{Binding, BindingCache};
use super::lifetime::{is_after, to_units};
use super::message::{Acknowledgement, Message, Update, status};
use super::packet::Packet;
use crate::node::{Census, Input, Node, Output, Transmit};
use crate::timers::Timers;
use samp_model::agent::MobilityAgent;
use samp_model::{Event, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

/// Bindings of a kind at most, and address checks under way.
const MAX_BINDINGS: usize = 1_000_000;
/// The longest lifetime that is granted.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Which of its two parts serves a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    HomeAgent,
    Map,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    settings: MobilityAgent,
    /// With whom; without any, home agents believe everybody.
    associations: Option<Associations>,
    homes: BindingCache,
    regional: BindingCache,
    /// The latest updates of addresses that are being checked.
    checked: BTreeMap<Ipv6Addr, (Part, Packet, Update)>,
    checks: Timers<Ipv6Addr>,
    outputs: VecDeque<Output>,
}

impl Agent {
    /// An agent without bindings. With a secret, updates to home agents have to be authenticated by what follows from it.
    pub fn new(settings: MobilityAgent, secret: Option<&str>) -> Self {
        Self {
            settings,
            associations: secret.map(Associations::new),
            homes: BindingCache::new(MAX_BINDINGS),
            regional: BindingCache::new(MAX_BINDINGS),
            checked: BTreeMap::new(),
            checks: Timers::default(),
            outputs: VecDeque::new(),
        }
    }

    fn cache(&mut self, part: Part) -> &mut BindingCache {
        match part {
            Part::HomeAgent => &mut self.homes,
            Part::Map => &mut self.regional,
        }
    }

    fn handle_update(&mut self, now: Time, packet: Packet, update: Update) {
        // An answer is signed to who has proved who it is: another one could be played to somebody else.
        let unproved = Update { authentication: None, ..update.clone() };
        let (part, update) = match (update.home_registration, update.map_registration) {
            (true, false) => match self.is_authentic(&packet, &update) {
                Some(true) => (Part::HomeAgent, update),
                Some(false) => {
                    return self.acknowledge(&packet, &unproved, Err(status::AUTHENTICATION_FAILED));
                }
                None => return,
            },
            (false, true) => (Part::Map, unproved),
            // Agents are nobody's correspondents.
            _ => return self.acknowledge(&packet, &unproved, Err(status::NOT_SUPPORTED)),
        };
        let (home, is_removal) = (packet.sender(), is_removal(&packet, &update));
        let is_own = match part {
            Part::HomeAgent => self.settings.home_subnet.map(|subnet| subnet.contains(home.into())),
            // Regional addresses begin as that of the MAP (RFC 5380 §4).
            Part::Map => self.settings.map.map(|map| subnet(map) == subnet(home) && map != home),
        };
        let Some(is_own) = is_own else {
            return self.acknowledge(&packet, &update, Err(status::NOT_SUPPORTED));
        };
        if !is_own {
            return self.acknowledge(&packet, &update, Err(status::NOT_HOME_SUBNET));
        }
        let is_old = |(_, _, checked): &(Part, Packet, Update)| !is_after(update.sequence, checked.sequence);
        if self.checked.get(&home).is_some_and(is_old) {
            // Its address is being checked for what came later.
            return;
        }
        let known = self.cache(part).get(home);
        let last = known.map(|known| known.sequence).or_else(|| self.last_number(part, home));
        if let Some(why) = self.cache(part).refusal(home, last, &update) {
            // It is told from which number on it may go on (RFC 6275 §9.5.4).
            let last = Update { sequence: last.unwrap_or(update.sequence), ..update };
            return self.acknowledge(&packet, &last, Err(why));
        }
        if is_removal && known.is_none() {
            return self.acknowledge(&packet, &update, Err(status::NOT_HOME_AGENT));
        }
        if is_removal {
            self.note_number(part, home, update.sequence);
            self.release(part, home);
            return self.acknowledge(&packet, &update, Ok(0));
        }
        if known.is_none() && !self.settings.dad.is_zero() {
            if self.checked.len() >= MAX_BINDINGS {
                return self.acknowledge(&packet, &update, Err(status::INSUFFICIENT_RESOURCES));
            }
            if self.checked.insert(home, (part, packet, update)).is_none() {
                self.checks.set(home, now + self.settings.dad);
            }
            return;
        }
        self.bind(now, part, &packet, &update);
    }

    /// The association by which an update is authenticated, whether it proves to be right or not.
    fn association(&self, packet: &Packet, update: &Update) -> Option<Association> {
        self.associations.as_ref()?.of(update.authentication.as_ref()?, packet.sender())
    }

    /// Whether an update to the home agent is of who it says; none if there is no association to know it by, when it is
    /// to be passed over (RFC 4285 §5.1).
    fn is_authentic(&self, packet: &Packet, update: &Update) -> Option<bool> {
        if self.associations.is_none() && update.authentication.is_none() {
            return Some(true);
        }
        let association = self.association(packet, update)?;
        Some(association.verifies(packet.care_of(update), packet.sender(), &packet.message))
    }

    /// The last sequence number of a home address, even when that is bound no more: an old update would be good again.
    fn last_number(&self, part: Part, home: Ipv6Addr) -> Option<u16> {
        self.associations.as_ref().filter(|_| part == Part::HomeAgent)?.last_number(home)
    }

    fn note_number(&mut self, part: Part, home: Ipv6Addr, sequence: u16) {
        if let Some(associations) = self.associations.as_mut().filter(|_| part == Part::HomeAgent) {
            associations.note_number(home, sequence);
        }
    }

    /// Binds an address, and answers for it from now on.
    fn bind(&mut self, now: Time, part: Part, packet: &Packet, update: &Update) {
        let (home, care_of) = (packet.sender(), packet.care_of(update));
        let lifetime = update.lifetime.min(to_units(MAX_LIFETIME));
        self.note_number(part, home, update.sequence);
        self.cache(part).bind(now, home, Binding { care_of, sequence: update.sequence }, lifetime);
        let tunnel = Some([packet.destination, care_of]);
        self.outputs.push_back(Output::Forwarding(Forwarding::To(home, tunnel)));
        self.record(Event::BindingAccepted { home, care_of });
        self.record_load();
        self.acknowledge(packet, update, Ok(lifetime));
    }

    fn release(&mut self, part: Part, home: Ipv6Addr) {
        self.cache(part).remove(home);
        self.outputs.push_back(Output::Forwarding(Forwarding::To(home, None)));
        self.record_load();
    }

    /// Answers an update with the lifetime that is granted, or with why there is none.
    fn acknowledge(&mut self, packet: &Packet, update: &Update, result: Result<u16, u8>) {
        if result.is_ok() && !update.acknowledge {
            return;
        }
        let acknowledgement = Acknowledgement {
            status: result.err().unwrap_or(status::ACCEPTED),
            sequence: update.sequence,
            lifetime: result.unwrap_or(0),
            // Halfway, so that one that is lost can be sent again (§6.2.4).
            refresh: result
                .ok()
                .filter(|&lifetime| update.home_registration && lifetime > 1)
                .map(|it| it / 2),
            ..Acknowledgement::default()
        };
        let mut message = Message::Acknowledgement(acknowledgement);
        if let Some(association) = self.association(packet, update) {
            association.sign(packet.care_of(update), packet.sender(), &mut message);
        }
        let mut answer = Packet::new(packet.destination, packet.source, message);
        answer.routed_home = packet.home;
        self.outputs.push_back(Output::Packet(Box::new(answer)));
    }

    /// Somebody else has this address: who wanted to register it may not.
    fn handle_duplicate(&mut self, address: Ipv6Addr) {
        self.checks.stop(&address);
        if let Some((_, packet, update)) = self.checked.remove(&address) {
            self.acknowledge(&packet, &update, Err(status::DUPLICATE_ADDRESS));
        }
    }

    fn record(&mut self, event: Event) {
        self.outputs.push_back(Output::Record(event));
    }

    fn record_load(&mut self) {
        let [home, anchor] = [&self.homes, &self.regional].map(|cache| cache.len() as u32);
        self.record(Event::BindingsChanged { home, anchor });
    }
}

/// Whether an update takes its binding back (RFC 6275 §9.5.1).
pub(super) fn is_removal(packet: &Packet, update: &Update) -> bool {
    update.lifetime == 0 || packet.care_of(update) == packet.sender()
}

/// The first 64 bits of an address.
fn subnet(address: Ipv6Addr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    [a, b, c, d, e, f, g, h]
}

impl Node for Agent {
    fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::Packet(packet) => {
                if let Message::Update(update) = packet.message.clone() {
                    self.handle_update(now, *packet, update);
                }
            }
            Input::DuplicateAddress(address) => self.handle_duplicate(address),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        while let Some(home) = self.checks.expired(now) {
            if let Some((part, packet, update)) = self.checked.remove(&home) {
                self.bind(now, part, &packet, &update);
            }
        }
        for part in [Part::HomeAgent, Part::Map] {
            while let Some(home) = self.cache(part).ended(now) {
                self.release(part, home);
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        let ends = [self.checks.next(), self.homes.next_end(), self.regional.next_end()];
        ends.into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn census(&self, _now: Time) -> Census {
        let records = self.homes.len() + self.regional.len();
        Census { pending: self.checked.len(), records, ..Census::default() }
    }
}
