//! The knobs of the protocols, resolved: what a topology file may set under `samp:`, with every default filled in.

mod address;
mod mobility;

pub use address::{AddressMethod, AddressProfile, AddressSettings, Dad, DhcpServer};
pub use mobility::{Authentication, HomeAgents, MobilitySettings, Protocol};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::time::Duration;

/// The group "all SIP servers", sip.mcast.net (RFC 3261 §10.2.6).
pub const DISCOVERY_GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 75);

/// Which addresses the nodes have, and so over what they talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 only.
    #[default]
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Both. SIP and media use IPv6, the family that RFC 6724 prefers; programs may use either.
    Dual,
}

impl Family {
    /// The family of a node that has only this address, or of which nothing else matters.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Whether nodes have IPv4 addresses.
    pub fn has_ipv4(self) -> bool {
        self != Self::Ipv6
    }

    /// Whether nodes have IPv6 addresses; these are the primary ones then.
    pub fn has_ipv6(self) -> bool {
        self != Self::Ipv4
    }
}

/// How SAMP behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampSettings {
    /// Where the knobs come from that the file does not set.
    pub profile: Profile,
    /// δ: servers that answer a discovery within it are candidates for anchor (the paper: 30–50 ms for IP telephony).
    pub delta: Duration,
    /// How long a discovery waits when nobody answered within δ.
    pub discovery_deadline: Duration,
    /// How an anchor is picked among the candidates.
    pub anchor_select: AnchorSelect,
    /// How the chosen server is told.
    pub confirm: Confirm,
    /// When candidates for anchor are looked for.
    pub discover: Discover,
    /// How often a node renews its registration with its anchor, whether it moves or not: an anchor that has crashed
    /// is noticed within this time and `anchor_timeout`.
    pub anchor_probe: Duration,
    /// When the correspondent nodes of a moving node are told.
    pub update_order: UpdateOrder,
    /// Whether a move within the anchor's reach updates the anchor only.
    pub hierarchical_registration: bool,
    /// The caller's own cache of care-of addresses (tier 1), or none.
    pub tier1: CacheSettings,
    /// The anchor's cache of callees' anchors (tier 2), or none.
    pub tier2: CacheSettings,
    /// How a tier-1 entry that may be out of date is used.
    pub stale: Stale,
    /// How long an INVITE sent on a tier-1 hit may stay unanswered before the call goes through the anchor.
    pub stale_deadline: Duration,
    /// How long a mobile node rings before it answers a call; zero answers at once.
    pub ring: Duration,
    /// An anchor or correspondent node that has not answered for so long is looked for elsewhere.
    pub anchor_timeout: Duration,
    /// Lifetime that a mobile node asks for its bindings.
    pub registration_lifetime: Duration,
    /// The shortest lifetime that a registrar grants; it refuses less (RFC 3261 §10.3), but for `registration_lifetime`.
    pub min_expires: Duration,
    /// Time to live (IPv6: hop limit) of the multicast REGISTER: its scope in routers.
    pub multicast_ttl: u8,
    /// The group "all SIP servers" in IPv6, where RFC 3261 assigns none.
    pub discovery_group6: Ipv6Addr,
    /// Whether registrars want to know who a REGISTER is from.
    pub auth: Auth,
    /// With `auth: digest`, passwords of users of one's own, by address-of-record. All others follow from the lab's key.
    pub passwords: BTreeMap<String, String>,
    /// What nodes record.
    pub records: Records,
    /// What the SIP servers are beside registrars.
    pub mode: ServerMode,
    /// A SIP server to which messages have come late for longer than this refuses what is new (503 with Retry-After).
    pub overload_lag: Duration,
    /// So does one with so many transactions, those that are answered but not yet forgotten included.
    pub max_transactions: usize,
    /// Datagrams per second that a SIP server takes from one source even under pressure.
    pub source_rate: u32,
    /// SIP's T1 (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// SIP's T2: the longest interval between retransmissions (RFC 3261 §17.1.2.2).
    pub t2: Duration,
    /// SIP's T4: how long a message may live in the network (RFC 3261 §17.1.2.2).
    pub t4: Duration,
    /// The overlay of the servers.
    pub chord: ChordSettings,
}

impl Default for SampSettings {
    fn default() -> Self {
        Self::of_profile(Profile::Recommended)
    }
}

