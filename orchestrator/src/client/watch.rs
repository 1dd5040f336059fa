//! Following a lab's records until something has happened.

use super::{Client, ClientError};
use crate::report::History;
use samp_model::Record;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Records that may wait to be taken in; beyond that the lab waits for us.
const QUEUE: usize = 4096;

/// Gets each record as it comes.
type Sink = dyn FnMut(&Record) -> io::Result<()>;

/// A lab's records as they come.
pub struct Watch {
    incoming: Receiver<Incoming>,
    sender: SyncSender<Incoming>,
    connection: UnixStream,
    sink: Box<Sink>,
    history: History,
    discarded: u64,
    /// That no more records come, and why, while nobody has been told.
    end: Option<Option<WatchError>>,
}

/// Why a watch ended before what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The lab has ended.
    #[error("the lab has ended")]
    Ended,
    /// The lab cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A record cannot be kept.
    #[error("cannot write a record")]
    Sink(#[source] io::Error),
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
}

/// Ends a watch from another thread.
#[derive(Clone)]
pub struct Interrupter(SyncSender<Incoming>);

enum Incoming {
    Record(Box<Record>),
    Ended(WatchError),
}

impl Watch {
    /// Follows a lab from the oldest record that it keeps; `sink` gets each record as it comes.
    ///
    /// # Errors
    /// Any of [`ClientError`].
    pub fn start(
        client: &Client,
        sink: impl FnMut(&Record) -> io::Result<()> + 'static,
    ) -> Result<Self, ClientError> {
        let records = client.records()?;
        let (connection, discarded) = (records.connection()?, records.discarded());
        let (sender, incoming) = sync_channel(QUEUE);
        let to_watch = sender.clone();
        thread::spawn(move || {
            for record in records {
                let next = match record {
                    Ok(record) => Incoming::Record(Box::new(record)),
                    Err(error) => Incoming::Ended(error.into()),
                };
                if to_watch.send(next).is_err() {
                    return;
                }
            }
            // Nobody may be listening any more, which is fine.
            let _ = to_watch.send(Incoming::Ended(WatchError::Ended));
        });
        Ok(Self {
            incoming,
            sender,
            connection,
            sink: Box::new(sink),
            history: History::default(),
            discarded,
            end: None,
        })
    }

    /// What can end this watch from elsewhere.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.sender.clone())
    }

    /// How many records there were that the lab no longer keeps: this watch knows nothing of them.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// All that has happened so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// All that has happened; no more records are taken in.
    pub fn into_history(mut self) -> History {
        std::mem::take(&mut self.history)
    }

    /// Takes in records until `done` finds what it looks for; none when `within` is over before.
    ///
    /// # Errors
    /// Any of [`WatchError`].
    pub fn wait<T>(
        &mut self,
        within: Duration,
        mut done: impl FnMut(&History) -> Option<T>,
    ) -> Result<Option<T>, WatchError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = done(&self.history) {
                return Ok(Some(found));
            }
            if let Some(reason) = &mut self.end {
                return Err(reason.take().unwrap_or(WatchError::Ended));
            }
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(incoming) => self.take_in(incoming)?,
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => self.end = Some(None),
            }
            // Look once for all that has come meanwhile.
            while self.end.is_none()
                && let Ok(incoming) = self.incoming.try_recv()
            {
                self.take_in(incoming)?;
            }
        }
    }

    fn take_in(&mut self, incoming: Incoming) -> Result<(), WatchError> {
        match incoming {
            Incoming::Record(record) => {
                (self.sink)(&record).map_err(WatchError::Sink)?;
                self.history.push(*record);
            }
            Incoming::Ended(reason) => self.end = Some(Some(reason)),
        }
        Ok(())
    }
}

impl Drop for Watch {
    /// Hangs up, so that the thread that reads ends, too.
    fn drop(&mut self) {
        // It fails when the lab has hung up already.
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

impl Interrupter {
    /// Makes the watch's waiting end with [`WatchError::Interrupted`].
    pub fn interrupt(&self) {
        // A watch that is gone needs no interruption.
        let _ = self.0.send(Incoming::Ended(WatchError::Interrupted));
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("history", &self.history).finish_non_exhaustive()
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}
