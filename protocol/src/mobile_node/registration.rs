//! Registration with the anchor and, over it, with the home server (hierarchical registration).

use super::{MobileNode, Timer, contact_header};
use crate::server::{minted_uri, path_of};
use crate::sip::{Contact, Host, Method, NameAddr, Response, Uri, status};
use samp_model::record::{HandoffNumber, RegistrationScope};
use samp_model::{Event, Time};
use std::net::SocketAddr;
use std::time::Duration;

/// How long to wait before a failed home registration is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The anchor SIP server.
#[derive(Debug)]
pub(super) struct Anchor {
    pub(super) address: SocketAddr,
    /// The contact that it holds.
    contact: Option<Uri>,
    /// The URI that it minted for this node.
    minted: Option<Uri>,
}

impl Anchor {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, contact: None, minted: None }
    }
}

/// Why a node registers with its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It has moved, and keeps its anchor.
    Handoff,
    /// It has just chosen this anchor.
    Discovery,
    /// The binding grows old.
    Refresh,
}

/// A REGISTER under way.
#[derive(Clone, Debug)]
pub(super) struct Registering {
    scope: RegistrationScope,
    cause: Cause,
    handoff: HandoffNumber,
    sent_at: Time,
    contact: Uri,
}

impl MobileNode {
    /// Forgets what was sent from an address that is gone.
    pub(super) fn abandon_registrations(&mut self) {
        for key in std::mem::take(&mut self.registering).into_keys() {
            self.transactions.forget(&key);
        }
        self.discovery = None;
        for timer in [Timer::Delta, Timer::DiscoveryDeadline, Timer::RetryHome] {
            self.timers.stop(&timer);
        }
    }

    /// Registers the care-of address with the anchor.
    pub(super) fn register_with_anchor(&mut self, now: Time, cause: Cause) {
        let (Some(own), Some(anchor)) = (self.own_address(), &self.anchor) else { return };
        let (old, registrar) = (anchor.contact.clone(), Uri::new(None, Host::Ip(anchor.address.ip())));
        self.register(now, RegistrationScope::Anchor, cause, registrar, self.contact(own), old);
    }

    /// Registers the anchor's URI for this node with the home server.
    pub(super) fn register_with_home(&mut self, now: Time) {
        let Some(minted) = self.anchor.as_ref().and_then(|anchor| anchor.minted.clone()) else { return };
        let (old, domain) = (self.home_contact.clone(), Uri::new(None, self.address_of_record.host.clone()));
        self.register(now, RegistrationScope::Home, Cause::Discovery, domain, minted, old);
    }

    /// Sends a REGISTER by way of the anchor: `contact` in, `old` out.
    fn register(
        &mut self,
        now: Time,
        scope: RegistrationScope,
        cause: Cause,
        registrar: Uri,
        contact: Uri,
        old: Option<Uri>,
    ) {
        let (Some(own), Some(anchor)) = (self.own_address(), &self.anchor) else { return };
        let destination = anchor.address;
        self.registration_cseq += 1;
        let (home, call_id, cseq) =
            (self.address_of_record.clone(), self.registration_call_id.clone(), self.registration_cseq);
        let mut request = self.request(Method::Register, registrar, home, &call_id, cseq, own);
        request.headers.expires = Some(self.settings.registration_lifetime.as_secs() as u32);
        request.headers.contact.push(contact_header(contact.clone()));
        if let Some(old) = old.filter(|old| *old != contact) {
            let removed = NameAddr::new(old).with("expires", Some("0".to_owned()));
            request.headers.contact.push(Contact::Address(removed));
        }
        let handoff = self.handoff;
        self.record(Event::RegisterSent { handoff, scope });
        // An anchor that is silent is left soon; the home server may be a ring away that just heals.
        let deadline = (scope == RegistrationScope::Anchor).then_some(self.settings.anchor_timeout);
        let key = self.transactions.send(now, request, destination, deadline);
        self.registering.insert(key, Registering { scope, cause, handoff, sent_at: now, contact });
    }

    pub(super) fn handle_registration_response(
        &mut self,
        now: Time,
        registering: Registering,
        response: &Response,
    ) {
        if response.status != status::OK {
            return self.handle_registration_failure(now, &registering, response.status);
        }
        let Registering { scope, cause, handoff, sent_at, contact } = registering;
        let rrd = now - sent_at;
        self.record(Event::Registered { handoff, scope, rrd, path: path_of(response) });
        if scope == RegistrationScope::Home {
            self.home_contact = Some(contact);
            return self.timers.set(Timer::Refresh, now + self.settings.registration_lifetime / 2);
        }
        let Some(anchor) = &mut self.anchor else { return };
        anchor.contact = Some(contact);
        anchor.minted = minted_uri(response);
        let home_is_current = anchor.minted.is_some() && anchor.minted == self.home_contact;
        let local_move = cause == Cause::Handoff && self.settings.hierarchical_registration;
        if !(home_is_current && local_move) {
            self.register_with_home(now);
        }
        // The anchor has come out of reach: look for a nearer one, while this one serves.
        if cause == Cause::Handoff && rrd > self.settings.delta && self.discovery.is_none() {
            self.start_discovery(now);
        }
    }

    pub(super) fn handle_registration_failure(&mut self, now: Time, registering: &Registering, status: u16) {
        let Registering { scope, handoff, .. } = *registering;
        self.record(Event::RegistrationFailed { handoff, scope, status });
        match scope {
            RegistrationScope::Home => self.timers.set(Timer::RetryHome, now + RETRY),
            RegistrationScope::Anchor => {
                self.abandon_registrations();
                self.anchor = None;
                self.start_discovery(now);
            }
        }
    }

    pub(super) fn refresh(&mut self, now: Time) {
        self.timers.set(Timer::Refresh, now + self.settings.registration_lifetime / 2);
        if self.registering.is_empty() {
            self.register_with_anchor(now, Cause::Refresh);
        }
    }
}
