//! A handoff's registration: with the anchor alone, or discovery, a new anchor, and the home server.

use super::super::floor::Floors;
use super::super::path::{CriticalPath, Milestone};
use super::{Facts, Span};
use samp_model::record::RegistrationScope;
use samp_model::settings::Protocol;
use samp_model::{Event, Record, Time};
use std::net::IpAddr;

/// What a handoff's registration consisted of.
pub(super) struct Registration {
    /// Whether the anchor was kept, so that only it had to be told.
    pub(super) anchor_kept: bool,
    /// Which kind of registration it is, for who compares those of a kind.
    pub(super) kind: &'static str,
    /// Detached → registered, when that is done.
    pub(super) path: Option<CriticalPath>,
    /// Discovery and registrations.
    pub(super) phases: Vec<Span>,
    /// What is being waited for.
    pub(super) missing: Option<String>,
}

/// A registration on its way: each interval is named by the event that ended it.
pub(super) struct Progress<'a> {
    floors: &'a Floors<'a>,
    own: Option<IpAddr>,
    milestones: Vec<Milestone>,
    phases: Vec<Span>,
    /// REGISTERs that wait for an answer.
    sent: Vec<(RegistrationScope, Time)>,
    discovery: Discovery,
    /// The anchor that has the new care-of address.
    registered_with: Option<IpAddr>,
    anchor_kept: bool,
    /// Whether the home server does not know the anchor yet.
    home_due: bool,
}

/// Where the anchor discovery stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Discovery {
    /// There was none, and there is no need for one.
    None,
    /// The anchor has answered so late that one must follow.
    Due,
    /// Since then.
    Running(Time),
    /// It was done.
    Done,
}

impl Registration {
    /// Follows the events of a handoff until the node is registered; what comes later, as a refresh, is no part of it.
    pub(super) fn follow(floors: &Floors<'_>, facts: &Facts<'_>) -> Self {
        if floors.topology().mobility.protocol != Protocol::Samp {
            return Self::follow_bindings(floors, facts);
        }
        let mut progress = Progress::new(floors, facts);
        let mut done_at = None;
        for record in &facts.records {
            if done_at.is_some_and(|done_at| done_at < record.at) {
                break;
            }
            progress.take_in(record);
            // Another event of the same instant may tell that it goes on.
            done_at = progress.missing().is_none().then_some(record.at);
        }
        let missing = progress.missing().map(str::to_owned);
        let path = match missing {
            None => CriticalPath::new(facts.detached, &progress.path(facts.detached)),
            Some(_) => None,
        };
        let kind = if progress.anchor_kept { "anchor kept" } else { "new anchor" };
        Self { anchor_kept: progress.anchor_kept, kind, path, phases: progress.phases, missing }
    }
}

impl<'a> Progress<'a> {
    fn new(floors: &'a Floors<'a>, facts: &Facts<'_>) -> Self {
        Self {
            floors,
            own: facts.address,
            milestones: facts.head(),
            phases: Vec::new(),
            sent: Vec::new(),
            discovery: Discovery::None,
            registered_with: None,
            anchor_kept: true,
            home_due: false,
        }
    }

    /// The anchor after all that there is, if nothing is being waited for then.
    pub(super) fn to_the_end(floors: &'a Floors<'a>, facts: &Facts<'_>) -> Option<IpAddr> {
        let mut progress = Self::new(floors, facts);
        facts.records.iter().for_each(|record| progress.take_in(record));
        progress.registered_with.filter(|_| progress.missing().is_none())
    }

