//! The non-INVITE server transaction (RFC 3261 §17.2.2, figure 8).
//!
//! ```text
//!                  │ request
//!                  ▼
//!            ┌──────────┐
//!            │  Trying  │─────────────────────────────────────┐
//!            └──────────┘                                     │
//!   200–699: send │  │ 1xx: send                              │
//!          ┌──────┘  ▼                                        │
//!          │  ┌──────────┐  request: send again               │
//!          │  │Proceeding│┐ 1xx: send                         │
//!          │  └──────────┘◀                                   │
//!          │         │  │ transport error: tell the user      │
//!          │         │  └──────────────────────────────────┐  │
//!          │         │ 200–699: send                       │  │
//!          │         ▼                                     ▼  ▼
//!          │  ┌──────────┐ J; transport error: tell the user
//!          └─▶│Completed │┐─────────────────────▶ Terminated
//!             └──────────┘◀ request: send again
//! ```

use super::machine::Action::{self, Failed, Send, SendAgain, Start};
use super::machine::Event::{self, Fired, Provisional, Refusal, Request, Success, TransportError};
use super::machine::State::{self, Completed, Proceeding, Terminated, Trying};
use super::machine::Timer::J;

pub(super) fn step(state: State, event: Event) -> (State, &'static [Action]) {
    match (state, event) {
        (Trying | Proceeding, Provisional) => (Proceeding, &[Send]),
        (Trying | Proceeding, Success | Refusal) => (Completed, &[Send, Start(J)]),
        (Proceeding, Request) => (Proceeding, &[SendAgain]),
        (Completed, Request) => (Completed, &[SendAgain]),
        (Trying | Proceeding | Completed, TransportError) => (Terminated, &[Failed]),
        (Completed, Fired(J)) => (Terminated, &[]),
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
            Machine::NonInviteServer,
            &[Trying, Proceeding, Completed, Terminated],
            &[
                (Trying, Provisional, Proceeding, &[Send]),
                (Trying, Success, Completed, &[Send, Start(J)]),
                (Trying, Refusal, Completed, &[Send, Start(J)]),
                (Trying, TransportError, Terminated, &[Failed]),
                (Proceeding, Request, Proceeding, &[SendAgain]),
                (Proceeding, Provisional, Proceeding, &[Send]),
                (Proceeding, Success, Completed, &[Send, Start(J)]),
                (Proceeding, Refusal, Completed, &[Send, Start(J)]),
                (Proceeding, TransportError, Terminated, &[Failed]),
                (Completed, Request, Completed, &[SendAgain]),
                (Completed, TransportError, Terminated, &[Failed]),
                (Completed, Fired(J), Terminated, &[]),
            ],
        );
    }
}
