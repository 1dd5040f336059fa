//! Whether a lab's processes got processors in time: how long they waited on run queues, window by window.

use super::chance::exceeds_p99;
use crate::client::{Client, ClientError};
use crate::report::Delta;
use samp_emulation::Histogram;
use samp_model::control::ProcessWait;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A window: the kernel tells sums only, so this is how fine a wait can be told.
const WINDOW: Duration = Duration::from_millis(100);

/// How long one process waited each time that it was to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waiting {
    /// The node, the first of those whose agents share the process, or the delay line.
    pub process: String,
    /// Windows in which it ran.
    pub windows: u64,
    /// Those of them whose mean wait was above the limit.
    pub beyond: u64,
    /// 99th percentile of the windows' mean waits.
    pub p99_ms: f64,
    /// The longest of them.
    pub max_ms: f64,
    /// Whether the 99th percentile is above the limit, by more than chance.
    pub starved: bool,
}

/// The windows of all processes.
#[derive(Debug)]
struct Windows {
    limit: Duration,
    processes: BTreeMap<String, Process>,
}

#[derive(Debug, Default)]
struct Process {
    /// At the end of the window before.
    last: Option<(u64, u64)>,
    means: Histogram,
    count: u64,
    beyond: u64,
}

impl Windows {
    fn new(limit: Duration) -> Self {
        Self { limit, processes: BTreeMap::new() }
    }

    /// Takes the sums at the end of a window.
    fn add(&mut self, waits: Vec<ProcessWait>) {
        for ProcessWait { name, waited, slices } in waits {
            let process = self.processes.entry(name).or_default();
            let Some((waited_before, slices_before)) = process.last else {
                process.last = Some((waited, slices));
                continue;
            };
            // Who has not run yet still waits: its window goes on.
            let Some(ran) = slices.checked_sub(slices_before).filter(|&ran| ran > 0) else { continue };
            let mean = waited.saturating_sub(waited_before) / ran;
            process.means.add(mean);
            process.count += 1;
            process.beyond += u64::from(Duration::from_nanos(mean) > self.limit);
            process.last = Some((waited, slices));
        }
    }

    /// The worst first.
    fn finish(self) -> Vec<Waiting> {
        let ran = self.processes.into_iter().filter(|(_, process)| process.count > 0);
        let mut waiting: Vec<_> = ran.map(|(name, process)| process.finish(name)).collect();
        waiting.sort_by(|a, b| b.p99_ms.total_cmp(&a.p99_ms));
        waiting
    }
}

impl Process {
    fn finish(self, process: String) -> Waiting {
        Waiting {
            process,
            windows: self.count,
            beyond: self.beyond,
            p99_ms: Delta::from(self.means.quantile(0.99)).as_millis(),
            max_ms: Delta::from(self.means.max()).as_millis(),
            starved: exceeds_p99(self.beyond, self.count),
        }
    }
}

/// Looks at a lab's processes until it is stopped.
#[derive(Debug)]
pub struct WaitWatch {
    stop: Sender<()>,
    thread: JoinHandle<Result<Windows, ClientError>>,
}

impl WaitWatch {
    /// Begins; nobody is to wait longer than `limit`.
    pub fn start(client: &Client, limit: Duration) -> Self {
        let client = client.clone();
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let mut windows = Windows::new(limit);
            loop {
                windows.add(client.waits()?);
                if stopped.recv_timeout(WINDOW) != Err(RecvTimeoutError::Timeout) {
                    return Ok(windows);
                }
            }
        });
        Self { stop, thread }
    }

    /// Ends; what was seen, the worst first.
    ///
    /// # Errors
    /// The lab could not be asked.
    pub fn stop(self) -> Result<Vec<Waiting>, ClientError> {
        // It may have given up.
        let _ = self.stop.send(());
        let windows = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(windows.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(500);

    fn at(name: &str, waited_us: u64, slices: u64) -> ProcessWait {
        ProcessWait { name: name.into(), waited: waited_us * 1000, slices }
    }

    #[test]
    fn waits_are_means_over_windows() {
        let mut windows = Windows::new(LIMIT);
        // What was before the first window does not count.
        windows.add(vec![at("mn1", 1_000_000, 10), at("idle", 5, 1)]);
        windows.add(vec![at("mn1", 1_000_400, 14), at("idle", 5, 1)]);
        windows.add(vec![at("mn1", 1_001_000, 16), at("idle", 5, 1)]);
        let waiting = windows.finish();
        assert_eq!(waiting.len(), 1, "who never ran cannot be judged");
        let Waiting { windows, max_ms, starved, .. } = waiting[0];
        assert_eq!((windows, max_ms, starved), (2, 0.3, false));
    }

    #[test]
    fn one_long_wait_is_chance_and_many_are_starvation() {
        let waits = |long: &dyn Fn(u64) -> bool| {
            let mut windows = Windows::new(LIMIT);
            let mut waited = 0;
            for window in 0..=100 {
                windows.add(vec![at("mn1", waited, window)]);
                waited += if long(window) { 2000 } else { 20 };
            }
            windows.finish().remove(0)
        };
        let once = waits(&|window| window == 50);
        assert!(!once.starved && once.max_ms == 2.0 && once.p99_ms < 0.1, "{once:?}");
        let often = waits(&|window| window % 4 == 0);
        assert!(often.starved && often.p99_ms > 1.9, "{often:?}");
    }

    #[test]
    fn who_does_not_run_waits_on() {
        let mut windows = Windows::new(LIMIT);
        windows.add(vec![at("mn1", 0, 1)]);
        windows.add(vec![at("mn1", 90_000, 1)]);
        windows.add(vec![at("mn1", 200_000, 2)]);
        assert_eq!(windows.finish()[0].max_ms, 200.0);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut windows = Windows::new(LIMIT);
        windows.add(vec![at("mn1", 0, 0), at("s1", 0, 0)]);
        windows.add(vec![at("mn1", 10, 1), at("s1", 90, 1)]);
        let names: Vec<_> = windows.finish().into_iter().map(|waiting| waiting.process).collect();
        assert_eq!(names, ["s1", "mn1"]);
    }
}
