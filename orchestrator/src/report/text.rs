//! Reports as text: tables, and a handoff's waterfall.

use super::handoffs::{Handoff, Phase};
use super::interventions::Intervention;
use super::path::CriticalPath;
use super::statistics::{Delta, Ranks};
use super::summary::{HandoffSummary, PathSummary, SignallingSummary, Summary};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use samp_model::settings::{EmulationSettings, Records, Trigger};
use serde::Serialize;
use std::fmt::{self, Write};
use std::time::Duration;

/// How text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether bars may be drawn with block characters.
    pub unicode: bool,
    /// Columns that bars may use in all.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { unicode: false, width: 100 }
    }
}

/// A plain table: the first column to the left, all others to the right.
pub fn table<R, C>(header: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = Vec<C>>,
    C: ToString,
{
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row.iter().map(ToString::to_string));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Without borders the first column would be indented and every line would end in blanks.
    table
        .to_string()
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned() + "\n")
        .collect()
}

/// A handoff at a glance: phases as bars over time, then what each total is made of.
pub fn waterfall(handoff: &Handoff, style: Style) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_waterfall(&mut text, handoff, style);
    text
}

fn write_waterfall(out: &mut impl Write, handoff: &Handoff, style: Style) -> fmt::Result {
    let to = handoff.to.as_deref().unwrap_or("nowhere");
    write!(out, "handoff {} of {}: {} to {to}", handoff.number, handoff.node, handoff.from)?;
    if let Some(address) = handoff.address {
        write!(out, ", care-of address {address}")?;
    }
    // A node with a program of the user's is complete without a registration that samp-lab sees.
    let registers = handoff.registration.is_some() || !handoff.is_complete();
    let separator = if registers && !handoff.registration_kind.is_empty() { ", " } else { "" };
    let kind = if registers { handoff.registration_kind } else { "" };
    writeln!(out, "{separator}{kind}")?;
    if let Some(told) = handoff.going_down {
        writeln!(out, "told {} ms before that its link goes down", ms(told))?;
    }
    if let Some(kept) = handoff.kept {
        writeln!(out, "the old link stayed for {} ms beside the new one", ms(kept))?;
    }
    writeln!(out)?;
    write_bars(out, handoff, style)?;
    writeln!(
        out,
        "\nemulator: the attachment itself cost {}; {} on the radio link dropped",
        ms(handoff.attach_cost) + " ms",
        count(handoff.frames_dropped, "frame")
    )?;
    let mut paths = Vec::new();
    for call in &handoff.calls {
        for (direction, preposition, name) in
            [(&call.downlink, "from", "downlink"), (&call.uplink, "to", "uplink")]
        {
            let gap = direction.media_gap.map_or(String::new(), |gap| {
                let lost = count(direction.packets_lost.unwrap_or(0), "packet");
                format!("; media gap {} ms, {lost} lost", ms(gap))
            });
            let tunnels = direction.tunnel_cost.map_or(String::new(), |cost| {
                format!("; tunnels cost its first packet about {} ms", ms(cost))
            });
            paths.push((format!("{name}, media {preposition} {}{gap}{tunnels}", call.peer), &direction.path));
        }
    }
    if registers {
        paths.push(("registration".to_owned(), &handoff.registration));
    }
    for (title, path) in paths {
        writeln!(out, "\n{title}")?;
        match path {
            Some(path) => out.write_str(&path_table(path))?,
            None => writeln!(out, "did not come to its end")?,
        }
    }
    if !handoff.is_complete() {
        writeln!(out, "\nmissing: {}", handoff.missing.join(", "))?;
    }
    Ok(())
}

