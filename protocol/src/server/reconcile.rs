//! Making two servers hold the same records on some arcs, at the price of what differs.
//!
//! ```text
//!            ┌──────────── differs, many: its parts ───────────┐
//!            ▼                                                 │
//! arcs ──▶ Compare(arcs) ──differs, few──▶ List(arc) ──▶ Fetch(what is newer there), Send(what is newer here)
//!            │ the fingerprints are the same: nothing to do
//! ```
//! One question at a time; the other server remembers nothing. Equal arcs cost one message each way, one differing
//! record among n about log8(n) of them.

use super::registrar::Registrar;
use crate::overlay::arc::Arc;
use crate::overlay::record::{Record, Version};
use crate::overlay::wire::{MAX_ARCS, MAX_BATCH, MAX_KEYS, OverlayRequest, Told};
use samp_model::OverlayId;
use std::collections::BTreeMap;

/// What is to be asked.
#[derive(Clone, Debug, PartialEq)]
enum Task {
    Compare(Vec<Arc>),
    List(Arc),
    Fetch(Vec<OverlayId>),
    Send(Vec<OverlayId>),
}

/// A comparison with one server.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    /// The next task is the last.
    tasks: Vec<Task>,
    asked: Option<Task>,
    /// Members that have what is theirs once this is done.
    pub(super) settles: Vec<OverlayId>,
    /// Arcs of the other server's that are handed over to it.
    pub(super) handed: Vec<Arc>,
}

impl Reconciliation {
    /// Takes on some arcs, if they are not to be compared anyway.
    pub(super) fn add(&mut self, arcs: &[Arc]) {
        let is_waiting = |arc: &Arc| {
            let mut waiting = self.tasks.iter().filter_map(|task| match task {
                Task::Compare(arcs) => Some(arcs),
                _ => None,
            });
            waiting.any(|arcs| arcs.contains(arc))
        };
        let fresh: Vec<_> = arcs.iter().copied().filter(|arc| !is_waiting(arc)).collect();
        let chunks = fresh.chunks(MAX_ARCS).map(|arcs| Task::Compare(arcs.to_vec()));
        self.tasks.splice(0..0, chunks);
    }

    /// The next question; none when an answer is outstanding, or all is done.
    pub(super) fn next(&mut self, home: &Registrar) -> Option<OverlayRequest> {
        if self.asked.is_some() {
            return None;
        }
        let task = self.tasks.pop()?;
        let request = match &task {
            Task::Compare(arcs) => OverlayRequest::Compare(arcs.clone()),
            Task::List(arc) => OverlayRequest::List(*arc),
            Task::Fetch(keys) => OverlayRequest::Fetch(keys.clone()),
            Task::Send(keys) => {
                let (records, rest) = batch(home, keys);
                if !rest.is_empty() {
                    self.tasks.push(Task::Send(rest));
                }
                OverlayRequest::Store(records)
            }
        };
        self.asked = Some(task);
        Some(request)
    }

    /// Whether nothing is left to ask.
    pub(super) fn is_done(&self) -> bool {
        self.asked.is_none() && self.tasks.is_empty()
    }

    /// What the other server told in answer to the last question; what was newer there is put into `home`.
    pub(super) fn handle(&mut self, home: &mut Registrar, told: Told) {
        match (self.asked.take(), told) {
            (Some(Task::Compare(arcs)), Told::Fingerprints(theirs)) => {
                for (arc, theirs) in arcs.into_iter().zip(theirs) {
                    let ours = home.fingerprint(arc);
                    if ours == theirs {
                        continue;
                    }
                    let few = ours.count.max(theirs.count) <= MAX_KEYS as u64;
                    self.tasks.push(match arc.split(MAX_ARCS as u32) {
                        Some(parts) if !few => Task::Compare(parts),
                        _ => Task::List(arc),
                    });
                }
            }
            (Some(Task::List(arc)), Told::Versions(theirs)) => {
                let theirs: BTreeMap<_, _> =
                    theirs.into_iter().filter(|(key, _)| arc.contains(*key)).collect();
                let ours: BTreeMap<_, _> = home.versions(arc).collect();
                let newer = |these: &BTreeMap<OverlayId, Version>, those: &BTreeMap<OverlayId, Version>| {
                    let is_newer = |key, version| those.get(key).is_none_or(|other| other < version);
                    let keys: Vec<_> = these
                        .iter()
                        .filter(|(key, version)| is_newer(key, *version))
                        .map(|(key, _)| *key)
                        .collect();
                    keys
                };
                self.tasks
                    .extend(newer(&ours, &theirs).chunks(MAX_KEYS).map(|keys| Task::Send(keys.to_vec())));
                self.tasks
                    .extend(newer(&theirs, &ours).chunks(MAX_KEYS).map(|keys| Task::Fetch(keys.to_vec())));
            }
            (Some(Task::Fetch(mut keys)), Told::Records(records)) => {
                let asked = keys.len();
                for record in records {
                    let key = record.key();
                    let before = keys.len();
                    keys.retain(|wanted| *wanted != key);
                    if keys.len() < before {
                        home.store(record);
                    }
                }
                // As many as fit were sent; what has expired there in between never comes.
                if !keys.is_empty() && keys.len() < asked {
                    self.tasks.push(Task::Fetch(keys));
                }
            }
            _ => {}
        }
    }
}

