//! The INVITE client transaction (RFC 3261 §17.1.1, figure 5, as RFC 6026 §7.2 corrects it).
//!
//! ```text
//!                  A: send again │ INVITE
//!                       ┌───┐    ▼
//!                       │  ┌──────────┐  B, transport error: tell the user
//!                       └─▶│ Calling  │──────────────────────────────────────┐
//!                          └──────────┘                                      │
//!     300–699: ACK, pass up   │  │  │ 2xx: pass up                           │
//!        ┌────────────────────┘  │  └──────────────────┐                     │
//!        │              1xx: pass up                   │                     │
//!        │                       ▼                     │                     │
//!        │                 ┌──────────┐ B after CANCEL: tell the user        │
//!        │   1xx: pass up ┌│Proceeding│──────────────────────────────────────┤
//!        │                └▶──────────┘                │                     │
//!        │  300–699: ACK, pass up │  │ 2xx: pass up    │                     │
//!        ▼                        │  │                 ▼                     │
//!  ┌──────────┐◀──────────────────┘  └───────────▶┌──────────┐               │
//!  │Completed │┐ 300–699: ACK        2xx: pass up┌│ Accepted │               │
//!  └──────────┘◀                                 └▶──────────┘               │
//!        │ D; transport error: tell the user           │ M                   │
//!        └───────────────────▶ Terminated ◀────────────┴─────────────────────┘
//! ```

use super::machine::Action::{self, Acknowledge, Double, Failed, Pass, SendAgain, Start, Stop, TimedOut};
use super::machine::Event::{self, Fired, Provisional, Refusal, Success, TransportError};
use super::machine::State::{self, Accepted, Calling, Completed, Proceeding, Terminated};
use super::machine::Timer::{A, B, D, M};

pub(super) fn step(state: State, event: Event) -> (State, &'static [Action]) {
    match (state, event) {
        (Calling, Fired(A)) => (Calling, &[SendAgain, Double(A)]),
        (Calling, TransportError) => (Terminated, &[Failed]),
        (Calling, Provisional) => (Proceeding, &[Stop(A), Stop(B), Pass]),
        // In Proceeding timer B runs only after a CANCEL: RFC 3261 §9.1 gives the final response 64·T1 then.
        (Calling | Proceeding, Fired(B)) => (Terminated, &[TimedOut]),
        (Proceeding, Provisional) => (Proceeding, &[Pass]),
        (Calling | Proceeding, Success) => (Accepted, &[Stop(A), Stop(B), Pass, Start(M)]),
        (Calling | Proceeding, Refusal) => (Completed, &[Stop(A), Stop(B), Acknowledge, Pass, Start(D)]),
        (Accepted, Success) => (Accepted, &[Pass]),
        (Accepted, Fired(M)) => (Terminated, &[]),
        (Completed, Refusal) => (Completed, &[Acknowledge]),
        (Completed, TransportError) => (Terminated, &[Failed]),
        (Completed, Fired(D)) => (Terminated, &[]),
        _ => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, assert_table};
    use super::*;

    #[test]
    fn every_pair_of_state_and_event() {
        let to_accepted: &[_] = &[Stop(A), Stop(B), Pass, Start(M)];
        let to_completed: &[_] = &[Stop(A), Stop(B), Acknowledge, Pass, Start(D)];
        assert_table(
            Machine::InviteClient,
            &[Calling, Proceeding, Accepted, Completed, Terminated],
            &[
                (Calling, Fired(A), Calling, &[SendAgain, Double(A)]),
                (Calling, Fired(B), Terminated, &[TimedOut]),
                (Calling, TransportError, Terminated, &[Failed]),
                (Calling, Provisional, Proceeding, &[Stop(A), Stop(B), Pass]),
                (Calling, Success, Accepted, to_accepted),
                (Calling, Refusal, Completed, to_completed),
                (Proceeding, Fired(B), Terminated, &[TimedOut]),
                (Proceeding, Provisional, Proceeding, &[Pass]),
                (Proceeding, Success, Accepted, to_accepted),
                (Proceeding, Refusal, Completed, to_completed),
                (Accepted, Success, Accepted, &[Pass]),
                (Accepted, Fired(M), Terminated, &[]),
                (Completed, Refusal, Completed, &[Acknowledge]),
                (Completed, TransportError, Terminated, &[Failed]),
                (Completed, Fired(D), Terminated, &[]),
            ],
        );
    }
}
