//! What a link does to packets, and how people write it.
//!
//! Both backends understand the same: netem's terms, as `tc-netem(8)` has them, with one exception. Jitter alone never
//! reorders: a packet waits for the one before it. Reordering is asked for by its own name.

use crate::units::{Delay, InvalidValue, Percent, Rate};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What one direction of a link does to packets. The default does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkQuality {
    /// Propagation delay.
    pub one_way_delay: Duration,
    /// How the delay varies.
    pub jitter: Jitter,
    /// Which packets are lost.
    pub loss: Loss,
    /// Probability that a packet comes twice, 0.0 to 1.0.
    pub duplicate: f64,
    /// Probability that a packet takes no time at all and so overtakes those before it, 0.0 to 1.0.
    pub reorder: f64,
    /// Bits per second; none is as fast as the machine.
    pub rate: Option<u64>,
    /// Packets that may wait for a line with a rate; none is [`LinkQuality::QUEUE`].
    pub queue: Option<u32>,
}

/// What changes in one direction of a link; none stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityChange {
    /// Propagation delay.
    pub one_way_delay: Option<Duration>,
    /// How the delay varies.
    pub jitter: Option<Jitter>,
    /// Which packets are lost.
    pub loss: Option<Loss>,
    /// Probability that a packet comes twice, 0.0 to 1.0.
    pub duplicate: Option<f64>,
    /// Probability that a packet overtakes those before it, 0.0 to 1.0.
    pub reorder: Option<f64>,
    /// The rate, or that there is none any more; its queue goes with it.
    pub rate: Option<RateChange>,
    /// Packets that may wait.
    pub queue: Option<u32>,
}

/// What becomes of a rate: `10mbit`, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateChange {
    /// As fast as the machine.
    None,
    /// So many bits per second.
    To(u64),
}

/// How a delay varies from packet to packet: `1ms`, or `1ms normal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jitter {
    /// Of `uniform`, the largest deviation; of `normal`, the standard deviation.
    pub deviation: Duration,
    /// How deviations are distributed.
    pub distribution: Distribution,
}

/// How deviations from a delay are distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Evenly, up to the deviation either way.
    #[default]
    Uniform,
    /// By Gauss, cut off at [`Distribution::SIGMAS`] standard deviations, as netem's tables are.
    Normal,
}

/// Which packets are lost: `0.1%` of them at random, or in bursts, `gemodel 1% 30%`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Each with this probability, 0.0 to 1.0.
    Random(f64),
    /// The two-state model of Gilbert (1960) and Elliott (1963); all are probabilities per packet.
    GilbertElliott {
        /// That the good state turns bad.
        p: f64,
        /// That the bad state turns good.
        r: f64,
        /// That a packet is lost in the bad state, the model's 1 − h.
        bad: f64,
        /// That a packet is lost in the good state, the model's 1 − k.
        good: f64,
    },
}

/// What does not fit to the rest of a quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QualityPart {
    /// Its jitter.
    Jitter,
    /// Its reordering.
    Reorder,
    /// Its queue.
    Queue,
}

impl LinkQuality {
    /// Does nothing.
    pub const IDEAL: LinkQuality = LinkQuality {
        one_way_delay: Duration::ZERO,
        jitter: Jitter { deviation: Duration::ZERO, distribution: Distribution::Uniform },
        loss: Loss::Random(0.0),
        duplicate: 0.0,
        reorder: 0.0,
        rate: None,
        queue: None,
    };
    /// Packets that wait for a line with a rate when nothing is said.
    pub const QUEUE: u32 = 1000;
    /// Packets that may wait at most.
    pub const MAX_QUEUE: u32 = 1_000_000;

    /// The shortest time that a packet can take.
    pub fn least_delay(&self) -> Duration {
        if self.reorder > 0.0 {
            Duration::ZERO
        } else {
            self.one_way_delay.saturating_sub(self.jitter.most())
        }
    }

