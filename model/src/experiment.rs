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
mod tests {
    use super::*;
    use crate::diagnostic::render_all;

    const GOOD: &str = "\
name: test
topology: grid.yaml
seed: 7
timeline:
  - call: { count: 1 }
  - handoff: { count: 3, interval: 200ms }
  - hang_up: all
";

    /// 3 × 2 access routers, two servers, four mobile nodes.
    fn grid(seed: Option<u64>) -> Result<Topology, Vec<Diagnostic>> {
        let text = "
grid:
  width: 3
  height: 2
  domain: { width: 2, height: 2 }
  link: { one_way_delay: 2ms }
  server_link: { one_way_delay: 1ms }
mobile_nodes: { count: 4 }
";
        let seed = seed.map_or(String::new(), |seed| format!("seed: {seed}"));
        topology::parse("lab/grid.yaml", &format!("{text}{seed}"))
    }

    fn parse_here(text: &str) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
        parse("lab/test.yaml", text, |path, seed| {
            assert_eq!(path, Path::new("lab/grid.yaml"));
            grid(seed)
        })
    }

    fn good(text: &str) -> (Experiment, Topology) {
        parse_here(text).unwrap_or_else(|errors| panic!("{}", render_all(&errors, false)))
    }

    fn with_timeline(steps: &str) -> String {
        format!("topology: grid.yaml\ntimeline:\n{steps}")
    }

    #[test]
    fn the_shipped_experiment_is_good() {
        let path = format!("{}/../experiments/handoff.yaml", env!("CARGO_MANIFEST_DIR"));
        let (experiment, topology) = load(Path::new(&path)).unwrap();
        assert_eq!((experiment.name.as_str(), experiment.seed, topology.seed), ("handoff", 7, 7));
        assert_eq!(topology.name, "grid-small");

        let schedule = experiment.schedule(&topology);
        let count = |wanted: fn(&Action) -> bool| schedule.iter().filter(|action| wanted(action)).count();
        assert_eq!(count(|action| matches!(action, Action::Call { .. })), 4);
        assert_eq!(count(|action| matches!(action, Action::Handoff { .. })), 20);
        assert_eq!(count(|action| *action == Action::Wait(Duration::from_millis(200))), 20);
        assert_eq!(schedule.last(), Some(&Action::HangUpAll));
    }

    #[test]
    fn a_schedule_follows_from_the_seed() {
        let (experiment, topology) = good(GOOD);
        assert_eq!(experiment.schedule(&topology), experiment.schedule(&topology));
        let others: BTreeSet<_> = (0..20)
            .map(|seed| format!("{:?}", Experiment { seed, ..experiment.clone() }.schedule(&topology)))
            .collect();
        assert!(others.len() > 15, "{}", others.len());
        // The choices of a step do not depend on the steps before it, but for where the nodes are.
        let (calmer, _) = good(&GOOD.replace("- call: { count: 1 }", "- call: { count: 2 }"));
        let moves = |experiment: &Experiment| -> Vec<_> {
            let schedule = experiment.schedule(&topology);
            schedule.into_iter().filter(|action| matches!(action, Action::Handoff { .. })).collect()
        };
        assert_eq!(moves(&calmer), moves(&experiment));
        // Without a seed of its own it has the topology's.
        assert_eq!(good(&GOOD.replace("seed: 7\n", "")).0.seed, 1);
    }

    #[test]
    fn random_choices_keep_the_rules() {
        for seed in 0..50 {
            let (mut experiment, topology) = good(&with_timeline(
                "  - call: { count: 1 }\n  - call: { count: 1 }\n  - handoff: { count: 30, interval: 1ms }\n",
            ));
            experiment.seed = seed;
            let neighbours = neighbouring_access_routers(&topology);
            let mut places = BTreeMap::new();
            let mut callers = BTreeSet::new();
            for action in experiment.schedule(&topology) {
                match action {
                    Action::Call { caller, callee } => {
                        assert!(callers.insert(caller) && callers.insert(callee), "in two calls");
                    }
                    Action::Handoff { mobile_node, access_router } => {
                        let NodeKind::MobileNode { start, .. } = topology.node(mobile_node).kind else {
                            panic!("{mobile_node:?} moves")
                        };
                        let from = places.insert(mobile_node, access_router).unwrap_or(start);
                        assert!(neighbours[&from].contains(&access_router), "{from:?} to {access_router:?}");
                    }
                    Action::Transfer { .. } | Action::Wait(_) | Action::HangUpAll => {}
                }
            }
            assert_eq!(callers.len(), 4);
        }
    }

    #[test]
    fn listed_steps_are_done_as_listed() {
        let (experiment, topology) = good(&with_timeline(
            "  - call: { pairs: [[mn1, mn2], [mn4, mn3]] }
  - handoff:
      interval: 10ms
      moves:
        - [mn1, ar-2-1]
        - [mn1, ar-2-1]
        - [mn2, ar-0-0]
  - wait: 1s
  - hang_up: all
  - call: { count: 2 }
",
        ));
        let [mn1, mn2, mn3, mn4] = ["mn1", "mn2", "mn3", "mn4"].map(|name| topology.find(name).unwrap());
        let [near, far] = ["ar-0-0", "ar-2-1"].map(|name| topology.find(name).unwrap());
        let pause = Action::Wait(Duration::from_millis(10));
        let schedule = experiment.schedule(&topology);
        assert_eq!(
            schedule[..9],
            [
                Action::Call { caller: mn1, callee: mn2 },
                Action::Call { caller: mn4, callee: mn3 },
                Action::Handoff { mobile_node: mn1, access_router: far },
                pause.clone(),
                // mn1 is there already.
                pause.clone(),
                Action::Handoff { mobile_node: mn2, access_router: near },
                pause,
                Action::Wait(Duration::from_secs(1)),
                Action::HangUpAll,
            ]
        );
        assert_eq!(schedule.len(), 11);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        // (step, all that is said about it, as `line:column message | label | hint`)
        let table: &[(&str, &[&str])] = &[
            (
                "call: { count: 3 }",
                &[
                    "3:20 3 calls need 6 mobile nodes, and 4 are free |  | the topology has 4 mobile nodes; `- hang_up: all` frees them",
                ],
            ),
            (
                "call: { pairs: [[mn1, mn2]] }\n  - call: { count: 2 }",
                &[
                    "4:20 2 calls need 4 mobile nodes, and 2 are free |  | the topology has 4 mobile nodes; `- hang_up: all` frees them",
                ],
            ),
            ("call: { count: 0 }", &["3:20 `0` is out of range |  | write a whole number from 1 to 5000"]),
            (
                "call: { count: 1, pairs: [[mn1, mn2]] }",
                &[
                    "3:5 `call` takes either a count or a list |  | write `count: 4` for random ones, or `pairs: [[mn1, mn2]]`",
                ],
            ),
            ("call: { pairs: [[mn1]] }", &["3:22 expected a pair |  | write `[mn1, mn2]`"]),
            (
                "call: { pairs: [[mn1, mn1]] }",
                &["3:22 `mn1` calls itself | the same node twice | a call is between two mobile nodes"],
            ),
            (
                "call: { pairs: [[mn1, mn7], [s1, bob]] }",
                &[
                    "3:27 the topology has no mobile node `mn7` | no such mobile node | there are `mn1` to `mn4`",
                    "3:34 `s1` is no mobile node | no such mobile node | there are `mn1` to `mn4`",
                    "3:38 the topology has no mobile node `bob` | no such mobile node | there are `mn1` to `mn4`",
                ],
            ),
            (
                "handoff: { moves: [[mn1, ar-0-7], [mn1, s1]], interval: 0 }",
                &[
                    "3:30 the topology has no access router `ar-0-7` | no such access router | there are `ar-0-0` to `ar-2-1`",
                    "3:45 `s1` is no access router | no such access router | there are `ar-0-0` to `ar-2-1`",
                    "3:61 `0` has no unit |  | write a time as 2ms, 500us or 1s",
                ],
            ),
            (
                "handoff: { count: 3 }",
                &["3:16 missing field `interval` | `interval` belongs beside this | add `interval: 200ms`"],
            ),
            (
                "handoff: { interval: 1s }",
                &[
                    "3:5 `handoff` takes either a count or a list |  | write `count: 20` for random ones, or `moves: [[mn1, ar2]]`",
                ],
            ),
            (
                "transfer: [mn1, mn1]",
                &[
                    "3:16 `mn1` has its call already | the same node twice | a call moves from one mobile node to another",
                ],
            ),
            ("hang_up: mn1", &["3:14 `mn1` is not something to hang up |  | write `all`"]),
            (
                "hangup: all",
                &[
                    "3:5 unknown field `hangup`, expected `call`, `handoff`, `transfer`, `hang_up` or `wait` | unknown field | did you mean `hang_up`?",
                ],
            ),
            (
                "wait: 1s\n    hang_up: all",
                &[
                    "3:5 a step does exactly one thing | in this step | begin each of `call`, `handoff`, `transfer`, `hang_up` and `wait` with a `-` of its own",
                ],
            ),
            (
                "{}",
                &[
                    "3:5 a step does exactly one thing | in this step | begin each of `call`, `handoff`, `transfer`, `hang_up` and `wait` with a `-` of its own",
                ],
            ),
        ];
        for (step, expected) in table {
            let errors = parse_here(&with_timeline(&format!("  - {step}\n"))).expect_err(step);
            let told: Vec<_> = errors
                .iter()
                .map(|error| {
                    let hint = error.hint.as_deref().unwrap_or_default();
                    format!("{}:{} {} | {} | {hint}", error.line, error.column, error.message, error.label)
                })
                .collect();
            assert_eq!(told, *expected, "{step}");
        }
    }

    #[test]
    fn an_empty_timeline_is_a_mistake() {
        let errors = parse_here("topology: grid.yaml\ntimeline: []\n").unwrap_err();
        assert_eq!((errors[0].line, errors[0].column), (2, 11));
        assert_eq!(errors[0].message, "the timeline is empty");
    }

    #[test]
    fn who_cannot_move_is_told() {
        let single = "nodes:\n  ar1: { kind: access_router }\n  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
links: [{ between: [ar1, s1], one_way_delay: 1ms }]\n";
        let text = with_timeline("  - handoff: { count: 1, interval: 1s }\n");
        let errors = parse("test.yaml", &text, |_, _| topology::parse("single.yaml", single)).unwrap_err();
        assert_eq!(errors[0].to_string(), "test.yaml:3:23: nobody can move in this topology");
    }

    #[test]
    fn mistakes_in_the_topology_are_told_where_they_are() {
        let missing = parse("lab/test.yaml", GOOD, topology::load_seeded).unwrap_err();
        assert_eq!(
            missing[0].render(false).split(" (os error").next().unwrap(),
            "error: lab/grid.yaml: cannot read this file: No such file or directory"
        );
        assert_eq!((missing[0].line, missing[0].column), (2, 11));
        assert_eq!(missing[0].hint.as_deref(), Some("`topology` is a path from the directory of this file"));

        let bad =
            parse("lab/test.yaml", GOOD, |_, _| topology::parse("lab/grid.yaml", "gird: 1")).unwrap_err();
        assert_eq!((bad[0].path.as_str(), bad[0].line), ("lab/grid.yaml", 1));
    }
}
