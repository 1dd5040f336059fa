//! Sequence charts: the messages of a handoff or of a call, and what happened meanwhile.

use super::super::{Choice, Figure, Material, Section, Table, count, maybe, ms, slug};
use super::{empty_section, handoffs, servers};
use crate::document::millis;
use crate::report::{CallOutcome, Delta, Handoff, Ladder, Ladders, Rung, Traced, What};
use maud::{Markup, html};
use samp_chart::{Entry, Key, Picture, legend, px};

/// Handoffs, and calls, that have a chart.
const CHARTS: usize = 200;
/// Rungs of a chart that are drawn.
const RUNGS: usize = 150;

/// From one node to the next.
const COLUMN: f64 = 150.0;
const ROW: f64 = 27.0;
/// Where the first node is; left of it are the times.
const LEFT: f64 = 118.0;

/// The section, where there are handoffs or calls.
pub(super) fn section(material: &Material) -> Option<Section> {
    let handoffs = handoffs::in_order(material);
    let calls = &material.report.calls;
    if handoffs.is_empty() && calls.is_empty() {
        return None;
    }
    let mut section = empty_section("sequences", "Sequence charts");
    section.text.push("Choose a handoff or a call. The darker, the longer it took.".to_owned());
    for (all, what) in [(handoffs.len(), "handoff"), (calls.len(), "call")] {
        if all > CHARTS {
            section.text.push(format!(
                "Of {} the first {CHARTS} have a chart, so that the page stays small; `samp-lab trace` shows any while a lab runs.",
                count(all, what)
            ));
        }
    }
    let ladders = Ladders::new(&material.run.topology, &material.run.records);
    let mut of_handoffs: Vec<_> = handoffs.into_iter().take(CHARTS).collect();
    of_handoffs.sort_by_key(|handoff| (&handoff.node, handoff.number));
    section.choices.extend(of_handoffs.into_iter().map(|handoff| of_handoff(&ladders, handoff)));
    section.choices.extend(calls.iter().take(CHARTS).enumerate().map(|(index, call)| {
        let took = match &call.outcome {
            CallOutcome::Established { srd, .. } => Some(millis(*srd)),
            _ => None,
        };
        let ladder = ladders.draw(&Traced::Call(call.call.clone()));
        let id = format!("call-{}", index + 1);
        let href = format!("#{id}");
        let figures = ladder.map(|ladder| figure(id, &ladder)).into_iter().collect();
        Choice { group: "calls".into(), label: (index + 1).to_string(), took, href, figures }
    }));
    section.choices.retain(|choice| !choice.figures.is_empty());
    Some(section)
}

fn of_handoff(ladders: &Ladders<'_>, handoff: &Handoff) -> Choice {
    let traced = Traced::Handoff { node: handoff.node.clone(), number: handoff.number };
    let ladder = ladders.draw(&traced);
    let downlink = handoff.calls.iter().find_map(|call| call.downlink.path.as_ref());
    let figures = ladder.map(|ladder| [figure(handoffs::id(handoff), &ladder), handoffs::phases(handoff)]);
    Choice {
        group: handoff.node.clone(),
        label: handoff.number.to_string(),
        took: downlink.or(handoff.registration.as_ref()).map(|path| millis(path.total())),
        href: format!("#{}", handoffs::id(handoff)),
        figures: figures.into_iter().flatten().collect(),
    }
}

fn figure(id: String, ladder: &Ladder) -> Figure {
    let mut caption = "Times are those at which messages were sent, from the first one on; behind each message, how long it was on \
                       its way."
        .to_owned();
    if ladder.rungs.len() > RUNGS {
        caption +=
            &format!(" The first {RUNGS} of {} steps are drawn; the table has all.", ladder.rungs.len());
    }
    let row = |rung: &Rung| {
        let at = ms(rung.at);
        match &rung.what {
            What::Note { node, text } => vec![at, node.clone(), String::new(), text.clone(), String::new()],
            What::Message { from, to, summary, one_way, .. } => {
                let to = to.clone().unwrap_or_else(|| "nobody".to_owned());
                vec![at, from.clone(), to, summary.clone(), maybe(one_way.map(Delta::from))]
            }
        }
    };
    Figure {
        id: slug(&id),
        title: ladder.title.clone(),
        caption,
        picture: Some(picture(ladder)),
        table: Table::of(&["at ms", "node", "to", "what", "one way ms"], ladder.rungs.iter().map(row)),
        is_half: false,
    }
}

