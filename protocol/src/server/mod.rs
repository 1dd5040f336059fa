//! The SAMP server: member of the Chord ring, registrar for the nodes it anchors and for those whose home it is,
//! and proxy (the paper's registrar-and-proxy mode) or redirect server.
//!
//! A request reaches its target in steps, each decided by the Request-URI alone:
//!
//! ```text
//! sip:mn@domain             over the ring to the owner of H(sip:mn@domain), the home SIP server
//! sip:mn@ANCHOR;gr=domain   home → anchor: the URI that the anchor minted (in the manner of RFC 5627)
//! sip:mn@care-of-address    anchor → mobile node
//! ```
//! A caller's own anchor keeps state for an INVITE, as it may have to try its cache and then the ring, and so does a
//! server that has several contacts of the callee; all others forward statelessly (RFC 3261 §16.11).
//!
//! In redirect mode (the paper's registrar-and-redirect mode) the server that has the callee's contacts answers 302
//! with them, and the caller's anchor goes there.

mod auth;
mod best_response;
mod confirmation;
mod context;
mod leave;
mod loops;
mod overload;
mod proxy;
#[cfg(test)]
mod proxy_tests;
mod reconcile;
mod registrar;
mod registration;
mod repair;
mod replication;
mod ring;

use crate::cache::LocationCache;
use crate::flood::is_of_flood;
use crate::keys::RingKey;
use crate::node::{Census, Input, Node, Output, Transmit};
use crate::overlay::arc::Arc;
use crate::overlay::wire::OverlayRequest;
use crate::overlay::{Chord, Peer, Purpose, identifier_of};
use crate::random::Random;
use crate::sip::{Host, Method, Request, Response, Uri, Via, status};
use crate::timers::Timers;
use crate::transaction::{ClientKey, Hop, Incoming, ServerKey, Timing, TransactionEvent, Transactions};
use auth::Authenticator;
use confirmation::Confirmations;
use context::{Context, MAX_REDIRECTIONS, Timer};
use leave::Leaving;
use registrar::Registrar;
pub(crate) use registration::minted_uri;
use repair::Repairs;
use replication::{WriteNumber, Writes};
use samp_model::settings::SampSettings;
use samp_model::{Event, OverlayId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The response field that names the servers a request passed, first to last.
pub(crate) const PATH: &str = "SAMP-Path";
/// The response field that names the servers that each redirected request before passed, whom it was redirected by last;
/// the ways are parted by commas.
pub(crate) const REDIRECTED: &str = "SAMP-Redirected";
/// The response field in which the caller's anchor says what its cache did.
pub(crate) const CACHE: &str = "SAMP-Cache";
/// The response field that says that the callee has several contacts.
pub(crate) const FORKED: &str = "SAMP-Forked";
/// The methods that this server answers itself, for `Allow`.
const ALLOWED: &str = "ACK, CANCEL, OPTIONS, REGISTER";
/// The URI parameter of a Contact, and of the URI minted for it, that tells a user's terminals apart.
pub(crate) const INSTANCE: &str = "instance";
/// The URI parameter of an anchor-minted URI: the domain of the address-of-record.
const MINTED_FOR: &str = "gr";

/// A SAMP server.
#[derive(Debug)]
pub struct SampServer {
    me: Peer,
    settings: SampSettings,
    random: Random,
    chord: Chord,
    transactions: Transactions,
    /// Care-of addresses of the nodes that chose this server as anchor.
    anchored: Registrar,
    /// Care-of addresses of nodes that may yet choose this server.
    confirmations: Confirmations,
    /// Anchors of the nodes whose home this server is, and copies of its neighbours' bindings.
    home: Registrar,
    /// Of this server's writes; above all that it saw when it became the owner of what it owns.
    epoch: u64,
    /// None with `auth: off`.
    auth: Option<Authenticator>,
    /// The highest epoch that was heard of.
    seen_epoch: u64,
    writes: Writes,
    repairs: Repairs,
    leaving: Leaving,
    /// Tier 2: anchors of callees.
    tier2: LocationCache<String, SocketAddr>,
    /// Questions to other servers: who was asked, why, and what.
    asked: BTreeMap<ClientKey, (SocketAddr, Asked, OverlayRequest)>,
    /// Requests that are forwarded statefully.
    contexts: BTreeMap<ServerKey, Context>,
    /// Whose branch a client transaction is.
    branches: BTreeMap<ClientKey, ServerKey>,
    timers: Timers<Timer>,
    counts: (usize, usize),
    /// How long messages wait before they reach this server.
    lag: Duration,
    transmits: VecDeque<Transmit>,
    outputs: VecDeque<Output>,
}

/// Why another server was asked something: what its answer, or its silence, will mean.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// A question of the ring's.
    Ring(Purpose),
    /// Whether it holds a copy of what was written.
    Copy(WriteNumber),
    /// A question of the comparison with it.
    Reconcile,
    /// Who owns the first keys of an arc that is to be handed over.
    Owner(Arc),
}

