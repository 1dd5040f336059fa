//! A location service and the registrar's rules for it (RFC 3261 §10.3).
//!
//! Records lie in a B-tree, which has no moment in which it grows all at once, and expire from a queue ordered by
//! time: neither a REGISTER nor the passing of time ever looks at all of them.

#[cfg(test)]
mod tests;

use super::auth::NONCE_LIFETIME;
use crate::overlay::arc::Arc;
use crate::overlay::fingerprint::{Fingerprint, Fingerprints};
use crate::overlay::identifier_of;
use crate::overlay::record::{Binding, MAX_BINDINGS, MAX_WORD, Proof, Record, Version};
use crate::sip::{Contact, Headers, NameAddr, Request, status};
use samp_model::{OverlayId, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Lifetime of a binding when the request names none, or none that can be read (RFC 3261 §10.2.1.1), in seconds.
const DEFAULT_EXPIRES: u32 = 3600;
/// The longest lifetime that is granted; a registrar may shorten what is asked (§10.3, point 7), in seconds.
const MAX_EXPIRES: u32 = 24 * 3600;
/// Lifetimes below the registrar's least are refused only if below this (§10.3, point 7), in seconds.
const ALWAYS_LONG_ENOUGH: u32 = 3600;
/// Records at most; while there are so many, no new ones are taken.
const MAX_RECORDS: usize = 2_000_000;
/// Records that expire in one go at most, so that nothing else waits for many.
const EXPIRY_BATCH: usize = 256;

/// What became of another server's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is kept, or was already.
    Held,
    /// There is a newer one here, or no room.
    Refused,
}

/// The records of many addresses-of-record, in the order of their keys.
#[derive(Debug)]
pub(super) struct Registrar {
    /// The shortest lifetime that is granted, in seconds.
    min_expires: u32,
    records: BTreeMap<OverlayId, Record>,
    fingerprints: Fingerprints,
    /// When something of a record expires next: a binding, or the record itself.
    expiries: BTreeSet<(Time, OverlayId)>,
    /// Bindings in all records.
    count: usize,
}

impl Registrar {
    /// An empty one that refuses lifetimes below `min_expires` seconds.
    pub(super) fn new(min_expires: u32) -> Self {
        Self {
            min_expires,
            records: BTreeMap::new(),
            fingerprints: Fingerprints::default(),
            expiries: BTreeSet::new(),
            count: 0,
        }
    }

    /// The shortest lifetime that is granted, in seconds: Min-Expires.
    pub(super) fn min_expires(&self) -> u32 {
        self.min_expires
    }

    /// How many bindings there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How many records there are, also of removed bindings.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Applies a REGISTER (§10.3, points 6 and 7), all of it or nothing; `epoch` is the writing owner's.
    ///
    /// # Errors
    /// The status to answer with.
    pub(super) fn register(&mut self, now: Time, request: &Request, epoch: u64) -> Result<(), u16> {
        let headers = &request.headers;
        if headers.contact.is_empty() {
            return Ok(());
        }
        let address_of_record = headers.to.uri.address_of_record();
        let key = identifier_of(&address_of_record);
        let old = self.records.get(&key);
        let present: Vec<_> = old.into_iter().flat_map(|record| live(now, record)).collect();
        let bindings = self.updated(now, &present, headers)?;
        if bindings.len() > MAX_BINDINGS || address_of_record.len().max(headers.call_id.len()) > MAX_WORD {
            return Err(status::FORBIDDEN);
        }
        if old.is_none() && self.records.len() >= MAX_RECORDS {
            return Err(status::UNAVAILABLE);
        }
        let lasts = bindings.iter().map(|binding| binding.expires_at).max().unwrap_or(now);
        let keep_until = old.map_or(lasts, |record| record.keep_until.max(lasts));
        let version = old.map_or_else(Default::default, |record| record.version).next(epoch);
        let proof = old.map_or_else(Default::default, |record| record.proof);
        self.put(key, Record { address_of_record, version, proof, bindings, keep_until });
        Ok(())
    }

