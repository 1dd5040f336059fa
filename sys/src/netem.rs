//! netem, the kernel's queueing discipline that delays, loses and paces packets, as option bytes.

use crate::namespace::Namespace;
use crate::netlink::{ApplyError, Batch, Netlink};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::libc;
use std::io;
use std::time::Duration;

/// What the egress of one interface does to packets. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Netem {
    /// Delay of every packet.
    pub delay: Duration,
    /// Uniform variation, plus or minus, of the delay.
    pub jitter: Duration,
    /// Probability of loss, 0.0 to 1.0.
    pub loss: f64,
    /// Bits per second; none is as fast as the machine.
    pub rate: Option<u64>,
    /// Packets held at most, those in flight included; 0 is the kernel's default of 1000.
    pub limit: u32,
    /// Seed of this qdisc's random numbers; Linux before 6.6 ignores it.
    pub seed: Option<u64>,
}

/// Whether this kernel has netem, tried on the `lo` of a throw-away namespace.
///
/// # Errors
/// The namespace could not be made, or netem was refused for another reason than its absence.
pub fn available() -> io::Result<bool> {
    let mut netlink = Netlink::open_in(&Namespace::create()?)?;
    let mut batch = Batch::default();
    batch.set_netem(LOOPBACK, &Netem::default());
    match netlink.apply(batch) {
        Ok(()) => Ok(true),
        Err(ApplyError::Refused { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(io::Error::other(error)),
    }
}

const LOOPBACK: u32 = 1;

// linux/pkt_sched.h and linux/rtnetlink.h
const TCA_OPTIONS: u16 = 2;
const TCA_NETEM_CORR: u16 = 1;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_PRNG_SEED: u16 = 14;
const DEFAULT_LIMIT: u32 = 1000;

impl Netem {
    /// The message that puts this at the root of an interface.
    pub(crate) fn message(&self, index: u32) -> TcMessage {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = TcHandle::ROOT;
        message.header.handle = TcHandle { major: 1, minor: 0 };
        message.attributes.push(TcAttribute::Kind("netem".into()));
        // `TcAttribute::Options` cannot carry the struct that leads netem's attributes.
        message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, self.options())));
        message
    }

    /// `struct tc_netem_qopt`, then attributes.
    ///
    /// CORR, REORDER, CORRUPT and RATE are always there: on replacement the kernel keeps the old value of an
    /// absent one.
    fn options(&self) -> Vec<u8> {
        let limit = if self.limit == 0 { DEFAULT_LIMIT } else { self.limit };
        let (gap, duplicate) = (0, 0);
        let mut out =
            words(&[ticks(self.delay), limit, probability(self.loss), gap, duplicate, ticks(self.jitter)]);
        attribute(&mut out, TCA_NETEM_CORR, &words(&[0, 0, 0]));
        attribute(&mut out, TCA_NETEM_REORDER, &words(&[0, 0]));
        attribute(&mut out, TCA_NETEM_CORRUPT, &words(&[0, 0]));
        // Exact nanoseconds, which override the ticks above (Linux 4.16).
        for (kind, time) in [(TCA_NETEM_LATENCY64, self.delay), (TCA_NETEM_JITTER64, self.jitter)] {
            if !time.is_zero() {
                attribute(&mut out, kind, &nanos(time).to_ne_bytes());
            }
        }
        if let Some(seed) = self.seed {
            attribute(&mut out, TCA_NETEM_PRNG_SEED, &seed.to_ne_bytes());
        }
        // The kernel counts bytes; zero is no limit.
        let bytes = self.rate.map_or(0, |bits| (bits / 8).max(1));
        let short = u32::try_from(bytes).unwrap_or(u32::MAX);
        if short == u32::MAX {
            attribute(&mut out, TCA_NETEM_RATE64, &bytes.to_ne_bytes());
        }
        // struct tc_netem_rate: rate, packet overhead, cell size, cell overhead
        attribute(&mut out, TCA_NETEM_RATE, &words(&[short, 0, 0, 0]));
        out
    }
}

/// The packet scheduler's ticks are 64 ns on every kernel since 2.6.31 (`PSCHED_SHIFT`).
fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_nanos() >> 6).unwrap_or(u32::MAX)
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// A probability as the kernel has it: a fraction of 2³² − 1.
fn probability(value: f64) -> u32 {
    (value.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u32
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// Appends one attribute; all payloads here are whole words, so none needs padding.
fn attribute(out: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    let length = 4 + payload.len() as u16;
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind and payload of each attribute after the leading struct.
    fn attributes(options: &[u8]) -> Vec<(u16, &[u8])> {
        let mut rest = &options[24..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
            found.push((u16::from_ne_bytes([rest[2], rest[3]]), &rest[4..length]));
            rest = &rest[length..];
        }
        found
    }

    /// The layout that tc itself read back from a kernel with netem.
    #[test]
    fn options_are_the_struct_and_then_attributes() {
        let netem = Netem {
            delay: Duration::from_millis(5),
            jitter: Duration::from_micros(64),
            loss: 0.5,
            rate: Some(1_000_000_000),
            limit: 2000,
            seed: Some(0x0102_0304_0506_0708),
        };
        let options = netem.options();
        // latency 5 ms / 64 ns, limit, loss, gap, duplicate, jitter 64 µs / 64 ns
        assert_eq!(options[..24], words(&[78125, 2000, 0x8000_0000, 0, 0, 1000]));
        assert_eq!(
            attributes(&options),
            [
                (1, &words(&[0, 0, 0])[..]),
                (3, &words(&[0, 0])),
                (4, &words(&[0, 0])),
                (10, &5_000_000i64.to_ne_bytes()),
                (11, &64_000i64.to_ne_bytes()),
                (14, &0x0102_0304_0506_0708u64.to_ne_bytes()),
                (6, &words(&[125_000_000, 0, 0, 0])),
            ]
        );
    }

    #[test]
    fn what_is_not_asked_for_is_reset_on_a_replacement() {
        let options = Netem::default().options();
        assert_eq!(options[..24], words(&[0, 1000, 0, 0, 0, 0]));
        let kinds: Vec<u16> = attributes(&options).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 3, 4, 6]);
        assert!(attributes(&options).iter().all(|(_, payload)| payload.iter().all(|byte| *byte == 0)));
    }

    #[test]
    fn a_rate_beyond_32_bits_has_its_own_attribute() {
        let options = Netem { rate: Some(100_000_000_000), ..Netem::default() }.options();
        let attributes = attributes(&options);
        assert!(attributes.contains(&(8, &12_500_000_000u64.to_ne_bytes())));
        assert!(attributes.contains(&(6, &words(&[u32::MAX, 0, 0, 0]))));
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(probability(1.0), u32::MAX);
        assert_eq!(probability(7.0), u32::MAX);
        assert_eq!(probability(-1.0), 0);
        assert_eq!(ticks(Duration::MAX), u32::MAX);
        assert_eq!(nanos(Duration::MAX), i64::MAX);
    }
}
