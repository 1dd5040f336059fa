//! Copies of records: where those of the home server belong besides, and what comes from others.

use super::SampServer;
use crate::overlay::wire::OverlayRequest;
use crate::overlay::{identifier_of, record::Record};
use samp_model::{OverlayId, Time};
use std::net::SocketAddr;

impl SampServer {
    pub(super) fn store(&mut self, records: Vec<Record>) {
        for record in records {
            self.home.store(record);
        }
    }

    /// Copies an address-of-record's record to the servers that would own it after this one.
    pub(super) fn replicate(&mut self, now: Time, address_of_record: &str) {
        self.send_copies(now, identifier_of(address_of_record));
    }

    /// The ring around this server has changed: copies go where they now belong.
    pub(super) fn rebalance(&mut self, now: Time) {
        let keys: Vec<_> = self.home.all(now).map(|(name, _)| identifier_of(name)).collect();
        for key in keys {
            if self.chord.owns(key) {
                self.send_copies(now, key);
            } else if let Some(predecessor) = self.chord.home(key).and_then(|member| member.predecessor()) {
                self.send_record(now, predecessor.address, key);
            }
        }
    }

    fn send_copies(&mut self, now: Time, key: OverlayId) {
        let Some(member) = self.chord.home(key) else { return };
        let others = member.successors().servers(self.me.address);
        let others: Vec<_> = others.take(self.settings.chord.replicas.saturating_sub(1)).collect();
        others.into_iter().for_each(|to| self.send_record(now, to, key));
    }

    fn send_record(&mut self, now: Time, to: SocketAddr, key: OverlayId) {
        if let Some(record) = self.home.record(key).cloned() {
            self.ask(now, self.me, to, &OverlayRequest::Store(vec![record]));
        }
    }
}
