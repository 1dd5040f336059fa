//! One sent RTP stream: its absolute schedule, and the header of each packet.

use super::rtp::{CLOCK_RATE, Header, PCMU};
use samp_model::Time;
use std::time::Duration;

/// The random choices of a stream (RFC 3550 §5.1 asks for unpredictable first values).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Delay of the first packet; streams that start together must not send in step.
    pub phase: Duration,
    /// First sequence number.
    pub sequence: u16,
    /// First timestamp.
    pub timestamp: u32,
}

/// A stream with a packet every interval, counted from its first packet: lateness never adds up.
#[derive(Debug)]
pub(crate) struct Sender {
    ssrc: u32,
    interval: Duration,
    origin: Origin,
    first: Time,
    /// Interval in which the next packet is due.
    slot: u64,
    sent: u64,
    skipped: u64,
}

impl Sender {
    /// A stream that begins at `now`. The interval must not be zero.
    pub(crate) fn new(now: Time, interval: Duration, ssrc: u32, origin: Origin) -> Self {
        Self { ssrc, interval, origin, first: now + origin.phase, slot: 0, sent: 0, skipped: 0 }
    }

    /// Instant of the next packet.
    pub(crate) fn next_due(&self) -> Time {
        self.first + self.offset(self.slot)
    }

    /// Packets made so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Packets never made, because the process came too late for them.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Header of the packet that is due, if one is.
    ///
    /// Who comes more than an interval late gets one packet: the slots before it are skipped, in the timestamp
    /// but not in the sequence numbers, as nothing was lost on the way.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Header> {
        if now < self.next_due() {
            return None;
        }
        let current = (now - self.first).as_nanos() / self.interval.as_nanos();
        let current = u64::try_from(current).unwrap_or(u64::MAX - 1);
        self.skipped += current - self.slot;
        // In ticks of whole nanoseconds of the schedule, so that intervals of odd length do not drift.
        let ticks = self.offset(current).as_nanos() * u128::from(CLOCK_RATE) / 1_000_000_000;
        let header = Header {
            payload_type: PCMU,
            sequence: self.origin.sequence.wrapping_add(self.sent as u16),
            timestamp: self.origin.timestamp.wrapping_add(ticks as u32),
            ssrc: self.ssrc,
        };
        self.slot = current + 1;
        self.sent += 1;
        Some(header)
    }

    fn offset(&self, slot: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(slot));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(20);

    fn at_us(us: u64) -> Time {
        Time::from_nanos(us * 1000)
    }

    fn sender() -> Sender {
        let origin =
            Origin { phase: Duration::from_millis(7), sequence: u16::MAX, timestamp: u32::MAX - 159 };
        Sender::new(at_us(1000), INTERVAL, 42, origin)
    }

    #[test]
    fn the_schedule_is_absolute() {
        let mut sender = sender();
        assert_eq!(sender.next_due(), at_us(8000));
        assert_eq!(sender.take_due(at_us(7999)), None);
        assert!(sender.take_due(at_us(9500)).is_some());
        assert_eq!(sender.take_due(at_us(9500)), None, "one packet a slot");
        assert_eq!(sender.next_due(), at_us(28_000), "lateness does not add up");
    }

    #[test]
    fn sequence_and_timestamp_advance_and_wrap() {
        let mut sender = sender();
        let headers: Vec<_> =
            (0..3).map(|n| sender.take_due(at_us(8000 + n * 20_000)).expect("due")).collect();
        assert_eq!(headers.iter().map(|h| h.sequence).collect::<Vec<_>>(), [u16::MAX, 0, 1]);
        assert_eq!(headers.iter().map(|h| h.timestamp).collect::<Vec<_>>(), [u32::MAX - 159, 0, 160]);
        assert!(headers.iter().all(|h| h.ssrc == 42 && h.payload_type == 0));
    }

    #[test]
    fn who_comes_late_skips_slots_but_no_sequence_numbers() {
        let mut sender = sender();
        let first = sender.take_due(at_us(8000)).expect("due");
        let late = sender.take_due(at_us(8000 + 75_000)).expect("due");
        assert_eq!(late.sequence, first.sequence.wrapping_add(1));
        assert_eq!(late.timestamp, first.timestamp.wrapping_add(3 * 160));
        assert_eq!((sender.sent(), sender.skipped()), (2, 2));
        assert_eq!(sender.next_due(), at_us(8000 + 80_000));
    }
}
