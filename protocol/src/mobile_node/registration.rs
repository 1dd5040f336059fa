//! Registration with the anchor and, over it, with the home server (hierarchical registration), RFC 3261 §10.2.
//!
//! ```text
//!            no anchor ◀────────────────── no answer, refused ───────────────────┐
//! handoff,      │ discovery                                                      │
//! probe ──▶ REGISTER to the anchor ──200──▶ anchored ──home does not know──▶ REGISTER to the home server
//!               ▲                              │  │                           retried each second until 200
//!               └──────── anchor_probe ────────┘  └──200 later than δ, after a handoff──▶ discovery
//! ```
//! The response time of the anchor is that of the REGISTER after a handoff, from its first transmission to its 200:
//! a retransmission makes it longer, never shorter.

use super::{MobileNode, Timer, contact_header};
use crate::server::{minted_uri, path_of};
use crate::sip::{Contact, Headers, Host, Method, NameAddr, Response, Uri, status};
use samp_model::record::{HandoffNumber, RegistrationScope};
use samp_model::settings::UpdateOrder;
use samp_model::{Event, Time};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long to wait before a failed home registration is tried again, when the answer does not say.
const RETRY: Duration = Duration::from_secs(1);
/// A node waits no longer than this, whatever a server asks for.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// Contacts that a registrar may still hold, and that a REGISTER removes, at most.
const MAX_HELD: usize = 8;
/// The longest lifetime that a node asks for because a registrar wants it (RFC 3261 §10.3, point 7).
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The anchor SIP server.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) address: SocketAddr,
    /// The contacts that it may hold.
    pub(super) contacts: BTreeSet<Uri>,
    /// The URI that it minted for this node.
    pub(super) minted: Option<Uri>,
}

impl Anchor {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, contacts: BTreeSet::new(), minted: None }
    }
}

/// Why a node registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It has moved, and keeps its anchor.
    Handoff,
    /// A discovery has just chosen this anchor.
    Discovery,
    /// This anchor was chosen from what an earlier discovery measured.
    Remembered,
    /// The binding grows old, and the anchor may be gone.
    Probe,
    /// The node leaves.
    Removal,
}

/// A REGISTER under way.
#[derive(Clone, Debug)]
pub(super) struct Registering {
    scope: RegistrationScope,
    cause: Cause,
    handoff: HandoffNumber,
    sent_at: Time,
    contact: Uri,
    registrar: Uri,
}

impl MobileNode {
    /// The care-of address is new.
    pub(super) fn handle_address(&mut self, now: Time, handoff: HandoffNumber, address: IpAddr) {
        self.handoff = handoff;
        self.care_of = Some(address);
        self.record(Event::AddressConfigured { handoff, address });
        self.keep_heard();
        self.abandon_registrations();
        self.abandon_all_requests();
        if let Some(registrar) = self.registrar {
            self.anchor.get_or_insert_with(|| Anchor::new(registrar));
            self.register_with_home(now);
        } else if self.anchor.is_some() {
            self.register_with_anchor(now, Cause::Handoff);
        } else {
            self.find_anchor(now, None);
        }
        match self.settings.update_order {
            UpdateOrder::Parallel => self.update_calls(now),
            UpdateOrder::Serial => self.updates_due = true,
        }
    }

    /// Forgets what was sent from an address that is gone.
    fn abandon_registrations(&mut self) {
        for key in std::mem::take(&mut self.registering).into_keys() {
            self.transactions.forget(&key);
        }
        self.stop_discovery();
        self.timers.stop(&Timer::RetryHome);
    }

    /// This server is the anchor from now on. If it was before, it may hold old contacts.
    pub(super) fn adopt_anchor(&mut self, now: Time, address: SocketAddr) -> &mut Anchor {
        self.leave_anchor(now);
        let contacts = self.former_anchors.take(now, address);
        self.anchor.insert(Anchor { contacts, ..Anchor::new(address) })
    }

    /// There is no anchor any more. Says which one there was.
    fn leave_anchor(&mut self, now: Time) -> Option<SocketAddr> {
        let anchor = self.anchor.take()?;
        let address = anchor.address;
        self.former_anchors.leave(anchor, now + self.lifetime);
        Some(address)
    }

    /// Registers the care-of address with the anchor.
    pub(super) fn register_with_anchor(&mut self, now: Time, cause: Cause) {
        let (Some(own), Some(anchor)) = (self.own_address(), &self.anchor) else { return };
        let registrar = Uri::new(None, Host::Ip(anchor.address.ip()));
        self.register(now, RegistrationScope::Anchor, cause, registrar, self.contact(own));
    }

