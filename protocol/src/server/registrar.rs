//! A location service and the registrar's rules for it (RFC 3261 §10.3).

use crate::sip::{Contact, NameAddr, Request, Uri, status};
use samp_model::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Lifetime of a binding when the request names none (RFC 3261 §10.2.1.1), in seconds.
const DEFAULT_EXPIRES: u32 = 3600;

/// Bindings of one address-of-record at most; more are refused.
const MAX_CONTACTS: usize = 8;

/// One contact of an address-of-record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binding {
    pub(super) contact: Uri,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    /// Rises with every write: replicas keep the highest.
    pub(super) version: u64,
    pub(super) expires_at: Time,
}

/// The bindings of many addresses-of-record.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    bindings: BTreeMap<String, Vec<Binding>>,
}

impl Registrar {
    /// Applies a REGISTER, all of it or nothing.
    ///
    /// # Errors
    /// The status to answer with.
    pub(super) fn register(&mut self, now: Time, request: &Request) -> Result<(), u16> {
        let headers = &request.headers;
        let present = self.live(now, &headers.to.uri.address_of_record());
        // A request that is older than a binding it would touch changes nothing (point 7).
        let is_old = |binding: &Binding| binding.call_id == headers.call_id && headers.cseq <= binding.cseq;
        let version = present.iter().map(|binding| binding.version).max().unwrap_or(0) + 1;
        let mut updated = present.clone();
        for contact in &headers.contact {
            match contact {
                Contact::All if headers.expires != Some(0) || headers.contact.len() != 1 => {
                    return Err(status::BAD_REQUEST);
                }
                Contact::All if present.iter().any(is_old) => return Err(status::SERVER_ERROR),
                Contact::All => updated.clear(),
                Contact::Address(address) => {
                    let seconds = expires_of(address, headers.expires);
                    if let Some(old) = updated.iter().position(|binding| binding.contact == address.uri) {
                        if is_old(&updated[old]) {
                            return Err(status::SERVER_ERROR);
                        }
                        updated.remove(old);
                    }
                    if seconds > 0 {
                        updated.push(Binding {
                            contact: address.uri.clone(),
                            call_id: headers.call_id.clone(),
                            cseq: headers.cseq,
                            version,
                            expires_at: now + Duration::from_secs(seconds.into()),
                        });
                    }
                }
            }
        }
        if updated.len() > MAX_CONTACTS {
            return Err(status::SERVER_ERROR);
        }
        self.replace(headers.to.uri.address_of_record(), updated);
        Ok(())
    }

    /// Takes in another server's copy of a binding, unless it has a newer one.
    pub(super) fn store(&mut self, now: Time, address_of_record: String, binding: Binding) {
        let mut bindings = self.live(now, &address_of_record);
        let newest = bindings.iter().map(|present| present.version).max().unwrap_or(0);
        if binding.version < newest {
            return;
        }
        // Contacts of one write share its version; a newer write replaces all that went before.
        bindings.retain(|present| present.version == binding.version && present.contact != binding.contact);
        bindings.push(binding);
        self.replace(address_of_record, bindings);
    }

    /// The contact that was registered last.
    pub(super) fn lookup(&self, now: Time, address_of_record: &str) -> Option<&Uri> {
        let bindings = self.bindings.get(address_of_record)?.iter();
        bindings.rev().find(|binding| binding.expires_at > now).map(|binding| &binding.contact)
    }

    /// All bindings of an address-of-record, as the 200 lists them.
    pub(super) fn contacts(&self, now: Time, address_of_record: &str) -> Vec<Contact> {
        let bindings = self.live(now, address_of_record).into_iter();
        bindings
            .map(|binding| {
                let seconds = (binding.expires_at - now).as_secs().to_string();
                Contact::Address(NameAddr::new(binding.contact).with("expires", Some(seconds)))
            })
            .collect()
    }

    /// All bindings that have not expired, by address-of-record.
    pub(super) fn all(&self, now: Time) -> impl Iterator<Item = (&str, &Binding)> {
        let all = self
            .bindings
            .iter()
            .flat_map(|(name, bindings)| bindings.iter().map(move |one| (name.as_str(), one)));
        all.filter(move |(_, binding)| binding.expires_at > now)
    }

    /// Forgets what has expired; returns how many bindings are left.
    pub(super) fn expire(&mut self, now: Time) -> usize {
        self.bindings.retain(|_, bindings| {
            bindings.retain(|binding| binding.expires_at > now);
            !bindings.is_empty()
        });
        self.bindings.values().map(Vec::len).sum()
    }

    fn live(&self, now: Time, address_of_record: &str) -> Vec<Binding> {
        let bindings = self.bindings.get(address_of_record).into_iter().flatten();
        bindings.filter(|binding| binding.expires_at > now).cloned().collect()
    }

    fn replace(&mut self, address_of_record: String, bindings: Vec<Binding>) {
        if bindings.is_empty() {
            self.bindings.remove(&address_of_record);
        } else {
            self.bindings.insert(address_of_record, bindings);
        }
    }
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
        assert_eq!(registrar.register(at(0), &register("c", 1, A, "Expires: 10\r\n")), Ok(()));
        assert_eq!(contacts(&registrar, at(9)), ["sip:a@10.0.0.2"]);
        assert!(contacts(&registrar, at(10)).is_empty(), "expired");
        assert_eq!(registrar.register(at(1), &register("c", 1, A, "")), Err(500), "same CSeq");
        assert_eq!(registrar.register(at(1), &register("d", 1, A, "")), Ok(()), "another Call-ID");
        // The contact's own expires wins; the second contact of a refused request is not stored either.
        let two = "Contact: <sip:b@10.0.0.3>;expires=5, <sip:a@10.0.0.2>;expires=0\r\n";
        assert_eq!(registrar.register(at(1), &register("d", 1, two, "Expires: 99\r\n")), Err(500));
        assert_eq!(contacts(&registrar, at(1)), ["sip:a@10.0.0.2"]);
        assert_eq!(registrar.register(at(1), &register("d", 2, two, "Expires: 99\r\n")), Ok(()));
        assert_eq!(contacts(&registrar, at(1)), ["sip:b@10.0.0.3"]);
        assert_eq!(registrar.contacts(at(1), AOR).len(), 1);
        assert_eq!(registrar.register(at(1), &register("e", 1, "Contact: *\r\n", "")), Err(400));
        assert_eq!(registrar.register(at(1), &register("e", 1, "Contact: *\r\n", "Expires: 0\r\n")), Ok(()));
        assert_eq!(registrar.lookup(at(1), AOR), None);
    }

    #[test]
    fn replicas_keep_the_newest_write() {
        let now = Time::ZERO;
        let mut home = Registrar::default();
        let mut replica = Registrar::default();
        home.register(now, &register("c", 1, A, "")).unwrap();
        let old = home.all(now).next().map(|(_, binding)| binding.clone()).unwrap();
        home.register(
            now,
            &register("c", 2, "Contact: <sip:b@10.0.0.3>, <sip:a@10.0.0.2>;expires=0\r\n", ""),
        )
        .unwrap();
        let new = home.all(now).next().map(|(_, binding)| binding.clone()).unwrap();
        replica.store(now, AOR.to_owned(), new);
        replica.store(now, AOR.to_owned(), old);
        assert_eq!(contacts(&replica, now), ["sip:b@10.0.0.3"]);
    }
}