impl SampServer {
    /// A server at `address` that joins the ring through `join`, or starts one. `key` is what all servers of a ring with
    /// `auth: digest` share; the others have none.
    pub fn new(
        address: SocketAddr,
        join: Option<SocketAddr>,
        settings: SampSettings,
        key: Option<RingKey>,
        seed: u64,
        now: Time,
    ) -> Self {
        let me = Peer::at(address);
        // A lifetime that the lab's own nodes ask for is never too short.
        let min_expires = settings.min_expires.min(settings.registration_lifetime).as_secs() as u32;
        let mut server = Self {
            me,
            random: Random::new(seed),
            chord: Chord::new(address, settings.chord.clone(), join, now),
            transactions: Transactions::new(Timing::from(&settings)),
            anchored: Registrar::new(min_expires),
            confirmations: Confirmations::default(),
            home: Registrar::new(min_expires),
            epoch: 1,
            auth: key.map(|key| Authenticator::new(key, now)),
            seen_epoch: 1,
            writes: Writes::default(),
            repairs: Repairs::new(now),
            leaving: Leaving::No,
            tier2: LocationCache::new(settings.tier2.clone()),
            asked: BTreeMap::new(),
            contexts: BTreeMap::new(),
            branches: BTreeMap::new(),
            timers: Timers::default(),
            counts: (0, 0),
            lag: Duration::ZERO,
            transmits: VecDeque::new(),
            outputs: VecDeque::new(),
            settings,
        };
        server.settle(now);
        server
    }

    fn handle_request(&mut self, now: Time, from: SocketAddr, to: IpAddr, request: Request) {
        if request.headers.max_forwards == Some(0) {
            return self.reply(&request, status::TOO_MANY_HOPS);
        }
        if self.refuse_overload(to, &request) {
            return;
        }
        match request.method {
            Method::Overlay => self.handle_overlay(now, from, request),
            Method::Register if to.is_multicast() && self.is_leaving() => {}
            Method::Register if to.is_multicast() => self.answer_discovery(now, from, &request),
            Method::Register => self.handle_register(now, request),
            Method::Options if request.uri.user.is_none() => self.answer_for_itself(&request),
            Method::Ack
                if request.uri.host == Host::Ip(self.me.address.ip()) && request.uri.user.is_none() =>
            {
                self.handle_confirmation(now, &request)
            }
            Method::Cancel => self.handle_cancel(now, request),
            _ if self.is_own(&request.uri) => self.answer_for_itself(&request),
            _ => self.proxy(now, request),
        }
    }

    /// Whether a URI means this server itself.
    fn is_own(&self, uri: &Uri) -> bool {
        uri.user.is_none() && uri.socket_address() == Some(self.me.address)
    }

