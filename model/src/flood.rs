//! A flood: SIP requests that nobody needs, at a set rate for a set time.

use crate::record::nanos;
use crate::units::{Frequency, Interval, InvalidValue};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// For how long a flood waits for its last answers.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Requests of a flood at most.
const MAX_REQUESTS: u128 = 4_000_000;

/// What is sent, how fast and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// What each request asks.
    pub request: FloodRequest,
    /// Requests per second, 1 to [`Frequency::MAX`].
    pub rate: u32,
    /// From the first request until no more are sent, 1 µs to 24 h.
    #[serde(with = "nanos")]
    pub lasts: Duration,
}

/// What a flood asks of a SIP server. None of it touches the bindings or calls of the lab's own users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloodRequest {
    /// REGISTER of made-up users, with the server as their anchor: it keeps their bindings.
    #[default]
    Register,
    /// OPTIONS of the server itself (RFC 3261 §11): it answers, and keeps nothing.
    Options,
    /// INVITE of made-up users, whom it has to look for on the ring.
    Invite,
}

impl FloodRequest {
    /// The method's name (RFC 3261 §7.1).
    pub fn method(self) -> &'static str {
        match self {
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Invite => "INVITE",
        }
    }
}

impl Flood {
    /// How many requests there are: the first at once, and each so long after the one before as the rate says.
    pub fn requests(&self) -> u64 {
        let requests = (self.lasts.as_nanos() * u128::from(self.rate)).div_ceil(NANOS_PER_SECOND);
        requests as u64
    }

    /// When a request is due, counted from 0, after the flood has begun.
    pub fn due(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(self.rate.max(1));
        Duration::from_nanos(nanos as u64)
    }

    /// Whether this can be.
    ///
    /// # Errors
    /// Rate or time are out of range, or there are too many requests.
    pub fn check(&self) -> Result<(), InvalidValue> {
        let problem = |message: &str, hint: String| Err(InvalidValue { message: message.to_owned(), hint });
        if !(1..=Frequency::MAX).contains(&self.rate) {
            return problem("the rate is out of range", Frequency::range());
        }
        if !(Interval::MIN..=Interval::MAX).contains(&self.lasts) {
            return problem(
                "the time is out of range",
                "a flood takes at least 1us and at most 86400s".to_owned(),
            );
        }
        if self.lasts.as_nanos() * u128::from(self.rate) > MAX_REQUESTS * NANOS_PER_SECOND {
            return problem("these are too many requests", format!("a flood has at most {MAX_REQUESTS}"));
        }
        Ok(())
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(rate: u32, millis: u64) -> Flood {
        Flood { request: FloodRequest::Register, rate, lasts: Duration::from_millis(millis) }
    }

    #[test]
    fn requests_are_spread_over_the_time() {
        for (rate, millis, requests) in [(500, 3_000, 1_500), (3, 1_000, 3), (3, 1_001, 4), (1, 1, 1)] {
            let flood = flood(rate, millis);
            assert_eq!(flood.requests(), requests, "{flood:?}");
            assert!(flood.due(requests - 1) < flood.lasts && flood.due(requests) >= flood.lasts, "{flood:?}");
        }
        assert_eq!(flood(3, 1_000).due(1), Duration::from_nanos(333_333_333));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (rate, millis, message) in [
            (1, 1, None),
            (20_000, 200_000, None),
            (0, 1_000, Some("the rate is out of range")),
            (20_001, 1_000, Some("the rate is out of range")),
            (u32::MAX, u64::MAX, Some("the rate is out of range")),
            (1, 0, Some("the time is out of range")),
            (1, u64::MAX, Some("the time is out of range")),
            (20_000, 200_001, Some("these are too many requests")),
        ] {
            let told = flood(rate, millis).check().err().map(|error| error.message);
            assert_eq!(told.as_deref(), message, "{rate} {millis}");
        }
    }
}