    fn take_in(&mut self, record: &Record) {
        let at = record.at;
        match &record.event {
            Event::DiscoveryStarted { .. } => {
                self.milestones.push(Milestone::local("dispatch", Some(at)));
                self.discovery = Discovery::Running(at);
            }
            Event::AnchorSelected { anchor, response_time, .. } => {
                if let Discovery::Running(started) = self.discovery {
                    let floor = self.there_and_back(&[*anchor]);
                    let answered = Some(started + *response_time);
                    self.milestones.push(Milestone::over("anchor_discovery", answered, floor));
                    self.milestones.push(Milestone::local("delta_wait", Some(at)));
                    self.phases.push(Span(started, at, "anchor_discovery", None));
                }
                self.discovery = Discovery::Done;
                // The choice may fall on the anchor that there is.
                if self.registered_with != Some(*anchor) {
                    self.anchor_kept = false;
                    self.registered_with = None;
                    self.home_due = true;
                }
            }
            Event::AnchorConfirmed { anchor, .. } => {
                self.milestones.push(Milestone::local("dispatch", Some(at)));
                self.registered_with = Some(*anchor);
            }
            Event::RegisterSent { scope, .. } => {
                self.milestones.push(Milestone::local("dispatch", Some(at)));
                self.sent.push((*scope, at));
            }
            Event::Registered { scope, path, rrd, .. } => {
                let floor = self.there_and_back(path);
                self.milestones.push(Milestone::over(name(*scope), Some(at), floor));
                self.answered(*scope, at, name(*scope));
                let settings = &self.floors.topology().samp;
                match scope {
                    RegistrationScope::Anchor => {
                        self.registered_with = path.first().copied();
                        // Both follow in the same instant.
                        self.home_due |= !settings.hierarchical_registration;
                        if self.discovery == Discovery::None && *rrd > settings.delta {
                            self.discovery = Discovery::Due;
                        }
                    }
                    RegistrationScope::Home => self.home_due &= self.registered_with.is_none(),
                }
            }
            Event::RegistrationFailed { scope, .. } => {
                self.milestones.push(Milestone::local("registration_failed", Some(at)));
                self.answered(*scope, at, "registration_failed");
                match scope {
                    // The node begins anew with a discovery.
                    RegistrationScope::Anchor => {
                        self.sent.clear();
                        self.registered_with = None;
                    }
                    RegistrationScope::Home => self.home_due = true,
                }
            }
            _ => {}
        }
    }

    /// What is being waited for.
    fn missing(&self) -> Option<&'static str> {
        match self.discovery {
            Discovery::Due | Discovery::Running(_) => return Some("anchor discovery"),
            Discovery::None | Discovery::Done => {}
        }
        if self.registered_with.is_none() {
            return Some("registration");
        }
        if self.home_due {
            return Some("home registration");
        }
        (!self.sent.is_empty()).then_some("answer to a REGISTER")
    }

    /// The milestones, with a dispatch only where it took time: as a rule an event and the REGISTER that it causes are
    /// one instant.
    fn path(&self, start: Time) -> Vec<Milestone> {
        let mut here = start;
        let mut milestones = self.milestones.clone();
        milestones.retain(|milestone| {
            let took = milestone.at.is_some_and(|at| at > here);
            here = milestone.at.unwrap_or(here);
            milestone.segment != "dispatch" || took
        });
        milestones
    }

    /// Takes the REGISTER of this scope out of those that wait for an answer.
    fn answered(&mut self, scope: RegistrationScope, at: Time, name: &'static str) {
        if let Some(index) = self.sent.iter().position(|(waiting, _)| *waiting == scope) {
            let (_, from) = self.sent.remove(index);
            self.phases.push(Span(from, at, name, None));
        }
    }

    /// The floor from the own address over these.
    fn there_and_back(&self, path: &[IpAddr]) -> Option<std::time::Duration> {
        let stops: Vec<_> = self.own.into_iter().chain(path.iter().copied()).collect();
        self.own.and_then(|_| self.floors.there_and_back(&stops))
    }
}

/// Name of a registration in phases and segments.
pub(super) fn name(scope: RegistrationScope) -> &'static str {
    match scope {
        RegistrationScope::Anchor => "registration_anchor",
        RegistrationScope::Home => "registration_home",
    }
}
