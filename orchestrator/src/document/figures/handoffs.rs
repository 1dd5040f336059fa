//! Handoffs: what each total is made of, and how totals are distributed.

use super::super::{Figure, Material, Section, Table, count, delta, maybe, ms, ranks, signalling, slug};
use super::{distribution, empty_section, segments};
use crate::document::millis;
use crate::report::{CriticalPath, Delta, Handoff, PathSummary};
use samp_chart::{Bar, Bars, Part};
use std::time::Duration;

/// Handoffs of which a waterfall is drawn.
const DRAWN: usize = 100;

/// The section, where there are handoffs.
pub(super) fn section(material: &Material) -> Option<Section> {
    let handoffs = in_order(material);
    if handoffs.is_empty() {
        return None;
    }
    let mut section = empty_section("handoffs", "Handoffs");
    section.text.push(
        "A handoff begins when the radio leaves the old access router. Its total goes to the first media packet on the new \
         path, per direction, or to the answered registration; the segments add up to it exactly. The floor is what the \
         configured delays alone make of it."
            .to_owned(),
    );
    let complete: Vec<_> = handoffs.iter().copied().filter(|handoff| handoff.is_complete()).collect();
    let incomplete = handoffs.len() - complete.len();
    if incomplete > 0 {
        section.text.push(format!(
            "{} did not come to an end, and {} not counted.",
            count(incomplete, "handoff"),
            if incomplete == 1 { "is" } else { "are" }
        ));
    }
    section.figures.extend(waterfall(
        "waterfall-downlink",
        "Media to the mobile node: what each handoff is made of",
        "Detached until the first media packet has arrived at the new care-of address.",
        &paths(&complete, |handoff| {
            let downlinks = handoff.calls.iter().map(|call| &call.downlink);
            downlinks.filter_map(|downlink| Some((downlink.path.as_ref()?, downlink.tunnel_cost))).collect()
        }),
    ));
    section.figures.extend(waterfall(
        "waterfall-registration",
        "Registration: what each handoff is made of",
        "Detached until the servers that had to know have answered.",
        &paths(&complete, |handoff| handoff.registration.iter().map(|path| (path, None)).collect()),
    ));
    section.figures.extend(totals(&complete));
    section.figures.extend(overheads(&complete));
    section.figures.extend(material.summary.handoffs.paths.iter().map(summary));
    Some(section)
}

/// As time goes by.
pub(super) fn in_order(material: &Material) -> Vec<&Handoff> {
    let mut handoffs: Vec<_> = material.report.handoffs.0.iter().collect();
    handoffs.sort_by_key(|handoff| (handoff.detached, &handoff.node));
    handoffs
}

/// The name of a handoff, as `trace` has it.
pub(super) fn name(handoff: &Handoff) -> String {
    format!("{}/{}", handoff.node, handoff.number)
}

/// Where its sequence chart is.
pub(super) fn id(handoff: &Handoff) -> String {
    slug(&format!("handoff-{}-{}", handoff.node, handoff.number))
}

/// A critical path, the handoff that it is of, and what tunnels have cost it.
type Path<'a> = (&'a Handoff, &'a CriticalPath, Option<Duration>);

/// All paths of a kind.
fn paths<'a>(
    handoffs: &[&'a Handoff],
    of: impl Fn(&'a Handoff) -> Vec<(&'a CriticalPath, Option<Duration>)>,
) -> Vec<Path<'a>> {
    let of_handoff = |&handoff| of(handoff).into_iter().map(move |(path, cost)| (handoff, path, cost));
    handoffs.iter().flat_map(of_handoff).collect()
}

