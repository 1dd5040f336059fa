//! Makes a failing scenario as small as it can be while it still fails in the same way.

use crate::invariants::Invariant;
use crate::network::Weather;
use crate::play::{Options, play};
use crate::scenario::Scenario;

/// Plays at most.
const ATTEMPTS: usize = 300;

/// Takes out of the scenario whatever is not needed to violate the invariant: fair weather if that is enough, then
/// steps, in ever smaller groups (delta debugging, Zeller and Hildebrandt 2002).
pub fn shrink(scenario: &Scenario, invariant: Invariant) -> Scenario {
    let mut attempts = ATTEMPTS;
    let mut fails = |candidate: &Scenario| {
        if attempts == 0 {
            return false;
        }
        attempts -= 1;
        let outcome = play(candidate, Options::default());
        outcome.violation.is_some_and(|violation| violation.invariant == invariant)
    };
    let mut smallest = scenario.clone();
    let fair = Scenario { weather: Weather::default(), ..smallest.clone() };
    if fails(&fair) {
        smallest = fair;
    }
    let mut group = smallest.steps.len().div_ceil(2);
    while group > 0 {
        let mut start = 0;
        while start < smallest.steps.len() {
            let mut candidate = smallest.clone();
            candidate.steps.drain(start..(start + group).min(smallest.steps.len()));
            if fails(&candidate) {
                smallest = candidate;
            } else {
                start += group;
            }
        }
        group /= 2;
    }
    smallest
}
