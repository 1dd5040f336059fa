//! A seed decides everything, to the byte: in every run, in every thread, and by whichever way messages travel.

use samp_simulator::{Options, Scenario, play};
use std::thread;

fn trace(seed: u64, over_the_wire: bool) -> Vec<String> {
    let outcome = play(&Scenario::of(seed), Options { trace: true, over_the_wire });
    assert!(outcome.trace.len() > 100, "something happens");
    outcome.trace
}

#[test]
fn two_runs_are_the_same() {
    assert_eq!(trace(1, false), trace(1, false));
    assert_ne!(trace(1, false), trace(2, false));
}

#[test]
fn threads_with_other_seeds_change_nothing() {
    let alone = trace(3, false);
    let together = thread::scope(|scope| {
        let threads = [3, 4, 3].map(|seed| scope.spawn(move || trace(seed, false)));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    assert_eq!(together[0], alone);
    assert_eq!(together[2], alone);
}

#[test]
fn what_a_node_says_is_what_the_wire_carries() {
    for seed in 5..10 {
        let [values, bytes] = [false, true].map(|over_the_wire| trace(seed, over_the_wire));
        let difference = values.iter().zip(&bytes).find(|(value, byte)| value != byte);
        assert_eq!(difference, None, "seed {seed}");
        assert_eq!(values.len(), bytes.len(), "seed {seed}");
    }
}