    /// How long a frame of so many bytes, Ethernet header included, takes to be put on the line.
    pub fn time_on_line(&self, bytes: u32) -> Duration {
        const NANOS: u128 = 1_000_000_000;
        let nanos = |rate: u64| 8 * u128::from(bytes) * NANOS / u128::from(rate.max(1));
        let nanos = self.rate.map_or(0, nanos);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether the parts fit together.
    ///
    /// # Errors
    /// What does not, and what to write instead.
    pub fn check(&self) -> Result<(), (QualityPart, InvalidValue)> {
        let problem = |part, message: &str, hint: &str| {
            Err((part, InvalidValue { message: message.into(), hint: hint.into() }))
        };
        if self.jitter.deviation > self.one_way_delay {
            return problem(
                QualityPart::Jitter,
                "the jitter is larger than the delay",
                "a packet cannot arrive before it is sent",
            );
        }
        if self.reorder > 0.0 && self.one_way_delay.is_zero() {
            return problem(
                QualityPart::Reorder,
                "nothing can be overtaken without a delay",
                "add `one_way_delay`, or remove `reorder`",
            );
        }
        if self.queue.is_some() && self.rate.is_none() {
            return problem(
                QualityPart::Queue,
                "nothing waits without a rate",
                "add `rate`, or remove `queue`",
            );
        }
        Ok(())
    }
}

impl Default for LinkQuality {
    fn default() -> Self {
        Self::IDEAL
    }
}

impl QualityChange {
    /// What a quality becomes.
    pub fn applied_to(self, quality: LinkQuality) -> LinkQuality {
        let rate = match self.rate {
            None => quality.rate,
            Some(RateChange::None) => None,
            Some(RateChange::To(rate)) => Some(rate),
        };
        LinkQuality {
            one_way_delay: self.one_way_delay.unwrap_or(quality.one_way_delay),
            jitter: self.jitter.unwrap_or(quality.jitter),
            loss: self.loss.unwrap_or(quality.loss),
            duplicate: self.duplicate.unwrap_or(quality.duplicate),
            reorder: self.reorder.unwrap_or(quality.reorder),
            rate,
            queue: self.queue.or(quality.queue.filter(|_| rate.is_some())),
        }
    }
}

impl Jitter {
    /// The largest deviation.
    pub fn most(self) -> Duration {
        match self.distribution {
            Distribution::Uniform => self.deviation,
            Distribution::Normal => self.deviation.saturating_mul(Distribution::SIGMAS),
        }
    }
}

impl Distribution {
    /// Standard deviations beyond which no normal deviation lies.
    pub const SIGMAS: u32 = 4;

    /// The deviation, in units of [`Jitter::deviation`], below which a part `share` of all lies, 0.0 to 1.0.
    pub fn quantile(self, share: f64) -> f64 {
        match self {
            Distribution::Uniform => 2.0 * share - 1.0,
            Distribution::Normal => {
                let most = f64::from(Self::SIGMAS);
                normal_quantile(share).clamp(-most, most)
            }
        }
    }
}

/// The inverse of the standard normal distribution function, by Winitzki's approximation of the inverse error function
/// (2008): off by less than 0.01 standard deviations up to 4 of them.
fn normal_quantile(share: f64) -> f64 {
    const A: f64 = 0.147;
    let x = 2.0 * share.clamp(1e-12, 1.0 - 1e-12) - 1.0;
    let log = (1.0 - x * x).ln();
    let half = 2.0 / (PI * A) + log / 2.0;
    (2.0 * ((half * half - log / A).sqrt() - half)).sqrt().copysign(x)
}

impl Default for Loss {
    fn default() -> Self {
        Loss::Random(0.0)
    }
}

impl FromStr for RateChange {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "none" {
            return Ok(RateChange::None);
        }
        let unknown = |error| InvalidValue { hint: "write a rate as 100mbit or none".to_owned(), ..error };
        text.parse::<Rate>().map(RateChange::from).map_err(unknown)
    }
}

impl From<Rate> for RateChange {
    fn from(rate: Rate) -> Self {
        RateChange::To(rate.bits_per_second())
    }
}

const HOW_TO_JITTER: &str = "write a jitter, a delay and perhaps its distribution, as 1ms or 1ms normal";

