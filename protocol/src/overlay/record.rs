//! What the ring keeps: one record for each address-of-record, versioned by its home server, and how it travels.

use super::identifier_of;
use crate::sip::Uri;
use samp_model::{OverlayId, Time};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bindings of one address-of-record at most.
pub(crate) const MAX_BINDINGS: usize = 8;
/// The longest lifetime that is taken over from another server.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Bytes of an address-of-record, a Contact or a Call-ID at most.
pub(crate) const MAX_WORD: usize = 512;

/// Which write a record comes from. Later writes compare as greater, whichever server made them.
///
/// A server that becomes the owner of a key starts a new epoch, above all that it has seen; so its writes supersede
/// those of an earlier owner that has not noticed yet. (Call-ID, CSeq) cannot do this: it orders the requests of one
/// Call-ID only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version {
    /// Of the owner that wrote.
    pub(crate) epoch: u64,
    /// Counts that key's writes.
    pub(crate) counter: u64,
}

impl Version {
    /// The version of the write that follows this one, by an owner in its epoch `epoch`.
    pub(crate) fn next(self, epoch: u64) -> Self {
        Self { epoch: self.epoch.max(epoch), counter: self.counter.saturating_add(1) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

/// The text is not two numbers with a dot between.
#[derive(Debug)]
pub(crate) struct ParseVersionError;

impl FromStr for Version {
    type Err = ParseVersionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, counter) = text.split_once('.').ok_or(ParseVersionError)?;
        let number = |text: &str| text.parse().map_err(|_| ParseVersionError);
        Ok(Self { epoch: number(epoch)?, counter: number(counter)? })
    }
}

/// One contact of an address-of-record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) contact: Uri,
    /// Preference in thousandths (RFC 3261 §20.10), if the contact has one.
    pub(crate) q: Option<u16>,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    pub(crate) expires_at: Time,
}

/// Which credentials were accepted last: a replay has none that compare as greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Proof {
    /// When their nonce was made, on the clock that all servers share.
    pub(crate) at: Time,
    /// How often it had been used then.
    pub(crate) count: u32,
}

/// All that is known of an address-of-record: it is written, copied and compared as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) address_of_record: String,
    pub(crate) version: Version,
    /// Outlives the bindings, so that a replay brings none back.
    pub(crate) proof: Proof,
    /// In the order of registration. None left: a tombstone, which keeps old copies from coming back.
    pub(crate) bindings: Vec<Binding>,
    /// Until when the record is kept: no binding that was ever in it lasts longer, nor does the nonce of its proof.
    pub(crate) keep_until: Time,
}

impl Record {
    /// Where on the ring it belongs.
    pub(crate) fn key(&self) -> OverlayId {
        identifier_of(&self.address_of_record)
    }

    /// About how many bytes its wire form has.
    pub(crate) fn size(&self) -> usize {
        let bindings = self.bindings.iter();
        let size = |binding: &Binding| 40 + binding.contact.to_string().len() + binding.call_id.len();
        50 + self.address_of_record.len() + bindings.map(size).sum::<usize>()
    }

    /// Its wire form: a line for itself and one for each binding, with lifetimes in milliseconds left.
    pub(crate) fn write(&self, now: Time, text: &mut String) {
        let kept = (self.keep_until - now).as_millis();
        let Proof { at, count } = self.proof;
        let at = at.as_nanos();
        *text += &format!("record {} {} {at}.{count} {kept}\n", self.address_of_record, self.version);
        for Binding { contact, q, call_id, cseq, expires_at } in &self.bindings {
            let left = (*expires_at - now).as_millis();
            let q = q.map_or("-".to_owned(), |q| q.to_string());
            *text += &format!("binding {contact} {q} {call_id} {cseq} {left}\n");
        }
    }

