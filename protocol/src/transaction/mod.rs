//! The transaction layer over UDP (RFC 3261 §17 as corrected by RFC 6026).
//!
//! The user (a server or user agent core) sends requests through [`Transactions::send`], gives every incoming
//! message to [`Transactions::receive`] first, and answers a request that came through by
//! [`Transactions::accept`] and [`Transactions::respond`].

pub(crate) mod client;
mod server;
#[cfg(test)]
mod tests;

use crate::node::Transmit;
use crate::sip::{Message, Method, Request, Response, Transport};
use crate::timers::Timers;
use client::Client;
use samp_model::Time;
use server::Server;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// T2 (RFC 3261 §17.1.2.2): the longest interval between retransmissions of a non-INVITE request or a final response.
const T2: Duration = Duration::from_secs(4);
/// T4 (RFC 3261 §17.1.2.2): how long a message may live in the network.
const T4: Duration = Duration::from_secs(5);
/// Timer D: at least 32 s over UDP (RFC 3261 §17.1.1.2).
const TIMER_D: Duration = Duration::from_secs(32);

/// Names a client transaction (RFC 3261 §17.1.3): its branch and the method of its CSeq.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey {
    branch: String,
    method: Method,
}

/// Names a server transaction (RFC 3261 §17.2.3): branch, sent-by and method, where ACK counts as INVITE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerKey {
    branch: String,
    sent_by: String,
    method: Method,
}

impl ServerKey {
    fn of(request: &Request) -> Option<Self> {
        let via = request.top_via()?;
        Some(Self {
            branch: via.branch().to_owned(),
            sent_by: format!("{}:{}", via.host, via.port.unwrap_or(5060)),
            method: if request.method == Method::Ack { Method::Invite } else { request.method.clone() },
        })
    }

    /// The INVITE that this CANCEL is about (RFC 3261 §9.2).
    pub(crate) fn cancelled(&self) -> Self {
        Self { method: Method::Invite, ..self.clone() }
    }
}

/// What the layer makes of an incoming message.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The layer has dealt with it.
    Absorbed,
    /// No transaction knows this request: a new one, or an ACK to a 2xx.
    Request(Request),
    /// A response for the user, by the transaction that it belongs to.
    Response(ClientKey, Response),
    /// No transaction knows this response.
    Stray(Response),
}

