//! Sequence numbers, and lifetimes in units of 4 s (RFC 6275 §6.1.7).

use std::time::Duration;

/// What lifetimes count in.
const UNIT: Duration = Duration::from_secs(4);

/// A lifetime as messages have it, rounded down, so that nobody believes a binding for longer than it lasts.
pub(super) fn to_units(lifetime: Duration) -> u16 {
    u16::try_from(lifetime.as_secs() / UNIT.as_secs()).unwrap_or(u16::MAX)
}

/// A lifetime that a message has.
pub(super) fn of_units(units: u16) -> Duration {
    UNIT * u32::from(units)
}

/// Whether a sequence number comes after another one, modulo 2^16 (RFC 6275 §9.5.1).
pub(super) fn is_after(sequence: u16, last: u16) -> bool {
    (1..=1 << 15).contains(&sequence.wrapping_sub(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lifetimes_as_in_the_rfc() {
        for (sequence, last, after) in [
            (1, 0, true),
            (0, 0, false),
            (0, 0xffff, true),
            (15, 0x8000, false),
            (15, 0x800f, true),
            (0xffff, 0, false),
        ] {
            assert_eq!(is_after(sequence, last), after, "{sequence} after {last}");
        }
        assert_eq!(to_units(Duration::from_secs(603)), 150);
        assert_eq!(to_units(Duration::from_secs(1 << 20)), u16::MAX);
        assert_eq!(of_units(150), Duration::from_secs(600));
    }
}
