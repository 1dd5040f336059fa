//! Coming up: agents are ready, then the ring is stable, then the mobile nodes are registered. Driven by events alone.

use super::agents::Death;
use super::state::Lab;
use crate::cause::{cause_of, chain};
use samp_model::agent::FromAgent;
use samp_model::control::{Cause, Progress, Stage};
use samp_model::record::RegistrationScope;
use samp_model::ring::RingView;
use samp_model::topology::NodeId;
use samp_model::{Event, Record};
use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;
use tokio::time::Instant;

/// What every stage may take, however small the lab.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a stage may take more for each node that it waits for.
const PATIENCE_PER_NODE: Duration = Duration::from_millis(100);
/// Mobile nodes that register at once: more at a time only wait for each other, and ask again.
const AT_ONCE: usize = 200;
/// Stabilisation periods that the ring may take more for each server: they join one behind the other.
const PERIODS_PER_SERVER: u32 = 2;

/// A lab that is coming up.
pub(super) struct Startup {
    stage: Stage,
    began: Instant,
    /// When the stage counts as failed.
    pub(super) deadline: Instant,
    /// Seconds of each stage so far.
    seconds: Vec<(Stage, f64)>,
    servers: Vec<NodeId>,
    ring: RingView,
    /// Whom the stage waits for.
    waiting: BTreeSet<NodeId>,
    /// Mobile nodes that are still to be attached, each with where it begins.
    unattached: VecDeque<(NodeId, NodeId)>,
    total: usize,
}

/// Why a lab could not come up, and what to do about it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) cause: Cause,
}

impl Failure {
    /// That `attempt` failed; an empty one is told by the error itself.
    pub(super) fn new(attempt: &str, error: &(dyn Error + 'static)) -> Self {
        let text = chain(error);
        let message = if attempt.is_empty() { text } else { format!("{attempt}: {text}") };
        Self { message, hint: None, cause: cause_of(error) }
    }
}

impl From<Failure> for Progress {
    fn from(Failure { message, hint, cause }: Failure) -> Self {
        Progress::Failed { message, hint, cause }
    }
}

impl Startup {
    /// The agents have been started since `began`; earlier stages took `seconds`.
    pub(super) fn new(lab: &Lab, seconds: Vec<(Stage, f64)>, began: Instant) -> Self {
        let agents: BTreeSet<NodeId> = lab.plan.agents.iter().map(|agent| agent.node).collect();
        Self {
            stage: Stage::Agents,
            began,
            deadline: began + PATIENCE + PATIENCE_PER_NODE * agents.len() as u32,
            seconds,
            servers: lab.topology.ring_servers().collect(),
            ring: RingView::default(),
            total: agents.len(),
            waiting: agents,
            unattached: VecDeque::new(),
        }
    }

    /// An agent has said something: what is to be told to whoever waits, with [`Progress::Up`] as the last.
    pub(super) fn hear(
        &mut self,
        lab: &mut Lab,
        node: NodeId,
        said: &FromAgent,
    ) -> Result<Vec<Progress>, Failure> {
        match said {
            FromAgent::Ready if self.stage == Stage::Agents => {
                self.waiting.remove(&node);
            }
            FromAgent::Record(record) if self.ring.note(record) => {}
            FromAgent::Record(Record {
                event: Event::Registered { scope: RegistrationScope::Home, .. },
                ..
            }) if self.stage == Stage::Registration => {
                self.waiting.remove(&node);
            }
            _ => return Ok(Vec::new()),
        }
        self.advance(lab)
    }

    /// An agent that dies now spoils everything.
    pub(super) fn death(lab: &Lab, death: &Death) -> Failure {
        let what = if lab.programs.has(death.node) { "program" } else { "agent" };
        let mut message = format!("the {what} of `{}` {}", lab.name_of(death.node), death.how);
        if let Some(words) = &death.last_words {
            message = format!("{message}: {words}");
        }
        let log = lab.agents.log(death.node).or_else(|| lab.programs.log(death.node));
        Failure { message, hint: log.map(|log| format!("its log is {}", log.display())), cause: death.cause }
    }

    /// The deadline has passed.
    pub(super) fn late(&self, lab: &Lab) -> Failure {
        /// Nodes that are named at most.
        const NAMED: usize = 8;
        let mut names: Vec<&str> = self.waiting.iter().take(NAMED).map(|&node| lab.name_of(node)).collect();
        if self.waiting.len() > NAMED {
            names.push("…");
        }
        let what = match self.stage {
            Stage::Ring => "not at their place in the ring",
            Stage::Registration => "not registered",
            _ => "not ready",
        };
        let after = self.began.elapsed().as_secs();
        let message = format!(
            "after {after} s, {} of {} are {what}: {}",
            self.waiting.len(),
            self.total,
            names.join(", ")
        );
        let hint = format!("their logs are in {}", lab.dir.logs().display());
        Failure { message, hint: Some(hint), cause: Cause::Other }
    }

    /// Goes on to whichever stage still has to wait.
    pub(super) fn advance(&mut self, lab: &mut Lab) -> Result<Vec<Progress>, Failure> {
        let mut progress = Vec::new();
        loop {
            if self.stage == Stage::Ring {
                let names: Vec<_> = self.servers.iter().map(|&server| lab.name_of(server)).collect();
                let misplaced = self.ring.out_of_place(&names, &lab.topology.samp.chord);
                self.waiting = misplaced.into_iter().filter_map(|name| lab.topology.find(name)).collect();
            }
            while self.waiting.len() < self.unattached.len() + AT_ONCE {
                let Some((mobile_node, start)) = self.unattached.pop_front() else { break };
                lab.attach(mobile_node, start).map_err(|error| Failure::new("", &error))?;
            }
            let done = self.total - self.waiting.len();
            progress.push(Progress::Stage { stage: self.stage, done, total: self.total });
            if !self.waiting.is_empty() {
                return Ok(progress);
            }
            self.seconds.push((self.stage, self.began.elapsed().as_secs_f64()));
            match self.stage {
                Stage::Agents => {
                    let periods = PERIODS_PER_SERVER * self.servers.len() as u32;
                    self.enter(Stage::Ring, lab.topology.samp.chord.stabilize_period * periods);
                    self.total = self.servers.len();
                }
                Stage::Ring => {
                    let mobile_nodes = lab.topology.mobile_nodes().filter(|&node| !lab.programs.has(node));
                    let mobile_nodes: BTreeSet<NodeId> = mobile_nodes.collect();
                    self.enter(Stage::Registration, PATIENCE_PER_NODE * mobile_nodes.len() as u32);
                    self.total = mobile_nodes.len();
                    self.waiting = mobile_nodes;
                    let starts = lab.plan.mobile_nodes.iter();
                    self.unattached = starts.map(|node| (node.node, node.start)).collect();
                }
                _ => {
                    lab.is_up = true;
                    progress.push(Progress::Up { seconds: std::mem::take(&mut self.seconds) });
                    return Ok(progress);
                }
            }
        }
    }

    fn enter(&mut self, stage: Stage, more_patience: Duration) {
        self.stage = stage;
        self.began = Instant::now();
        self.deadline = self.began + PATIENCE + more_patience;
    }
}