fn picture(ladder: &Ladder) -> Picture {
    let column = |name: &str| {
        let place = ladder.nodes.iter().position(|node| node == name)?;
        Some(LEFT + place as f64 * COLUMN)
    };
    let rungs = &ladder.rungs[..ladder.rungs.len().min(RUNGS)];
    let last = LEFT + ladder.nodes.len().saturating_sub(1) as f64 * COLUMN;
    let width = last + 250.0;
    let entries = ["REGISTER", "INVITE", "BYE", "other"].map(|method| Entry {
        class: class(method).into(),
        name: if method == "BYE" { "ACK, BYE".into() } else { method.to_owned() },
        key: Key::Line(0, false),
    });
    let used = |entry: &Entry| {
        rungs.iter().any(|rung| matches!(&rung.what, What::Message { summary, .. } if class(servers::method(summary)) == entry.class))
    };
    let mut entries: Vec<_> = entries.into_iter().filter(used).collect();
    if rungs.iter().any(|rung| matches!(&rung.what, What::Message { summary, .. } if is_answer(summary))) {
        entries.push(Entry { class: "quiet".into(), name: "answer".into(), key: Key::Line(1, false) });
    }
    let (keys, high) = legend(&entries, [8.0, 4.0, width]);
    let top = high + 34.0;
    let bottom = top + rungs.len() as f64 * ROW + 8.0;
    let body = html! {
        (keys)
        @for node in &ladder.nodes {
            @if let Some(x) = column(node) {
                path class="base" d={ "M" (px(x)) " " (px(top - 6.0)) "V" (px(bottom)) } {}
                text class="middle heading" x=(px(x)) y=(px(top - 12.0)) { (node) }
            }
        }
        text class="soft end" x="62" y=(px(top - 12.0)) { "ms" }
        @for (index, rung) in rungs.iter().enumerate() {
            @let y = top + (index as f64 + 0.65) * ROW;
            text class="soft end" x="62" y=(px(y + 4.0)) { (ms(rung.at)) }
            @match &rung.what {
                What::Note { node, text } => @if let Some(x) = column(node) { (note(x, y, text)) },
                What::Message { from, to, summary, one_way, .. } => {
                    @if let Some(from) = column(from) {
                        (message(from, to.as_deref().and_then(column), y, summary, one_way.map(millis)))
                    }
                },
            }
        }
    };
    Picture { title: ladder.title.clone(), width, height: bottom + 8.0, body }
}

fn note(x: f64, y: f64, text: &str) -> Markup {
    html! {
        circle class="ground" stroke="none" cx=(px(x)) cy=(px(y)) r="6" {}
        g class="ink" { circle class="fill" cx=(px(x)) cy=(px(y)) r="3.5" {} }
        text class="halo" x=(px(x + 10.0)) y=(px(y + 4.0)) { (text) }
    }
}

fn message(from: f64, to: Option<f64>, y: f64, summary: &str, one_way: Option<f64>) -> Markup {
    let dashes = if is_answer(summary) { "6 3" } else { "" };
    // To nobody, an arrow begins and ends at once.
    let end = to.unwrap_or(from + COLUMN / 2.0);
    let way = if end < from { -1.0 } else { 1.0 };
    let label = match one_way {
        Some(one_way) => format!("{summary}, {one_way:.3} ms"),
        None => format!("{summary}, not received"),
    };
    let class = if one_way.is_some() { class(servers::method(summary)) } else { "bad" };
    let tip = if one_way.is_some() { "M-7 -4L0 0L-7 4z" } else { "M-9 -4L-1 4M-9 4L-1 -4" };
    html! {
        g class=(class) {
            path class="line" stroke-dasharray=(dashes) d={ "M" (px(from)) " " (px(y)) "H" (px(end - way * 6.0)) } {}
            path class={ @if one_way.is_some() { "fill" } @else { "line" } } d=(tip)
                transform={ "translate(" (px(end)) " " (px(y)) ")" @if way < 0.0 { " scale(-1 1)" } } {}
        }
        text class="middle small halo" x=(px((from + end) / 2.0)) y=(px(y - 5.0)) { (label) }
    }
}

/// Whether that is an answer: it begins with its status.
fn is_answer(summary: &str) -> bool {
    summary.starts_with(|first: char| first.is_ascii_digit())
}

/// The colour of a method, which is that of the phase that it makes.
fn class(method: &str) -> &'static str {
    match method {
        "REGISTER" => "s4",
        "INVITE" => "s2",
        "ACK" | "BYE" => "s1",
        _ => "s6",
    }
}
