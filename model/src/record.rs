//! What happened, when and where: one schema for lab and simulator, one JSON object per line of `records.jsonl`.

use crate::flood::Flood;
use crate::topology::LinkQuality;
use crate::{OverlayId, Time};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// One thing that happened at one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, on the clock that all nodes share.
    pub at: Time,
    /// Name of the node.
    pub node: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Number of a mobile node's attachment: 0 for the first, then one more for each handoff.
pub type HandoffNumber = u32;

/// Number of a flood in its lab, from 1.
pub type FloodNumber = u32;

/// What can happen. Durations are in nanoseconds, calls are named by their SIP Call-ID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The mobile node was told that its link is about to go down.
    LinkGoingDown {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The next access router.
        access_router: String,
    },
    /// The network end of the mobile node's radio link left this access router. Written by the emulator.
    Detached {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The old access router.
        access_router: String,
        /// For how long the mobile node is to be attached nowhere.
        #[serde(with = "nanos")]
        gap: Duration,
    },
    /// The network end of the mobile node's radio link is at this access router. Written by the emulator.
    Attached {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The new access router.
        access_router: String,
        /// What the attachment itself cost the emulator.
        #[serde(with = "nanos")]
        attach_cost: Duration,
        /// Frames that were on the radio link at detachment and were dropped.
        frames_dropped: u64,
    },
    /// Make before break: the radio that the mobile node had before left its old access router, after the new attachment.
    /// Written by the emulator.
    Released {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The old access router.
        access_router: String,
        /// Frames that were on its radio link and were dropped.
        frames_dropped: u64,
    },
    /// The mobile node knows that it is behind another access router.
    LinkTriggered {
        /// Which handoff.
        handoff: HandoffNumber,
    },
    /// The mobile node sent a DHCP message (RFC 2131).
    DhcpSent {
        /// Which handoff.
        handoff: HandoffNumber,
        /// Which one.
        message: DhcpMessage,
    },
    /// The mobile node received the DHCP message that it waited for.
    DhcpReceived {
        /// Which handoff.
        handoff: HandoffNumber,
        /// Which one.
        message: DhcpMessage,
    },
    /// The mobile node sent a router solicitation (RFC 4861 §4.1).
    RouterSolicited {
        /// Which handoff.
        handoff: HandoffNumber,
    },
    /// The mobile node received a router advertisement, of whose prefix it makes its address.
    RouterAdvertised {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The router's link-local address.
        router: Ipv6Addr,
        /// Whether it was an answer to this node, or to all on the link.
        solicited: bool,
    },
    /// Duplicate address detection is over (RFC 4862 §5.4).
    AddressChecked {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The care-of address.
        address: IpAddr,
        /// Whether nobody else has it.
        unique: bool,
    },
    /// The new care-of address is usable.
    AddressConfigured {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The care-of address.
        address: IpAddr,
    },
    /// The first multicast REGISTER of an anchor discovery was sent.
    DiscoveryStarted {
        /// Which handoff.
        handoff: HandoffNumber,
    },
    /// A server was chosen as anchor.
    AnchorSelected {
        /// Which handoff.
        handoff: HandoffNumber,
        /// Address of the anchor SIP server.
        anchor: IpAddr,
        /// How fast it had answered.
        #[serde(with = "nanos")]
        response_time: Duration,
        /// How many servers had answered when the choice was made.
        answers: u32,
        /// How many of them within δ.
        within_delta: u32,
    },
    /// The chosen server was told by an ACK to its answer; it does not say that it has heard it.
    AnchorConfirmed {
        /// Which handoff.
        handoff: HandoffNumber,
        /// Address of the anchor SIP server.
        anchor: IpAddr,
    },
    /// A REGISTER was sent for the first time. Those that only renew the binding at the anchor are left out, here and
    /// below, unless they fail.
    RegisterSent {
        /// Which handoff.
        handoff: HandoffNumber,
        /// To whom.
        scope: RegistrationScope,
    },
    /// A REGISTER was answered 200.
    Registered {
        /// Which handoff.
        handoff: HandoffNumber,
        /// By whom.
        scope: RegistrationScope,
        /// Registration Request Delay (RFC 6076 §4.1).
        #[serde(with = "nanos")]
        rrd: Duration,
        /// The servers that the request passed, first to last, as the answer's Via headers name them.
        path: Vec<IpAddr>,
    },
    /// A REGISTER failed: with the anchor, the node looks for another one; with the home server, it tries again.
    RegistrationFailed {
        /// Which handoff.
        handoff: HandoffNumber,
        /// By whom.
        scope: RegistrationScope,
        /// The final status; 408 also stands for no answer.
        status: u16,
    },
    /// A server has forgotten this node, which leaves.
    Deregistered {
        /// Which handoff came before.
        handoff: HandoffNumber,
        /// Which server.
        scope: RegistrationScope,
    },
    /// A re-INVITE with the new care-of address was sent to the correspondent node for the first time.
    UpdateSent {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The call.
        call: String,
    },
    /// The correspondent node answered the re-INVITE.
    UpdateAnswered {
        /// Which handoff.
        handoff: HandoffNumber,
        /// The call.
        call: String,
        /// The final status.
        status: u16,
    },
    /// Mobile IPv6: a home agent, mobility anchor point or correspondent node has accepted where a mobile node is.
    BindingAccepted {
        /// The mobile node's home address, or its regional care-of address.
        home: Ipv6Addr,
        /// Where what is sent there goes from now on.
        care_of: Ipv6Addr,
    },
    /// The caller was told to call.
    CallStarted {
        /// The call.
        call: String,
        /// Address-of-record of the callee.
        callee: String,
    },
    /// The caller has the 200 to its INVITE.
    CallEstablished {
        /// The call.
        call: String,
        /// Session Request Delay (RFC 6076 §4.3): to the callee's first response, 180 or 200.
        #[serde(with = "nanos")]
        srd: Duration,
        /// What the caches were worth.
        cache: CacheOutcome,
        /// The servers that the INVITE passed, first to last; empty when it went straight to the callee.
        path: Vec<IpAddr>,
        /// The ways there and back of what was redirected (3xx) before: each from who followed it to who redirected.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        redirected: Vec<Vec<IpAddr>>,
    },
    /// The call could not be set up.
    CallFailed {
        /// The call.
        call: String,
        /// The final status; 408 also stands for no answer.
        status: u16,
    },
    /// The callee accepted the call.
    CallAccepted {
        /// The call.
        call: String,
        /// Address-of-record of the caller.
        caller: String,
    },
    /// The callee's terminal rings.
    CallRinging {
        /// The call.
        call: String,
        /// Address-of-record of the caller.
        caller: String,
    },
    /// The call is over at this terminal of the callee's: its caller gave up, or another terminal answered first.
    CallCancelled {
        /// The call.
        call: String,
    },
    /// This terminal asks another one to take over a call.
    TransferStarted {
        /// The call.
        call: String,
        /// The other terminal's URI.
        target: String,
    },
    /// The other terminal did not take it over.
    TransferFailed {
        /// The call.
        call: String,
        /// The status that says why; 408 also stands for no answer.
        status: u16,
    },
    /// The correspondent node goes on in another call instead of this one.
    CallReplaced {
        /// The call that ends.
        call: String,
        /// The call that takes its place.
        by: String,
    },
    /// The call is over, at this end.
    CallEnded {
        /// The call.
        call: String,
    },
    /// A server passed an INVITE on; first and last of a call bound the time inside the overlay.
    InviteForwarded {
        /// The call.
        call: String,
        /// Where to.
        to: IpAddr,
    },
    /// From now on this end sends its media there.
    MediaRetargeted {
        /// The call.
        call: String,
        /// The peer's care-of address.
        to: IpAddr,
    },
    /// The first media packet left for that address, or for it from a new address of this node's own.
    MediaFirstSent {
        /// The call.
        call: String,
        /// The peer's care-of address.
        to: IpAddr,
    },
    /// The first media packet between this pair of addresses arrived.
    MediaFirstReceived {
        /// The call.
        call: String,
        /// Whence.
        from: IpAddr,
        /// At which of this node's own addresses; `to` in JSON, where `at` is the record's instant.
        #[serde(rename = "to")]
        at: IpAddr,
        /// Silence of this stream before the packet; zero for the first packet of a call.
        #[serde(with = "nanos")]
        silence: Duration,
        /// Packets of this stream missing before it, by RTP sequence number.
        lost: u64,
    },
    /// What this end received in the call, written when the call ends.
    MediaSummary {
        /// The call.
        call: String,
        /// RTP packets sent.
        sent: u64,
        /// RTP packets received.
        received: u64,
        /// Packets missing by RTP sequence number.
        lost: u64,
        /// The longest silence.
        #[serde(with = "nanos")]
        longest_silence: Duration,
    },
    /// A server's place on the ring changed.
    RingChanged {
        /// Its identifier.
        id: OverlayId,
        /// Its predecessor, if it knows one.
        predecessor: Option<OverlayId>,
        /// Its successor list, nearest first.
        successors: Vec<OverlayId>,
    },
    /// A server has left the ring, and handed its bindings over.
    RingLeft {
        /// The identifier that it had.
        id: OverlayId,
    },
    /// A server gave up on a peer that did not answer.
    PeerFailed {
        /// The peer.
        id: OverlayId,
    },
    /// A home server has accepted a registration without all copies (`durability: degraded`).
    WriteDegraded {
        /// Whose.
        address_of_record: String,
        /// Servers that hold it, the home server included.
        copies: u32,
        /// Servers that should.
        wanted: u32,
    },
    /// A SIP message, or one of the Mobility Header, was sent. The servers' own talk about their ring is left out, here and
    /// below.
    MessageSent {
        /// Where to; the discovery group for a multicast.
        peer: IpAddr,
        /// Method or status, and sequence number: `INVITE 1`, `200 INVITE 1`.
        summary: String,
        /// Its Call-ID; registrations have one, too.
        call: String,
        /// Length of its IP datagram: IP header, UDP, TCP or extension headers, and the message. Tunnels around it are
        /// left out, and over TCP it counts as one segment without options.
        bytes: u32,
    },
    /// A SIP message, or one of the Mobility Header, was received.
    MessageReceived {
        /// Whence.
        peer: IpAddr,
        /// As in [`Event::MessageSent`].
        summary: String,
        /// Its Call-ID.
        call: String,
        /// As in [`Event::MessageSent`].
        bytes: u32,
    },
    /// A link was changed from outside. Written for its first end, as the topology has it.
    LinkChanged {
        /// The other end; none for a mobile node's radio link.
        peer: Option<String>,
        /// Whether it is up.
        up: bool,
        /// What it does to packets now: from this node, and to it.
        quality: Box<[LinkQuality; 2]>,
    },
    /// All links between some nodes and others went down. Written for the first of them.
    Partitioned {
        /// The nodes.
        nodes: Vec<String>,
        /// Those that they were cut off from; with none, all others.
        from: Vec<String>,
        /// How many links went down.
        links: usize,
    },
    /// The links that partitions had taken down came up again. Written for an end of the first of them.
    Healed {
        /// How many.
        links: usize,
    },
    /// What runs at the node was killed from outside.
    Killed,
    /// What runs at the node was stopped from outside.
    Paused,
    /// What runs at the node was let go on.
    Resumed,
    /// From this node a SIP server gets requests that nobody needs, from now on.
    FloodBegan {
        /// Which flood.
        number: FloodNumber,
        /// The SIP server.
        to: String,
        /// What is sent.
        flood: Flood,
    },
    /// A flood is over: all of its requests are answered, or the last ones have had their time.
    FloodEnded {
        /// Which flood.
        number: FloodNumber,
        /// The SIP server.
        to: String,
        /// Requests that were sent.
        sent: u64,
        /// How they were answered, by final status.
        answers: Vec<Answers>,
        /// Requests without a final answer within two seconds.
        unanswered: u64,
    },
    /// What a SIP server with a CPU quota has had since it was started. Written by the emulator, once a second.
    ServerCpu {
        /// CPU time.
        #[serde(with = "nanos")]
        used: Duration,
        /// For how long it was held back, having used up its quota.
        #[serde(with = "nanos")]
        throttled: Duration,
        /// Periods of the quota in which it ran.
        periods: u64,
        /// Those of them in which it was held back.
        periods_throttled: u64,
        /// UDP datagrams that it has taken from its sockets, if that can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datagrams: Option<u64>,
    },
    /// Mobile IPv6: what the node's tunnels have cost since the last such record, every second in which something went
    /// through them.
    Tunnelled {
        /// Datagrams that were put into a header, taken out of one, or both.
        datagrams: u64,
        /// How long they were at the agent, from the kernel to the kernel, all together.
        #[serde(with = "nanos")]
        took: Duration,
        /// The longest of that.
        #[serde(with = "nanos")]
        longest: Duration,
    },
    /// A program of the user's has ended.
    ProgramEnded {
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
    },
    /// Bindings that a server holds, after a change: as home or replica, and as anchor.
    BindingsChanged {
        /// As home server or replica.
        home: u32,
        /// As anchor.
        anchor: u32,
    },
}

