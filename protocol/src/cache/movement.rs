//! How often a callee moves, estimated from when it was seen where.
//!
//! Moves are taken for a Poisson process of rate λ. An entry that was right at age 0 is right at age t with
//! probability e^(−λt) at least, so that it may be believed for
//!
//! ```text
//! lifetime = −ln(CONFIDENCE) / λ
//! ```
//! The rate is moves over time, λ = M / E, both discounted by `MEMORY` with every observation so that old habits are
//! forgotten (about 1 / (1 − `MEMORY`) observations count), and begun with one imagined move in the time for which the lifetime is the configured one. An
//! observation after time t adds t to E, and to M
//!
//! ```text
//! 0                   the callee is where it was
//! 1                   it told of its move
//! λt / (1 − e^(−λt))  it was found elsewhere: the expected number of moves, as there was at least one
//! ```
//! The last is the E-step of expectation maximisation for interval-censored Poisson counts, and its fixed point the
//! maximum of their likelihood. A callee that moved away and came back counts as one that stayed; its entry was right.

use super::Learned;
use std::time::Duration;

/// An entry is believed as long as it is right with this probability.
const CONFIDENCE: f64 = 0.8;
/// What an observation leaves of the weight of all before.
const MEMORY: f64 = 0.97;
/// The lifetime is at least the configured one over this, and at most the configured one times this.
const RANGE: u32 = 16;

/// What is known of a callee's movement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Movement {
    configured: Duration,
    moves: f64,
    seconds: f64,
}

impl Movement {
    /// Nothing is known: the lifetime is the configured one.
    pub(super) fn unknown(configured: Duration) -> Self {
        Self { configured, moves: 1.0, seconds: configured.as_secs_f64() / -CONFIDENCE.ln() }
    }

    /// The callee was seen so long after the last time.
    pub(super) fn observe(&mut self, elapsed: Duration, has_moved: bool, how: Learned) {
        let elapsed = elapsed.as_secs_f64();
        let expected = self.rate() * elapsed;
        let moves = match (has_moved, how) {
            (false, _) => 0.0,
            (true, Learned::Told) => 1.0,
            // For small values the quotient is 1 to the last bit, or 0 / 0.
            (true, Learned::Found) if expected < 1e-9 => 1.0,
            (true, Learned::Found) => expected / -(-expected).exp_m1(),
        };
        self.moves = MEMORY * self.moves + moves;
        self.seconds = MEMORY * self.seconds + elapsed;
    }

    /// For how long an entry of the callee's is to be believed.
    pub(super) fn lifetime(&self) -> Duration {
        let lifetime = Duration::try_from_secs_f64(-CONFIDENCE.ln() / self.rate()).unwrap_or(Duration::MAX);
        lifetime.clamp(self.configured / RANGE, self.configured * RANGE)
    }

    /// λ, in moves a second.
    fn rate(&self) -> f64 {
        self.moves / self.seconds.max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    const CONFIGURED: Duration = Duration::from_secs(60);

    fn exponential(random: &mut Pcg64, rate: f64) -> f64 {
        -(-random.random::<f64>()).ln_1p() / rate
    }

    /// The mean estimate of a callee with this rate, seen at intervals of a mean length.
    fn mean_rate(rate: f64, mean_interval: f64, how: Learned) -> f64 {
        let mut random = Pcg64::seed_from_u64(1);
        let mut movement = Movement::unknown(CONFIGURED);
        let (mut sum, rounds) = (0.0, 20_000);
        for round in 0..2 * rounds {
            let (interval, moved) = match how {
                Learned::Told => (exponential(&mut random, rate), true),
                Learned::Found => {
                    let interval = exponential(&mut random, 1.0 / mean_interval);
                    (interval, random.random_bool(-(-rate * interval).exp_m1()))
                }
            };
            movement.observe(Duration::from_secs_f64(interval), moved, how);
            if round >= rounds {
                sum += movement.rate();
            }
        }
        sum / f64::from(rounds)
    }

    #[test]
    fn the_estimate_converges_to_the_rate() {
        for rate in [0.002, 0.05, 1.0] {
            let told = mean_rate(rate, 0.0, Learned::Told);
            assert!((0.9..1.15).contains(&(told / rate)), "told: {told} for {rate}");
            for interval in [0.1, 0.5, 1.0, 2.0] {
                let found = mean_rate(rate, interval / rate, Learned::Found);
                let ratio = found / rate;
                assert!((0.85..1.3).contains(&ratio), "{found} for {rate}, seen {interval} times a move");
            }
        }
    }

    #[test]
    fn the_lifetime_begins_as_configured_and_stays_in_range() {
        let mut movement = Movement::unknown(CONFIGURED);
        assert_eq!(movement.lifetime().as_millis(), CONFIGURED.as_millis());
        for _ in 0..1_000 {
            movement.observe(Duration::from_secs(3_600), false, Learned::Found);
        }
        assert_eq!(movement.lifetime(), CONFIGURED * RANGE);
        for _ in 0..1_000 {
            movement.observe(Duration::from_millis(1), true, Learned::Found);
        }
        assert_eq!(movement.lifetime(), CONFIGURED / RANGE);
        // Nothing that can be observed makes it anything but a time.
        for (elapsed, moved) in [(Duration::ZERO, true), (Duration::MAX, true), (Duration::MAX, false)] {
            movement.observe(elapsed, moved, Learned::Found);
            assert!((CONFIGURED / RANGE..=CONFIGURED * RANGE).contains(&movement.lifetime()));
        }
    }

    #[test]
    fn a_change_of_habit_is_noticed_within_the_memory() {
        let mut movement = Movement::unknown(CONFIGURED);
        (0..200).for_each(|_| movement.observe(Duration::from_secs(100), false, Learned::Found));
        (0..100).for_each(|_| movement.observe(Duration::from_secs(10), true, Learned::Told));
        assert!((0.05..0.11).contains(&movement.rate()), "{}", movement.rate());
    }
}
