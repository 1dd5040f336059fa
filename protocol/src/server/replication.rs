//! Copies of bindings: where a binding of the home server's belongs besides, and what comes from others.

use super::SampServer;
use super::registrar::Binding;
use crate::overlay::wire::{OverlayRequest, StoredBinding};
use crate::overlay::{Peer, identifier_of};
use samp_model::Time;
use std::time::Duration;

impl SampServer {
    pub(super) fn store(&mut self, now: Time, bindings: Vec<StoredBinding>) {
        for stored in bindings {
            let binding = Binding {
                contact: stored.contact,
                call_id: stored.call_id,
                cseq: stored.cseq,
                version: stored.version,
                expires_at: now + Duration::from_secs(stored.expires.into()),
            };
            self.home.store(now, stored.address_of_record, binding);
        }
    }

    /// Copies an address-of-record's bindings to the servers that would own it after this one.
    pub(super) fn replicate(&mut self, now: Time, address_of_record: &str) {
        let peers = self.chord.successors(self.settings.chord.replicas.saturating_sub(1)).to_vec();
        for peer in peers {
            self.send_bindings(now, peer, |name| name == address_of_record);
        }
    }

    /// The ring around this server has changed: copies go where they now belong.
    pub(super) fn rebalance(&mut self, now: Time) {
        let chord = &self.chord;
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        for (name, _) in self.home.all(now) {
            if chord.owns(identifier_of(name)) {
                mine.push(name.to_owned())
            } else {
                others.push(name.to_owned())
            }
        }
        for peer in chord.successors(self.settings.chord.replicas.saturating_sub(1)).to_vec() {
            self.send_bindings(now, peer, |name| mine.iter().any(|own| own == name));
        }
        if let Some(predecessor) = self.chord.predecessor() {
            self.send_bindings(now, predecessor, |name| others.iter().any(|other| other == name));
        }
    }

    /// Sends the bindings of the chosen addresses-of-record, one message each so that none outgrows a datagram.
    fn send_bindings(&mut self, now: Time, peer: Peer, chosen: impl Fn(&str) -> bool) {
        let stored: Vec<_> = self
            .home
            .all(now)
            .filter(|(name, _)| chosen(name))
            .map(|(name, binding)| StoredBinding {
                address_of_record: name.to_owned(),
                contact: binding.contact.clone(),
                call_id: binding.call_id.clone(),
                cseq: binding.cseq,
                version: binding.version,
                expires: (binding.expires_at - now).as_secs() as u32,
            })
            .collect();
        for binding in stored {
            self.ask(now, peer.address, &OverlayRequest::Store(vec![binding]));
        }
    }
}
