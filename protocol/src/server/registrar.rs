//! A location service and the registrar's rules for it (RFC 3261 §10.3).

use crate::overlay::identifier_of;
use crate::overlay::record::{Binding, MAX_BINDINGS, Record};
use crate::sip::{Contact, NameAddr, Request, Uri, status};
use samp_model::{OverlayId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lifetime of a binding when the request names none (RFC 3261 §10.2.1.1), in seconds.
const DEFAULT_EXPIRES: u32 = 3600;

/// What became of another server's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is kept, or was already.
    Held,
    /// There is a newer one here.
    Superseded,
}

/// The records of many addresses-of-record, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    records: BTreeMap<OverlayId, Record>,
}

impl Registrar {
    /// Applies a REGISTER, all of it or nothing; `epoch` is the writing owner's.
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
        let present: Vec<_> = old.into_iter().flat_map(|record| live(now, record)).cloned().collect();
        // A request that is older than a binding it would touch changes nothing (point 7).
        let is_old = |binding: &Binding| binding.call_id == headers.call_id && headers.cseq <= binding.cseq;
        let mut bindings = present.clone();
        for contact in &headers.contact {
            match contact {
                Contact::All if headers.expires != Some(0) || headers.contact.len() != 1 => {
                    return Err(status::BAD_REQUEST);
                }
                Contact::All if present.iter().any(is_old) => return Err(status::SERVER_ERROR),
                Contact::All => bindings.clear(),
                Contact::Address(address) => {
                    let seconds = expires_of(address, headers.expires);
                    if let Some(old) = bindings.iter().position(|binding| binding.contact == address.uri) {
                        if is_old(&bindings[old]) {
                            return Err(status::SERVER_ERROR);
                        }
                        bindings.remove(old);
                    }
                    if seconds > 0 {
                        bindings.push(Binding {
                            contact: address.uri.clone(),
                            call_id: headers.call_id.clone(),
                            cseq: headers.cseq,
                            expires_at: now + Duration::from_secs(seconds.into()),
                        });
                    }
                }
            }
        }
        if bindings.len() > MAX_BINDINGS {
            return Err(status::SERVER_ERROR);
        }
        let lasts = bindings.iter().map(|binding| binding.expires_at).max().unwrap_or(now);
        let keep_until = old.map_or(lasts, |record| record.keep_until.max(lasts));
        let version = old.map_or_else(Default::default, |record| record.version).next(epoch);
        self.records.insert(key, Record { address_of_record, version, bindings, keep_until });
        Ok(())
    }

    /// Takes in another server's record, unless there is a newer one.
    pub(super) fn store(&mut self, record: Record) -> Stored {
        let key = record.key();
        match self.records.get(&key) {
            Some(present) if present.version > record.version => return Stored::Superseded,
            Some(present) if present.version == record.version => {}
            _ => drop(self.records.insert(key, record)),
        }
        Stored::Held
    }

    /// The record at this place of the ring, a tombstone, too.
    pub(super) fn record(&self, key: OverlayId) -> Option<&Record> {
        self.records.get(&key)
    }

    /// The contact that was registered last.
    pub(super) fn lookup(&self, now: Time, address_of_record: &str) -> Option<&Uri> {
        let record = self.records.get(&identifier_of(address_of_record))?;
        live(now, record).next_back().map(|binding| &binding.contact)
    }

    /// All bindings of an address-of-record, as the 200 lists them.
    pub(super) fn contacts(&self, now: Time, address_of_record: &str) -> Vec<Contact> {
        let record = self.records.get(&identifier_of(address_of_record));
        let bindings = record.into_iter().flat_map(|record| live(now, record));
        bindings
            .map(|binding| {
                let seconds = (binding.expires_at - now).as_secs().to_string();
                Contact::Address(NameAddr::new(binding.contact.clone()).with("expires", Some(seconds)))
            })
            .collect()
    }

    /// All bindings that have not expired, by address-of-record, in the order of their keys.
    pub(super) fn all(&self, now: Time) -> impl Iterator<Item = (&str, &Binding)> {
        self.records.values().flat_map(move |record| {
            live(now, record).map(|binding| (record.address_of_record.as_str(), binding))
        })
    }

    /// Forgets what has expired.
    pub(super) fn expire(&mut self, now: Time) {
        self.records.retain(|_, record| record.keep_until > now);
    }
}

