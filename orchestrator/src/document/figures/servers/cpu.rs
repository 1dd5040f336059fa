//! What of their CPU quotas the servers have used, and for how long they were held back.

use super::super::super::{Figure, Material, Table};
use super::DRAWN;
use samp_chart::{Bar, Bars, Entry, Key, Part};
use samp_model::{Event, Record, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one server has had while the run lasted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cpu {
    /// CPU time.
    used: Duration,
    /// The share of its quota that this is.
    share: f64,
    /// The share of the busiest second.
    most: f64,
    held_back: Duration,
    periods: u64,
    periods_held_back: u64,
}

/// A record of it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    used: Duration,
    throttled: Duration,
    periods: u64,
    periods_throttled: u64,
}

/// The figure, where servers have a quota.
pub(super) fn figure(material: &Material) -> Option<Figure> {
    let thousandths = material.run.topology.emulation.server_cpu?.get();
    let mut servers: Vec<_> = samples(&material.run.records)
        .into_iter()
        .filter_map(|(name, samples)| Some((name, Cpu::of(&samples, f64::from(thousandths) / 1000.0)?)))
        .collect();
    servers.sort_by(|(_, a), (_, b)| b.share.total_cmp(&a.share));
    let title = "CPU time of the servers";
    let bar = |(name, cpu): &(&str, Cpu)| {
        let percent = 100.0 * cpu.share;
        let tip =
            format!("{name}: {percent:.1} % of its quota; {:.1} % in the busiest second", 100.0 * cpu.most);
        let part = Part { class: "s1".into(), is_pale: false, from: 0.0, length: percent, tip };
        let value = format!("{percent:.0} / {:.0} %", 100.0 * cpu.share_held_back());
        Bar { name: (*name).to_owned(), href: None, parts: vec![part], value }
    };
    let picture = Bars {
        title: title.to_owned(),
        label: "% of the quota / of the periods, held back",
        rows: servers.iter().take(DRAWN).map(bar).collect(),
        legend: vec![Entry { class: "s1".into(), name: "used".into(), key: Key::Box }],
        width: 640.0,
    };
    let row = |(name, cpu): &(&str, Cpu)| {
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        vec![
            (*name).to_owned(),
            ms(cpu.used),
            format!("{:.1}", 100.0 * cpu.share),
            format!("{:.1}", 100.0 * cpu.most),
            cpu.periods.to_string(),
            cpu.periods_held_back.to_string(),
            ms(cpu.held_back),
        ]
    };
    let header = [
        "server",
        "used ms",
        "% of quota",
        "% in busiest second",
        "periods run in",
        "held back in",
        "held back ms",
    ];
    let caption = format!(
        "Each server may use {} % of one processor. Held back is the share of the quota's periods, among those in which it ran, \
         in which it had used it up and had to wait for the next one.",
        f64::from(thousandths) / 10.0
    );
    Some(Figure {
        id: "servers-cpu".into(),
        title: title.to_owned(),
        caption,
        picture: Some(picture.picture()),
        table: Table::of(&header, servers.iter().map(row)),
        is_half: false,
    })
}

fn samples(records: &[Record]) -> BTreeMap<&str, Vec<Sample>> {
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for record in records {
        if let Event::ServerCpu { used, throttled, periods, periods_throttled } = record.event {
            let sample = Sample { at: record.at, used, throttled, periods, periods_throttled };
            samples.entry(&record.node).or_default().push(sample);
        }
    }
    samples
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
        })
    }

    fn share_held_back(&self) -> f64 {
        self.periods_held_back as f64 / self.periods.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, used: u64, periods_throttled: u64) -> Sample {
        let ms = Duration::from_millis;
        Sample {
            at: Time::from_nanos(second * 1_000_000_000),
            used: ms(used),
            throttled: ms(used / 2),
            periods: 10 * second,
            periods_throttled,
        }
    }

    #[test]
    fn what_was_used_before_the_first_sample_does_not_count() {
        let cpu = Cpu::of(&[sample(1, 500, 7), sample(2, 510, 8), sample(3, 560, 12)], 0.05).unwrap();
        assert_eq!((cpu.used, cpu.held_back), (Duration::from_millis(60), Duration::from_millis(30)));
        assert!((cpu.share - 0.6).abs() < 1e-9 && (cpu.most - 1.0).abs() < 1e-9, "{cpu:?}");
        assert_eq!((cpu.periods, cpu.periods_held_back), (20, 5));
        assert_eq!(cpu.share_held_back(), 0.25);
        // A server that has died has used nothing that could be asked for.
        assert_eq!(Cpu::of(&[sample(1, 500, 7), sample(2, 0, 7)], 0.05).unwrap().used, Duration::ZERO);
        assert_eq!(Cpu::of(&[], 0.05), None);
    }
}
