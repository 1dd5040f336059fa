//! The steps of an experiment file, bound to the nodes of its topology.

use super::file::{All, CallFile, FloodFile, HandoffFile, LinkFile, Pair, PartitionFile, StepFile};
use super::movement::Files;
use super::{Action, Calls, MAX_ACTIONS, MAX_TIME, Moves, SECONDS_PER_DAY, Step};
use crate::capture::{self, CapturePlace};
use crate::control::LinkId;
use crate::diagnostic::{Diagnostic, quote, suggest_name};
use crate::topology::{LinkQuality, Node, NodeId, NodeKind, Topology};
use crate::units::{Interval, InvalidValue};
use crate::yaml::{Errors, Value, Whole, Word, span, span_of_all};
use serde_yaml::Spanned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

/// What changes the network or what runs at a node, of which a step has one at most.
pub(super) struct OnceFiles<'f> {
    pub(super) link: &'f Option<Box<LinkFile>>,
    pub(super) partition: &'f Option<Box<PartitionFile>>,
    pub(super) heal: &'f Option<Box<Value<Word<All>>>>,
    pub(super) kill: &'f Option<Box<Spanned<String>>>,
    pub(super) pause: &'f Option<Box<Spanned<String>>>,
    pub(super) resume: &'f Option<Box<Spanned<String>>>,
    pub(super) flood: &'f Option<Box<FloodFile>>,
}

impl OnceFiles<'_> {
    /// How many of them are given.
    pub(super) fn given(&self) -> usize {
        let Self { link, partition, heal, kill, pause, resume, flood } = self;
        let given = [
            link.is_some(),
            partition.is_some(),
            heal.is_some(),
            kill.is_some(),
            pause.is_some(),
            resume.is_some(),
            flood.is_some(),
        ];
        given.into_iter().filter(|&given| given).count()
    }
}

pub(super) struct Resolver<'t> {
    pub(super) errors: Errors,
    pub(super) topology: &'t Topology,
    /// Index of each name in the topology.
    names: HashMap<&'t str, NodeId>,
    /// Mobile nodes that the file names for a call that is not over yet.
    busy: BTreeSet<NodeId>,
    /// How many others chance has put into calls, at most.
    busy_by_chance: usize,
    /// The links that the file has changed, as they are up to here.
    pub(super) qualities: BTreeMap<LinkId, [LinkQuality; 2]>,
    pub(super) files: Files<'t>,
    /// What is wrong with the traces.
    pub(super) of_traces: Vec<Diagnostic>,
}

impl<'t> Resolver<'t> {
    /// Names are those of `topology`.
    pub(super) fn new(errors: Errors, topology: &'t Topology, files: Files<'t>) -> Self {
        Self {
            errors,
            topology,
            names: topology.nodes().map(|(id, node)| (node.name.as_str(), id)).collect(),
            busy: BTreeSet::new(),
            busy_by_chance: 0,
            qualities: BTreeMap::new(),
            files,
            of_traces: Vec::new(),
        }
    }

    /// What is to be captured.
    pub(super) fn capture(&mut self, subjects: &[Spanned<String>]) -> BTreeSet<CapturePlace> {
        let mut places = BTreeSet::new();
        for subject in subjects {
            match capture::places(self.topology, &subject.value) {
                Ok(named) => places.extend(named),
                Err(InvalidValue { message, hint }) => {
                    self.errors.report(span(subject), message, |error| error.hint(hint));
                }
            }
        }
        capture::without_repetition(places)
    }

    /// The steps; the first that is too much ends the work.
    pub(super) fn timeline(&mut self, steps: &[Spanned<StepFile>]) -> Vec<Step> {
        let mut timeline = Vec::new();
        let (mut actions, mut lasts) = (0, Duration::ZERO);
        for file in steps {
            let Some(step) = self.step(file) else { continue };
            actions += step.actions(self.topology.mobile_nodes().count());
            lasts = lasts.saturating_add(step.lasts());
            let message = if actions > MAX_ACTIONS {
                format!("up to here there are {actions} things to do")
            } else if lasts > MAX_TIME {
                format!("up to here the timeline lasts {} days", lasts.as_secs() / SECONDS_PER_DAY)
            } else {
                timeline.push(step);
                continue;
            };
            self.errors.report(span(file), message, |error| {
                let days = MAX_TIME.as_secs() / SECONDS_PER_DAY;
                error
                    .label("too much")
                    .hint(format!("at most {MAX_ACTIONS} in {days} days fit an experiment"))
            });
            break;
        }
        timeline
    }

