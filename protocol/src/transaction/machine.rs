//! What the four transaction state machines have in common: states, events, actions, timers.
//!
//! Each machine is a pure function from (state, event) to the next state and what to do on the way; the layer above
//! does it.

use super::{invite_client, invite_server, non_invite_client, non_invite_server};
use crate::sip::{Method, Response, Transport};
use samp_model::settings::SampSettings;
use std::time::Duration;

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// INVITE client: nothing has come back.
    Calling,
    /// Non-INVITE: nothing has come back, or nothing has been said.
    Trying,
    /// A provisional response has gone by; an INVITE server begins here.
    Proceeding,
    /// INVITE: a 2xx has gone by, more may (RFC 6026).
    Accepted,
    /// The final response has gone by.
    Completed,
    /// INVITE server: the ACK has come.
    Confirmed,
    /// To be forgotten.
    Terminated,
}

impl State {
    /// Whether there is no final response yet.
    pub(super) fn is_pending(self) -> bool {
        matches!(self, State::Calling | State::Trying | State::Proceeding)
    }
}

/// What happens to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Server: the request has come again.
    Request,
    /// INVITE server: an ACK has come.
    Ack,
    /// A response of 100–199: from the network to a client, from the user to a server.
    Provisional,
    /// A response of 200–299.
    Success,
    /// A response of 300–699.
    Refusal,
    /// A timer has fired.
    Fired(Timer),
    /// The transport could not send (RFC 3261 §17.1.4, §17.2.4).
    TransportError,
}

impl Event {
    pub(super) fn of(response: &Response) -> Self {
        match response.status {
            ..=199 => Event::Provisional,
            200..=299 => Event::Success,
            300.. => Event::Refusal,
        }
    }
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send the server's new response.
    Send,
    /// Send the client's request, or the server's last response, again.
    SendAgain,
    /// Send the ACK to a response of 300–699.
    Acknowledge,
    /// Show the message to the user.
    Pass,
    /// Tell the user that no final response came, or no ACK.
    TimedOut,
    /// Tell the user that the transport failed.
    Failed,
    /// Start a timer with its first value.
    Start(Timer),
    /// Start a timer with twice its last value; E and G up to T2.
    Double(Timer),
    /// Start a timer with T2.
    Slow(Timer),
    /// Stop a timer.
    Stop(Timer),
}

/// The timers of RFC 3261 (its table 4) and RFC 6026; C is the proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// INVITE request, again.
    A,
    /// INVITE without a response.
    B,
    /// Responses of 300–699, again.
    D,
    /// Non-INVITE request, again.
    E,
    /// Non-INVITE without a final response.
    F,
    /// Response of 300–699 to INVITE, again.
    G,
    /// Response of 300–699 without an ACK.
    H,
    /// ACKs, again.
    I,
    /// Non-INVITE requests, again.
    J,
    /// Responses to non-INVITE, again.
    K,
    /// An accepted INVITE, again (RFC 6026).
    L,
    /// 2xx of other branches, and again (RFC 6026).
    M,
}

impl Timer {
    pub(super) const FIRST: Timer = Timer::A;
    pub(super) const LAST: Timer = Timer::M;
    #[cfg(test)]
    pub(super) const ALL: [Timer; 12] = [
        Timer::A,
        Timer::B,
        Timer::D,
        Timer::E,
        Timer::F,
        Timer::G,
        Timer::H,
        Timer::I,
        Timer::J,
        Timer::K,
        Timer::L,
        Timer::M,
    ];
}

/// The values from which all timers follow (RFC 3261 §17.1.1.1, §17.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// T1: an estimate of the round-trip time.
    pub(crate) t1: Duration,
    /// T2: the longest interval between retransmissions.
    pub(crate) t2: Duration,
    /// T4: how long a message lives in the network.
    pub(crate) t4: Duration,
}

impl Timing {
    /// Timer D over UDP: at least 32 s (RFC 3261 §17.1.1.2).
    const D: Duration = Duration::from_secs(32);

    /// How long an exchange may take: timers B, F, H, J, L and M.
    pub(crate) fn patience(self) -> Duration {
        64 * self.t1
    }

