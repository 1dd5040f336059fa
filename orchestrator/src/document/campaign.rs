//! The document of an experiment of many runs: its cells, what its factors do, and where its runs are.

use super::figures::{about, asserted, empty_section, program_and_machine};
use super::material::{Asserted, Unreadable, assertions, read};
use super::{Choice, Document, Figure, Key, Section, Table, count, slug};
use crate::campaign::{
    CampaignDir, CampaignSummary, CellRecord, CellSummary, Effect, RunRecord, State, samples_of_cell,
    together,
};
use crate::report::{Figures, Samples, number};
use samp_chart::{Dots, Entry, Line, Lines, Point, Row, Scale, Shape};
use samp_model::metric::{Kind, Metric};
use serde_json::Value;
use std::path::{Component, Path};

/// The metrics that have pictures; tables have all.
const DRAWN: [Metric; 5] = [
    Metric::HandoffTotal,
    Metric::HandoffGapDownlink,
    Metric::HandoffRegistration,
    Metric::Srd,
    Metric::MediaMos,
];
/// Cells that are drawn.
const CELLS: usize = 40;
/// Runs that are listed.
const RUNS: usize = 2_000;
/// Runs that have pages of their own.
const PAGES: usize = 60;

/// What an experiment's directory says.
#[derive(Debug)]
pub struct CampaignMaterial {
    /// Which runs there are.
    pub dir: CampaignDir,
    /// The figures.
    pub summary: CampaignSummary,
    /// What was asserted, and whether it holds.
    pub assertions: Vec<Asserted>,
    /// The samples of each cell, its valid runs put together.
    samples: Vec<Samples>,
    provenance: Value,
}

impl CampaignMaterial {
    /// Reads an experiment's directory.
    ///
    /// # Errors
    /// A file is missing, or not what `run` and `sim` write.
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        let cells = path.join("cells.json");
        let dir = CampaignDir::read(path).map_err(|source| Unreadable::File { path: cells, source })?;
        let runs = dir.cells.iter().map(|cell| samples_of_cell(path, cell));
        let runs: Vec<_> = runs.collect::<Result<_, _>>()?;
        Ok(Self {
            summary: CampaignSummary::of(&dir, &runs),
            samples: runs.iter().map(|runs| together(runs.iter().flatten())).collect(),
            assertions: assertions(path)?,
            provenance: read(path.join("provenance.json"))?.unwrap_or_default(),
            dir,
        })
    }

    /// The directories of the runs that have pages of their own: all, or where that were too many, the first of each cell.
    pub fn pages(&self) -> Vec<&Path> {
        let done = |run: &&RunRecord| matches!(run.state, State::Done { .. }) && is_inside(&run.directory);
        let all: Vec<_> = self.dir.runs().filter(done).map(|run| run.directory.as_path()).collect();
        if all.len() <= PAGES {
            return all;
        }
        let first = |cell: &'_ CellRecord| cell.runs.iter().position(|run| done(&run));
        let cells =
            self.dir.cells.iter().filter_map(|cell| Some(cell.runs[first(cell)?].directory.as_path()));
        cells.take(PAGES).collect()
    }
}

