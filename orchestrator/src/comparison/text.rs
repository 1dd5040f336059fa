//! A comparison as people read it.

use super::{Comparison, DelayComparison, Difference};
use crate::report::{Delta, table};

/// The differences, then the delays.
pub fn describe(comparison: &Comparison) -> String {
    let Comparison { conversations, differences, delays, .. } = comparison;
    let mut text = format!(
        "messages: {} of {conversations} conversations are the same\n",
        conversations - differences.len()
    );
    for Difference { conversation, after, measured, predicted } in differences {
        let or_nothing = |message: &Option<String>| message.clone().unwrap_or_else(|| "nothing".to_owned());
        text += &format!(
            "  {} {} after {after} messages: measured {}, predicted {}\n",
            conversation.node,
            conversation.call,
            or_nothing(measured),
            or_nothing(predicted)
        );
    }
    text += "\ndelays over links, at the median\n";
    let row = |one: &DelayComparison| {
        let ms = |delta: Delta| format!("{:.3}", delta.as_millis());
        vec![
            format!("  {}", one.delay),
            one.n.to_string(),
            one.hops.to_string(),
            ms(one.measured),
            ms(one.predicted),
            ms(Delta(one.measured.0 - one.predicted.0)),
            ms(one.allowed),
            if one.agrees() { "yes" } else { "NO" }.to_owned(),
        ]
    };
    let header = ["  delay", "n", "hops", "measured ms", "predicted", "difference", "allowed", "agrees"];
    text += &table(&header, delays.iter().map(row));
    text += if comparison.agrees { "\nthe run is as predicted\n" } else { "\nthe run is not as predicted\n" };
    text
}
