//! Calls: each with its Session Request Delay (RFC 6076 §4.3), what the caches did, and its floor.

use super::e_model;
use super::floor::Floors;
use super::history::{Call, History, MediaTotals};
use super::ledger::Signalling;
use super::statistics::{Delta, maybe_milliseconds, milliseconds};
use samp_model::record::CacheOutcome;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// Packets that the receiver's de-jitter buffer holds; usual are one to three.
const BUFFERED_PACKETS: u32 = 2;

/// One attempt to call.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    /// Its Call-ID.
    pub call: String,
    /// The node that called.
    pub caller: Option<String>,
    /// The node that accepted.
    pub callee: Option<String>,
    /// How the attempt ended.
    #[serde(flatten)]
    pub outcome: CallOutcome,
    /// Whether it was established and ended at both ends (RFC 6076 §4.9).
    pub completed: bool,
    /// The messages that its set-up has cost, in a report of a run that records them, when it was established.
    pub signalling: Option<Signalling>,
    /// What each end received in all, once the call is over.
    pub media: Vec<MediaReport>,
}

/// How an attempt to call ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CallOutcome {
    /// 200.
    Established {
        /// Session Request Delay.
        #[serde(rename = "srd_ms", serialize_with = "milliseconds")]
        srd: Duration,
        /// What the caches were worth.
        cache: CacheOutcome,
        /// The servers that the INVITE passed.
        path: Vec<IpAddr>,
        /// From the first server's passing it on to the last one's.
        #[serde(rename = "overlay_ms", serialize_with = "maybe_milliseconds")]
        overlay: Option<Duration>,
        /// The configured delays along the path, there and back, and along what was redirected before.
        #[serde(rename = "floor_ms", serialize_with = "maybe_milliseconds")]
        floor: Option<Duration>,
    },
    /// A final status other than 200.
    Failed {
        /// From the order to call until then.
        #[serde(rename = "srd_ms", serialize_with = "maybe_milliseconds")]
        srd: Option<Duration>,
        /// The final status.
        status: u16,
    },
    /// Neither yet.
    Pending,
}

/// What one end of a call received.
#[derive(Clone, Debug, Serialize)]
pub struct MediaReport {
    /// The node.
    pub node: String,
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets received.
    pub received: u64,
    /// RTP packets missing.
    pub lost: u64,
    /// The longest silence.
    #[serde(rename = "longest_silence_ms", serialize_with = "milliseconds")]
    pub longest_silence: Duration,
    /// Transmission rating factor R (ITU-T G.107) from its losses and from the delay that packets, the links between the
    /// ends when the call was set up, and a de-jitter buffer make.
    pub r: Option<f64>,
    /// The mean opinion score that R means, 1 to 4.5.
    pub mos: Option<f64>,
}

impl CallReport {
    /// All calls, in the order in which they were started.
    pub fn all(floors: &Floors<'_>, history: &History) -> Vec<Self> {
        history.calls().into_iter().map(|(id, call)| Self::assemble(floors, history, id, call)).collect()
    }

    /// One call.
    pub fn assemble(floors: &Floors<'_>, history: &History, id: &str, call: &Call) -> Self {
        let ends: Vec<&str> = [call.caller.as_deref(), call.callee()].into_iter().flatten().collect();
        let media: Vec<_> = call.media().map(|totals| media(floors, history, call, &ends, totals)).collect();
        Self {
            call: id.to_owned(),
            caller: call.caller.clone(),
            callee: call.callee().map(str::to_owned),
            outcome: outcome(floors, history, call),
            completed: call.established.is_some() && call.ended.is_some() && media.len() >= ends.len(),
            signalling: None,
            media,
        }
    }

    /// Servers on the path of the INVITE, when it was established.
    pub fn hops(&self) -> Option<usize> {
        match &self.outcome {
            CallOutcome::Established { path, .. } => Some(path.len()),
            _ => None,
        }
    }

    /// The delay above its floor, when it was established.
    pub fn overhead(&self) -> Option<Delta> {
        match self.outcome {
            CallOutcome::Established { srd, floor, .. } => Some(Delta::above(srd, floor?)),
            _ => None,
        }
    }
}

fn media(
    floors: &Floors<'_>,
    history: &History,
    call: &Call,
    ends: &[&str],
    totals: &MediaTotals,
) -> MediaReport {
    let peer = ends.iter().find(|end| **end != totals.node);
    let links = peer.zip(call.established.as_ref()).and_then(|(peer, established)| {
        floors.along(&floors.way_of_media(history, [peer, &totals.node], established.at)?)
    });
    let packets = totals.received + totals.lost;
    // A packet is sent when it is full, and heard when as many as the buffer holds have come.
    let packet = floors.topology().media.packet_interval;
    let delay = links.map(|links| packet + links + BUFFERED_PACKETS * packet);
    let r = delay
        .filter(|_| packets > 0)
        .map(|delay| e_model::rating(totals.lost as f64 / packets as f64, Delta::from(delay).as_millis()));
    MediaReport {
        node: totals.node.clone(),
        sent: totals.sent,
        received: totals.received,
        lost: totals.lost,
        longest_silence: totals.longest_silence,
        r,
        mos: r.map(e_model::opinion),
    }
}

fn outcome(floors: &Floors<'_>, history: &History, call: &Call) -> CallOutcome {
    if let Some(established) = &call.established {
        let ends = call.caller.as_deref().zip(call.callee());
        let way = ends.and_then(|(caller, callee)| floors.way(history, [caller, callee], established.at));
        let floor = way.and_then(|mut stops| {
            stops.splice(1..1, established.path.iter().copied());
            let redirected: Option<Duration> =
                established.redirected.iter().map(|way| floors.there_and_back(way)).sum();
            Some(floors.there_and_back(&stops)? + redirected?)
        });
        return CallOutcome::Established {
            srd: established.srd,
            cache: established.cache,
            path: established.path.clone(),
            overlay: call.forwarded.map(|(first, last)| last - first),
            floor,
        };
    }
    match call.failed {
        Some((at, status)) => CallOutcome::Failed { srd: call.started.map(|started| at - started), status },
        None => CallOutcome::Pending,
    }
}