    /// Reads what [`write`](Self::write) has written, any number of times; none when a line is malformed or a bound
    /// is exceeded.
    pub(crate) fn read_all(now: Time, text: &str) -> Option<Vec<Self>> {
        let mut records: Vec<Self> = Vec::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().filter(|word| !word.is_empty() && word.len() <= MAX_WORD);
            match word()? {
                "record" => records.push(Self {
                    address_of_record: word()?.to_owned(),
                    version: word()?.parse().ok()?,
                    proof: proof(word()?)?,
                    keep_until: instant(now, word()?)?,
                    bindings: Vec::new(),
                }),
                "binding" => {
                    let record = records.last_mut().filter(|record| record.bindings.len() < MAX_BINDINGS)?;
                    record.bindings.push(Binding {
                        contact: word()?.parse().ok()?,
                        q: match word()? {
                            "-" => None,
                            q => Some(q.parse().ok().filter(|q| *q <= 1000)?),
                        },
                        call_id: word()?.to_owned(),
                        cseq: word()?.parse().ok()?,
                        expires_at: instant(now, word()?)?,
                    });
                }
                _ => return None,
            }
            if words.next().is_some() {
                return None;
            }
        }
        Some(records)
    }
}

fn proof(text: &str) -> Option<Proof> {
    let (at, count) = text.split_once('.')?;
    Some(Proof { at: Time::from_nanos(at.parse().ok()?), count: count.parse().ok()? })
}

fn instant(now: Time, millis: &str) -> Option<Time> {
    Some(now + Duration::from_millis(millis.parse().ok()?).min(MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let binding = |cseq| Binding {
            contact: "sip:mn1@10.0.0.1;gr=samp.test".parse().unwrap(),
            q: (cseq == 2).then_some(300),
            call_id: "c1@10.0.0.9".to_owned(),
            cseq,
            expires_at: Time::from_nanos(7_000_000_000),
        };
        Record {
            address_of_record: "sip:mn1@samp.test".to_owned(),
            version: Version { epoch: 3, counter: 9 },
            proof: Proof { at: Time::from_nanos(4), count: 7 },
            bindings: vec![binding(1), binding(2)],
            keep_until: Time::from_nanos(9_000_000_000),
        }
    }

    #[test]
    fn records_travel_whole_and_their_lifetimes_run_on() {
        let now = Time::from_nanos(5_000_000_000);
        let mut text = String::new();
        let tombstone = Record { bindings: Vec::new(), ..record() };
        record().write(now, &mut text);
        tombstone.write(now, &mut text);
        assert_eq!(Record::read_all(now, &text), Some(vec![record(), tombstone]));
        assert_eq!(Record::read_all(now, ""), Some(Vec::new()));
    }

    #[test]
    fn what_is_malformed_or_too_much_is_refused() {
        let binding = "binding sip:a@10.0.0.1 - c 1 10\n";
        let long = "x".repeat(MAX_WORD + 1);
        for text in [
            binding.to_owned(),
            "record sip:a@b 1.1 0.0 10 more\n".to_owned(),
            "record sip:a@b 1 0.0 10\n".to_owned(),
            "record sip:a@b 1.1 0 10\n".to_owned(),
            "record sip:a@b 1.1 0.0 10\nbinding sip:a@10.0.0.1 1001 c 1 10\n".to_owned(),
            "record  1.1 0.0 10\n".to_owned(),
            "rec sip:a@b 1.1 0.0 10\n".to_owned(),
            "record sip:a@b 1.1 0.0 -1\n".to_owned(),
            format!("record {long} 1.1 0.0 10\n"),
            format!("record sip:a@b 1.1 0.0 10\n{}", binding.repeat(MAX_BINDINGS + 1)),
        ] {
            assert_eq!(Record::read_all(Time::ZERO, &text), None, "{text}");
        }
        let for_ever = format!("record sip:a@b 1.1 0.0 {}\n", u64::MAX);
        assert_eq!(Record::read_all(Time::ZERO, &for_ever).unwrap()[0].keep_until, Time::ZERO + MAX_LIFETIME);
    }

    #[test]
    fn a_later_epoch_beats_any_counter_of_an_earlier_one() {
        let old = Version { epoch: 1, counter: 100 };
        assert!(old.next(2) > old && old.next(2) > old.next(1) && old.next(1) > old);
        // An owner whose epoch lags behind what is stored still writes something newer.
        assert!(old.next(0) > old);
        assert_eq!("1.100".parse::<Version>().unwrap(), old);
        assert!("1".parse::<Version>().is_err() && "a.b".parse::<Version>().is_err());
    }
}
