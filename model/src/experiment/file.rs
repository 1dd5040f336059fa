//! An experiment file as it is written.

use super::campaign::MAX_REPETITIONS;
use super::{Condition, MAX_CALLS, MAX_HANDOFFS, Unfinished};
use crate::flood::FloodRequest;
use crate::topology::{Jitter, Loss, Metres, Packets, RateChange};
use crate::tree::Raw;
use crate::units::{Delay, Frequency, Interval, Percent, Speed};
use crate::yaml::{Entries, Keyword, Title, Value, Whole, Word};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use std::fmt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExperimentFile {
    pub(super) name: Option<Value<Title>>,
    pub(super) topology: Spanned<String>,
    pub(super) seed: Option<Value<Whole<0, { u64::MAX }>>>,
    pub(super) calibrate: Option<Value<Word<bool>>>,
    pub(super) unfinished: Option<Value<Word<Unfinished>>>,
    pub(super) capture: Option<Vec<Spanned<String>>>,
    pub(super) timeline: Spanned<Vec<Spanned<StepFile>>>,
    pub(super) set: Option<Entries<Spanned<Raw>>>,
    pub(super) factors: Option<Entries<Levels>>,
    pub(super) cells: Option<Spanned<Vec<CellFile>>>,
    pub(super) repetitions: Option<Value<Whole<1, MAX_REPETITIONS>>>,
    pub(super) assert: Option<Vec<Spanned<String>>>,
}

/// The level of each factor.
pub(super) type CellFile = Spanned<Entries<Spanned<String>>>;

/// The levels of a factor.
pub(super) enum Levels {
    /// Values of the knob that the factor is named after.
    Values(Vec<Spanned<Raw>>),
    /// Names with what each sets.
    Named(Entries<Entries<Spanned<Raw>>>),
}

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LevelsVisitor;

        impl<'de> Visitor<'de> for LevelsVisitor {
            type Value = Levels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values, or names with what each sets")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Levels, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(Levels::Values)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Levels, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Levels::Named)
            }
        }

        deserializer.deserialize_any(LevelsVisitor)
    }
}

