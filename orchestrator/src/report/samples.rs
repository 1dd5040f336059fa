//! What a run says of each metric, and what many values of it say together.

use super::Report;
use super::calls::CallOutcome;
use super::handoffs::Handoff;
use super::ledger::Signalling;
use super::registrations::Registration;
use super::statistics::{Delta, Ranks};
use samp_model::experiment::Statistic;
use samp_model::metric::{Kind, Metric};
use samp_model::record::{CacheOutcome, RegistrationScope};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Points of a distribution at most.
const POINTS: usize = 101;
/// The standard normal distribution's 97.5th percentile.
const Z: f64 = 1.96;

/// The values of each metric that has any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(BTreeMap<Metric, Values>);

/// The values of one metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// In the metric's unit, in order.
    Sample(Vec<f64>),
    /// So many of so many.
    Share {
        /// Those that count.
        of: u64,
        /// All.
        all: u64,
    },
}

/// The values of one metric in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// Of a sample, in the metric's unit; percentiles by the nearest-rank method.
    Sample {
        /// How many values.
        n: usize,
        /// The median.
        p50: f64,
        /// Its bootstrap 95 % interval.
        p50_ci95: [f64; 2],
        /// The 95th percentile.
        p95: f64,
        /// The 99th percentile.
        p99: f64,
        /// The maximum.
        max: f64,
        /// The distribution: values, each with the share of all that are not larger.
        cdf: Vec<[f64; 2]>,
    },
    /// Of a share.
    Share {
        /// Those that count.
        of: u64,
        /// All.
        all: u64,
        /// The share, in percent.
        percent: f64,
        /// Its 95 % interval (Wilson 1927), in percent.
        ci95: [f64; 2],
    },
}

