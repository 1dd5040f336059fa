//! The cells: medians with their intervals, metric by metric.

use super::super::figures::empty_section;
use super::super::{Figure, Section, Table, slug};
use super::{DRAWN, ROWS, entry, name, sentence, titled};
use crate::campaign::CellSummary;
use crate::report::{Figures, number};
use samp_chart::{Dots, Key, Row, Scale};
use samp_model::metric::Metric;

/// The section.
pub(super) fn section(cells: &[CellSummary], factors: &[&str]) -> Section {
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
        table: Table::of(&[&["metric"], &CELL[..], &COLUMNS].concat(), rows),
        is_half: false,
    });
    section
}

/// The columns of a cell.
const CELL: [&str; 2] = ["cell", "valid runs"];
/// The columns of a metric's figures.
pub(super) const COLUMNS: [&str; 7] = ["n", "p50 or share", "low", "high", "p95", "p99", "max"];

/// A cell's figures of a metric.
fn row(metric: Metric, cell: &CellSummary, factors: &[&str]) -> Option<Vec<String>> {
    let figures = columns(metric, cell.figures(metric)?);
    Some([vec![name(cell, factors), format!("{} of {}", cell.valid, cell.runs)], figures].concat())
}

/// A metric's figures, column by column.
pub(super) fn columns(metric: Metric, figures: &Figures) -> Vec<String> {
    let told = |value: f64| number(metric, value);
    match figures {
        Figures::Sample { n, p50, p50_ci95: [low, high], p95, p99, max, .. } => {
            vec![n.to_string(), told(*p50), told(*low), told(*high), told(*p95), told(*p99), told(*max)]
        }
        Figures::Share { all, percent, ci95: [low, high], .. } => {
            let none = || "–".to_owned();
            vec![all.to_string(), told(*percent), told(*low), told(*high), none(), none(), none()]
        }
    }
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
        rows: cells.iter().filter_map(dot).take(ROWS).collect(),
        legend: vec![
            entry("s1", "median, or share", Key::Mark(0)),
            entry("s1", "its 95 % interval", Key::Pale),
            entry("s1", "95th percentile", Key::Tick),
        ],
        width: 440.0,
    };
    let left_out = cells.len().saturating_sub(ROWS);
    let more = if left_out > 0 {
        format!(" The first {ROWS} cells are drawn; the table has all.")
    } else {
        String::new()
    };
    Figure {
        id: slug(&format!("cells-{}", metric.name())),
        title: titled(metric),
        caption: format!("{}.{more}", sentence(metric.about())),
        picture: Some(picture.picture()),
        table: Table::of(
            &[&CELL[..], &COLUMNS].concat(),
            cells.iter().filter_map(|cell| row(metric, cell, factors)),
        ),
        is_half: false,
    }
}
