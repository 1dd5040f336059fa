//! What one direction of a link does to a frame: lose it, let it wait for the line, delay it. Pure arithmetic.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;
use samp_model::topology::LinkQuality;
use std::collections::VecDeque;

/// Frames that may wait for a line with a rate, in one direction.
pub(crate) const QUEUE_FRAMES: usize = 1000;

/// Why a frame does not leave at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As the link's loss asks for.
    Lost,
    /// The queue before the line is full.
    QueueFull,
}

/// One direction of a link. Instants are nanoseconds of any one clock.
#[derive(Debug)]
pub(crate) struct Link {
    delay: u64,
    loss: f64,
    rate: Option<u64>,
    random: Pcg32,
    /// When the bits of each waiting frame will all be on the line, in order.
    waiting: VecDeque<u64>,
    last_on_line: u64,
    last_departure: u64,
}

impl Link {
    /// The direction with number `end`, whose losses follow from `seed` and `end`.
    pub(crate) fn new(quality: LinkQuality, seed: u64, end: u64) -> Self {
        let mut link = Link {
            delay: 0,
            loss: 0.0,
            rate: None,
            // Generators of one state and different streams are correlated, so the state differs too.
            random: Pcg32::new(mix(seed.wrapping_add(mix(end))), end),
            waiting: VecDeque::new(),
            last_on_line: 0,
            last_departure: 0,
        };
        link.set_quality(quality);
        link
    }

    /// Treats frames so from now on.
    pub(crate) fn set_quality(&mut self, quality: LinkQuality) {
        self.delay = u64::try_from(quality.one_way_delay.as_nanos()).unwrap_or(u64::MAX);
        self.loss = quality.loss;
        self.rate = quality.rate;
    }

    /// When a frame of so many bits that arrives at `arrival` departs at the other end.
    ///
    /// Frames depart in the order of these calls.
    pub(crate) fn admit(&mut self, arrival: u64, bits: u64) -> Result<u64, Refusal> {
        // One number for every frame, so that the fate of the n-th does not depend on those before it.
        let fate = f64::from(self.random.next_u32()) / (f64::from(u32::MAX) + 1.0);
        if fate < self.loss {
            return Err(Refusal::Lost);
        }
        let on_line = match self.rate {
            Some(rate) => {
                while self.waiting.front().is_some_and(|&on_line| on_line <= arrival) {
                    self.waiting.pop_front();
                }
                if self.waiting.len() >= QUEUE_FRAMES {
                    return Err(Refusal::QueueFull);
                }
                let on_line = arrival.max(self.last_on_line).saturating_add(serialisation(bits, rate));
                self.waiting.push_back(on_line);
                on_line
            }
            None => arrival,
        };
        self.last_on_line = on_line;
        self.last_departure = self.last_departure.max(on_line.saturating_add(self.delay));
        Ok(self.last_departure)
    }

    /// Forgets the frames on the line: they are gone, and hold up nothing that comes later.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.last_on_line = 0;
        self.last_departure = 0;
    }
}

/// Nanoseconds that `bits` take at `rate` bits a second.
fn serialisation(bits: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(bits) * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads neighbouring numbers.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn link(delay_ms: u64, loss: f64, rate: Option<u64>) -> Link {
        let quality = LinkQuality { one_way_delay: Duration::from_millis(delay_ms), loss, rate };
        Link::new(quality, 1, 0)
    }

    fn lost(seed: u64, end: u64, loss: f64) -> Vec<bool> {
        let quality = LinkQuality { one_way_delay: Duration::ZERO, loss, rate: None };
        let mut link = Link::new(quality, seed, end);
        (0..10_000).map(|n| link.admit(n, 8) == Err(Refusal::Lost)).collect()
    }

    fn count(fates: &[bool]) -> usize {
        fates.iter().filter(|&&lost| lost).count()
    }

    #[test]
    fn delay_alone_adds_up() {
        let mut link = link(5, 0.0, None);
        assert_eq!(link.admit(MS, 8000), Ok(6 * MS));
        assert_eq!(link.admit(2 * MS, 8000), Ok(7 * MS));
    }

    #[test]
    fn a_shorter_delay_does_not_reorder() {
        let mut link = link(5, 0.0, None);
        assert_eq!(link.admit(0, 8), Ok(5 * MS));
        link.set_quality(LinkQuality { one_way_delay: Duration::from_millis(1), loss: 0.0, rate: None });
        assert_eq!(link.admit(MS, 8), Ok(5 * MS));
        assert_eq!(link.admit(6 * MS, 8), Ok(7 * MS));
    }

    #[test]
    fn a_rate_spaces_frames_by_their_size() {
        // 1000 bytes at 8 Mbit/s take 1 ms.
        let mut link = link(5, 0.0, Some(8_000_000));
        assert_eq!(link.admit(0, 8000), Ok(6 * MS));
        assert_eq!(link.admit(0, 8000), Ok(7 * MS));
        assert_eq!(link.admit(0, 4000), Ok(7 * MS + MS / 2));
        assert_eq!(link.admit(10 * MS, 8000), Ok(16 * MS), "the line was idle");
    }

    #[test]
    fn the_queue_before_the_line_is_bounded() {
        let mut link = link(1000, 0.0, Some(8_000_000));
        for _ in 0..QUEUE_FRAMES {
            assert!(link.admit(0, 8000).is_ok());
        }
        assert_eq!(link.admit(0, 8000), Err(Refusal::QueueFull));
        assert!(link.admit(MS, 8000).is_ok(), "one frame is on the line by now: propagation does not count");
        assert_eq!(link.admit(MS, 8000), Err(Refusal::QueueFull));
        link.clear();
        assert_eq!(link.admit(MS, 8000), Ok(1002 * MS));
    }

    #[test]
    fn losses_follow_from_seed_and_end() {
        let fates = lost(7, 3, 0.3);
        assert!((2_850..3_150).contains(&count(&fates)), "{}", count(&fates));
        assert_eq!(fates, lost(7, 3, 0.3));
        for other in [lost(7, 2, 0.3), lost(8, 3, 0.3)] {
            let both = fates.iter().zip(&other).filter(|(a, b)| **a && **b).count();
            assert!(
                (780..1_020).contains(&both),
                "independent losses meet in 900 of 10,000, these in {both}"
            );
        }
        assert_eq!(count(&lost(7, 3, 0.0)), 0);
        assert_eq!(count(&lost(7, 3, 1.0)), 10_000);
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        let quality = LinkQuality { one_way_delay: Duration::MAX, loss: 0.0, rate: Some(0) };
        assert_eq!(Link::new(quality, 0, 0).admit(u64::MAX, u64::MAX), Ok(u64::MAX));
    }
}
