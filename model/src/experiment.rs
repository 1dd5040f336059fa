//! The experiment: what happens in a lab, in which order, with every random choice made the same way each time.

mod schema;

pub(crate) use schema::schema;

use crate::diagnostic::{Diagnostic, quote, suggest_name};
use crate::paths::neighbouring_access_routers;
use crate::random;
use crate::topology::{self, NodeId, NodeKind, Topology};
use crate::units::Interval;
use crate::yaml::{Errors, Keyword, Source, Title, Value, Whole, Word, span, span_of_all};
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};
use serde_yaml::Spanned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Calls, handoffs and other things to do in an experiment at most.
const MAX_ACTIONS: usize = 200_000;
/// How long an experiment may last, without what calls and handoffs take.
const MAX_TIME: Duration = Duration::from_secs(30 * SECONDS_PER_DAY);
const SECONDS_PER_DAY: u64 = 86_400;
/// How the names of topology files end.
const TOPOLOGY_EXTENSIONS: [&str; 2] = ["yaml", "yml"];
/// Calls in a step at most.
const MAX_CALLS: u64 = 5_000;
/// Random handoffs in a step at most.
const MAX_HANDOFFS: u64 = 100_000;

/// What happens in a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// The topology's file.
    pub topology: PathBuf,
    /// Seed of the experiment's random choices, and of the topology's.
    pub seed: u64,
    /// The steps, one after the other.
    pub timeline: Vec<Step>,
}

/// A step of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Mobile nodes call each other, all at once.
    Call(Calls),
    /// Mobile nodes move, one after the other.
    Handoff {
        /// Who and where to.
        moves: Moves,
        /// Time from each to the next, and after the last.
        interval: Duration,
    },
    /// A mobile node hands its call to another one.
    Transfer {
        /// Who is in the call.
        from: NodeId,
        /// Who takes it over.
        to: NodeId,
    },
    /// All calls end.
    HangUpAll,
    /// Nothing is done for so long.
    Wait(Duration),
}

impl Step {
    /// How many things it does.
    fn actions(&self) -> usize {
        match self {
            Step::Call(Calls::Random(count)) | Step::Handoff { moves: Moves::Random(count), .. } => *count,
            Step::Call(Calls::Pairs(pairs)) => pairs.len(),
            Step::Handoff { moves: Moves::Listed(moves), .. } => moves.len(),
            Step::Transfer { .. } | Step::HangUpAll | Step::Wait(_) => 1,
        }
    }

    /// How long it waits.
    fn lasts(&self) -> Duration {
        match self {
            Step::Handoff { interval, .. } => interval.saturating_mul(self.actions() as u32),
            Step::Wait(duration) => *duration,
            Step::Call(_) | Step::Transfer { .. } | Step::HangUpAll => Duration::ZERO,
        }
    }
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// So many calls among mobile nodes that are in no call, at random, each in one call at most.
    Random(usize),
    /// These callers and callees.
    Pairs(Vec<(NodeId, NodeId)>),
}

/// Who moves where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moves {
    /// So many times a random mobile node goes to a random neighbouring access router
    /// ([`neighbouring_access_routers`]).
    Random(usize),
    /// These mobile nodes to these access routers; who is there already stays.
    Listed(Vec<(NodeId, NodeId)>),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let one mobile node call another.
    Call {
        /// The caller.
        caller: NodeId,
        /// The callee.
        callee: NodeId,
    },
    /// Move a mobile node to another access router.
    Handoff {
        /// The mobile node.
        mobile_node: NodeId,
        /// The access router.
        access_router: NodeId,
    },
    /// Do nothing for so long.
    Wait(Duration),
    /// Let another mobile node take over the call that one is in.
    Transfer {
        /// Who is in the call.
        from: NodeId,
        /// Who takes it over.
        to: NodeId,
    },
    /// End all calls.
    HangUpAll,
}

/// Reads an experiment and its topology, which has the experiment's seed.
///
/// # Errors
/// All that is wrong with the experiment, in the order of the text, or with its topology.
pub fn load(path: &Path) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    let source = Source::read(path)?;
    resolve(&source, topology::load_seeded)
}

