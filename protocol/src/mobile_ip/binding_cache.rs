//! A binding cache (RFC 6275 §9.1): where mobile nodes are, until their lifetimes end.

use super::lifetime::{is_after, of_units};
use super::message::{Update, status};
use crate::timers::Timers;
use samp_model::Time;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// Where a mobile node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) care_of: Ipv6Addr,
    pub(super) sequence: u16,
}

/// Bindings by home address.
#[derive(Debug)]
pub(super) struct BindingCache {
    bindings: BTreeMap<Ipv6Addr, Binding>,
    ends: Timers<Ipv6Addr>,
    /// Bindings at most; while there are so many, no new ones are taken.
    capacity: usize,
}

impl BindingCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bindings: BTreeMap::new(), ends: Timers::default(), capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    pub(super) fn get(&self, home: Ipv6Addr) -> Option<Binding> {
        self.bindings.get(&home).copied()
    }

    /// Why an update is not accepted, whoever it is from: it has an older number than the last one, or there is no room
    /// for a new one (§9.5.1).
    pub(super) fn refusal(&self, home: Ipv6Addr, last: Option<u16>, update: &Update) -> Option<u8> {
        let is_full = self.bindings.len() >= self.capacity && !self.bindings.contains_key(&home);
        match last {
            Some(last) if !is_after(update.sequence, last) => Some(status::SEQUENCE_OUT_OF_WINDOW),
            _ if is_full => Some(status::INSUFFICIENT_RESOURCES),
            _ => None,
        }
    }

    /// Binds a home address for so many units of 4 s.
    pub(super) fn bind(&mut self, now: Time, home: Ipv6Addr, binding: Binding, lifetime: u16) {
        self.bindings.insert(home, binding);
        self.ends.set(home, now + of_units(lifetime));
    }

    /// Removes a binding. Says whether there was one.
    pub(super) fn remove(&mut self, home: Ipv6Addr) -> bool {
        self.ends.stop(&home);
        self.bindings.remove(&home).is_some()
    }

    /// When the next binding ends.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.ends.next()
    }

    /// Takes out one that has ended.
    pub(super) fn ended(&mut self, now: Time) -> Option<Ipv6Addr> {
        let home = self.ends.expired(now)?;
        self.bindings.remove(&home);
        Some(home)
    }
}
