//! Which datagrams are worth a look when there are more than the node can handle.
//!
//! While datagrams do not wait long in the socket, all are admitted and none is counted. When they do, each source gets
//! a token bucket, and what its source has no token for is dropped before it is parsed. The buckets' rate follows the
//! pressure: it halves while that lasts and recovers after it, so that a few that send much are cut and the many that
//! send little are not, whatever the machine can do.

use samp_model::Time;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// There is pressure as long as datagrams have waited for longer than this.
const PATIENCE: Duration = Duration::from_millis(20);
/// Time between two changes of the rate.
const STEP: Duration = Duration::from_millis(50);
/// No source sends as much, in datagrams per second: where the rate begins.
const FULL_RATE: f64 = 100_000.0;
/// By how much the rate falls in a step under pressure, and rises in one without.
const FALL: f64 = 0.5;
const RISE: f64 = 1.25;
/// How much of a second's datagrams a source may send at once.
const BURST: f64 = 0.5;
/// Sources that are told apart; more share one bucket.
const MAX_SOURCES: usize = 4096;

/// Decides which datagrams a server parses.
#[derive(Debug)]
pub struct Admission {
    /// No source is held below this rate, in datagrams per second.
    least_rate: f64,
    rate: f64,
    /// Since when there has been pressure.
    pressed_since: Option<Time>,
    changed: Time,
    sources: HashMap<u128, Bucket>,
    /// What those share that came when the table was full.
    rest: Bucket,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Time,
}

impl Bucket {
    fn full(now: Time, rate: f64) -> Self {
        Self { tokens: rate * BURST, filled: now }
    }

    fn take(&mut self, now: Time, rate: f64) -> bool {
        let gained = (now - self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(rate * BURST);
        self.filled = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

impl Admission {
    /// Always admits `least_rate` datagrams per second and source, as `samp: { source_rate }` says.
    pub fn new(least_rate: u32) -> Self {
        Self {
            least_rate: least_rate.into(),
            rate: FULL_RATE,
            pressed_since: None,
            changed: Time::ZERO,
            sources: HashMap::new(),
            rest: Bucket::full(Time::ZERO, FULL_RATE),
            dropped: 0,
        }
    }

    /// The socket is empty: the node keeps up.
    pub fn note_empty(&mut self) {
        self.pressed_since = None;
    }

    /// For how long all datagrams have waited too long.
    pub fn lag(&self, now: Time) -> Duration {
        self.pressed_since.map_or(Duration::ZERO, |since| now - since)
    }

    /// Datagrams that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a datagram is to be parsed that had waited for so long.
    pub fn admits(&mut self, now: Time, from: IpAddr, waited: Duration) -> bool {
        if waited > PATIENCE {
            self.pressed_since.get_or_insert(now);
        } else {
            self.pressed_since = None;
        }
        self.adjust(now);
        // Buckets stay while the rate has not recovered: a flood that pauses is not forgotten at once.
        if self.pressed_since.is_none() && self.rate >= FULL_RATE {
            self.sources.clear();
            return true;
        }
        let (rate, is_full) = (self.rate, self.sources.len() >= MAX_SOURCES);
        let bucket = match self.sources.get_mut(&source(from)) {
            Some(bucket) => bucket,
            None if is_full => &mut self.rest,
            None => self.sources.entry(source(from)).or_insert(Bucket::full(now, rate)),
        };
        let admitted = bucket.take(now, rate);
        self.dropped += u64::from(!admitted);
        admitted
    }

    fn adjust(&mut self, now: Time) {
        let steps = ((now - self.changed).as_nanos() / STEP.as_nanos()).min(100) as i32;
        if steps == 0 {
            return;
        }
        self.changed = now;
        self.rate = match self.pressed_since {
            Some(_) => (self.rate * FALL).max(self.least_rate),
            None => (self.rate * RISE.powi(steps)).min(FULL_RATE),
        };
    }
}

/// Who counts as one source: an IPv4 address, or an IPv6 network of 64 bits, any address of which a host can have.
fn source(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(1_000_000_000 + micros * 1000)
    }

    fn host(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_millis(100);

    #[test]
    fn a_node_that_keeps_up_admits_everything() {
        let mut admission = Admission::new(20);
        assert!((0..100_000).all(|number| admission.admits(at(number), host(1), SHORT)));
        assert_eq!((admission.dropped(), admission.lag(at(100_000))), (0, Duration::ZERO));
        assert!(admission.sources.is_empty());
    }

    #[test]
    fn under_pressure_the_loud_are_cut_and_the_quiet_are_not() {
        let mut admission = Admission::new(20);
        let (mut loud, mut quiet) = (0, 0);
        // Five seconds: one source sends 10,000 a second, ten others 10 a second each.
        for number in 0..50_000_u64 {
            let now = at(100 * number);
            loud += u32::from(admission.admits(now, host(1), LONG));
            if number % 100 == 0 {
                quiet += u32::from(admission.admits(now, host(2 + (number / 100 % 10) as u8), LONG));
            }
        }
        assert_eq!(quiet, 500, "all of them");
        assert!(loud < 5000, "{loud}");
        assert_eq!(u64::from(loud) + admission.dropped(), 50_000);
        assert!(admission.lag(at(5_000_000)) > Duration::from_secs(4));
        // It recovers when the pressure is gone.
        for number in 0..100 {
            admission.admits(at(5_000_000 + 50_000 * number), host(1), SHORT);
        }
        assert_eq!(admission.lag(at(10_000_000)), Duration::ZERO);
        assert!(admission.sources.is_empty());
    }

    #[test]
    fn any_number_of_sources_takes_a_bounded_table() {
        let mut admission = Admission::new(20);
        let mut admitted = 0;
        for number in 0..1_000_000_u32 {
            let from = IpAddr::from(number.to_be_bytes());
            admitted += u32::from(admission.admits(at(u64::from(number)), from, LONG));
        }
        assert_eq!(admission.sources.len(), MAX_SOURCES);
        assert!(admitted < 100_000, "{admitted}");
    }

    #[test]
    fn a_network_of_64_bits_is_one_source() {
        let address = |text: &str| source(text.parse().expect("an address"));
        assert_eq!(address("fd00::1"), address("fd00::ffff:1"));
        assert_ne!(address("fd00::1"), address("fd00:0:0:1::1"));
        assert_ne!(address("::10.0.0.1"), address("10.0.0.1"));
    }
}