impl Event {
    /// The handoff that an event belongs to by number.
    pub fn handoff(&self) -> Option<HandoffNumber> {
        match self {
            Event::LinkGoingDown { handoff, .. }
            | Event::Detached { handoff, .. }
            | Event::Attached { handoff, .. }
            | Event::Released { handoff, .. }
            | Event::LinkTriggered { handoff }
            | Event::DhcpSent { handoff, .. }
            | Event::DhcpReceived { handoff, .. }
            | Event::RouterSolicited { handoff }
            | Event::RouterAdvertised { handoff, .. }
            | Event::AddressChecked { handoff, .. }
            | Event::AddressConfigured { handoff, .. }
            | Event::DiscoveryStarted { handoff }
            | Event::AnchorSelected { handoff, .. }
            | Event::AnchorConfirmed { handoff, .. }
            | Event::RegisterSent { handoff, .. }
            | Event::Registered { handoff, .. }
            | Event::RegistrationFailed { handoff, .. }
            | Event::Deregistered { handoff, .. }
            | Event::UpdateSent { handoff, .. }
            | Event::UpdateAnswered { handoff, .. } => Some(*handoff),
            _ => None,
        }
    }
}

/// How many requests had this final status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The status (RFC 3261 §21).
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// The DHCP messages that a mobile node and an access router exchange (RFC 2131 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhcpMessage {
    /// The client looks for servers.
    Discover,
    /// A server offers an address.
    Offer,
    /// The client asks for the offered address, or for more time.
    Request,
    /// The address is the client's.
    Ack,
    /// It is not.
    Nak,
}

/// Which of its two servers or agents a mobile node registers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationScope {
    /// The care-of address, with the anchor SIP server; in HMIPv6 with the mobility anchor point.
    Anchor,
    /// The anchor, with the home SIP server, over the overlay; in Mobile IPv6 the care-of address, and in HMIPv6 the
    /// regional one, with the home agent.
    Home,
}

/// What the two caches did for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheOutcome {
    /// The caller's own entry was right.
    Tier1Hit,
    /// The caller's own entry was out of date, the anchor had a right one.
    Tier1StaleTier2Hit,
    /// The caller's own entry was out of date; the overlay was asked.
    Tier1Stale,
    /// The anchor's entry was right.
    Tier2Hit,
    /// The anchor's entry was out of date; the overlay was asked.
    Tier2Stale,
    /// No entry; the overlay was asked.
    Miss,
    /// There are none: the protocol is not SAMP.
    Unused,
}

/// Durations as whole nanoseconds.
pub(crate) mod nanos {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
