//! How late the frames that were sent lately were, so that lateness does not add up over hops.
//!
//! A frame that is sent too late comes in at the next link too late by as much, once a router has passed it on. It is
//! known again by what routers leave as it is, and by a TTL that is less by one; then its lateness is taken off its
//! arrival. What the router itself needed stays: that is time that the frame was not on a link.

use crate::kernel::{ETHERNET_HEADER, VNET_HEADER};

/// Frames that are remembered; a newer one takes the place of an older.
const SLOTS: usize = 1 << 14;

/// Nanoseconds after which a frame that comes in is no longer held for one that was passed on.
const MEMORY: u64 = 10_000_000;

/// Bytes of a packet that it is known by: the headers and the beginning of the content.
const KNOWN_BY: usize = 64;

/// The frames sent lately.
#[derive(Debug)]
pub(crate) struct Trail {
    slots: Box<[Sent]>,
}

/// A frame that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    print: u64,
    /// When, in nanoseconds.
    at: u64,
    /// How much too late.
    late: u64,
    ttl: u8,
}

impl Trail {
    /// Of no frame yet.
    pub(crate) fn new() -> Self {
        Trail { slots: vec![Sent::default(); SLOTS].into() }
    }

    /// Remembers that a frame was sent at `at`, and how much too late that was.
    pub(crate) fn sent(&mut self, frame: &[u8], at: u64, late: u64) {
        let (print, ttl) = print(frame);
        self.slots[slot(print)] = Sent { print, at, late, ttl };
    }

    /// How much too late a frame that came in at `arrival` had been sent; nothing for one that no router has passed on.
    pub(crate) fn lateness(&self, frame: &[u8], arrival: u64) -> u64 {
        let (print, ttl) = print(frame);
        let sent = self.slots[slot(print)];
        let is_it = sent.print == print
            && sent.ttl.checked_sub(1) == Some(ttl)
            && (sent.at..sent.at + MEMORY).contains(&arrival);
        if is_it { sent.late } else { 0 }
    }
}

fn slot(print: u64) -> usize {
    (print >> 32) as usize % SLOTS
}

/// What a packet is known by, and its TTL. Left out is what routers change: the TTL and the header checksum of IPv4, the
/// hop limit of IPv6.
fn print(frame: &[u8]) -> (u64, u8) {
    // The multiplier of FxHash (Firefox, rustc).
    const SPREAD: u64 = 0xf135_7aea_2e62_a9c5;
    let packet = frame.get(VNET_HEADER + ETHERNET_HEADER..).unwrap_or_default();
    let version = packet.first().map_or(0, |byte| byte >> 4);
    let (mut print, mut ttl) = (frame.len() as u64, 0);
    for (number, bytes) in packet[..packet.len().min(KNOWN_BY)].chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        match (version, number) {
            (4, 1) => {
                ttl = word[0];
                [word[0], word[2], word[3]] = [0; 3];
            }
            (6, 0) => ttl = std::mem::take(&mut word[7]),
            _ => {}
        }
        print = (print.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(SPREAD);
    }
    (print, ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this IP version, TTL or hop limit, and content.
    fn frame(version: u8, ttl: u8, content: u8) -> Vec<u8> {
        let mut frame = vec![0; VNET_HEADER + ETHERNET_HEADER + 60];
        let packet = &mut frame[VNET_HEADER + ETHERNET_HEADER..];
        packet[0] = version << 4;
        packet[if version == 4 { 8 } else { 7 }] = ttl;
        if version == 4 {
            packet[10..12].fill(ttl ^ 0xff);
        }
        packet[50] = content;
        frame
    }

    #[test]
    fn a_frame_that_was_passed_on_is_known_again() {
        let mut trail = Trail::new();
        for version in [4, 6] {
            let mut sent = frame(version, 64, 1);
            trail.sent(&sent, 1000, 70);
            assert_eq!(trail.lateness(&frame(version, 63, 1), 1500), 70);
            // One of equal content that begins elsewhere.
            assert_eq!(trail.lateness(&sent, 1500), 0);
            sent = frame(version, 63, 1);
            sent[VNET_HEADER..VNET_HEADER + 12].fill(9);
            assert_eq!(trail.lateness(&sent, 1500), 70, "between other neighbours");
        }
    }

    #[test]
    fn another_frame_is_another_one() {
        let mut trail = Trail::new();
        trail.sent(&frame(4, 64, 1), 1000, 70);
        assert_eq!(trail.lateness(&frame(4, 63, 2), 1500), 0);
        assert_eq!(trail.lateness(&frame(6, 63, 1), 1500), 0);
        let mut longer = frame(4, 63, 1);
        longer.push(0);
        assert_eq!(trail.lateness(&longer, 1500), 0);
        assert_eq!(trail.lateness(&frame(4, 63, 1), 999), 0, "before it was sent");
        assert_eq!(trail.lateness(&frame(4, 63, 1), 1000 + MEMORY), 0, "much later");
    }

    #[test]
    fn strange_frames_do_no_harm() {
        let mut trail = Trail::new();
        for length in 0..120 {
            let frame = vec![0x45; length];
            trail.sent(&frame, 10, 5);
            assert_eq!(trail.lateness(&frame, 11), 0);
        }
    }
}