impl SampSettings {
    /// Every knob as this profile has it.
    pub fn of_profile(profile: Profile) -> Self {
        let delta = Duration::from_millis(40);
        let cache = |lifetime, size| CacheSettings {
            enabled: true,
            lifetime: Duration::from_secs(lifetime),
            adaptive: false,
            size,
        };
        let recommended = Self {
            profile,
            delta,
            discovery_deadline: 4 * delta,
            anchor_select: AnchorSelect::Random,
            confirm: Confirm::Standard,
            discover: Discover::Reactive,
            anchor_probe: Duration::from_secs(10),
            update_order: UpdateOrder::Parallel,
            hierarchical_registration: true,
            tier1: cache(60, 64),
            tier2: cache(600, 4096),
            stale: Stale::Sequential,
            stale_deadline: Duration::from_millis(200),
            ring: Duration::ZERO,
            anchor_timeout: Duration::from_secs(1),
            registration_lifetime: Duration::from_secs(600),
            min_expires: Duration::from_secs(60),
            multicast_ttl: 32,
            // Transient, site-local scope (RFC 4291 §2.7).
            discovery_group6: Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x5060),
            overload_lag: Duration::from_millis(200),
            max_transactions: 1_000_000,
            source_rate: 20,
            auth: Auth::Off,
            passwords: BTreeMap::new(),
            records: Records::Messages,
            mode: ServerMode::Proxy,
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            chord: ChordSettings::default(),
        };
        match profile {
            Profile::Recommended => recommended,
            Profile::Paper => Self {
                confirm: Confirm::Paper,
                update_order: UpdateOrder::Serial,
                // It has neither replicas nor anything about how a dead server is noticed.
                chord: ChordSettings { replicas: 1, ..recommended.chord },
                ..recommended
            },
        }
    }

    /// The group at which nodes with primary addresses of this family meet all SIP servers.
    pub fn discovery_group(&self, family: Family) -> IpAddr {
        if family.has_ipv6() { self.discovery_group6.into() } else { DISCOVERY_GROUP4.into() }
    }
}

/// What nodes record of what happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Records {
    /// Every SIP message that comes or goes, and the milestones: `trace` shows them.
    Messages,
    /// The milestones that the report needs: for nodes that see very many messages.
    Milestones,
}

/// Whether registrars authenticate users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Everybody is believed.
    Off,
    /// Digest (RFC 3261 §22, RFC 8760): SHA-256, or MD5 for those who do not know it.
    Digest,
    /// Only MD5 is offered, to programs that look at the first challenge alone.
    DigestMd5,
}

impl Auth {
    /// Whether anybody is asked.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }
}

/// What the SIP servers are beside registrars (the paper's RP and RR modes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerMode {
    /// Registrar and proxy: requests are passed on towards the callee.
    Proxy,
    /// Registrar and redirect server: callers' anchors are told where the callee is, and go there themselves.
    Redirect,
}

/// How a mobile node picks its anchor SIP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorSelect {
    /// At random among those that answered within δ (the paper).
    Random,
    /// The one that answered first.
    Fastest,
}

/// A value for every knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// What the paper says, or what comes nearest to it.
    Paper,
    /// What samp-lab advises.
    Recommended,
}

/// How the server that a mobile node has chosen as its anchor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// By a REGISTER of its own, which it answers (RFC 3261 §10).
    Standard,
    /// By an ACK to its answer, which RFC 3261 does not know.
    Paper,
}

/// When a mobile node looks for servers that may become its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discover {
    /// When it needs an anchor; it then waits for δ.
    Reactive,
    /// After every handoff, with every probe of its anchor and when its link is about to go down, so that it has candidates when it needs one.
    Ahead,
}

/// When a mobile node that has moved tells the correspondent nodes of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateOrder {
    /// At once, while it registers.
    Parallel,
    /// When its anchor has it registered.
    Serial,
}

/// What a caller does with a tier-1 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    /// It sends the INVITE there and, after `stale_deadline` without an answer, through its anchor (the paper).
    Sequential,
    /// It sends both at once and takes the answer that comes first.
    Parallel,
}

/// One cache of the two-tier caching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheSettings {
    /// Whether it is consulted and filled.
    pub enabled: bool,
    /// How long an entry is believed; when it adapts, before the callee has been seen to move or to stay.
    pub lifetime: Duration,
    /// Whether the lifetime follows the callee's rate of movement.
    pub adaptive: bool,
    /// Entries at most; the oldest goes first.
    pub size: usize,
}