impl FromStr for Jitter {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (deviation, distribution) = match text.split_once(' ') {
            None => (text, Distribution::Uniform),
            Some((deviation, "uniform")) => (deviation, Distribution::Uniform),
            Some((deviation, "normal")) => (deviation, Distribution::Normal),
            Some((_, other)) => {
                return Err(InvalidValue {
                    message: format!("{} is no distribution", crate::diagnostic::quote(other)),
                    hint: HOW_TO_JITTER.to_owned(),
                });
            }
        };
        match deviation.parse::<Delay>() {
            Ok(deviation) => Ok(Jitter { deviation: deviation.get(), distribution }),
            Err(error) => Err(InvalidValue { hint: HOW_TO_JITTER.to_owned(), ..error }),
        }
    }
}

impl FromStr for Loss {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let percent = |word: &str| word.parse().map(Percent::fraction);
        let Some(model) = text.strip_prefix("gemodel") else {
            let unknown =
                |error| InvalidValue { hint: "write a loss as 0.1% or gemodel 1% 30%".to_owned(), ..error };
            return percent(text).map(Loss::Random).map_err(unknown);
        };
        let numbers = model.split(' ').skip(1).map(percent).collect::<Result<Vec<_>, _>>()?;
        match numbers[..] {
            [p, r] => Ok(Loss::GilbertElliott { p, r, bad: 1.0, good: 0.0 }),
            [p, r, bad] => Ok(Loss::GilbertElliott { p, r, bad, good: 0.0 }),
            [p, r, bad, good] => Ok(Loss::GilbertElliott { p, r, bad, good }),
            _ => Err(InvalidValue {
                message: format!("{} is not Gilbert's and Elliott's model", crate::diagnostic::quote(text)),
                hint: "write gemodel P R, or gemodel P R BAD GOOD: how often the good state turns bad, the bad one good, \
                       and packets are lost in each"
                    .to_owned(),
            }),
        }
    }
}

/// As files have it: `5ms, loss 0.1%, 100mbit`.
impl fmt::Display for LinkQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&time(self.one_way_delay))?;
        if !self.jitter.deviation.is_zero() {
            write!(f, ", jitter {}", self.jitter)?;
        }
        if self.loss != Loss::default() {
            write!(f, ", loss {}", self.loss)?;
        }
        for (name, probability) in [("duplicate", self.duplicate), ("reorder", self.reorder)] {
            if probability > 0.0 {
                write!(f, ", {name} {}", Percentage(probability))?;
            }
        }
        match self.rate {
            Some(rate) if rate.is_multiple_of(1_000_000_000) => write!(f, ", {}gbit", rate / 1_000_000_000)?,
            Some(rate) if rate.is_multiple_of(1_000_000) => write!(f, ", {}mbit", rate / 1_000_000)?,
            Some(rate) => write!(f, ", {}kbit", rate as f64 / 1e3)?,
            None => {}
        }
        self.queue.map_or(Ok(()), |queue| write!(f, ", queue {queue}"))
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&time(self.deviation))?;
        match self.distribution {
            Distribution::Uniform => Ok(()),
            Distribution::Normal => f.write_str(" normal"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Loss::Random(probability) => Percentage(probability).fmt(f),
            Loss::GilbertElliott { p, r, bad, good } => {
                f.write_str("gemodel")?;
                [p, r, bad, good].into_iter().try_for_each(|it| write!(f, " {}", Percentage(it)))
            }
        }
    }
}

struct Percentage(f64);

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

