//! A summary as people read it.

use super::summary::{CampaignSummary, CellSummary, Effect};
use crate::report::{Figures, number, table};
use samp_model::metric::{Kind, Metric};

/// The metrics that are shown unless more are asked about; `summary.json` has all.
const SHOWN: [Metric; 6] = [
    Metric::HandoffTotal,
    Metric::HandoffGapDownlink,
    Metric::Rrd,
    Metric::Srd,
    Metric::Ser,
    Metric::MediaMos,
];

/// The figures of the cells and what the factors do, for these metrics and those that are always shown.
pub fn describe(summary: &CampaignSummary, factors: &[&str], also: &[Metric]) -> String {
    let is_shown = |metric: &Metric| SHOWN.contains(metric) || also.contains(metric);
    let shown: Vec<Metric> = Metric::all().filter(is_shown).collect();
    let mut text = String::new();
    for metric in &shown {
        let rows: Vec<_> = summary.cells.iter().filter_map(|cell| row(cell, factors, *metric)).collect();
        if rows.is_empty() {
            continue;
        }
        text += &format!("\n{}: {}\n", titled(*metric), metric.about());
        let columns: &[&str] = match metric.kind() {
            Kind::Share => &["n", "%", "95 % interval"],
            _ => &["n", "p50", "95 % interval", "p95", "p99", "max"],
        };
        let header: Vec<&str> =
            ["  cell"].into_iter().chain(factors.iter().copied()).chain(columns.iter().copied()).collect();
        text += &table(&header, rows);
    }
    let effects: Vec<_> = summary.effects.iter().filter(|effect| shown.contains(&effect.metric)).collect();
    if !effects.is_empty() {
        text += "\neffects, paired by seed\n";
        let header =
            ["  level", "instead of", "metric", "pairs", "difference", "95 % interval", "Cliff's delta"];
        text += &table(&header, effects.into_iter().map(effect));
    }
    text
}

/// A metric with its unit.
pub(super) fn titled(metric: Metric) -> String {
    match metric.kind().unit() {
        "" => metric.name().to_owned(),
        unit => format!("{}, {unit}", metric.name()),
    }
}

fn row(cell: &CellSummary, factors: &[&str], metric: Metric) -> Option<Vec<String>> {
    let name = cell.directory.file_name()?.to_string_lossy().into_owned();
    let levels = factors.iter().map(|factor| cell.levels.get(*factor).cloned().unwrap_or_default());
    let figures = match cell.figures(metric)? {
        Figures::Sample { n, p50, p50_ci95, p95, p99, max, .. } => vec![
            n.to_string(),
            number(metric, *p50),
            interval(metric, *p50_ci95),
            number(metric, *p95),
            number(metric, *p99),
            number(metric, *max),
        ],
        Figures::Share { all, percent, ci95, .. } => {
            vec![all.to_string(), number(metric, *percent), interval(metric, *ci95)]
        }
    };
    Some([format!("  {name}")].into_iter().chain(levels).chain(figures).collect())
}

fn effect(effect: &Effect) -> Vec<String> {
    let Effect { factor, level, baseline, metric, pairs, difference, ci95, cliffs_delta } = effect;
    vec![
        format!("  {factor} = {level}"),
        baseline.clone(),
        titled(*metric),
        pairs.to_string(),
        format!("{}{}", if *difference > 0.0 { "+" } else { "" }, number(*metric, *difference)),
        ci95.map_or("-".to_owned(), |ci95| interval(*metric, ci95)),
        cliffs_delta.map_or("-".to_owned(), |delta| format!("{delta:.2}")),
    ]
}

/// An interval, in words.
pub(super) fn interval(metric: Metric, [low, high]: [f64; 2]) -> String {
    format!("{} to {}", number(metric, low), number(metric, high))
}
