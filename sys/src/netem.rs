//! netem, the kernel's queueing discipline that delays, loses and paces packets, as option bytes.

use crate::namespace::Namespace;
use crate::netlink::{ApplyError, Batch, Netlink};
use netlink_packet_core::{DefaultNla, NlasIterator};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::libc;
use std::io;
use std::time::Duration;

/// What the egress of one interface does to packets. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Netem {
    /// Delay of every packet.
    pub delay: Duration,
    /// The unit of the delay's deviations.
    pub jitter: Duration,
    /// Equally likely deviations from the delay, in 8192nds of `jitter`; at most 16,384, an even number. With none the
    /// kernel keeps those that it had, and at first spreads evenly, up to `jitter` either way.
    pub deviations: Vec<i16>,
    /// Which packets are lost.
    pub loss: NetemLoss,
    /// Probability that a packet comes twice, 0.0 to 1.0.
    pub duplicate: f64,
    /// Probability that a packet is sent at once, before those that wait, 0.0 to 1.0.
    pub reorder: f64,
    /// Bits per second; none is as fast as the machine.
    pub rate: Option<u64>,
    /// Packets held at most, those in flight included; 0 is the kernel's default of 1000.
    pub limit: u32,
    /// Seed of this qdisc's random numbers; Linux before 6.6 ignores it.
    pub seed: Option<u64>,
}

/// Which packets netem loses; all are probabilities, 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NetemLoss {
    /// Each with this probability.
    Random(f64),
    /// Gilbert's and Elliott's two states (`loss gemodel` of tc).
    GilbertElliott {
        /// That the good state turns bad.
        p: f64,
        /// That the bad state turns good.
        r: f64,
        /// Of loss in the bad state.
        bad: f64,
        /// Of loss in the good state.
        good: f64,
    },
}

impl Default for NetemLoss {
    fn default() -> Self {
        NetemLoss::Random(0.0)
    }
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
pub(crate) const TCA_OPTIONS: u16 = 2;
const TCA_NETEM_CORR: u16 = 1;
const TCA_NETEM_DELAY_DIST: u16 = 2;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_LOSS: u16 = 5;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_PRNG_SEED: u16 = 14;
const NETEM_LOSS_GE: u16 = 2;
const DEFAULT_LIMIT: u32 = 1000;
/// Length of `struct tc_netem_qopt`.
const QOPT: usize = 24;
/// Bytes per second that no machine reaches. netem sends what has a rate in order, whatever its jitter.
const IN_ORDER: u64 = 1 << 50;

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
        let loss = match self.loss {
            NetemLoss::Random(share) => probability(share),
            NetemLoss::GilbertElliott { .. } => 0,
        };
        // Each packet may be reordered, as tc has it.
        let gap = u32::from(self.reorder > 0.0);
        let duplicate = probability(self.duplicate);
        let mut out = words(&[ticks(self.delay), limit, loss, gap, duplicate, ticks(self.jitter)]);
        attribute(&mut out, TCA_NETEM_CORR, &words(&[0, 0, 0]));
        // Before it the kernel has taken the gap for certainty.
        attribute(&mut out, TCA_NETEM_REORDER, &words(&[probability(self.reorder), 0]));
        attribute(&mut out, TCA_NETEM_CORRUPT, &words(&[0, 0]));
        // Exact nanoseconds, which override the ticks above (Linux 4.16).
        for (kind, time) in [(TCA_NETEM_LATENCY64, self.delay), (TCA_NETEM_JITTER64, self.jitter)] {
            if !time.is_zero() {
                attribute(&mut out, kind, &nanos(time).to_ne_bytes());
            }
        }
        if let NetemLoss::GilbertElliott { p, r, bad, good } = self.loss {
            // struct tc_netem_gemodel: p, r, h, k1
            let model = [p, r, 1.0 - bad, good].map(probability);
            let mut nested = Vec::new();
            attribute(&mut nested, NETEM_LOSS_GE, &words(&model));
            attribute(&mut out, TCA_NETEM_LOSS, &nested);
        }
        if !self.deviations.is_empty() {
            let table: Vec<_> = self.deviations.iter().flat_map(|entry| entry.to_ne_bytes()).collect();
            attribute(&mut out, TCA_NETEM_DELAY_DIST, &table);
        }
        if let Some(seed) = self.seed {
            attribute(&mut out, TCA_NETEM_PRNG_SEED, &seed.to_ne_bytes());
        }
        // The kernel counts bytes; zero is no limit.
        let no_rate = if self.jitter.is_zero() { 0 } else { IN_ORDER };
        let bytes = self.rate.map_or(no_rate, |bits| (bits / 8).max(1));
        let short = u32::try_from(bytes).unwrap_or(u32::MAX);
        if short == u32::MAX {
            attribute(&mut out, TCA_NETEM_RATE64, &bytes.to_ne_bytes());
        }
        // struct tc_netem_rate: rate, packet overhead, cell size, cell overhead
        attribute(&mut out, TCA_NETEM_RATE, &words(&[short, 0, 0, 0]));
        out
    }
}