impl Document {
    /// Of an experiment of many runs.
    pub fn of_campaign(material: &CampaignMaterial, pages: &[&Path]) -> Self {
        let CampaignMaterial { dir, summary, .. } = material;
        let factors = dir.design.factors.iter().map(|factor| factor.name.as_str()).collect::<Vec<_>>();
        let sections = [
            asserted(&material.assertions),
            effects(summary),
            levels(material),
            Some(cells(&summary.cells, &factors)),
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

fn cells(cells: &[CellSummary], factors: &[&str]) -> Section {
    let mut section = empty_section("cells", "Cells");
    section.text.push(
        "The values of a cell's valid runs are put together. Intervals are those of the median, by bootstrap, or of a share \
         (Wilson), at 95 %."
            .to_owned(),
    );
    let drawn = DRAWN.into_iter().filter(|metric| cells.iter().any(|cell| cell.figures(*metric).is_some()));
    section.figures.extend(drawn.map(|metric| of_metric(metric, cells, factors)));
    let rows = Metric::all().flat_map(|metric| {
        let row = move |cell: &CellSummary| {
            let mut row = row(metric, cell, factors)?;
            row.insert(0, titled(metric));
            Some(row)
        };
        cells.iter().filter_map(row)
    });
    section.figures.push(Figure {
        id: "metrics".into(),
        title: "All metrics".into(),
        caption: "Times are in milliseconds. A share's n is that of all of which it is one.".into(),
        picture: None,
        table: Table::of(&[&["metric"], &COLUMNS[..]].concat(), rows),
        is_half: false,
    });
    section
}

/// The columns of a cell's figures.
const COLUMNS: [&str; 9] = ["cell", "valid runs", "n", "p50 or share", "low", "high", "p95", "p99", "max"];

/// A cell's figures of a metric.
fn row(metric: Metric, cell: &CellSummary, factors: &[&str]) -> Option<Vec<String>> {
    let told = |value: f64| number(metric, value);
    let figures = match cell.figures(metric)? {
        Figures::Sample { n, p50, p50_ci95: [low, high], p95, p99, max, .. } => {
            vec![n.to_string(), told(*p50), told(*low), told(*high), told(*p95), told(*p99), told(*max)]
        }
        Figures::Share { all, percent, ci95: [low, high], .. } => {
            let none = || "–".to_owned();
            vec![all.to_string(), told(*percent), told(*low), told(*high), none(), none(), none()]
        }
    };
    Some([vec![name(cell, factors), format!("{} of {}", cell.valid, cell.runs)], figures].concat())
}

fn of_metric(metric: Metric, cells: &[CellSummary], factors: &[&str]) -> Figure {
    let middle = |figures: &Figures| match figures {
        Figures::Sample { p50, p50_ci95, p95, .. } => (*p50, *p50_ci95, Some(*p95)),
        Figures::Share { percent, ci95, .. } => (*percent, *ci95, None),
    };
    let dot = |cell: &CellSummary| {
        let (value, interval, tick) = middle(cell.figures(metric)?);
        Some(Row {
            name: name(cell, factors),
            class: "s1".into(),
            values: vec![value],
            tick,
            expected: None,
            allowed: Some(interval),
            value: format!("{} {}", number(metric, value), metric.kind().unit()),
        })
    };
    let picture = Dots {
        title: titled(metric),
        x: Scale { label: &titled(metric), is_log: false },
        rows: cells.iter().filter_map(dot).take(CELLS).collect(),
        legend: vec![
            entry("s1", "median, or share", samp_chart::Key::Mark(0)),
            entry("s1", "its 95 % interval", samp_chart::Key::Pale),
            entry("s1", "95th percentile", samp_chart::Key::Tick),
        ],
        width: 440.0,
    };
    let left_out = cells.len().saturating_sub(CELLS);
    let more = if left_out > 0 {
        format!(" The first {CELLS} cells are drawn; the table has all.")
    } else {
        String::new()
    };
    Figure {
        id: slug(&format!("cells-{}", metric.name())),
        title: titled(metric),
        caption: format!("{}.{more}", sentence(metric.about())),
        picture: Some(picture.picture()),
        table: Table::of(&COLUMNS, cells.iter().filter_map(|cell| row(metric, cell, factors))),
        is_half: false,
    }
}

/// The distributions of what is drawn, level by level of each factor, whatever the others are.
fn levels(material: &CampaignMaterial) -> Option<Section> {
    let mut section = empty_section("levels", "Levels");
    section.text.push(
        "Each factor's levels side by side. A line has the values of all valid runs of its level, whatever the other factors' \
         levels are."
            .to_owned(),
    );
    for factor in &material.dir.design.factors {
        for metric in DRAWN {
            let line = |level: &String| {
                let of_level = material.dir.cells.iter().zip(&material.samples);
                let of_level = of_level.filter(|(cell, _)| cell.levels.get(&factor.name) == Some(level));
                let samples = together(of_level.map(|(_, samples)| samples));
                match samples.get(metric)?.figures() {
                    Figures::Sample { n, cdf, .. } => {
                        let points = cdf.iter().map(|[value, share]| Point::exact(*value, 100.0 * share));
                        Some((n, Line { name: format!("{level} (n = {n})"), points: points.collect() }))
                    }
                    Figures::Share { .. } => None,
                }
            };
            let lines: Vec<_> = factor.levels.iter().filter_map(line).collect();
            if !lines.is_empty() {
                section.figures.push(distribution(&factor.name, metric, lines));
            }
        }
    }
    (!section.figures.is_empty()).then_some(section)
}

fn distribution(factor: &str, metric: Metric, lines: Vec<(usize, Line)>) -> Figure {
    let title = format!("{} by {factor}", metric.name());
    let rows = lines.iter().flat_map(|(_, line)| {
        line.points
            .iter()
            .map(|point| vec![line.name.clone(), number(metric, point.x), format!("{:.1}", point.y)])
    });
    let table = Table::of(&["level", &titled(metric), "share, %"], rows);
    let picture = Lines {
        title: title.clone(),
        x: Scale { label: &titled(metric), is_log: false },
        y: Scale { label: "share, %", is_log: false },
        lines: lines.into_iter().map(|(_, line)| line).collect(),
        shape: Shape::Steps,
        note: String::new(),
        size: [400.0, 220.0],
    };
    Figure {
        id: slug(&format!("levels-{factor}-{}", metric.name())),
        title,
        caption: format!("Share of values that are at most so large: {}.", metric.about()),
        picture: Some(picture.picture()),
        table,
        is_half: true,
    }
}

fn effects(summary: &CampaignSummary) -> Option<Section> {
    if summary.effects.is_empty() {
        return None;
    }
    let mut section = empty_section("effects", "Effects");
    section.text.push(
        "What a level does, compared with the first of its factor. Runs are paired that differ in this factor only, with the same \
         seed, so that the same nodes call and move. An interval without 0 is an effect; Cliff's delta is its size: the probability \
         that a value of this level is larger than one of the first, less that it is smaller."
            .to_owned(),
    );
    let drawn: Vec<_> = summary
        .effects
        .iter()
        .filter(|effect| effect.metric.kind() == Kind::Milliseconds && DRAWN.contains(&effect.metric))
        .collect();
    let row = |effect: &&Effect| Row {
        name: format!("{} = {}: {}", effect.factor, effect.level, effect.metric.name()),
        class: if effect.ci95.is_some_and(|[low, high]| low > 0.0 || high < 0.0) { "s2" } else { "s6" }
            .into(),
        values: vec![effect.difference],
        tick: None,
        expected: None,
        allowed: effect.ci95,
        value: format!("{:+.3} ms", effect.difference),
    };
    let picture = Dots {
        title: "Effects of factors".into(),
        x: Scale { label: "difference from the factor's first level, ms", is_log: false },
        rows: drawn.iter().map(row).take(CELLS).collect(),
        legend: vec![
            entry("s2", "an effect", samp_chart::Key::Mark(0)),
            entry("s6", "none that is certain", samp_chart::Key::Mark(0)),
            entry("s6", "95 % interval", samp_chart::Key::Pale),
        ],
        width: 420.0,
    };
    let cells = summary.effects.iter().map(|effect| {
        let told = |value: f64| number(effect.metric, value);
        let none = || "–".to_owned();
        vec![
            format!("{} = {}", effect.factor, effect.level),
            effect.baseline.clone(),
            titled(effect.metric),
            effect.pairs.to_string(),
            told(effect.difference),
            effect.ci95.map_or_else(none, |[low, _]| told(low)),
            effect.ci95.map_or_else(none, |[_, high]| told(high)),
            effect.cliffs_delta.map_or_else(none, |delta| format!("{delta:.2}")),
        ]
    });
    let header = ["level", "instead of", "metric", "pairs", "difference", "low", "high", "Cliff's delta"];
    section.figures.push(Figure {
        id: "effects".into(),
        title: "Effects of factors".into(),
        caption:
            "Medians of paired differences, with their bootstrap 95 % intervals; the table has all metrics."
                .into(),
        picture: (!drawn.is_empty()).then(|| picture.picture()),
        table: Table::of(&header, cells),
        is_half: false,
    });
    Some(section)
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

/// Whether a directory lies in the experiment's, whatever the list of runs says.
pub fn is_inside(directory: &Path) -> bool {
    directory.components().all(|component| matches!(component, Component::Normal(_)))
}
