//! What an experiment asserts about its figures, as `handoff.total.p95 < 50ms for hr = on`.

use super::campaign::Factor;
use crate::diagnostic::{did_you_mean, one_of, quote};
use crate::metric::{Kind, Metric};
use crate::units::{Delay, InvalidValue, Percent};
use serde::{Serialize, Serializer};

/// Assertions of an experiment at most.
pub(super) const MAX_ASSERTIONS: usize = 1_000;

/// Something that is to hold for the figures of each cell, or of some cells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assertion {
    /// As it is written.
    pub text: String,
    /// What is measured.
    pub metric: Metric,
    /// Which figure of it; none for a share, which is one figure.
    pub statistic: Option<Statistic>,
    /// How the figure is to be.
    pub relation: Relation,
    /// Compared with what, in the metric's unit.
    pub limit: f64,
    /// The factors with the levels for which it is to hold; all others do not matter.
    pub levels: Vec<(String, String)>,
}

/// A figure of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// How many values there are.
    N,
    /// The median.
    P50,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
    /// The maximum.
    Max,
}

const STATISTICS: [(&str, Statistic); 5] = [
    ("n", Statistic::N),
    ("p50", Statistic::P50),
    ("p95", Statistic::P95),
    ("p99", Statistic::P99),
    ("max", Statistic::Max),
];

/// How two numbers are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

/// The longer ones first, as they begin with others.
const RELATIONS: [(&str, Relation); 5] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("==", Relation::Equal),
    ("<", Relation::Less),
    (">", Relation::Greater),
];

impl Relation {
    /// Whether two numbers are so.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Relation::Less => left < right,
            Relation::AtMost => left <= right,
            Relation::Greater => left > right,
            Relation::AtLeast => left >= right,
            Relation::Equal => left == right,
        }
    }
}

impl Serialize for Relation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sign = RELATIONS.iter().find(|(_, relation)| relation == self).map_or("", |(sign, _)| sign);
        serializer.serialize_str(sign)
    }
}

impl Assertion {
    /// What a text asserts, of an experiment with these factors.
    pub(super) fn parse(text: &str, factors: &[Factor]) -> Result<Self, InvalidValue> {
        let (claim, condition) = match text.split_once(" for ") {
            Some((claim, condition)) => (claim, Some(condition)),
            None => (text, None),
        };
        let at = RELATIONS.iter().filter_map(|(sign, relation)| Some((claim.find(sign)?, sign, *relation)));
        // Of two signs at one place the longer one is meant, which comes first.
        let Some((at, sign, relation)) = at.min_by_key(|(at, ..)| *at) else {
            return Err(invalid(format!("{} compares nothing", quote(claim.trim()))));
        };
        let (figure, limit) = (claim[..at].trim(), claim[at + sign.len()..].trim());
        let (metric, statistic) = self::figure(figure)?;
        let limit = self::limit(limit, metric, statistic)?;
        let levels = match condition {
            Some(condition) => {
                condition.split(" and ").map(|part| level(part, factors)).collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        };
        Ok(Self { text: text.trim().to_owned(), metric, statistic, relation, limit, levels })
    }
}

fn invalid(message: String) -> InvalidValue {
    InvalidValue { message, hint: "write it as `handoff.total.p95 < 50ms` or `call.ser >= 99%`".to_owned() }
}

/// A metric, and which figure of it.
fn figure(text: &str) -> Result<(Metric, Option<Statistic>), InvalidValue> {
    let names = STATISTICS.map(|(name, _)| name);
    if let Some(metric) = Metric::find(text) {
        return match metric.kind() {
            Kind::Share => Ok((metric, None)),
            _ => Err(InvalidValue {
                message: format!("{} has several figures", quote(text)),
                hint: format!(
                    "add which one: {}",
                    one_of(&names.map(|name| format!(".{name}")).each_ref().map(String::as_str))
                ),
            }),
        };
    }
    let (name, last) = text.rsplit_once('.').unwrap_or((text, ""));
    let statistic = STATISTICS.iter().find(|(name, _)| *name == last).map(|(_, statistic)| *statistic);
    match (Metric::find(name), statistic) {
        (Some(metric), Some(_)) if metric.kind() == Kind::Share => Err(InvalidValue {
            message: format!("{} is one figure", quote(name)),
            hint: format!("write `{name} >= 99%`"),
        }),
        (Some(metric), Some(statistic)) => Ok((metric, Some(statistic))),
        (Some(_), None) => Err(InvalidValue {
            message: format!("there is no figure {}", quote(last)),
            hint: format!("write {}", one_of(&names)),
        }),
        (None, statistic) => {
            let name = if statistic.is_some() { name } else { text };
            let meant = did_you_mean(name, Metric::all().map(Metric::name));
            Err(InvalidValue {
                message: format!("there is no metric {}", quote(name)),
                hint: meant.map_or_else(
                    || "docs/experiments.md lists them; among them are handoff.total and call.ser".to_owned(),
                    |meant| format!("did you mean `{meant}`?"),
                ),
            })
        }
    }
}

/// A limit in the metric's unit.
fn limit(text: &str, metric: Metric, statistic: Option<Statistic>) -> Result<f64, InvalidValue> {
    let kind = if statistic == Some(Statistic::N) { Kind::Count } else { metric.kind() };
    match kind {
        Kind::Milliseconds => text.parse::<Delay>().map(|delay| delay.get().as_nanos() as f64 / 1e6),
        // What the fraction is of would not always be the number that was written.
        Kind::Share => text.parse::<Percent>().and_then(|_| number(text.trim_end_matches('%'))),
        Kind::Count | Kind::Score => number(text),
    }
}

fn number(text: &str) -> Result<f64, InvalidValue> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(invalid(format!("{} is not a number", quote(text)))),
    }
}

/// A factor and its level, as `hr = on`.
fn level(text: &str, factors: &[Factor]) -> Result<(String, String), InvalidValue> {
    let Some((name, level)) = text.split_once('=').map(|(name, level)| (name.trim(), level.trim())) else {
        return Err(InvalidValue {
            message: format!("{} is no level of a factor", quote(text.trim())),
            hint: "write it as `for hr = on`".to_owned(),
        });
    };
    let missing = |what: &str, name: &str, names: Vec<&str>| InvalidValue {
        message: format!("there is no {what} {}", quote(name)),
        hint: match did_you_mean(name, names.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if names.is_empty() => "this experiment has no factors".to_owned(),
            None => format!("there are {}", names.join(", ")),
        },
    };
    let Some(factor) = factors.iter().find(|factor| factor.name == name) else {
        return Err(missing("factor", name, factors.iter().map(|factor| factor.name.as_str()).collect()));
    };
    if !factor.levels.iter().any(|own| own == level) {
        return Err(missing("level", level, factor.levels.iter().map(String::as_str).collect()));
    }
    Ok((name.to_owned(), level.to_owned()))
}
