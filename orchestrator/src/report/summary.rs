//! A run in figures: every segment, phase and delay as median, 95th percentile and maximum.

use super::Report;
use super::calls::CallOutcome;
use super::handoffs::{Direction, Handoff};
use super::interventions::Intervention;
use super::ledger::Signalling;
use super::outages::ServerDeath;
use super::path::CriticalPath;
use super::registrations::Registration;
use super::statistics::{Delta, Ranks};
use super::tunnels::TunnelCost;
use samp_model::knobs::Knob;
use samp_model::record::{CacheOutcome, RegistrationScope};
use samp_model::settings::Records;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A run in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The handoffs.
    pub handoffs: HandoffSummary,
    /// The registrations, by the server they are with.
    pub registrations: Vec<RegistrationSummary>,
    /// The calls.
    pub calls: CallSummary,
    /// Whether single messages were recorded; else there is no `signalling`.
    pub records: Records,
    /// What handoffs and the set-up of calls have cost in messages.
    pub signalling: Vec<SignallingSummary>,
    /// Calls that moved to another terminal.
    pub transfers: TransferSummary,
    /// What was done to the lab from outside.
    pub interventions: Vec<Intervention>,
    /// The servers that died.
    pub deaths: Vec<DeathSummary>,
    /// What tunnels cost, with Mobile IPv6 in a lab.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<TunnelCost>,
    /// How SAMP was set, knob by knob.
    pub knobs: Vec<Knob>,
}

/// A server's death in figures.
#[derive(Clone, Debug, Serialize)]
pub struct DeathSummary {
    /// The server.
    pub server: String,
    /// How many mobile nodes there are.
    pub mobile_nodes: usize,
    /// How many of them were registered with it.
    pub affected: usize,
    /// How many of those were not registered again.
    pub for_good: usize,
    /// For how long they were without service; until the end of the run, where it was for good.
    pub outage: Option<Ranks<Delta>>,
    /// Calls that were begun since.
    pub calls: usize,
    /// Those of them that were not established.
    pub calls_failed: usize,
}

/// What something has cost in messages: see [`Signalling`].
#[derive(Clone, Debug, Serialize)]
pub struct SignallingSummary {
    /// Of what.
    pub of: &'static str,
    /// How many messages each of them.
    pub messages: Ranks<u64>,
    /// How long they were together, in bytes.
    pub bytes: Ranks<u64>,
}

/// The attempts of a run to move calls to other terminals.
#[derive(Clone, Debug, Serialize)]
pub struct TransferSummary {
    /// How many there were.
    pub n: usize,
    /// From the REFER until both ends of the new call heard each other.
    pub took: Option<Ranks<Delta>>,
}

/// All handoffs of a run.
#[derive(Clone, Debug, Serialize)]
pub struct HandoffSummary {
    /// How many there were.
    pub n: usize,
    /// How many of them came to their end.
    pub complete: usize,
    /// The critical paths, by kind; only complete handoffs count.
    pub paths: Vec<PathSummary>,
    /// The phases, which may overlap.
    pub phases: Vec<Named>,
    /// What the attachment cost the emulator.
    pub attach_cost: Option<Ranks<Delta>>,
    /// Frames that were on a radio link at detachment and were dropped.
    pub frames_dropped: u64,
    /// The media, by direction.
    pub media: Vec<MediaSummary>,
}

/// One kind of critical path.
#[derive(Clone, Debug, Serialize)]
pub struct PathSummary {
    /// Which.
    pub path: &'static str,
    /// The whole.
    pub total: Ranks<Delta>,
    /// What the configured delays alone make of it.
    pub floor: Option<Ranks<Delta>>,
    /// The total above its floor.
    pub overhead: Option<Ranks<Delta>>,
    /// Its segments, in order.
    pub segments: Vec<SegmentSummary>,
}

