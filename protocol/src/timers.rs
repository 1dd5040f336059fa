//! Named timers of a state machine: one table, one next instant.

use samp_model::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Timers by name; setting a name again moves its timer.
#[derive(Clone, Debug)]
pub(crate) struct Timers<K> {
    by_name: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Timers<K> {
    /// Sets the timer of this name.
    pub(crate) fn set(&mut self, name: K, at: Time) {
        self.stop(&name);
        self.by_name.insert(name.clone(), at);
        self.by_time.insert((at, name));
    }

    /// Stops the timer of this name, if it runs.
    pub(crate) fn stop(&mut self, name: &K) {
        if let Some(at) = self.by_name.remove(name) {
            self.by_time.remove(&(at, name.clone()));
        }
    }

    /// Stops the timers of all names between the two, both included.
    pub(crate) fn stop_all(&mut self, names: RangeInclusive<K>) {
        while let Some((name, _)) = self.by_name.range(names.clone()).next() {
            let name = name.clone();
            self.stop(&name);
        }
    }

    /// Whether the timer of this name runs.
    pub(crate) fn runs(&self, name: &K) -> bool {
        self.by_name.contains_key(name)
    }

    /// When the next timer fires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(crate) fn expired(&mut self, now: Time) -> Option<K> {
        let (at, name) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let name = name.clone();
        self.stop(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_move_when_set_again() {
        let at = Time::from_nanos;
        let mut timers = Timers::default();
        timers.set("a", at(30));
        timers.set("b", at(20));
        timers.set("a", at(10));
        timers.set("c", at(15));
        timers.stop(&"c");
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(timers.expired(at(20)), Some("a"));
        assert_eq!(timers.expired(at(20)), Some("b"));
        assert_eq!(timers.next(), None);
        ["a", "b", "c", "d"].into_iter().for_each(|name| timers.set(name, at(40)));
        timers.stop_all("b"..="c");
        assert_eq!(
            [timers.expired(at(40)), timers.expired(at(40)), timers.expired(at(40))],
            [Some("a"), Some("d"), None]
        );
    }
}
