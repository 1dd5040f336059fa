//! Ctrl-C, SIGTERM and SIGHUP during a run.

use crate::client::Interrupter;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

/// Catches the signals that ask a process to end, for as long as the process lives.
#[derive(Debug)]
pub struct Interrupt {
    reaction: Arc<Mutex<Reaction>>,
}

#[derive(Debug)]
enum Reaction {
    /// Ends the process with this code: a lab that is coming up notices and ends, too.
    Exit(i32),
    /// Ends what is waited for, so that the run can be ended in order.
    Interrupt(Interrupter),
}

impl Interrupt {
    /// From now on a signal ends the process with `code`, until [`Interrupt::pass_to`].
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn catch(code: i32) -> io::Result<Self> {
        let reaction = Arc::new(Mutex::new(Reaction::Exit(code)));
        let shared = Arc::clone(&reaction);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let mut ends = signal(SignalKind::terminate())?;
        let mut hangs_up = signal(SignalKind::hangup())?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        drop(entered);
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupts.recv() => {}
                        _ = ends.recv() => {}
                        _ = hangs_up.recv() => {}
                    }
                    // The reaction stays the same until it is done, so that a run cannot begin meanwhile.
                    let reaction = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    match &*reaction {
                        Reaction::Exit(code) => std::process::exit(*code),
                        Reaction::Interrupt(interrupter) => interrupter.interrupt(),
                    }
                }
            });
        });
        Ok(Self { reaction })
    }

    /// From now on a signal ends the watch.
    pub fn pass_to(&self, interrupter: Interrupter) {
        *self.reaction.lock().unwrap_or_else(PoisonError::into_inner) = Reaction::Interrupt(interrupter);
    }
}