/// One segment of a kind of path.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentSummary {
    /// Its name.
    pub segment: &'static str,
    /// How long it took.
    pub took: Ranks<Delta>,
    /// What the configured delays alone make of it.
    pub floor: Option<Ranks<Delta>>,
    /// What it took above its floor.
    pub overhead: Option<Ranks<Delta>>,
}

/// A figure with a name.
#[derive(Clone, Debug, Serialize)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// The figure.
    pub took: Ranks<Delta>,
}

/// What handoffs did to the media of one direction.
#[derive(Clone, Debug, Serialize)]
pub struct MediaSummary {
    /// Seen from the mobile node.
    pub direction: &'static str,
    /// Silence before the first packet on the new path.
    pub media_gap: Ranks<Delta>,
    /// Packets missing before it.
    pub packets_lost: Ranks<u64>,
    /// All of them together.
    pub packets_lost_total: u64,
    /// For how long that packet was at the agents whose tunnels it passed, by their means around then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_cost: Option<Ranks<Delta>>,
}

/// Registrations with one kind of server.
#[derive(Clone, Debug, Serialize)]
pub struct RegistrationSummary {
    /// Which.
    pub scope: RegistrationScope,
    /// How many failed.
    pub failed: usize,
    /// Registration Request Delay of the successes.
    pub rrd: Option<Ranks<Delta>>,
    /// What the configured delays alone make of it.
    pub floor: Option<Ranks<Delta>>,
    /// The delay above its floor.
    pub overhead: Option<Ranks<Delta>>,
    /// Servers on the path.
    pub hops: Option<Ranks<u64>>,
}

/// The calls of a run.
#[derive(Clone, Debug, Serialize)]
pub struct CallSummary {
    /// How many attempts.
    pub attempts: usize,
    /// How many of them were answered 200.
    pub established: usize,
    /// Session Establishment Ratio (RFC 6076 §4.6), 0 to 1; nothing in a lab redirects, so all attempts count.
    pub ser: Option<f64>,
    /// The established ones, by what the caches did.
    pub by_cache: Vec<CacheSummary>,
    /// Delay of the failures, from the order to call to the final status.
    pub failed_srd: Option<Ranks<Delta>>,
    /// How many failures had which final status.
    pub failed_by_status: BTreeMap<u16, usize>,
}

/// Established calls with one cache outcome.
#[derive(Clone, Debug, Serialize)]
pub struct CacheSummary {
    /// What the caches did.
    pub cache: CacheOutcome,
    /// Session Request Delay.
    pub srd: Ranks<Delta>,
    /// What the configured delays along the path alone make of it; time lost on a stale entry is not in it.
    pub floor: Option<Ranks<Delta>>,
    /// The delay above its floor.
    pub overhead: Option<Ranks<Delta>>,
    /// Servers on the path of the INVITE.
    pub hops: Ranks<u64>,
    /// From the first server's passing the INVITE on to the last one's.
    pub overlay: Option<Ranks<Delta>>,
}

impl Summary {
    pub(super) fn of(report: &Report) -> Self {
        Self {
            handoffs: handoffs(&report.handoffs.0),
            registrations: [RegistrationScope::Anchor, RegistrationScope::Home]
                .into_iter()
                .filter_map(|scope| registrations(scope, &report.registrations))
                .collect(),
            calls: calls(report),
            records: report.records,
            signalling: [
                SignallingSummary::of(
                    "handoffs",
                    report.handoffs.0.iter().filter_map(|handoff| handoff.signalling),
                ),
                SignallingSummary::of("calls", report.calls.iter().filter_map(|call| call.signalling)),
            ]
            .into_iter()
            .flatten()
            .collect(),
            transfers: TransferSummary {
                n: report.transfers.len(),
                took: Ranks::of_durations(report.transfers.iter().filter_map(|transfer| transfer.took)),
            },
            interventions: report.interventions.clone(),
            deaths: report.deaths.iter().map(DeathSummary::of).collect(),
            tunnels: report.tunnels.clone(),
            knobs: report.knobs.clone(),
        }
    }
}

