//! The monotonic clock that all network namespaces of a machine share.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    // Both parts are never negative for this clock.
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back() {
        let readings: Vec<u64> = (0..1000).map(|_| monotonic_nanos()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > 0);
    }
}
