//! The write rule: a binding's write is answered 200 when min(r, live members) distinct servers hold it.
//!
//! ```text
//! REGISTER ──▶ written here ──▶ copies sent ──all held──▶ 200
//!                                │  ▲  │
//!               a server is dead └──┘  └─ a newer record exists ──▶ 503
//!               (the next takes its place)
//!                                └─ deadline ──▶ 503, or 200 and a record of it (`durability: degraded`)
//! ```

use super::{Asked, SampServer};
use crate::overlay::identifier_of;
use crate::overlay::record::{Record, Version};
use crate::overlay::wire::{OverlayRequest, Told};
use crate::sip::{Response, status};
use crate::transaction::ServerKey;
use samp_model::settings::Durability;
use samp_model::{Event, OverlayId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Writes that wait for their copies at most; more are refused.
const MAX_PENDING: usize = 16_384;
/// A write that waits for so many times the peer timeout is answered without its copies.
const PATIENCE: u32 = 3;

/// Names a write that waits for its copies.
pub(super) type WriteNumber = u64;

/// Writes that wait for their copies.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pending: BTreeMap<WriteNumber, Write>,
    /// All wait equally long, so the lowest number has the first deadline.
    next: WriteNumber,
}

#[derive(Debug)]
struct Write {
    server: ServerKey,
    /// What is answered then.
    response: Response,
    address_of_record: String,
    version: Version,
    /// The owner, if that is not this server.
    owner: Option<SocketAddr>,
    asked: BTreeSet<SocketAddr>,
    held: BTreeSet<SocketAddr>,
    deadline: Time,
}

impl Writes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// When the first of them has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.pending.values().next().map(|write| write.deadline)
    }
}

/// Where copies of a key's record belong.
struct Copies {
    servers: Vec<SocketAddr>,
    /// Whether these are all that are wanted, or that there are.
    is_all: bool,
}

impl SampServer {
    /// Another server's records: those are taken that it may have to keep or to hand over, and that are not older.
    pub(super) fn store(&mut self, from: SocketAddr, records: Vec<Record>) -> Told {
        let count = records.len();
        let taken = records.into_iter().filter(|record| {
            let key = record.key();
            self.chord.owns(key) || self.chord.may_own(from, key)
        });
        let taken: Vec<_> = taken.collect();
        let mut refused = count - taken.len();
        for record in taken {
            self.seen_epoch = self.seen_epoch.max(record.version.epoch);
            refused += usize::from(self.home.store(record) == super::registrar::Stored::Refused);
        }
        Told::Refused(refused)
    }

    /// Answers a REGISTER that has changed a record here, as soon as that has its copies.
    pub(super) fn respond_when_held(
        &mut self,
        now: Time,
        server: &ServerKey,
        address_of_record: String,
        response: Response,
    ) {
        let key = identifier_of(&address_of_record);
        let Some(record) = self.home.record(key) else {
            return self.transactions.respond(now, server, response);
        };
        let version = record.version;
        if self.writes.len() >= MAX_PENDING {
            return self.refuse(now, server, &response);
        }
        let owner = self.chord.home(key).and_then(|member| member.predecessor()).map(|peer| peer.address);
        let number = self.writes.next;
        self.writes.next += 1;
        let write = Write {
            server: *server,
            response,
            address_of_record,
            version,
            owner: owner.filter(|owner| !self.chord.owns(key) && *owner != self.me.address),
            asked: BTreeSet::new(),
            held: BTreeSet::new(),
            deadline: now + self.settings.chord.peer_timeout * PATIENCE,
        };
        self.writes.pending.insert(number, write);
        self.progress(now, number);
    }

    /// The ring has changed: copies may be wanted elsewhere.
    pub(super) fn progress_all(&mut self, now: Time) {
        let numbers: Vec<_> = self.writes.pending.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.progress(now, number));
    }

    /// A server has answered whether it holds a copy.
    pub(super) fn handle_copied(
        &mut self,
        now: Time,
        number: WriteNumber,
        from: SocketAddr,
        told: Option<Told>,
    ) {
        let Some(write) = self.writes.pending.get_mut(&number) else { return };
        match told {
            Some(Told::Refused(0)) => {
                write.held.insert(from);
                self.progress(now, number);
            }
            // It has a newer record, or takes another server for the owner: so this write has not happened.
            _ => {
                if let Some(write) = self.writes.pending.remove(&number) {
                    self.refuse(now, &write.server, &write.response);
                }
                self.repair_soon(now);
            }
        }
    }

    /// A server that should hold a copy is silent: it is dead, and another takes its place.
    pub(super) fn handle_copy_silence(&mut self, now: Time, number: WriteNumber, to: SocketAddr) {
        if let Some(write) = self.writes.pending.get_mut(&number) {
            write.asked.remove(&to);
            write.owner = write.owner.filter(|owner| *owner != to);
        }
        self.chord.bury(now, to);
        self.progress(now, number);
    }

    /// Answers what has waited long enough.
    pub(super) fn expire_writes(&mut self, now: Time) {
        while let Some(entry) = self.writes.pending.first_entry().filter(|entry| entry.get().deadline <= now)
        {
            let write = entry.remove();
            match self.settings.chord.durability {
                Durability::Strict => self.refuse(now, &write.server, &write.response),
                Durability::Degraded => {
                    self.record(Event::WriteDegraded {
                        address_of_record: write.address_of_record,
                        copies: write.held.len() as u32 + 1,
                        wanted: self.settings.chord.replicas as u32,
                    });
                    self.transactions.respond(now, &write.server, write.response);
                }
            }
        }
    }

    /// The servers that hold copies of a key's record, besides its owner.
    fn copies(&self, key: OverlayId) -> Copies {
        let wanted = self.settings.chord.replicas.saturating_sub(1);
        let Some(member) = self.chord.home(key) else { return Copies { servers: Vec::new(), is_all: false } };
        let list = member.successors();
        let servers: Vec<_> = list.servers(self.me.address).take(wanted).collect();
        Copies { is_all: servers.len() == wanted || list.is_whole(), servers }
    }

    fn progress(&mut self, now: Time, number: WriteNumber) {
        let Some(write) = self.writes.pending.get(&number) else { return };
        let key = identifier_of(&write.address_of_record);
        let Copies { mut servers, is_all } = self.copies(key);
        servers.extend(write.owner.filter(|owner| !servers.contains(owner)));
        if is_all && servers.iter().all(|server| write.held.contains(server)) {
            if let Some(write) = self.writes.pending.remove(&number) {
                self.transactions.respond(now, &write.server, write.response);
            }
            return;
        }
        // A later write has taken this one's place in the record: its copies stand for this one's, too.
        let record = self.home.record(key).filter(|record| record.version >= write.version).cloned();
        let Some(record) = record else { return };
        servers.retain(|server| !write.held.contains(server) && !write.asked.contains(server));
        for to in servers {
            if let Some(write) = self.writes.pending.get_mut(&number) {
                write.asked.insert(to);
            }
            self.ask(now, to, Asked::Copy(number), OverlayRequest::Store(vec![record.clone()]));
        }
    }

    fn refuse(&mut self, now: Time, server: &ServerKey, accepted: &Response) {
        let mut response = accepted.clone();
        response.status = status::UNAVAILABLE;
        response.reason = status::reason(status::UNAVAILABLE).to_owned();
        response.headers.contact.clear();
        let seconds = self.settings.chord.stabilize_period.as_secs().max(1);
        response.headers.set("Retry-After", seconds.to_string());
        self.transactions.respond(now, server, response);
    }
}