    /// The first value of a timer; none when it does not run over this transport.
    pub(super) fn of(self, timer: Timer, transport: Transport) -> Option<Duration> {
        let unreliable = transport == Transport::Udp;
        match timer {
            Timer::A | Timer::E | Timer::G => unreliable.then_some(self.t1),
            Timer::B | Timer::F | Timer::H | Timer::L | Timer::M => Some(self.patience()),
            Timer::D => Some(if unreliable { Self::D } else { Duration::ZERO }),
            Timer::I | Timer::K => Some(if unreliable { self.t4 } else { Duration::ZERO }),
            Timer::J => Some(if unreliable { self.patience() } else { Duration::ZERO }),
        }
    }
}

impl From<&SampSettings> for Timing {
    fn from(settings: &SampSettings) -> Self {
        Self { t1: settings.t1, t2: settings.t2, t4: settings.t4 }
    }
}

/// Which of the four machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    InviteClient,
    NonInviteClient,
    InviteServer,
    NonInviteServer,
}

impl Machine {
    pub(super) fn client(method: &Method) -> Self {
        if *method == Method::Invite { Machine::InviteClient } else { Machine::NonInviteClient }
    }

    pub(super) fn server(method: &Method) -> Self {
        if *method == Method::Invite { Machine::InviteServer } else { Machine::NonInviteServer }
    }

    /// The state in which it begins, and what it does then.
    pub(super) fn begin(self) -> (State, &'static [Action]) {
        use Action::{SendAgain, Start};
        match self {
            Machine::InviteClient => (State::Calling, &[SendAgain, Start(Timer::A), Start(Timer::B)]),
            Machine::NonInviteClient => (State::Trying, &[SendAgain, Start(Timer::E), Start(Timer::F)]),
            Machine::InviteServer => (State::Proceeding, &[]),
            Machine::NonInviteServer => (State::Trying, &[]),
        }
    }

    /// What an event does; most pairs do nothing.
    pub(super) fn step(self, state: State, event: Event) -> (State, &'static [Action]) {
        let step = match self {
            Machine::InviteClient => invite_client::step,
            Machine::NonInviteClient => non_invite_client::step,
            Machine::InviteServer => invite_server::step,
            Machine::NonInviteServer => non_invite_server::step,
        };
        step(state, event)
    }
}

/// For the machines' tests: holds a machine against its table, in which every pair of these states and events that is
/// not named does nothing.
#[cfg(test)]
#[track_caller]
pub(super) fn assert_table(machine: Machine, states: &[State], table: &[(State, Event, State, &[Action])]) {
    use Event::{Ack, Fired, Provisional, Refusal, Request, Success, TransportError};
    let messages = [Request, Ack, Provisional, Success, Refusal, TransportError];
    let events: Vec<_> = messages.into_iter().chain(Timer::ALL.map(Fired)).collect();
    for &state in states {
        for &event in &events {
            let named = table.iter().find(|(from, what, ..)| (*from, *what) == (state, event));
            let expected = named.map_or((state, &[][..]), |(.., to, actions)| (*to, *actions));
            assert_eq!(machine.step(state, event), expected, "{machine:?}: {event:?} in {state:?}");
        }
    }
    for (from, event, ..) in table {
        assert!(states.contains(from), "{from:?} is no state of {machine:?}");
        let times = table.iter().filter(|(other, what, ..)| (other, what) == (from, event)).count();
        assert_eq!(times, 1, "{event:?} in {from:?} is named once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_have_the_values_of_table_4() {
        let timing = Timing::from(&SampSettings::default());
        let seconds = |timer, transport| timing.of(timer, transport).map(|value| value.as_secs_f64());
        let (udp, tcp) = (Transport::Udp, Transport::Tcp);
        let table = [
            (Timer::A, Some(0.5), None),
            (Timer::B, Some(32.0), Some(32.0)),
            (Timer::D, Some(32.0), Some(0.0)),
            (Timer::E, Some(0.5), None),
            (Timer::F, Some(32.0), Some(32.0)),
            (Timer::G, Some(0.5), None),
            (Timer::H, Some(32.0), Some(32.0)),
            (Timer::I, Some(5.0), Some(0.0)),
            (Timer::J, Some(32.0), Some(0.0)),
            (Timer::K, Some(5.0), Some(0.0)),
            (Timer::L, Some(32.0), Some(32.0)),
            (Timer::M, Some(32.0), Some(32.0)),
        ];
        assert_eq!(table.map(|(timer, ..)| timer), Timer::ALL);
        for (timer, over_udp, over_tcp) in table {
            assert_eq!((seconds(timer, udp), seconds(timer, tcp)), (over_udp, over_tcp), "timer {timer:?}");
        }
    }
}
