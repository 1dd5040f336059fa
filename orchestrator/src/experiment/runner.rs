//! The schedule against a lab: each action waits until the one before has come to its end.

use super::conditions::{Awaited, wanted};
use super::stage::Stage;
use crate::client::{ClientError, WatchError};
use crate::report::{Call, Floors, Handoff, History};
use samp_model::control::{LinkChange, LinkId, LinkName, Request, Response};
use samp_model::experiment::{Action, Condition, Unfinished};
use samp_model::record::{FloodNumber, HandoffNumber};
use samp_model::topology::NodeId;
use samp_model::{Time, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a handoff may take until it counts as failed, besides what the knobs let it wait for an address.
const HANDOFF_DEADLINE: Duration = Duration::from_secs(10);
/// How long a call may take until both ends hear each other; SIP itself gives up after 32 s (RFC 3261 Timer B).
pub const CALL_DEADLINE: Duration = Duration::from_secs(35);
/// How long the record of something that was done may take.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);
/// How long hanging up may take.
const HANG_UP_DEADLINE: Duration = Duration::from_secs(10);

/// Why a run was broken off.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lab refused an action or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The records ended, or somebody interrupted.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The supervisor said something else than the protocol allows.
    #[error("the lab gave an unexpected answer")]
    Unexpected,
}

/// Told before each action: how many are done, of how many, and what comes now.
pub type StepObserver<'a> = dyn FnMut(usize, usize, &str) + 'a;

/// Carries out a schedule.
#[derive(Debug)]
pub struct Runner<'a, S> {
    pub(super) topology: &'a Topology,
    pub(super) floors: Floors<'a>,
    pub(super) stage: &'a mut S,
    /// From when a waiting time counts.
    pub(super) since: Time,
    /// The calls of a step that is going on, each with whether a program of the user's is called.
    calling: Vec<(String, bool)>,
    /// The calls that steps have begun and not ended.
    pub(super) calls: Vec<String>,
    /// How often something was done to the lab.
    told: usize,
    /// The floods that were begun, and until when each has to have ended.
    floods: Vec<(FloodNumber, Time)>,
    /// The nodes that the timeline has killed.
    pub(super) killed: BTreeSet<String>,
    /// The period that is going on.
    period: Option<OpenPeriod>,
    /// What is to happen in it as soon as something is so.
    triggers: Vec<(Awaited, Action)>,
    /// What handoffs and calls are that do not come to their end.
    unfinished: Unfinished,
    /// Why the measurements are not valid.
    pub(super) invalid_because: Vec<String>,
}

/// A period that is going on, and what has been begun in it.
#[derive(Debug)]
struct OpenPeriod {
    began: Time,
    /// Each mobile node's handoffs, first to last, and the longest gap of them.
    handoffs: BTreeMap<NodeId, (HandoffNumber, HandoffNumber, Duration)>,
    calls: Vec<(String, bool)>,
    /// Each caller's latest call.
    latest: BTreeMap<NodeId, String>,
}

impl<'a, S: Stage> Runner<'a, S> {
    /// For a lab of this topology.
    pub fn new(topology: &'a Topology, unfinished: Unfinished, stage: &'a mut S) -> Self {
        Self {
            topology,
            floors: Floors::new(topology),
            since: stage.now(),
            stage,
            calling: Vec::new(),
            calls: Vec::new(),
            told: 0,
            floods: Vec::new(),
            killed: BTreeSet::new(),
            period: None,
            triggers: Vec::new(),
            unfinished,
            invalid_because: Vec::new(),
        }
    }

