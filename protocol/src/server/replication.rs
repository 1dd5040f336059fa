//! Copies of records: where those of the home server belong besides, and what comes from others.

use super::SampServer;
use crate::overlay::wire::OverlayRequest;
use crate::overlay::{identifier_of, record::Record};
use samp_model::{OverlayId, Time};

impl SampServer {
    pub(super) fn store(&mut self, records: Vec<Record>) {
        for record in records {
            self.home.store(record);
        }
    }

    /// Copies an address-of-record's record to the servers that would own it after this one.
    pub(super) fn replicate(&mut self, now: Time, address_of_record: &str) {
        let peers = self.chord.successors(self.settings.chord.replicas.saturating_sub(1)).to_vec();
        for peer in peers {
            self.send_record(now, peer.address, identifier_of(address_of_record));
        }
    }

    /// The ring around this server has changed: copies go where they now belong.
    pub(super) fn rebalance(&mut self, now: Time) {
        let names = self.home.all(now).map(|(name, _)| identifier_of(name));
        let (mine, others): (Vec<_>, Vec<_>) = names.partition(|&key| self.chord.owns(key));
        for peer in self.chord.successors(self.settings.chord.replicas.saturating_sub(1)).to_vec() {
            mine.iter().for_each(|&key| self.send_record(now, peer.address, key));
        }
        if let Some(predecessor) = self.chord.predecessor() {
            others.iter().for_each(|&key| self.send_record(now, predecessor.address, key));
        }
    }

    fn send_record(&mut self, now: Time, to: std::net::SocketAddr, key: OverlayId) {
        if let Some(record) = self.home.record(key).cloned() {
            self.ask(now, to, &OverlayRequest::Store(vec![record]));
        }
    }
}