fn summary(path: &PathSummary) -> Figure {
    let row = |name: &str,
               took,
               floor: &Option<crate::report::Ranks<Delta>>,
               overhead: &Option<crate::report::Ranks<Delta>>| {
        let mut row = vec![name.to_owned()];
        row.extend(ranks(took));
        row.extend([maybe(floor.map(|floor| floor.p50)), maybe(overhead.map(|overhead| overhead.p50))]);
        row
    };
    let rows = path.segments.iter().map(|part| row(part.segment, &part.took, &part.floor, &part.overhead));
    let total = row("total", &path.total, &path.floor, &path.overhead);
    let header = ["segment", "p50 ms", "p95 ms", "max ms", "n", "floor p50 ms", "overhead p50 ms"];
    Figure {
        id: slug(&format!("segments-{}", path.path)),
        title: format!("Segments: {}", path.path),
        caption: format!("Median, 95th percentile and maximum by nearest rank, n = {}.", path.total.n),
        picture: None,
        table: Table::of(&header, rows.chain([total])),
        is_half: false,
    }
}

fn waterfall(id: &str, title: &str, definition: &str, all: &[Path<'_>]) -> Option<Figure> {
    let drawn = &all[..all.len().min(DRAWN)];
    if drawn.is_empty() {
        return None;
    }
    let bar = |(handoff, path, _): &Path<'_>| {
        let mut from = 0.0;
        let parts = path.segments().iter().map(|segment| {
            let look = segments::look(segment.name);
            let length = millis(segment.took);
            from += length;
            Part {
                class: look.class.to_owned(),
                is_pale: look.is_pale,
                from: from - length,
                length,
                tip: format!(
                    "{}: {} ms, floor {} ms",
                    segment.name,
                    ms(segment.took),
                    maybe(segment.floor.map(Delta::from))
                ),
            }
        });
        Bar {
            name: name(handoff),
            href: Some(format!("#{}", self::id(handoff))),
            parts: parts.filter(|part| part.length > 0.0).collect(),
            value: format!("{} ms", ms(path.total())),
        }
    };
    let picture = Bars {
        title: title.to_owned(),
        label: "ms since the radio left the old access router",
        rows: drawn.iter().map(bar).collect(),
        legend: segments::legend(
            drawn.iter().flat_map(|(_, path, _)| path.segments()).map(|segment| segment.name),
        ),
        width: 640.0,
    };
    let mut names: Vec<&str> = Vec::new();
    for segment in all.iter().flat_map(|(_, path, _)| path.segments()) {
        if !names.contains(&segment.name) {
            names.push(segment.name);
        }
    }
    let columns: Vec<_> = names.iter().map(|name| format!("{name} ms")).collect();
    let has_tunnels = all.iter().any(|(_, _, cost)| cost.is_some());
    let header: Vec<_> = ["handoff", "from", "to"]
        .into_iter()
        .chain(columns.iter().map(String::as_str))
        .chain(["total ms", "floor ms"])
        .chain(has_tunnels.then_some("tunnel_cost ms"))
        .chain(["messages", "bytes"])
        .collect();
    let row = |(handoff, path, cost): &Path<'_>| {
        let mut row = vec![name(handoff), handoff.from.clone(), handoff.to.clone().unwrap_or_default()];
        row.extend(names.iter().map(|name| {
            let of_name = path.segments().iter().filter(|segment| segment.name == *name);
            let took: Option<std::time::Duration> =
                of_name.map(|segment| segment.took).reduce(|sum, more| sum + more);
            maybe(took.map(Delta::from))
        }));
        row.extend([ms(path.total()), maybe(path.floor().map(Delta::from))]);
        row.extend(has_tunnels.then(|| maybe(cost.map(Delta::from))));
        row.extend(signalling(handoff.signalling));
        row
    };
    let mut caption = format!("{definition} n = {}.", all.len());
    if let Some(left_out) = all.len().checked_sub(DRAWN).filter(|&more| more > 0) {
        caption += &format!(" The first {DRAWN} are drawn; the table has the other {left_out}, too.");
    }
    Some(Figure {
        id: id.to_owned(),
        title: title.to_owned(),
        caption,
        picture: Some(picture.picture()),
        table: Table::of(&header, all.iter().map(row)),
        is_half: false,
    })
}

