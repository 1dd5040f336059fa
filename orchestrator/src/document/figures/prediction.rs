//! The run beside its prediction by the simulator.

use super::super::{Figure, Prediction, Section, Table, delta};
use super::empty_section;
use crate::comparison::{Comparison, DelayComparison, Difference};
use crate::report::Delta;
use samp_chart::{Dots, Entry, Key, Row, Scale};

/// Conversations that are listed.
const LISTED: usize = 50;

/// The section.
pub(super) fn section(prediction: &Prediction) -> Section {
    let mut section = empty_section("prediction", "Prediction");
    match prediction {
        Prediction::None(why) => section.text.push(why.clone()),
        Prediction::Made(comparison) => {
            section.text.push(text(comparison));
            if !comparison.delays.is_empty() {
                section.figures.push(delays(&comparison.delays));
            }
            if !comparison.differences.is_empty() {
                section.figures.push(differences(&comparison.differences));
            }
        }
    }
    section
}

fn text(comparison: &Comparison) -> String {
    format!(
        "The same experiment in the simulator, where links and timers take as long as they would and all else takes no time. {} of \
         {} conversations have the same messages; {} of {} delays are within what they may be off.",
        comparison.conversations - comparison.differences.len(),
        comparison.conversations,
        comparison.delays.iter().filter(|delay| delay.agrees()).count(),
        comparison.delays.len()
    )
}

fn delays(delays: &[DelayComparison]) -> Figure {
    let title = "Delays over links: measured and predicted";
    let row = |delay: &DelayComparison| {
        let (predicted, allowed) = (delay.predicted.as_millis(), delay.allowed.as_millis());
        Row {
            name: delay.delay.clone(),
            class: if delay.agrees() { "s1" } else { "bad" }.into(),
            values: vec![delay.measured.as_millis()],
            tick: None,
            expected: Some(predicted),
            allowed: Some([predicted - allowed, predicted + allowed]),
            value: format!("{:+.3} ms", delay.measured.as_millis() - predicted),
        }
    };
    let entry = |class: &str, name: &str, key| Entry { class: class.into(), name: name.into(), key };
    let picture = Dots {
        title: title.to_owned(),
        x: Scale { label: "median, ms", is_log: false },
        rows: delays.iter().map(row).collect(),
        legend: vec![
            entry("s1", "measured", Key::Mark(0)),
            entry("s1", "predicted", Key::Hollow(3)),
            entry("s1", "may be off so far", Key::Pale),
            entry("bad", "is off farther", Key::Mark(0)),
        ],
        width: 460.0,
    };
    let rows = delays.iter().map(|delay| {
        vec![
            delay.delay.clone(),
            delay.n.to_string(),
            delay.hops.to_string(),
            delta(delay.measured),
            delta(delay.predicted),
            delta(Delta(delay.measured.0 - delay.predicted.0)),
            delta(delay.allowed),
            if delay.agrees() { "yes" } else { "no" }.to_owned(),
        ]
    });
    let header =
        ["delay", "n", "hops", "measured ms", "predicted ms", "difference ms", "allowed ms", "agrees"];
    Figure {
        id: "prediction".into(),
        title: title.to_owned(),
        caption: "Medians of what passes links; behind each row, measured less predicted. A delay may be off by so much for each link \
                  on its way, or by 5 % of its floor, whichever is more."
            .into(),
        picture: Some(picture.picture()),
        table: Table::of(&header, rows),
        is_half: false,
    }
}

fn differences(differences: &[Difference]) -> Figure {
    let or_nothing = |message: &Option<String>| message.clone().unwrap_or_else(|| "nothing".to_owned());
    let rows = differences.iter().take(LISTED).map(|difference| {
        vec![
            difference.conversation.node.clone(),
            difference.conversation.call.clone(),
            difference.after.to_string(),
            or_nothing(&difference.measured),
            or_nothing(&difference.predicted),
        ]
    });
    Figure {
        id: "conversations".into(),
        title: "Conversations that are not as predicted".into(),
        caption: format!(
            "What one node sends and receives under one Call-ID; the first {LISTED} of {}.",
            differences.len()
        ),
        picture: None,
        table: Table::of(&["node", "call", "after messages", "measured", "predicted"], rows),
        is_half: false,
    }
}
