//! The metrics of runs: their names, their units and what they mean.

use serde::{Serialize, Serializer};

/// Something that is measured in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Metric {
    HandoffTotal,
    HandoffDownlink,
    HandoffUplink,
    HandoffRegistration,
    HandoffAnchorKept,
    HandoffNewAnchor,
    HandoffDiscovery,
    HandoffUpdate,
    HandoffGapDownlink,
    HandoffGapUplink,
    HandoffLostDownlink,
    HandoffLostUplink,
    HandoffMessages,
    HandoffBytes,
    HandoffComplete,
    Rrd,
    RrdAnchor,
    RrdHome,
    Ira,
    Busiest,
    Srd,
    SrdTier1Hit,
    SrdTier1Stale,
    SrdTier2Hit,
    SrdTier2Stale,
    SrdMiss,
    SrdFailed,
    CallHops,
    CallMessages,
    CallBytes,
    Ser,
    Seer,
    Isa,
    Scr,
    MediaR,
    MediaMos,
    MediaLoss,
    MediaSilence,
    ServiceAffected,
    ServiceOutage,
}

/// What kind of figure a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Times, in milliseconds.
    Milliseconds,
    /// Whole numbers.
    Count,
    /// Numbers on a scale.
    Score,
    /// How many of all, in percent.
    Share,
}

/// A metric with its name, its kind and what it means.
type Row = (Metric, &'static str, Kind, &'static str);

/// All of them, in the order in which reports show them.
const ALL: &[Row] = {
    use Kind::{Count, Milliseconds as Ms, Score, Share};
    use Metric::*;
    &[
        (
            HandoffTotal,
            "handoff.total",
            Ms,
            "detachment to the first media packet at the new care-of address, or, without a call, to the answered registration",
        ),
        (
            HandoffDownlink,
            "handoff.downlink",
            Ms,
            "detachment to the first media packet at the new care-of address",
        ),
        (
            HandoffUplink,
            "handoff.uplink",
            Ms,
            "detachment to the peer's first media packet from the new care-of address",
        ),
        (HandoffRegistration, "handoff.registration", Ms, "detachment to the answered registration"),
        (
            HandoffAnchorKept,
            "handoff.registration_anchor_kept",
            Ms,
            "the same, of handoffs that kept their anchor",
        ),
        (HandoffNewAnchor, "handoff.registration_new_anchor", Ms, "the same, of handoffs to a new anchor"),
        (
            HandoffDiscovery,
            "handoff.anchor_discovery",
            Ms,
            "first multicast REGISTER to the choice of an anchor",
        ),
        (HandoffUpdate, "handoff.session_update", Ms, "re-INVITE to the correspondent node until its answer"),
        (
            HandoffGapDownlink,
            "handoff.gap_downlink",
            Ms,
            "silence at the mobile node before the first media packet on the new path",
        ),
        (
            HandoffGapUplink,
            "handoff.gap_uplink",
            Ms,
            "silence at the peer before the first media packet on the new path",
        ),
        (
            HandoffLostDownlink,
            "handoff.lost_downlink",
            Count,
            "media packets missing before it, at the mobile node",
        ),
        (HandoffLostUplink, "handoff.lost_uplink", Count, "media packets missing before it, at the peer"),
        (
            HandoffMessages,
            "handoff.messages",
            Count,
            "signalling messages of a handoff that is complete, each transmission over one hop once",
        ),
        (HandoffBytes, "handoff.bytes", Count, "the lengths of their IP datagrams, together"),
        (HandoffComplete, "handoff.complete", Share, "handoffs that came to their end, of all"),
        (
            Rrd,
            "registration.rrd",
            Ms,
            "Registration Request Delay, RFC 6076 §4.1, of registrations that succeeded",
        ),
        (RrdAnchor, "registration.rrd_anchor", Ms, "the same, with the anchor only"),
        (RrdHome, "registration.rrd_home", Ms, "the same, with the home server"),
        (
            Ira,
            "registration.ira",
            Share,
            "Ineffective Registration Attempts, RFC 6076 §4.2: registrations that failed, of all",
        ),
        (
            Busiest,
            "registration.busiest",
            Share,
            "registrations that went to the server that had most of them first, of all",
        ),
        (Srd, "call.srd", Ms, "successful Session Request Delay, RFC 6076 §4.3.1"),
        (SrdTier1Hit, "call.srd_tier1_hit", Ms, "the same, where the caller knew the callee's address"),
        (SrdTier1Stale, "call.srd_tier1_stale", Ms, "the same, where what the caller knew was out of date"),
        (SrdTier2Hit, "call.srd_tier2_hit", Ms, "the same, where the caller's anchor knew the callee's"),
        (SrdTier2Stale, "call.srd_tier2_stale", Ms, "the same, where what the anchor knew was out of date"),
        (SrdMiss, "call.srd_miss", Ms, "the same, where the overlay was asked at once"),
        (SrdFailed, "call.srd_failed", Ms, "failed Session Request Delay, RFC 6076 §4.3.2"),
        (CallHops, "call.hops", Count, "servers that the INVITE passed"),
        (
            CallMessages,
            "call.messages",
            Count,
            "signalling messages from the INVITE to the ACK, each transmission over one hop once",
        ),
        (CallBytes, "call.bytes", Count, "the lengths of their IP datagrams, together"),
        (
            Ser,
            "call.ser",
            Share,
            "Session Establishment Ratio, RFC 6076 §4.6: calls answered 200, of all but those answered 3xx",
        ),
        (
            Seer,
            "call.seer",
            Share,
            "Session Establishment Effectiveness Ratio, RFC 6076 §4.7: calls answered 200, 480, 486, 600 or 603, of all but those answered 3xx",
        ),
        (
            Isa,
            "call.isa",
            Share,
            "Ineffective Session Attempts, RFC 6076 §4.8: calls answered 408, 500, 503 or 504, of all",
        ),
        (
            Scr,
            "call.scr",
            Share,
            "Session Completion Ratio, RFC 6076 §4.9: calls that were established and ended at both ends, of all",
        ),
        (MediaR, "media.r", Score, "E-model transmission rating R, ITU-T G.107, at each end of a call"),
        (MediaMos, "media.mos", Score, "mean opinion score that follows from R, ITU-T G.107 Annex B"),
        (MediaLoss, "media.loss", Share, "media packets missing, of all"),
        (MediaSilence, "media.longest_silence", Ms, "the longest silence at each end of a call"),
        (
            ServiceAffected,
            "service.affected",
            Share,
            "mobile nodes that were registered with a SIP server when it was killed, of all",
        ),
        (
            ServiceOutage,
            "service.outage",
            Ms,
            "from then until each of them is registered with another server, or until the end of the run",
        ),
    ]
};

