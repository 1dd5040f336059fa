//! The lab's records, in the order of their arrival, for any number of readers.

use samp_model::Record;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Records that are kept at most.
const CAPACITY: usize = 1_000_000;
/// Where the oldest go, a reader leaves out so many more: they might be gone before it has them.
const MARGIN: u64 = 10_000;
/// Bytes that a reader takes at once, about.
const CHUNK: usize = 64 * 1024;

/// All records, as lines of JSON. Clones are the same log.
#[derive(Clone, Debug)]
pub(super) struct RecordLog {
    lines: Arc<Mutex<Lines>>,
    /// How many records there have been.
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Lines {
    /// Number of the first line that is kept.
    first: u64,
    kept: VecDeque<Box<str>>,
}

/// Reads all records from the oldest one on.
#[derive(Debug)]
pub(super) struct Reader {
    lines: Arc<Mutex<Lines>>,
    written: watch::Receiver<u64>,
    next: u64,
}

/// Records that were to be read are no longer kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Discarded;

impl RecordLog {
    pub(super) fn new() -> Self {
        Self { lines: Arc::default(), written: watch::Sender::new(0) }
    }

    /// Adds a record; the oldest goes when there are too many.
    pub(super) fn push(&self, record: &Record) {
        let line = match serde_json::to_string(record) {
            Ok(line) => line + "\n",
            // Records are plain data: only a map with other keys than text could fail.
            Err(error) => return tracing::error!(%error, "a record cannot be written"),
        };
        let mut lines = lock(&self.lines);
        if lines.kept.len() == CAPACITY {
            lines.kept.pop_front();
            lines.first += 1;
        }
        lines.kept.push_back(line.into());
        let written = lines.first + lines.kept.len() as u64;
        drop(lines);
        self.written.send_replace(written);
    }

    /// How many records there have been.
    pub(super) fn written(&self) -> u64 {
        *self.written.borrow()
    }

    /// A reader that begins with the oldest record that is kept.
    pub(super) fn reader(&self) -> Reader {
        let next = match lock(&self.lines).first {
            0 => 0,
            first => first + MARGIN,
        };
        Reader { lines: Arc::clone(&self.lines), written: self.written.subscribe(), next }
    }
}

impl Reader {
    /// How many records there have been before those that are still to be read.
    pub(super) fn passed(&self) -> u64 {
        self.next
    }

    /// Waits for records and returns some, one a line; none when the log is closed.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Discarded> {
        let next = self.next;
        if self.written.wait_for(|&written| written > next).await.is_err() {
            return Ok(None);
        }
        let lines = lock(&self.lines);
        let Some(skip) = self.next.checked_sub(lines.first) else { return Err(Discarded) };
        let mut chunk = String::new();
        for line in lines.kept.iter().skip(skip as usize) {
            chunk.push_str(line);
            self.next += 1;
            if chunk.len() >= CHUNK {
                break;
            }
        }
        Ok(Some(chunk))
    }
}

/// A panic elsewhere leaves the lines as they are: whole.
fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::{Event, Time};

    fn record(handoff: u32) -> Record {
        Record { at: Time::ZERO, node: "mn1".into(), event: Event::LinkTriggered { handoff } }
    }

    #[tokio::test]
    async fn readers_see_all_records_from_the_beginning_in_order() {
        let log = RecordLog::new();
        log.push(&record(0));
        let mut reader = log.reader();
        log.push(&record(1));
        let both = reader.next().await.unwrap().unwrap();
        let read: Vec<Record> = both.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [record(0), record(1)]);

        // Nothing more for now; then one more.
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        log.push(&record(2));
        let chunk = waiting.await.unwrap().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Record>(&chunk).unwrap(), record(2));
    }

    #[tokio::test]
    async fn what_was_discarded_is_never_passed_over_in_silence() {
        let log = RecordLog::new();
        let mut reader = log.reader();
        assert_eq!(reader.passed(), 0);
        log.push(&record(0));
        lock(&log.lines).first = 5;
        assert_eq!(reader.next().await, Err(Discarded));
        // Who comes later is told how many there were.
        let mut reader = log.reader();
        assert_eq!(reader.passed(), 5 + MARGIN);
        (0..2).for_each(|_| log.push(&record(1)));
        lock(&log.lines).first += MARGIN;
        log.push(&record(2));
        let rest = reader.next().await.unwrap().unwrap();
        assert_eq!(rest.lines().count(), 4, "{rest}");
    }
}
