//! Plays seeds on several threads, and brings those that fail into a form that can be read.

use crate::invariants::Violation;
use crate::parallel::for_each;
use crate::play::{Options, Outcome, play};
use crate::scenario::Scenario;
use crate::shrink::shrink;
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Lines of the shortened trace.
const TRACE_LINES: usize = 60;

/// A seed that fails.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What does not hold.
    pub violation: Violation,
    /// The smallest scenario that fails in this way.
    pub scenario: String,
    /// The end of what happens in it, without the ring's own talk.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, violation, scenario, trace } = self;
        writeln!(
            f,
            "seed {seed} fails: {violation}\nthe smallest form of it that fails in this way:\n{scenario}"
        )?;
        trace.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "all of it: --seed {seed} --trace, and --smallest for this form of it")
    }
}

/// Plays these seeds on so many threads, and tells how each went, in the order in which they end.
pub fn play_seeds(seeds: Range<u64>, threads: usize, mut tell: impl FnMut(Outcome, Option<Failure>)) {
    for_each(seeds, threads, || play_seed, |_, (outcome, failure)| tell(outcome, failure));
}

fn play_seed(seed: u64) -> (Outcome, Option<Failure>) {
    let scenario = Scenario::of(seed);
    let outcome = play(&scenario, Options::default());
    let failure = outcome.violation.clone().map(|violation| {
        let smallest = shrink(&scenario, violation.invariant);
        let trace = play(&smallest, Options { trace: true, over_the_wire: false }).trace;
        let trace: Vec<_> = trace.into_iter().filter(|line| !line.contains("OVERLAY")).collect();
        let trace = trace[trace.len().saturating_sub(TRACE_LINES)..].to_vec();
        Failure { seed, violation, scenario: smallest.describe(), trace }
    });
    (outcome, failure)
}
