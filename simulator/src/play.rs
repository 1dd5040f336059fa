//! Plays a scenario to its end, and holds the world against the invariants.

use crate::invariants::{self, Invariant, Violation, Watch, violation};
use crate::network::Weather;
use crate::scenario::{Action, Scenario};
use crate::trace::name;
use crate::workload::Work;
use crate::world::World;
use samp_model::{NodeId, Time};
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

/// How a scenario is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Everything that happens is written down.
    pub trace: bool,
    /// Every message goes through its wire form and back.
    pub over_the_wire: bool,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// Messages that arrived and timers that fired.
    pub steps: u64,
    /// How much virtual time has passed.
    pub duration: Duration,
    /// What happened, line by line, when it was to be written down.
    pub trace: Vec<String>,
}

/// Plays a scenario to its end, or to the first violation.
pub fn play(scenario: &Scenario, options: Options) -> Outcome {
    let mut world = World::new(scenario.topology.clone(), scenario.seed);
    if options.trace {
        world.enable_trace();
    }
    if options.over_the_wire {
        world.send_over_the_wire();
    }
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(scenario, &mut world)));
    let violation = result.unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        Err(violation(&world, Invariant::NoPanic, text.to_owned()))
    });
    let violation = violation.err();
    if let Some(violation) = &violation {
        world.note(|| format!("violated: {violation}"));
    }
    Outcome {
        violation,
        steps: world.steps(),
        duration: world.now() - Time::ZERO,
        trace: world.trace().to_vec(),
    }
}

fn run(scenario: &Scenario, world: &mut World) -> Result<(), Violation> {
    let mut watch = Watch::default();
    world.set_weather(scenario.weather);
    world.attach_all();
    act(scenario, world, &mut watch)?;
    world.note(|| "quiet from here on".to_owned());
    world.set_weather(Weather::default());
    watch.gone().collect::<Vec<_>>().into_iter().for_each(|node| world.come_back(node));
    come_to_rest(world, &mut watch)?;
    let probes = probe(world);
    wait(world, &mut watch, invariants::call_limit(&scenario.topology.samp), |world, watch| {
        watch.is_quiet(world)
    })?;
    for (call, callee) in probes {
        if let Err(why) = Watch::is_established(world, &call) {
            let detail = format!("{call} to {}: {why}", name(world.topology(), callee));
            return Err(violation(world, Invariant::EverybodyIsReachable, detail));
        }
    }
    invariants::media_follows(world)?;
    leave(world, &mut watch)
}

/// When steps begin and end.
enum Turn<'a> {
    Begin(usize, &'a Action),
    End(usize, &'a Action),
}

/// Everything that the scenario wants to happen.
fn act(scenario: &Scenario, world: &mut World, watch: &mut Watch) -> Result<(), Violation> {
    let mut turns = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        turns.push((step.at, Turn::Begin(index, &step.action)));
        if let Action::Fault(_, Some(lasts)) = &step.action {
            turns.push((step.at + *lasts, Turn::End(index, &step.action)));
        }
    }
    turns.sort_by_key(|(at, _)| *at);
    let mut begun = vec![false; scenario.steps.len()];
    for (at, turn) in turns {
        world.run_for((Time::ZERO + at) - world.now());
        watch.check(world)?;
        match turn {
            Turn::Begin(_, Action::Work(work)) => {
                world.note(|| work.describe(&scenario.topology));
                work.apply(world);
                if let Work::Deregister { mobile_node } = work {
                    watch.goes_away(world, *mobile_node);
                }
            }
            Turn::Begin(index, Action::Fault(fault, _)) => {
                begun[index] = fault.begin(world);
                let what = if begun[index] { "begins" } else { "is left out, as the ring is not at rest" };
                world.note(|| format!("{} {what}", fault.describe(&scenario.topology)));
            }
            Turn::End(index, Action::Fault(fault, _)) if begun[index] => {
                world.note(|| format!("{} ends", fault.describe(&scenario.topology)));
                fault.end(world, scenario.weather);
            }
            Turn::End(..) => {}
        }
        watch.check(world)?;
    }
    let rest = (Time::ZERO + scenario.length) - world.now();
    world.run_for(rest);
    watch.check(world)
}

/// After the last fault: an ideal ring, then time for everybody to register.
fn come_to_rest(world: &mut World, watch: &mut Watch) -> Result<(), Violation> {
    let samp = world.topology().samp.clone();
    let limit = invariants::ring_limit(world.topology());
    if !world.run_until_ring_is_ideal(limit) {
        let detail = format!("not at their places after {limit:?}: {}", world.out_of_place().join(" "));
        return Err(violation(world, Invariant::RingIsIdeal, detail));
    }
    wait(world, watch, invariants::registration_limit(&samp), |_, _| false)?;
    if !world.ring_is_ideal() {
        return Err(violation(world, Invariant::RingIsIdeal, "it was ideal, and is no more".to_owned()));
    }
    invariants::media_follows(world)
}

/// Somebody calls each mobile node.
fn probe(world: &mut World) -> Vec<(String, NodeId)> {
    let nodes: Vec<_> = world.topology().mobile_nodes().collect();
    let callers = nodes.iter().cycle().skip(1 + world.steps() as usize % (nodes.len() - 1));
    nodes.iter().zip(callers).map(|(&callee, &caller)| (world.call(caller, callee), callee)).collect()
}

/// Everybody hangs up, and nothing is left.
fn leave(world: &mut World, watch: &mut Watch) -> Result<(), Violation> {
    let nodes: Vec<_> = world.topology().mobile_nodes().collect();
    nodes.iter().for_each(|&node| world.hang_up(node));
    let limit = invariants::leave_limit(&world.topology().samp);
    wait(world, watch, limit, |_, _| false)?;
    let left = invariants::what_is_left(world);
    if left.is_ok() {
        return left;
    }
    // A server that was cut off from both ends of a call that rang gives it up by timer C.
    wait(world, watch, invariants::TIMER_C + limit, |_, _| false)?;
    invariants::what_is_left(world)
}

/// Lets time pass until the limit, or until there is nothing to wait for, and watches meanwhile.
fn wait(
    world: &mut World,
    watch: &mut Watch,
    limit: Duration,
    is_over: impl Fn(&World, &mut Watch) -> bool,
) -> Result<(), Violation> {
    let end = world.now() + limit;
    while world.now() < end && !is_over(world, watch) {
        world.run_for(Duration::from_secs(1).min(end - world.now()));
        watch.check(world)?;
    }
    Ok(())
}
