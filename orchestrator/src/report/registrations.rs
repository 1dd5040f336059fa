//! Registrations: each with its Registration Request Delay (RFC 6076 §4.1) and its floor.

use super::floor::Floors;
use super::history::History;
use super::statistics::{Delta, maybe_milliseconds, milliseconds};
use samp_model::record::{HandoffNumber, RegistrationScope};
use samp_model::{Event, Time};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// One REGISTER transaction of a mobile node.
#[derive(Clone, Debug, Serialize)]
pub struct Registration {
    /// The mobile node.
    pub node: String,
    /// At which attachment; 0 is the first.
    pub handoff: HandoffNumber,
    /// With which of its two servers.
    pub scope: RegistrationScope,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: RegistrationOutcome,
}

/// How a registration ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RegistrationOutcome {
    /// 200.
    Registered {
        /// Registration Request Delay.
        #[serde(rename = "rrd_ms", serialize_with = "milliseconds")]
        rrd: Duration,
        /// The servers on its path.
        path: Vec<IpAddr>,
        /// The configured delays along the path, there and back.
        #[serde(rename = "floor_ms", serialize_with = "maybe_milliseconds")]
        floor: Option<Duration>,
    },
    /// No 200.
    Failed {
        /// The final status.
        status: u16,
    },
}

impl Registration {
    /// All registrations, by node, each node's in order.
    pub fn all(floors: &Floors<'_>, history: &History) -> Vec<Self> {
        let mut all = Vec::new();
        for (node, records) in history.nodes() {
            let mut addresses: Vec<(HandoffNumber, IpAddr)> = Vec::new();
            for record in records {
                let (handoff, scope, outcome) = match &record.event {
                    Event::AddressConfigured { handoff, address } => {
                        addresses.push((*handoff, *address));
                        continue;
                    }
                    Event::Registered { handoff, scope, rrd, path } => {
                        let own = addresses.iter().rev().find(|(number, _)| number == handoff);
                        let floor = own.and_then(|(_, own)| {
                            let stops: Vec<_> = [*own].into_iter().chain(path.iter().copied()).collect();
                            floors.there_and_back(&stops)
                        });
                        let outcome =
                            RegistrationOutcome::Registered { rrd: *rrd, path: path.clone(), floor };
                        (handoff, scope, outcome)
                    }
                    Event::RegistrationFailed { handoff, scope, status } => {
                        (handoff, scope, RegistrationOutcome::Failed { status: *status })
                    }
                    _ => continue,
                };
                all.push(Self { node: node.to_owned(), handoff: *handoff, scope: *scope, outcome });
            }
        }
        all
    }

    /// Registration Request Delay, of a success.
    pub fn rrd(&self) -> Option<Duration> {
        match self.outcome {
            RegistrationOutcome::Registered { rrd, .. } => Some(rrd),
            RegistrationOutcome::Failed { .. } => None,
        }
    }

    /// What the configured delays alone make of it.
    pub fn floor(&self) -> Option<Duration> {
        match self.outcome {
            RegistrationOutcome::Registered { floor, .. } => floor,
            RegistrationOutcome::Failed { .. } => None,
        }
    }

    /// Servers on its path, of a success.
    pub fn hops(&self) -> Option<usize> {
        match &self.outcome {
            RegistrationOutcome::Registered { path, .. } => Some(path.len()),
            RegistrationOutcome::Failed { .. } => None,
        }
    }

    /// The server that a node has registered with where it is: the first that the request passed, which of a registration
    /// with the home server over the ring is the anchor.
    pub fn server(&self) -> Option<IpAddr> {
        match &self.outcome {
            RegistrationOutcome::Registered { path, .. } => path.first().copied(),
            RegistrationOutcome::Failed { .. } => None,
        }
    }

    /// The delay above its floor.
    pub fn overhead(&self) -> Option<Delta> {
        Some(Delta::above(self.rrd()?, self.floor()?))
    }
}

/// The care-of address that a node had at an instant.
pub(super) fn address_at(history: &History, node: &str, at: Time) -> Option<IpAddr> {
    let records = history.of(node);
    let until = records.partition_point(|record| record.at <= at);
    records[..until].iter().rev().find_map(|record| match record.event {
        Event::AddressConfigured { address, .. } => Some(address),
        _ => None,
    })
}
