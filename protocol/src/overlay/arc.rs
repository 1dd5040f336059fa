//! Stretches of the ring.

use samp_model::OverlayId;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

/// The keys after `from` up to and with `to`, clockwise; the whole ring when the two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arc {
    pub(crate) from: OverlayId,
    pub(crate) to: OverlayId,
}

/// Keys in the order of numbers.
pub(crate) type Span = (Bound<OverlayId>, Bound<OverlayId>);

impl Arc {
    /// Whether the key lies on it.
    pub(crate) fn contains(self, key: OverlayId) -> bool {
        key.in_arc(self.from, self.to)
    }

    /// The same keys as spans in the order of numbers: two where the arc passes zero.
    pub(crate) fn spans(self) -> impl Iterator<Item = Span> {
        let (from, to) = (Bound::Excluded(self.from), Bound::Included(self.to));
        let (one, two) = if self.from < self.to {
            ((from, to), None)
        } else {
            ((from, Bound::Unbounded), Some((Bound::Unbounded, to)))
        };
        std::iter::once(one).chain(two)
    }

    /// Cuts it into `parts` arcs of equal length; none when it is too short for that.
    pub(crate) fn split(self, parts: u32) -> Option<Vec<Arc>> {
        let high = |id: OverlayId| id.0.first_chunk().map(|bytes| u128::from_be_bytes(*bytes));
        let (from, to) = (high(self.from)?, high(self.to)?);
        let step = match to.wrapping_sub(from) {
            0 if self.from == self.to => u128::MAX / u128::from(parts),
            length => length / u128::from(parts),
        };
        if step == 0 {
            return None;
        }
        let mut cut = self.from;
        let arcs = (1..=parts).map(|part| {
            let start = cut;
            if part == parts {
                cut = self.to;
            } else {
                cut.0[..16].copy_from_slice(&from.wrapping_add(step * u128::from(part)).to_be_bytes());
            }
            Arc { from: start, to: cut }
        });
        Some(arcs.collect())
    }
}

impl fmt::Display for Arc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

/// The text is not two identifiers with a dash between.
#[derive(Debug)]
pub(crate) struct ParseArcError;

impl FromStr for Arc {
    type Err = ParseArcError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('-').ok_or(ParseArcError)?;
        let id = |text: &str| text.parse().map_err(|_| ParseArcError);
        Ok(Self { from: id(from)?, to: id(to)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::identifier_of;
    use proptest::prelude::*;
    use std::ops::RangeBounds;

    proptest! {
        #[test]
        fn parts_and_spans_hold_each_key_of_an_arc_once(
            from in any::<[u8; 20]>(),
            to in any::<[u8; 20]>(),
            whole in any::<bool>(),
            keys in prop::collection::vec(any::<u64>(), 50),
        ) {
            let (from, to) = (OverlayId(from), OverlayId(if whole { from } else { to }));
            let arc = Arc { from, to };
            let parts = arc.split(16).expect("a long arc");
            prop_assert_eq!(parts.len(), 16);
            for key in keys.into_iter().map(|key| identifier_of(&key.to_string())).chain([from, to]) {
                let holds = usize::from(arc.contains(key));
                prop_assert_eq!(parts.iter().filter(|part| part.contains(key)).count(), holds);
                prop_assert_eq!(arc.spans().filter(|span| span.contains(&key)).count(), holds);
            }
            prop_assert_eq!(arc.to_string().parse::<Arc>().expect("its own text"), arc);
        }
    }

    #[test]
    fn the_shortest_arcs_are_not_cut() {
        let from = identifier_of("somewhere");
        assert_eq!(Arc { from, to: from.plus_power_of_two(33) }.split(16), None);
        assert!("0-1".parse::<Arc>().is_err());
    }
}