impl SignallingSummary {
    fn of(of: &'static str, costs: impl Iterator<Item = Signalling> + Clone) -> Option<Self> {
        let messages = Ranks::of(costs.clone().map(|cost| cost.messages))?;
        Some(Self { of, messages, bytes: Ranks::of(costs.map(|cost| cost.bytes))? })
    }
}

impl DeathSummary {
    fn of(death: &ServerDeath) -> Self {
        Self {
            server: death.server.clone(),
            mobile_nodes: death.mobile_nodes,
            affected: death.outages.len(),
            for_good: death.outages.iter().filter(|outage| !outage.is_over).count(),
            outage: Ranks::of_durations(death.outages.iter().map(|outage| outage.took)),
            calls: death.calls,
            calls_failed: death.calls_failed,
        }
    }
}

fn handoffs(all: &[Handoff]) -> HandoffSummary {
    let complete: Vec<&Handoff> = all.iter().filter(|handoff| handoff.is_complete()).collect();
    let calls = || complete.iter().flat_map(|handoff| &handoff.calls);
    let registrations = |kind: &'static str| {
        let of_kind = complete.iter().filter(move |handoff| handoff.registration_kind == kind);
        of_kind.filter_map(|handoff| handoff.registration.as_ref()).collect::<Vec<_>>()
    };
    let downlinks: Vec<_> = calls().filter_map(|call| call.downlink.path.as_ref()).collect();
    let uplinks: Vec<_> = calls().filter_map(|call| call.uplink.path.as_ref()).collect();
    let paths = [
        ("downlink", downlinks),
        ("uplink", uplinks),
        ("registration", registrations("")),
        ("registration, anchor kept", registrations("anchor kept")),
        ("registration, new anchor", registrations("new anchor")),
        ("registration, MAP kept", registrations("MAP kept")),
        ("registration, new MAP", registrations("new MAP")),
    ];
    let media = [
        ("downlink", calls().map(|call| &call.downlink).collect::<Vec<_>>()),
        ("uplink", calls().map(|call| &call.uplink).collect()),
    ];
    HandoffSummary {
        n: all.len(),
        complete: complete.len(),
        paths: paths.into_iter().filter_map(|(name, paths)| PathSummary::of(name, &paths)).collect(),
        phases: phases(&complete),
        attach_cost: Ranks::of_durations(complete.iter().map(|handoff| handoff.attach_cost)),
        frames_dropped: all.iter().map(|handoff| handoff.frames_dropped).sum(),
        media: media
            .into_iter()
            .filter_map(|(name, directions)| MediaSummary::of(name, &directions))
            .collect(),
    }
}