/// The figures of a metric.
#[derive(Clone, Debug, Serialize)]
pub struct MetricFigures {
    /// Which.
    pub metric: Metric,
    /// What kind of figures they are.
    pub kind: Kind,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Samples {
    /// Of a run.
    pub fn of(report: &Report) -> Self {
        let mut samples = Self::default();
        samples.handoffs(&report.handoffs.0);
        samples.registrations(report);
        samples.calls(report);
        samples.outages(report);
        samples
    }

    /// Those of another run are added.
    pub fn extend(&mut self, other: &Self) {
        for (metric, values) in &other.0 {
            match values {
                Values::Sample(values) => self.add(*metric, values.iter().copied()),
                Values::Share { of, all } => self.count(*metric, *of, *all),
            }
        }
    }

    /// The values of a metric.
    pub fn get(&self, metric: Metric) -> Option<&Values> {
        self.0.get(&metric)
    }

    /// All metrics that have values, in figures.
    pub fn figures(&self) -> Vec<MetricFigures> {
        let figures = |(metric, values): (&Metric, &Values)| MetricFigures {
            metric: *metric,
            kind: metric.kind(),
            figures: values.figures(),
        };
        self.0.iter().map(figures).collect()
    }

    fn add(&mut self, metric: Metric, values: impl IntoIterator<Item = f64>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        if let Values::Sample(sample) = self.0.entry(metric).or_insert(Values::Sample(Vec::new())) {
            sample.extend(values);
            sample.sort_by(f64::total_cmp);
        }
    }

    fn times(&mut self, metric: Metric, times: impl IntoIterator<Item = Duration>) {
        self.add(metric, times.into_iter().map(|time| Delta::from(time).as_millis()));
    }

    /// A share of nothing is none.
    fn count(&mut self, metric: Metric, more_of: u64, more: u64) {
        if more == 0 {
            return;
        }
        if let Values::Share { of, all } = self.0.entry(metric).or_insert(Values::Share { of: 0, all: 0 }) {
            *of += more_of;
            *all += more;
        }
    }

    fn share<T>(&mut self, metric: Metric, all: impl Iterator<Item = T>, counts: impl Fn(&T) -> bool) {
        let all: Vec<_> = all.collect();
        self.count(metric, all.iter().filter(|one| counts(one)).count() as u64, all.len() as u64);
    }

    fn handoffs(&mut self, all: &[Handoff]) {
        self.share(Metric::HandoffComplete, all.iter(), |handoff| handoff.is_complete());
        let complete: Vec<&Handoff> = all.iter().filter(|handoff| handoff.is_complete()).collect();
        let calls = || complete.iter().flat_map(|handoff| &handoff.calls);
        let downlinks = || calls().map(|call| &call.downlink);
        let uplinks = || calls().map(|call| &call.uplink);
        let registered = |handoff: &&Handoff| Some(handoff.registration.as_ref()?.total());
        let phases = |name| {
            let phases = complete.iter().flat_map(|handoff| &handoff.phases);
            phases.filter(move |phase| phase.name == name).map(|phase| phase.took)
        };
        let without_call = complete.iter().filter(|handoff| handoff.calls.is_empty());
        let downlink_totals = || downlinks().filter_map(|way| Some(way.path.as_ref()?.total()));
        self.times(Metric::HandoffTotal, downlink_totals().chain(without_call.filter_map(registered)));
        self.times(Metric::HandoffDownlink, downlink_totals());
        self.times(Metric::HandoffUplink, uplinks().filter_map(|way| Some(way.path.as_ref()?.total())));
        self.times(Metric::HandoffRegistration, complete.iter().filter_map(registered));
        for (metric, kept) in [(Metric::HandoffAnchorKept, true), (Metric::HandoffNewAnchor, false)] {
            let of_kind = complete.iter().filter(|handoff| handoff.anchor_kept == kept);
            self.times(metric, of_kind.filter_map(registered));
        }
        self.times(Metric::HandoffDiscovery, phases("anchor_discovery"));
        self.times(Metric::HandoffUpdate, phases("session_update"));
        self.times(Metric::HandoffGapDownlink, downlinks().filter_map(|way| way.media_gap));
        self.times(Metric::HandoffGapUplink, uplinks().filter_map(|way| way.media_gap));
        let lost = |lost: Option<u64>| lost.map(|lost| lost as f64);
        self.add(Metric::HandoffLostDownlink, downlinks().filter_map(|way| lost(way.packets_lost)));
        self.add(Metric::HandoffLostUplink, uplinks().filter_map(|way| lost(way.packets_lost)));
        let costs = complete.iter().filter_map(|handoff| handoff.signalling);
        self.signalling([Metric::HandoffMessages, Metric::HandoffBytes], costs);
    }

    fn signalling(
        &mut self,
        [messages, bytes]: [Metric; 2],
        costs: impl Iterator<Item = Signalling> + Clone,
    ) {
        self.add(messages, costs.clone().map(|cost| cost.messages as f64));
        self.add(bytes, costs.map(|cost| cost.bytes as f64));
    }

    fn registrations(&mut self, report: &Report) {
        let all = || report.registrations.iter();
        self.share(Metric::Ira, all(), |registration| registration.rrd().is_none());
        let mut by_server: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for server in all().filter_map(Registration::server) {
            *by_server.entry(server).or_default() += 1;
        }
        self.count(Metric::Busiest, by_server.values().max().copied().unwrap_or(0), by_server.values().sum());
        self.times(Metric::Rrd, all().filter_map(|registration| registration.rrd()));
        for (metric, scope) in
            [(Metric::RrdAnchor, RegistrationScope::Anchor), (Metric::RrdHome, RegistrationScope::Home)]
        {
            let of_scope = all().filter(|registration| registration.scope == scope);
            self.times(metric, of_scope.filter_map(|registration| registration.rrd()));
        }
    }

    fn outages(&mut self, report: &Report) {
        for death in &report.deaths {
            self.count(Metric::ServiceAffected, death.outages.len() as u64, death.mobile_nodes as u64);
            self.times(Metric::ServiceOutage, death.outages.iter().map(|outage| outage.took));
        }
    }

    fn calls(&mut self, report: &Report) {
        let all = || report.calls.iter();
        let status = |outcome: &CallOutcome| match outcome {
            CallOutcome::Established { .. } => 200,
            CallOutcome::Failed { status, .. } => *status,
            CallOutcome::Pending => 0,
        };
        // RFC 6076 §4.6: what is redirected is another request's success or failure.
        let not_redirected =
            || all().map(|call| status(&call.outcome)).filter(|status| !(300..400).contains(status));
        self.share(Metric::Ser, not_redirected(), |status| *status == 200);
        self.share(Metric::Seer, not_redirected(), |status| matches!(status, 200 | 480 | 486 | 600 | 603));
        let ineffective = |status: &u16| matches!(status, 408 | 500 | 503 | 504);
        self.share(Metric::Isa, all().map(|call| status(&call.outcome)), ineffective);
        self.share(Metric::Scr, all(), |call| call.completed);
        let mut hops = Vec::new();
        for call in all() {
            match &call.outcome {
                CallOutcome::Established { srd, cache, .. } => {
                    self.times(Metric::Srd, [*srd]);
                    if let Some(metric) = of_cache(*cache) {
                        self.times(metric, [*srd]);
                    }
                    hops.extend(call.hops().map(|hops| hops as f64));
                }
                CallOutcome::Failed { srd, .. } => self.times(Metric::SrdFailed, *srd),
                CallOutcome::Pending => {}
            }
        }
        self.add(Metric::CallHops, hops);
        self.signalling([Metric::CallMessages, Metric::CallBytes], all().filter_map(|call| call.signalling));
        let media = || all().flat_map(|call| &call.media);
        self.add(Metric::MediaR, media().filter_map(|end| end.r));
        self.add(Metric::MediaMos, media().filter_map(|end| end.mos));
        self.times(Metric::MediaSilence, media().map(|end| end.longest_silence));
        let [lost, received] =
            [media().map(|end| end.lost).sum(), media().map(|end| end.received).sum::<u64>()];
        self.count(Metric::MediaLoss, lost, lost + received);
    }
}

fn of_cache(cache: CacheOutcome) -> Option<Metric> {
    Some(match cache {
        CacheOutcome::Tier1Hit => Metric::SrdTier1Hit,
        CacheOutcome::Tier1Stale | CacheOutcome::Tier1StaleTier2Hit => Metric::SrdTier1Stale,
        CacheOutcome::Tier2Hit => Metric::SrdTier2Hit,
        CacheOutcome::Tier2Stale => Metric::SrdTier2Stale,
        CacheOutcome::Miss => Metric::SrdMiss,
        CacheOutcome::Unused => return None,
    })
}

impl FromIterator<(Metric, Values)> for Samples {
    fn from_iter<I: IntoIterator<Item = (Metric, Values)>>(values: I) -> Self {
        let mut samples = Self::default();
        for one in values {
            samples.extend(&Self(BTreeMap::from([one])));
        }
        samples
    }
}

impl Values {
    /// The one number that stands for all: the median, or the share in percent.
    pub fn middle(&self) -> f64 {
        match self.figures() {
            Figures::Sample { p50, .. } => p50,
            Figures::Share { percent, .. } => percent,
        }
    }