    fn step(&mut self, step: &Spanned<StepFile>) -> Option<Step> {
        let StepFile { call, handoff, transfer, hang_up, wait, condition, period, .. } = &step.value;
        let StepFile { link, partition, heal, kill, pause, resume, flood, .. } = &step.value;
        let once = OnceFiles { link, partition, heal, kill, pause, resume, flood };
        let given = [
            call.is_some(),
            handoff.is_some(),
            transfer.is_some(),
            hang_up.is_some(),
            wait.is_some(),
            condition.is_some(),
            period.is_some(),
        ];
        if given.into_iter().filter(|&given| given).count() + once.given() != 1 {
            self.errors.report(span(step), "a step does exactly one thing", |error| {
                error.label("in this step").hint("begin each thing to do with a `-` of its own")
            });
            return None;
        }
        if let Some(call) = call {
            return self.call(step, call).map(Step::Call);
        }
        if let Some(handoff) = handoff {
            return self.handoff(step, handoff);
        }
        if let Some(transfer) = transfer {
            return self.transfer(transfer);
        }
        if let Some(period) = period {
            return self.period(period).map(Step::Period);
        }
        if let Some(hang_up) = hang_up {
            self.busy.clear();
            self.busy_by_chance = 0;
            return self.errors.value(hang_up).map(|Word(All)| Step::Once(Action::HangUpAll));
        }
        if let Some(wait) = wait {
            return self.errors.value(wait).map(|wait| Step::Once(Action::Wait(wait.get())));
        }
        if let Some(file) = condition {
            let (until, timeout) = (self.errors.value(&file.until), self.errors.value(&file.timeout));
            let (condition, timeout) = (until?.0, timeout?.get());
            return Some(Step::Once(Action::Await { condition, timeout }));
        }
        self.once(span(step), once).map(Step::Once)
    }

    /// The first of them that is given.
    pub(super) fn once(&mut self, at: Range<usize>, files: OnceFiles<'_>) -> Option<Action> {
        let OnceFiles { link, partition, heal, kill, pause, resume, flood } = files;
        if let Some(link) = link {
            return self.link(at, link);
        }
        if let Some(partition) = partition {
            return self.partition(partition);
        }
        if let Some(heal) = heal {
            return self.errors.value(heal).map(|Word(All)| Action::Heal);
        }
        if let Some(flood) = flood {
            return self.flood(flood);
        }
        if let Some(name) = kill {
            return self.running(name).map(Action::Kill);
        }
        if let Some(name) = pause {
            return self.running(name).map(Action::Pause);
        }
        self.running(resume.as_ref()?).map(Action::Resume)
    }

    fn call(&mut self, step: &Spanned<StepFile>, call: &CallFile) -> Option<Calls> {
        match (&call.count, &call.pairs) {
            (Some(count), None) => {
                let Whole(calls) = self.errors.value(count)?;
                let needed = 2 * calls as usize;
                let nodes = self.topology.mobile_nodes().count();
                let idle = nodes.saturating_sub(self.busy.len() + self.busy_by_chance);
                if needed > idle {
                    let message = format!("{calls} calls need {needed} mobile nodes, and {idle} are free");
                    self.errors.report(span(count), message, |error| {
                        error.hint(format!(
                            "the topology has {nodes} mobile nodes; `- hang_up: all` frees them"
                        ))
                    });
                    return None;
                }
                self.busy_by_chance += needed;
                Some(Calls::Random(calls as usize))
            }
            (None, Some(pairs)) => {
                let pairs = pairs.iter().map(|pair| self.pair_of_callers(pair)).collect::<Vec<_>>();
                pairs.into_iter().collect::<Option<_>>().map(Calls::Pairs)
            }
            _ => {
                self.either(span(step), "call", "count: 4", "pairs: [[mn1, mn2]]");
                None
            }
        }
    }

    fn transfer(&mut self, pair: &Pair) -> Option<Step> {
        let hint = "a call moves from one mobile node to another";
        let (from, to) = self.two_mobile_nodes(pair, "[mn1, mn3]", "has its call already", hint)?;
        self.busy.remove(&from);
        self.busy.insert(to);
        Some(Step::Once(Action::Transfer { from, to }))
    }

    pub(super) fn pair_of_callers(&mut self, pair: &Pair) -> Option<(NodeId, NodeId)> {
        let hint = "a call is between two mobile nodes";
        let (from, to) = self.two_mobile_nodes(pair, "[mn1, mn2]", "calls itself", hint)?;
        self.busy.extend([from, to]);
        Some((from, to))
    }