/// The phases in the order in which they first appear, so that a table reads as a handoff goes.
fn phases(complete: &[&Handoff]) -> Vec<Named> {
    let mut samples: Vec<(&'static str, Vec<Duration>)> = Vec::new();
    for phase in complete.iter().flat_map(|handoff| &handoff.phases) {
        match samples.iter_mut().find(|(name, _)| *name == phase.name) {
            Some((_, sample)) => sample.push(phase.took),
            None => samples.push((phase.name, vec![phase.took])),
        }
    }
    let named = |(name, sample)| Some(Named { name, took: Ranks::of_durations(sample)? });
    samples.into_iter().filter_map(named).collect()
}

impl PathSummary {
    fn of(name: &'static str, paths: &[&CriticalPath]) -> Option<Self> {
        let mut order: Vec<&'static str> = Vec::new();
        for path in paths {
            let mut place = 0;
            for segment in path.segments() {
                // A segment that only some paths have goes behind the one that it follows there.
                match order.iter().position(|known| *known == segment.name) {
                    Some(known) => place = place.max(known + 1),
                    None => {
                        order.insert(place, segment.name);
                        place += 1;
                    }
                }
            }
        }
        let segment = |name| {
            let of_name = || paths.iter().flat_map(|path| path.segments()).filter(move |s| s.name == name);
            Some(SegmentSummary {
                segment: name,
                took: Ranks::of_durations(of_name().map(|segment| segment.took))?,
                floor: Ranks::of_durations(of_name().filter_map(|segment| segment.floor)),
                overhead: Ranks::of(
                    of_name().filter_map(|segment| Some(Delta::above(segment.took, segment.floor?))),
                ),
            })
        };
        Some(Self {
            path: name,
            total: Ranks::of_durations(paths.iter().map(|path| path.total()))?,
            floor: Ranks::of_durations(paths.iter().filter_map(|path| path.floor())),
            overhead: Ranks::of(paths.iter().filter_map(|path| path.overhead())),
            segments: order.into_iter().filter_map(segment).collect(),
        })
    }
}

impl MediaSummary {
    fn of(direction: &'static str, directions: &[&Direction]) -> Option<Self> {
        let lost = || directions.iter().filter_map(|direction| direction.packets_lost);
        Some(Self {
            direction,
            media_gap: Ranks::of_durations(directions.iter().filter_map(|direction| direction.media_gap))?,
            packets_lost: Ranks::of(lost())?,
            packets_lost_total: lost().sum(),
            tunnel_cost: Ranks::of_durations(directions.iter().filter_map(|direction| direction.tunnel_cost)),
        })
    }
}

fn registrations(scope: RegistrationScope, all: &[Registration]) -> Option<RegistrationSummary> {
    let of_scope = || all.iter().filter(move |registration| registration.scope == scope);
    of_scope().next()?;
    Some(RegistrationSummary {
        scope,
        failed: of_scope().filter(|registration| registration.rrd().is_none()).count(),
        rrd: Ranks::of_durations(of_scope().filter_map(Registration::rrd)),
        floor: Ranks::of_durations(of_scope().filter_map(Registration::floor)),
        overhead: Ranks::of(of_scope().filter_map(Registration::overhead)),
        hops: Ranks::of(of_scope().filter_map(Registration::hops).map(|hops| hops as u64)),
    })
}

fn calls(report: &Report) -> CallSummary {
    let mut by_cache: BTreeMap<CacheOutcome, Vec<usize>> = BTreeMap::new();
    let mut failed_srd = Vec::new();
    let mut failed_by_status = BTreeMap::new();
    let mut established = 0;
    for (index, call) in report.calls.iter().enumerate() {
        match &call.outcome {
            CallOutcome::Established { cache, .. } => {
                established += 1;
                by_cache.entry(*cache).or_default().push(index);
            }
            CallOutcome::Failed { srd, status } => {
                failed_srd.extend(*srd);
                *failed_by_status.entry(*status).or_default() += 1;
            }
            CallOutcome::Pending => {}
        }
    }
    let attempts = report.calls.len();
    CallSummary {
        attempts,
        established,
        ser: (attempts > 0).then(|| established as f64 / attempts as f64),
        by_cache: by_cache
            .into_iter()
            .filter_map(|(cache, calls)| cache_summary(report, cache, &calls))
            .collect(),
        failed_srd: Ranks::of_durations(failed_srd),
        failed_by_status,
    }
}

fn cache_summary(report: &Report, cache: CacheOutcome, calls: &[usize]) -> Option<CacheSummary> {
    let mut delays = Vec::new();
    let mut floors = Vec::new();
    let mut overlays = Vec::new();
    for call in calls {
        if let CallOutcome::Established { srd, floor, overlay, .. } = &report.calls[*call].outcome {
            delays.push(*srd);
            floors.extend(*floor);
            overlays.extend(*overlay);
        }
    }
    let of_outcome = || calls.iter().map(|call| &report.calls[*call]);
    Some(CacheSummary {
        cache,
        srd: Ranks::of_durations(delays)?,
        floor: Ranks::of_durations(floors),
        overhead: Ranks::of(of_outcome().filter_map(|call| call.overhead())),
        hops: Ranks::of(of_outcome().filter_map(|call| call.hops()).map(|hops| hops as u64))?,
        overlay: Ranks::of_durations(overlays),
    })
}