/// What a kernel says of a qdisc, if it is another than `netem` asked for: the table of deviations it keeps to itself, and
/// before Linux 6.6 it has no seed.
pub(crate) fn difference(netem: &Netem, reported: &[u8]) -> Option<String> {
    let asked = netem.options();
    if reported.get(..QOPT) != asked.get(..QOPT) {
        return Some(format!("options {:?} instead of {:?}", reported.get(..QOPT), &asked[..QOPT]));
    }
    let found = attributes(&reported[QOPT..]);
    let is_kept = |kind| matches!(kind, TCA_NETEM_DELAY_DIST | TCA_NETEM_PRNG_SEED);
    let missing = attributes(&asked[QOPT..]).into_iter().find(|it| !is_kept(it.0) && !found.contains(it));
    missing.map(|(kind, payload)| format!("attribute {kind} is not {payload:?}"))
}

/// Kind and payload of each attribute.
fn attributes(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let attributes = NlasIterator::new(bytes).flatten();
    attributes.map(|attribute| (attribute.kind(), attribute.value().to_vec())).collect()
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

    /// The layout that tc itself read back from a kernel with netem.
    #[test]
    fn options_are_the_struct_and_then_attributes() {
        let netem = Netem {
            delay: Duration::from_millis(5),
            jitter: Duration::from_micros(64),
            loss: NetemLoss::Random(0.5),
            duplicate: 0.25,
            reorder: 0.75,
            deviations: vec![-8192, 8192],
            rate: Some(1_000_000_000),
            limit: 2000,
            seed: Some(0x0102_0304_0506_0708),
        };
        let options = netem.options();
        // latency 5 ms / 64 ns, limit, loss, gap, duplicate, jitter 64 µs / 64 ns
        assert_eq!(options[..24], words(&[78125, 2000, 0x8000_0000, 1, 0x4000_0000, 1000]));
        assert_eq!(
            attributes(&options[QOPT..]),
            [
                (1, words(&[0, 0, 0])),
                (3, words(&[0xbfff_ffff, 0])),
                (4, words(&[0, 0])),
                (10, 5_000_000i64.to_ne_bytes().to_vec()),
                (11, 64_000i64.to_ne_bytes().to_vec()),
                (2, [-8192i16, 8192].map(i16::to_ne_bytes).concat()),
                (14, 0x0102_0304_0506_0708u64.to_ne_bytes().to_vec()),
                (6, words(&[125_000_000, 0, 0, 0])),
            ]
        );
    }

    #[test]
    fn bursts_are_nested() {
        let loss = NetemLoss::GilbertElliott { p: 0.5, r: 1.0, bad: 1.0, good: 0.0 };
        let options = Netem { loss, ..Netem::default() }.options();
        assert_eq!(options[..QOPT], words(&[0, 1000, 0, 0, 0, 0]));
        let nested = attributes(&options[QOPT..]).into_iter().find(|(kind, _)| *kind == 5).unwrap().1;
        assert_eq!(attributes(&nested), [(2, words(&[0x8000_0000, u32::MAX, 0, 0]))]);
    }

    #[test]
    fn jitter_has_a_rate_that_keeps_the_order() {
        let options = Netem { jitter: Duration::from_millis(1), ..Netem::default() }.options();
        assert!(attributes(&options[QOPT..]).contains(&(8, IN_ORDER.to_ne_bytes().to_vec())));
    }

    #[test]
    fn what_a_kernel_made_of_it_is_compared() {
        let netem =
            Netem { delay: Duration::from_millis(5), reorder: 0.5, seed: Some(1), ..Netem::default() };
        assert_eq!(difference(&netem, &netem.options()), None);
        let unseeded = Netem { seed: None, deviations: vec![0, 0], ..netem.clone() };
        assert_eq!(difference(&unseeded, &netem.options()), None);
        for other in [
            Netem { delay: Duration::from_millis(6), ..netem.clone() },
            Netem { reorder: 0.4, ..netem.clone() },
            Netem {
                loss: NetemLoss::GilbertElliott { p: 0.5, r: 1.0, bad: 1.0, good: 0.0 },
                ..netem.clone()
            },
        ] {
            assert!(difference(&other, &netem.options()).is_some(), "{other:?}");
        }
        assert!(difference(&netem, &[]).is_some());
    }

    #[test]
    fn what_is_not_asked_for_is_reset_on_a_replacement() {
        let options = Netem::default().options();
        assert_eq!(options[..24], words(&[0, 1000, 0, 0, 0, 0]));
        let kinds: Vec<u16> = attributes(&options[QOPT..]).iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 3, 4, 6]);
        assert!(
            attributes(&options[QOPT..]).iter().all(|(_, payload)| payload.iter().all(|byte| *byte == 0))
        );
    }

    #[test]
    fn a_rate_beyond_32_bits_has_its_own_attribute() {
        let options = Netem { rate: Some(100_000_000_000), ..Netem::default() }.options();
        let attributes = attributes(&options[QOPT..]);
        assert!(attributes.contains(&(8, 12_500_000_000u64.to_ne_bytes().to_vec())));
        assert!(attributes.contains(&(6, words(&[u32::MAX, 0, 0, 0]))));
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