impl Metric {
    /// All metrics, in the order in which reports show them.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|row| row.0)
    }

    /// The metric of this name.
    pub fn find(name: &str) -> Option<Self> {
        ALL.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What kind of figure it is.
    pub fn kind(self) -> Kind {
        self.row().2
    }

    /// What it means, with the source of its definition.
    pub fn about(self) -> &'static str {
        self.row().3
    }

    fn row(self) -> Row {
        ALL[self as usize]
    }
}

/// By its name.
impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Kind {
    /// Its unit, behind a number; none for plain numbers.
    pub fn unit(self) -> &'static str {
        match self {
            Kind::Milliseconds => "ms",
            Kind::Share => "%",
            Kind::Count | Kind::Score => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_row() {
        for (index, metric) in Metric::all().enumerate() {
            assert_eq!(metric as usize, index, "{}", metric.name());
            assert_eq!(Metric::find(metric.name()), Some(metric));
            assert!(!metric.about().is_empty());
        }
        assert_eq!(ALL.len(), Metric::ServiceOutage as usize + 1);
        assert_eq!(Metric::find("handoff.totl"), None);
        let documented = include_str!("../../docs/experiments.md");
        for metric in Metric::all() {
            let row = format!("| `{}` | {} | {} |", metric.name(), metric.kind().unit(), metric.about());
            assert!(documented.contains(&row), "docs/experiments.md lacks: {row}");
        }
    }
}
