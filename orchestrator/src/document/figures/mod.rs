//! The figures of a run, subject by subject.

mod calibration;
mod calls;
mod handoffs;
mod map;
mod media;
mod outages;
mod prediction;
mod provenance;
mod segments;
mod sequence;
mod servers;

pub(super) use self::provenance::program_and_machine;

use super::material::Asserted;
use super::{Document, Figure, Key, Material, Prediction, Section, Table, brief, count};
use crate::report::{Delta, Ranks, emulation, rank, word};
use samp_chart::{Line, Lines, Point, Scale, Shape};
use samp_model::settings::EmulationSettings;
use samp_model::{Time, Topology};
use serde_json::Value;
use std::time::Duration;

impl Document {
    /// Of one run.
    pub fn of_run(material: &Material, prediction: &Prediction) -> Self {
        let sections = [
            asserted(&material.assertions),
            Some(map::section(material)),
            handoffs::section(material),
            media::section(material),
            calls::section(material),
            servers::section(material),
            outages::section(material),
            sequence::section(material),
            Some(prediction::section(prediction)),
            calibration::section(material),
            Some(provenance::section(material)),
        ];
        Self {
            title: material.run.experiment.name.clone(),
            kind: "run",
            about: about_run(material),
            invalid_because: material.invalid_because.clone(),
            keys: keys(material),
            sections: sections.into_iter().flatten().collect(),
        }
    }
}