    /// A server is no user agent: it says what it is able to, and refuses the rest (RFC 3261 §8.2, §11.2).
    fn answer_for_itself(&mut self, request: &Request) {
        let required = request.headers.get("Require");
        let code = match request.method {
            _ if required.is_some() => status::BAD_EXTENSION,
            Method::Options => status::OK,
            _ => status::METHOD_NOT_ALLOWED,
        };
        let mut response = request.response(code, &self.stateless_tag(request));
        response.headers.set("Allow", ALLOWED);
        required.into_iter().for_each(|required| response.headers.set("Unsupported", required));
        self.send_response(response);
    }

    fn pop_own_route(&self, request: &mut Request) {
        let mine = Some(self.me.address);
        if request.headers.route.first().is_some_and(|route| route.uri.socket_address() == mine) {
            request.headers.route.remove(0);
        }
    }

    /// Forwards statelessly.
    fn forward(&mut self, request: Request, hop: impl Into<Hop>) {
        let way = loops::way_of(&request);
        self.forward_on(request, hop.into(), &way);
    }

    /// Forwards statelessly a request that came on this way.
    fn forward_on(&mut self, mut request: Request, hop: Hop, way: &str) {
        let branch = loops::stateless_branch(&request, self.me.address, way);
        self.prepare_forward(&mut request, &branch, hop.address);
        self.transmits.push_back(Transmit::request(hop, request));
    }

    /// What every forwarded request gets (RFC 3261 §16.6).
    fn prepare_forward(&mut self, request: &mut Request, branch: &str, destination: SocketAddr) {
        request.headers.max_forwards =
            Some(request.headers.max_forwards.map_or(70, |hops| hops.saturating_sub(1)));
        request.headers.via.insert(0, Via::new(self.me.address, branch));
        if request.method == Method::Invite && !is_of_flood(&request.headers.call_id) {
            self.record(Event::InviteForwarded {
                call: request.headers.call_id.clone(),
                to: destination.ip(),
            });
        }
    }

    fn stateless_tag(&self, request: &Request) -> String {
        short(identifier_of(&format!("{} {}", request.headers.call_id, self.me.address)))
    }

    /// Answers without a transaction (RFC 3261 §8.2.7).
    fn reply(&mut self, request: &Request, code: u16) {
        if request.method != Method::Ack {
            let response = request.response(code, &self.stateless_tag(request));
            self.send_response(response);
        }
    }

    fn send_response(&mut self, response: Response) {
        self.transmits.extend(Transmit::response(response));
    }

    fn handle_response(&mut self, now: Time, key: ClientKey, response: Response) {
        if self.handle_vouched(now, &key, Some(&response)) {
            return;
        }
        if let Some(asked) = self.asked.remove(&key) {
            return self.handle_answer(now, asked, &response);
        }
        self.handle_branch_response(now, key, response);
    }

    /// A request has no answer: none in time (408), or it could not be sent (503; RFC 3261 §8.1.3.1).
    fn handle_transaction_failure(&mut self, now: Time, key: ClientKey, code: u16) {
        if self.handle_vouched(now, &key, None) {
            return;
        }
        if let Some(asked) = self.asked.remove(&key) {
            return self.handle_no_answer(now, asked);
        }
        self.handle_branch_failure(now, key, code);
    }

    fn record(&mut self, event: Event) {
        self.outputs.push_back(Output::Record(event));
    }

    /// Carries over what the ring's state machine wants and has to tell, and counts bindings.
    fn settle(&mut self, now: Time) {
        self.watch_ring(now);
        self.leave_when_ready(now);
        while let Some(gone) = self.chord.poll_buried() {
            self.record(Event::PeerFailed { id: Peer::at(gone).id });
            self.reroute(now, gone);
        }
        while let Some(ask) = self.chord.poll_ask() {
            self.ask(now, ask.to, Asked::Ring(ask.purpose), ask.request);
        }
        self.be_gone_when_told();
        while let Some(event) = self.chord.poll_event() {
            self.record(event);
        }
        let counts = (self.home.len(), self.anchored.len());
        if counts != self.counts {
            self.counts = counts;
            self.record(Event::BindingsChanged { home: counts.0 as u32, anchor: counts.1 as u32 });
        }
    }
}

