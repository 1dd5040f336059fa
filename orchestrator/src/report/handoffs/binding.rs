//! A handoff's registration without SAMP: with the one registrar, the home agent, or the mobility anchor point and perhaps the
//! home agent.

use super::super::floor::Floors;
use super::super::path::{CriticalPath, Milestone};
use super::registration::{Registration, name};
use super::{Facts, Span};
use samp_model::record::RegistrationScope;
use samp_model::settings::Protocol;
use samp_model::{Event, Time};
use std::net::IpAddr;

impl Registration {
    /// Follows the events of a handoff until everybody who is asked has answered; what comes later is no part of it.
    pub(super) fn follow_bindings(floors: &Floors<'_>, facts: &Facts<'_>) -> Self {
        let mut milestones = facts.head();
        let mut phases = Vec::new();
        let mut sent: Vec<(RegistrationScope, Time)> = Vec::new();
        let mut done_at = None;
        let mut is_home_told = false;
        for record in &facts.records {
            let at = record.at;
            // With another MAP, an answer and the next update are one instant.
            if done_at.is_some_and(|done_at| done_at < at) {
                break;
            }
            let answered = match &record.event {
                Event::RegisterSent { scope, .. } => {
                    sent.push((*scope, at));
                    is_home_told |= *scope == RegistrationScope::Home;
                    done_at = None;
                    continue;
                }
                Event::Registered { scope, path, .. } => {
                    let stops: Vec<IpAddr> = facts.address.into_iter().chain(path.iter().copied()).collect();
                    let floor = facts.address.and_then(|_| floors.there_and_back(&stops));
                    milestones.push(Milestone::over(name(*scope), Some(at), floor));
                    done_at = Some(at);
                    (*scope, name(*scope))
                }
                Event::RegistrationFailed { scope, .. } => {
                    milestones.push(Milestone::local("registration_failed", Some(at)));
                    (*scope, "registration_failed")
                }
                _ => continue,
            };
            if let Some(index) = sent.iter().position(|(scope, _)| *scope == answered.0) {
                let (_, from) = sent.remove(index);
                phases.push(Span(from, at, answered.1, None));
            }
            done_at = done_at.filter(|_| sent.is_empty());
        }
        let kind = match (floors.topology().mobility.protocol, is_home_told) {
            (Protocol::Hmipv6, false) => "MAP kept",
            (Protocol::Hmipv6, true) => "new MAP",
            _ => "",
        };
        let path = done_at.and_then(|_| CriticalPath::new(facts.detached, &milestones));
        let missing = done_at.is_none().then(|| "registration".to_owned());
        Self { anchor_kept: !is_home_told, kind, path, phases, missing }
    }
}
