//! Link qualities as netem has them.

use crate::plan::{NamespacePlan, NetemPlan};
use samp_model::topology::{Distribution, LinkQuality, Loss};
use samp_sys::netem::{Netem, NetemLoss};
use samp_sys::netlink::{ApplyError, Batch, Netlink};
use std::io;

/// Where nothing waits, the limit only bounds memory.
const NO_QUEUE: u32 = 1_000_000;
/// Bits of a full Ethernet frame.
const FRAME_BITS: u64 = 1514 * 8;
/// Deviations in a table, of which the kernel picks one for each packet.
const DEVIATIONS: u32 = 4096;
/// One unit of jitter in the table.
const UNIT: f64 = 8192.0;

/// Why links are not as the plan has them.
#[derive(Debug, thiserror::Error)]
pub enum NetemError {
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] ApplyError),
    /// It cannot say what it does.
    #[error("cannot read the queueing disciplines")]
    Unreadable(#[source] io::Error),
    /// It does something else.
    #[error("the kernel does not do what it was asked for: {0}")]
    Differs(String),
}

/// Makes the links of a namespace what its plan says, and reads back what the kernel made of it.
pub(super) fn emulate(plan: &NamespacePlan, netlink: &mut Netlink) -> Result<(), NetemError> {
    let wanted =
        plan.interfaces.iter().filter_map(|interface| Some((interface.index, interface.netem.as_ref()?)));
    set(netlink, wanted.map(|(index, netem)| (index, settings(netem))).collect())
}

/// Makes links of a namespace so, and reads back what the kernel made of it.
pub(super) fn set(netlink: &mut Netlink, wanted: Vec<(u32, Netem)>) -> Result<(), NetemError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    for (index, netem) in &wanted {
        batch.set_netem(*index, netem);
    }
    netlink.apply(batch)?;
    match netlink.netem_difference(&wanted).map_err(NetemError::Unreadable)? {
        Some(difference) => Err(NetemError::Differs(difference)),
        None => Ok(()),
    }
}

/// netem's settings for a direction of a link.
pub(super) fn settings(plan: &NetemPlan) -> Netem {
    let LinkQuality { one_way_delay, jitter, loss, duplicate, reorder, rate, queue } = plan.quality;
    // The limit counts the packets in flight, too.
    let limit = rate.map_or(NO_QUEUE, |rate| {
        let in_flight = one_way_delay.as_secs_f64() * rate as f64 / FRAME_BITS as f64;
        queue.unwrap_or(LinkQuality::QUEUE).saturating_add(in_flight as u32).min(NO_QUEUE)
    });
    Netem {
        delay: one_way_delay,
        jitter: jitter.deviation,
        deviations: if jitter.deviation.is_zero() { Vec::new() } else { deviations(jitter.distribution) },
        loss: match loss {
            Loss::Random(share) => NetemLoss::Random(share),
            Loss::GilbertElliott { p, r, bad, good } => NetemLoss::GilbertElliott { p, r, bad, good },
        },
        duplicate,
        reorder,
        rate,
        limit,
        seed: Some(plan.seed),
    }
}

fn deviations(distribution: Distribution) -> Vec<i16> {
    let middle = |number: u32| (f64::from(number) + 0.5) / f64::from(DEVIATIONS);
    (0..DEVIATIONS).map(|number| (distribution.quantile(middle(number)) * UNIT).round() as i16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings_of(quality: LinkQuality) -> Netem {
        settings(&NetemPlan { quality, seed: 7 })
    }

    #[test]
    fn the_limit_counts_what_waits_and_what_is_in_flight() {
        let quality = LinkQuality { one_way_delay: Duration::from_millis(10), ..LinkQuality::IDEAL };
        assert_eq!(settings_of(quality).limit, NO_QUEUE);
        // 10 ms at 121.12 Mbit/s are 100 full frames.
        let quality = LinkQuality { rate: Some(121_120_000), ..quality };
        assert_eq!(settings_of(quality).limit, 1100);
        assert_eq!(settings_of(LinkQuality { queue: Some(5), ..quality }).limit, 105);
        let endless = LinkQuality { rate: Some(u64::MAX), queue: Some(u32::MAX), ..quality };
        assert_eq!(settings_of(endless).limit, NO_QUEUE);
    }

    #[test]
    fn tables_have_their_distribution() {
        assert!(settings_of(LinkQuality::IDEAL).deviations.is_empty());
        let uniform = deviations(Distribution::Uniform);
        assert_eq!((uniform[0], uniform[1024], uniform[4095]), (-8190, -4094, 8190));
        let normal = deviations(Distribution::Normal);
        let inside = normal.iter().filter(|deviation| deviation.abs() < 8192).count();
        assert!((2780..2812).contains(&inside), "68.27 % of 4096 within one unit, these are {inside}");
    }
}