/// The first instant of a run.
fn start(material: &Material) -> Time {
    material.run.records.iter().map(|record| record.at).min().unwrap_or(Time::ZERO)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn about_run(material: &Material) -> Vec<String> {
    let topology: &Topology = &material.run.topology;
    let mut facts =
        vec![format!("topology {}", topology.name), format!("seed {}", material.run.experiment.seed)];
    facts.extend(about(&material.provenance));
    facts
}

/// Program and machine in a few words.
pub(super) fn about(provenance: &Value) -> Vec<String> {
    let settings = provenance.get("emulation").cloned().unwrap_or_default();
    let how = match serde_json::from_value::<EmulationSettings>(settings) {
        Ok(settings) => emulation(&settings),
        Err(_) => "simulated, in virtual time".to_owned(),
    };
    let text = |name: &str| provenance.get(name).and_then(Value::as_str);
    let kernel = text("kernel").map(|kernel| format!("kernel {kernel}"));
    let family = text("family").map(str::to_owned);
    let started = text("started").map(str::to_owned);
    [Some(how), family, kernel, started].into_iter().flatten().collect()
}

/// Whether what was asserted holds.
pub(super) fn asserted(assertions: &[Asserted]) -> Option<Section> {
    if assertions.is_empty() {
        return None;
    }
    let mut section = empty_section("assertions", "Assertions");
    let failed = assertions.iter().filter(|asserted| !asserted.holds).count();
    section.text.push(match failed {
        0 => format!("All {} hold.", assertions.len()),
        failed => format!("{failed} of {} do not hold.", assertions.len()),
    });
    let row = |asserted: &Asserted| {
        let Asserted { cell, assertion, holds, failure } = asserted;
        vec![
            assertion.clone(),
            cell.clone().unwrap_or_else(|| "–".to_owned()),
            if *holds { "holds" } else { "does NOT hold" }.to_owned(),
            failure.clone().unwrap_or_default(),
        ]
    };
    section.figures.push(Figure {
        id: "assertions".into(),
        title: "What was asserted".into(),
        caption: "As the experiment file has it, on each cell that it is about.".into(),
        picture: None,
        table: Table::of(&["assertion", "cell", "verdict", "why"], assertions.iter().map(row)),
        is_half: false,
    });
    Some(section)
}

fn keys(material: &Material) -> Vec<Key> {
    let summary = &material.summary;
    let handoffs = &summary.handoffs;
    let mut keys = Vec::new();
    let mut key = |name: &str, value: String, detail: String| {
        keys.push(Key { name: name.to_owned(), value, detail });
    };
    if handoffs.n > 0 {
        key("Handoffs", handoffs.n.to_string(), format!("{} complete", handoffs.complete));
    }
    let detail = |ranks: &Ranks<Delta>| {
        format!("p95 {}, max {}", brief(ranks.p95.as_millis()), brief(ranks.max.as_millis()))
    };
    // What a user hears first, and where there are no calls, what the network does.
    if let Some(path) = handoffs.paths.first() {
        key(&format!("Handoff, {} (p50)", path.path), brief(path.total.p50.as_millis()), detail(&path.total));
    }
    for media in handoffs.media.iter().filter(|media| media.direction == "downlink") {
        key("Media gap, downlink (p50)", brief(media.media_gap.p50.as_millis()), detail(&media.media_gap));
    }
    if !handoffs.media.is_empty() {
        let lost: u64 = handoffs.media.iter().map(|media| media.packets_lost_total).sum();
        key(
            "Packets lost",
            lost.to_string(),
            format!("by {}, both ways", count(handoffs.complete, "handoff")),
        );
    }
    let calls = &summary.calls;
    if calls.attempts > 0 {
        key("Calls", calls.attempts.to_string(), format!("{} established", calls.established));
    }
    if let Some(most) = calls.by_cache.iter().max_by_key(|cache| cache.srd.n) {
        let name = format!("Call set-up, {} (p50)", word(&most.cache).replace('_', " "));
        key(&name, brief(most.srd.p50.as_millis()), detail(&most.srd));
    }
    keys
}

/// The distributions of samples as steps, with a table of percentiles.
fn distribution(
    id: &str,
    title: &str,
    caption: &str,
    label: &str,
    samples: Vec<(String, Vec<Delta>)>,
) -> Option<Figure> {
    const PERCENTILES: [usize; 6] = [5, 25, 50, 75, 95, 99];
    let samples: Vec<_> = samples
        .into_iter()
        .filter(|(_, sample)| !sample.is_empty())
        .map(|(name, mut sample)| {
            sample.sort_unstable();
            (name, sample)
        })
        .collect();
    if samples.is_empty() {
        return None;
    }
    let line = |(name, sorted): &(String, Vec<Delta>)| {
        let n = sorted.len() as f64;
        let point =
            |(index, value): (usize, &Delta)| Point::exact(value.as_millis(), (index + 1) as f64 / n * 100.0);
        Line {
            name: format!("{name} (n = {})", sorted.len()),
            points: sorted.iter().enumerate().map(point).collect(),
        }
    };
    let picture = Lines {
        title: title.to_owned(),
        x: Scale { label, is_log: false },
        y: Scale { label: "share, %", is_log: false },
        lines: samples.iter().map(line).collect(),
        shape: Shape::Steps,
        note: String::new(),
        size: [400.0, 220.0],
    };
    let columns: Vec<String> = PERCENTILES.iter().map(|percent| format!("p{percent} ms")).collect();
    let header: Vec<&str> =
        ["sample", "n"].into_iter().chain(columns.iter().map(String::as_str)).chain(["max ms"]).collect();
    let row = |(name, sorted): &(String, Vec<Delta>)| {
        let mut row = vec![name.clone(), sorted.len().to_string()];
        row.extend(PERCENTILES.iter().chain(&[100]).map(|percent| super::maybe(rank(sorted, *percent))));
        row
    };
    Some(Figure {
        id: id.to_owned(),
        title: title.to_owned(),
        caption: caption.to_owned(),
        picture: Some(picture.picture()),
        table: Table::of(&header, samples.iter().map(row)),
        is_half: true,
    })
}

/// A section without anything yet.
pub(super) fn empty_section(id: &'static str, title: &'static str) -> Section {
    Section { id, title, text: Vec::new(), figures: Vec::new(), choices: Vec::new() }
}