fn write_bars(out: &mut impl Write, handoff: &Handoff, style: Style) -> fmt::Result {
    let label = |phase: &Phase| match &phase.peer {
        Some(peer) => format!("{} {peer}", phase.name),
        None => phase.name.to_owned(),
    };
    let phases = handoff.phases.iter().map(|phase| (label(phase), phase.start, phase.took));
    let totals = handoff.calls.iter().flat_map(|call| {
        [("downlink", &call.downlink), ("uplink", &call.uplink)].into_iter().filter_map(
            |(name, direction)| {
                let total = direction.path.as_ref()?.total();
                Some((format!("total {name} {}", call.peer), Duration::ZERO, total))
            },
        )
    });
    let bars: Vec<(String, Duration, Duration)> = phases.chain(totals).collect();
    let end = bars.iter().map(|(_, start, took)| *start + *took).max().unwrap_or_default();
    let labels = bars.iter().map(|(label, ..)| label.len()).max().unwrap_or(0).max("phase".len());
    let columns = style.width.saturating_sub(labels + 2 * 12 + 2).clamp(10, 80);
    writeln!(out, "{:labels$}{:>12}{:>12}  0 to {} ms", "phase", "start ms", "took ms", ms(end))?;
    for (label, start, took) in bars {
        let bar = bar(start, took, end, columns, style.unicode);
        writeln!(out, "{label:labels$}{:>12}{:>12}  {bar}", ms(start), ms(took))?;
    }
    Ok(())
}

/// A bar from `start` on, in a field of `columns` that stands for `end`; too short for its field, it is a tick.
fn bar(start: Duration, took: Duration, end: Duration, columns: usize, unicode: bool) -> String {
    let scale = |instant: Duration| {
        if end.is_zero() { 0.0 } else { instant.as_secs_f64() / end.as_secs_f64() * columns as f64 }
    };
    let from = (scale(start).round() as usize).min(columns - 1);
    let until = (scale(start + took).round() as usize).min(columns);
    let (full, tick) = if unicode { ("█", "▏") } else { ("#", "|") };
    let drawn = if until > from { full.repeat(until - from) } else { tick.to_owned() };
    format!("{:from$}{drawn}", "")
}

fn path_table(path: &CriticalPath) -> String {
    let rows = path.segments().iter().map(|segment| {
        let above = segment.floor.map(|floor| Delta::above(segment.took, floor));
        vec![format!("  {}", segment.name), ms(segment.took), maybe_ms(segment.floor), maybe_delta(above)]
    });
    let total =
        vec!["  total".to_owned(), ms(path.total()), maybe_ms(path.floor()), maybe_delta(path.overhead())];
    table(&["  segment", "took ms", "floor ms", "overhead ms"], rows.chain([total]))
}

/// A run in figures, as tables.
///
/// # Errors
/// Those of `out`.
pub fn write_summary(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    let handoffs = &summary.handoffs;
    writeln!(out, "handoffs: {}, {} complete", handoffs.n, handoffs.complete)?;
    for path in &handoffs.paths {
        write_path_summary(out, path)?;
    }
    write_phases(out, handoffs)?;
    write_media(out, handoffs)?;
    write_registrations(out, summary)?;
    write_calls(out, summary)?;
    write_signalling(out, summary)?;
    write_transfers(out, summary)?;
    write_tunnels(out, summary)?;
    write_interventions(out, summary)?;
    write_deaths(out, summary)?;
    write_knobs(out, summary)
}

const RANKS: [&str; 4] = ["p50 ms", "p95 ms", "max ms", "n"];

fn ranks(ranks: &Ranks<Delta>) -> [String; 4] {
    [delta(ranks.p50), delta(ranks.p95), delta(ranks.max), ranks.n.to_string()]
}

fn maybe_p50(ranks: &Option<Ranks<Delta>>) -> String {
    maybe_delta(ranks.map(|ranks| ranks.p50))
}

fn write_deaths(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    if summary.deaths.is_empty() {
        return Ok(());
    }
    let rows = summary.deaths.iter().map(|death| {
        vec![
            format!("  {}", death.server),
            death.mobile_nodes.to_string(),
            death.affected.to_string(),
            death.for_good.to_string(),
            maybe_p50(&death.outage),
            maybe_delta(death.outage.map(|outage| outage.max)),
            death.calls.to_string(),
            death.calls_failed.to_string(),
        ]
    });
    let header = [
        "  died",
        "mobile nodes",
        "served",
        "lost for good",
        "without service p50 ms",
        "max ms",
        "calls since",
        "failed",
    ];
    write!(out, "\nservers that died\n{}", table(&header, rows))
}

