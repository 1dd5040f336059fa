//! One deadline on the monotonic clock, as a descriptor to wait for.

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, ClockId, Expiration, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A `CLOCK_MONOTONIC` timer; its descriptor is readable from the deadline until [`TimerFd::drain`].
#[derive(Debug)]
pub struct TimerFd(timerfd::TimerFd);

impl TimerFd {
    /// A timer with no deadline.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(timerfd::TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Replaces the deadline: nanoseconds of [`monotonic_nanos`](crate::clock::monotonic_nanos), or none.
    /// A deadline in the past fires at once.
    ///
    /// # Errors
    /// The kernel refuses the time: it is beyond the clock's range.
    pub fn set(&self, deadline: Option<u64>) -> io::Result<()> {
        let Some(nanos) = deadline else {
            return Ok(self.0.unset()?);
        };
        // All zero would disarm the timer.
        let nanos = nanos.max(1);
        let at = TimeSpec::new((nanos / 1_000_000_000) as _, (nanos % 1_000_000_000) as _);
        Ok(self.0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Makes the descriptor unreadable again; true when the deadline had passed.
    ///
    /// # Errors
    /// Only for reasons that `read(2)` gives besides `EAGAIN`.
    pub fn drain(&self) -> io::Result<bool> {
        match self.0.wait() {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic_nanos;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn readable_within(timer: &TimerFd, millis: u16) -> bool {
        poll(&mut [PollFd::new(timer.as_fd(), PollFlags::POLLIN)], PollTimeout::from(millis)).unwrap() == 1
    }

    #[test]
    fn fires_at_its_deadline_and_not_before() {
        let timer = TimerFd::new().unwrap();
        let deadline = monotonic_nanos() + 20_000_000;
        timer.set(Some(deadline)).unwrap();
        assert!(!timer.drain().unwrap());
        assert!(readable_within(&timer, 5000));
        assert!(monotonic_nanos() >= deadline);
        assert!(timer.drain().unwrap());
        assert!(!timer.drain().unwrap());
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once() {
        let timer = TimerFd::new().unwrap();
        for past in [0, 1, monotonic_nanos()] {
            timer.set(Some(past)).unwrap();
            assert!(readable_within(&timer, 5000), "deadline {past}");
            assert!(timer.drain().unwrap());
        }
    }

    #[test]
    fn no_deadline_never_fires() {
        let timer = TimerFd::new().unwrap();
        timer.set(Some(monotonic_nanos() + 1_000_000)).unwrap();
        timer.set(None).unwrap();
        assert!(!readable_within(&timer, 20));
    }
}