fn time(duration: Duration) -> String {
    if duration.is_zero() { "0".to_owned() } else { format!("{duration:?}").replace('µ', "u") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_quality_is_written_as_in_files() {
        let plain = LinkQuality { one_way_delay: ms(5), ..LinkQuality::default() };
        assert_eq!(plain.to_string(), "5ms");
        let fast = LinkQuality { loss: Loss::Random(0.001), rate: Some(100_000_000), ..plain };
        assert_eq!(fast.to_string(), "5ms, loss 0.1%, 100mbit");
        let dead = LinkQuality { loss: Loss::Random(1.0), rate: Some(64_500), ..LinkQuality::default() };
        assert_eq!(dead.to_string(), "0, loss 100%, 64.5kbit");
        let all = LinkQuality {
            jitter: "500us normal".parse().unwrap(),
            loss: "gemodel 1% 30%".parse().unwrap(),
            duplicate: 0.1,
            reorder: 0.25,
            rate: Some(2_000_000_000),
            queue: Some(10),
            ..plain
        };
        let text = "5ms, jitter 500us normal, loss gemodel 1% 30% 100% 0%, duplicate 10%, reorder 25%, 2gbit, queue 10";
        assert_eq!(all.to_string(), text);
    }

    #[test]
    fn loss_and_jitter_are_read() {
        let burst = |p, r, bad, good| Ok(Loss::GilbertElliott { p, r, bad, good });
        assert_eq!("2%".parse(), Ok(Loss::Random(0.02)));
        assert_eq!("gemodel 1% 30%".parse(), burst(0.01, 0.3, 1.0, 0.0));
        assert_eq!("gemodel 1% 30% 80%".parse(), burst(0.01, 0.3, 0.8, 0.0));
        assert_eq!("gemodel 1% 30% 80% 2%".parse(), burst(0.01, 0.3, 0.8, 0.02));
        for wrong in [
            "gemodel",
            "gemodel 1%",
            "gemodel 1% 2% 3% 4% 5%",
            "gemodel 1% x",
            "gemodel  1% 2%",
            "gemodelx",
            "1",
        ] {
            assert!(wrong.parse::<Loss>().is_err(), "{wrong}");
        }
        let jitter = |distribution| Ok(Jitter { deviation: ms(1), distribution });
        assert_eq!("1ms".parse(), jitter(Distribution::Uniform));
        assert_eq!("1ms uniform".parse(), jitter(Distribution::Uniform));
        assert_eq!("1ms normal".parse(), jitter(Distribution::Normal));
        for wrong in ["1", "1ms pareto", "1ms  normal", "normal", "61s"] {
            assert!(wrong.parse::<Jitter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_fit_together() {
        let check = |change: QualityChange| change.applied_to(LinkQuality::default()).check().is_ok();
        let base = QualityChange { one_way_delay: Some(ms(2)), ..QualityChange::default() };
        assert!(check(base));
        assert!(check(QualityChange { jitter: "2ms".parse().ok(), reorder: Some(0.1), ..base }));
        assert!(!check(QualityChange { jitter: "3ms".parse().ok(), ..base }));
        assert!(!check(QualityChange { reorder: Some(0.1), ..QualityChange::default() }));
        assert!(check(QualityChange { rate: Some(RateChange::To(1000)), queue: Some(5), ..base }));
        assert!(!check(QualityChange { queue: Some(5), ..base }));
    }

    #[test]
    fn a_rate_goes_and_takes_its_queue_along() {
        assert_eq!("10mbit".parse(), Ok(RateChange::To(10_000_000)));
        assert_eq!("none".parse(), Ok(RateChange::None));
        assert!("0".parse::<RateChange>().is_err());
        let slow = LinkQuality { rate: Some(1000), queue: Some(5), ..LinkQuality::default() };
        let change = |rate| QualityChange { rate, ..QualityChange::default() }.applied_to(slow);
        assert_eq!(change(None), slow);
        assert_eq!(change(Some(RateChange::To(2000))), LinkQuality { rate: Some(2000), ..slow });
        assert_eq!(change(Some(RateChange::None)), LinkQuality::default());
    }

    #[test]
    fn no_packet_is_faster_than_the_least_delay() {
        let least = |jitter: &str, reorder| {
            let jitter = jitter.parse().unwrap();
            LinkQuality { one_way_delay: ms(5), jitter, reorder, ..LinkQuality::default() }.least_delay()
        };
        assert_eq!(least("0", 0.0), ms(5));
        assert_eq!(least("1ms", 0.0), ms(4));
        assert_eq!(least("1ms normal", 0.0), ms(1));
        assert_eq!(least("2ms normal", 0.0), ms(0));
        assert_eq!(least("0", 0.1), ms(0));
    }

    #[test]
    fn quantiles() {
        assert_eq!([0.0, 0.5, 1.0].map(|share| Distribution::Uniform.quantile(share)), [-1.0, 0.0, 1.0]);
        for (share, expected) in [
            (0.5, 0.0),
            (0.841_345, 1.0),
            (0.977_25, 2.0),
            (0.998_65, 3.0),
            (0.158_655, -1.0),
            (1.0, 4.0),
            (0.0, -4.0),
        ] {
            let found = Distribution::Normal.quantile(share);
            assert!((found - expected).abs() < 0.01, "{share}: {found}, not {expected}");
        }
    }
}
