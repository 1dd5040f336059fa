//! The transaction layer over UDP and TCP (RFC 3261 §17 as corrected by RFC 6026, and §18.1.1).
//!
//! The user (a server or user agent core) sends requests through [`Transactions::send`], gives every incoming
//! message to [`Transactions::receive`] first, and answers a request that came through by
//! [`Transactions::accept`] and [`Transactions::respond`].

mod followers;
mod invite_client;
mod invite_server;
mod machine;
mod name;
mod non_invite_client;
mod non_invite_server;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use crate::node::Transmit;
use crate::sip::{Message, Method, Request, Response, Transport, Uri, parse};
use crate::timers::Timers;
pub(crate) use followers::{ack, in_the_steps_of};
pub(crate) use machine::Timing;
use machine::{Action, Event, Machine, State, Timer};
use name::Name;
use samp_model::Time;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Requests above this length, in bytes, go over TCP when the path's MTU is not known (RFC 3261 §18.1.1).
const MAX_OVER_UDP: usize = 1_300;
/// Server transactions at most; a bound on memory that only a flood reaches: they last for 64·T1, so these are 100,000
/// requests a second.
const MAX_SERVERS: usize = 3_200_000;

/// Where a message goes next, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
}

impl Hop {
    /// Where a URI leads to; none when its host is a name.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        Some(Self { address: uri.socket_address()?, transport: uri.transport() })
    }

    /// The transport for this request: TCP where it is too long for UDP (RFC 3261 §18.1.1).
    pub(crate) fn transport_for(self, request: &Request) -> Transport {
        if self.transport == Transport::Udp && request.is_longer_than(MAX_OVER_UDP) {
            return Transport::Tcp;
        }
        self.transport
    }
}

impl From<SocketAddr> for Hop {
    fn from(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp }
    }
}

/// Names a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey(u64);

/// Names a server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerKey(u64);

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

/// All transactions of one element.
#[derive(Debug)]
pub(crate) struct Transactions {
    timing: Timing,
    transactions: BTreeMap<u64, Transaction>,
    by_name: BTreeMap<Name, u64>,
    servers: usize,
    next: u64,
    timers: Timers<(u64, Timer)>,
    transmits: VecDeque<Transmit>,
}

#[derive(Debug)]
struct Transaction {
    machine: Machine,
    state: State,
    name: Name,
    hop: Hop,
    timing: Timing,
    /// What A, E or G was last set to.
    interval: Duration,
    /// None as long as a server has not answered.
    kept: Option<Kept>,
    /// Client: a CANCEL is to go out with the first provisional response.
    cancel_wanted: bool,
    /// Client: it goes over TCP for its length only.
    is_too_long_for_udp: bool,
}

/// What a transaction may have to send again.
#[derive(Debug)]
enum Kept {
    /// A client's request.
    Request(Arc<Message>),
    /// A server's last response, in its wire form: there may be a million, and few are asked for again.
    Response(Arc<[u8]>),
}

impl Transaction {
    fn is_client(&self) -> bool {
        matches!(self.machine, Machine::InviteClient | Machine::NonInviteClient)
    }

    /// A client's request.
    fn request(&self) -> Option<&Request> {
        match self.kept.as_ref()? {
            Kept::Request(message) => match &**message {
                Message::Request(request) => Some(request),
                Message::Response(_) => None,
            },
            Kept::Response(_) => None,
        }
    }

    /// What it last sent.
    fn sent(&self) -> Option<Transmit> {
        Some(match self.kept.as_ref()? {
            Kept::Request(message) => transmit(self.hop, Arc::clone(message)),
            Kept::Response(wire) => {
                let message = Arc::new(parse(wire).ok()?);
                Transmit { wire: Some(Arc::clone(wire)), ..transmit(self.hop, message) }
            }
        })
    }
}

