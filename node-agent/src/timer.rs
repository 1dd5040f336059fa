//! A timer that the runtime waits for, to the microsecond: tokio's own are late by a millisecond.

use crate::watch::watch;
use samp_model::Time;
use samp_sys::timer::TimerFd;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A deadline to wait for; set again only when it changes.
#[derive(Debug)]
pub struct Timer {
    timer: AsyncFd<TimerFd>,
    deadline: Option<Time>,
}

impl Timer {
    /// A timer without a deadline.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { timer: watch(TimerFd::new()?, Interest::READABLE)?, deadline: None })
    }

    /// Replaces the deadline.
    ///
    /// # Errors
    /// The kernel refuses the time.
    pub fn set(&mut self, deadline: Option<Time>) -> io::Result<()> {
        if self.deadline != deadline {
            self.timer.get_ref().set(deadline.map(Time::as_nanos))?;
            self.deadline = deadline;
        }
        Ok(())
    }

    /// Waits for the deadline, for ever without one.
    pub async fn expired(&self) -> io::Result<()> {
        self.timer.readable().await.map(drop)
    }

    /// After [`expired`](Self::expired): no deadline any more.
    ///
    /// # Errors
    /// The timer is broken.
    pub fn clear(&mut self) -> io::Result<()> {
        let drained = self.timer.try_io(Interest::READABLE, |timer| match timer.drain()? {
            true => Ok(()),
            // Set anew since the readiness was seen: say so, or it would be seen for ever.
            false => Err(io::ErrorKind::WouldBlock.into()),
        });
        match drained {
            Ok(()) => self.deadline = None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