    /// Which credentials were accepted last for the record at this place of the ring.
    pub(super) fn proof(&self, key: OverlayId) -> Proof {
        self.records.get(&key).map_or_else(Default::default, |record| record.proof)
    }

    /// Notes that these credentials have been accepted, whatever comes of the request; `epoch` is the writing owner's.
    pub(super) fn spend(&mut self, now: Time, address_of_record: &str, proof: Proof, epoch: u64) {
        let key = identifier_of(address_of_record);
        let mut record = self.take(key).unwrap_or_else(|| Record {
            address_of_record: address_of_record.to_owned(),
            version: Default::default(),
            proof,
            bindings: Vec::new(),
            keep_until: now,
        });
        record.version = record.version.next(epoch);
        record.proof = proof;
        record.keep_until = record.keep_until.max(proof.at + NONCE_LIFETIME);
        self.put(key, record);
    }

    /// The bindings after this request.
    fn updated(&self, now: Time, present: &[&Binding], headers: &Headers) -> Result<Vec<Binding>, u16> {
        let mut kept = vec![true; present.len()];
        let mut written: Vec<Binding> = Vec::new();
        for contact in &headers.contact {
            let address = match contact {
                Contact::All if headers.expires != Some(0) || headers.contact.len() != 1 => {
                    return Err(status::BAD_REQUEST);
                }
                Contact::All if present.iter().any(|binding| is_as_new(binding, headers)) => {
                    return Err(status::SERVER_ERROR);
                }
                Contact::All => return Ok(Vec::new()),
                Contact::Address(address) => address,
            };
            let seconds = self.granted(address, headers.expires)?;
            for (old, kept) in present.iter().zip(&mut kept) {
                if old.contact.is_equivalent(&address.uri) {
                    if is_as_new(old, headers) {
                        return Err(status::SERVER_ERROR);
                    }
                    *kept = false;
                }
            }
            // Of two values for one contact the later counts.
            written.retain(|binding| !binding.contact.is_equivalent(&address.uri));
            if seconds > 0 {
                if address.uri.to_string().len() > MAX_WORD {
                    return Err(status::FORBIDDEN);
                }
                written.push(Binding {
                    contact: address.uri.clone(),
                    q: address.q(),
                    call_id: headers.call_id.clone(),
                    cseq: headers.cseq,
                    expires_at: now + Duration::from_secs(seconds.into()),
                });
            }
        }
        let kept = present.iter().zip(kept).filter(|(_, kept)| *kept).map(|(&binding, _)| binding.clone());
        Ok(kept.chain(written).collect())
    }

    /// The lifetime that a contact gets, in seconds: its own `expires` beats the message's Expires field.
    fn granted(&self, address: &NameAddr, expires: Option<u32>) -> Result<u32, u16> {
        let own = address.params.get("expires").map(|text| text.parse().unwrap_or(DEFAULT_EXPIRES));
        let asked = own.or(expires).unwrap_or(DEFAULT_EXPIRES);
        if (1..self.min_expires.min(ALWAYS_LONG_ENOUGH)).contains(&asked) {
            return Err(status::INTERVAL_TOO_BRIEF);
        }
        Ok(asked.min(MAX_EXPIRES))
    }

    /// Takes in another server's record, unless there is a newer one.
    pub(super) fn store(&mut self, record: Record) -> Stored {
        let key = record.key();
        match self.records.get(&key) {
            Some(present) if present.version > record.version => return Stored::Refused,
            Some(present) if present.version == record.version => {}
            None if self.records.len() >= MAX_RECORDS => return Stored::Refused,
            _ => self.put(key, record),
        }
        Stored::Held
    }

    /// The record at this place of the ring, a tombstone, too.
    pub(super) fn record(&self, key: OverlayId) -> Option<&Record> {
        self.records.get(&key)
    }

    /// The fingerprint of the records on an arc.
    pub(super) fn fingerprint(&self, arc: Arc) -> Fingerprint {
        self.fingerprints.of(arc, |span| self.records.range(span).map(|(&key, record)| (key, record.version)))
    }

