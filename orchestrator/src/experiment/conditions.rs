//! What a timeline can wait for, as the records show it.

use super::runner::{RunError, Runner};
use super::stage::Stage;
use crate::report::{Call, Floors, History, registered_with};
use samp_model::experiment::Condition;
use samp_model::topology::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

/// Those that a condition still lacks are named, so many at most.
const NAMED: usize = 8;

/// A condition, and who is still to be asked.
#[derive(Debug)]
pub(super) struct Awaited {
    condition: Condition,
    /// Mobile nodes, servers or calls; the first is the one that was not so the last time.
    subjects: Vec<String>,
    /// Whether calls may be over: those of a period come and go by themselves.
    may_be_over: bool,
}

impl<S: Stage> Runner<'_, S> {
    /// What is to be so, of the nodes that are there and of these calls.
    pub(super) fn awaited(&self, condition: Condition, calls: Vec<String>, may_be_over: bool) -> Awaited {
        let topology = self.topology;
        let name = |node: NodeId| topology.node(node).name.clone();
        let subjects = match condition {
            Condition::AllRegistered => {
                let nodes = topology.mobile_nodes();
                nodes.filter(|&node| topology.node(node).program.is_none()).map(name).collect()
            }
            Condition::CallsEstablished => calls,
            Condition::RingStable => topology.ring_servers().map(name).collect(),
        };
        Awaited { condition, subjects, may_be_over }
    }

    /// Waits until it is so, for `timeout` at most; otherwise the run is not valid.
    pub(super) fn await_condition(
        &mut self,
        condition: Condition,
        timeout: Duration,
    ) -> Result<(), RunError> {
        let mut awaited = self.awaited(condition, self.calls.clone(), false);
        let Self { stage, floors, killed, .. } = self;
        stage.wait(timeout, |history| awaited.is_so(floors, killed, history).then_some(()))?;
        self.check(&awaited, &format!("after {timeout:?}"));
        self.since = self.stage.now();
        Ok(())
    }

    /// The run is not valid if something is lacking.
    pub(super) fn check(&mut self, awaited: &Awaited, when: &str) {
        let lacking = awaited.lacking(&self.floors, &self.killed, self.stage.history());
        if !lacking.is_empty() {
            let more = if lacking.len() > NAMED { ", …" } else { "" };
            let named = lacking[..lacking.len().min(NAMED)].join(", ");
            let otherwise = otherwise(awaited.condition);
            self.invalid_because.push(format!("{when}, {otherwise}: {named}{more}"));
        }
    }
}

impl Awaited {
    /// Whether it is so. Who is not comes to the front, to be the first to be asked the next time.
    pub(super) fn is_so(
        &mut self,
        floors: &Floors<'_>,
        killed: &BTreeSet<String>,
        history: &History,
    ) -> bool {
        if self.condition == Condition::RingStable {
            return self.lacking(floors, killed, history).is_empty();
        }
        let is_lacking = |subject: &String| self.is_lacking(subject, floors, killed, history);
        let laggard = self.subjects.iter().position(is_lacking);
        laggard.into_iter().for_each(|laggard| self.subjects.swap(0, laggard));
        laggard.is_none()
    }

    /// Those who are not as they should be.
    fn lacking(&self, floors: &Floors<'_>, killed: &BTreeSet<String>, history: &History) -> Vec<String> {
        if self.condition == Condition::RingStable {
            let alive = self.subjects.iter().filter(|server| !killed.contains(*server));
            let alive: Vec<_> = alive.map(String::as_str).collect();
            let misplaced = history.ring().out_of_place(&alive, &floors.topology().samp.chord);
            return misplaced.into_iter().map(str::to_owned).collect();
        }
        let is_lacking = |subject: &&String| self.is_lacking(subject, floors, killed, history);
        self.subjects.iter().filter(is_lacking).cloned().collect()
    }

    fn is_lacking(
        &self,
        subject: &String,
        floors: &Floors<'_>,
        killed: &BTreeSet<String>,
        history: &History,
    ) -> bool {
        if self.condition == Condition::CallsEstablished {
            let is_over = |call: &Call| call.ended.is_some() || call.failed.is_some();
            let is_so = |call: &Call| call.is_up() || self.may_be_over && is_over(call);
            return !history.call(subject).is_some_and(is_so);
        }
        let lives = |node: NodeId| !killed.contains(&floors.topology().node(node).name);
        !killed.contains(subject) && !registered_with(floors, history, subject).is_some_and(lives)
    }
}

/// What is being waited for.
pub(super) fn wanted(condition: Condition) -> &'static str {
    match condition {
        Condition::AllRegistered => "until all mobile nodes are registered",
        Condition::RingStable => "until the ring is stable",
        Condition::CallsEstablished => "until all calls are established",
    }
}

/// What is the matter with those that are not as they should be.
fn otherwise(condition: Condition) -> &'static str {
    match condition {
        Condition::AllRegistered => "not registered with a server that lives",
        Condition::RingStable => "not at their place in the ring",
        Condition::CallsEstablished => "not established",
    }
}
