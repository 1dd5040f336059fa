//! Random choices that are the same in every run, in the lab and in the simulator.

use rand::SeedableRng;
use rand_pcg::Pcg64;

/// A generator of its own for each purpose, so that one choice more here changes nothing there.
pub fn generator(seed: u64, purpose: &str) -> Pcg64 {
    // FNV-1a spreads what distinguishes purposes; the generator's own seeding does the rest.
    let key =
        seed.to_le_bytes().iter().chain(purpose.as_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3_u64)
        });
    Pcg64::seed_from_u64(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn seed_and_purpose_decide() {
        assert_eq!(generator(1, "start").next_u64(), generator(1, "start").next_u64());
        assert_ne!(generator(1, "start").next_u64(), generator(2, "start").next_u64());
        assert_ne!(generator(1, "start").next_u64(), generator(1, "calls").next_u64());
    }
}
