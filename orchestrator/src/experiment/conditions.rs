//! What a timeline can wait for, as the records show it.

use super::runner::{RunError, Runner};
use super::stage::Stage;
use crate::report::{Call, History, registered_with};
use samp_model::experiment::Condition;
use samp_model::topology::NodeId;
use std::time::Duration;

/// Those that a condition still lacks are named, so many at most.
const NAMED: usize = 8;

impl<S: Stage> Runner<'_, S> {
    /// Waits until it is so, for `timeout` at most; otherwise the run is not valid.
    pub(super) fn await_condition(
        &mut self,
        condition: Condition,
        timeout: Duration,
    ) -> Result<(), RunError> {
        let topology = self.topology;
        let (floors, killed) = (&self.floors, &self.killed);
        let name = |node: NodeId| topology.node(node).name.clone();
        let lives = |name: &String| !killed.contains(name);
        let lacking = match condition {
            Condition::AllRegistered => {
                let agents = topology.mobile_nodes().filter(|&node| topology.node(node).program.is_none());
                let mut nodes: Vec<String> = agents.map(name).filter(lives).collect();
                let is_registered = |history: &History, node: &String| {
                    registered_with(floors, history, node).is_some_and(|server| lives(&name(server)))
                };
                self.stage.wait(timeout, |history| all(&mut nodes, |node| is_registered(history, node)))?;
                nodes.retain(|node| !is_registered(self.stage.history(), node));
                nodes
            }
            Condition::CallsEstablished => {
                let mut calls = self.calls.clone();
                let is_up = |history: &History, call: &String| history.call(call).is_some_and(Call::is_up);
                self.stage.wait(timeout, |history| all(&mut calls, |call| is_up(history, call)))?;
                calls.retain(|call| !is_up(self.stage.history(), call));
                calls
            }
            Condition::RingStable => {
                let servers: Vec<String> = topology.ring_servers().map(name).filter(lives).collect();
                let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
                let misplaced =
                    |history: &History| history.ring().out_of_place(&servers, &topology.samp.chord);
                self.stage.wait(timeout, |history| misplaced(history).is_empty().then_some(()))?;
                misplaced(self.stage.history()).into_iter().map(str::to_owned).collect()
            }
        };
        if !lacking.is_empty() {
            let more = if lacking.len() > NAMED { ", …" } else { "" };
            let named = lacking[..lacking.len().min(NAMED)].join(", ");
            self.invalid_because.push(format!("after {timeout:?}, {}: {named}{more}", otherwise(condition)));
        }
        self.since = self.stage.now();
        Ok(())
    }
}

/// Whether all are so. Who is not comes to the front, to be the first to be asked the next time.
fn all(subjects: &mut [String], mut is_so: impl FnMut(&String) -> bool) -> Option<()> {
    match subjects.iter().position(|subject| !is_so(subject)) {
        Some(laggard) => {
            subjects.swap(0, laggard);
            None
        }
        None => Some(()),
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
