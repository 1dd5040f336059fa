//! The INVITE server transaction (RFC 3261 §17.2.1, figure 7, as RFC 6026 §7.1 corrects it).
//!
//! ```text
//!                                 │ INVITE
//!                                 ▼
//!           INVITE: send again ┌──────────┐ transport error: tell the user
//!              1xx: send      ┌│Proceeding│───────────────────────────────┐
//!                             └▶──────────┘                               │
//!           300–699: send        │      │ 2xx: send                       │
//!         ┌──────────────────────┘      └──────────┐                      │
//!         ▼                                        ▼                      │
//!   ┌──────────┐ INVITE, G: send again       ┌──────────┐ 2xx: send       │
//!   │Completed │┐                            │ Accepted │┐ ACK: pass up   │
//!   └──────────┘◀                            └──────────┘◀                │
//!    ACK │    │ H, transport error: tell the user  │ L                    │
//!        ▼    └──────────────────────┐             │                      │
//!   ┌──────────┐ I                   ▼             │                      │
//!   │Confirmed │─────────────▶ Terminated ◀────────┴──────────────────────┘
//!   └──────────┘
//! ```

use super::machine::Action::{self, Double, Failed, Pass, Send, SendAgain, Start, Stop, TimedOut};
use super::machine::Event::{self, Ack, Fired, Provisional, Refusal, Request, Success, TransportError};
use super::machine::State::{self, Accepted, Completed, Confirmed, Proceeding, Terminated};
use super::machine::Timer::{G, H, I, L};

pub(super) fn step(state: State, event: Event) -> (State, &'static [Action]) {
    match (state, event) {
        (Proceeding, Request) => (Proceeding, &[SendAgain]),
        (Proceeding, Provisional) => (Proceeding, &[Send]),
        (Proceeding, Success) => (Accepted, &[Send, Start(L)]),
        (Proceeding, Refusal) => (Completed, &[Send, Start(G), Start(H)]),
        (Proceeding | Completed, TransportError) => (Terminated, &[Failed]),
        (Completed, Request) => (Completed, &[SendAgain]),
        (Completed, Fired(G)) => (Completed, &[SendAgain, Double(G)]),
        (Completed, Fired(H)) => (Terminated, &[TimedOut]),
        (Completed, Ack) => (Confirmed, &[Stop(G), Stop(H), Start(I)]),
        (Confirmed, Fired(I)) => (Terminated, &[]),
        // Repeating the 2xx is the user agent core's, so are its ACKs.
        (Accepted, Success) => (Accepted, &[Send]),
        (Accepted, Ack) => (Accepted, &[Pass]),
        (Accepted, TransportError) => (Accepted, &[Failed]),
        (Accepted, Fired(L)) => (Terminated, &[]),
        _ => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, assert_table};
    use super::*;

    #[test]
    fn every_pair_of_state_and_event() {
        assert_table(
            Machine::InviteServer,
            &[Proceeding, Accepted, Completed, Confirmed, Terminated],
            &[
                (Proceeding, Request, Proceeding, &[SendAgain]),
                (Proceeding, Provisional, Proceeding, &[Send]),
                (Proceeding, Success, Accepted, &[Send, Start(L)]),
                (Proceeding, Refusal, Completed, &[Send, Start(G), Start(H)]),
                (Proceeding, TransportError, Terminated, &[Failed]),
                (Accepted, Success, Accepted, &[Send]),
                (Accepted, Ack, Accepted, &[Pass]),
                (Accepted, TransportError, Accepted, &[Failed]),
                (Accepted, Fired(L), Terminated, &[]),
                (Completed, Request, Completed, &[SendAgain]),
                (Completed, Ack, Confirmed, &[Stop(G), Stop(H), Start(I)]),
                (Completed, Fired(G), Completed, &[SendAgain, Double(G)]),
                (Completed, Fired(H), Terminated, &[TimedOut]),
                (Completed, TransportError, Terminated, &[Failed]),
                (Confirmed, Fired(I), Terminated, &[]),
            ],
        );
    }
}
