//! A period: for so long, mobile nodes move, calls come and go, and what else is to happen happens, each in its own time.

use super::Action;
use super::file::{ArrivalsFile, PeriodFile, TimedFile};
use super::movement::Movement;
use super::steps::{OnceFiles, Resolver};
use crate::flood::PATIENCE;
use crate::topology::NodeId;
use crate::units::Interval;
use crate::yaml::{Word, span};
use serde::{Deserialize, Serialize};
use serde_yaml::Spanned;
use std::time::Duration;

/// How often something may happen in a period.
const MAX_TIMES: usize = 100_000;

/// What goes on in a period. Nothing waits for anything else: this is an open load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// How long it is; then what is under way comes to its end.
    pub lasts: Duration,
    /// How mobile nodes move.
    pub movement: Option<Movement>,
    /// How they call each other.
    pub calls: Option<Arrivals>,
    /// What else happens.
    pub happens: Vec<Happening>,
}

/// Something that happens in a period, once or again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// How long after its beginning; or, of what waits for a state, from when on it does.
    pub after: Duration,
    /// After how long again.
    pub every: Option<Duration>,
    /// What.
    pub action: Action,
}

impl Happening {
    /// How often it happens in a period of this length.
    pub(super) fn times(&self, lasts: Duration) -> usize {
        let again = |every: Duration| lasts.saturating_sub(self.after).as_nanos().div_ceil(every.as_nanos());
        self.every.map_or(1, |every| again(every) as usize)
    }

    /// How many things happen with that.
    fn actions(&self, lasts: Duration) -> usize {
        self.times(lasts).saturating_mul(self.action.weight())
    }
}

/// Calls that arrive as a Poisson process at each caller, and last for exponentially distributed times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Mean time between two calls of one caller, of which those do not take place whose caller is in a call.
    pub interval: Duration,
    /// Mean time from dialling to hanging up.
    pub lasts: Duration,
    /// Who calls whom; with none, everybody calls anybody.
    pub pairs: Vec<(NodeId, NodeId)>,
}

impl Period {
    /// How many things happen in it, about, with so many mobile nodes.
    pub(super) fn actions(&self, mobile_nodes: usize) -> usize {
        let times = |interval: Duration| self.lasts.as_nanos().div_ceil(interval.as_nanos()) as usize;
        let moves = self.movement.as_ref().map_or(0, |movement| movement.actions(self.lasts, mobile_nodes));
        let calls = self.calls.as_ref().map_or(0, |calls| {
            let callers = if calls.pairs.is_empty() { mobile_nodes } else { calls.pairs.len() };
            callers.saturating_mul(2 * times(calls.interval))
        });
        let happens: usize = self.happens.iter().map(|happening| happening.actions(self.lasts)).sum();
        moves.saturating_add(calls).saturating_add(happens)
    }
}

