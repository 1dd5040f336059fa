//! Ctrl-C, SIGTERM and SIGHUP during a run.

use crate::client::Interrupter;
use nix::sys::signal::Signal;
use std::fmt;
use std::fs;
use std::io::{self, PipeWriter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::signal::unix::{self, SignalKind, signal};

/// Catches the signals that ask a process to end, for as long as the process lives.
pub struct Interrupt {
    code: i32,
    reaction: Arc<Mutex<Reaction>>,
    /// Whether there was a signal.
    received: Arc<AtomicBool>,
}

enum Reaction {
    /// Ends the process with this code.
    Exit(i32),
    /// Does this first.
    ExitAfter(i32, Box<dyn FnOnce() + Send>),
    /// Ends what is waited for, so that the run can be ended in order.
    Interrupt(Interrupter),
    /// Closes this, so that who reads the other end comes to an end; the next signal ends the process with this code.
    Close(i32, PipeWriter),
    /// None: what was to be done is done.
    Nothing,
}

impl Interrupt {
    /// From now on a signal ends the process with `code`, until [`Interrupt::pass_to`].
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn catch(code: i32) -> io::Result<Self> {
        let reaction = Arc::new(Mutex::new(Reaction::Exit(code)));
        let received_any = Arc::new(AtomicBool::new(false));
        let (shared, flag) = (Arc::clone(&reaction), Arc::clone(&received_any));
        let runtime = samp_node::start_runtime()?;
        let entered = runtime.enter();
        let mut ends = signal(SignalKind::terminate())?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        // Under nohup(1) the end of the terminal's session is not to be noticed.
        let mut hangs_up = match is_ignored(Signal::SIGHUP)? {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        drop(entered);
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupts.recv() => {}
                        _ = ends.recv() => {}
                        _ = received(&mut hangs_up) => {}
                    }
                    flag.store(true, Ordering::Relaxed);
                    // The reaction stays the same until it is done, so that a run cannot begin meanwhile.
                    let mut reaction = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    *reaction = match std::mem::replace(&mut *reaction, Reaction::Nothing) {
                        Reaction::Exit(code) => std::process::exit(code),
                        Reaction::ExitAfter(code, first) => {
                            first();
                            std::process::exit(code);
                        }
                        Reaction::Interrupt(interrupter) => {
                            interrupter.interrupt();
                            Reaction::Interrupt(interrupter)
                        }
                        Reaction::Close(code, end) => {
                            drop(end);
                            Reaction::Exit(code)
                        }
                        Reaction::Nothing => Reaction::Nothing,
                    };
                }
            });
        })?;
        Ok(Self { code, reaction, received: received_any })
    }

    /// Whether there was a signal, whatever it did.
    pub fn was_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// From now on a signal ends the process.
    pub fn rest(&self) {
        self.set(Reaction::Exit(self.code));
    }

    /// Makes something that a signal has to undo before the process ends, from now on: `make` says how. A signal that comes
    /// meanwhile waits; when `make` fails, there is nothing to undo.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn make<T, E, U>(&self, make: impl FnOnce() -> Result<(T, U), E>) -> Result<T, E>
    where
        U: FnOnce() + Send + 'static,
    {
        let mut reaction = self.reaction();
        let (made, undo) = make()?;
        *reaction = Reaction::ExitAfter(self.code, Box::new(undo));
        Ok(made)
    }

    /// From now on a signal has no effect. When one is being reacted to, this does not return.
    pub fn disarm(&self) {
        self.set(Reaction::Nothing);
    }

    /// From now on a signal ends the watch.
    pub fn pass_to(&self, interrupter: Interrupter) {
        self.set(Reaction::Interrupt(interrupter));
    }

    /// From now on a signal closes `end`; the next one ends the process.
    pub fn close(&self, end: PipeWriter) {
        self.set(Reaction::Close(self.code, end));
    }

    fn set(&self, reaction: Reaction) {
        *self.reaction() = reaction;
    }

    fn reaction(&self) -> MutexGuard<'_, Reaction> {
        self.reaction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}

async fn received(signal: &mut Option<unix::Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether whoever started this process wants it to ignore a signal (proc_pid_status(5)).
fn is_ignored(signal: Signal) -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    Ok(ignored & (1 << (signal as u32 - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        // Rust programs ignore SIGPIPE from the start; nothing ignores SIGWINCH.
        assert!(is_ignored(Signal::SIGPIPE).unwrap());
        assert!(!is_ignored(Signal::SIGWINCH).unwrap());
    }
}