/// Takes a text for the content of the experiment file `path`; `load_topology` gets the path and the seed that it says.
///
/// # Errors
/// As [`load`].
pub fn parse(
    path: &str,
    text: &str,
    load_topology: impl FnOnce(&Path, Option<u64>) -> Result<Topology, Vec<Diagnostic>>,
) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    let source = Source::new(path, text)?;
    resolve(&source, load_topology)
}

/// Whether a file is to be read as an experiment: only that has a timeline, or a topology. A file that cannot be read
/// is none.
pub fn is_experiment(path: &Path) -> bool {
    let is_of_experiment = |line: &str| line.starts_with("timeline:") || line.starts_with("topology:");
    Source::read(path).is_ok_and(|source| source.text().lines().any(is_of_experiment))
}

impl Experiment {
    /// All there is to do, in order. The same experiment and topology always yield the same.
    pub fn schedule(&self, topology: &Topology) -> Vec<Action> {
        let mut actions = Vec::new();
        let neighbours = neighbouring_access_routers(topology);
        let mut places: BTreeMap<NodeId, NodeId> = topology
            .nodes()
            .filter_map(|(id, node)| match node.kind {
                NodeKind::MobileNode { start, .. } => Some((id, start)),
                _ => None,
            })
            .collect();
        // A program of the user's cannot be told to call; it moves when it is named.
        let has_agent = |node: &NodeId| topology.node(*node).program.is_none();
        let mobile_nodes: Vec<NodeId> = places.keys().copied().filter(has_agent).collect();
        let mut busy = BTreeSet::new();

        for (number, step) in self.timeline.iter().enumerate() {
            match step {
                Step::Call(calls) => {
                    let pairs = match calls {
                        Calls::Pairs(pairs) => pairs.clone(),
                        Calls::Random(count) => {
                            let mut idle: Vec<_> =
                                mobile_nodes.iter().copied().filter(|node| !busy.contains(node)).collect();
                            idle.shuffle(&mut random::generator(
                                self.seed,
                                &format!("calls of step {number}"),
                            ));
                            idle.chunks_exact(2).take(*count).map(|pair| (pair[0], pair[1])).collect()
                        }
                    };
                    for (caller, callee) in pairs {
                        busy.extend([caller, callee]);
                        actions.push(Action::Call { caller, callee });
                    }
                }
                Step::Handoff { moves, interval } => {
                    let mut rng = random::generator(self.seed, &format!("handoffs of step {number}"));
                    let count = match moves {
                        Moves::Random(count) => *count,
                        Moves::Listed(moves) => moves.len(),
                    };
                    for index in 0..count {
                        let (mobile_node, access_router) = match moves {
                            Moves::Listed(moves) => moves[index],
                            Moves::Random(_) => {
                                let Some(&mobile_node) = mobile_nodes.choose(&mut rng) else { break };
                                let Some(&next) = neighbours[&places[&mobile_node]].choose(&mut rng) else {
                                    break;
                                };
                                (mobile_node, next)
                            }
                        };
                        if places.insert(mobile_node, access_router) != Some(access_router) {
                            actions.push(Action::Handoff { mobile_node, access_router });
                        }
                        actions.push(Action::Wait(*interval));
                    }
                }
                Step::Transfer { from, to } => {
                    busy.remove(from);
                    busy.insert(*to);
                    actions.push(Action::Transfer { from: *from, to: *to });
                }
                Step::HangUpAll => {
                    busy.clear();
                    actions.push(Action::HangUpAll);
                }
                Step::Wait(duration) => actions.push(Action::Wait(*duration)),
            }
        }
        actions
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExperimentFile {
    name: Option<Value<Title>>,
    topology: Spanned<String>,
    seed: Option<Value<Whole<0, { u64::MAX }>>>,
    timeline: Spanned<Vec<Spanned<StepFile>>>,
}

/// Has exactly one of its fields. The large ones are boxed, as a hostile file may have many steps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    call: Option<Box<CallFile>>,
    handoff: Option<Box<HandoffFile>>,
    transfer: Option<Box<Pair>>,
    hang_up: Option<Value<Word<All>>>,
    wait: Option<Value<Interval>>,
}

/// Has `count` or `pairs`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallFile {
    count: Option<Value<Whole<1, MAX_CALLS>>>,
    pairs: Option<Vec<Pair>>,
}

