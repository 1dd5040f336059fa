//! A location cache with a lifetime and a size: tier 1 at the mobile node, tier 2 at the anchor.

use samp_model::Time;
use samp_model::settings::CacheSettings;
use std::collections::{BTreeMap, VecDeque};

/// What is believed about where callees are.
#[derive(Debug)]
pub(crate) struct LocationCache<L> {
    settings: CacheSettings,
    entries: BTreeMap<String, (L, Time)>,
    /// Oldest write first.
    order: VecDeque<String>,
}

impl<L: Clone> LocationCache<L> {
    pub(crate) fn new(settings: CacheSettings) -> Self {
        Self { settings, entries: BTreeMap::new(), order: VecDeque::new() }
    }

    /// The location, unless it is unknown or too old.
    pub(crate) fn get(&self, now: Time, address_of_record: &str) -> Option<L> {
        let (location, expires_at) = self.entries.get(address_of_record)?;
        (*expires_at > now).then(|| location.clone())
    }

    /// Believes this from now on, for the cache's lifetime.
    pub(crate) fn learn(&mut self, now: Time, address_of_record: &str, location: L) {
        if !self.settings.enabled || self.settings.size == 0 {
            return;
        }
        self.forget(address_of_record);
        if self.entries.len() == self.settings.size
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.order.push_back(address_of_record.to_owned());
        self.entries.insert(address_of_record.to_owned(), (location, now + self.settings.lifetime));
    }

    /// Entries, too old ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Believes nothing about this callee any more.
    pub(crate) fn forget(&mut self, address_of_record: &str) {
        if self.entries.remove(address_of_record).is_some() {
            self.order.retain(|name| name != address_of_record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn entries_age_and_the_oldest_makes_room() {
        let settings = CacheSettings { enabled: true, lifetime: Duration::from_secs(10), size: 2 };
        let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
        let mut cache = LocationCache::new(settings.clone());
        cache.learn(at(0), "a", 1);
        cache.learn(at(1), "b", 2);
        cache.learn(at(2), "a", 3);
        assert_eq!((cache.get(at(11), "a"), cache.get(at(11), "b")), (Some(3), None));
        cache.learn(at(3), "c", 4);
        assert_eq!(
            (cache.get(at(3), "a"), cache.get(at(3), "b"), cache.get(at(3), "c")),
            (Some(3), None, Some(4))
        );
        cache.forget("a");
        assert_eq!(cache.get(at(3), "a"), None);
        let mut off = LocationCache::new(CacheSettings { enabled: false, ..settings });
        off.learn(at(0), "a", 1);
        assert_eq!(off.get(at(0), "a"), None);
    }
}