    /// The versions of the records on an arc.
    pub(super) fn versions(&self, arc: Arc) -> impl Iterator<Item = (OverlayId, Version)> {
        let spans = arc.spans().flat_map(|span| self.records.range(span));
        spans.map(|(&key, record)| (key, record.version))
    }

    /// The contacts of an address-of-record with their q: the preferred one first, of two alike the one that was written
    /// last.
    pub(super) fn targets(&self, now: Time, address_of_record: &str) -> Vec<NameAddr> {
        let record = self.records.get(&identifier_of(address_of_record)).into_iter();
        let mut bindings: Vec<_> = record.flat_map(|record| live(now, record).rev()).collect();
        bindings.sort_by_key(|binding| Reverse(binding.q.unwrap_or(NameAddr::Q_MAX)));
        bindings.into_iter().map(address_of).collect()
    }

    /// All bindings of an address-of-record, as the 200 lists them (§10.3, point 8).
    pub(super) fn contacts(&self, now: Time, address_of_record: &str) -> Vec<Contact> {
        let record = self.records.get(&identifier_of(address_of_record));
        let bindings = record.into_iter().flat_map(|record| live(now, record));
        bindings
            .map(|binding| {
                let seconds = (binding.expires_at - now).as_nanos().div_ceil(1_000_000_000);
                Contact::Address(address_of(binding).with("expires", Some(seconds.to_string())))
            })
            .collect()
    }

    /// All bindings that have not expired, by address-of-record, in the order of their keys.
    pub(super) fn all(&self, now: Time) -> impl Iterator<Item = (&str, &Binding)> {
        self.records.values().flat_map(move |record| {
            live(now, record).map(|binding| (record.address_of_record.as_str(), binding))
        })
    }

    /// When [`expire`](Self::expire) has work.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Forgets what has expired, in a bounded number of records; [`next_expiry`](Self::next_expiry) tells whether there
    /// is more.
    pub(super) fn expire(&mut self, now: Time) {
        for _ in 0..EXPIRY_BATCH {
            let Some(&(_, key)) = self.expiries.first().filter(|(at, _)| *at <= now) else { return };
            let Some(mut record) = self.take(key) else { return };
            record.bindings.retain(|binding| binding.expires_at > now);
            if record.keep_until > now {
                self.put(key, record);
            }
        }
    }

    fn put(&mut self, key: OverlayId, mut record: Record) {
        record.bindings.shrink_to_fit();
        let (expiry, version, bindings) = (next_expiry(&record), record.version, record.bindings.len());
        if let Some(old) = self.records.insert(key, record) {
            self.note_gone(key, &old);
        }
        self.count += bindings;
        self.expiries.insert((expiry, key));
        self.fingerprints.add(key, version);
    }

    fn take(&mut self, key: OverlayId) -> Option<Record> {
        let record = self.records.remove(&key)?;
        self.note_gone(key, &record);
        Some(record)
    }

    fn note_gone(&mut self, key: OverlayId, record: &Record) {
        self.count -= record.bindings.len();
        self.expiries.remove(&(next_expiry(record), key));
        self.fingerprints.remove(key, record.version);
    }
}

fn next_expiry(record: &Record) -> Time {
    let bindings = record.bindings.iter().map(|binding| binding.expires_at);
    bindings.min().map_or(record.keep_until, |first| first.min(record.keep_until))
}

fn live(now: Time, record: &Record) -> impl DoubleEndedIterator<Item = &Binding> {
    record.bindings.iter().filter(move |binding| binding.expires_at > now)
}

/// Whether the binding was written by this request or a later one of the same Call-ID.
fn is_as_new(binding: &Binding, headers: &Headers) -> bool {
    binding.call_id == headers.call_id && headers.cseq <= binding.cseq
}

/// The contact, and its q if it has one.
fn address_of(binding: &Binding) -> NameAddr {
    let address = NameAddr::new(binding.contact.clone());
    match binding.q {
        Some(q) => address.with("q", Some(format!("{}.{:03}", q / 1000, q % 1000))),
        None => address,
    }
}
