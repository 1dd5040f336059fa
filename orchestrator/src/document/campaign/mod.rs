//! The document of an experiment of many runs: its cells, what its factors do, and where its runs are.

mod cells;
mod factors;
mod material;

pub use self::material::{CampaignMaterial, is_inside};

use super::figures::{about, asserted, empty_section, program_and_machine};
use super::{Choice, Document, Figure, Key, Section, Table, count};
use crate::campaign::{CampaignDir, CellRecord, CellSummary, RunRecord, State};
use samp_chart::Entry;
use samp_model::metric::Metric;
use std::path::Path;

/// The metrics that have pictures; tables have all.
const DRAWN: [Metric; 5] = [
    Metric::HandoffTotal,
    Metric::HandoffGapDownlink,
    Metric::HandoffRegistration,
    Metric::Srd,
    Metric::MediaMos,
];
/// Rows that are drawn.
const ROWS: usize = 40;
/// Runs that are listed.
const RUNS: usize = 2_000;

impl Document {
    /// Of an experiment of many runs.
    pub fn of_campaign(material: &CampaignMaterial, pages: &[&Path]) -> Self {
        let CampaignMaterial { dir, summary, .. } = material;
        let factors = dir.design.factors.iter().map(|factor| factor.name.as_str()).collect::<Vec<_>>();
        let sections = [
            asserted(&material.assertions),
            factors::effects(summary),
            factors::levels(material),
            Some(cells::section(&summary.cells, &factors)),
            Some(runs(dir, pages)),
            Some(provenance(material)),
        ];
        Self {
            title: dir.design.experiment.clone(),
            kind: "experiment",
            about: about(&material.provenance),
            invalid_because: Vec::new(),
            keys: keys(material),
            sections: sections.into_iter().flatten().collect(),
        }
    }
}

fn keys(material: &CampaignMaterial) -> Vec<Key> {
    let dir = &material.dir;
    let of = |wanted: fn(&State) -> bool| dir.runs().filter(|run| wanted(&run.state)).count();
    let valid = dir.runs().filter(|run| run.is_valid()).count();
    let key = |name: &str, value: usize, detail: String| Key {
        name: name.into(),
        value: value.to_string(),
        detail,
    };
    let factors: Vec<_> = dir.design.factors.iter().map(|factor| factor.name.as_str()).collect();
    let mut keys = vec![
        key(
            "Cells",
            dir.cells.len(),
            if factors.is_empty() { "no factors".into() } else { factors.join(", ") },
        ),
        key(
            "Runs",
            dir.runs().count(),
            format!("{} of each cell", count(dir.design.repetitions, "repetition")),
        ),
        key("Valid runs", valid, "all that is counted below".into()),
    ];
    let invalid = of(|state| matches!(state, State::Done { .. })) - valid;
    let (failed, pending) =
        (of(|state| matches!(state, State::Failed { .. })), of(|state| matches!(state, State::Pending)));
    for (name, n, detail) in [
        ("Invalid runs", invalid, "never averaged in"),
        ("Failed runs", failed, "broken off"),
        ("Pending runs", pending, "not made yet"),
    ] {
        if n > 0 {
            keys.push(key(name, n, detail.into()));
        }
    }
    if !material.assertions.is_empty() {
        let hold = material.assertions.iter().filter(|asserted| asserted.holds).count();
        keys.push(key("Assertions", hold, format!("hold, of {}", material.assertions.len())));
    }
    keys
}

/// All runs, with links to those that have a page.
fn runs(dir: &CampaignDir, pages: &[&Path]) -> Section {
    let mut section = empty_section("runs", "Runs");
    let all = dir.runs().count();
    let linked = |cell: &CellRecord| {
        let runs = cell.runs.iter().filter(|run| pages.contains(&run.directory.as_path()));
        let choice = |run: &RunRecord| Choice {
            group: directory_name(&cell.directory),
            label: run.repetition.to_string(),
            took: None,
            href: format!("./{}/report.html", run.directory.display()),
            figures: Vec::new(),
        };
        runs.map(choice).collect::<Vec<_>>()
    };
    section.choices = dir.cells.iter().flat_map(linked).collect();
    if !pages.is_empty() {
        section.text.push(format!("{} of {} have a page of their own.", pages.len(), count(all, "run")));
    }
    let rows = dir.cells.iter().flat_map(|cell| &cell.runs).take(RUNS).map(|run| {
        let (state, why) = match &run.state {
            State::Done { invalid_because } if invalid_because.is_empty() => ("valid", String::new()),
            State::Done { invalid_because } => ("invalid", invalid_because.join("; ")),
            State::Failed { error } => ("failed", error.clone()),
            State::Pending => ("pending", String::new()),
        };
        vec![run.directory.display().to_string(), run.seed.to_string(), state.to_owned(), why]
    });
    section.figures.push(Figure {
        id: "runs".into(),
        title: "Each run".into(),
        caption: format!("What became of the {}.", count(all, "run")),
        picture: None,
        table: Table::of(&["run", "seed", "state", "why"], rows),
        is_half: false,
    });
    section
}

/// Whence the figures come.
fn provenance(material: &CampaignMaterial) -> Section {
    let mut section = empty_section("provenance", "Provenance");
    section.figures.push(program_and_machine(&material.provenance, material.dir.runs().count(), "run"));
    section
}

/// A cell's name, and its levels.
fn name(cell: &CellSummary, factors: &[&str]) -> String {
    let levels: Vec<_> = factors
        .iter()
        .filter_map(|factor| Some(format!("{factor} = {}", cell.levels.get(*factor)?)))
        .collect();
    if levels.is_empty() { directory_name(&cell.directory) } else { levels.join(", ") }
}

fn directory_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A metric with its unit.
fn titled(metric: Metric) -> String {
    match metric.kind().unit() {
        "" => metric.name().to_owned(),
        unit => format!("{}, {unit}", metric.name()),
    }
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn entry(class: &str, name: &str, key: samp_chart::Key) -> Entry {
    Entry { class: class.into(), name: name.into(), key }
}
