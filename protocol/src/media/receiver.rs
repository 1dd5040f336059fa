//! Statistics of one received RTP stream: loss by extended sequence number, silence, and whence it comes.

use super::rtp::Header;
use samp_model::Time;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// How far back a late packet is told from a duplicate: half the space of the sequence numbers.
const REORDER_WINDOW: u64 = 1 << 15;

/// What has been received of one stream.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// When the stream was first expected.
    expected_since: Time,
    latest: Option<Latest>,
    /// Extended sequence numbers that are missing, as far back as [`REORDER_WINDOW`].
    missing: BTreeSet<u64>,
    lost: u64,
    received: u64,
    duplicates: u64,
    longest_silence: Duration,
}

/// Where the stream stands.
#[derive(Debug)]
struct Latest {
    /// Highest extended sequence number (RFC 3550 §6.4.1); starts one cycle up, so that a packet before the
    /// first one has a number too.
    sequence: u64,
    /// RTP timestamp that came with it.
    timestamp: u32,
    /// Instant of the last packet, of whatever sequence number.
    arrival: Time,
    /// Source and destination address of the newest packet, and the sender's mark; `None` asks the next one to be
    /// announced.
    pair: Option<Pair>,
}

/// Source and destination address, and what else tells places apart.
type Pair = (IpAddr, IpAddr, Option<u8>);

/// A packet that is the first of its stream between its pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Time since the previous packet of the stream; zero for the first one.
    pub silence: Duration,
    /// Sequence numbers missing just before it.
    pub lost: u64,
}