    /// Registers the anchor's URI for this node with the home server; without SAMP, the care-of address with the registrar.
    pub(super) fn register_with_home(&mut self, now: Time) {
        let contact = match self.registrar {
            Some(_) => self.own_address().map(|own| self.contact(own)),
            None => self.anchor.as_ref().and_then(|anchor| anchor.minted.clone()),
        };
        let Some(contact) = contact else { return };
        let domain = Uri::new(None, self.address_of_record.host.clone());
        self.register(now, RegistrationScope::Home, Cause::Discovery, domain, contact);
    }

    /// Sends a REGISTER by way of the anchor: `contact` in, all others that the registrar may hold out.
    fn register(&mut self, now: Time, scope: RegistrationScope, cause: Cause, registrar: Uri, contact: Uri) {
        let (Some(own), Some(anchor)) = (self.own_address(), &mut self.anchor) else { return };
        let destination = anchor.address;
        let held = match scope {
            RegistrationScope::Anchor => &mut anchor.contacts,
            RegistrationScope::Home => &mut self.home_contacts,
        };
        self.home_is_acknowledged &= scope != RegistrationScope::Home;
        if held.len() == MAX_HELD {
            held.pop_first();
        }
        held.insert(contact.clone());
        let removed: Vec<_> =
            held.iter().filter(|held| **held != contact || cause == Cause::Removal).cloned().collect();
        self.registration_cseq += 1;
        let (home, call_id, cseq) =
            (self.address_of_record.clone(), self.registration_call_id.clone(), self.registration_cseq);
        let mut request = self.request(Method::Register, registrar.clone(), home, &call_id, cseq, own);
        request.headers.expires = Some(self.lifetime.as_secs() as u32);
        if cause != Cause::Removal {
            request.headers.contact.push(contact_header(contact.clone()));
        }
        request.headers.contact.extend(
            removed.into_iter().map(|removed| {
                Contact::Address(NameAddr::new(removed).with("expires", Some("0".to_owned())))
            }),
        );
        let cnonce = self.random.token("cnonce");
        self.wallet.sign(&mut request, cnonce);
        let handoff = self.handoff;
        if is_told(cause) {
            self.record(Event::RegisterSent { handoff, scope });
        }
        // An anchor that is silent is left soon; the home server may be a ring away that just heals.
        let deadline = (scope == RegistrationScope::Anchor).then_some(self.settings.anchor_timeout);
        let key = self.transactions.send(now, request, destination, deadline);
        self.registering.insert(key, Registering { scope, cause, handoff, sent_at: now, contact, registrar });
    }

    pub(super) fn handle_registration_response(
        &mut self,
        now: Time,
        registering: Registering,
        response: &Response,
    ) {
        let realm = registering.registrar.host.to_string();
        if response.status == status::UNAUTHORIZED && self.wallet.handle_challenge(&realm, response) {
            let Registering { scope, cause, registrar, contact, .. } = registering;
            return self.register(now, scope, cause, registrar, contact);
        }
        if response.status != status::OK {
            return self.handle_registration_failure(now, &registering, response.status, Some(response));
        }
        self.wallet.handle_success(&realm, response);
        let Registering { scope, cause, handoff, sent_at, contact, .. } = registering;
        if cause == Cause::Removal {
            return self.record(Event::Deregistered { handoff, scope });
        }
        let rrd = now - sent_at;
        if is_told(cause) {
            self.record(Event::Registered { handoff, scope, rrd, path: path_of(response) });
        }
        let granted = granted(&response.headers, &contact).unwrap_or(self.lifetime);
        if scope == RegistrationScope::Home {
            self.home_contacts = BTreeSet::from([contact]);
            self.home_is_acknowledged = true;
            self.timers.set(Timer::Refresh, now + granted / 2);
            if self.registrar.is_some() {
                self.update_calls_due(now);
            }
            return;
        }
        let Some(anchor) = &mut self.anchor else { return };
        let address = anchor.address;
        anchor.minted = minted_uri(response, &contact);
        anchor.contacts = BTreeSet::from([contact]);
        let home_is_current = self.home_is_acknowledged && self.home_contacts.iter().eq(&anchor.minted);
        let local =
            cause == Cause::Probe || cause == Cause::Handoff && self.settings.hierarchical_registration;
        self.handle_anchored(now, granted / 2);
        // A probe leaves a registration alone that is under way, or that waits to be tried again.
        let is_busy = cause == Cause::Probe
            && (self.is_registering(RegistrationScope::Home) || self.timers.runs(&Timer::RetryHome));
        if !(home_is_current && local || is_busy) {
            self.register_with_home(now);
        }
        // The anchor is out of reach: look for a nearer one, while this one serves.
        match cause {
            _ if rrd <= self.settings.delta => self.look_ahead(now),
            Cause::Handoff if self.discovery.is_none() => self.find_anchor(now, Some(address)),
            // What was measured before the handoff does not hold here.
            Cause::Remembered => self.start_discovery(now),
            _ => self.look_ahead(now),
        }
    }