fn write_path_summary(out: &mut impl Write, path: &PathSummary) -> fmt::Result {
    let row = |name: &str, took: &Ranks<Delta>, floor, overhead| {
        let mut row = vec![format!("  {name}")];
        row.extend(ranks(took));
        row.extend([maybe_p50(floor), maybe_p50(overhead)]);
        row
    };
    let rows = path.segments.iter().map(|part| row(part.segment, &part.took, &part.floor, &part.overhead));
    let total = row("total", &path.total, &path.floor, &path.overhead);
    let header = [&["  segment"], &RANKS[..], &["floor p50", "overhead p50"]].concat();
    write!(out, "\n{}\n{}", path.path, table(&header, rows.chain([total])))
}

fn write_phases(out: &mut impl Write, handoffs: &HandoffSummary) -> fmt::Result {
    if handoffs.phases.is_empty() {
        return Ok(());
    }
    let rows = handoffs.phases.iter().map(|phase| {
        let mut row = vec![format!("  {}", phase.name)];
        row.extend(ranks(&phase.took));
        row
    });
    let header = [&["  phase"], &RANKS[..]].concat();
    write!(out, "\nphases (they overlap)\n{}", table(&header, rows))?;
    if let Some(cost) = &handoffs.attach_cost {
        writeln!(
            out,
            "  emulator: an attachment cost {} ms (p50), {} ms (max); {} dropped on radio links",
            delta(cost.p50),
            delta(cost.max),
            count(handoffs.frames_dropped, "frame")
        )?;
    }
    for media in &handoffs.media {
        if let Some(cost) = &media.tunnel_cost {
            writeln!(
                out,
                "  tunnels: the first packet {} was at agents for {} ms (p50), {} ms (max), by their means around then",
                media.direction,
                delta(cost.p50),
                delta(cost.max)
            )?;
        }
    }
    Ok(())
}

fn write_media(out: &mut impl Write, handoffs: &HandoffSummary) -> fmt::Result {
    if handoffs.media.is_empty() {
        return Ok(());
    }
    let rows = handoffs.media.iter().map(|media| {
        let mut row = vec![format!("  {}", media.direction)];
        row.extend(ranks(&media.media_gap));
        let lost = &media.packets_lost;
        row.extend([lost.p50, lost.p95, lost.max, media.packets_lost_total].map(|lost| lost.to_string()));
        row
    });
    let header = ["  direction", "gap p50 ms", "p95 ms", "max ms", "n", "lost p50", "p95", "max", "in all"];
    write!(out, "\nmedia gap and packets lost by handoffs\n{}", table(&header, rows))
}

fn write_registrations(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    if summary.registrations.is_empty() {
        return Ok(());
    }
    let rows = summary.registrations.iter().map(|registration| {
        let mut row = vec![format!("  {}", word(&registration.scope))];
        row.extend(maybe_ranks(&registration.rrd));
        row.extend([
            maybe_p50(&registration.floor),
            maybe_p50(&registration.overhead),
            registration.hops.map_or("-".to_owned(), |hops| hops.p50.to_string()),
            registration.failed.to_string(),
        ]);
        row
    });
    let header = [&["  with"], &RANKS[..], &["floor p50", "overhead p50", "servers p50", "failed"]].concat();
    write!(out, "\nregistrations: Registration Request Delay (RFC 6076)\n{}", table(&header, rows))
}

fn write_calls(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    let calls = &summary.calls;
    if calls.attempts == 0 {
        return Ok(());
    }
    write!(out, "\ncalls: {} of {} established", calls.established, calls.attempts)?;
    writeln!(out, "; Session Request Delay (RFC 6076) by cache outcome")?;
    let rows = calls.by_cache.iter().map(|cache| {
        let mut row = vec![format!("  {}", word(&cache.cache))];
        row.extend(ranks(&cache.srd));
        row.extend([
            maybe_p50(&cache.floor),
            maybe_p50(&cache.overhead),
            cache.hops.p50.to_string(),
            maybe_p50(&cache.overlay),
        ]);
        row
    });
    let failed = calls.failed_srd.iter().map(|srd| {
        let mut row = vec!["  failed".to_owned()];
        row.extend(ranks(srd));
        row.extend(["-"; 4].map(str::to_owned));
        row
    });
    let header =
        [&["  cache"], &RANKS[..], &["floor p50", "overhead p50", "servers p50", "overlay p50"]].concat();
    out.write_str(&table(&header, rows.chain(failed)))?;
    for (status, n) in &calls.failed_by_status {
        writeln!(out, "  {n} failed with status {status}")?;
    }
    Ok(())
}

