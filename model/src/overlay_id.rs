//! Identifiers on the Chord ring.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A Chord identifier: 160 bits, as SHA-1 yields, compared clockwise modulo 2^160 (Stoica et al. 2001, §4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverlayId(pub [u8; 20]);

impl OverlayId {
    /// Bits in an identifier.
    pub const BITS: usize = 160;

    /// True when `self` lies in the half-open arc `(from, to]`, going clockwise.
    ///
    /// The arc from a point to itself is the whole ring.
    pub fn in_arc(self, from: OverlayId, to: OverlayId) -> bool {
        if from < to { from < self && self <= to } else { self > from || self <= to }
    }

    /// True when `self` lies strictly between `from` and `to`, going clockwise.
    ///
    /// Between a point and itself lies everything but that point.
    pub fn between(self, from: OverlayId, to: OverlayId) -> bool {
        self != to && self.in_arc(from, to)
    }

    /// `self + 2^exponent` modulo 2^160: where the finger number `exponent` starts.
    pub fn plus_power_of_two(self, exponent: usize) -> OverlayId {
        let mut bytes = self.0;
        let mut index = bytes.len() - 1 - exponent / 8;
        let mut carry = 1u16 << (exponent % 8);
        loop {
            let sum = u16::from(bytes[index]) + carry;
            bytes[index] = sum as u8;
            carry = sum >> 8;
            if carry == 0 || index == 0 {
                return OverlayId(bytes);
            }
            index -= 1;
        }
    }
}

impl fmt::Display for OverlayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OverlayId {
    /// The first four bytes: enough to tell the servers of a lab apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not 40 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("an overlay identifier is 40 hexadecimal digits")]
pub struct ParseOverlayIdError;

impl FromStr for OverlayId {
    type Err = ParseOverlayIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 40 || !text.is_ascii() {
            return Err(ParseOverlayIdError);
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| ParseOverlayIdError)?;
        }
        Ok(OverlayId(bytes))
    }
}

impl Serialize for OverlayId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OverlayId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: u8) -> OverlayId {
        let mut bytes = [0; 20];
        bytes[19] = last;
        OverlayId(bytes)
    }

    #[test]
    fn arcs_wrap_around_the_ring() {
        // (from, to, x, x in (from, to], x strictly between)
        for (from, to, x, in_arc, between) in [
            (10, 20, 15, true, true),
            (10, 20, 20, true, false),
            (10, 20, 10, false, false),
            (20, 10, 25, true, true),
            (20, 10, 5, true, true),
            (20, 10, 15, false, false),
            (7, 7, 7, true, false),
            (7, 7, 8, true, true),
        ] {
            assert_eq!(id(x).in_arc(id(from), id(to)), in_arc, "{x} in ({from}, {to}]");
            assert_eq!(id(x).between(id(from), id(to)), between, "{x} between {from} and {to}");
        }
    }

    #[test]
    fn powers_of_two_carry_and_wrap() {
        assert_eq!(id(1).plus_power_of_two(0), id(2));
        assert_eq!(id(255).plus_power_of_two(0).0[18..], [1, 0]);
        assert_eq!(OverlayId([255; 20]).plus_power_of_two(0), id(0));
        let mut half = [0; 20];
        half[0] = 128;
        assert_eq!(OverlayId(half).plus_power_of_two(159), id(0));
    }

    #[test]
    fn text_form_round_trips() {
        let id = OverlayId(std::array::from_fn(|i| i as u8 * 13));
        assert_eq!(id.to_string().parse::<OverlayId>().unwrap(), id);
        assert!("xyz".parse::<OverlayId>().is_err());
    }
}
