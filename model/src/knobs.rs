//! SAMP's knobs one by one, as a report lists them.

use crate::settings::{Profile, SampSettings};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is no knob but a secret, or the name for all of them.
const LEFT_OUT: [&str; 2] = ["passwords", "profile"];

/// A knob and what the profiles make of it, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Knob {
    /// Its name, as `tier1.size`.
    pub name: String,
    /// How it is set.
    pub value: String,
    /// How `profile: paper` sets it.
    pub paper: String,
    /// How `profile: recommended` sets it.
    pub recommended: String,
}

impl SampSettings {
    /// All knobs, by name.
    pub fn knobs(&self) -> Vec<Knob> {
        let paper = flat(&Self::of_profile(Profile::Paper));
        let recommended = flat(&Self::of_profile(Profile::Recommended));
        let of = |all: &BTreeMap<String, String>, name: &str| all.get(name).cloned().unwrap_or_default();
        let knobs = flat(self).into_iter().map(|(name, value)| Knob {
            paper: of(&paper, &name),
            recommended: of(&recommended, &name),
            name,
            value,
        });
        knobs.collect()
    }
}

fn flat(settings: &SampSettings) -> BTreeMap<String, String> {
    let mut knobs = BTreeMap::new();
    // Settings are plain data, which always becomes JSON.
    if let Ok(Value::Object(fields)) = serde_json::to_value(settings) {
        for (name, value) in fields.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())) {
            collect(name, value, &mut knobs);
        }
    }
    knobs
}

fn collect(name: &str, value: &Value, knobs: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(fields) => match (&value["secs"], &value["nanos"]) {
            (Value::Number(seconds), Value::Number(nanos)) => {
                let (seconds, nanos) = (seconds.as_u64().unwrap_or(0), nanos.as_u64().unwrap_or(0));
                format!("{:?}", Duration::from_secs(seconds) + Duration::from_nanos(nanos))
            }
            _ => {
                return fields
                    .iter()
                    .for_each(|(part, value)| collect(&format!("{name}.{part}"), value, knobs));
            }
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    knobs.insert(name.to_owned(), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_is_listed_with_both_profiles() {
        let mut settings = SampSettings { delta: Duration::from_millis(20), ..SampSettings::default() };
        settings.passwords.insert("mn1".to_owned(), "secret".to_owned());
        let knobs = settings.knobs();
        let knob =
            |name: &str| knobs.iter().find(|knob| knob.name == name).unwrap_or_else(|| panic!("no {name}"));
        let values = |name| {
            let Knob { value, paper, recommended, .. } = knob(name);
            [value.as_str(), paper, recommended]
        };
        assert_eq!(values("delta"), ["20ms", "40ms", "40ms"]);
        assert_eq!(values("confirm"), ["standard", "paper", "standard"]);
        assert_eq!(values("tier1.lifetime"), ["60s", "60s", "60s"]);
        assert_eq!(values("chord.replicas")[1], "1");
        assert!(knobs.len() > 25 && !format!("{knobs:?}").contains("secret"));
    }
}