impl Receiver {
    /// A stream that is expected from `now` on.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            expected_since: now,
            latest: None,
            missing: BTreeSet::new(),
            lost: 0,
            received: 0,
            duplicates: 0,
            longest_silence: Duration::ZERO,
        }
    }

    /// Distinct packets received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Packets missing between the first and the newest one.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Packets received more than once.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The longest time without a packet, the one that lasts at `now` included.
    pub(crate) fn longest_silence(&self, now: Time) -> Duration {
        let since = self.latest.as_ref().map_or(self.expected_since, |latest| latest.arrival);
        self.longest_silence.max(now - since)
    }

    /// This node has moved: the next packet is announced even if its addresses were seen before.
    pub(crate) fn forget_pair(&mut self) {
        if let Some(latest) = &mut self.latest {
            latest.pair = None;
        }
    }

    /// Counts a packet; tells when it is the first between this `pair` of source and destination.
    ///
    /// A late packet, overtaken by a newer one, never changes the pair.
    pub(crate) fn handle_packet(&mut self, now: Time, header: &Header, pair: Pair) -> Option<Arrival> {
        let Some(latest) = &mut self.latest else {
            self.received = 1;
            self.latest = Some(Latest {
                sequence: (1 << 16) + u64::from(header.sequence),
                timestamp: header.timestamp,
                arrival: now,
                pair: Some(pair),
            });
            return Some(Arrival { silence: Duration::ZERO, lost: 0 });
        };
        let silence = now - latest.arrival;
        self.longest_silence = self.longest_silence.max(silence);
        latest.arrival = now;

        let step = header.sequence.wrapping_sub(latest.sequence as u16);
        // The timestamp wraps after days only, so it tells an outage of more than 2^15 packets from reordering.
        let is_newer = match header.timestamp.wrapping_sub(latest.timestamp) as i32 {
            0 => (step as i16) > 0,
            ticks => ticks > 0 && step != 0,
        };
        if !is_newer {
            let sequence = latest.sequence - u64::from(step.wrapping_neg());
            if self.missing.remove(&sequence) {
                self.lost -= 1;
                self.received += 1;
            } else {
                self.duplicates += 1;
            }
            return None;
        }
        let gap = u64::from(step) - 1;
        self.missing.extend(latest.sequence + 1..=latest.sequence + gap);
        latest.sequence += u64::from(step);
        latest.timestamp = header.timestamp;
        if !self.missing.is_empty() {
            self.missing = self.missing.split_off(&latest.sequence.saturating_sub(REORDER_WINDOW));
        }
        self.lost += gap;
        self.received += 1;
        (latest.pair.replace(pair) != Some(pair)).then_some(Arrival { silence, lost: gap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));
    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2));
    const MOVED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 3, 0, 2));

    fn at_ms(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    /// A stream of 20 ms packets, fed by packet number; the first sequence number is a field.
    struct Stream {
        receiver: Receiver,
        first: u16,
    }

    impl Stream {
        fn starting_at(first: u16) -> Self {
            Self { receiver: Receiver::new(at_ms(0)), first }
        }

        fn packet(&mut self, number: u64, ms: u64, (from, to): (IpAddr, IpAddr)) -> Option<Arrival> {
            let header = Header {
                payload_type: 0,
                sequence: self.first.wrapping_add(number as u16),
                timestamp: (number as u32).wrapping_mul(160),
                ssrc: 1,
            };
            self.receiver.handle_packet(at_ms(ms), &header, (from, to, None))
        }

        fn counts(&self) -> (u64, u64, u64) {
            (self.receiver.received(), self.receiver.lost(), self.receiver.duplicates())
        }
    }

    fn arrival(silence_ms: u64, lost: u64) -> Option<Arrival> {
        Some(Arrival { silence: Duration::from_millis(silence_ms), lost })
    }

    #[test]
    fn the_first_packet_has_neither_silence_nor_loss() {
        let mut stream = Stream::starting_at(500);
        assert_eq!(stream.packet(0, 70, (PEER, OWN)), arrival(0, 0));
        assert_eq!(stream.packet(1, 90, (PEER, OWN)), None);
        assert_eq!(stream.counts(), (2, 0, 0));
        assert_eq!(stream.receiver.longest_silence(at_ms(90)), Duration::from_millis(20));
    }

    #[test]
    fn a_new_pair_tells_silence_and_loss_just_before_it() {
        let mut stream = Stream::starting_at(0);
        stream.packet(0, 0, (PEER, OWN));
        stream.packet(2, 40, (PEER, OWN));
        assert_eq!(stream.packet(7, 140, (PEER, MOVED)), arrival(100, 4));
        assert_eq!(stream.packet(8, 160, (MOVED, MOVED)), arrival(20, 0));
        assert_eq!(stream.counts(), (4, 5, 0));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut stream = Stream::starting_at(u16::MAX - 1);
        for number in 0..4 {
            stream.packet(number, number * 20, (PEER, OWN));
        }
        assert_eq!(stream.counts(), (4, 0, 0));
        assert_eq!(stream.packet(6, 120, (PEER, MOVED)), arrival(60, 2));

        let mut lossy = Stream::starting_at(u16::MAX);
        lossy.packet(0, 0, (PEER, OWN));
        assert_eq!(lossy.packet(3, 60, (PEER, MOVED)), arrival(60, 2), "the gap spans the wrap");
    }

    #[test]
    fn late_packets_are_found_again_and_duplicates_are_not_packets() {
        let mut stream = Stream::starting_at(u16::MAX);
        stream.packet(0, 0, (PEER, OWN));
        stream.packet(3, 60, (PEER, OWN));
        assert_eq!(stream.counts(), (2, 2, 0));
        assert_eq!(stream.packet(1, 61, (PEER, OWN)), None);
        assert_eq!(stream.counts(), (3, 1, 0));
        stream.packet(1, 62, (PEER, OWN));
        stream.packet(3, 63, (PEER, OWN));
        assert_eq!(stream.counts(), (3, 1, 2));
        stream.packet(4, 80, (PEER, OWN));
        assert_eq!(stream.counts(), (4, 1, 2));
    }

    #[test]
    fn a_packet_before_the_first_one_is_not_a_loss() {
        let mut stream = Stream::starting_at(0);
        stream.packet(1, 0, (PEER, OWN));
        stream.packet(0, 1, (PEER, OWN));
        assert_eq!(stream.counts(), (1, 0, 1));
    }

    #[test]
    fn a_late_packet_from_the_old_address_is_no_move_back() {
        let mut stream = Stream::starting_at(0);
        stream.packet(0, 0, (PEER, OWN));
        assert_eq!(stream.packet(2, 30, (MOVED, OWN)), arrival(30, 1));
        assert_eq!(stream.packet(1, 35, (PEER, OWN)), None);
        assert_eq!(stream.packet(3, 50, (MOVED, OWN)), None);
        assert_eq!(stream.counts(), (4, 0, 0));
    }

    #[test]
    fn a_return_to_an_address_is_announced_again() {
        let mut stream = Stream::starting_at(0);
        stream.packet(0, 0, (PEER, OWN));
        stream.packet(1, 20, (PEER, MOVED));
        assert_eq!(stream.packet(2, 40, (PEER, OWN)), arrival(20, 0));
        stream.receiver.forget_pair();
        assert_eq!(stream.packet(5, 100, (PEER, OWN)), arrival(60, 2));
        assert_eq!(stream.packet(6, 120, (PEER, OWN)), None);
    }

    #[test]
    fn an_outage_of_more_than_half_the_sequence_space_is_loss_and_not_reordering() {
        let mut stream = Stream::starting_at(0);
        stream.packet(0, 0, (PEER, OWN));
        assert_eq!(stream.packet(40_000, 800_000, (PEER, MOVED)), arrival(800_000, 39_999));
        stream.packet(40_001, 800_020, (PEER, MOVED));
        assert_eq!(stream.counts(), (3, 39_999, 0));
        assert!(stream.receiver.missing.len() <= REORDER_WINDOW as usize);
    }

    #[test]
    fn the_longest_silence_includes_the_one_that_lasts() {
        let mut stream = Stream::starting_at(0);
        assert_eq!(stream.receiver.longest_silence(at_ms(30)), Duration::from_millis(30), "never a packet");
        stream.packet(0, 30, (PEER, OWN));
        stream.packet(1, 80, (PEER, OWN));
        stream.packet(2, 90, (PEER, OWN));
        assert_eq!(stream.receiver.longest_silence(at_ms(100)), Duration::from_millis(50));
        assert_eq!(stream.receiver.longest_silence(at_ms(190)), Duration::from_millis(100));
    }
}
