//! How mobile nodes move in a period: a walk from one access router to the next, paths over a map, or a trace.

use super::ReadFile;
use super::file::{PeriodFile, WalkFile, WaypointFile};
use super::steps::Resolver;
use super::trace::{self, TRACE_EXTENSION, TimedMove};
use crate::diagnostic::quote;
use crate::topology::NodeId;
use crate::units::{Delay, Interval, Percent, Speed};
use crate::yaml::{Errors, Value, span};
use serde::{Deserialize, Serialize};
use serde_yaml::Spanned;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How mobile nodes move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Movement {
    /// All walk from access router to access router.
    Walk(Walk),
    /// All go from point to point of the map.
    Waypoint(Waypoint),
    /// As a file says, in the order of time.
    Trace(Vec<TimedMove>),
}

/// A random walk over neighbouring access routers, as in the paper: with probability α a node takes a step towards the
/// hotspot, and otherwise one to any neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Time between two steps of a node; the first comes at random within the first of these.
    pub interval: Duration,
    /// The access router that everybody is drawn to, with α, from 0.0 to 1.0. Who is there stays, instead of a step
    /// towards it.
    pub hotspot: Option<(NodeId, f64)>,
    /// For how long each is attached nowhere, where it is not the topology's gap.
    pub gap: Option<Duration>,
}

/// Random waypoint over the positions of the access routers (Johnson and Maltz, 1996): each node sets off at random
/// within a pause, goes straight to a point anywhere in the rectangle around them, pauses, and goes on to another one. It is attached to an access router
/// until another one is nearer by the hysteresis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waypoint {
    /// Metres per second.
    pub speed: f64,
    /// How long it stays at each point.
    pub pause: Duration,
    /// Metres.
    pub hysteresis: f64,
    /// For how long each is attached nowhere, where it is not the topology's gap.
    pub gap: Option<Duration>,
}

/// Time between two looks for a nearer access router at least: so often a node moves at most, about.
pub(super) const LOOK: Duration = Duration::from_millis(100);

impl Movement {
    /// How many moves there are at most in a period of this length, with so many mobile nodes.
    pub(super) fn actions(&self, lasts: Duration, mobile_nodes: usize) -> usize {
        let times = |interval: Duration| lasts.as_nanos().div_ceil(interval.as_nanos()) as usize;
        match self {
            Movement::Walk(walk) => mobile_nodes.saturating_mul(times(walk.interval)),
            Movement::Waypoint(_) => mobile_nodes.saturating_mul(times(LOOK)),
            Movement::Trace(moves) => moves.len(),
        }
    }

    /// For how long a node that moves is attached nowhere, where it is not the topology's gap.
    pub(super) fn gap(&self) -> Option<Duration> {
        match self {
            Movement::Walk(Walk { gap, .. }) | Movement::Waypoint(Waypoint { gap, .. }) => *gap,
            Movement::Trace(_) => None,
        }
    }
}

/// The files that an experiment names: where their paths begin, and who reads them.
#[derive(Clone, Copy)]
pub(super) struct Files<'t> {
    pub(super) directory: &'t Path,
    pub(super) read: ReadFile<'t>,
}