fn live(now: Time, record: &Record) -> impl DoubleEndedIterator<Item = &Binding> {
    record.bindings.iter().filter(move |binding| binding.expires_at > now)
}

/// A Contact's own `expires` beats the message's Expires field.
fn expires_of(address: &NameAddr, expires: Option<u32>) -> u32 {
    let own = address.params.get("expires").map(|text| text.parse().unwrap_or(DEFAULT_EXPIRES));
    own.or(expires).unwrap_or(DEFAULT_EXPIRES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, parse};

    fn register(call_id: &str, cseq: u32, contacts: &str, expires: &str) -> Request {
        let text = format!(
            "REGISTER sip:samp.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nFrom: <sip:mn1@samp.test>;tag=a\r\n\
             To: <sip:mn1@samp.test>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{contacts}{expires}\r\n"
        );
        let Message::Request(request) = parse(text.as_bytes()).unwrap() else { panic!("a request") };
        request
    }

    fn contacts(registrar: &Registrar, now: Time) -> Vec<String> {
        let contacts = registrar.all(now);
        contacts.map(|(_, binding)| binding.contact.to_string()).collect()
    }

    const A: &str = "Contact: <sip:a@10.0.0.2>\r\n";
    const AOR: &str = "sip:mn1@samp.test";

    #[test]
    fn the_rules_of_section_10_3() {
        let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
        let mut registrar = Registrar::default();
        assert_eq!(registrar.register(at(0), &register("c", 1, A, "Expires: 10\r\n"), 1), Ok(()));
        assert_eq!(contacts(&registrar, at(9)), ["sip:a@10.0.0.2"]);
        assert!(contacts(&registrar, at(10)).is_empty(), "expired");
        assert_eq!(registrar.register(at(1), &register("c", 1, A, ""), 1), Err(500), "same CSeq");
        assert_eq!(registrar.register(at(1), &register("d", 1, A, ""), 1), Ok(()), "another Call-ID");
        // The contact's own expires wins; the second contact of a refused request is not stored either.
        let two = "Contact: <sip:b@10.0.0.3>;expires=5, <sip:a@10.0.0.2>;expires=0\r\n";
        assert_eq!(registrar.register(at(1), &register("d", 1, two, "Expires: 99\r\n"), 1), Err(500));
        assert_eq!(contacts(&registrar, at(1)), ["sip:a@10.0.0.2"]);
        assert_eq!(registrar.register(at(1), &register("d", 2, two, "Expires: 99\r\n"), 1), Ok(()));
        assert_eq!(contacts(&registrar, at(1)), ["sip:b@10.0.0.3"]);
        assert_eq!(registrar.contacts(at(1), AOR).len(), 1);
        assert_eq!(registrar.register(at(1), &register("e", 1, "Contact: *\r\n", ""), 1), Err(400));
        assert_eq!(
            registrar.register(at(1), &register("e", 1, "Contact: *\r\n", "Expires: 0\r\n"), 1),
            Ok(())
        );
        assert_eq!(registrar.lookup(at(1), AOR), None);
    }

    #[test]
    fn replicas_keep_the_newest_write_and_remember_removals() {
        let now = Time::ZERO;
        let (mut home, mut replica) = (Registrar::default(), Registrar::default());
        let key = identifier_of(AOR);
        home.register(now, &register("c", 1, A, ""), 1).unwrap();
        let old = home.record(key).cloned().unwrap();
        home.register(now, &register("c", 2, "Contact: *\r\n", "Expires: 0\r\n"), 1).unwrap();
        let new = home.record(key).cloned().unwrap();
        assert_eq!(replica.store(new.clone()), Stored::Held);
        assert_eq!(replica.store(old), Stored::Superseded);
        assert_eq!(replica.store(new.clone()), Stored::Held, "again");
        assert!(contacts(&replica, now).is_empty());
        assert_eq!(replica.record(key), Some(&new), "a tombstone");
        replica.expire(now + Duration::from_secs(DEFAULT_EXPIRES.into()));
        assert_eq!(replica.record(key), None);
    }
}