    /// The values in figures.
    pub fn figures(&self) -> Figures {
        match self {
            Values::Sample(sorted) => {
                // There is no sample without a value.
                let ranks = Ranks::of_sorted(sorted).unwrap_or_default();
                let Ranks { n, p50, p50_ci95, p95, p99, max } = ranks;
                Figures::Sample { n, p50, p50_ci95, p95, p99, max, cdf: distribution(sorted) }
            }
            Values::Share { of, all } => {
                let ci95 = wilson(*of as f64, *all as f64).map(|share| 100.0 * share);
                Figures::Share { of: *of, all: *all, percent: 100.0 * *of as f64 / *all as f64, ci95 }
            }
        }
    }
}

impl Figures {
    /// One figure; none of a share stands for the share itself.
    pub fn get(&self, statistic: Option<Statistic>) -> f64 {
        match (self, statistic) {
            (Figures::Share { all, .. }, Some(Statistic::N)) => *all as f64,
            (Figures::Share { percent, .. }, _) => *percent,
            (Figures::Sample { n, .. }, Some(Statistic::N)) => *n as f64,
            (Figures::Sample { p95, .. }, Some(Statistic::P95)) => *p95,
            (Figures::Sample { p99, .. }, Some(Statistic::P99)) => *p99,
            (Figures::Sample { max, .. }, Some(Statistic::Max)) => *max,
            (Figures::Sample { p50, .. }, Some(Statistic::P50) | None) => *p50,
        }
    }
}

/// How a metric's numbers are written, without the unit.
pub fn number(metric: Metric, value: f64) -> String {
    match metric.kind() {
        Kind::Count => format!("{value:.0}"),
        Kind::Share => format!("{value:.1}"),
        Kind::Score => format!("{value:.2}"),
        Kind::Milliseconds => format!("{value:.3}"),
    }
}

fn distribution(sorted: &[f64]) -> Vec<[f64; 2]> {
    let n = sorted.len();
    let points = n.min(POINTS);
    let mut cdf: Vec<[f64; 2]> = Vec::new();
    for point in 1..=points {
        let rank = (point * n).div_ceil(points);
        let [value, share] = [sorted[rank - 1], rank as f64 / n as f64];
        match cdf.last_mut() {
            Some(last) if last[0] == value => last[1] = share,
            _ => cdf.push([value, share]),
        }
    }
    cdf
}

/// The 95 % interval of a share (Wilson 1927).
fn wilson(of: f64, all: f64) -> [f64; 2] {
    let share = of / all;
    let middle = share + Z * Z / (2.0 * all);
    let half = Z * (share * (1.0 - share) / all + Z * Z / (4.0 * all * all)).sqrt();
    [-1.0, 1.0].map(|side| ((middle + side * half) / (1.0 + Z * Z / all)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_wilsons_interval() {
        // Newcombe 1998, table I: 81 of 263 is 0.3080, with 0.2553 to 0.3662.
        let [low, high] = wilson(81.0, 263.0);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0.0, 10.0)[0], 0.0);
        let Figures::Share { percent, ci95, .. } = (Values::Share { of: 4, all: 4 }).figures() else {
            panic!()
        };
        assert!(percent == 100.0 && ci95[1] == 100.0 && ci95[0] < 52.0);
    }

    #[test]
    fn a_distribution_has_each_value_once_and_not_too_many() {
        assert_eq!(distribution(&[1.0, 2.0, 2.0, 4.0]), [[1.0, 0.25], [2.0, 0.75], [4.0, 1.0]]);
        let many: Vec<f64> = (1..=1010).map(f64::from).collect();
        let cdf = distribution(&many);
        assert_eq!((cdf.len(), cdf[0], cdf[100]), (101, [10.0, 10.0 / 1010.0], [1010.0, 1.0]));
        assert_eq!(distribution(&[]), Vec::<[f64; 2]>::new());
    }

    #[test]
    fn samples_of_runs_are_put_together_in_order() {
        let mut one = Samples::default();
        one.add(Metric::Srd, [3.0, 1.0]);
        one.count(Metric::Ser, 1, 2);
        one.count(Metric::Scr, 0, 0);
        let mut other = Samples::default();
        other.add(Metric::Srd, [2.0]);
        other.add(Metric::Rrd, []);
        other.count(Metric::Ser, 3, 3);
        one.extend(&other);
        assert_eq!(one.get(Metric::Srd), Some(&Values::Sample(vec![1.0, 2.0, 3.0])));
        assert_eq!(one.get(Metric::Ser), Some(&Values::Share { of: 4, all: 5 }));
        assert_eq!((one.get(Metric::Scr), one.get(Metric::Rrd)), (None, None));
        assert_eq!(one.get(Metric::Srd).unwrap().middle(), 2.0);
    }
}
