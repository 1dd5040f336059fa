//! The same work for many numbers, on several threads that share nothing.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

/// Does the work for each number on so many threads, and tells the results in the order in which they are ready. Each
/// thread has a worker of its own, which gets its numbers in ascending order.
pub fn for_each<T: Send, W: FnMut(u64) -> T>(
    numbers: Range<u64>,
    threads: usize,
    worker: impl Fn() -> W + Sync,
    mut tell: impl FnMut(u64, T),
) {
    let next = AtomicU64::new(numbers.start);
    thread::scope(|scope| {
        let (results, finished) = mpsc::channel();
        for _ in 0..threads.max(1) {
            let (next, results, end, worker) = (&next, results.clone(), numbers.end, &worker);
            scope.spawn(move || {
                let mut work = worker();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end || results.send((number, work(number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        finished.into_iter().for_each(|(number, result)| tell(number, result));
    });
}
