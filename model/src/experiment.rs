//! The experiment: what happens in a lab, in which order, with every random choice made the same way each time.

mod assertion;
mod campaign;
mod faults;
mod file;
mod movement;
mod period;
mod schedule;
mod schema;
mod steps;
mod trace;

pub use assertion::{Assertion, Relation, Statistic};
pub use campaign::{Campaign, Cell, Factor};
pub use movement::{Movement, Walk, Waypoint};
pub use period::{Arrivals, Happening, Period};
pub use trace::TimedMove;

pub(crate) use schema::schema;

use self::file::ExperimentFile;
use self::movement::{Files, is_trace};
use self::steps::Resolver;
use crate::capture::CapturePlace;
use crate::control::{LinkChange, LinkId};
use crate::diagnostic::{Diagnostic, quote};
use crate::flood::Flood;
use crate::topology::{self, NodeId, Topology};
use crate::tree::Setting;
use crate::yaml::{Errors, Source, Word, span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Calls, handoffs and other things to do in an experiment at most.
const MAX_ACTIONS: usize = 4_000_000;
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
    /// Whether the links are probed before the first step.
    #[serde(default)]
    pub calibrate: bool,
    /// Whether a run is valid in which a handoff or a call has not come to its end.
    #[serde(default)]
    pub unfinished: Unfinished,
    /// What is captured meanwhile; nothing where it is empty.
    pub capture: BTreeSet<CapturePlace>,
    /// The steps, one after the other.
    pub timeline: Vec<Step>,
}

/// What handoffs and calls are that do not come to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfinished {
    /// A failure: the run is not valid.
    #[default]
    Invalid,
    /// A part of the answer: metrics count them (`handoff.complete`, `call.ser`).
    Counted,
}

impl Experiment {
    /// How long the timeline lasts, without what calls and handoffs take.
    pub fn lasts(&self) -> Duration {
        self.timeline.iter().map(Step::lasts).fold(Duration::ZERO, Duration::saturating_add)
    }
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
        /// For how long each is attached nowhere, where it is not the topology's gap.
        gap: Option<Duration>,
    },
    /// A time in which all goes on at once.
    Period(Period),
    /// One thing.
    Once(Action),
}

impl Step {
    /// How many things it does, about, with so many mobile nodes.
    fn actions(&self, mobile_nodes: usize) -> usize {
        match self {
            Step::Call(Calls::Random(count)) | Step::Handoff { moves: Moves::Random(count), .. } => *count,
            Step::Call(Calls::Pairs(pairs)) => pairs.len(),
            Step::Handoff { moves: Moves::Listed(moves), .. } => moves.len(),
            Step::Period(period) => period.actions(mobile_nodes),
            Step::Once(action) => action.weight(),
        }
    }

    /// How long it waits.
    fn lasts(&self) -> Duration {
        match self {
            Step::Handoff { interval, .. } => interval.saturating_mul(self.actions(0) as u32),
            Step::Once(Action::Wait(duration)) | Step::Period(Period { lasts: duration, .. }) => *duration,
            Step::Call(_) | Step::Once(_) => Duration::ZERO,
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
    /// ([`neighbouring_access_routers`](crate::paths::neighbouring_access_routers)).
    Random(usize),
    /// These mobile nodes to these access routers; who is there already stays.
    Listed(Vec<(NodeId, NodeId)>),
}

/// What a timeline, or something in a period, can wait for. The nodes that were killed do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Every mobile node is registered where it is now, with a server that lives.
    AllRegistered,
    /// The SIP servers are at their places on one ring.
    RingStable,
    /// All calls that were begun before are up, and both ends hear each other.
    CallsEstablished,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
        /// For how long it is attached nowhere, where it is not the topology's gap.
        gap: Option<Duration>,
    },
    /// Do nothing for so long.
    Wait(Duration),
    /// Do nothing until something is so.
    Await {
        /// What.
        condition: Condition,
        /// How long it may take; after that the run is not valid.
        timeout: Duration,
    },
    /// In a period: do something as soon as something is so, from now on until its end; otherwise the run is not valid.
    When {
        /// What.
        condition: Condition,
        /// What to do then.
        action: Box<Action>,
    },
    /// Let another mobile node take over the call that one is in.
    Transfer {
        /// Who is in the call.
        from: NodeId,
        /// Who takes it over.
        to: NodeId,
    },
    /// Begin a period: until its end, nothing waits for what a call or a handoff comes to.
    Begin,
    /// Let time pass until so long after the period began.
    At(Duration),
    /// End the call that this caller has begun in the period, if it has come about.
    HangUp(NodeId),
    /// End the period: what is under way comes to its end.
    End,
    /// End all calls.
    HangUpAll,
    /// Change a link.
    Link {
        /// Which one.
        link: LinkId,
        /// How.
        change: LinkChange,
    },
    /// Take down all links between some nodes and others at once.
    Partition {
        /// The nodes on one side.
        nodes: Vec<NodeId>,
        /// Those on the other side; with none, all others.
        from: Vec<NodeId>,
    },
    /// Bring up again what partitions have taken down.
    Heal,
    /// Kill what runs at a node.
    Kill(NodeId),
    /// Stop what runs at a node.
    Pause(NodeId),
    /// Let what runs at a node go on.
    Resume(NodeId),
    /// Send a SIP server requests that nobody needs, beside all that follows.
    Flood {
        /// The SIP server.
        to: NodeId,
        /// The node in whose place they are sent.
        from: NodeId,
        /// What is sent.
        flood: Flood,
    },
}