    /// Carries out all actions and hangs up; returns why the measurements are not valid, if they are not.
    ///
    /// What fails in the lab makes the run invalid and is gone on from; what fails between here and the lab is an
    /// error.
    ///
    /// # Errors
    /// Any of [`RunError`].
    pub fn run(
        mut self,
        actions: &[Action],
        observer: &mut StepObserver<'_>,
    ) -> Result<Vec<String>, RunError> {
        for (done, action) in actions.iter().enumerate() {
            observer(done, actions.len(), &self.describe(action));
            if !matches!(action, Action::Call { .. }) {
                self.await_calling()?;
            }
            self.carry_out(action)?;
        }
        self.await_calling()?;
        self.hang_up()?;
        self.await_floods()?;
        observer(actions.len(), actions.len(), "");
        self.look_for_dead_agents()?;
        Ok(self.invalid_because)
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), RunError> {
        match action {
            Action::Call { caller, callee } => {
                let to_program = self.topology.node(*callee).program.is_some();
                let call = self.call(*caller, *callee)?;
                match &mut self.period {
                    Some(period) => {
                        period.latest.insert(*caller, call.clone());
                        period.calls.push((call, to_program));
                    }
                    None => self.calling.push((call, to_program)),
                }
            }
            Action::Handoff { mobile_node, access_router, gap } => {
                self.handoff(*mobile_node, *access_router, *gap)?
            }
            Action::Begin => self.begin(),
            Action::At(after) => self.wait_until(*after)?,
            Action::HangUp(caller) => self.hang_up_of(*caller)?,
            Action::End => self.end()?,
            Action::Transfer { from, to } => self.transfer(*from, *to)?,
            Action::Wait(duration) => self.pause(*duration)?,
            Action::Await { condition, timeout } => self.await_condition(*condition, *timeout)?,
            Action::When { condition, action } => self.when(*condition, action)?,
            Action::HangUpAll => self.hang_up()?,
            Action::Link { link, change } => {
                let (link, change) = (self.link_name(*link), change.clone());
                self.tell(&Request::Link { link, change }, action)?;
            }
            Action::Partition { nodes, from } => {
                let (nodes, from) = (self.names(nodes), self.names(from));
                self.tell(&Request::Partition { nodes, from }, action)?;
            }
            Action::Heal => {
                self.tell(&Request::Heal, action)?;
            }
            Action::Kill(node) => {
                let node = self.name(*node);
                self.tell(&Request::Kill { node: node.clone() }, action)?;
                self.killed.insert(node);
            }
            Action::Pause(node) => {
                self.tell(&Request::Pause { node: self.name(*node) }, action)?;
            }
            Action::Resume(node) => {
                self.tell(&Request::Resume { node: self.name(*node) }, action)?;
            }
            Action::Flood { to, from, flood } => {
                let (to, from, flood) = (self.name(*to), self.name(*from), *flood);
                let until = self.stage.now() + flood.lasts + RECORD_DEADLINE;
                let told = self.tell(&Request::Flood { to, from, flood }, action)?;
                if let Some(Response::Flood { flood }) = told {
                    self.floods.push((flood, until));
                }
            }
        }
        Ok(())
    }

    /// Something is to happen as soon as something is so, which it may be already.
    fn when(&mut self, condition: Condition, action: &Action) -> Result<(), RunError> {
        let of_period = self.period.iter().flat_map(|period| &period.calls).map(|(call, _)| call);
        let calls = self.calls.iter().chain(of_period).cloned().collect();
        self.triggers.push((self.awaited(condition, calls, true), action.clone()));
        self.pull_triggers(Duration::ZERO)
    }

    /// Lets so much time pass, and does meanwhile what waits for a state, as soon as that is reached.
    fn pull_triggers(&mut self, within: Duration) -> Result<(), RunError> {
        let until = self.stage.now() + within;
        loop {
            let Self { stage, floors, killed, triggers, .. } = self;
            let rest = until - stage.now();
            let pulled = stage.wait(rest, |history| {
                triggers.iter_mut().position(|(awaited, _)| awaited.is_so(floors, killed, history))
            })?;
            let Some(pulled) = pulled else { return Ok(()) };
            let (_, action) = self.triggers.remove(pulled);
            self.carry_out(&action)?;
        }
    }

    /// Calls of steps that were begun together are waited for together.
    fn await_calling(&mut self) -> Result<(), RunError> {
        let mut calling = std::mem::take(&mut self.calling);
        self.await_calls(&mut calling)
    }

    fn call(&mut self, caller: NodeId, callee: NodeId) -> Result<String, RunError> {
        let (caller, callee) = (self.name(caller), self.name(callee));
        match self.stage.ask(&Request::Call { caller, callee })? {
            Response::Call { call } => Ok(call),
            _ => Err(RunError::Unexpected),
        }
    }