/// The kinds of critical paths, each with all of its kind.
fn kinds<'a>(complete: &[&'a Handoff]) -> [(&'static str, Vec<&'a CriticalPath>); 4] {
    let calls = || complete.iter().flat_map(|handoff| &handoff.calls);
    let registrations = |kept| {
        let of_kind = complete.iter().filter(move |handoff| handoff.anchor_kept == kept);
        of_kind.filter_map(|handoff| handoff.registration.as_ref()).collect()
    };
    [
        ("downlink", calls().filter_map(|call| call.downlink.path.as_ref()).collect()),
        ("uplink", calls().filter_map(|call| call.uplink.path.as_ref()).collect()),
        ("registration, anchor kept", registrations(true)),
        ("registration, new anchor", registrations(false)),
    ]
}

fn totals(complete: &[&Handoff]) -> Option<Figure> {
    let sample = |(name, paths): (&str, Vec<&CriticalPath>)| {
        (name.to_owned(), paths.iter().map(|path| Delta::from(path.total())).collect())
    };
    distribution(
        "totals",
        "How long handoffs take",
        "Share of handoffs whose total is at most so long.",
        "total, ms",
        kinds(complete).into_iter().map(sample).collect(),
    )
}

fn overheads(complete: &[&Handoff]) -> Option<Figure> {
    let sample = |(name, paths): (&str, Vec<&CriticalPath>)| {
        (name.to_owned(), paths.iter().filter_map(|path| path.overhead()).collect())
    };
    distribution(
        "overheads",
        "What they take above their floors",
        "Share of handoffs whose total exceeds its floor by at most so much. Media packets leave every 20 ms, so up to \
         20 ms of it are packetisation.",
        "overhead, ms",
        kinds(complete).into_iter().map(sample).collect(),
    )
}

/// The phases of one handoff over time; they may overlap.
pub(super) fn phases(handoff: &Handoff) -> Figure {
    let title = format!(
        "Handoff {}: {} to {}",
        name(handoff),
        handoff.from,
        handoff.to.as_deref().unwrap_or("nowhere")
    );
    let bar = |phase: &crate::report::Phase| {
        let look = segments::look(phase.name);
        let label = phase
            .peer
            .as_ref()
            .map_or_else(|| phase.name.to_owned(), |peer| format!("{} {peer}", phase.name));
        let tip = format!("{label}: from {} ms, took {} ms", ms(phase.start), ms(phase.took));
        let (from, length) = (millis(phase.start), millis(phase.took));
        let part = Part { class: look.class.to_owned(), is_pale: look.is_pale, from, length, tip };
        Bar { name: label, href: None, parts: vec![part], value: format!("{} ms", ms(phase.took)) }
    };
    let picture = Bars {
        title: title.clone(),
        label: "ms since the radio left the old access router",
        rows: handoff.phases.iter().map(bar).collect(),
        legend: segments::legend(handoff.phases.iter().map(|phase| phase.name)),
        width: 560.0,
    };
    let row = |phase: &crate::report::Phase| {
        vec![phase.name.to_owned(), phase.peer.clone().unwrap_or_default(), ms(phase.start), ms(phase.took)]
    };
    let missing = match &handoff.missing[..] {
        [] => String::new(),
        missing => format!(" Missing: {}.", missing.join(", ")),
    };
    let anchor = if handoff.anchor_kept { "The anchor was kept." } else { "It has a new anchor." };
    Figure {
        id: slug(&format!("phases-{}-{}", handoff.node, handoff.number)),
        title,
        caption: format!(
            "What happened from when to when; phases overlap. {anchor} Attaching cost the emulator {} ms.{missing}",
            delta(handoff.attach_cost.into())
        ),
        picture: Some(picture.picture()),
        table: Table::of(&["phase", "peer", "start ms", "took ms"], handoff.phases.iter().map(row)),
        is_half: false,
    }
}
