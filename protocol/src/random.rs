//! Random draws that depend on nothing but (seed, purpose, how many draws for that purpose came before).
//!
//! So a message that comes early does not change any later choice of another kind.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::time::Duration;

/// A node's own source of randomness.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    seed: u64,
    draws: BTreeMap<&'static str, u64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, draws: BTreeMap::new() }
    }

    /// A fresh generator for the next draw of this purpose.
    fn generator(&mut self, purpose: &'static str) -> Pcg64 {
        let draw = self.draws.entry(purpose).or_default();
        *draw += 1;
        let mut hash = Sha1::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(draw.to_be_bytes());
        hash.update(purpose.as_bytes());
        let digest: [u8; 20] = hash.finalize().into();
        let mut seed = [0; 32];
        seed[..20].copy_from_slice(&digest);
        Pcg64::from_seed(seed)
    }

    /// An index below `count`, which must not be zero.
    pub(crate) fn index(&mut self, purpose: &'static str, count: usize) -> usize {
        self.generator(purpose).random_range(0..count)
    }

    /// A duration between the two, both included, in steps of `step` (as RFC 3261 §14.1 wants it).
    pub(crate) fn duration(
        &mut self,
        purpose: &'static str,
        from: Duration,
        to: Duration,
        step: Duration,
    ) -> Duration {
        let steps = (to - from).as_nanos() / step.as_nanos();
        from + step * self.generator(purpose).random_range(0..=steps as u32)
    }

    /// A word of 16 hexadecimal digits, for tags.
    pub(crate) fn token(&mut self, purpose: &'static str) -> String {
        format!("{:016x}", self.generator(purpose).next_u64())
    }

    /// A number of 64 bits, for cookies.
    pub(crate) fn number(&mut self, purpose: &'static str) -> u64 {
        self.generator(purpose).next_u64()
    }

    /// A new branch, with the magic cookie (RFC 3261 §8.1.1.7).
    pub(crate) fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token("branch"))
    }
}