/// Has `count` or `moves`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandoffFile {
    count: Option<Value<Whole<1, MAX_HANDOFFS>>>,
    moves: Option<Vec<Pair>>,
    interval: Value<Interval>,
}

type Pair = Spanned<Vec<Spanned<String>>>;

#[derive(Clone, Copy)]
struct All;

impl Keyword for All {
    const WHAT: &'static str = "something to hang up";
    const WORDS: &'static [(&'static str, Self)] = &[("all", Self)];
}

fn resolve(
    source: &Source,
    load_topology: impl FnOnce(&Path, Option<u64>) -> Result<Topology, Vec<Diagnostic>>,
) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    let file: ExperimentFile = source.parse()?;
    let mut errors = Errors::new(source.clone());
    let name = errors.title(file.name.as_ref());
    let seed = file.seed.as_ref().and_then(|seed| errors.value(seed)).map(|seed| seed.0);

    let named = Path::new(&file.topology.value);
    if !TOPOLOGY_EXTENSIONS.iter().any(|extension| named.extension().is_some_and(|own| own == *extension)) {
        // Whatever else it is, its content is nobody's business: messages quote what they complain about.
        let message = format!("{} is not a topology file", quote(&file.topology.value));
        errors.report(span(&file.topology), message, |error| {
            error.hint("`topology` is a path from the directory of this file, as `../topologies/line.yaml`")
        });
        return Err(errors.into_list());
    }
    let path = Path::new(source.path()).parent().unwrap_or(Path::new("")).join(named);
    let topology = match load_topology(&path, seed) {
        Ok(topology) => topology,
        Err(theirs) => {
            let mut all = errors.into_list();
            if let [unreadable] = &theirs[..]
                && unreadable.line == 0
            {
                // It is the line that names the file that is wrong.
                let message = format!("{}: {}", unreadable.path, unreadable.message);
                all.push(
                    source
                        .diagnostic(span(&file.topology), message)
                        .hint("`topology` is a path from the directory of this file"),
                );
            } else {
                all.extend(theirs);
            }
            return Err(all);
        }
    };

    let mut resolver = Resolver {
        errors,
        topology: &topology,
        names: topology.nodes().map(|(id, node)| (node.name.as_str(), id)).collect(),
        busy: BTreeSet::new(),
        busy_by_chance: 0,
    };
    if file.timeline.value.is_empty() {
        resolver.errors.report(span(&file.timeline), "the timeline is empty", |error| {
            error.hint("add a step, as `- handoff: { count: 20, interval: 200ms }`")
        });
    }
    let timeline = resolver.timeline(&file.timeline.value);
    if !resolver.errors.is_empty() {
        return Err(resolver.errors.into_list());
    }
    Ok((Experiment { name, topology: path, seed: seed.unwrap_or(topology.seed), timeline }, topology))
}

struct Resolver<'t> {
    errors: Errors,
    topology: &'t Topology,
    /// Index of each name in the topology.
    names: HashMap<&'t str, NodeId>,
    /// Mobile nodes that the file names for a call that is not over yet.
    busy: BTreeSet<NodeId>,
    /// How many others chance has put into calls, at most.
    busy_by_chance: usize,
}