fn write_signalling(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    if summary.records == Records::Milestones {
        let why = "the topology has `samp: { records: milestones }`";
        return writeln!(out, "\nsignalling: not counted, as single messages are not recorded; {why}");
    }
    if summary.signalling.is_empty() {
        return Ok(());
    }
    let rows = summary.signalling.iter().map(|SignallingSummary { of, messages, bytes }| {
        let mut row = vec![format!("  {of}")];
        row.extend(
            [messages, bytes]
                .iter()
                .flat_map(|ranks| [ranks.p50, ranks.p95, ranks.max])
                .map(|n| n.to_string()),
        );
        row.push(messages.n.to_string());
        row
    });
    let header = ["  of", "messages p50", "p95", "max", "bytes p50", "p95", "max", "n"];
    write!(
        out,
        "\nsignalling: each transmission over one hop once, as its IP datagram\n{}",
        table(&header, rows)
    )
}

fn write_transfers(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    let transfers = &summary.transfers;
    if transfers.n == 0 {
        return Ok(());
    }
    let done = transfers.took.as_ref().map_or(0, |took| took.n);
    write!(out, "\ntransfers: {done} of {} done; from REFER until both ends hear each other\n", transfers.n)?;
    let row = |took| [&["  transfer".to_owned()], &ranks(took)[..]].concat();
    let header = [&["  "], &RANKS[..]].concat();
    out.write_str(&table(&header, transfers.took.iter().map(row)))
}

/// What was done to the lab, and when.
fn write_tunnels(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    if summary.tunnels.is_empty() {
        return Ok(());
    }
    let milliseconds = |took: Duration| delta(took.into());
    let rows = summary.tunnels.iter().map(|cost| {
        [
            format!("  {}", cost.at),
            cost.datagrams.to_string(),
            milliseconds(cost.mean),
            milliseconds(cost.longest),
        ]
        .to_vec()
    });
    let header = ["  at", "datagrams", "mean ms", "longest ms"];
    write!(
        out,
        "\ntunnels: how long datagrams were at agents, from the kernel to the kernel\n{}",
        table(&header, rows)
    )
}

fn write_interventions(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    if summary.interventions.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ndone to the lab, in ms from its first record")?;
    for Intervention { at, node, what } in &summary.interventions {
        writeln!(out, "{:>12}  {node}: {what}", ms(*at))?;
    }
    Ok(())
}

/// Which knobs the run had, and which of them are not as the profiles have them.
fn write_knobs(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    let rows = summary.knobs.iter().map(|knob| {
        vec![format!("  {}", knob.name), knob.value.clone(), knob.recommended.clone(), knob.paper.clone()]
    });
    write!(out, "\nknobs\n{}", table(&["  knob", "value", "recommended", "paper"], rows))
}

/// The word that files and JSON use for a setting, state or outcome; empty for what is no single word.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// How a lab emulates links and the air, in a line.
pub fn emulation(settings: &EmulationSettings) -> String {
    let mut text = format!("links {}, attach {}", word(&settings.links), word(&settings.attach));
    if !settings.gap.is_zero() {
        text += &format!(", gap {:?}", settings.gap);
    }
    if settings.trigger != Trigger::Link {
        text += &format!(", trigger {}", word(&settings.trigger));
    }
    if !settings.make_before_break.is_zero() {
        text += &format!(", make before break {:?}", settings.make_before_break);
    }
    if !settings.going_down.is_zero() {
        text += &format!(", going down {:?}", settings.going_down);
    }
    if let Some(thousandths) = settings.server_cpu {
        text += &format!(", servers at {} % of a processor", f64::from(thousandths.get()) / 10.0);
    }
    text
}

fn delta(delta: Delta) -> String {
    format!("{:.3}", delta.as_millis())
}

fn maybe_delta(maybe: Option<Delta>) -> String {
    maybe.map_or("-".to_owned(), delta)
}

fn ms(duration: Duration) -> String {
    delta(duration.into())
}

fn maybe_ms(maybe: Option<Duration>) -> String {
    maybe_delta(maybe.map(Delta::from))
}

fn maybe_ranks(maybe: &Option<Ranks<Delta>>) -> [String; 4] {
    maybe.as_ref().map_or(["-", "-", "-", "0"].map(str::to_owned), ranks)
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
