//! Leaving the ring gracefully: records first, then the neighbours.
//!
//! ```text
//! member ──leave──▶ handing over ──all compared, or the deadline──▶ taking leave ──neighbours have answered──▶ gone
//!                   no new registrations: 503, and no offers to those who look for an anchor
//! ```
//! A server that is gone may be ended. Until then it still forwards: to the nodes that it anchors, until they have found another anchor, and for
//! servers that have not heard yet.

use super::{Asked, SampServer};
use crate::node::Output;
use samp_model::Time;

/// Handing over takes so many times the peer timeout at most.
const PATIENCE: u32 = 3;

/// Whether this server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It stays.
    No,
    /// It hands its records over, until this instant at most.
    HandingOver(Time),
    /// It is no member any more, and its neighbours are told.
    TakingLeave,
    /// It has left, and everybody who has to know has answered, or is dead.
    Gone,
}

impl SampServer {
    /// Begins to leave: as many servers as hold copies now hold them afterwards, without this one.
    pub(super) fn leave(&mut self, now: Time) {
        if self.leaving != Leaving::No {
            return;
        }
        self.leaving = Leaving::HandingOver(now + self.settings.chord.peer_timeout * PATIENCE);
        self.hand_everything_over(now);
        self.leave_when_ready(now);
    }

    /// Whether this server takes no part in new things any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != Leaving::No
    }

    /// When this server leaves in any case.
    pub(super) fn leave_deadline(&self) -> Option<Time> {
        match self.leaving {
            Leaving::HandingOver(deadline) => Some(deadline),
            Leaving::No | Leaving::TakingLeave | Leaving::Gone => None,
        }
    }

    /// Leaves once everything is handed over and answered.
    pub(super) fn leave_when_ready(&mut self, now: Time) {
        let Leaving::HandingOver(deadline) = self.leaving else { return };
        let is_finding = self.asked.values().any(|(_, asked, _)| matches!(asked, Asked::Owner(_)));
        if now >= deadline || self.repairs.len() == 0 && self.writes.len() == 0 && !is_finding {
            self.leaving = Leaving::TakingLeave;
            self.chord.leave();
        }
    }

    /// Is gone once nobody is left to be told.
    pub(super) fn be_gone_when_told(&mut self) {
        if self.leaving == Leaving::TakingLeave && self.asked.is_empty() {
            self.leaving = Leaving::Gone;
            self.outputs.push_back(Output::Left);
        }
    }
}
