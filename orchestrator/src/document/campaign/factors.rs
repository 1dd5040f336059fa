//! The factors: distributions level by level, and what a level does.

use super::super::figures::empty_section;
use super::super::{Figure, Section, Table, slug};
use super::cells::{COLUMNS, columns};
use super::{CampaignMaterial, DRAWN, ROWS, entry, titled};
use crate::campaign::{CampaignSummary, Effect, FactorRecord, together};
use crate::report::{Figures, Samples, number};
use samp_chart::{Dots, Key, Line, Lines, Point, Row, Scale, Shape};
use samp_model::metric::{Kind, Metric};

/// The distributions of what is drawn, level by level of each factor, whatever the others are.
pub(super) fn levels(material: &CampaignMaterial) -> Option<Section> {
    let mut section = empty_section("levels", "Levels");
    section.text.push(
        "Each factor's levels side by side. A line has the values of all valid runs of its level, whatever the other factors' \
         levels are."
            .to_owned(),
    );
    for factor in &material.dir.design.factors {
        for metric in DRAWN {
            let line = |level: &String| match of_level(material, &factor.name, level).get(metric)?.figures() {
                Figures::Sample { n, cdf, .. } => {
                    let points = cdf.iter().map(|[value, share]| Point::exact(*value, 100.0 * share));
                    Some((n, Line { name: format!("{level} (n = {n})"), points: points.collect() }))
                }
                Figures::Share { .. } => None,
            };
            let lines: Vec<_> = factor.levels.iter().filter_map(line).collect();
            if !lines.is_empty() {
                section.figures.push(distribution(&factor.name, metric, lines));
            }
        }
        section.figures.push(figures(material, factor));
    }
    (!section.figures.is_empty()).then_some(section)
}

/// All metrics, level by level.
fn figures(material: &CampaignMaterial, factor: &FactorRecord) -> Figure {
    let samples = factor.levels.iter().map(|level| (level, of_level(material, &factor.name, level)));
    let samples: Vec<_> = samples.collect();
    let rows = Metric::all().flat_map(|metric| {
        let row = move |(level, samples): &(&String, Samples)| {
            let figures = samples.get(metric)?.figures();
            Some([vec![titled(metric), (*level).clone()], columns(metric, &figures)].concat())
        };
        samples.iter().filter_map(row).collect::<Vec<_>>()
    });
    let title = format!("All metrics by {}", factor.name);
    Figure {
        id: slug(&format!("levels-{}", factor.name)),
        title,
        caption: "Percentiles and intervals as in the cells below.".into(),
        picture: None,
        table: Table::of(&[&["metric", "level"], &COLUMNS[..]].concat(), rows),
        is_half: false,
    }
}

/// The values of all valid runs of a level.
fn of_level(material: &CampaignMaterial, factor: &str, level: &String) -> Samples {
    let cells = material.dir.cells.iter().zip(&material.samples);
    together(cells.filter(|(cell, _)| cell.levels.get(factor) == Some(level)).map(|(_, samples)| samples))
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

/// What a level does, compared with the first of its factor.
pub(super) fn effects(summary: &CampaignSummary) -> Option<Section> {
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
        rows: drawn.iter().map(row).take(ROWS).collect(),
        legend: vec![
            entry("s2", "an effect", Key::Mark(0)),
            entry("s6", "none that is certain", Key::Mark(0)),
            entry("s6", "95 % interval", Key::Pale),
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
