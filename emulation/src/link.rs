//! What one direction of a link does to a frame: lose it, double it, let it wait for the line, delay it. Pure arithmetic.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;
use samp_model::topology::{Distribution, Jitter, LinkQuality, Loss};
use std::collections::VecDeque;

/// The queue before the line is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// When a frame departs at the other end, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// After all that came before it.
    InOrder(u64),
    /// Before all that have not departed yet.
    Ahead(u64),
}

/// One direction of a link. Instants are nanoseconds of any one clock.
#[derive(Debug)]
pub struct Link {
    delay: u64,
    /// Of the jitter, in nanoseconds.
    deviation: f64,
    distribution: Distribution,
    loss: Loss,
    /// Gilbert's and Elliott's bad state.
    is_bad: bool,
    duplicate: f64,
    reorder: f64,
    rate: Option<u64>,
    queue: usize,
    dice: Dice,
    /// When the bits of each waiting frame will all be on the line, in order.
    waiting: VecDeque<u64>,
    last_on_line: u64,
    last_departure: u64,
}

/// Random numbers, of each kind one for every frame, so that what becomes of the n-th does not depend on those before
/// it, nor its loss on whether there is jitter.
#[derive(Debug)]
struct Dice {
    loss: Pcg32,
    state: Pcg32,
    duplicate: Pcg32,
    jitter: Pcg32,
    reorder: Pcg32,
}

impl Dice {
    fn new(seed: u64, end: u64) -> Self {
        // Generators of one state and different streams are correlated, so the state differs too.
        let die = |kind: u64| {
            let stream = end.wrapping_add(kind << 48);
            Pcg32::new(mix(seed.wrapping_add(mix(stream))), stream)
        };
        Self { loss: die(0), state: die(1), duplicate: die(2), jitter: die(3), reorder: die(4) }
    }
}

