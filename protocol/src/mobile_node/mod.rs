//! The mobile node: finds its anchor, registers, calls, and keeps both up while it moves.
//!
//! ```text
//! LinkTrigger ▶ AddressConfigured ┬▶ REGISTER to the anchor ─▶ 200 ─▶ (new anchor? REGISTER to the home server)
//!                                 │      └ no anchor, no answer, or slower than δ ─▶ discovery ─▶ REGISTER
//!                                 └▶ re-INVITE to the correspondent node of each call
//! ```

mod answer;
mod call;
mod credentials;
mod discovery;
mod former_anchors;
mod registration;
mod setup;
#[cfg(test)]
mod tests;
mod transfer;
mod update;

use crate::cache::LocationCache;
use crate::node::{Census, Input, Node, Output, Transmit};
use crate::random::Random;
use crate::server::INSTANCE;
use crate::sip::{Contact, Headers, MediaDescription, Method, NameAddr, Request, Response, Uri, Via, status};
use crate::timers::Timers;
use crate::transaction::{ClientKey, Incoming, Timing, TransactionEvent, Transactions};
use call::{Call, CallRequest};
use credentials::Wallet;
use discovery::{Candidate, Discovery};
use former_anchors::FormerAnchors;
use registration::{Anchor, Registering};
use samp_model::record::HandoffNumber;
use samp_model::settings::{CacheSettings, SampSettings};
use samp_model::{Event, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use transfer::Transfer;

/// The port of SIP over UDP.
pub(crate) const SIP_PORT: u16 = 5060;

/// The methods that a mobile node takes (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, REFER, NOTIFY";
/// The extensions that it knows (RFC 3261 §20.37).
const SUPPORTED: &str = "replaces";

/// A mobile node.
#[derive(Debug)]
pub struct MobileNode {
    address_of_record: Uri,
    /// Which of its user's terminals it is.
    instance: Option<String>,
    settings: SampSettings,
    random: Random,
    transactions: Transactions,
    handoff: HandoffNumber,
    care_of: Option<IpAddr>,
    discovery: Option<Discovery>,
    /// Who could be the anchor, as it was measured when nobody needed one.
    candidates: Vec<Candidate>,
    anchor: Option<Anchor>,
    former_anchors: FormerAnchors,
    /// Without SAMP: the one registrar, which is outbound proxy, too.
    registrar: Option<SocketAddr>,
    /// The contacts that the home server may hold.
    home_contacts: BTreeSet<Uri>,
    /// Whether it has answered the last registration.
    home_is_acknowledged: bool,
    /// What is asked for; a registrar may want more (423).
    lifetime: Duration,
    /// The calls' peers are to be told of the new care-of address once it is registered.
    updates_due: bool,
    registering: BTreeMap<ClientKey, Registering>,
    registration_call_id: String,
    registration_cseq: u32,
    wallet: Wallet,
    calls: BTreeMap<String, Call>,
    call_requests: BTreeMap<ClientKey, CallRequest>,
    /// Calls that this node wants to see at another terminal, by the Call-ID of the REFER.
    transfers: BTreeMap<String, Transfer>,
    /// Tier 1: care-of addresses of callees.
    tier1: LocationCache<String, Uri>,
    timers: Timers<Timer>,
    transmits: VecDeque<Transmit>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// δ after the first multicast REGISTER.
    Delta,
    /// When a discovery that heard nobody within δ takes whoever answered.
    DiscoveryDeadline,
    /// When the binding at the anchor is renewed, to see whether it is there.
    Probe,
    /// When the binding at the home server is due for a refresh.
    Refresh,
    /// When the home registration is tried again.
    RetryHome,
    /// When a call that is still set up, or cancelled in vain, is given up.
    SetUp(String),
    /// When a call that rings is answered.
    Answer(String),
    /// When a transfer of which nothing was heard is given up.
    Transfer(String),
    /// When the 200 to an INVITE is sent again, as no ACK came (RFC 3261 §13.3.1.4).
    RepeatAnswer(String),
    /// When a re-INVITE that met glare is tried again (RFC 3261 §14.1).
    RetryUpdate(String),
    /// When a re-INVITE that a server has taken on, and that is not answered, is given up.
    EndUpdate(String),
}

impl MobileNode {
    /// A mobile node with this home SIP URI, and with the password that its registrars want with `auth: digest`.
    /// One of several terminals of a user has a name of its own, the `instance`.
    pub fn new(
        address_of_record: Uri,
        instance: Option<String>,
        settings: SampSettings,
        password: Option<String>,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        Self {
            registration_call_id: random.token("call"),
            instance,
            random,
            transactions: Transactions::new(Timing::from(&settings)),
            handoff: 0,
            care_of: None,
            discovery: None,
            candidates: Vec::new(),
            anchor: None,
            former_anchors: FormerAnchors::default(),
            registrar: None,
            home_contacts: BTreeSet::new(),
            home_is_acknowledged: false,
            lifetime: settings.registration_lifetime,
            updates_due: false,
            registering: BTreeMap::new(),
            registration_cseq: 0,
            wallet: Wallet::new(address_of_record.user.clone().unwrap_or_default(), password),
            calls: BTreeMap::new(),
            call_requests: BTreeMap::new(),
            transfers: BTreeMap::new(),
            tier1: LocationCache::new(settings.tier1.clone()),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            outputs: VecDeque::new(),
            settings,
            address_of_record,
        }
    }

    /// A user agent that keeps its address: it registers nowhere, and finds callees at the numeric hosts of their URIs.
    pub fn stationary(address_of_record: Uri, settings: SampSettings, address: IpAddr, seed: u64) -> Self {
        let tier1 = CacheSettings { enabled: false, ..settings.tier1.clone() };
        let settings = SampSettings { tier1, ..settings };
        Self { care_of: Some(address), ..Self::new(address_of_record, None, settings, None, seed) }
    }

    /// The same without SAMP: it registers its care-of address with this registrar, at every move, and looks for no anchor
    /// (the mobility of Wedlund and Schulzrinne).
    pub fn with_registrar(self, registrar: SocketAddr) -> Self {
        Self { registrar: Some(registrar), ..self }
    }

    /// Where requests to this URI go first: to the anchor, or, without one, to its numeric host (RFC 3263 §4).
    fn first_hop(&self, uri: &Uri) -> Option<SocketAddr> {
        self.anchor.as_ref().map_or_else(|| uri.socket_address(), |anchor| Some(anchor.address))
    }

    fn handle_request(&mut self, now: Time, request: Request) {
        let required = request.headers.get("Require").unwrap_or_default();
        let unsupported: Vec<_> =
            required.split(',').map(str::trim).filter(|tag| !tag.is_empty() && *tag != SUPPORTED).collect();
        // CANCEL and ACK are taken as they are (RFC 3261 §8.2.2.3).
        if !unsupported.is_empty() && !matches!(request.method, Method::Ack | Method::Cancel) {
            let unsupported = unsupported.join(", ");
            return self.answer_with(now, &request, status::BAD_EXTENSION, &[("Unsupported", &unsupported)]);
        }
        match request.method {
            Method::Invite => self.handle_invite(now, request),
            Method::Ack => self.handle_ack(now, &request),
            Method::Bye => self.handle_bye(now, &request),
            Method::Cancel => self.handle_cancel(now, &request),
            Method::Update => self.handle_change(now, &request),
            Method::Refer => self.handle_refer(now, request),
            Method::Notify => self.handle_notify(now, &request),
            Method::Options => {
                let able =
                    [("Allow", ALLOW), ("Accept", MediaDescription::CONTENT_TYPE), ("Supported", SUPPORTED)];
                self.answer_with(now, &request, status::OK, &able);
            }
            _ => self.answer_with(now, &request, status::METHOD_NOT_ALLOWED, &[("Allow", ALLOW)]),
        }
    }

    /// Answers a request without a body.
    fn answer(&mut self, now: Time, request: &Request, code: u16) {
        self.answer_with(now, request, code, &[]);
    }

    /// Answers a request with these fields.
    fn answer_with(&mut self, now: Time, request: &Request, code: u16, fields: &[(&str, &str)]) {
        let Some(key) = self.transactions.accept(request) else { return };
        let mut response = request.response(code, &self.random.token("tag"));
        fields.iter().for_each(|(name, value)| response.headers.set(name, *value));
        self.transactions.respond(now, &key, response);
    }

    fn handle_response(&mut self, now: Time, key: ClientKey, response: &Response) {
        if let Some(registering) = self.registering.get(&key).cloned() {
            if response.status >= status::OK {
                self.registering.remove(&key);
                self.handle_registration_response(now, registering, response);
            }
        } else if response.status < status::OK {
            self.handle_provisional(now, &key, response.status);
        } else if let Some(pending) = self.call_requests.remove(&key) {
            self.handle_call_response(now, pending, response);
        } else if response.headers.cseq_method == Method::Refer {
            self.handle_refer_response(&response.headers.call_id, response.status);
        } else if response.headers.cseq_method == Method::Invite && response.status < 300 {
            self.handle_late_answer(now, response);
        }
    }

    /// A response of no transaction: an answer to a discovery, or a 200 whose ACK was lost.
    fn handle_stray(&mut self, now: Time, from: SocketAddr, response: &Response) {
        match response.headers.cseq_method {
            Method::Invite if (200..300).contains(&response.status) => self.handle_late_answer(now, response),
            _ => self.handle_discovery_answer(now, from, response),
        }
    }

    /// A request has no answer: none in time (408), or it could not be sent (503; RFC 3261 §8.1.3.1).
    fn handle_transaction_failure(&mut self, now: Time, key: &ClientKey, code: u16) {
        if let Some(registering) = self.registering.remove(key) {
            self.handle_registration_failure(now, &registering, code, None);
        } else if let Some(pending) = self.call_requests.remove(key) {
            self.handle_call_failure(now, pending, code);
        }
    }

    /// This node's address on its present link.
    fn own_address(&self) -> Option<SocketAddr> {
        self.care_of.map(|ip| SocketAddr::new(ip, SIP_PORT))
    }

    /// Where this node can be reached directly, now.
    fn contact(&self, own: SocketAddr) -> Uri {
        let mut uri = Uri::at(self.address_of_record.user.as_deref(), own);
        if let Some(instance) = &self.instance {
            uri.params.set(INSTANCE, Some(instance.clone()));
        }
        uri
    }

    /// A request outside of any dialog, from this node, with a Via of its own.
    fn request(
        &mut self,
        method: Method,
        uri: Uri,
        to: Uri,
        call_id: &str,
        cseq: u32,
        own: SocketAddr,
    ) -> Request {
        let tag = self.random.token("tag");
        Request {
            headers: Headers {
                via: vec![Via::new(own, &self.random.branch())],
                from: NameAddr::new(self.address_of_record.clone()).with("tag", Some(tag)),
                to: NameAddr::new(to),
                call_id: call_id.to_owned(),
                cseq,
                cseq_method: method.clone(),
                max_forwards: Some(70),
                route: Vec::new(),
                contact: Vec::new(),
                expires: None,
                other: Vec::new(),
            },
            method,
            uri,
            body: bytes::Bytes::new(),
        }
    }

    fn record(&mut self, event: Event) {
        self.outputs.push_back(Output::Record(event));
    }
}

fn contact_header(uri: Uri) -> Contact {
    Contact::Address(NameAddr::new(uri))
}

impl Node for MobileNode {
    fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::Message { from, message, .. } => match self.transactions.receive(now, from, message) {
                Incoming::Absorbed => {}
                Incoming::Request(request) => self.handle_request(now, request),
                Incoming::Response(key, response) => self.handle_response(now, key, &response),
                Incoming::Stray(response) => self.handle_stray(now, from, &response),
            },
            Input::TransportError(transmit) => {
                if let Some(key) = self.transactions.handle_transport_error(now, &transmit) {
                    self.handle_transaction_failure(now, &key, status::UNAVAILABLE);
                }
            }
            Input::LinkGoingDown { handoff, access_router } => {
                self.record(Event::LinkGoingDown { handoff, access_router });
                self.look_ahead(now);
            }
            Input::LinkTrigger { handoff } => self.record(Event::LinkTriggered { handoff }),
            Input::AddressConfigured { handoff, address } => self.handle_address(now, handoff, address),
            Input::Call { callee, call } => self.start_call(now, callee, call),
            // Nobody sends a user agent so much.
            Input::Lag(_) => {}
            Input::HangUp { call: Some(call) } => self.hang_up(now, &call),
            Input::HangUp { call: None } => self.hang_up_all(now),
            Input::Transfer { call, target } => self.transfer(now, &call, &target),
            Input::Deregister => self.deregister(now),
            // A server's, or below a user agent.
            Input::Leave
            | Input::Packet(_)
            | Input::MapAdvertised(_)
            | Input::DuplicateAddress(_)
            | Input::UnknownBinding { .. }
            | Input::InUse(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        for TransactionEvent::TimedOut(key) in self.transactions.handle_timeout(now) {
            self.handle_transaction_failure(now, &key, status::REQUEST_TIMEOUT);
        }
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Delta | Timer::DiscoveryDeadline => {
                    self.finish_discovery(now, timer == Timer::DiscoveryDeadline)
                }
                Timer::Probe => self.probe_anchor(now),
                Timer::Refresh | Timer::RetryHome => self.register_with_home(now),
                Timer::SetUp(call) => self.end_set_up(now, &call),
                Timer::Answer(call) => self.pick_up(now, &call),
                Timer::Transfer(refer) => self.end_transfer(&refer, Some(status::REQUEST_TIMEOUT)),
                Timer::RepeatAnswer(call) => self.repeat_answer(now, &call),
                Timer::RetryUpdate(call) => self.update_call(now, &call),
                Timer::EndUpdate(call) => self.end_update(now, &call),
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front().or_else(|| self.transactions.poll_transmit())
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.transactions.poll_timeout(), self.timers.next()].into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn census(&self, _now: Time) -> Census {
        Census {
            transactions: self.transactions.len(),
            unanswered: self.transactions.unanswered(),
            pending: self.registering.len()
                + self.call_requests.len()
                + self.transfers.len()
                + usize::from(self.discovery.is_some()),
            calls: self.calls.len(),
            cached: self.tier1.len(),
            ..Census::default()
        }
    }
}
