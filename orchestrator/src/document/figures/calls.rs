//! Calls: how long their set-up takes, by what the caches were worth.

use super::super::{Figure, Material, Section, Table, count, maybe, ms, ranks, signalling};
use super::empty_section;
use crate::document::millis;
use crate::report::{CacheSummary, CallOutcome, CallReport, Delta, word};
use samp_chart::{Dots, Entry, Key, Row, Scale};

/// The section, where there were calls.
pub(super) fn section(material: &Material) -> Option<Section> {
    let calls = &material.summary.calls;
    if calls.attempts == 0 {
        return None;
    }
    let mut section = empty_section("calls", "Calls");
    section.text.push(format!(
        "{} of {} established. Session Request Delay (RFC 6076 §4.3) goes from the order to call to the callee's first response.",
        calls.established,
        count(calls.attempts, "call")
    ));
    for (status, n) in &calls.failed_by_status {
        section.text.push(format!("{} failed with status {status}.", count(*n, "call")));
    }
    section.figures.push(by_cache(material));
    section.figures.push(each(&material.report.calls));
    Some(section)
}

/// A cache outcome in words.
fn outcome(cache: &CacheSummary) -> String {
    word(&cache.cache).replace('_', " ")
}

fn by_cache(material: &Material) -> Figure {
    let title = "Call set-up by cache outcome";
    let summaries = &material.summary.calls.by_cache;
    let row = |summary: &CacheSummary| {
        let delay = |call: &CallReport| match &call.outcome {
            CallOutcome::Established { srd, cache, .. } if *cache == summary.cache => Some(millis(*srd)),
            _ => None,
        };
        Row {
            name: outcome(summary),
            class: "s1".into(),
            values: material.report.calls.iter().filter_map(delay).collect(),
            tick: Some(summary.srd.p50.as_millis()),
            expected: summary.floor.map(|floor| floor.p50.as_millis()),
            allowed: None,
            value: format!("p50 {} ms, n = {}", maybe(Some(summary.srd.p50)), summary.srd.n),
        }
    };
    let entry = |name: &str, key| Entry { class: "s1".into(), name: name.into(), key };
    let picture = Dots {
        title: title.to_owned(),
        x: Scale { label: "Session Request Delay, ms", is_log: false },
        rows: summaries.iter().map(row).collect(),
        legend: vec![
            entry("a call", Key::Mark(0)),
            entry("median", Key::Tick),
            entry("median of the floors", Key::Hollow(3)),
        ],
        width: 520.0,
    };
    let p50 = |ranks: &Option<crate::report::Ranks<Delta>>| maybe(ranks.map(|ranks| ranks.p50));
    let rows = summaries.iter().map(|summary| {
        let mut row = vec![outcome(summary)];
        row.extend(ranks(&summary.srd));
        row.extend([
            p50(&summary.floor),
            p50(&summary.overhead),
            summary.hops.p50.to_string(),
            p50(&summary.overlay),
        ]);
        row
    });
    let header = [
        "cache",
        "p50 ms",
        "p95 ms",
        "max ms",
        "n",
        "floor p50 ms",
        "overhead p50 ms",
        "servers p50",
        "overlay p50 ms",
    ];
    Figure {
        id: "call-set-up".into(),
        title: title.to_owned(),
        caption: "Established calls. The floor is what the configured delays along the INVITE's path make of it; overlay is the \
                  time from the first server's passing it on to the last one's."
            .into(),
        picture: (!summaries.is_empty()).then(|| picture.picture()),
        table: Table::of(&header, rows),
        is_half: false,
    }
}

fn each(calls: &[CallReport]) -> Figure {
    let row = |call: &CallReport| {
        let (how, srd, servers) = match &call.outcome {
            CallOutcome::Established { srd, cache, path, .. } => {
                (word(cache).replace('_', " "), ms(*srd), path.len().to_string())
            }
            CallOutcome::Failed { srd, status } => {
                (format!("failed: {status}"), maybe(srd.map(Delta::from)), "–".to_owned())
            }
            CallOutcome::Pending => ("pending".to_owned(), "–".to_owned(), "–".to_owned()),
        };
        let lost: u64 = call.media.iter().map(|media| media.lost).sum();
        let silence = call.media.iter().map(|media| Delta::from(media.longest_silence)).max();
        let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "–".to_owned());
        vec![
            call.call.clone(),
            name(&call.caller),
            name(&call.callee),
            how,
            srd,
            servers,
            lost.to_string(),
            maybe(silence),
        ]
        .into_iter()
        .chain(signalling(call.signalling))
        .collect()
    };
    let header = [
        "call",
        "caller",
        "callee",
        "outcome",
        "srd ms",
        "servers",
        "packets lost",
        "longest silence ms",
        "messages",
        "bytes",
    ];
    Figure {
        id: "calls".into(),
        title: "Each call".into(),
        caption: format!(
            "In the order in which they were started, n = {}; packets lost at both ends together; messages from the INVITE to \
             the ACK, with the lengths of their IP datagrams.",
            calls.len()
        ),
        picture: None,
        table: Table::of(&header, calls.iter().map(row)),
        is_half: false,
    }
}