/// What a timer did.
#[derive(Debug, PartialEq)]
pub(crate) enum TransactionEvent {
    /// No final response came (timers B and F, or the user's own deadline).
    TimedOut(ClientKey),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Client(ClientKey),
    Server(ServerKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKind {
    /// A, E, G.
    Retransmit,
    /// B, F, H, or the user's deadline.
    Timeout,
    /// D, I, J, K, L, M: how long a finished transaction absorbs stragglers.
    Linger,
}

/// All transactions of one element.
#[derive(Debug)]
pub(crate) struct Transactions {
    t1: Duration,
    clients: BTreeMap<ClientKey, Client>,
    servers: BTreeMap<ServerKey, Server>,
    timers: Timers<(Key, TimerKind)>,
    transmits: VecDeque<Transmit>,
}

/// What a state machine wants done, whichever it is.
#[derive(Debug, Default)]
struct Effects {
    send: Option<Message>,
    set: Vec<(TimerKind, Duration)>,
    stop: Vec<TimerKind>,
    timed_out: bool,
    terminated: bool,
}

impl Effects {
    fn none() -> Self {
        Self::default()
    }

    fn send(message: Message) -> Self {
        Self { send: Some(message), ..Self::default() }
    }

    fn and_set(mut self, timer: TimerKind, after: Duration) -> Self {
        self.set.push((timer, after));
        self
    }

    fn and_stop(mut self, timers: &[TimerKind]) -> Self {
        self.stop.extend_from_slice(timers);
        self
    }

    fn terminate() -> Self {
        Self { terminated: true, ..Self::default() }
    }
}

impl Transactions {
    /// A layer with this T1 (RFC 3261 §17.1.1.1).
    pub(crate) fn new(t1: Duration) -> Self {
        Self {
            t1,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            timers: Timers::default(),
            transmits: VecDeque::new(),
        }
    }

    /// Sends a request, whose topmost Via carries a fresh branch, in a client transaction.
    ///
    /// The transaction times out after 64·T1 (timers B and F), or after `deadline` when that is given; as timer B,
    /// the deadline of an INVITE ends with the first provisional response.
    pub(crate) fn send(
        &mut self,
        now: Time,
        request: Request,
        destination: SocketAddr,
        deadline: Option<Duration>,
    ) -> ClientKey {
        self.send_paced(now, request, destination, self.t1, deadline)
    }

    /// As [`send`](Self::send), but retransmitting first after `t1`: RFC 3261 §17.1.1.1 lets elements in a private
    /// network choose a T1 below 500 ms.
    pub(crate) fn send_paced(
        &mut self,
        now: Time,
        request: Request,
        destination: SocketAddr,
        t1: Duration,
        deadline: Option<Duration>,
    ) -> ClientKey {
        let branch = request.top_via().map(|via| via.branch().to_owned()).unwrap_or_default();
        let key = ClientKey { branch, method: request.method.clone() };
        let (client, effects) = Client::new(request, destination, t1, deadline);
        self.clients.insert(key.clone(), client);
        self.apply(now, Key::Client(key.clone()), destination, effects);
        key
    }

    /// Stops a client transaction: its user no longer wants to hear of it.
    pub(crate) fn forget(&mut self, key: &ClientKey) {
        self.remove(&Key::Client(key.clone()));
    }

    /// The request of a client transaction that still waits for its final response.
    pub(crate) fn pending_request(&self, key: &ClientKey) -> Option<(&Request, SocketAddr)> {
        self.clients
            .get(key)
            .filter(|client| client.is_pending())
            .map(|client| (client.request(), client.destination()))
    }

    /// Takes in a message; the source of a request is noted in its topmost Via.
    pub(crate) fn receive(&mut self, now: Time, from: SocketAddr, message: Message) -> Incoming {
        match message {
            Message::Request(mut request) => {
                let Some(key) = ServerKey::of(&request) else { return Incoming::Absorbed };
                if let Some(via) = request.headers.via.first_mut() {
                    via.note_source(from);
                }
                let Some(server) = self.servers.get_mut(&key) else { return Incoming::Request(request) };
                let (effects, destination) = (server.handle_request(&request.method), server.destination());
                if request.method == Method::Ack && server.passes_ack() {
                    return Incoming::Request(request);
                }
                self.apply(now, Key::Server(key), destination, effects);
                Incoming::Absorbed
            }
            Message::Response(response) => {
                let Some(via) = response.headers.via.first() else { return Incoming::Absorbed };
                let key = ClientKey {
                    branch: via.branch().to_owned(),
                    method: response.headers.cseq_method.clone(),
                };
                let Some(client) = self.clients.get_mut(&key) else { return Incoming::Stray(response) };
                let (effects, pass) = client.handle_response(&response, self.t1);
                let destination = client.destination();
                self.apply(now, Key::Client(key.clone()), destination, effects);
                if pass { Incoming::Response(key, response) } else { Incoming::Absorbed }
            }
        }
    }

    /// Opens a server transaction for a request that [`receive`](Self::receive) passed on.
    pub(crate) fn accept(&mut self, request: &Request) -> Option<ServerKey> {
        let key = ServerKey::of(request)?;
        let destination = request.top_via()?.response_address()?;
        self.servers.insert(key.clone(), Server::new(request.method == Method::Invite, destination));
        Some(key)
    }

    /// Whether this server transaction exists.
    pub(crate) fn has_server(&self, key: &ServerKey) -> bool {
        self.servers.contains_key(key)
    }

    /// The key under which [`accept`](Self::accept) would open a transaction.
    pub(crate) fn server_key(request: &Request) -> Option<ServerKey> {
        ServerKey::of(request)
    }

    /// Sends a response in its server transaction; without the transaction, nothing is sent.
    pub(crate) fn respond(&mut self, now: Time, key: &ServerKey, response: Response) {
        let Some(server) = self.servers.get_mut(key) else { return };
        let (effects, destination) = (server.respond(response, self.t1), server.destination());
        self.apply(now, Key::Server(key.clone()), destination, effects);
    }

    /// How many transactions there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// How many of them wait for their final response.
    pub(crate) fn unanswered(&self) -> usize {
        let clients = self.clients.values().filter(|client| client.is_pending()).count();
        clients + self.servers.values().filter(|server| server.is_pending()).count()
    }

    /// Lets the timers that are due do their work.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<TransactionEvent> {
        let mut events = Vec::new();
        while let Some((key, timer)) = self.timers.expired(now) {
            let (effects, destination) = match &key {
                Key::Client(name) => match self.clients.get_mut(name) {
                    Some(client) => (client.handle_timer(timer), client.destination()),
                    None => continue,
                },
                Key::Server(name) => match self.servers.get_mut(name) {
                    Some(server) => (server.handle_timer(timer), server.destination()),
                    None => continue,
                },
            };
            if let (true, Key::Client(name)) = (effects.timed_out, &key) {
                events.push(TransactionEvent::TimedOut(name.clone()));
            }
            self.apply(now, key, destination, effects);
        }
        events
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next message to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn apply(&mut self, now: Time, key: Key, destination: SocketAddr, effects: Effects) {
        if let Some(message) = effects.send {
            let (transport, message) = (Transport::Udp, Arc::new(message));
            self.transmits.push_back(Transmit { destination, transport, message, ttl: None });
        }
        for timer in effects.stop {
            self.timers.stop(&(key.clone(), timer));
        }
        for (timer, after) in effects.set {
            self.timers.set((key.clone(), timer), now + after);
        }
        if effects.terminated {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        for timer in [TimerKind::Retransmit, TimerKind::Timeout, TimerKind::Linger] {
            self.timers.stop(&(key.clone(), timer));
        }
        match key {
            Key::Client(key) => drop(self.clients.remove(key)),
            Key::Server(key) => drop(self.servers.remove(key)),
        }
    }
}