    /// Two mobile nodes that are not the same; `twice` says what is wrong with one that is.
    pub(super) fn two_mobile_nodes(
        &mut self,
        pair: &Pair,
        example: &str,
        twice: &str,
        hint: &str,
    ) -> Option<(NodeId, NodeId)> {
        let [a, b] = self.two(pair, example)?;
        let [from, to] = [self.mobile_node(a), self.mobile_node(b)];
        let (from, to) = (from?, to?);
        if from == to {
            let message = format!("{} {twice}", quote(&a.value));
            self.errors
                .report(span_of_all(pair), message, |error| error.label("the same node twice").hint(hint));
            return None;
        }
        Some((from, to))
    }

    fn handoff(&mut self, step: &Spanned<StepFile>, handoff: &HandoffFile) -> Option<Step> {
        let interval = self.errors.value(&handoff.interval).map(Interval::get);
        let moves = match (&handoff.count, &handoff.moves) {
            (Some(count), None) => {
                let moves = self.errors.value(count).map(|Whole(count)| Moves::Random(count as usize));
                let access_routers = self.topology.access_routers().count();
                if access_routers < 2 || self.topology.mobile_nodes().next().is_none() {
                    self.errors.report(span(count), "nobody can move in this topology", |error| {
                        error.hint("a handoff takes a mobile node and two access routers")
                    });
                }
                moves
            }
            (None, Some(moves)) => {
                let moves = moves.iter().map(|to| self.one_move(to)).collect::<Vec<_>>();
                moves.into_iter().collect::<Option<_>>().map(Moves::Listed)
            }
            _ => {
                self.either(span(step), "handoff", "count: 20", "moves: [[mn1, ar2]]");
                None
            }
        };
        let gap = match &handoff.gap {
            Some(gap) => Some(self.errors.value(gap)?.get()),
            None => None,
        };
        Some(Step::Handoff { moves: moves?, interval: interval?, gap })
    }

    pub(super) fn one_move(&mut self, pair: &Pair) -> Option<(NodeId, NodeId)> {
        let [mobile_node, access_router] = self.two(pair, "[mn1, ar2]")?;
        let [who, to] = [self.mobile_node(mobile_node), self.access_router(access_router)];
        Some((who?, to?))
    }

    fn either(&mut self, at: Range<usize>, step: &str, chance: &str, listed: &str) {
        self.errors.report(at, format!("`{step}` takes either a count or a list"), |error| {
            error.hint(format!("write `{chance}` for random ones, or `{listed}`"))
        });
    }

    pub(super) fn two<'f>(&mut self, pair: &'f Pair, example: &str) -> Option<[&'f Spanned<String>; 2]> {
        let [a, b] = &pair.value[..] else {
            self.errors.report(span_of_all(pair), "expected a pair", |error| {
                error.hint(format!("write `{example}`"))
            });
            return None;
        };
        Some([a, b])
    }

    pub(super) fn mobile_node(&mut self, name: &Spanned<String>) -> Option<NodeId> {
        self.mobile_node_named(span(name), &name.value)
    }

    pub(super) fn mobile_node_named(&mut self, at: Range<usize>, name: &str) -> Option<NodeId> {
        self.node_named(at, name, "mobile node", |node| matches!(node.kind, NodeKind::MobileNode { .. }))
    }

    pub(super) fn access_router(&mut self, name: &Spanned<String>) -> Option<NodeId> {
        self.access_router_named(span(name), &name.value)
    }

    pub(super) fn access_router_named(&mut self, at: Range<usize>, name: &str) -> Option<NodeId> {
        self.node_named(at, name, "access router", |node| node.access().is_some())
    }

    pub(super) fn node(
        &mut self,
        name: &Spanned<String>,
        what: &str,
        fits: impl Fn(&Node) -> bool,
    ) -> Option<NodeId> {
        self.node_named(span(name), &name.value, what, fits)
    }

    fn node_named(
        &mut self,
        at: Range<usize>,
        name: &str,
        what: &str,
        fits: impl Fn(&Node) -> bool,
    ) -> Option<NodeId> {
        let topology = self.topology;
        let found = self.names.get(name).map(|&id| (id, topology.node(id)));
        if let Some((id, node)) = found
            && fits(node)
        {
            return Some(id);
        }
        if self.errors.is_full() {
            self.errors.report(at, "", |error| error);
            return None;
        }
        let message = match found {
            Some(_) => format!("{} is no {what}", quote(name)),
            None => format!("the topology has no {what} {}", quote(name)),
        };
        self.errors.report(at, message, |error| {
            let candidates = topology.nodes.iter().filter(|node| fits(node)).map(|node| node.name.as_str());
            let hint = suggest_name(name, candidates.clone()).or_else(|| {
                let (first, last) = (candidates.clone().next()?, candidates.last()?);
                Some(format!("there are `{first}` to `{last}`"))
            });
            error
                .label(format!("no such {what}"))
                .hint(hint.unwrap_or_else(|| format!("the topology has no {what}s at all")))
        });
        None
    }
}
