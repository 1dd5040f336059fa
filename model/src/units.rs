//! Quantities as people write them in files and on the command line: a number and its unit, one way to write each.

use crate::diagnostic::quote;
use serde::{Deserialize, Deserializer};
use std::str::FromStr;
use std::time::Duration;

/// Delay of a link, 0 to 60 s: `2ms`, `500us`, `1.5s`, or plain `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delay(Duration);

/// Time between or until two things, 1 µs to 24 h: `20ms`, `600s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(Duration);

/// Probability, 0 % to 100 %: `0.1%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(f64);

/// Bits per second, 1 kbit to 100 gbit: `64kbit`, `100mbit`, `1gbit`; decimal prefixes, as in `tc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

/// How fast something moves, 1 mm to 1 km a second: `15m/s`, `1.4m/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Speed(u32);

/// How often something happens, 1 to 20,000 times a second: `500/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frequency(u32);

/// A text is not the value that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct InvalidValue {
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Delay {
    /// The longest.
    pub const MAX: Duration = Duration::from_secs(60);

    /// As a duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Interval {
    /// The shortest.
    pub const MIN: Duration = Duration::from_micros(1);
    /// The longest.
    pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// As a duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Percent {
    /// As a probability, 0.0 to 1.0.
    pub const fn fraction(self) -> f64 {
        self.0
    }
}

impl Rate {
    /// The slowest.
    pub const MIN: u64 = 1_000;
    /// The fastest.
    pub const MAX: u64 = 100_000_000_000;

    /// In bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl Speed {
    /// The fastest, in millimetres per second.
    const MAX: u128 = 1_000_000;

    /// In metres per second.
    pub fn metres_per_second(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

impl Frequency {
    /// The highest, per second.
    pub const MAX: u32 = 20_000;

    /// Per second.
    pub const fn per_second(self) -> u32 {
        self.0
    }

    /// What it can be, for who has written something else.
    pub(crate) fn range() -> String {
        format!("a frequency is at least 1/s and at most {}/s", Self::MAX)
    }
}

impl FromStr for Frequency {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let per_second = parse(text, &FREQUENCY)?;
        if !(1..=u128::from(Self::MAX)).contains(&per_second) {
            return Err(out_of_range(text, &FREQUENCY, &Self::range()));
        }
        Ok(Frequency(per_second as u32))
    }
}

impl FromStr for Speed {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let millimetres = parse(text, &SPEED)?;
        if !(1..=Self::MAX).contains(&millimetres) {
            return Err(out_of_range(text, &SPEED, "a speed is at least 0.001m/s and at most 1000m/s"));
        }
        Ok(Speed(millimetres as u32))
    }
}

impl FromStr for Delay {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let nanos = if text == "0" { 0 } else { parse(text, &DELAY)? };
        if nanos > Self::MAX.as_nanos() {
            return Err(out_of_range(text, &DELAY, "a delay is at most 60s"));
        }
        Ok(Delay(Duration::from_nanos(nanos as u64)))
    }
}

impl FromStr for Interval {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let nanos = parse(text, &INTERVAL)?;
        if !(Self::MIN.as_nanos()..=Self::MAX.as_nanos()).contains(&nanos) {
            return Err(out_of_range(text, &INTERVAL, "a time is at least 1us and at most 86400s"));
        }
        Ok(Interval(Duration::from_nanos(nanos as u64)))
    }
}

impl FromStr for Percent {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let millionths_of_a_percent = parse(text, &PERCENT)?;
        if millionths_of_a_percent > 100_000_000 {
            return Err(out_of_range(text, &PERCENT, "a percentage is at most 100%"));
        }
        Ok(Percent(millionths_of_a_percent as f64 / 1e8))
    }
}

impl FromStr for Rate {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let bits = parse(text, &RATE)?;
        if !(u128::from(Self::MIN)..=u128::from(Self::MAX)).contains(&bits) {
            return Err(out_of_range(text, &RATE, "a rate is at least 1kbit and at most 100gbit"));
        }
        Ok(Rate(bits as u64))
    }
}