/// A number from 0.0 to below 1.0.
fn roll(die: &mut Pcg32) -> f64 {
    f64::from(die.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

impl Link {
    /// The direction with number `end`, whose random choices follow from `seed` and `end`.
    pub fn new(quality: LinkQuality, seed: u64, end: u64) -> Self {
        let mut link = Link {
            delay: 0,
            deviation: 0.0,
            distribution: Distribution::Uniform,
            loss: Loss::default(),
            is_bad: false,
            duplicate: 0.0,
            reorder: 0.0,
            rate: None,
            queue: 0,
            dice: Dice::new(seed, end),
            waiting: VecDeque::new(),
            last_on_line: 0,
            last_departure: 0,
        };
        link.set_quality(quality);
        link
    }

    /// Treats frames so from now on.
    pub fn set_quality(&mut self, quality: LinkQuality) {
        let LinkQuality { one_way_delay, jitter: Jitter { deviation, distribution }, .. } = quality;
        self.delay = u64::try_from(one_way_delay.as_nanos()).unwrap_or(u64::MAX);
        self.deviation = deviation.as_nanos() as f64;
        self.distribution = distribution;
        self.loss = quality.loss;
        self.duplicate = quality.duplicate;
        self.reorder = quality.reorder;
        self.rate = quality.rate;
        self.queue = quality.queue.unwrap_or(LinkQuality::QUEUE) as usize;
    }

    /// How often the next frame arrives at the other end: not at all, once, or twice. As with netem, one that is doubled
    /// and lost arrives once.
    pub fn copies(&mut self) -> u32 {
        let is_doubled = self.duplicate > 0.0 && roll(&mut self.dice.duplicate) < self.duplicate;
        let is_lost = match self.loss {
            Loss::Random(share) => roll(&mut self.dice.loss) < share,
            Loss::GilbertElliott { p, r, bad, good } => {
                // The state that was decides on the frame, and then changes, as in the kernel.
                let (share, leave) = if self.is_bad { (bad, r) } else { (good, p) };
                self.is_bad ^= roll(&mut self.dice.state) < leave;
                roll(&mut self.dice.loss) < share
            }
        };
        1 + u32::from(is_doubled) - u32::from(is_lost)
    }

    /// When a frame of so many bits that arrives at `arrival` departs at the other end.
    ///
    /// Frames in order depart in the order of these calls.
    ///
    /// # Errors
    /// The line has a rate, and too many wait for it.
    pub fn pass(&mut self, arrival: u64, bits: u64) -> Result<Passage, QueueFull> {
        if self.reorder > 0.0 && roll(&mut self.dice.reorder) < self.reorder {
            return Ok(Passage::Ahead(arrival));
        }
        let on_line = match self.rate {
            Some(rate) => {
                while self.waiting.front().is_some_and(|&on_line| on_line <= arrival) {
                    self.waiting.pop_front();
                }
                if self.waiting.len() >= self.queue {
                    return Err(QueueFull);
                }
                let on_line = arrival.max(self.last_on_line).saturating_add(serialisation(bits, rate));
                self.waiting.push_back(on_line);
                on_line
            }
            None => arrival,
        };
        self.last_on_line = on_line;
        let delay = self.jittered_delay();
        self.last_departure = self.last_departure.max(on_line.saturating_add(delay));
        Ok(Passage::InOrder(self.last_departure))
    }

    fn jittered_delay(&mut self) -> u64 {
        if self.deviation == 0.0 {
            return self.delay;
        }
        let deviation = self.deviation * self.distribution.quantile(roll(&mut self.dice.jitter));
        self.delay.saturating_add_signed(deviation as i64)
    }

    /// Forgets the frames on the line: they are gone, and hold up nothing that comes later.
    pub fn clear(&mut self) {
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

    fn quality(delay_ms: u64) -> LinkQuality {
        LinkQuality { one_way_delay: Duration::from_millis(delay_ms), ..LinkQuality::IDEAL }
    }

    fn link(delay_ms: u64, rate: Option<u64>) -> Link {
        Link::new(LinkQuality { rate, ..quality(delay_ms) }, 1, 0)
    }

    fn lost_by(seed: u64, end: u64, loss: Loss) -> Vec<bool> {
        let mut link = Link::new(LinkQuality { loss, ..LinkQuality::IDEAL }, seed, end);
        (0..10_000).map(|_| link.copies() == 0).collect()
    }

    fn lost(seed: u64, end: u64, share: f64) -> Vec<bool> {
        lost_by(seed, end, Loss::Random(share))
    }

    fn count(fates: &[bool]) -> usize {
        fates.iter().filter(|&&lost| lost).count()
    }

    /// Departures of frames in order that arrive a nanosecond after another.
    fn departures(quality: LinkQuality, count: u64) -> Vec<u64> {
        let mut link = Link::new(quality, 1, 0);
        let mut depart = |arrival| match link.pass(arrival, 8) {
            Ok(Passage::InOrder(departure)) => departure,
            other => panic!("{other:?}"),
        };
        (0..count).map(|number| depart(100 * MS * number)).collect()
    }

    #[test]
    fn delay_alone_adds_up() {
        let mut link = link(5, None);
        assert_eq!(link.pass(MS, 8000), Ok(Passage::InOrder(6 * MS)));
        assert_eq!(link.pass(2 * MS, 8000), Ok(Passage::InOrder(7 * MS)));
    }

    #[test]
    fn a_shorter_delay_does_not_reorder() {
        let mut link = link(5, None);
        assert_eq!(link.pass(0, 8), Ok(Passage::InOrder(5 * MS)));
        link.set_quality(quality(1));
        assert_eq!(link.pass(MS, 8), Ok(Passage::InOrder(5 * MS)));
        assert_eq!(link.pass(6 * MS, 8), Ok(Passage::InOrder(7 * MS)));
    }

    #[test]
    fn a_rate_spaces_frames_by_their_size() {
        // 1000 bytes at 8 Mbit/s take 1 ms.
        let mut link = link(5, Some(8_000_000));
        assert_eq!(link.pass(0, 8000), Ok(Passage::InOrder(6 * MS)));
        assert_eq!(link.pass(0, 8000), Ok(Passage::InOrder(7 * MS)));
        assert_eq!(link.pass(0, 4000), Ok(Passage::InOrder(7 * MS + MS / 2)));
        assert_eq!(link.pass(10 * MS, 8000), Ok(Passage::InOrder(16 * MS)), "the line was idle");
    }

    #[test]
    fn the_queue_before_the_line_is_bounded() {
        let mut link = link(1000, Some(8_000_000));
        for _ in 0..LinkQuality::QUEUE {
            assert!(link.pass(0, 8000).is_ok());
        }
        assert_eq!(link.pass(0, 8000), Err(QueueFull));
        assert!(link.pass(MS, 8000).is_ok(), "one frame is on the line by now: propagation does not count");
        assert_eq!(link.pass(MS, 8000), Err(QueueFull));
        link.clear();
        assert_eq!(link.pass(MS, 8000), Ok(Passage::InOrder(1002 * MS)));
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
    fn bursts_have_the_models_share_and_length() {
        let loss = Loss::GilbertElliott { p: 0.01, r: 0.25, bad: 1.0, good: 0.0 };
        let fates = lost_by(3, 1, loss);
        let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let length = count(&fates) as f64 / bursts as f64;
        // p / (p + r) of all, in bursts of 1 / r.
        assert!((280..500).contains(&count(&fates)), "{}", count(&fates));
        assert!((3.0..5.0).contains(&length), "{length}");
        assert_eq!(fates, lost_by(3, 1, loss));
        assert!(bursts < count(&lost(3, 1, 0.04)), "random losses of that share come alone");
    }

    #[test]
    fn duplicates_come_twice_and_losses_stay_the_same() {
        let base = LinkQuality { loss: Loss::Random(0.3), ..LinkQuality::IDEAL };
        let fates = |quality| {
            let mut link = Link::new(quality, 7, 3);
            (0..10_000).map(|_| link.copies()).collect::<Vec<_>>()
        };
        let (single, doubled) = (fates(base), fates(LinkQuality { duplicate: 0.2, ..base }));
        let twice = single.iter().zip(&doubled).filter(|(one, other)| **other == **one + 1).count();
        let same = single.iter().zip(&doubled).filter(|(one, other)| one == other).count();
        assert_eq!(twice + same, 10_000);
        assert!((1_850..2_150).contains(&twice), "{twice}");
    }

    #[test]
    fn jitter_spreads_the_delay_as_it_says() {
        let of = |jitter: &str| {
            let jitter = jitter.parse().unwrap();
            let departures = departures(LinkQuality { jitter, ..quality(20) }, 10_000);
            let mut delays: Vec<_> = departures.iter().zip(0..).map(|(at, n)| at - 100 * MS * n).collect();
            delays.sort();
            delays
        };
        let close =
            |found: u64, expected: f64| assert!((found as f64 / MS as f64 - expected).abs() < 0.2, "{found}");
        let uniform = of("4ms");
        assert!(uniform[0] >= 16 * MS && uniform[9_999] <= 24 * MS);
        for (at, expected) in [(1_000, 16.8), (5_000, 20.0), (9_000, 23.2)] {
            close(uniform[at], expected);
        }
        let normal = of("4ms normal");
        for (at, expected) in [(1_587, 16.0), (5_000, 20.0), (8_413, 24.0), (9_772, 28.0)] {
            close(normal[at], expected);
        }
        assert!(normal[0] >= 4 * MS && normal[9_999] <= 36 * MS, "four standard deviations");
    }

    #[test]
    fn jitter_alone_never_reorders_and_reordering_takes_no_time() {
        let jitter = "5ms".parse().unwrap();
        let mut link = Link::new(LinkQuality { jitter, reorder: 0.25, ..quality(5) }, 1, 0);
        let (mut last, mut ahead) = (0, 0);
        for arrival in (0..10_000).map(|n| n * MS / 10) {
            match link.pass(arrival, 8).unwrap() {
                Passage::InOrder(departure) => {
                    assert!(
                        departure >= last && departure >= arrival && departure <= last.max(arrival + 10 * MS)
                    );
                    last = departure;
                }
                Passage::Ahead(departure) => {
                    assert_eq!(departure, arrival);
                    ahead += 1;
                }
            }
        }
        assert!((2_350..2_650).contains(&ahead), "{ahead}");
    }

    #[test]
    fn a_queue_of_ones_own() {
        let mut link = Link::new(LinkQuality { rate: Some(8_000_000), queue: Some(2), ..quality(5) }, 1, 0);
        assert_eq!(link.pass(0, 8000), Ok(Passage::InOrder(6 * MS)));
        assert_eq!(link.pass(0, 8000), Ok(Passage::InOrder(7 * MS)));
        assert_eq!(link.pass(0, 8000), Err(QueueFull));
    }

    #[test]
    fn extreme_numbers_do_not_overflow() {
        let quality = LinkQuality { one_way_delay: Duration::MAX, rate: Some(0), ..LinkQuality::IDEAL };
        assert_eq!(Link::new(quality, 0, 0).pass(u64::MAX, u64::MAX), Ok(Passage::InOrder(u64::MAX)));
    }
}
