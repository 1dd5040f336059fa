//! JSON Schema of the two kinds of input file, for editors and for whoever writes such files by program.
//!
//! `schema/topology.json` and `schema/experiment.json` are these, written down. Draft 7 is what editors know best.
//! A schema knows the fields and how values are written; what they mean together (that a name is defined, that a graph
//! is connected) only reading the file tells.

use crate::topology::{Jitter, Loss, RateChange};
use crate::units::{Delay, Frequency, Interval, Percent, Rate, Speed};
use crate::yaml::{Keyword, Title, Whole, Word};
use serde_json::{Map, Value, json};

/// The schema of topology files.
pub fn topology() -> Value {
    crate::topology::schema()
}

/// The schema of experiment files.
pub fn experiment() -> Value {
    crate::experiment::schema()
}

/// A scalar of the files.
pub(crate) trait Scalar {
    /// How it is written.
    fn schema() -> Value;
}

/// A number and its unit.
fn quantity(units: &str, examples: &[&str]) -> Value {
    json!({ "type": "string", "pattern": format!(r"^[0-9]+(\.[0-9]+)?({units})$"), "examples": examples })
}

impl Scalar for Delay {
    fn schema() -> Value {
        let examples = ["2ms", "500us", "1s"];
        json!({ "anyOf": [quantity("us|ms|s", &examples), { "const": 0 }], "examples": examples })
    }
}

impl Scalar for Interval {
    fn schema() -> Value {
        quantity("us|ms|s", &["2ms", "500us", "1s"])
    }
}

impl Scalar for Percent {
    fn schema() -> Value {
        quantity("%", &["0.1%"])
    }
}

impl Scalar for Jitter {
    fn schema() -> Value {
        let examples = ["1ms", "1ms normal"];
        json!({ "anyOf": [quantity("(us|ms|s)( uniform| normal)?", &examples), { "const": 0 }], "examples": examples })
    }
}

impl Scalar for Loss {
    fn schema() -> Value {
        let share = r"[0-9]+(\.[0-9]+)?%";
        let pattern = format!("^({share}|gemodel( {share}){{2,4}})$");
        json!({ "type": "string", "pattern": pattern, "examples": ["0.1%", "gemodel 1% 30%"] })
    }
}

impl Scalar for Rate {
    fn schema() -> Value {
        quantity("kbit|mbit|gbit", &["64kbit", "100mbit", "1gbit"])
    }
}

impl Scalar for Speed {
    fn schema() -> Value {
        quantity("m/s", &["15m/s", "1.4m/s"])
    }
}

impl Scalar for Frequency {
    fn schema() -> Value {
        quantity("/s", &["500/s"])
    }
}

impl Scalar for RateChange {
    fn schema() -> Value {
        let pattern = r"^([0-9]+(\.[0-9]+)?(kbit|mbit|gbit)|none)$";
        json!({ "type": "string", "pattern": pattern, "examples": ["100mbit", "none"] })
    }
}

impl Scalar for Title {
    fn schema() -> Value {
        let pattern = format!("^[a-z0-9][a-z0-9-]{{0,{}}}$", Self::LONGEST - 1);
        json!({ "type": "string", "pattern": pattern, "maxLength": Self::LONGEST })
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Whole<MIN, MAX> {
    fn schema() -> Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// One of the words of a keyword; true and false are what YAML has for them.
impl<T: Keyword> Scalar for Word<T> {
    fn schema() -> Value {
        let words: Vec<_> = T::WORDS.iter().map(|&(word, _)| word).collect();
        if words == ["true", "false"] { json!({ "type": "boolean" }) } else { json!({ "enum": words }) }
    }
}

/// The whole of a file.
pub(crate) fn document(title: &str, mut schema: Value) -> Value {
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    schema
}

/// A scalar field.
pub(crate) fn scalar<T: Scalar>(description: &str) -> Value {
    described(T::schema(), description)
}

/// A scalar field, and what holds without it.
pub(crate) fn scalar_or<T: Scalar>(description: &str, default: impl Into<Value>) -> Value {
    let mut schema = scalar::<T>(description);
    schema["default"] = default.into();
    schema
}

/// Any text, as a name that is defined elsewhere or a path.
pub(crate) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// Fields with values, and no others than these.
pub(crate) fn object(description: &str, required: &[&str], fields: Vec<(&str, Value)>) -> Value {
    let fields: Map<_, _> = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let mut schema = json!({
        "type": "object", "description": description, "properties": fields, "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// A list.
pub(crate) fn list(description: &str, items: Value) -> Value {
    json!({ "type": "array", "description": description, "items": items })
}

/// A list of two.
pub(crate) fn pair(description: &str, items: Value) -> Value {
    let mut schema = list(description, items);
    schema["minItems"] = json!(2);
    schema["maxItems"] = json!(2);
    schema
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}

#[cfg(test)]
mod tests;