/// The addresses-of-record that a registrar has live bindings of, each once.
fn names(registrar: &Registrar, now: Time) -> Vec<String> {
    let mut names: Vec<_> = registrar.all(now).map(|(name, _)| name.to_owned()).collect();
    names.dedup();
    names
}

/// The first 64 bits of a hash, as text.
fn short(id: OverlayId) -> String {
    let mut text = id.to_string();
    text.truncate(16);
    text
}

fn join(path: &[IpAddr]) -> String {
    path.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Servers of a way that are read at most: more than Max-Forwards lets a request pass.
pub(crate) const MAX_PATH: usize = 256;

/// The servers that a [`PATH`] field names.
pub(crate) fn path_of(response: &Response) -> Vec<IpAddr> {
    let path = response.headers.get(PATH).unwrap_or("");
    path.split(',').filter_map(|word| word.trim().parse().ok()).take(MAX_PATH).collect()
}

/// The ways that a [`REDIRECTED`] field names.
pub(crate) fn redirected_ways(response: &Response) -> Vec<Vec<IpAddr>> {
    let ways = response.headers.get(REDIRECTED).unwrap_or("").split(',').take(MAX_REDIRECTIONS);
    let way = |way: &str| {
        way.split_whitespace().filter_map(|word| word.parse().ok()).take(MAX_PATH).collect::<Vec<_>>()
    };
    ways.map(way).filter(|way| !way.is_empty()).collect()
}

impl Node for SampServer {
    fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::Message { from, to, message, .. } => match self.transactions.receive(now, from, message) {
                Incoming::Absorbed => {}
                Incoming::Request(request) => self.handle_request(now, from, to, request),
                Incoming::Response(key, response) => self.handle_response(now, key, response),
                Incoming::Stray(response) => self.pass_back(response),
            },
            Input::TransportError(transmit) => {
                if let Some(key) = self.transactions.handle_transport_error(now, &transmit) {
                    self.handle_transaction_failure(now, key, status::UNAVAILABLE);
                }
            }
            Input::Lag(lag) => return self.lag = lag,
            Input::Leave => self.leave(now),
            _ => return,
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        for TransactionEvent::TimedOut(key) in self.transactions.handle_timeout(now) {
            self.handle_transaction_failure(now, key, status::REQUEST_TIMEOUT);
        }
        while let Some(timer) = self.timers.expired(now) {
            self.handle_context_timer(now, timer);
        }
        self.chord.handle_timeout(now);
        self.expire_writes(now);
        if self.repairs.next <= now && !self.is_leaving() {
            self.repair(now);
        }
        self.anchored.expire(now);
        self.home.expire(now);
        self.settle(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front().or_else(|| self.transactions.poll_transmit())
    }

    fn poll_timeout(&self) -> Option<Time> {
        let expiry = self.anchored.next_expiry().into_iter().chain(self.home.next_expiry()).min();
        let repair = Some(self.repairs.next).filter(|_| !self.is_leaving());
        [
            self.transactions.poll_timeout(),
            self.timers.next(),
            self.chord.poll_timeout(),
            self.writes.next_deadline(),
            repair,
            self.leave_deadline(),
            expiry,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn poll_event(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn census(&self, now: Time) -> Census {
        Census {
            transactions: self.transactions.len(),
            unanswered: self.transactions.unanswered(),
            asked: self.asked.len(),
            pending: self.contexts.len()
                + self.writes.len()
                + self.repairs.len()
                + self.auth.as_ref().map_or(0, Authenticator::waiting),
            calls: 0,
            cached: self.tier2.len(),
            records: self.home.records() + self.anchored.records(),
            home: names(&self.home, now),
            anchored: names(&self.anchored, now),
        }
    }
}
