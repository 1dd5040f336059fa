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

/// A random generator's seed for one purpose, from the topology's: FNV-1a over the purpose, then the finaliser of
/// splitmix64, so that neighbouring seeds have nothing in common.
pub fn seed_for(seed: u64, purpose: &str) -> u64 {
    let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = seed.wrapping_add(hash).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
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
