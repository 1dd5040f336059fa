//! What of their CPU quotas the servers have used, for how long they were held back, and what a datagram took.

use samp_model::settings::UNREAD;
use samp_model::{Event, Record, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one server has had while the run lasted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpu {
    /// CPU time.
    pub used: Duration,
    /// The share of its quota that this is.
    pub share: f64,
    /// The share of the busiest second.
    pub most: f64,
    /// For how long it was held back.
    pub held_back: Duration,
    /// Periods of the quota in which it ran.
    pub periods: u64,
    /// Those of them in which it was held back.
    pub periods_held_back: u64,
    /// What it has done for that, if it is known.
    pub done: Option<Done>,
}

/// What a server has done while that was counted: a killed one is counted no more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// The CPU time meanwhile.
    used: Duration,
    /// Messages that it has taken, from its SIP socket or to bind somebody, and a part of one for each datagram that it has
    /// passed on through tunnels.
    messages: f64,
}

/// A record of it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    used: Duration,
    throttled: Duration,
    periods: u64,
    periods_throttled: u64,
    messages: Option<u64>,
    tunnelled: u64,
}

/// Each server, in the order of names, whose quota is `quota` of a processor.
pub fn processors(records: &[Record], quota: f64) -> BTreeMap<&str, Cpu> {
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    // What agents of Mobile IPv6 have told of: bindings, and datagrams in tunnels.
    let mut told: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for record in records {
        match record.event {
            Event::ServerCpu { used, throttled, periods, periods_throttled, datagrams } => {
                let [bindings, tunnelled] = told.get(&*record.node).copied().unwrap_or_default();
                let (at, messages) = (record.at, datagrams.map(|datagrams| datagrams + bindings));
                let sample = Sample { at, used, throttled, periods, periods_throttled, messages, tunnelled };
                samples.entry(&record.node).or_default().push(sample);
            }
            Event::BindingAccepted { .. } => told.entry(&record.node).or_default()[0] += 1,
            Event::Tunnelled { datagrams, .. } => told.entry(&record.node).or_default()[1] += datagrams,
            _ => {}
        }
    }
    samples.into_iter().filter_map(|(name, samples)| Some((name, Cpu::of(&samples, quota)?))).collect()
}

/// The CPU time that the servers have needed for a message, on the average of all.
pub fn server_work(records: &[Record]) -> Option<Duration> {
    let servers = processors(records, 1.0);
    let done = servers.values().filter_map(|cpu| cpu.done);
    let add =
        |sum: Done, one: Done| Done { used: sum.used + one.used, messages: sum.messages + one.messages };
    done.reduce(add).and_then(|all| all.work())
}

impl Cpu {
    /// Of one server's samples, in order, whose quota is this share of a processor.
    fn of(samples: &[Sample], quota: f64) -> Option<Self> {
        let (first, last) = (samples.first()?, samples.last()?);
        let share = |from: &Sample, to: &Sample| {
            let (used, passed) = (to.used.saturating_sub(from.used), to.at.since(from.at));
            if passed.is_zero() { 0.0 } else { used.as_secs_f64() / passed.as_secs_f64() / quota }
        };
        let most = samples.windows(2).map(|pair| share(&pair[0], &pair[1])).fold(0.0, f64::max);
        Some(Self {
            used: last.used.saturating_sub(first.used),
            share: share(first, last),
            most,
            held_back: last.throttled.saturating_sub(first.throttled),
            periods: last.periods.saturating_sub(first.periods),
            periods_held_back: last.periods_throttled.saturating_sub(first.periods_throttled),
            done: Done::of(samples),
        })
    }

    /// The share of the periods in which it was held back, among those in which it ran.
    pub fn share_held_back(&self) -> f64 {
        self.periods_held_back as f64 / self.periods.max(1) as f64
    }

    /// The CPU time that a message took, a tunnelled datagram taken for a tenth of one.
    pub fn work(&self) -> Option<Duration> {
        self.done.and_then(|done| done.work())
    }
}

impl Done {
    /// From the first of these samples that has a count to the last.
    fn of(samples: &[Sample]) -> Option<Self> {
        let mut known = samples.iter().filter_map(|sample| Some((sample, sample.messages?)));
        let (first, from) = known.next()?;
        let (last, to) = known.next_back()?;
        let tunnelled = last.tunnelled.saturating_sub(first.tunnelled) as f64;
        let messages = to.saturating_sub(from) as f64 + tunnelled / f64::from(UNREAD);
        Some(Self { used: last.used.saturating_sub(first.used), messages })
    }

    /// The CPU time for a message.
    fn work(self) -> Option<Duration> {
        (self.messages > 0.0).then(|| self.used.div_f64(self.messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(node: &str, second: u64, used: u64, periods_throttled: u64) -> Record {
        let ms = Duration::from_millis;
        let event = Event::ServerCpu {
            used: ms(used),
            throttled: ms(used / 2),
            periods: 10 * second,
            periods_throttled,
            datagrams: (second > 1).then_some(100 * second),
        };
        Record { at: Time::from_nanos(second * 1_000_000_000), node: node.into(), event }
    }

    #[test]
    fn what_was_used_before_the_first_sample_does_not_count() {
        let records = [record("s1", 2, 500, 7), record("s1", 3, 510, 8), record("s1", 4, 560, 12)];
        let cpu = processors(&records, 0.05)["s1"];
        assert_eq!((cpu.used, cpu.held_back), (Duration::from_millis(60), Duration::from_millis(30)));
        assert!((cpu.share - 0.6).abs() < 1e-9 && (cpu.most - 1.0).abs() < 1e-9, "{cpu:?}");
        assert_eq!((cpu.periods, cpu.periods_held_back), (20, 5));
        assert_eq!(cpu.share_held_back(), 0.25);
        assert_eq!(cpu.work(), Some(Duration::from_micros(300)));
        // One that was killed is counted until then.
        let mut last = record("s1", 5, 999, 12);
        if let Event::ServerCpu { datagrams, .. } = &mut last.event {
            *datagrams = None;
        }
        let killed = [&records[..], &[last]].concat();
        assert_eq!(processors(&killed, 0.05)["s1"].work(), Some(Duration::from_micros(300)));
        // A server that has died has used nothing that could be asked for.
        let died = [record("s1", 2, 500, 7), record("s1", 3, 0, 7)];
        assert_eq!(processors(&died, 0.05)["s1"].used, Duration::ZERO);
        assert!(processors(&[], 0.05).is_empty());
    }

    #[test]
    fn work_is_that_of_all_servers_whose_datagrams_are_known() {
        let s1 = [record("s1", 2, 0, 0), record("s1", 3, 10, 0)];
        let s2 = [record("s2", 2, 0, 0), record("s2", 5, 50, 0)];
        let unknown = [record("s3", 1, 0, 0), record("s3", 5, 999, 0)];
        let records = [&s1[..], &s2, &unknown].concat();
        assert_eq!(server_work(&records), Some(Duration::from_micros(150)), "60 ms for 400");
        assert_eq!(server_work(&unknown), None);
        // What an agent tunnels counts from one sample to the next.
        let at = |second: u64| Time::from_nanos(second * 1_000_000_000);
        let event = Event::Tunnelled { datagrams: 200, took: Duration::ZERO, longest: Duration::ZERO };
        let tunnelled = Record { at: at(2), node: "s1".into(), event };
        let records = [s1[0].clone(), tunnelled, s1[1].clone()];
        assert_eq!(
            processors(&records, 1.0)["s1"].work(),
            Some(Duration::from_nanos(83_333)),
            "10 ms for 100 and 20"
        );
    }
}
