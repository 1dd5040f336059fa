//! The DHCP client of a mobile node (RFC 2131 §4.4, figure 5).
//!
//! ```text
//! link up ─▶ INIT ──delay──▶ SELECTING ──OFFER──▶ REQUESTING ──ACK──▶ BOUND ──T1──▶ RENEWING ──T2──▶ REBINDING
//!             ▲                  └─────ACK (rapid commit)──────────▶    ▲ └───────────ACK───────────────┘ │
//!             └──────────────── NAK, or the lease is over ──────────────┴──────────────────────────────────┘
//! ```
//!
//! It is told that the link is another one, so it does not ask for its old address first (INIT-REBOOT). It does not probe
//! the address that it gets by ARP (§4.4.1 would have it), as the server knows who has which.

use super::message::Message;
use crate::random::Random;
use samp_model::Time;
use samp_model::record::DhcpMessage;
use samp_model::settings::AddressSettings;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The longest interval between retransmissions is the first one times this (RFC 2131 §4.1: 4 s to 64 s).
const LONGEST_BACK_OFF: u32 = 16;
/// A request for an offered address is sent so often before all begins anew (RFC 2131 §3.1, point 5).
const REQUESTS: u32 = 5;
/// The shortest interval between requests for more time (RFC 2131 §4.4.5).
const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// Draws are made in steps of this.
const STEP: Duration = Duration::from_micros(100);

/// A client with one interface.
#[derive(Debug)]
pub struct Client {
    mac: [u8; 6],
    settings: AddressSettings,
    random: Random,
    transaction: u32,
    state: State,
    /// When something is to be done next.
    due: Option<Time>,
    outputs: VecDeque<ClientOutput>,
}

/// What the client wants from its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Send this.
    Send(Message, Destination),
    /// The message that was waited for has come.
    Received(DhcpMessage),
    /// The address is this node's from now on.
    Bound(Lease),
    /// The address is not this node's any more.
    Lost,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To everybody on the link, from no address (RFC 2131 §4.1).
    Unbound,
    /// To everybody on the link, from the client's address.
    Broadcast,
    /// To this server.
    Server(Ipv4Addr),
}

/// An address, and the way out of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The router.
    pub router: Ipv4Addr,
}

#[derive(Clone, Debug)]
enum State {
    /// There has been no link yet.
    Down,
    Init,
    Selecting {
        sent: u32,
    },
    Requesting {
        sent: u32,
        offer: Offer,
    },
    Bound(Bound),
    Renewing(Bound),
    Rebinding(Bound),
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    lease: Lease,
    server: Ipv4Addr,
    /// When it began, and how long it lasts.
    since: Time,
    lasts: Duration,
}

impl Bound {
    /// T1, T2 and the end (RFC 2131 §4.4.5).
    fn instants(&self) -> [Time; 3] {
        [self.lasts / 2, self.lasts / 8 * 7, self.lasts].map(|after| self.since + after)
    }
}

impl Client {
    /// The client of an interface with this link-layer address, which has no link yet.
    pub fn new(mac: [u8; 6], settings: AddressSettings, seed: u64) -> Self {
        let random = Random::new(seed);
        Self {
            mac,
            settings,
            random,
            transaction: 0,
            state: State::Down,
            due: None,
            outputs: VecDeque::new(),
        }
    }

    /// The interface has come to another link; what went on at the old one is over.
    pub fn handle_link_up(&mut self, now: Time) {
        self.outputs.clear();
        let [shortest, longest] = self.settings.dhcp_delay;
        let delay = self.random.duration("dhcp delay", shortest, longest, STEP);
        self.begin(now, now + delay);
    }

    /// A message has arrived. What is not for this client, or not waited for, changes nothing.
    pub fn handle_message(&mut self, now: Time, message: &Message) {
        if message.mac != self.mac || message.transaction != self.transaction {
            return;
        }
        match (self.state.clone(), message.kind) {
            (State::Selecting { .. }, DhcpMessage::Offer) => {
                let (Some(address), Some(server)) = (message.your_address, message.server) else { return };
                self.outputs.push_back(ClientOutput::Received(message.kind));
                let offer = Offer { address, server };
                self.state = State::Requesting { sent: 0, offer };
                self.request_offered(now, 0, offer);
            }
            (State::Selecting { .. }, DhcpMessage::Ack)
                if message.rapid_commit && self.settings.rapid_commit =>
            {
                self.bind(now, message);
            }
            (State::Requesting { offer, .. }, DhcpMessage::Ack)
                if message.your_address == Some(offer.address) =>
            {
                self.bind(now, message);
            }
            (State::Requesting { .. }, DhcpMessage::Nak) => {
                self.outputs.push_back(ClientOutput::Received(message.kind));
                self.begin(now, now + self.settings.dhcp_retransmit);
            }
            (State::Renewing(bound) | State::Rebinding(bound), DhcpMessage::Ack)
                if message.your_address == Some(bound.lease.address) =>
            {
                self.bind(now, message);
            }
            (State::Renewing(_) | State::Rebinding(_), DhcpMessage::Nak) => {
                self.outputs.push_back(ClientOutput::Received(message.kind));
                self.lose(now);
            }
            _ => {}
        }
    }

