//! Whence the figures come: program, machine, inputs, knobs.

use super::super::{Figure, Material, Section, Table, count};
use super::empty_section;
use serde_json::Value;

/// The section.
pub(super) fn section(material: &Material) -> Section {
    let mut section = empty_section("provenance", "Provenance");
    section.figures.push(program_and_machine(&material.provenance, material.run.records.len(), "record"));
    let knobs = material.summary.knobs.iter().map(|knob| {
        vec![knob.name.clone(), knob.value.clone(), knob.recommended.clone(), knob.paper.clone()]
    });
    section.figures.push(Figure {
        id: "knobs".into(),
        title: "Knobs".into(),
        caption: "How the protocol was set, and how its profiles set it.".into(),
        picture: None,
        table: Table::of(&["knob", "value", "recommended", "paper"], knobs),
        is_half: false,
    });
    let done = material.report.interventions.iter().map(|intervention| {
        vec![
            format!("{:.3}", intervention.at.as_secs_f64()),
            intervention.node.clone(),
            intervention.what.clone(),
        ]
    });
    let table = Table::of(&["at s", "node", "what"], done);
    if !table.rows.is_empty() {
        section.figures.push(Figure {
            id: "interventions".into(),
            title: "Done to the lab".into(),
            caption: "Changes of the network and of nodes from outside, since the first record.".into(),
            picture: None,
            table,
            is_half: false,
        });
    }
    section
}

/// What `provenance.json` holds, of results with so many runs or records.
pub(in crate::document) fn program_and_machine(provenance: &Value, n: usize, what: &str) -> Figure {
    let mut rows = Vec::new();
    flatten("", provenance, &mut rows);
    Figure {
        id: "provenance".into(),
        title: "Program, machine, inputs".into(),
        caption: format!("What provenance.json holds; {} in all.", count(n, what)),
        picture: None,
        table: Table::of(&["what", "value"], rows),
        is_half: false,
    }
}

/// One row for each value; words in a list make one, as a command line does.
fn flatten(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&inner(key), value, rows)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| flatten(&inner(&(index + 1).to_string()), item, rows));
        }
        Value::Array(items) => {
            let words: Vec<_> = items.iter().map(text).collect();
            rows.push(vec![name.to_owned(), words.join(" ")]);
        }
        single => rows.push(vec![name.to_owned(), text(single)]),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_row() {
        let value = serde_json::json!({ "a": { "b": 1, "c": null }, "d": ["x", "y"], "e": [{ "f": true }] });
        let mut rows = Vec::new();
        flatten("", &value, &mut rows);
        assert_eq!(rows, [["a.b", "1"], ["a.c", "–"], ["d", "x y"], ["e.1.f", "true"]]);
    }
}