    /// Asks for what takes effect at once, and waits for the record of it; a refusal makes the run invalid.
    fn tell(&mut self, request: &Request, action: &Action) -> Result<Option<Response>, RunError> {
        self.since = self.stage.now();
        match self.stage.ask(request) {
            Ok(response) => {
                self.told += 1;
                let told = self.told;
                let is_recorded = |history: &History| (history.interventions() >= told).then_some(());
                if self.stage.wait(RECORD_DEADLINE, is_recorded)?.is_none() {
                    self.invalid_because.push(format!("{}: no record of it", self.describe(action)));
                }
                Ok(Some(response))
            }
            Err(ClientError::Refused { message, .. }) => {
                self.invalid_because.push(format!("{}: {message}", self.describe(action)));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Floods end by themselves, and say then what came of them.
    fn await_floods(&mut self) -> Result<(), RunError> {
        for (flood, until) in std::mem::take(&mut self.floods) {
            let ended = |history: &History| history.has_flood_ended(flood).then_some(());
            if self.stage.wait(until - self.stage.now(), ended)?.is_none() {
                self.invalid_because.push(format!("flood {flood} has not ended"));
            }
        }
        Ok(())
    }

    /// Waits until all of these calls are decided.
    fn await_calls(&mut self, calling: &mut Vec<(String, bool)>) -> Result<(), RunError> {
        if calling.is_empty() {
            return Ok(());
        }
        let decided = |history: &History, (call, to_program): &(String, bool)| {
            history.call(call).is_some_and(|call| call.is_decided(*to_program))
        };
        let all = |history: &History| calling.iter().all(|call| decided(history, call)).then_some(());
        self.stage.wait(CALL_DEADLINE, all)?;
        for call in calling.drain(..) {
            if !decided(self.stage.history(), &call) {
                self.unfinished(format!("call {} was neither established nor refused", call.0));
            }
            self.calls.push(call.0);
        }
        self.since = self.stage.now();
        Ok(())
    }

    /// The next waiting time counts from the beginning of the handoff: it is the time from one to the next.
    fn handoff(
        &mut self,
        mobile_node: NodeId,
        access_router: NodeId,
        gap: Option<Duration>,
    ) -> Result<(), RunError> {
        let id = mobile_node;
        let (mobile_node, access_router) = (self.name(mobile_node), self.name(access_router));
        self.since = self.stage.now();
        let request = Request::Handoff { mobile_node: mobile_node.clone(), access_router, gap };
        let number = match self.stage.ask(&request) {
            Ok(Response::Handoff { handoff }) => handoff,
            Ok(_) => return Err(RunError::Unexpected),
            Err(ClientError::Refused { message, .. }) => {
                self.invalid_because.push(format!("a handoff of {mobile_node} was refused: {message}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let gap = gap.unwrap_or(self.topology.emulation.gap);
        if let Some(period) = &mut self.period {
            let (_, last, longest) = period.handoffs.entry(id).or_insert((number, number, gap));
            (*last, *longest) = (number, gap.max(*longest));
            return Ok(());
        }
        let within = handoff_deadline(self.topology, gap);
        if let Err(missing) = await_handoff(self.stage, &self.floors, &mobile_node, number, within)? {
            self.unfinished(format!("handoff {number} of {mobile_node} did not complete: {missing}"));
        }
        Ok(())
    }

    fn begin(&mut self) {
        let (handoffs, calls, latest) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        self.period = Some(OpenPeriod { began: self.stage.now(), handoffs, calls, latest });
    }

    /// Lets time pass until so long after the period began.
    fn wait_until(&mut self, after: Duration) -> Result<(), RunError> {
        let passed = self.period.as_ref().map_or(after, |period| self.stage.now() - period.began);
        self.pull_triggers(after.saturating_sub(passed))
    }

    /// A call that has not come about ends by itself.
    fn hang_up_of(&mut self, caller: NodeId) -> Result<(), RunError> {
        let call = self.period.as_ref().and_then(|period| period.latest.get(&caller)).cloned();
        let is_up =
            |call: &String| self.stage.history().call(call).is_some_and(|call| call.established.is_some());
        if let Some(call) = call.filter(is_up) {
            self.stage.ask(&Request::HangUp { call: Some(call) })?;
        }
        Ok(())
    }

    /// Waits for what the period has begun.
    fn end(&mut self) -> Result<(), RunError> {
        let Some(OpenPeriod { handoffs, calls, .. }) = self.period.take() else { return Ok(()) };
        let over = self.stage.now();
        for (awaited, _) in std::mem::take(&mut self.triggers) {
            self.check(&awaited, "until the end of the period");
        }
        for (node, (first, last, gap)) in handoffs {
            let name = self.name(node);
            let within = handoff_deadline(self.topology, gap);
            // Its earlier ones have had their time, and it has had that of those who were waited for before.
            let within = within.saturating_sub(self.stage.now() - over);
            let latest = await_handoff(self.stage, &self.floors, &name, last, within)?.err();
            let earlier: Vec<_> = (first..last)
                .filter_map(|number| {
                    let handoff = Handoff::assemble(&self.floors, self.stage.history(), &name, number);
                    let missing = match handoff {
                        Some(handoff) if handoff.is_complete() => return None,
                        Some(handoff) => handoff.missing.join(", "),
                        None => "no detachment".to_owned(),
                    };
                    Some((number, missing))
                })
                .collect();
            for (number, missing) in earlier.into_iter().chain(latest.map(|missing| (last, missing))) {
                self.unfinished(format!("handoff {number} of {name} did not complete: {missing}"));
            }
        }
        // Who hung up at once may never have heard the other.
        let is_over =
            |call: &String| self.stage.history().call(call).is_some_and(|call| call.ended.is_some());
        let (over, mut calls): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(call, _)| is_over(call));
        let before = std::mem::replace(&mut self.calls, over.into_iter().map(|(call, _)| call).collect());
        self.await_calls(&mut calls)?;
        let calls = std::mem::replace(&mut self.calls, before);
        for call in open(self.stage.history(), &calls, &self.killed) {
            self.stage.ask(&Request::HangUp { call: Some(call) })?;
        }
        self.await_ends(&calls)
    }

    /// The latest call of `from` goes on at `to`.
    fn transfer(&mut self, from: NodeId, to: NodeId) -> Result<(), RunError> {
        let (from, to) = (self.name(from), self.name(to));
        let mut calls = self.stage.history().calls();
        calls.retain(|(_, call)| call.talks() && call.ended.is_none() && call.peer_of(&from).is_some());
        let Some(call) = calls.last().map(|(id, _)| (*id).to_owned()) else {
            self.invalid_because.push(format!("{from} is in no call that could be transferred"));
            return Ok(());
        };
        self.since = self.stage.now();
        let request = Request::Transfer { call: call.clone(), from: Some(from.clone()), to: to.clone() };
        self.stage.ask(&request)?;
        self.stage.wait(CALL_DEADLINE, |history| history.transfer_decided(&call).then_some(()))?;
        let new = self.stage.history().call(&call).and_then(|old| old.replaced_by.clone());
        match new.filter(|new| self.stage.history().call(new).is_some_and(Call::talks)) {
            Some(new) => self.calls.push(new),
            None => self.invalid_because.push(format!("{to} did not take the call of {from} over")),
        }
        Ok(())
    }

    fn pause(&mut self, duration: Duration) -> Result<(), RunError> {
        let rest = duration.saturating_sub(self.stage.now() - self.since);
        self.stage.wait(rest, |_| None::<()>)?;
        self.since = self.stage.now();
        Ok(())
    }

    fn hang_up(&mut self) -> Result<(), RunError> {
        let calls = std::mem::take(&mut self.calls);
        if !open(self.stage.history(), &calls, &self.killed).is_empty() {
            self.stage.ask(&Request::HangUp { call: None })?;
        }
        self.await_ends(&calls)
    }

    /// Waits until these calls, which have been hung up, are over at both ends.
    fn await_ends(&mut self, calls: &[String]) -> Result<(), RunError> {
        let killed = self.killed.clone();
        let closed = |history: &History| open(history, calls, &killed).is_empty().then_some(());
        if self.stage.wait(HANG_UP_DEADLINE, closed)?.is_none() {
            for call in open(self.stage.history(), calls, &killed) {
                self.unfinished(format!("call {call} did not end at both ends"));
            }
        }
        self.since = self.stage.now();
        Ok(())
    }

    fn unfinished(&mut self, what: String) {
        if self.unfinished == Unfinished::Invalid {
            self.invalid_because.push(what);
        }
    }

    fn look_for_dead_agents(&mut self) -> Result<(), RunError> {
        for node in self.stage.dead_nodes()?.iter().filter(|node| !self.killed.contains(*node)) {
            self.invalid_because.push(format!("the agent or program of {node} died"));
        }
        Ok(())
    }

    fn name(&self, node: NodeId) -> String {
        self.topology.node(node).name.clone()
    }

    fn names(&self, nodes: &[NodeId]) -> Vec<String> {
        nodes.iter().map(|&node| self.name(node)).collect()
    }

    fn link_name(&self, link: LinkId) -> LinkName {
        match link {
            LinkId::Wired(ends) => LinkName::Wired(ends.map(|end| self.name(end))),
            LinkId::Radio(node) => LinkName::Radio(self.name(node)),
        }
    }

    fn describe(&self, action: &Action) -> String {
        match action {
            Action::Call { caller, callee } => format!("{} calls {}", self.name(*caller), self.name(*callee)),
            Action::Handoff { mobile_node, access_router, .. } => {
                format!("{} moves to {}", self.name(*mobile_node), self.name(*access_router))
            }
            Action::Transfer { from, to } => {
                format!("{} hands its call to {}", self.name(*from), self.name(*to))
            }
            Action::Wait(duration) => format!("waiting {duration:?}"),
            Action::Await { condition, .. } => format!("waiting {}", wanted(*condition)),
            Action::When { condition, action } => {
                format!("waiting {}: {}", wanted(*condition), self.describe(action))
            }
            Action::Begin => "a period begins".to_owned(),
            Action::At(_) => "time passes".to_owned(),
            Action::HangUp(caller) => format!("{} hangs up", self.name(*caller)),
            Action::End => "the period ends".to_owned(),
            Action::HangUpAll => "hanging up".to_owned(),
            Action::Link { link, change } => {
                let what = match change {
                    LinkChange::Down => "goes down",
                    LinkChange::Up => "comes up",
                    LinkChange::Quality(_) => "changes",
                };
                format!("the link {} {what}", link.name(self.topology))
            }
            Action::Partition { nodes, .. } => format!("cutting off {}", self.names(nodes).join(", ")),
            Action::Heal => "healing".to_owned(),
            Action::Kill(node) => format!("killing {}", self.name(*node)),
            Action::Pause(node) => format!("pausing {}", self.name(*node)),
            Action::Resume(node) => format!("resuming {}", self.name(*node)),
            Action::Flood { to, from, .. } => {
                format!("flooding {} from {}", self.name(*to), self.name(*from))
            }
        }
    }
}

/// Those of the calls that are not over at all ends that can tell. A callee that runs a program of the user's has accepted
/// nothing that is known here, and sums nothing up; who was killed does not either.
fn open(history: &History, calls: &[String], killed: &BTreeSet<String>) -> Vec<String> {
    let ends = |call: &Call| {
        let ends = [call.caller.as_deref(), call.callee()].into_iter().flatten();
        ends.filter(|&node| !killed.contains(node)).count()
    };
    let is_open = |call: &Call| call.established.is_some() && call.media().count() < ends(call);
    calls.iter().filter(|id| history.call(id).is_some_and(is_open)).cloned().collect()
}

/// How long a handoff of this lab may take, with such a gap, until it counts as failed.
pub fn handoff_deadline(topology: &Topology, gap: Duration) -> Duration {
    HANDOFF_DEADLINE + gap + topology.longest_wait()
}

/// Waits until a handoff is complete, for `within` at most; otherwise tells what it lacks.
///
/// # Errors
/// Any of [`WatchError`].
pub fn await_handoff(
    stage: &mut impl Stage,
    floors: &Floors<'_>,
    node: &str,
    number: HandoffNumber,
    within: Duration,
) -> Result<Result<Handoff, String>, WatchError> {
    let look = |history: &History| Handoff::assemble(floors, history, node, number);
    let complete = stage.wait(within, |history| look(history).filter(Handoff::is_complete))?;
    Ok(complete.ok_or_else(|| {
        look(stage.history()).map_or("no detachment".to_owned(), |handoff| handoff.missing.join(", "))
    }))
}