impl Resolver<'_> {
    /// The one way in which nodes move; none inside if there is none.
    pub(super) fn movement(
        &mut self,
        file: &PeriodFile,
        lasts: Option<Duration>,
    ) -> Option<Option<Movement>> {
        let PeriodFile { walk, waypoint, trace, .. } = file;
        let second = match (walk, waypoint, trace) {
            (_, Some(waypoint), Some(_)) => Some(span(&waypoint.speed)),
            (Some(walk), Some(_), _) | (Some(walk), _, Some(_)) => Some(span(&walk.interval)),
            _ => None,
        };
        if let Some(at) = second {
            self.errors.report(at, "nodes move in one way in a period", |error| {
                error.hint("keep one of `walk`, `waypoint` and `trace`")
            });
            return None;
        }
        Some(if let Some(walk) = walk {
            Some(Movement::Walk(self.walk(walk)?))
        } else if let Some(waypoint) = waypoint {
            Some(Movement::Waypoint(self.waypoint(waypoint)?))
        } else if let Some(trace) = trace {
            Some(Movement::Trace(self.trace(trace, lasts?)?))
        } else {
            None
        })
    }

    fn walk(&mut self, file: &WalkFile) -> Option<Walk> {
        let interval = self.errors.value(&file.interval).map(Interval::get);
        let gap = self.gap(file.gap.as_ref())?;
        self.can_move(span(&file.interval));
        let hotspot = match (&file.hotspot, &file.alpha) {
            (None, None) => None,
            (Some(hotspot), Some(alpha)) => {
                let (hotspot, alpha) = (self.access_router(hotspot), self.errors.value(alpha));
                Some((hotspot?, alpha.map(Percent::fraction)?))
            }
            (Some(hotspot), None) => {
                self.errors.report(span(hotspot), "nobody is drawn to this hotspot", |error| {
                    error.hint("`alpha: 30%` says how many of the steps lead towards it")
                });
                return None;
            }
            (None, Some(alpha)) => {
                self.errors.report(span(alpha), "there is no hotspot", |error| {
                    error.hint("`hotspot: ar-3-3` says which access router the steps lead towards")
                });
                return None;
            }
        };
        Some(Walk { interval: interval?, hotspot, gap })
    }

    fn waypoint(&mut self, file: &WaypointFile) -> Option<Waypoint> {
        let at = span(&file.speed);
        let speed = self.errors.value(&file.speed).map(Speed::metres_per_second);
        let pause = file.pause.as_ref().map(|pause| self.errors.value(pause));
        let hysteresis = file.hysteresis.as_ref().map(|metres| (span(metres), self.errors.value(metres)));
        let gap = self.gap(file.gap.as_ref())?;
        let hysteresis = match hysteresis {
            None => 0.0,
            Some((at, Some(metres))) if metres.0 < 0.0 => {
                self.errors.report(at, "a hysteresis is at least 0", |error| {
                    error.hint("write metres, as `hysteresis: 10`")
                });
                return None;
            }
            Some((_, metres)) => metres?.0,
        };
        self.can_move(at.clone());
        let topology = self.topology;
        let position = |&id: &NodeId| topology.node(id).access().and_then(|access| access.position);
        if let Some(lost) = topology.access_routers().find(|id| position(id).is_none()) {
            let message = format!("{} is nowhere on the map", quote(&topology.node(lost).name));
            self.errors.report(at, message, |error| {
                error.hint("waypoints need the `position` of every access router, in metres")
            });
            return None;
        }
        let pause = pause.map_or(Some(Duration::ZERO), |pause| pause.map(Interval::get))?;
        Some(Waypoint { speed: speed?, pause, hysteresis, gap })
    }

    /// The moves of a trace file; what is wrong is told with its place in that file.
    fn trace(&mut self, file: &Spanned<String>, lasts: Duration) -> Option<Vec<TimedMove>> {
        if !is_trace(Path::new(&file.value)) {
            // As with topologies: messages quote what they complain about, so not any file will do.
            self.errors.report(span(file), format!("{} is not a trace file", quote(&file.value)), |error| {
                error.hint("`trace` is a path from the directory of this file, as `walk.csv`")
            });
            return None;
        }
        let path: PathBuf = self.files.directory.join(&file.value);
        let source = match (self.files.read)(&path) {
            Ok(source) => source,
            Err(errors) => {
                let [error, ..] = &errors[..] else { return None };
                self.errors.report(span(file), format!("{}: {}", error.path, error.message), |error| {
                    error.hint("`trace` is a path from the directory of this file")
                });
                return None;
            }
        };
        let own = std::mem::replace(&mut self.errors, Errors::new(source.clone()));
        let moves = trace::moves(self, &source, lasts);
        let theirs = std::mem::replace(&mut self.errors, own);
        let is_good = theirs.is_empty();
        self.of_traces.extend(theirs.into_list());
        is_good.then_some(moves)
    }

    fn gap(&mut self, gap: Option<&Value<Delay>>) -> Option<Option<Duration>> {
        match gap {
            Some(gap) => Some(Some(self.errors.value(gap)?.get())),
            None => Some(None),
        }
    }

    /// Reports that nobody can move, if nobody can.
    fn can_move(&mut self, at: Range<usize>) {
        if self.topology.access_routers().count() < 2 || self.topology.mobile_nodes().next().is_none() {
            self.errors.report(at, "nobody can move in this topology", |error| {
                error.hint("a handoff takes a mobile node and two access routers")
            });
        }
    }
}

/// Whether a path is that of a trace, by its name.
pub(super) fn is_trace(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == TRACE_EXTENSION)
}
