//! Worlds from seeds, with everything that can go wrong in them: what must hold, holds.

use samp_simulator::play_seeds;
use std::ops::Range;
use std::thread;

/// The seeds that are played in every run of the tests; the example `seeds` plays others.
const SEEDS: Range<u64> = 0..200;

#[test]
fn what_must_hold_holds_in_every_world() {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (mut played, mut failures) = (0, Vec::new());
    play_seeds(SEEDS, threads, |_, failure| {
        played += 1;
        failures.extend(failure);
    });
    let text: String = failures.iter().map(|failure| format!("{failure}\n")).collect();
    assert!(failures.is_empty(), "{} of {played} worlds fail:\n{text}", failures.len());
    assert_eq!(played, SEEDS.end - SEEDS.start);
}
