//! Calibration: whether links did what they were told, and processes got processors.

use super::super::material::{Calibration, Direction, Waiting};
use super::super::{Figure, Material, Section, Table};
use super::empty_section;
use samp_chart::{Dots, Entry, Key, Row, Scale};

/// Directions, or processes, that are drawn.
const DRAWN: usize = 14;

/// The section; where links were not probed it says so.
pub(super) fn section(material: &Material) -> Option<Section> {
    if material.is_simulated() {
        return None;
    }
    let mut section = empty_section("calibration", "Calibration");
    match &material.calibration {
        None => section.text.push(
            "The links of this run were not probed. `samp-lab run --calibrate` does so before the first step.".to_owned(),
        ),
        Some(calibration) => {
            section.figures.extend([links(calibration), waits(calibration)]);
        }
    }
    Some(section)
}

fn off(direction: &Direction) -> Option<f64> {
    Some(direction.measured.p50_ms? - direction.expected.p50_ms?)
}

fn links(calibration: &Calibration) -> Figure {
    let title = "Links: median delay, measured less configured";
    let tolerance = calibration.before.tolerance.p50_ms;
    let mut directions: Vec<_> = calibration.before.directions.iter().collect();
    directions.sort_by(|a, b| {
        let size = |direction: &&Direction| off(direction).map_or(f64::INFINITY, f64::abs);
        size(b).total_cmp(&size(a))
    });
    let row = |direction: &&Direction| {
        let off = off(direction);
        Row {
            name: format!("{} → {}", direction.from, direction.to),
            class: if direction.faults.is_empty() { "s1" } else { "bad" }.into(),
            values: off.into_iter().collect(),
            tick: None,
            expected: None,
            allowed: Some([-tolerance, tolerance]),
            value: off.map_or_else(|| "no probe arrived".to_owned(), |off| format!("{off:+.3} ms")),
        }
    };
    let entry = |class: &str, name: &str, key| Entry { class: class.into(), name: name.into(), key };
    let picture = Dots {
        title: title.to_owned(),
        x: Scale { label: "ms", is_log: false },
        rows: directions.iter().take(DRAWN).map(row).collect(),
        legend: vec![
            entry("s1", "within tolerance", Key::Mark(0)),
            entry("bad", "out of tolerance", Key::Mark(0)),
            entry("s1", "tolerance", Key::Pale),
        ],
        width: 230.0,
    };
    let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    let rows = directions.iter().map(|direction| {
        vec![
            direction.from.clone(),
            direction.to.clone(),
            cell(direction.expected.p50_ms),
            cell(direction.measured.p50_ms),
            cell(direction.measured.p99_ms),
            direction.faults.join("; "),
        ]
    });
    let header = ["from", "to", "configured p50 ms", "measured p50 ms", "p99 ms", "faults"];
    let out = directions.iter().filter(|direction| !direction.faults.is_empty()).count();
    Figure {
        id: "calibration".into(),
        title: title.to_owned(),
        caption: format!(
            "Probes both ways over every link before the first step: {out} of {} directions are out of tolerance. Drawn are the \
             {} that are off most.",
            directions.len(),
            directions.len().min(DRAWN)
        ),
        picture: Some(picture.picture()),
        table: Table::of(&header, rows),
        is_half: true,
    }
}

fn waits(calibration: &Calibration) -> Figure {
    let title = "Processes: how long they waited for a processor";
    let row = |waiting: &Waiting| Row {
        name: waiting.process.clone(),
        class: if waiting.starved { "bad" } else { "s1" }.into(),
        values: vec![waiting.p99_ms],
        tick: None,
        expected: None,
        allowed: Some([0.0, calibration.before.tolerance.cpu_wait_p99_ms]),
        value: format!("{:.3} ms", waiting.p99_ms),
    };
    let picture = Dots {
        title: title.to_owned(),
        x: Scale { label: "99th percentile, ms", is_log: false },
        rows: calibration.waits.iter().take(DRAWN).map(row).collect(),
        legend: Vec::new(),
        width: 230.0,
    };
    let rows = calibration.waits.iter().map(|waiting| {
        vec![waiting.process.clone(), format!("{:.3}", waiting.p99_ms), format!("{:.3}", waiting.max_ms)]
    });
    Figure {
        id: "processor-waits".into(),
        title: title.to_owned(),
        caption: format!(
            "Mean waits on run queues in windows of 100 ms, from the first step to the last; the band is what is tolerated. Drawn are \
             the {} that waited longest.",
            calibration.waits.len().min(DRAWN)
        ),
        picture: (!calibration.waits.is_empty()).then(|| picture.picture()),
        table: Table::of(&["process", "p99 ms", "max ms"], rows),
        is_half: true,
    }
}
