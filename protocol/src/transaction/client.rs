//! The two client transactions.
//!
//! ```text
//! INVITE (RFC 3261 §17.1.1, RFC 6026 §8.4)          other (RFC 3261 §17.1.2)
//!
//! Calling ──1xx──▶ Proceeding                        Trying ──1xx──▶ Proceeding
//!    │ └──2xx──▶ Accepted ◀──2xx──┘ │                   └─200–699─▶ Completed ◀─┘
//!    └─300–699─▶ Completed ◀─300–699┘
//! ```
//! Timer A, E retransmit, B, F end it; D, K, M let stragglers come in.

use super::{Effects, T2, T4, TIMER_D, TimerKind};
use crate::sip::{Message, Method, Request, Response};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calling or Trying: nothing has come back.
    Waiting,
    Proceeding,
    Completed,
    /// RFC 6026: a 2xx has come, more may.
    Accepted,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Client {
    state: State,
    request: Request,
    destination: SocketAddr,
    interval: Duration,
}

impl Client {
    pub(super) fn new(
        request: Request,
        destination: SocketAddr,
        t1: Duration,
        deadline: Option<Duration>,
    ) -> (Self, Effects) {
        let effects = Effects::send(Message::Request(request.clone()))
            .and_set(TimerKind::Retransmit, t1)
            .and_set(TimerKind::Timeout, deadline.unwrap_or(64 * t1));
        (Self { state: State::Waiting, request, destination, interval: t1 }, effects)
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn destination(&self) -> SocketAddr {
        self.destination
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, State::Waiting | State::Proceeding)
    }

    fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }

    /// What a response does, and whether the user is to see it.
    pub(super) fn handle_response(&mut self, response: &Response, t1: Duration) -> (Effects, bool) {
        use State::{Accepted, Completed, Proceeding, Waiting};
        match (self.state, response.status) {
            (Waiting | Proceeding, 100..=199) => {
                self.state = Proceeding;
                let effects = if self.is_invite() {
                    Effects::none().and_stop(&[TimerKind::Retransmit, TimerKind::Timeout])
                } else {
                    self.interval = T2;
                    Effects::none()
                };
                (effects, true)
            }
            (Waiting | Proceeding, 200..=299) if self.is_invite() => {
                self.state = Accepted;
                (self.finish(64 * t1), true)
            }
            (Waiting | Proceeding, 300..) if self.is_invite() => {
                self.state = Completed;
                let effects = Effects { send: Some(self.acknowledge(response)), ..self.finish(TIMER_D) };
                (effects, true)
            }
            (Waiting | Proceeding, 200..) => {
                self.state = Completed;
                (self.finish(T4), true)
            }
            (Completed, 300..) if self.is_invite() => (Effects::send(self.acknowledge(response)), false),
            (Accepted, 200..=299) => (Effects::none(), true),
            _ => (Effects::none(), false),
        }
    }

    pub(super) fn handle_timer(&mut self, timer: TimerKind) -> Effects {
        match timer {
            TimerKind::Retransmit if self.is_pending() => {
                self.interval = match (self.is_invite(), self.state) {
                    (true, _) => 2 * self.interval,
                    (false, State::Proceeding) => T2,
                    (false, _) => (2 * self.interval).min(T2),
                };
                Effects::send(Message::Request(self.request.clone()))
                    .and_set(TimerKind::Retransmit, self.interval)
            }
            TimerKind::Retransmit => Effects::none(),
            TimerKind::Timeout => Effects { timed_out: true, ..Effects::terminate() },
            TimerKind::Linger => Effects::terminate(),
        }
    }

    fn finish(&self, linger: Duration) -> Effects {
        Effects::none()
            .and_stop(&[TimerKind::Retransmit, TimerKind::Timeout])
            .and_set(TimerKind::Linger, linger)
    }

    /// The ACK for a response of 300–699 (RFC 3261 §17.1.1.3).
    fn acknowledge(&self, response: &Response) -> Message {
        let mut ack = in_the_steps_of(&self.request, Method::Ack);
        ack.headers.to = response.headers.to.clone();
        Message::Request(ack)
    }
}

/// A request that must travel exactly as `request` did: its ACK or CANCEL (RFC 3261 §9.1, §17.1.1.3).
///
/// Fields that samp-lab's servers route by come along.
pub(crate) fn in_the_steps_of(request: &Request, method: Method) -> Request {
    let mut follower = request.clone();
    follower.headers.via.truncate(1);
    follower.headers.cseq_method = method.clone();
    follower.headers.contact.clear();
    follower.headers.expires = None;
    follower.headers.max_forwards = Some(70);
    follower.headers.remove("Content-Type");
    follower.method = method;
    follower.body = bytes::Bytes::new();
    follower
}