impl Action {
    /// What is done in the end: by what waits for a state, too.
    pub fn effect(&self) -> &Action {
        match self {
            Action::When { action, .. } => action,
            action => action,
        }
    }

    /// How many things it does.
    fn weight(&self) -> usize {
        match self.effect() {
            Action::Flood { flood, .. } => flood.requests() as usize,
            _ => 1,
        }
    }
}

/// Reads an experiment and its topology, which has the experiment's seed; of one with several cells or repetitions the
/// first.
///
/// # Errors
/// All that is wrong with the experiment, in the order of the text, or with its topology.
pub fn load(path: &Path) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    Campaign::load(path).map(|campaign| campaign.first().clone())
}

/// Takes a text for the content of the experiment file `path`, and another for that of the topology file that it names.
/// In traces nobody moves.
///
/// # Errors
/// As [`load`].
pub fn parse(path: &str, text: &str, topology: &str) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    parse_with_trace(path, text, topology, trace::HEADER)
}

/// As [`parse`], with a third text for the content of every trace.
///
/// # Errors
/// As [`load`].
pub fn parse_with_trace(
    path: &str,
    text: &str,
    topology: &str,
    trace: &str,
) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    let read = |path: &Path| {
        let text = if is_trace(path) { trace } else { topology };
        Source::new(&path.display().to_string(), text)
    };
    Campaign::parse(&Source::new(path, text)?, &read).map(|campaign| campaign.first().clone())
}

/// Reads a topology file, or a trace.
type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<Source, Vec<Diagnostic>>;

/// Whether a file is to be read as an experiment: only that has a timeline, or a topology. A file that cannot be read
/// is none.
pub fn is_experiment(path: &Path) -> bool {
    let is_of_experiment = |line: &str| line.starts_with("timeline:") || line.starts_with("topology:");
    Source::read(path).is_ok_and(|source| source.text().lines().any(is_of_experiment))
}

/// The run that a file describes with these settings in its topology; repetitions count from 0, and each has a seed of
/// its own.
fn resolve(
    source: &Source,
    file: &ExperimentFile,
    settings: &[&Setting],
    repetition: u64,
    read: ReadFile<'_>,
) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    let mut errors = Errors::new(source.clone());
    let name = errors.title(file.name.as_ref());
    let seed = file.seed.as_ref().and_then(|seed| errors.value(seed));
    let seed = seed.map(|seed| seed.0.wrapping_add(repetition));
    let calibrate =
        file.calibrate.as_ref().and_then(|wanted| errors.value(wanted)).is_some_and(|wanted| wanted.0);
    let unfinished = errors.value_or(file.unfinished.as_ref(), Word(Unfinished::default())).0;

    let named = Path::new(&file.topology.value);
    if !TOPOLOGY_EXTENSIONS.iter().any(|extension| named.extension().is_some_and(|own| own == *extension)) {
        // Whatever else it is, its content is nobody's business: messages quote what they complain about.
        let message = format!("{} is not a topology file", quote(&file.topology.value));
        errors.report(span(&file.topology), message, |error| {
            error.hint("`topology` is a path from the directory of this file, as `../topologies/line.yaml`")
        });
        return Err(errors.into_list());
    }
    let directory = Path::new(source.path()).parent().unwrap_or(Path::new(""));
    let path = directory.join(named);
    let topology = read(&path).and_then(|text| {
        let first = topology::resolve_with(&text, seed, settings)?;
        // Who does not say a seed has the topology's, which is known only now.
        match (seed, repetition) {
            (None, 1..) => topology::resolve_with(&text, Some(first.seed.wrapping_add(repetition)), settings),
            _ => Ok(first),
        }
    });
    let topology = match topology {
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

    let mut resolver = Resolver::new(errors, &topology, Files { directory, read });
    if file.timeline.value.is_empty() {
        resolver.errors.report(span(&file.timeline), "the timeline is empty", |error| {
            error.hint("add a step, as `- handoff: { count: 20, interval: 200ms }`")
        });
    }
    let capture = resolver.capture(file.capture.as_deref().unwrap_or_default());
    let timeline = resolver.timeline(&file.timeline.value);
    let mut all = resolver.errors.into_list();
    all.extend(resolver.of_traces);
    if !all.is_empty() {
        return Err(all);
    }
    let seed = seed.unwrap_or(topology.seed);
    Ok((Experiment { name, topology: path, seed, calibrate, unfinished, capture, timeline }, topology))
}

#[cfg(test)]
mod tests;
