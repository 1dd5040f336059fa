//! Traces of movements: CSV files (RFC 4180, without quotes) of time, node and access router.

use super::steps::Resolver;
use crate::diagnostic::quote;
use crate::topology::NodeId;
use crate::units::Interval;
use crate::yaml::Source;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// How the names of trace files end.
pub(super) const TRACE_EXTENSION: &str = "csv";
/// Bytes of a trace at most.
pub(super) const MAX_TRACE: usize = 16 << 20;
/// What the first line says.
pub(super) const HEADER: &str = "time,node,access_router";

/// A mobile node moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedMove {
    /// How long after the beginning of the period.
    pub after: Duration,
    /// Who.
    pub mobile_node: NodeId,
    /// Where to.
    pub access_router: NodeId,
}

/// The moves that a trace lists, for a period of this length; the resolver's errors are about the trace meanwhile.
pub(super) fn moves(resolver: &mut Resolver<'_>, source: &Source, lasts: Duration) -> Vec<TimedMove> {
    let mut moves: Vec<TimedMove> = Vec::new();
    let mut lines = lines(source.text());
    let (_, header) = lines.next().unwrap_or_default();
    if header != HEADER {
        resolver.errors.report(0..header.len(), "this is no trace of movements", |error| {
            error.hint(format!("the first line is `{HEADER}`, and the others as `2.5,mn1,ar-0-1`"))
        });
        return moves;
    }
    for (start, line) in lines {
        if line.is_empty() {
            continue;
        }
        let fields: Vec<_> = fields(start, line).collect();
        let [(at, time), node, access_router] = &fields[..] else {
            resolver.errors.report(start..start + line.len(), "expected three fields", |error| {
                error.hint("time in seconds, mobile node, access router, as `2.5,mn1,ar-0-1`")
            });
            continue;
        };
        let [mobile_node, access_router] = [
            resolver.mobile_node_named(node.0.clone(), node.1),
            resolver.access_router_named(access_router.0.clone(), access_router.1),
        ];
        let Some(after) = seconds(time) else {
            resolver.errors.report(at.clone(), format!("{} is no time", quote(time)), |error| {
                error.hint("write seconds since the beginning of the period, as `2.5`")
            });
            continue;
        };
        if after >= lasts {
            resolver.errors.report(at.clone(), "this comes when the period is over", |error| {
                error.hint("times count from the beginning of the period, and are shorter than its `lasts`")
            });
        } else if moves.last().is_some_and(|before| after < before.after) {
            resolver.errors.report(at.clone(), "this comes before the line above it", |error| {
                error.hint("sort the lines by time")
            });
        } else if let (Some(mobile_node), Some(access_router)) = (mobile_node, access_router) {
            moves.push(TimedMove { after, mobile_node, access_router });
        }
    }
    moves
}

/// The lines, without their ends, with where they begin.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let here = start;
        start += line.len();
        (here, line.trim_end_matches(['\n', '\r']))
    })
}

/// The fields of a line, without spaces around, with where they are.
fn fields(start: usize, line: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut start = start;
    line.split(',').map(move |field| {
        let (trimmed, before) = (field.trim(), field.len() - field.trim_start().len());
        let here = start + before;
        start += field.len() + 1;
        (here..here + trimmed.len(), trimmed)
    })
}

/// So many seconds, from 0 to a day, exactly.
fn seconds(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte == b'0') {
        return Some(Duration::ZERO);
    }
    format!("{text}s").parse().ok().map(Interval::get)
}
