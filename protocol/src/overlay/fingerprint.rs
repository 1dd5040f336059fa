//! Fingerprints of sets of versions, by which two servers see that they hold the same records on an arc.

use super::arc::{Arc, Span};
use super::record::Version;
use samp_model::OverlayId;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

/// What is left of a set of (key, version): how many, and the exclusive or of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Fingerprint {
    fn of(key: OverlayId, version: Version) -> Self {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&key.0[8..16]);
        let mixed = version.epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version.counter;
        // The finaliser of splitmix64: every bit of the input changes about half of the output.
        let mut hash = u64::from_be_bytes(bytes) ^ mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { count: 1, sum: hash ^ (hash >> 31) }
    }

    fn join(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum ^ other.sum }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:x}", self.count, self.sum)
    }
}

/// The text is not a count and a sum.
#[derive(Debug)]
pub(crate) struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, sum) = text.split_once(':').ok_or(ParseFingerprintError)?;
        let sum = u64::from_str_radix(sum, 16).map_err(|_| ParseFingerprintError)?;
        Ok(Self { count: count.parse().map_err(|_| ParseFingerprintError)?, sum })
    }
}

/// Fingerprints of all that a server holds, kept up to date by bucket, so that an arc's is known without a look at
/// all its records.
#[derive(Debug, Default)]
pub(crate) struct Fingerprints {
    /// By the first two bytes of the keys.
    buckets: BTreeMap<u16, Fingerprint>,
}

impl Fingerprints {
    /// A record of this version has been put in.
    pub(crate) fn add(&mut self, key: OverlayId, version: Version) {
        let bucket = self.buckets.entry(bucket(key)).or_default();
        *bucket = bucket.join(Fingerprint::of(key, version));
    }

    /// A record of this version has been taken out.
    pub(crate) fn remove(&mut self, key: OverlayId, version: Version) {
        let Some(present) = self.buckets.get_mut(&bucket(key)) else { return };
        present.count = present.count.saturating_sub(1);
        present.sum ^= Fingerprint::of(key, version).sum;
        if present.count == 0 {
            self.buckets.remove(&bucket(key));
        }
    }

    /// The fingerprint of an arc; `versions` tells what is within a span.
    pub(crate) fn of<I: Iterator<Item = (OverlayId, Version)>>(
        &self,
        arc: Arc,
        versions: impl Fn(Span) -> I,
    ) -> Fingerprint {
        let counted = |span: Span| {
            versions(span)
                .map(|(key, version)| Fingerprint::of(key, version))
                .fold(Fingerprint::default(), Fingerprint::join)
        };
        let fingerprints = arc.spans().map(|(from, to)| {
            let edge = |bound: Bound<OverlayId>| match bound {
                Bound::Excluded(id) | Bound::Included(id) => Some(bucket(id)),
                Bound::Unbounded => None,
            };
            let (first, last) = (edge(from), edge(to));
            if first.is_some() && first == last {
                return counted((from, to));
            }
            // The buckets at the ends are looked at record by record, those between them are taken as they are.
            let start = first
                .map_or(Fingerprint::default(), |bucket| counted((from, Bound::Included(highest(bucket)))));
            let end =
                last.map_or(Fingerprint::default(), |bucket| counted((Bound::Included(lowest(bucket)), to)));
            let inner = (
                first.map_or(Bound::Unbounded, Bound::Excluded),
                last.map_or(Bound::Unbounded, Bound::Excluded),
            );
            self.buckets
                .range(inner)
                .map(|(_, fingerprint)| *fingerprint)
                .fold(start.join(end), Fingerprint::join)
        });
        fingerprints.fold(Fingerprint::default(), Fingerprint::join)
    }
}

fn bucket(key: OverlayId) -> u16 {
    u16::from_be_bytes([key.0[0], key.0[1]])
}

fn lowest(bucket: u16) -> OverlayId {
    let mut id = OverlayId([0; 20]);
    id.0[..2].copy_from_slice(&bucket.to_be_bytes());
    id
}

fn highest(bucket: u16) -> OverlayId {
    let mut id = OverlayId([0xff; 20]);
    id.0[..2].copy_from_slice(&bucket.to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::identifier_of;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_arc_has_the_fingerprint_of_its_records(
            names in prop::collection::btree_map(any::<u16>(), 1..9u64, 0..300),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            from in any::<[u8; 20]>(),
            to in any::<[u8; 20]>(),
            near in any::<bool>(),
        ) {
            let version = |counter| Version { epoch: 1, counter };
            let keyed = names.iter().map(|(name, counter)| (identifier_of(&name.to_string()), version(*counter)));
            let mut held: BTreeMap<_, _> = keyed.collect();
            let mut fingerprints = Fingerprints::default();
            held.iter().for_each(|(&key, &version)| fingerprints.add(key, version));
            for index in removed.iter().filter(|_| !names.is_empty()) {
                let key = identifier_of(&index.get(&Vec::from_iter(names.keys())).to_string());
                if let Some(version) = held.remove(&key) {
                    fingerprints.remove(key, version);
                }
            }
            // Near ends lie in one bucket, in either order.
            let (from, mut to) = (OverlayId(from), OverlayId(to));
            if near {
                to.0[..2].copy_from_slice(&from.0[..2]);
            }
            let arc = Arc { from, to };
            let there = held.iter().filter(|(key, _)| arc.contains(**key));
            let wanted = there.fold(Fingerprint::default(), |sum, (&key, &version)| sum.join(Fingerprint::of(key, version)));
            let found = fingerprints.of(arc, |span| held.range(span).map(|(&key, &version)| (key, version)));
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(found.to_string().parse::<Fingerprint>().expect("its own text"), found);
        }
    }

    #[test]
    fn another_version_is_another_fingerprint() {
        let key = identifier_of("a");
        let of = |epoch, counter| Fingerprint::of(key, Version { epoch, counter });
        assert!(of(1, 1) != of(1, 2) && of(1, 1) != of(2, 1) && of(1, 2) != of(2, 1));
        assert!("1".parse::<Fingerprint>().is_err() && "1:x".parse::<Fingerprint>().is_err());
    }
}
