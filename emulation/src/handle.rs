//! The handle of a running delay line.

use crate::counters::Counters;
use crate::engine::{Command, Engine, LinkNumber};
use crate::kernel::{self, Sockets};
use crate::spec::LineSpec;
use crate::table::{Table, TableError};
use nix::sys::eventfd::{EfdFlags, EventFd};
use samp_model::Time;
use samp_model::topology::LinkQuality;
use samp_sys::clock::monotonic_nanos;
use samp_sys::namespace::Namespace;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The name of a delay line's thread.
pub const THREAD: &str = "delay-line";

/// A running delay line. Dropping it stops its thread; frames on their way are gone.
///
/// Every method waits for the thread's answer, some tens of microseconds, and panics if the thread has panicked.
#[derive(Debug)]
pub struct DelayLine {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    realtime: bool,
    pipes: usize,
    radios: usize,
    access: usize,
}

/// A write to the attachment table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// When it took effect.
    pub at: Time,
    /// From the call until it took effect: what the attachment itself cost.
    pub cost: Duration,
    /// Frames that were on the air and were dropped.
    pub frames_dropped: u64,
}

impl Attachment {
    /// When it was asked for.
    pub fn called(&self) -> Time {
        Time::from_nanos(self.at.as_nanos().saturating_sub(self.cost.as_nanos() as u64))
    }
}

/// A delay line could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two ends have the same interface index.
    #[error("interface {0} is the end of two links")]
    DuplicateInterface(u32),
    /// Two radios have the same link-layer address.
    #[error("radios {first} and {second} have the same link-layer address")]
    DuplicateAddress {
        /// The first radio.
        first: usize,
        /// The second radio.
        second: usize,
    },
    /// The `wire` namespace could not be entered.
    #[error("cannot enter the wire namespace")]
    Namespace(#[source] io::Error),
    /// A packet socket could not be opened.
    #[error("cannot {attempt} for the delay line")]
    Socket {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the delay line's thread")]
    Thread(#[source] io::Error),
}

impl From<TableError> for StartError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Interface(index) => StartError::DuplicateInterface(index),
            TableError::Address { first, second } => StartError::DuplicateAddress { first, second },
        }
    }
}

impl DelayLine {
    /// Opens packet sockets in `wire` and starts the thread.
    ///
    /// The thread runs under `SCHED_FIFO` when it may, else as any other: see [`DelayLine::realtime`].
    pub fn start(wire: &Namespace, spec: LineSpec) -> Result<DelayLine, StartError> {
        let table = Table::new(&spec)?;
        // The sockets keep the namespace where they were opened, so the real-time thread need not enter it.
        let sockets = wire
            .run(Sockets::open)
            .map_err(StartError::Namespace)?
            .map_err(|error| StartError::Socket { attempt: error.attempt, source: error.source })?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|source| StartError::Socket { attempt: "make an eventfd", source: source.into() })?;
        let wake = Arc::new(wake);
        let (commands, receiver) = channel();
        let (pipes, radios, access) = (spec.pipes.len(), spec.radios.len(), spec.access.len());
        let mut engine = Engine::new(sockets, table, &spec, receiver, Arc::clone(&wake));
        let (ready, is_realtime) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(THREAD.into())
            .spawn(move || {
                let realtime = kernel::become_realtime();
                // The receiver waits for exactly this; it cannot be gone.
                let _ = ready.send(realtime);
                engine.run();
            })
            .map_err(StartError::Thread)?;
        let realtime = is_realtime.recv().expect("the delay line's thread has started");
        if !realtime {
            tracing::warn!("the delay line may not use SCHED_FIFO: expect larger delay errors under load");
        }
        Ok(DelayLine { commands, wake, thread: Some(thread), realtime, pipes, radios, access })
    }

    /// Whether the thread runs under `SCHED_FIFO`.
    pub fn realtime(&self) -> bool {
        self.realtime
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> Counters {
        self.ask(|reply| Command::Counters { reply })
    }

    /// Attaches a radio to an access router's end, or to none; both are indexes into the [`LineSpec`].
    ///
    /// Frames that came in before are treated as the old attachment says: what is due is delivered, what is still on
    /// the air is dropped, in both directions. Attaching a radio where it already is changes nothing.
    ///
    /// # Panics
    /// When there is no such radio or access router.
    pub fn attach(&self, radio: usize, access: Option<usize>) -> Attachment {
        assert!(radio < self.radios, "radio {radio} of {}", self.radios);
        assert!(access.is_none_or(|access| access < self.access), "access {access:?} of {}", self.access);
        self.write(|reply| Command::Attach { radio, access, reply })
    }

    /// Attaches a radio to nothing: what it sends and what is sent to it is dropped.
    ///
    /// # Panics
    /// When there is no such radio.
    pub fn detach(&self, radio: usize) -> Attachment {
        self.attach(radio, None)
    }

    /// Drops what is on a pipe, in both directions: for a radio link whose far interface is moved elsewhere.
    ///
    /// # Panics
    /// When there is no such pipe.
    pub fn flush(&self, pipe: usize) -> Attachment {
        assert!(pipe < self.pipes, "pipe {pipe} of {}", self.pipes);
        self.write(|reply| Command::Flush { pipe, reply })
    }

    /// Changes what a pipe does to the frames that come in from now on.
    ///
    /// # Panics
    /// When there is no such pipe.
    pub fn set_quality(&self, pipe: usize, quality: [LinkQuality; 2]) {
        assert!(pipe < self.pipes, "pipe {pipe} of {}", self.pipes);
        self.set(LinkNumber::Pipe(pipe), quality);
    }

    /// Changes what a radio's link does to the frames that come in from now on: up, and down.
    ///
    /// # Panics
    /// When there is no such radio.
    pub fn set_radio_quality(&self, radio: usize, quality: [LinkQuality; 2]) {
        assert!(radio < self.radios, "radio {radio} of {}", self.radios);
        self.set(LinkNumber::Radio(radio), quality);
    }

    fn set(&self, link: LinkNumber, quality: [LinkQuality; 2]) {
        self.ask(|reply| Command::SetQuality { link, quality: Box::new(quality), reply });
    }

    fn write(&self, command: impl FnOnce(SyncSender<(Time, u64)>) -> Command) -> Attachment {
        let called = Time::from_nanos(monotonic_nanos());
        let (at, frames_dropped) = self.ask(command);
        Attachment { at, cost: at.since(called), frames_dropped }
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> T {
        let (reply, answer) = sync_channel(1);
        self.send(command(reply));
        answer.recv().expect("the delay line's thread is running")
    }

    fn send(&self, command: Command) {
        // Both fail only when the thread has panicked; who waits for an answer finds out.
        let _ = self.commands.send(command);
        let _ = self.wake.write(1);
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the delay line's thread has panicked");
        }
    }
}