/// The Chord ring of the SIP servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChordSettings {
    /// L: length of the successor lists; a ring of fewer than L + 1 members uses members − 1.
    pub successors: usize,
    /// Time between two stabilisations.
    pub stabilize_period: Duration,
    /// A peer that has not answered an overlay request for so long is taken for dead.
    pub peer_timeout: Duration,
    /// r: how many distinct servers hold a binding, its home server included.
    pub replicas: usize,
    /// What becomes of a write that cannot have all its copies in time.
    pub durability: Durability,
    /// Places that each server has on the ring: more of them spread the keys more evenly.
    pub virtual_nodes: usize,
}

impl Default for ChordSettings {
    fn default() -> Self {
        Self {
            successors: 4,
            stabilize_period: Duration::from_secs(1),
            peer_timeout: Duration::from_secs(1),
            replicas: 2,
            durability: Durability::Strict,
            virtual_nodes: 1,
        }
    }
}

/// What becomes of a write that cannot have all its copies in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It is refused with 503.
    Strict,
    /// It is accepted with fewer copies, and a record says so.
    Degraded,
}

/// The media of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaSettings {
    /// Time between two RTP packets of a stream; 20 ms is 50 packets/s.
    pub packet_interval: Duration,
    /// Payload bytes in an RTP packet; 160 is 20 ms of G.711.
    pub payload_bytes: usize,
}

impl Default for MediaSettings {
    fn default() -> Self {
        Self { packet_interval: Duration::from_millis(20), payload_bytes: 160 }
    }
}

/// Who makes the links' delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkBackend {
    /// netem where the kernel has it, else the userspace delay line; resolved in the plan.
    #[default]
    Auto,
    /// The kernel's sch_netem.
    Netem,
    /// samp-lab's own delay line.
    Userspace,
    /// Nobody: links without delay, loss and rate, for labs that are too big for more.
    Plain,
}

/// How a handoff moves a mobile node to another access router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// `bpf` where that can be, else `switch`; resolved in the plan.
    #[default]
    Auto,
    /// One write to the air's attachment table, in the delay line.
    Switch,
    /// One write to the air's attachment table, in the kernel: radio links have neither delay nor loss.
    Bpf,
    /// The interface itself moves from one access router's namespace into the next one's.
    Move,
}

/// What tells a mobile node that it is behind another access router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The lab, at once (as IEEE 802.21 Link_Up).
    #[default]
    Link,
    /// The carrier of its radio interface, which goes and comes again.
    Carrier,
    /// Another router's advertisement (RFC 6275 §11.5.1), with `address: slaac`.
    Ra,
}

/// Who puts Mobile IPv6's datagrams into tunnels, and takes them out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelBackend {
    /// samp-lab's agents, on any kernel, with optimised routes too.
    #[default]
    Agent,
    /// The kernel's ip6tnl devices (RFC 2473), which the agents set up.
    Kernel,
}

/// A datagram that is only passed on through a tunnel, or dropped before it is parsed, is taken for the n-th part of a message
/// in what it costs a server.
pub const UNREAD: u32 = 10;

/// How the lab emulates links and the air, as asked (`auto` allowed) or as resolved (never `auto`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulationSettings {
    /// Who makes the delay of wired links.
    pub links: LinkBackend,
    /// How handoffs are done.
    pub attach: AttachMode,
    /// For how long a mobile node is attached nowhere in a handoff, 0 to 60 s (break before make).
    #[serde(default)]
    pub gap: Duration,
    /// What tells a mobile node of its new link.
    #[serde(default)]
    pub trigger: Trigger,
    /// For how long the old attachment stays beside the new one, 0 to 60 s (make before break, with two radios); 0 is not at
    /// all.
    #[serde(default)]
    pub make_before_break: Duration,
    /// So long before it is detached a mobile node is told, 0 to 60 s (as IEEE 802.21 Link_Going_Down); 0 is not at all.
    #[serde(default)]
    pub going_down: Duration,
    /// Who does Mobile IPv6's tunnels.
    #[serde(default)]
    pub tunnels: TunnelBackend,
    /// How many nodes' agents share a process at most; none is `auto`.
    #[serde(default)]
    pub nodes_per_process: Option<NonZeroU16>,
    /// The CPU time that each SIP server may use, in thousandths of one processor, 1 to 1000; none is as much as there is.
    /// Servers then have a process each.
    #[serde(default)]
    pub server_cpu: Option<NonZeroU16>,
    /// What of that the simulator takes a server to need for each message; none is its own estimate. In a lab it is
    /// what it is.
    #[serde(default)]
    pub server_work: Option<Duration>,
}