macro_rules! deserialize_from_str {
    ($($quantity:ty),*) => {$(
        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
deserialize_from_str!(Delay, Frequency, Interval, Percent, Rate, Speed);

/// How one kind of quantity is written.
struct Notation {
    /// With its article.
    what: &'static str,
    /// Its units and how many of the smallest step each is.
    units: &'static [(&'static str, u128)],
    /// How to write one.
    example: &'static str,
    /// The smallest step, for who writes too many digits.
    step: &'static str,
}

const TIMES: &[(&str, u128)] = &[("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
const DELAY: Notation =
    Notation { what: "a delay", units: TIMES, example: "2ms, 500us or 1s", step: "a nanosecond" };
const INTERVAL: Notation = Notation { what: "a time", ..DELAY };
const PERCENT: Notation = Notation {
    what: "a percentage",
    units: &[("%", 1_000_000)],
    example: "0.1%",
    step: "a millionth of a percent",
};
const RATE: Notation = Notation {
    what: "a rate",
    units: &[("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)],
    example: "64kbit, 100mbit or 1gbit",
    step: "a bit per second",
};

const SPEED: Notation = Notation {
    what: "a speed",
    units: &[("m/s", 1_000)],
    example: "15m/s or 1.4m/s",
    step: "a millimetre per second",
};

const FREQUENCY: Notation =
    Notation { what: "a frequency", units: &[("/s", 1)], example: "500/s", step: "once a second" };

/// The quantity in its smallest steps, exactly: no floating point, so no rounding, no infinity and no NaN.
fn parse(text: &str, notation: &Notation) -> Result<u128, InvalidValue> {
    let Notation { what, units, example, step } = notation;
    let err = |problem: String| InvalidValue { message: problem, hint: format!("write {what} as {example}") };

    if text.starts_with('-') {
        return Err(err(format!("{what} cannot be negative: {}", quote(text))));
    }
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(err(format!("{} is not {what}", quote(text))));
    }
    if unit.is_empty() {
        return Err(err(format!("{} has no unit", quote(text))));
    }
    let Some(&(_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<_> = units.iter().map(|&(name, _)| name).collect();
        let problem = if unit.trim() != unit && names.contains(&unit.trim()) {
            format!("no space between number and unit: {}", quote(text))
        } else {
            format!("{} is no unit of {what}", quote(unit.trim()))
        };
        return Err(err(problem));
    };
    // Twelve digits are beyond every limit in every unit, and nine decimals as fine as any scale: no overflow below.
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > 12 {
        return Err(err(format!("{} is too large", quote(text))));
    }
    if fraction.len() > 9 {
        return Err(err(format!("{} is finer than {step}", quote(text))));
    }
    let ten = 10u128.pow(fraction.len() as u32);
    let parts = digits(whole) * scale * ten + digits(fraction) * scale;
    if !parts.is_multiple_of(ten) {
        return Err(err(format!("{} is finer than {step}", quote(text))));
    }
    Ok(parts / ten)
}

fn digits(text: &str) -> u128 {
    text.bytes().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'))
}

fn out_of_range(text: &str, notation: &Notation, range: &str) -> InvalidValue {
    InvalidValue {
        message: format!("{} is out of range for {}", quote(text), notation.what),
        hint: range.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hint<T: FromStr<Err = InvalidValue>>(text: &str) -> String {
        text.parse::<T>().map(|_| ()).expect_err(text).to_string()
    }

    #[test]
    fn delays() {
        for (text, nanos) in [
            ("0", 0),
            ("0ms", 0),
            ("2ms", 2_000_000),
            ("500us", 500_000),
            ("1s", 1_000_000_000),
            ("0.5ms", 500_000),
            ("1.000000001s", 1_000_000_001),
            ("0.001us", 1),
            ("60s", 60_000_000_000),
            ("000000000000002ms", 2_000_000),
            ("1.50000000000000ms", 1_500_000),
        ] {
            assert_eq!(text.parse::<Delay>().unwrap().get(), Duration::from_nanos(nanos), "{text}");
        }
        let write = "write a delay as 2ms, 500us or 1s";
        for (text, message) in [
            ("5", format!("`5` has no unit; {write}")),
            ("", format!("`` is not a delay; {write}")),
            ("ms", format!("`ms` is not a delay; {write}")),
            ("-5ms", format!("a delay cannot be negative: `-5ms`; {write}")),
            ("+5ms", format!("`+5ms` is not a delay; {write}")),
            ("5 ms", format!("no space between number and unit: `5 ms`; {write}")),
            ("5min", format!("`min` is no unit of a delay; {write}")),
            ("5ns", format!("`ns` is no unit of a delay; {write}")),
            ("5MS", format!("`MS` is no unit of a delay; {write}")),
            ("5µs", format!("`µs` is no unit of a delay; {write}")),
            ("1e3ms", format!("`e3ms` is no unit of a delay; {write}")),
            (".5ms", format!("`.5ms` is not a delay; {write}")),
            ("5.ms", format!("`5.ms` is not a delay; {write}")),
            ("1.2.3ms", format!("`1.2.3ms` is not a delay; {write}")),
            ("nan", format!("`nan` is not a delay; {write}")),
            ("inf", format!("`inf` is not a delay; {write}")),
            ("٥ms", format!("`٥ms` is not a delay; {write}")),
            ("0.0001us", format!("`0.0001us` is finer than a nanosecond; {write}")),
            ("0.00000000001s", format!("`0.00000000001s` is finer than a nanosecond; {write}")),
            ("60.1s", "`60.1s` is out of range for a delay; a delay is at most 60s".to_owned()),
            ("9999999999999s", format!("`9999999999999s` is too large; {write}")),
        ] {
            assert_eq!(hint::<Delay>(text), message);
        }
    }

    #[test]
    fn intervals() {
        assert_eq!("20ms".parse::<Interval>().unwrap().get(), Duration::from_millis(20));
        assert_eq!("86400s".parse::<Interval>().unwrap().get(), Interval::MAX);
        let range = "a time is at least 1us and at most 86400s";
        assert_eq!(hint::<Interval>("0ms"), format!("`0ms` is out of range for a time; {range}"));
        assert_eq!(hint::<Interval>("86401s"), format!("`86401s` is out of range for a time; {range}"));
        assert_eq!(hint::<Interval>("0"), "`0` has no unit; write a time as 2ms, 500us or 1s");
    }

    #[test]
    fn percentages() {
        for (text, fraction) in [("0%", 0.0), ("0.1%", 0.001), ("12.5%", 0.125), ("100%", 1.0)] {
            assert_eq!(text.parse::<Percent>().unwrap().fraction(), fraction, "{text}");
        }
        let write = "write a percentage as 0.1%";
        for (text, message) in [
            ("0.1", format!("`0.1` has no unit; {write}")),
            ("-1%", format!("a percentage cannot be negative: `-1%`; {write}")),
            ("nan%", format!("`nan%` is not a percentage; {write}")),
            ("100.1%", "`100.1%` is out of range for a percentage; a percentage is at most 100%".to_owned()),
            ("0.0000001%", format!("`0.0000001%` is finer than a millionth of a percent; {write}")),
        ] {
            assert_eq!(hint::<Percent>(text), message);
        }
    }

    #[test]
    fn rates() {
        for (text, bits) in [
            ("64kbit", 64_000),
            ("1.5mbit", 1_500_000),
            ("1gbit", 1_000_000_000),
            ("100gbit", 100_000_000_000),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().bits_per_second(), bits, "{text}");
        }
        let write = "write a rate as 64kbit, 100mbit or 1gbit";
        let range = "a rate is at least 1kbit and at most 100gbit";
        for (text, message) in [
            ("1000", format!("`1000` has no unit; {write}")),
            ("1Gbit", format!("`Gbit` is no unit of a rate; {write}")),
            ("1mbps", format!("`mbps` is no unit of a rate; {write}")),
            ("0kbit", format!("`0kbit` is out of range for a rate; {range}")),
            ("101gbit", format!("`101gbit` is out of range for a rate; {range}")),
            ("0.0001kbit", format!("`0.0001kbit` is finer than a bit per second; {write}")),
        ] {
            assert_eq!(hint::<Rate>(text), message);
        }
    }

    #[test]
    fn speeds() {
        for (text, expected) in [("15m/s", 15.0), ("1.4m/s", 1.4), ("0.001m/s", 0.001), ("1000m/s", 1000.0)] {
            assert_eq!(text.parse::<Speed>().unwrap().metres_per_second(), expected, "{text}");
        }
        let write = "write a speed as 15m/s or 1.4m/s";
        let range = "a speed is at least 0.001m/s and at most 1000m/s";
        for (text, message) in [
            ("15", format!("`15` has no unit; {write}")),
            ("50km/h", format!("`km/h` is no unit of a speed; {write}")),
            ("0m/s", format!("`0m/s` is out of range for a speed; {range}")),
            ("1001m/s", format!("`1001m/s` is out of range for a speed; {range}")),
            ("0.0001m/s", format!("`0.0001m/s` is finer than a millimetre per second; {write}")),
        ] {
            assert_eq!(hint::<Speed>(text), message);
        }
    }

    #[test]
    fn frequencies() {
        for (text, expected) in [("1/s", 1), ("500/s", 500), ("20000/s", 20_000)] {
            assert_eq!(text.parse::<Frequency>().unwrap().per_second(), expected, "{text}");
        }
        let (write, range) = ("write a frequency as 500/s", Frequency::range());
        for (text, message) in [
            ("500", format!("`500` has no unit; {write}")),
            ("500/min", format!("`/min` is no unit of a frequency; {write}")),
            ("0.5/s", format!("`0.5/s` is finer than once a second; {write}")),
            ("0/s", format!("`0/s` is out of range for a frequency; {range}")),
            ("20001/s", format!("`20001/s` is out of range for a frequency; {range}")),
        ] {
            assert_eq!(hint::<Frequency>(text), message);
        }
    }

    #[test]
    fn quantities_are_strings_to_serde() {
        assert_eq!(serde_json::from_str::<Delay>("\"2ms\"").unwrap(), "2ms".parse().unwrap());
        let error = serde_json::from_str::<Rate>("\"2ms\"").unwrap_err().to_string();
        assert!(error.starts_with("`ms` is no unit of a rate; write a rate as"), "{error}");
    }

    proptest! {
        #[test]
        fn every_microsecond_is_exact(micros in 0u64..=60_000_000) {
            let expected = Duration::from_micros(micros);
            let (millis, rest) = (micros / 1000, micros % 1000);
            prop_assert_eq!(format!("{micros}us").parse::<Delay>().unwrap().get(), expected);
            prop_assert_eq!(format!("{millis}.{rest:03}ms").parse::<Delay>().unwrap().get(), expected);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", number in "[0-9.]{0,60}(us|ms|s|%|kbit|gbit|m/s|/s)") {
            for text in [text, number] {
                _ = text.parse::<Delay>();
                _ = text.parse::<Interval>();
                _ = text.parse::<Percent>();
                _ = text.parse::<Rate>();
                _ = text.parse::<Speed>();
                _ = text.parse::<Frequency>();
            }
        }
    }
}
