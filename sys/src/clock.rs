//! The monotonic clock that all network namespaces of a machine share, and civil time beside it.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on every Linux");
    // Both parts are never negative for this clock.
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// By how many nanoseconds `CLOCK_REALTIME`, which the kernel stamps packets with, is ahead of `CLOCK_MONOTONIC` now.
///
/// It changes when civil time is set, and by up to 500 ppm while it is being adjusted (adjtimex(2)).
pub fn realtime_offset() -> i64 {
    /// The reading that was disturbed least counts.
    const READINGS: usize = 3;
    let reading = || {
        let before = monotonic_nanos();
        let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on every Linux");
        let after = monotonic_nanos();
        let realtime = now.tv_sec() * 1_000_000_000 + now.tv_nsec();
        (after - before, realtime - before.midpoint(after).cast_signed())
    };
    let readings = (0..READINGS).map(|_| reading());
    readings.min_by_key(|(took, _)| *took).map_or(0, |(_, offset)| offset)
}

/// `CLOCK_REALTIME`, in nanoseconds: the clock with which the kernel stamps frames.
pub fn realtime_nanos() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on every Linux");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn never_goes_back() {
        let readings: Vec<u64> = (0..1000).map(|_| monotonic_nanos()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > 0);
    }

    #[test]
    fn civil_time_is_monotonic_time_and_an_offset() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let between = monotonic_nanos().cast_signed() + realtime_offset();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        // What an adjustment of civil time may do in the meantime.
        const SLACK: i128 = 1_000_000;
        let [before, after] = [before, after].map(u128::cast_signed);
        assert!(
            (before - SLACK..=after + SLACK).contains(&i128::from(between)),
            "{before} {between} {after}"
        );
    }
}