/// As many of the records as fit a message, at least one, and the keys of the others.
pub(super) fn batch(home: &Registrar, keys: &[OverlayId]) -> (Vec<Record>, Vec<OverlayId>) {
    let mut records = Vec::new();
    let mut size = 0;
    for (index, key) in keys.iter().enumerate() {
        let Some(record) = home.record(*key) else { continue };
        size += record.size();
        if size > MAX_BATCH && !records.is_empty() {
            return (records, keys[index..].to_vec());
        }
        records.push(record.clone());
    }
    (records, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::super::registrar::Stored;
    use super::*;
    use crate::overlay::identifier_of;
    use proptest::prelude::*;
    use samp_model::Time;

    const WHOLE: Arc = Arc { from: OverlayId([7; 20]), to: OverlayId([7; 20]) };

    fn record(name: u16, counter: u64) -> Record {
        Record {
            address_of_record: format!("sip:mn{name}@samp.test"),
            version: Version { epoch: 1, counter },
            proof: Default::default(),
            bindings: Vec::new(),
            keep_until: Time::from_nanos(1),
        }
    }

    fn holding(records: impl IntoIterator<Item = (u16, u64)>) -> Registrar {
        let mut registrar = Registrar::new(1);
        for (name, counter) in records {
            registrar.store(record(name, counter));
        }
        registrar
    }

    /// Compares the two on an arc, as over the network; the number of questions, and of records that travelled.
    fn reconcile(ours: &mut Registrar, theirs: &mut Registrar, arc: Arc) -> (usize, usize) {
        let mut reconciliation = Reconciliation::default();
        reconciliation.add(&[arc]);
        let (mut questions, mut records) = (0, 0);
        while let Some(question) = reconciliation.next(ours) {
            questions += 1;
            let told = match question {
                OverlayRequest::Compare(arcs) => {
                    assert!(arcs.len() <= MAX_ARCS);
                    Told::Fingerprints(arcs.into_iter().map(|arc| theirs.fingerprint(arc)).collect())
                }
                OverlayRequest::List(arc) => Told::Versions(theirs.versions(arc).take(MAX_KEYS).collect()),
                OverlayRequest::Fetch(keys) => {
                    let (batch, _) = batch(theirs, &keys);
                    records += batch.len();
                    Told::Records(batch)
                }
                OverlayRequest::Store(batch) => {
                    records += batch.len();
                    batch.into_iter().for_each(|record| assert_eq!(theirs.store(record), Stored::Held));
                    Told::Refused(0)
                }
                other => panic!("{other:?}"),
            };
            reconciliation.handle(ours, told);
        }
        assert!(reconciliation.is_done());
        (questions, records)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn both_hold_the_newest_of_each_afterwards(
            ours in prop::collection::btree_map(any::<u16>(), 1..4u64, 0..300),
            theirs in prop::collection::btree_map(any::<u16>(), 1..4u64, 0..300),
        ) {
            let (mut one, mut other) = (holding(ours), holding(theirs));
            reconcile(&mut one, &mut other, WHOLE);
            prop_assert_eq!(one.fingerprint(WHOLE), other.fingerprint(WHOLE));
            let (questions, records) = reconcile(&mut one, &mut other, WHOLE);
            prop_assert_eq!((questions, records), (1, 0), "nothing differs");
        }
    }

    #[test]
    fn only_what_differs_travels_and_only_on_the_arc() {
        let all = || (0..5000).map(|name| (name, 1));
        let (mut ours, mut theirs) = (holding(all()), holding(all().skip(1)));
        ours.store(record(4000, 2));
        theirs.store(record(3000, 2));
        let (questions, records) = reconcile(&mut ours, &mut theirs, WHOLE);
        assert_eq!(records, 3);
        assert!(questions <= 20, "{questions} questions for three records of 5,000");

        let mut empty = holding([]);
        let arc = Arc { from: identifier_of("a"), to: identifier_of("b") };
        let (_, records) = reconcile(&mut empty, &mut theirs, arc);
        assert_eq!(records as u64, theirs.fingerprint(arc).count);
        assert!(empty.versions(WHOLE).all(|(key, _)| arc.contains(key)));
    }

    #[test]
    fn an_answer_that_does_not_fit_ends_the_comparison() {
        let mut ours = holding([(1, 1)]);
        let mut reconciliation = Reconciliation::default();
        reconciliation.add(&[WHOLE]);
        reconciliation.add(&[WHOLE]);
        assert_eq!(reconciliation.next(&ours), Some(OverlayRequest::Compare(vec![WHOLE])));
        assert_eq!(reconciliation.next(&ours), None, "one question at a time");
        reconciliation.handle(&mut ours, Told::Records(vec![record(2, 9)]));
        assert!(reconciliation.is_done());
        assert_eq!(ours.fingerprint(WHOLE).count, 1, "nothing that was not asked for is stored");
    }
}
