//! The two server transactions.
//!
//! ```text
//! INVITE (RFC 3261 §17.2.1, RFC 6026 §8.5)           other (RFC 3261 §17.2.2)
//!
//! Proceeding ──2xx──▶ Accepted ──L──▶ end            Trying/Proceeding ──200–699──▶ Completed ──J──▶ end
//!     └─300–699─▶ Completed ──ACK──▶ Confirmed ──I──▶ end
//! ```
//! Timer G retransmits the final response, H gives up waiting for the ACK.

use super::{Effects, T2, T4, TimerKind};
use crate::sip::{Message, Method, Response};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    /// RFC 6026: a 2xx has gone out; its retransmission is the user agent core's.
    Accepted,
}

/// A request being answered.
#[derive(Debug)]
pub(super) struct Server {
    state: State,
    invite: bool,
    destination: SocketAddr,
    last: Option<Response>,
    interval: Duration,
}

impl Server {
    pub(super) fn new(invite: bool, destination: SocketAddr) -> Self {
        Self { state: State::Proceeding, invite, destination, last: None, interval: Duration::ZERO }
    }

    pub(super) fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Whether its user has not given a final response yet.
    pub(super) fn is_pending(&self) -> bool {
        self.state == State::Proceeding
    }

    /// An ACK that matches in Accepted is the 2xx's, so the user's.
    pub(super) fn passes_ack(&self) -> bool {
        self.state == State::Accepted
    }

    /// A retransmitted request, or an ACK.
    pub(super) fn handle_request(&mut self, method: &Method) -> Effects {
        match (self.state, method) {
            (State::Completed, Method::Ack) => {
                self.state = State::Confirmed;
                Effects::none()
                    .and_stop(&[TimerKind::Retransmit, TimerKind::Timeout])
                    .and_set(TimerKind::Linger, T4)
            }
            (State::Proceeding | State::Completed, method) if *method != Method::Ack => {
                self.last.clone().map_or_else(Effects::none, |last| Effects::send(Message::Response(last)))
            }
            _ => Effects::none(),
        }
    }

    pub(super) fn respond(&mut self, response: Response, t1: Duration) -> Effects {
        let status = response.status;
        match (self.state, status) {
            (State::Proceeding, 100..=199) => self.send(response),
            (State::Proceeding, 200..=299) if self.invite => {
                self.state = State::Accepted;
                self.send(response).and_set(TimerKind::Linger, 64 * t1)
            }
            (State::Accepted, 200..=299) => self.send(response),
            (State::Proceeding, 200..) => {
                self.state = State::Completed;
                self.interval = t1;
                let effects = self.send(response);
                if self.invite {
                    effects.and_set(TimerKind::Retransmit, t1).and_set(TimerKind::Timeout, 64 * t1)
                } else {
                    effects.and_set(TimerKind::Linger, 64 * t1)
                }
            }
            _ => Effects::none(),
        }
    }

    pub(super) fn handle_timer(&mut self, timer: TimerKind) -> Effects {
        match (timer, &self.last) {
            (TimerKind::Retransmit, Some(last)) if self.state == State::Completed => {
                self.interval = (2 * self.interval).min(T2);
                Effects::send(Message::Response(last.clone())).and_set(TimerKind::Retransmit, self.interval)
            }
            (TimerKind::Retransmit, _) => Effects::none(),
            (TimerKind::Timeout | TimerKind::Linger, _) => Effects::terminate(),
        }
    }

    fn send(&mut self, response: Response) -> Effects {
        self.last = Some(response.clone());
        Effects::send(Message::Response(response))
    }
}