    /// The anchor has the care-of address, for as long as twice this.
    pub(super) fn handle_anchored(&mut self, now: Time, half_life: Duration) {
        self.timers.set(Timer::Probe, now + half_life.min(self.settings.anchor_probe));
        self.update_calls_due(now);
    }

    /// Tells the calls' peers, if they are to be told once the node is registered.
    fn update_calls_due(&mut self, now: Time) {
        if std::mem::take(&mut self.updates_due) {
            self.update_calls(now);
        }
    }

    /// The registrar refused, or (408) was silent.
    pub(super) fn handle_registration_failure(
        &mut self,
        now: Time,
        registering: &Registering,
        status: u16,
        response: Option<&Response>,
    ) {
        let Registering { scope, cause, handoff, .. } = *registering;
        if cause == Cause::Removal {
            return;
        }
        let seconds = |name: &str| response.and_then(|response| seconds(&response.headers, name));
        if status == status::INTERVAL_TOO_BRIEF
            && let Some(least) = seconds("Min-Expires")
            && (self.lifetime..=MAX_LIFETIME).contains(&least)
            && least > self.lifetime
        {
            self.lifetime = least;
            return match scope {
                RegistrationScope::Anchor => self.register_with_anchor(now, cause),
                RegistrationScope::Home => self.register_with_home(now),
            };
        }
        self.record(Event::RegistrationFailed { handoff, scope, status });
        match scope {
            RegistrationScope::Home => {
                let wait = seconds("Retry-After").unwrap_or(RETRY).clamp(RETRY, MAX_RETRY);
                self.timers.set(Timer::RetryHome, now + wait);
            }
            RegistrationScope::Anchor => {
                self.abandon_registrations();
                let failed = self.leave_anchor(now);
                self.timers.stop(&Timer::Probe);
                self.find_anchor(now, failed);
            }
        }
    }

    /// Time to see whether the anchor is still there, and still has this node.
    pub(super) fn probe_anchor(&mut self, now: Time) {
        self.timers.set(Timer::Probe, now + self.settings.anchor_probe);
        // A home registration by way of a dead anchor hears nothing either, and waits much longer.
        if !self.is_registering(RegistrationScope::Anchor) && self.discovery.is_none() {
            self.register_with_anchor(now, Cause::Probe);
        }
    }

    fn is_registering(&self, scope: RegistrationScope) -> bool {
        self.registering.values().any(|registering| registering.scope == scope)
    }

    /// Leaves: calls end, and both servers forget this node. Its next attachment makes it register again.
    pub(super) fn deregister(&mut self, now: Time) {
        self.hang_up_all(now);
        self.abandon_registrations();
        for timer in [Timer::Probe, Timer::Refresh] {
            self.timers.stop(&timer);
        }
        let domain = Uri::new(None, self.address_of_record.host.clone());
        if let Some(contact) = self.home_contacts.first().cloned() {
            self.register(now, RegistrationScope::Home, Cause::Removal, domain, contact);
        }
        if let (Some(anchor), Some(own), None) = (&self.anchor, self.own_address(), self.registrar) {
            let registrar = Uri::new(None, Host::Ip(anchor.address.ip()));
            self.register(now, RegistrationScope::Anchor, Cause::Removal, registrar, self.contact(own));
        }
        self.anchor = None;
        self.home_contacts.clear();
        self.home_is_acknowledged = false;
    }
}

/// Whether the records tell of such a registration: not of those that change nothing.
fn is_told(cause: Cause) -> bool {
    !matches!(cause, Cause::Probe | Cause::Removal)
}

/// For how long the registrar holds this contact.
fn granted(headers: &Headers, contact: &Uri) -> Option<Duration> {
    let own = headers.contact.iter().find_map(|listed| match listed {
        Contact::Address(address) if address.uri == *contact => address.params.get("expires"),
        _ => None,
    });
    own?.parse().ok().map(Duration::from_secs)
}

/// A header field that is a number of seconds, perhaps with a comment behind.
fn seconds(headers: &Headers, name: &str) -> Option<Duration> {
    let digits = headers.get(name)?.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_secs)
}
