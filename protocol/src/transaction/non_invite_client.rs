//! The non-INVITE client transaction (RFC 3261 §17.1.2, figure 6).
//!
//! ```text
//!       E: send again │ request
//!            ┌───┐    ▼
//!            │  ┌──────────┐  F, transport error: tell the user
//!            └─▶│  Trying  │─────────────────────────────────────┐
//!               └──────────┘                                     │
//!  200–699: pass up │  │ 1xx: pass up                            │
//!            ┌──────┘  ▼                                         │
//!            │  ┌──────────┐  F, transport error: tell the user  │
//!            │  │Proceeding│┐────────────────────────────────────┤
//!            │  └──────────┘◀ E: send again; 1xx: pass up        │
//!            │         │ 200–699: pass up                        │
//!            │         ▼                                         │
//!            │  ┌──────────┐  K                                  │
//!            └─▶│Completed │──────────────────────▶ Terminated ◀─┘
//!               └──────────┘
//! ```

use super::machine::Action::{self, Double, Failed, Pass, SendAgain, Slow, Start, Stop, TimedOut};
use super::machine::Event::{self, Fired, Provisional, Refusal, Success, TransportError};
use super::machine::State::{self, Completed, Proceeding, Terminated, Trying};
use super::machine::Timer::{E, F, K};

pub(super) fn step(state: State, event: Event) -> (State, &'static [Action]) {
    match (state, event) {
        (Trying, Fired(E)) => (Trying, &[SendAgain, Double(E)]),
        (Proceeding, Fired(E)) => (Proceeding, &[SendAgain, Slow(E)]),
        (Trying | Proceeding, Fired(F)) => (Terminated, &[TimedOut]),
        (Trying | Proceeding, TransportError) => (Terminated, &[Failed]),
        (Trying | Proceeding, Provisional) => (Proceeding, &[Pass]),
        (Trying | Proceeding, Success | Refusal) => (Completed, &[Stop(E), Stop(F), Pass, Start(K)]),
        (Completed, Fired(K)) => (Terminated, &[]),
        _ => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, assert_table};
    use super::*;

    #[test]
    fn every_pair_of_state_and_event() {
        let to_completed: &[_] = &[Stop(E), Stop(F), Pass, Start(K)];
        assert_table(
            Machine::NonInviteClient,
            &[Trying, Proceeding, Completed, Terminated],
            &[
                (Trying, Fired(E), Trying, &[SendAgain, Double(E)]),
                (Trying, Fired(F), Terminated, &[TimedOut]),
                (Trying, TransportError, Terminated, &[Failed]),
                (Trying, Provisional, Proceeding, &[Pass]),
                (Trying, Success, Completed, to_completed),
                (Trying, Refusal, Completed, to_completed),
                (Proceeding, Fired(E), Proceeding, &[SendAgain, Slow(E)]),
                (Proceeding, Fired(F), Terminated, &[TimedOut]),
                (Proceeding, TransportError, Terminated, &[Failed]),
                (Proceeding, Provisional, Proceeding, &[Pass]),
                (Proceeding, Success, Completed, to_completed),
                (Proceeding, Refusal, Completed, to_completed),
                (Completed, Fired(K), Terminated, &[]),
            ],
        );
    }
}
