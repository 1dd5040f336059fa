//! A timer that the runtime waits for, to the microsecond: tokio's own are late by a millisecond.

use crate::watch::watch;
use samp_model::Time;
use samp_sys::timer::TimerFd;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A deadline to wait for; the kernel is told only when it changes.
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

    /// Waits for the deadline, for ever without one. Nothing is lost when it is dropped before.
    ///
    /// # Errors
    /// The kernel refuses the time, or the timer is broken.
    pub async fn until(&mut self, deadline: Option<Time>) -> io::Result<()> {
        if self.deadline != deadline {
            self.timer.get_ref().set(deadline.map(Time::as_nanos))?;
            self.deadline = deadline;
        }
        self.timer
            .async_io(Interest::READABLE, |timer| match timer.drain()? {
                true => Ok(()),
                // What was seen was an earlier deadline's: say so, or it would be seen for ever.
                false => Err(io::ErrorKind::WouldBlock.into()),
            })
            .await?;
        self.deadline = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn now() -> Time {
        Time::from_nanos(samp_sys::clock::monotonic_nanos())
    }

    #[test]
    fn a_deadline_that_was_replaced_does_not_count() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let mut timer = Timer::new().expect("a timer");
            tokio::select! {
                biased;
                _ = timer.until(Some(now() + Duration::from_secs(3600))) => panic!("an hour is not over"),
                () = std::future::ready(()) => {}
            }
            // One that passes while nobody waits.
            timer.timer.get_ref().set(Some(1)).expect("set");
            let readable = &mut [PollFd::new(timer.timer.get_ref().as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(readable, PollTimeout::NONE), Ok(1));
            let later = now() + Duration::from_millis(20);
            timer.until(Some(later)).await.expect("it works");
            assert!(now() >= later);
            timer.until(Some(later)).await.expect("the same deadline again is over at once");
        });
    }
}
