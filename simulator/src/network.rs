//! How long a message takes from one address to another, and whether it arrives.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use samp_model::{Topology, paths};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The topology's delays, and the losses that a scenario adds.
#[derive(Debug)]
pub(crate) struct Network {
    delays: BTreeMap<(IpAddr, IpAddr), Option<Duration>>,
    loss: f64,
    random: Pcg64,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self { delays: BTreeMap::new(), loss: 0.0, random: Pcg64::seed_from_u64(seed) }
    }

    pub(crate) fn set_loss(&mut self, loss: f64) {
        self.loss = loss;
    }

    /// The delay of a message that is sent now; none when it is lost or there is no way.
    pub(crate) fn send(&mut self, topology: &Topology, from: IpAddr, to: IpAddr) -> Option<Duration> {
        let delay = self.delays.entry((from, to)).or_insert_with(|| paths::one_way_delay(topology, from, to));
        let lost = self.loss > 0.0 && self.random.random_bool(self.loss);
        if lost { None } else { *delay }
    }
}
