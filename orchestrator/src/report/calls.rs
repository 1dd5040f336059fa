//! Calls: each with its Session Request Delay (RFC 6076 §4.3), what the caches did, and its floor.

use super::floor::Floors;
use super::history::{Call, History};
use super::registrations::address_at;
use super::statistics::{Delta, maybe_milliseconds, milliseconds};
use samp_model::record::CacheOutcome;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

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
}

impl CallReport {
    /// All calls, in the order in which they were started.
    pub fn all(floors: &Floors<'_>, history: &History) -> Vec<Self> {
        history.calls().into_iter().map(|(id, call)| Self::assemble(floors, history, id, call)).collect()
    }

    /// One call.
    pub fn assemble(floors: &Floors<'_>, history: &History, id: &str, call: &Call) -> Self {
        Self {
            call: id.to_owned(),
            caller: call.caller.clone(),
            callee: call.callee().map(str::to_owned),
            outcome: outcome(floors, history, call),
            media: call
                .media()
                .map(|totals| MediaReport {
                    node: totals.node.clone(),
                    sent: totals.sent,
                    received: totals.received,
                    lost: totals.lost,
                    longest_silence: totals.longest_silence,
                })
                .collect(),
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

fn outcome(floors: &Floors<'_>, history: &History, call: &Call) -> CallOutcome {
    if let Some(established) = &call.established {
        let ends = call.caller.as_deref().zip(call.callee()).and_then(|(caller, callee)| {
            Some((address_at(history, caller, established.at)?, address_at(history, callee, established.at)?))
        });
        let floor = ends.and_then(|(caller, callee)| {
            let mut stops = vec![caller];
            stops.extend(&established.path);
            stops.push(callee);
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
