//! A location cache with a lifetime and a size: tier 1 at the mobile node, tier 2 at the anchor.
//!
//! Callees are named by what the user of the cache likes, an address-of-record or a number.

mod movement;

use movement::Movement;
use samp_model::Time;
use samp_model::settings::CacheSettings;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a location became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The callee said so as it moved: between two of these it moved once.
    Told,
    /// An answer came from there: since the last time it may have moved any number of times.
    Found,
}

/// What is believed about where callees are.
#[derive(Debug)]
pub struct LocationCache<K, L> {
    settings: CacheSettings,
    entries: BTreeMap<K, Entry<L>>,
    /// Who was written when: the oldest goes first.
    order: BTreeSet<(u64, K)>,
    writes: u64,
}

#[derive(Debug)]
struct Entry<L> {
    location: L,
    learned_at: Time,
    /// It turned out to be wrong; what is known of the callee's movement stays.
    refuted: bool,
    movement: Movement,
    write: u64,
}

impl<K: Ord, L: Clone + PartialEq> LocationCache<K, L> {
    /// An empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        Self { settings, entries: BTreeMap::new(), order: BTreeSet::new(), writes: 0 }
    }

    /// The location, unless it is unknown, refuted or too old.
    pub fn get<Q: Ord + ?Sized>(&self, now: Time, callee: &Q) -> Option<L>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(callee)?;
        let is_fresh = now < entry.learned_at + self.lifetime(entry);
        (is_fresh && !entry.refuted).then(|| entry.location.clone())
    }

    /// Believes this from now on, for the cache's lifetime.
    pub fn learn<Q>(&mut self, now: Time, callee: &Q, location: L, how: Learned)
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        if !self.settings.enabled || self.settings.size == 0 {
            return;
        }
        self.writes += 1;
        match self.entries.get_mut(callee) {
            Some(entry) => {
                entry.movement.observe(now - entry.learned_at, entry.location != location, how);
                self.order.remove(&(entry.write, callee.to_owned()));
                let movement = entry.movement;
                *entry = Entry { location, learned_at: now, refuted: false, movement, write: self.writes };
            }
            None => {
                if self.entries.len() == self.settings.size
                    && let Some((_, oldest)) = self.order.pop_first()
                {
                    self.entries.remove(oldest.borrow());
                }
                let movement = Movement::unknown(self.settings.lifetime);
                let entry = Entry { location, learned_at: now, refuted: false, movement, write: self.writes };
                self.entries.insert(callee.to_owned(), entry);
            }
        }
        self.order.insert((self.writes, callee.to_owned()));
    }

    /// Entries, too old ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Believes nothing about this callee's place any more.
    pub fn forget<Q: Ord + ?Sized>(&mut self, callee: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(entry) = self.entries.get_mut(callee) {
            entry.refuted = true;
        }
    }

    fn lifetime(&self, entry: &Entry<L>) -> Duration {
        if self.settings.adaptive { entry.movement.lifetime() } else { self.settings.lifetime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CacheSettings {
        CacheSettings { enabled: true, lifetime: Duration::from_secs(10), adaptive: false, size: 2 }
    }

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn entries_age_and_the_oldest_makes_room() {
        let mut cache = LocationCache::<String, _>::new(settings());
        cache.learn(at(0), "a", 1, Learned::Found);
        cache.learn(at(1), "b", 2, Learned::Found);
        cache.learn(at(2), "a", 3, Learned::Found);
        assert_eq!((cache.get(at(11), "a"), cache.get(at(11), "b")), (Some(3), None));
        cache.learn(at(3), "c", 4, Learned::Found);
        assert_eq!(
            (cache.get(at(3), "a"), cache.get(at(3), "b"), cache.get(at(3), "c")),
            (Some(3), None, Some(4))
        );
        cache.forget("a");
        assert_eq!(cache.get(at(3), "a"), None);
        cache.learn(at(4), "a", 5, Learned::Found);
        assert_eq!(cache.get(at(4), "a"), Some(5));
        let mut off = LocationCache::<String, _>::new(CacheSettings { enabled: false, ..settings() });
        off.learn(at(0), "a", 1, Learned::Found);
        assert_eq!(off.get(at(0), "a"), None);
    }

    #[test]
    fn an_adaptive_cache_believes_who_stays_longer_than_who_moves() {
        let adaptive = CacheSettings { adaptive: true, ..settings() };
        let (mut cache, mut fixed) =
            (LocationCache::<String, _>::new(adaptive), LocationCache::new(settings()));
        for round in 0..100_u64 {
            for cache in [&mut cache, &mut fixed] {
                cache.learn(at(5 * round), "stays", 0_u64, Learned::Found);
                // Also what was found out to be wrong counts as a move.
                cache.forget("moves");
                cache.learn(at(5 * round), "moves", round, Learned::Found);
            }
        }
        let after = |seconds: u64| at(5 * 99 + seconds);
        assert_eq!((fixed.get(after(9), "stays"), fixed.get(after(9), "moves")), (Some(0), Some(99)));
        assert_eq!((cache.get(after(30), "stays"), cache.get(after(3), "moves")), (Some(0), None));
    }
}