/// Has exactly one of its fields. All are boxed, as a hostile file may have many steps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFile {
    pub(super) call: Option<Box<CallFile>>,
    pub(super) handoff: Option<Box<HandoffFile>>,
    pub(super) transfer: Option<Box<Pair>>,
    pub(super) hang_up: Option<Box<Value<Word<All>>>>,
    pub(super) wait: Option<Box<Value<Interval>>>,
    #[serde(rename = "await")]
    pub(super) condition: Option<Box<AwaitFile>>,
    pub(super) link: Option<Box<LinkFile>>,
    pub(super) partition: Option<Box<PartitionFile>>,
    pub(super) heal: Option<Box<Value<Word<All>>>>,
    pub(super) kill: Option<Box<Spanned<String>>>,
    pub(super) pause: Option<Box<Spanned<String>>>,
    pub(super) resume: Option<Box<Spanned<String>>>,
    pub(super) flood: Option<Box<FloodFile>>,
    pub(super) period: Option<Box<PeriodFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AwaitFile {
    pub(super) until: Value<Word<Condition>>,
    pub(super) timeout: Value<Interval>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeriodFile {
    pub(super) lasts: Value<Interval>,
    pub(super) walk: Option<WalkFile>,
    pub(super) waypoint: Option<WaypointFile>,
    pub(super) trace: Option<Spanned<String>>,
    pub(super) calls: Option<ArrivalsFile>,
    pub(super) at: Option<Vec<Spanned<TimedFile>>>,
}

/// Has both `hotspot` and `alpha`, or none of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WalkFile {
    pub(super) interval: Value<Interval>,
    pub(super) hotspot: Option<Spanned<String>>,
    pub(super) alpha: Option<Value<Percent>>,
    pub(super) gap: Option<Value<Delay>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaypointFile {
    pub(super) speed: Value<Speed>,
    pub(super) pause: Option<Value<Interval>>,
    pub(super) hysteresis: Option<Value<Metres>>,
    pub(super) gap: Option<Value<Delay>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArrivalsFile {
    pub(super) interval: Value<Interval>,
    pub(super) lasts: Value<Interval>,
    pub(super) pairs: Option<Vec<Pair>>,
}

/// Has exactly one of its fields beside the times. All are boxed, as in [`StepFile`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimedFile {
    pub(super) after: Option<Value<Interval>>,
    pub(super) every: Option<Value<Interval>>,
    pub(super) when: Option<Value<Word<Condition>>>,
    pub(super) handoff: Option<Box<Pair>>,
    pub(super) call: Option<Box<Pair>>,
    pub(super) link: Option<Box<LinkFile>>,
    pub(super) partition: Option<Box<PartitionFile>>,
    pub(super) heal: Option<Box<Value<Word<All>>>>,
    pub(super) kill: Option<Box<Spanned<String>>>,
    pub(super) pause: Option<Box<Spanned<String>>>,
    pub(super) resume: Option<Box<Spanned<String>>>,
    pub(super) flood: Option<Box<FloodFile>>,
}

/// Has `between` or `radio`, and `state` or what changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkFile {
    pub(super) between: Option<Pair>,
    pub(super) radio: Option<Spanned<String>>,
    pub(super) state: Option<Value<Word<State>>>,
    pub(super) one_way: Option<Value<Word<bool>>>,
    pub(super) one_way_delay: Option<Value<Delay>>,
    pub(super) jitter: Option<Value<Jitter>>,
    pub(super) loss: Option<Value<Loss>>,
    pub(super) duplicate: Option<Value<Percent>>,
    pub(super) reorder: Option<Value<Percent>>,
    pub(super) rate: Option<Value<RateChange>>,
    pub(super) queue: Option<Value<Packets>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartitionFile {
    pub(super) nodes: Spanned<Vec<Spanned<String>>>,
    pub(super) from: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FloodFile {
    pub(super) to: Spanned<String>,
    pub(super) from: Spanned<String>,
    pub(super) request: Option<Value<Word<FloodRequest>>>,
    pub(super) rate: Value<Frequency>,
    #[serde(rename = "for")]
    pub(super) lasts: Value<Interval>,
}

impl Keyword for FloodRequest {
    const WHAT: &'static str = "a request to flood with";
    const WORDS: &'static [(&'static str, Self)] =
        &[("register", Self::Register), ("options", Self::Options), ("invite", Self::Invite)];
}

impl Keyword for Unfinished {
    const WHAT: &'static str = "what unfinished handoffs and calls are";
    const WORDS: &'static [(&'static str, Self)] = &[("invalid", Self::Invalid), ("counted", Self::Counted)];
}

/// Whether a link works.
#[derive(Clone, Copy)]
pub(super) enum State {
    Down,
    Up,
}

impl Keyword for State {
    const WHAT: &'static str = "a state of a link";
    const WORDS: &'static [(&'static str, Self)] = &[("down", Self::Down), ("up", Self::Up)];
}

impl Keyword for Condition {
    const WHAT: &'static str = "something that can be awaited";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("all_registered", Self::AllRegistered),
        ("ring_stable", Self::RingStable),
        ("calls_established", Self::CallsEstablished),
    ];
}

/// Has `count` or `pairs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallFile {
    pub(super) count: Option<Value<Whole<1, MAX_CALLS>>>,
    pub(super) pairs: Option<Vec<Pair>>,
}

/// Has `count` or `moves`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandoffFile {
    pub(super) count: Option<Value<Whole<1, MAX_HANDOFFS>>>,
    pub(super) moves: Option<Vec<Pair>>,
    pub(super) interval: Value<Interval>,
    pub(super) gap: Option<Value<Delay>>,
}

pub(super) type Pair = Spanned<Vec<Spanned<String>>>;

#[derive(Clone, Copy)]
pub(super) struct All;

impl Keyword for All {
    const WHAT: &'static str = "something that can be named here";
    const WORDS: &'static [(&'static str, Self)] = &[("all", Self)];
}