impl Resolver<'_> {
    /// The steps; the first that is too much ends the work.
    fn timeline(&mut self, steps: &[Spanned<StepFile>]) -> Vec<Step> {
        let mut timeline = Vec::new();
        let (mut actions, mut lasts) = (0, Duration::ZERO);
        for file in steps {
            let Some(step) = self.step(file) else { continue };
            actions += step.actions();
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
        let StepFile { call, handoff, transfer, hang_up, wait } = &step.value;
        let given =
            [call.is_some(), handoff.is_some(), transfer.is_some(), hang_up.is_some(), wait.is_some()];
        if given.iter().filter(|&&given| given).count() != 1 {
            self.errors.report(span(step), "a step does exactly one thing", |error| {
                error.label("in this step").hint(
                    "begin each of `call`, `handoff`, `transfer`, `hang_up` and `wait` with a `-` of its own",
                )
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
        if let Some(hang_up) = hang_up {
            self.busy.clear();
            self.busy_by_chance = 0;
            return self.errors.value(hang_up).map(|Word(All)| Step::HangUpAll);
        }
        wait.as_ref().and_then(|wait| self.errors.value(wait)).map(|wait| Step::Wait(wait.get()))
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
        let [leaver, taker] = self.two(pair, "[mn1, mn3]")?;
        let [from, to] = [self.mobile_node(leaver), self.mobile_node(taker)];
        let (from, to) = (from?, to?);
        if from == to {
            let message = format!("{} has its call already", quote(&leaver.value));
            self.errors.report(span_of_all(pair), message, |error| {
                error.label("the same node twice").hint("a call moves from one mobile node to another")
            });
            return None;
        }
        self.busy.remove(&from);
        self.busy.insert(to);
        Some(Step::Transfer { from, to })
    }

    fn pair_of_callers(&mut self, pair: &Pair) -> Option<(NodeId, NodeId)> {
        let [caller, callee] = self.two(pair, "[mn1, mn2]")?;
        let [from, to] = [self.mobile_node(caller), self.mobile_node(callee)];
        let (from, to) = (from?, to?);
        if from == to {
            self.errors.report(
                span_of_all(pair),
                format!("{} calls itself", quote(&caller.value)),
                |error| error.label("the same node twice").hint("a call is between two mobile nodes"),
            );
            return None;
        }
        self.busy.extend([from, to]);
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
        Some(Step::Handoff { moves: moves?, interval: interval? })
    }

    fn one_move(&mut self, pair: &Pair) -> Option<(NodeId, NodeId)> {
        let [mobile_node, access_router] = self.two(pair, "[mn1, ar2]")?;
        let [who, to] = [self.mobile_node(mobile_node), self.access_router(access_router)];
        Some((who?, to?))
    }

    fn either(&mut self, at: Range<usize>, step: &str, chance: &str, listed: &str) {
        self.errors.report(at, format!("`{step}` takes either a count or a list"), |error| {
            error.hint(format!("write `{chance}` for random ones, or `{listed}`"))
        });
    }

    fn two<'f>(&mut self, pair: &'f Pair, example: &str) -> Option<[&'f Spanned<String>; 2]> {
        let [a, b] = &pair.value[..] else {
            self.errors.report(span_of_all(pair), "expected a pair", |error| {
                error.hint(format!("write `{example}`"))
            });
            return None;
        };
        Some([a, b])
    }

    fn mobile_node(&mut self, name: &Spanned<String>) -> Option<NodeId> {
        self.node(name, "mobile node", |kind| matches!(kind, NodeKind::MobileNode { .. }))
    }

    fn access_router(&mut self, name: &Spanned<String>) -> Option<NodeId> {
        self.node(name, "access router", |kind| matches!(kind, NodeKind::Router { access: Some(_), .. }))
    }

    fn node(
        &mut self,
        name: &Spanned<String>,
        what: &str,
        fits: impl Fn(&NodeKind) -> bool,
    ) -> Option<NodeId> {
        let topology = self.topology;
        let found = self.names.get(name.value.as_str()).map(|&id| (id, topology.node(id)));
        if let Some((id, node)) = found
            && fits(&node.kind)
        {
            return Some(id);
        }
        if self.errors.is_full() {
            self.errors.report(span(name), "", |error| error);
            return None;
        }
        let message = match found {
            Some(_) => format!("{} is no {what}", quote(&name.value)),
            None => format!("the topology has no {what} {}", quote(&name.value)),
        };
        self.errors.report(span(name), message, |error| {
            let candidates =
                topology.nodes.iter().filter(|node| fits(&node.kind)).map(|node| node.name.as_str());
            let hint = suggest_name(&name.value, candidates.clone()).or_else(|| {
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

#[cfg(test)]
mod tests;
