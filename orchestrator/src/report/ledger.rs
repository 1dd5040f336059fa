//! The ledger: which messages a handoff or a call has cost, each transmission over one hop once, booked with its sender.
//!
//! A mobile node begins transactions, everybody else takes part in them: servers that pass a request or its answer on, and
//! who answers. All messages of a transaction, repetitions included, belong to what it was begun for, however late they are.

use super::handoffs::Handoff;
use super::history::{Call, History};
use super::messages::{Message, Number};
use samp_model::settings::Records;
use samp_model::topology::NodeKind;
use samp_model::{Time, Topology};
use serde::Serialize;
use std::collections::BTreeMap;
use std::iter::Sum;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What something has cost in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Signalling {
    /// Transmissions over one hop.
    pub messages: u64,
    /// The lengths of their IP datagrams, without tunnels around them.
    pub bytes: u64,
}

/// All transactions of a run that mobile nodes have begun.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    history: &'a History,
    /// By who has begun them, in order.
    begun_by: BTreeMap<&'a str, Vec<Transaction<'a>>>,
}

#[derive(Debug)]
struct Transaction<'a> {
    /// Its Call-ID, or the home address that it is about.
    call: &'a str,
    by: &'a str,
    /// Whom it was sent to first.
    to: IpAddr,
    number: Number,
    is_invite: bool,
    begun: Time,
    cost: Signalling,
}

impl<'a> Ledger<'a> {
    /// Of a run; none when its single messages are not recorded.
    pub(super) fn new(topology: &Topology, history: &'a History) -> Option<Self> {
        if topology.samp.records != Records::Messages {
            return None;
        }
        let is_mobile = |name: &str| {
            let node = topology.find(name).map(|id| &topology.node(id).kind);
            matches!(node, Some(NodeKind::MobileNode { .. }))
        };
        let mut begun_by: BTreeMap<&str, Vec<Transaction<'_>>> = BTreeMap::new();
        for (call, messages) in history.messages() {
            for transaction in transactions(call, messages, is_mobile) {
                begun_by.entry(transaction.by).or_default().push(transaction);
            }
        }
        Some(Self { history, begun_by })
    }

    /// What a handoff has cost, from its beginning, or from when the node was told of it, until it was complete: all that
    /// the node has begun in no call's name, and its session updates. None when it did not come to its end.
    pub(super) fn of_handoff(&self, handoff: &Handoff) -> Option<Signalling> {
        if !handoff.is_complete() {
            return None;
        }
        let updates: Vec<_> = handoff
            .phases
            .iter()
            .filter(|phase| phase.name == "session_update")
            .map(|phase| handoff.detached + phase.start..=handoff.detached + phase.start + phase.took)
            .collect();
        let registered = handoff.registration.as_ref().map(|path| handoff.detached + path.total());
        let end = updates.iter().map(|update| *update.end()).chain(registered).max()?;
        // What the next one begins is the next one's.
        let (_, next) = self.history.handoff_window(&handoff.node, handoff.number)?;
        let end = end.min(next);
        let told = handoff.going_down.unwrap_or_default().as_nanos() as u64;
        let start = Time::from_nanos(handoff.detached.as_nanos().saturating_sub(told));
        let is_caused = |transaction: &&Transaction<'_>| match self.history.call(transaction.call) {
            None => true,
            Some(_) => {
                let is_live = handoff.calls.iter().any(|call| call.call == transaction.call);
                let is_update = updates.iter().any(|update| update.contains(&transaction.begun));
                transaction.is_invite && is_live && is_update
            }
        };
        let begun = self.begun(&handoff.node, start..=end).filter(is_caused);
        Some(begun.map(|transaction| transaction.cost).sum())
    }

    /// What the set-up of a call has cost: the caller's INVITEs until one is answered 200, their answers and ACKs. None when
    /// it was not established.
    pub(super) fn of_call(&self, id: &str, call: &Call) -> Option<Signalling> {
        let established = call.established.as_ref()?.at;
        let begun = self.begun(call.caller.as_deref()?, call.started?..=established);
        let own = begun.filter(|transaction| transaction.call == id && transaction.is_invite);
        Some(own.map(|transaction| transaction.cost).sum())
    }

    fn begun(&self, by: &str, when: RangeInclusive<Time>) -> impl Iterator<Item = &Transaction<'a>> {
        let all = self.begun_by.get(by).into_iter().flatten();
        all.filter(move |transaction| when.contains(&transaction.begun))
    }
}

/// The transactions under one Call-ID, of messages in order.
fn transactions<'a>(
    call: &'a str,
    messages: Vec<&'a Message>,
    is_mobile: impl Fn(&str) -> bool,
) -> Vec<Transaction<'a>> {
    let mut all: Vec<Transaction<'_>> = Vec::new();
    for message in messages {
        let Message { at, by, to, kind, bytes } = message;
        let number = kind.number;
        let begins = is_mobile(by) && kind.is_request;
        let place = all.iter().rposition(|transaction| {
            let is_own = transaction.by == &**by;
            let fits = match (is_mobile(by), kind.is_request) {
                // Those without a number cannot be told from their repetitions.
                (true, true) if kind.begins => is_own && transaction.to == *to && number.is_some(),
                (true, true) => is_own,
                (true, false) => !is_own,
                (false, _) => true,
            };
            fits && transaction.number == number
        });
        let index = match place {
            Some(index) => index,
            None if begins => {
                all.push(Transaction {
                    call,
                    by,
                    to: *to,
                    number,
                    is_invite: kind.is_invite,
                    begun: *at,
                    cost: Signalling::default(),
                });
                all.len() - 1
            }
            None => continue,
        };
        all[index].cost.messages += 1;
        all[index].cost.bytes += u64::from(*bytes);
    }
    all
}

impl Sum for Signalling {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, more| Self {
            messages: sum.messages + more.messages,
            bytes: sum.bytes + more.bytes,
        })
    }
}