/// What an event means for the user.
#[derive(Clone, Copy, Debug, Default)]
struct Notice {
    pass: bool,
    /// Timed out, or the transport failed.
    failed: bool,
}

impl Transactions {
    /// A layer with these values for the timers.
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            timing,
            transactions: BTreeMap::new(),
            by_name: BTreeMap::new(),
            servers: 0,
            next: 0,
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
        hop: impl Into<Hop>,
        deadline: Option<Duration>,
    ) -> ClientKey {
        self.send_paced(now, request, hop, self.timing.t1, deadline)
    }

    /// As [`send`](Self::send), but retransmitting first after `t1`: RFC 3261 §17.1.1.1 lets elements in a private
    /// network choose a T1 below 500 ms.
    pub(crate) fn send_paced(
        &mut self,
        now: Time,
        mut request: Request,
        hop: impl Into<Hop>,
        t1: Duration,
        deadline: Option<Duration>,
    ) -> ClientKey {
        let asked = hop.into();
        let hop = Hop { transport: asked.transport_for(&request), ..asked };
        if let Some(via) = request.headers.via.first_mut() {
            via.set_transport(hop.transport);
        }
        let transaction = Transaction {
            machine: Machine::client(&request.method),
            state: State::Terminated,
            name: Name::of_sent(&request),
            hop,
            timing: Timing { t1, ..self.timing },
            interval: t1,
            is_too_long_for_udp: hop.transport != asked.transport,
            kept: Some(Kept::Request(Arc::new(Message::Request(request)))),
            cancel_wanted: false,
        };
        let id = self.insert(transaction);
        self.begin(now, id, deadline);
        ClientKey(id)
    }

    fn begin(&mut self, now: Time, id: u64, deadline: Option<Duration>) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        let (state, actions) = transaction.machine.begin();
        transaction.state = state;
        self.act(now, id, actions, None);
        if let Some(deadline) = deadline {
            let invite = self.transactions.get(&id).is_some_and(|it| it.machine == Machine::InviteClient);
            self.timers.set((id, if invite { Timer::B } else { Timer::F }), now + deadline);
        }
    }

    fn insert(&mut self, transaction: Transaction) -> u64 {
        let id = self.next;
        self.next += 1;
        self.servers += usize::from(!transaction.is_client());
        if let Some(old) = self.by_name.insert(transaction.name, id) {
            self.remove(old);
        }
        self.transactions.insert(id, transaction);
        id
    }

    /// Where a request of a client transaction was sent that has not been answered by a word yet.
    pub(crate) fn unheard(&self, key: &ClientKey) -> Option<SocketAddr> {
        let transaction = self.transactions.get(&key.0)?;
        matches!(transaction.state, State::Calling | State::Trying).then_some(transaction.hop.address)
    }

    /// Stops a client transaction: its user no longer wants to hear of it.
    pub(crate) fn forget(&mut self, key: &ClientKey) {
        self.remove(key.0);
    }

    /// Ends a server transaction without a final response, which RFC 4320 §4.2 wants where 408 would come too late.
    pub(crate) fn abandon(&mut self, key: &ServerKey) {
        self.remove(key.0);
    }

    /// Cancels an INVITE that has no final response yet (RFC 3261 §9.1): at once, or as soon as a provisional response
    /// allows it. After the CANCEL the final response has 64·T1 to come; then the transaction times out. Says whether there
    /// was something to cancel.
    pub(crate) fn cancel(&mut self, now: Time, key: &ClientKey) -> bool {
        let Some(transaction) = self.transactions.get_mut(&key.0) else { return false };
        if transaction.machine != Machine::InviteClient || !transaction.state.is_pending() {
            return false;
        }
        if transaction.state != State::Proceeding {
            transaction.cancel_wanted = true;
            return true;
        }
        let Some(request) = transaction.request() else { return false };
        let (cancel, hop) = (in_the_steps_of(request, Method::Cancel), transaction.hop);
        self.timers.set((key.0, Timer::B), now + self.timing.patience());
        self.send(now, cancel, hop, None);
        true
    }

    /// Takes in a message; the source of a request is noted in its topmost Via.
    pub(crate) fn receive(&mut self, now: Time, from: SocketAddr, message: Message) -> Incoming {
        match message {
            Message::Request(mut request) => {
                let Some(name) = Name::of_received(&request) else { return Incoming::Absorbed };
                if let Some(via) = request.headers.via.first_mut() {
                    via.note_source(from);
                }
                let Some(&id) = self.by_name.get(&name) else { return Incoming::Request(request) };
                let event = if request.method == Method::Ack { Event::Ack } else { Event::Request };
                let notice = self.handle(now, id, event, None);
                if notice.pass { Incoming::Request(request) } else { Incoming::Absorbed }
            }
            Message::Response(response) => {
                let Some(name) = Name::of_response(&response) else { return Incoming::Absorbed };
                let Some(&id) = self.by_name.get(&name) else { return Incoming::Stray(response) };
                let notice = self.handle(now, id, Event::of(&response), Some(&response));
                let wants_cancel = |it: &Transaction| it.cancel_wanted && it.state == State::Proceeding;
                if let Some(transaction) = self.transactions.get_mut(&id).filter(|it| wants_cancel(it)) {
                    transaction.cancel_wanted = false;
                    self.cancel(now, &ClientKey(id));
                }
                if notice.pass { Incoming::Response(ClientKey(id), response) } else { Incoming::Absorbed }
            }
        }
    }

    /// Opens a server transaction for a request that [`receive`](Self::receive) passed on; none when nobody could be
    /// answered, or there are too many.
    pub(crate) fn accept(&mut self, request: &Request) -> Option<ServerKey> {
        if self.servers >= MAX_SERVERS {
            return None;
        }
        let via = request.top_via()?;
        let hop = Hop { address: via.response_address()?, transport: via.transport() };
        let machine = Machine::server(&request.method);
        Some(ServerKey(self.insert(Transaction {
            machine,
            state: machine.begin().0,
            name: Name::of_received(request)?,
            hop,
            timing: self.timing,
            interval: self.timing.t1,
            kept: None,
            cancel_wanted: false,
            is_too_long_for_udp: false,
        })))
    }

    /// The server transaction of the INVITE that a CANCEL is about, if there is one (RFC 3261 §9.2).
    pub(crate) fn cancelled_by(&self, cancel: &Request) -> Option<ServerKey> {
        self.by_name.get(&Name::of_cancelled(cancel)?).copied().map(ServerKey)
    }

    /// Sends a response in its server transaction; without the transaction, nothing is sent.
    pub(crate) fn respond(&mut self, now: Time, key: &ServerKey, response: Response) {
        let Some(transaction) = self.transactions.get_mut(&key.0) else { return };
        let event = Event::of(&response);
        let (_, actions) = transaction.machine.step(transaction.state, event);
        if actions.contains(&Action::Send) {
            let message = Arc::new(Message::Response(response));
            let wire: Arc<[u8]> = message.to_bytes().into();
            transaction.kept = Some(Kept::Response(Arc::clone(&wire)));
            self.transmits.push_back(Transmit { wire: Some(wire), ..transmit(transaction.hop, message) });
            self.handle(now, key.0, event, None);
        }
    }

    /// The transport could not send this (RFC 3261 §18.4). Returns the client transaction that has failed, as if
    /// answered by 503 (§8.1.3.1). What went over TCP for its length only goes over UDP then (§18.1.1).
    pub(crate) fn handle_transport_error(&mut self, now: Time, transmit: &Transmit) -> Option<ClientKey> {
        let name = match &*transmit.message {
            Message::Request(request) => Name::of_sent(request),
            Message::Response(response) => Name::of_answered(response)?,
        };
        let &id = self.by_name.get(&name)?;
        let transaction = self.transactions.get_mut(&id)?;
        if std::mem::take(&mut transaction.is_too_long_for_udp) && transaction.state.is_pending() {
            let mut request = transaction.request()?.clone();
            request.headers.via.first_mut()?.set_transport(Transport::Udp);
            transaction.hop.transport = Transport::Udp;
            transaction.kept = Some(Kept::Request(Arc::new(Message::Request(request))));
            self.begin(now, id, None);
            return None;
        }
        let is_client = transaction.is_client();
        let notice = self.handle(now, id, Event::TransportError, None);
        (is_client && notice.failed).then_some(ClientKey(id))
    }

    /// How many transactions there are.
    pub(crate) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// How many of them wait for their final response.
    pub(crate) fn unanswered(&self) -> usize {
        self.transactions.values().filter(|transaction| transaction.state.is_pending()).count()
    }

    /// Lets the timers that are due do their work.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<TransactionEvent> {
        let mut events = Vec::new();
        while let Some((id, timer)) = self.timers.expired(now) {
            let is_client = self.transactions.get(&id).is_some_and(Transaction::is_client);
            let notice = self.handle(now, id, Event::Fired(timer), None);
            if is_client && notice.failed {
                events.push(TransactionEvent::TimedOut(ClientKey(id)));
            }
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

    /// Lets an event happen to a transaction; `response` is what came with it.
    fn handle(&mut self, now: Time, id: u64, event: Event, response: Option<&Response>) -> Notice {
        let Some(transaction) = self.transactions.get_mut(&id) else { return Notice::default() };
        let (state, actions) = transaction.machine.step(transaction.state, event);
        transaction.state = state;
        let notice = self.act(now, id, actions, response);
        if self.transactions.get(&id).is_some_and(|it| it.state == State::Terminated) {
            self.remove(id);
        }
        notice
    }

    fn act(&mut self, now: Time, id: u64, actions: &[Action], response: Option<&Response>) -> Notice {
        let mut notice = Notice::default();
        let Some(transaction) = self.transactions.get_mut(&id) else { return notice };
        let timing = transaction.timing;
        for action in actions {
            match *action {
                // By `respond`, which has the response.
                Action::Send => {}
                Action::SendAgain => self.transmits.extend(transaction.sent()),
                Action::Acknowledge => {
                    if let (Some(invite), Some(response)) = (transaction.request(), response) {
                        let ack = Arc::new(Message::Request(ack(invite, response)));
                        self.transmits.push_back(transmit(transaction.hop, ack));
                    }
                }
                Action::Pass => notice.pass = true,
                Action::TimedOut | Action::Failed => notice.failed = true,
                Action::Start(timer) => match timing.of(timer, transaction.hop.transport) {
                    Some(Duration::ZERO) => transaction.state = State::Terminated,
                    Some(after) => self.timers.set((id, timer), now + after),
                    None => {}
                },
                Action::Double(timer) => {
                    let longest = if timer == Timer::A { Duration::MAX } else { timing.t2 };
                    transaction.interval = (2 * transaction.interval).min(longest);
                    self.timers.set((id, timer), now + transaction.interval);
                }
                Action::Slow(timer) => {
                    transaction.interval = timing.t2;
                    self.timers.set((id, timer), now + timing.t2);
                }
                Action::Stop(timer) => self.timers.stop(&(id, timer)),
            }
        }
        notice
    }

    fn remove(&mut self, id: u64) {
        let Some(transaction) = self.transactions.remove(&id) else { return };
        self.timers.stop_all((id, Timer::FIRST)..=(id, Timer::LAST));
        self.servers -= usize::from(!transaction.is_client());
        if self.by_name.get(&transaction.name) == Some(&id) {
            self.by_name.remove(&transaction.name);
        }
    }
}

fn transmit(hop: Hop, message: Arc<Message>) -> Transmit {
    Transmit::new(hop.address, hop.transport, message)
}