impl Resolver<'_> {
    pub(super) fn period(&mut self, file: &PeriodFile) -> Option<Period> {
        let lasts = self.errors.value(&file.lasts).map(Interval::get);
        let movement = self.movement(file, lasts);
        let calls = file.calls.as_ref().map(|calls| self.arrivals(calls));
        let happens =
            file.at.iter().flatten().map(|timed| self.happening(timed, lasts, movement != Some(None)));
        let happens = happens.collect::<Vec<_>>();
        if movement == Some(None) && calls.is_none() && file.at.is_none() {
            self.errors.report(span(&file.lasts), "nothing happens in this period", |error| {
                error.hint(
                    "add `walk`, `waypoint`, `trace`, `calls` or `at`; time alone passes with `- wait: 5s`",
                )
            });
        }
        let calls = calls.map_or(Some(None), |calls| calls.map(Some));
        let happens = happens.into_iter().collect::<Option<_>>();
        Some(Period { lasts: lasts?, movement: movement?, calls: calls?, happens: happens? })
    }

    fn happening(
        &mut self,
        timed: &Spanned<TimedFile>,
        lasts: Option<Duration>,
        nodes_move: bool,
    ) -> Option<Happening> {
        let TimedFile { after, every, when, partition, .. } = &timed.value;
        let action = self.timed(timed);
        let when = when.as_ref().map(|condition| self.errors.value(condition));
        let [after, every] = [after, every].map(|time| time.as_ref().map(|time| self.errors.value(time)));
        let after = after.map_or(Some(Duration::ZERO), |after| after.map(Interval::get));
        let mut happening =
            Happening { after: after?, every: every.flatten().map(Interval::get), action: action? };
        let when = when.map_or(Some(None), |when| when.map(Some))?;
        if happening.after >= lasts? {
            self.errors.report(span(timed), "this comes when the period is over", |error| {
                error.hint("`after` counts from the beginning of the period, and is shorter than `lasts`")
            });
        } else if every.is_some() && when.is_some() {
            self.errors.report(span(timed), "what waits for a state happens once", |error| {
                error.hint("leave `every` or `when` out")
            });
        } else if nodes_move && when.is_some() && matches!(happening.action, Action::Handoff { .. }) {
            self.errors.report(span(timed), "nodes that move by themselves wait for no state", |error| {
                error.hint("leave `when` out, or let nobody move in this period")
            });
        } else if every.is_some() && partition.is_some() {
            self.errors.report(span(timed), "a partition happens once", |error| {
                error.hint("leave `every` out, or let single links go down and come up")
            });
        } else if let Action::Flood { flood, .. } = happening.action
            && happening.after + flood.lasts > lasts?
        {
            self.errors.report(span(timed), "this flood lasts longer than the period", |error| {
                error.hint("`after` and `for` together are at most what the period `lasts`")
            });
        } else if let (Action::Flood { flood, .. }, Some(every)) = (&happening.action, happening.every)
            && flood.lasts + PATIENCE > every
        {
            self.errors.report(span(timed), "this flood begins again before it is over", |error| {
                error.hint(format!(
                    "`every` is longer than `for` by {PATIENCE:?}, for the last answers, or more"
                ))
            });
        } else if happening.times(lasts?) > MAX_TIMES {
            self.errors.report(span(timed), "this happens too often", |error| {
                error.hint(format!("at most {MAX_TIMES} times in a period"))
            });
            return None;
        }
        if let Some(Word(condition)) = when {
            happening.action = Action::When { condition, action: Box::new(happening.action) };
        }
        Some(happening)
    }

    fn arrivals(&mut self, file: &ArrivalsFile) -> Option<Arrivals> {
        let interval = self.errors.value(&file.interval).map(Interval::get);
        let lasts = self.errors.value(&file.lasts).map(Interval::get);
        let pairs = file.pairs.iter().flatten().map(|pair| self.pair_of_callers(pair)).collect::<Vec<_>>();
        if file.pairs.is_none() && self.topology.mobile_nodes().count() < 2 {
            self.errors.report(span(&file.interval), "nobody can call anybody in this topology", |error| {
                error.hint("a call takes two mobile nodes")
            });
        }
        let pairs = pairs.into_iter().collect::<Option<_>>();
        Some(Arrivals { interval: interval?, lasts: lasts?, pairs: pairs? })
    }

    fn timed(&mut self, timed: &Spanned<TimedFile>) -> Option<Action> {
        let TimedFile { handoff, call, link, partition, heal, kill, pause, resume, flood, .. } = &timed.value;
        let once = OnceFiles { link, partition, heal, kill, pause, resume, flood };
        if once.given() + usize::from(handoff.is_some()) + usize::from(call.is_some()) != 1 {
            self.errors.report(span(timed), "exactly one thing happens at a time", |error| {
                error
                    .label("in this entry")
                    .hint("write each as an entry of its own: `- { after: 5s, kill: s2 }`")
            });
            return None;
        }
        if let Some(pair) = handoff {
            let (mobile_node, access_router) = self.one_move(pair)?;
            return Some(Action::Handoff { mobile_node, access_router, gap: None });
        }
        if let Some(pair) = call {
            let hint = "a call is between two mobile nodes";
            let (caller, callee) = self.two_mobile_nodes(pair, "[mn1, mn2]", "calls itself", hint)?;
            return Some(Action::Call { caller, callee });
        }
        self.once(span(timed), once)
    }
}