    /// The instant that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        match self.state.clone() {
            State::Down => self.due = None,
            State::Init => {
                self.transaction = self.random.index("dhcp transaction", usize::MAX) as u32;
                self.discover(now, 0);
            }
            State::Selecting { sent } => self.discover(now, sent),
            State::Requesting { sent: REQUESTS.., .. } => self.begin(now, now),
            State::Requesting { sent, offer } => self.request_offered(now, sent, offer),
            State::Bound(bound) | State::Renewing(bound) | State::Rebinding(bound) => self.renew(now, bound),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// The next thing that is wanted.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// Enters INIT, until `due`.
    fn begin(&mut self, now: Time, due: Time) {
        self.state = State::Init;
        self.due = Some(due);
        self.handle_timeout(now);
    }

    fn discover(&mut self, now: Time, sent: u32) {
        let message =
            Message { rapid_commit: self.settings.rapid_commit, ..self.message(DhcpMessage::Discover) };
        self.outputs.push_back(ClientOutput::Send(message, Destination::Unbound));
        self.state = State::Selecting { sent: sent + 1 };
        self.due = Some(now + self.back_off(sent));
    }

    fn request_offered(&mut self, now: Time, sent: u32, offer: Offer) {
        let message = Message {
            requested: Some(offer.address),
            server: Some(offer.server),
            ..self.message(DhcpMessage::Request)
        };
        self.outputs.push_back(ClientOutput::Send(message, Destination::Unbound));
        self.state = State::Requesting { sent: sent + 1, offer };
        self.due = Some(now + self.back_off(sent));
    }

    /// Asks for more time, first the server, then everybody, until there is none left.
    fn renew(&mut self, now: Time, bound: Bound) {
        let [_, t2, end] = bound.instants();
        if now >= end {
            return self.lose(now);
        }
        let (until, destination, state) = if now < t2 {
            (t2, Destination::Server(bound.server), State::Renewing(bound))
        } else {
            (end, Destination::Broadcast, State::Rebinding(bound))
        };
        let message = Message {
            broadcast: false,
            client_address: Some(bound.lease.address),
            ..self.message(DhcpMessage::Request)
        };
        self.outputs.push_back(ClientOutput::Send(message, destination));
        self.state = state;
        let next = now + ((until - now) / 2).max(RENEWAL_INTERVAL);
        self.due = Some(next.min(until));
    }

    fn bind(&mut self, now: Time, message: &Message) {
        let (Some(address), Some(server), Some(lasts)) =
            (message.your_address, message.server, message.lease)
        else {
            return;
        };
        self.outputs.push_back(ClientOutput::Received(message.kind));
        let is_new = !matches!(self.state, State::Renewing(_) | State::Rebinding(_));
        let lease = Lease { address, router: message.router.unwrap_or(server) };
        let bound = Bound { lease, server, since: now, lasts };
        self.state = State::Bound(bound);
        self.due = Some(bound.instants()[0]);
        if is_new {
            self.outputs.push_back(ClientOutput::Bound(lease));
        }
    }

    fn lose(&mut self, now: Time) {
        self.outputs.push_back(ClientOutput::Lost);
        self.begin(now, now);
    }

    fn message(&self, kind: DhcpMessage) -> Message {
        Message { broadcast: true, ..Message::new(kind, self.transaction, self.mac) }
    }

    /// The time until the next retransmission: twice the one before, and a quarter of the first one more or less.
    fn back_off(&mut self, sent: u32) -> Duration {
        let first = self.settings.dhcp_retransmit;
        let mean = first * LONGEST_BACK_OFF.min(1 << sent.min(16));
        self.random.duration("dhcp back-off", mean - first / 4, mean + first / 4, STEP)
    }
}

#[cfg(test)]
mod tests;
