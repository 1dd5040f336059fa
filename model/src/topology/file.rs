//! The topology file as it is written: its fields, their types, and nothing decided yet.

use super::{Jitter, LinkQuality, Loss};
use crate::ring::MAX_VIRTUAL_NODES;
use crate::settings::{
    AddressMethod, AddressProfile, AnchorSelect, AttachMode, Auth, Authentication, Confirm, Dad, DhcpServer,
    Discover, Durability, Family, HomeAgents, LinkBackend, Profile, Protocol, Records, ServerMode, Stale,
    Trigger, TunnelBackend, UpdateOrder,
};
use crate::units::{Delay, Interval, InvalidValue, Percent, Rate};
use crate::yaml::{Entries, Keyword, Title, Value, Whole, Word, span};
use serde::Deserialize;
use serde_yaml::Spanned;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::ops::Range;
use std::str::FromStr;

/// Nodes in a topology at most.
pub(super) const MAX_NODES: u64 = 40_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopologyFile {
    pub(super) name: Option<Value<Title>>,
    pub(super) seed: Option<Value<Whole<0, { u64::MAX }>>>,
    pub(super) family: Option<Value<Word<Family>>>,
    pub(super) grid: Option<Grid>,
    pub(super) graph: Option<Graph>,
    pub(super) mobile_nodes: Option<MobileNodes>,
    pub(super) radio: Option<RadioLink>,
    #[serde(default)]
    pub(super) nodes: Entries<ExplicitNode>,
    pub(super) links: Option<Vec<WiredLink>>,
    pub(super) protocol: Option<Value<Word<Protocol>>>,
    pub(super) mobility: Option<Mobility>,
    pub(super) samp: Option<Samp>,
    pub(super) media: Option<Media>,
    pub(super) addressing: Option<Addressing>,
    pub(super) emulation: Option<Emulation>,
}

/// Who the agents of a protocol other than SAMP are, and what they do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mobility {
    pub(super) agent: Option<Spanned<String>>,
    pub(super) ha: Option<Value<Word<HomeAgents>>>,
    pub(super) route_optimization: Option<Value<Word<bool>>>,
    pub(super) authentication: Option<Value<Word<Authentication>>>,
}

impl Keyword for Protocol {
    const WHAT: &'static str = "a protocol";
    const WORDS: &'static [(&'static str, Self)] =
        &[("samp", Self::Samp), ("mipv6", Self::Mipv6), ("hmipv6", Self::Hmipv6), ("sip", Self::Sip)];
}

impl Keyword for HomeAgents {
    const WHAT: &'static str = "which home agents there are";
    const WORDS: &'static [(&'static str, Self)] = &[("fixed", Self::Fixed), ("dynamic", Self::Dynamic)];
}

impl Keyword for Authentication {
    const WHAT: &'static str = "a way of authentication";
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None), ("rfc4285", Self::Rfc4285)];
}

/// Access routers side by side, neighbours linked, one SIP server in the middle of each domain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grid {
    pub(super) width: Value<Whole<1, MAX_NODES>>,
    pub(super) height: Value<Whole<1, MAX_NODES>>,
    pub(super) spacing: Option<Value<Metres>>,
    pub(super) domain: Option<Domain>,
    pub(super) link: GridLink,
    pub(super) server_link: GridLink,
}

/// So many access routers share a SIP server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Domain {
    pub(super) width: Value<Whole<1, MAX_NODES>>,
    pub(super) height: Value<Whole<1, MAX_NODES>>,
}

/// Access routers and links as a GraphML file has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Graph {
    pub(super) graphml: Spanned<String>,
    pub(super) largest_component: Option<Value<Word<bool>>>,
    pub(super) distance_factor: Option<Value<Factor>>,
    pub(super) minimum_delay: Option<Value<Delay>>,
    pub(super) default_delay: Option<Value<Delay>>,
    pub(super) link_speeds: Option<Value<Word<bool>>>,
    pub(super) servers: Option<GraphServers>,
}

/// SIP servers `s1`, `s2`, … at the routers with the most links.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GraphServers {
    pub(super) count: Value<Whole<1, MAX_NODES>>,
    pub(super) link: Option<GridLink>,
}

/// Mobile nodes `mn1`, `mn2`, ….
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MobileNodes {
    pub(super) count: Value<Whole<1, MAX_NODES>>,
    pub(super) start: Option<Spanned<String>>,
}

/// A node with a name of its own. Which fields it may have depends on its kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplicitNode {
    pub(super) kind: Value<Word<Kind>>,
    pub(super) position: Option<Spanned<Vec<Value<Metres>>>>,
    pub(super) start: Option<Spanned<String>>,
    pub(super) user: Option<Value<Title>>,
    pub(super) radio: Option<Spanned<Box<RadioLink>>>,
    pub(super) program: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AccessRouter,
    Router,
    SipServer,
    MobileNode,
}

impl Keyword for Kind {
    const WHAT: &'static str = "a kind of node";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("access_router", Self::AccessRouter),
        ("router", Self::Router),
        ("sip_server", Self::SipServer),
        ("mobile_node", Self::MobileNode),
    ];
}

/// What a link, or one direction of it, does to packets.
#[derive(Clone, Copy)]
pub(super) struct Quality<'f> {
    pub(super) one_way_delay: Option<&'f Value<Delay>>,
    pub(super) jitter: Option<&'f Value<Jitter>>,
    pub(super) loss: Option<&'f Value<Loss>>,
    pub(super) duplicate: Option<&'f Value<Percent>>,
    pub(super) reorder: Option<&'f Value<Percent>>,
    pub(super) rate: Option<&'f Value<Rate>>,
    pub(super) queue: Option<&'f Value<Packets>>,
}

/// Packets in a queue.
pub(crate) type Packets = Whole<1, { LinkQuality::MAX_QUEUE as u64 }>;

/// A structure with the keys of [`Quality`] beside its own. (Flattened ones would lose positions, and let any key pass.)
macro_rules! with_quality {
    ($(#[$doc:meta])* $name:ident, $delay:ty, { $($field:ident: $type:ty),* }) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
            one_way_delay: $delay,
            jitter: Option<Value<Jitter>>,
            loss: Option<Value<Loss>>,
            duplicate: Option<Value<Percent>>,
            reorder: Option<Value<Percent>>,
            rate: Option<Value<Rate>>,
            queue: Option<Value<Packets>>,
        }

        impl $name {
            pub(super) fn quality(&self) -> Quality<'_> {
                Quality {
                    one_way_delay: Option::from(&self.one_way_delay),
                    jitter: self.jitter.as_ref(),
                    loss: self.loss.as_ref(),
                    duplicate: self.duplicate.as_ref(),
                    reorder: self.reorder.as_ref(),
                    rate: self.rate.as_ref(),
                    queue: self.queue.as_ref(),
                }
            }
        }
    };
}

with_quality! {
    /// The same both ways: the links that are not written one by one.
    GridLink, Value<Delay>, {}
}
with_quality! {
    /// `reverse` is from the second end to the first.
    WiredLink, Value<Delay>, { between: Spanned<Vec<Spanned<String>>>, reverse: Option<Box<Reverse>> }
}
with_quality! {
    /// `reverse` is from the access router to the mobile node.
    RadioLink, Option<Value<Delay>>, { reverse: Option<Box<Reverse>> }
}
with_quality! {
    /// What differs in the other direction.
    Reverse, Option<Value<Delay>>, {}
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Samp {
    pub(super) profile: Option<Value<Word<Profile>>>,
    pub(super) delta: Option<Value<Interval>>,
    pub(super) discovery_deadline: Option<Value<Interval>>,
    pub(super) anchor_select: Option<Value<Word<AnchorSelect>>>,
    pub(super) confirm: Option<Value<Word<Confirm>>>,
    pub(super) discover: Option<Value<Word<Discover>>>,
    pub(super) anchor_probe: Option<Value<Interval>>,
    pub(super) update_order: Option<Value<Word<UpdateOrder>>>,
    pub(super) hierarchical_registration: Option<Value<Word<bool>>>,
    pub(super) tier1: Option<Cache>,
    pub(super) tier2: Option<Cache>,
    pub(super) stale: Option<Value<Word<Stale>>>,
    pub(super) stale_deadline: Option<Value<Interval>>,
    pub(super) ring: Option<Value<Interval>>,
    pub(super) anchor_timeout: Option<Value<Interval>>,
    pub(super) registration_lifetime: Option<Value<Interval>>,
    pub(super) min_expires: Option<Value<Interval>>,
    pub(super) multicast_ttl: Option<Value<Whole<1, 255>>>,
    pub(super) discovery_group6: Option<Value<Group6>>,
    pub(super) auth: Option<Value<Word<Auth>>>,
    #[serde(default)]
    pub(super) passwords: Entries<Value<Password>>,
    pub(super) records: Option<Value<Word<Records>>>,
    pub(super) mode: Option<Value<Word<ServerMode>>>,
    pub(super) overload_lag: Option<Value<Interval>>,
    pub(super) max_transactions: Option<Value<Whole<1, 10_000_000>>>,
    pub(super) source_rate: Option<Value<Whole<1, 100_000>>>,
    pub(super) t1: Option<Value<Interval>>,
    pub(super) t2: Option<Value<Interval>>,
    pub(super) t4: Option<Value<Interval>>,
    pub(super) successors: Option<Value<Whole<1, 32>>>,
    pub(super) stabilize_period: Option<Value<Interval>>,
    pub(super) peer_timeout: Option<Value<Interval>>,
    pub(super) replicas: Option<Value<Whole<1, 33>>>,
    pub(super) durability: Option<Value<Word<Durability>>>,
    pub(super) virtual_nodes: Option<Value<Whole<1, { MAX_VIRTUAL_NODES as u64 }>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) enabled: Option<Value<Word<bool>>>,
    pub(super) lifetime: Option<Value<CacheLifetime>>,
    pub(super) size: Option<Value<Whole<1, 1_000_000>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Media {
    pub(super) packet_interval: Option<Value<Interval>>,
    pub(super) payload_bytes: Option<Value<Whole<1, 1400>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Addressing {
    pub(super) address: Option<Value<Word<AddressMethod>>>,
    pub(super) profile: Option<Value<Word<AddressProfile>>>,
    pub(super) dhcp_server: Option<Value<Word<DhcpServer>>>,
    pub(super) dhcp_delay: Option<Spanned<Vec<Value<Delay>>>>,
    pub(super) dhcp_retransmit: Option<Value<Interval>>,
    pub(super) rapid_commit: Option<Value<Word<bool>>>,
    pub(super) lease: Option<Value<Interval>>,
    pub(super) rs_delay: Option<Spanned<Vec<Value<Delay>>>>,
    pub(super) rs_interval: Option<Value<Interval>>,
    pub(super) ra_interval: Option<Spanned<Vec<Value<Interval>>>>,
    pub(super) ra_delay: Option<Spanned<Vec<Value<Delay>>>>,
    pub(super) dad: Option<Value<Word<Dad>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Emulation {
    pub(super) links: Option<Value<Word<LinkBackend>>>,
    pub(super) attach: Option<Value<Word<AttachMode>>>,
    pub(super) gap: Option<Value<Delay>>,
    pub(super) trigger: Option<Value<Word<Trigger>>>,
    pub(super) make_before_break: Option<Value<Delay>>,
    pub(super) going_down: Option<Value<Delay>>,
    pub(super) tunnels: Option<Value<Word<TunnelBackend>>>,
    pub(super) nodes_per_process: Option<Value<PerProcess>>,
    pub(super) server_cpu: Option<Value<Percent>>,
    pub(super) server_work: Option<Value<Interval>>,
}

impl Emulation {
    /// Where a knob of handoffs is written.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        let span = match key {
            "trigger" => self.trigger.as_ref().map(span),
            "make_before_break" => self.make_before_break.as_ref().map(span),
            "going_down" => self.going_down.as_ref().map(span),
            "tunnels" => self.tunnels.as_ref().map(span),
            _ => None,
        };
        span.unwrap_or_default()
    }
}

impl Keyword for Family {
    const WHAT: &'static str = "an address family";
    const WORDS: &'static [(&'static str, Self)] =
        &[("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6), ("dual", Self::Dual)];
}

impl Keyword for AnchorSelect {
    const WHAT: &'static str = "a way to select an anchor";
    const WORDS: &'static [(&'static str, Self)] = &[("random", Self::Random), ("fastest", Self::Fastest)];
}

impl Keyword for ServerMode {
    const WHAT: &'static str = "a mode of SIP servers";
    const WORDS: &'static [(&'static str, Self)] = &[("proxy", Self::Proxy), ("redirect", Self::Redirect)];
}

impl Keyword for Profile {
    const WHAT: &'static str = "a profile";
    const WORDS: &'static [(&'static str, Self)] =
        &[("paper", Self::Paper), ("recommended", Self::Recommended)];
}

impl Keyword for Confirm {
    const WHAT: &'static str = "a way to confirm an anchor";
    const WORDS: &'static [(&'static str, Self)] = &[("standard", Self::Standard), ("paper", Self::Paper)];
}

impl Keyword for Discover {
    const WHAT: &'static str = "a time for discovery";
    const WORDS: &'static [(&'static str, Self)] = &[("reactive", Self::Reactive), ("ahead", Self::Ahead)];
}

impl Keyword for Records {
    const WHAT: &'static str = "what is recorded";
    const WORDS: &'static [(&'static str, Self)] =
        &[("messages", Self::Messages), ("milestones", Self::Milestones)];
}

impl Keyword for UpdateOrder {
    const WHAT: &'static str = "an order of updates";
    const WORDS: &'static [(&'static str, Self)] = &[("parallel", Self::Parallel), ("serial", Self::Serial)];
}

impl Keyword for Stale {
    const WHAT: &'static str = "a way to use a cache entry";
    const WORDS: &'static [(&'static str, Self)] =
        &[("sequential", Self::Sequential), ("parallel", Self::Parallel)];
}

/// How long a cache believes its entries.
#[derive(Clone, Copy)]
pub(super) enum CacheLifetime {
    /// For so long, or for as long as the tier's default says.
    Fixed(Option<Interval>),
    /// For as long as the callee's movement allows.
    Adaptive,
}

impl FromStr for CacheLifetime {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "fixed" => Ok(Self::Fixed(None)),
            "adaptive" => Ok(Self::Adaptive),
            time => time.parse().map(|time| Self::Fixed(Some(time))).map_err(|error: InvalidValue| {
                InvalidValue { hint: "write it as 60s, fixed or adaptive".to_owned(), ..error }
            }),
        }
    }
}

impl Keyword for Auth {
    const WHAT: &'static str = "a way to authenticate";
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("digest", Self::Digest), ("digest_md5", Self::DigestMd5)];
}

impl Keyword for Durability {
    const WHAT: &'static str = "an answer to writes without all copies";
    const WORDS: &'static [(&'static str, Self)] = &[("strict", Self::Strict), ("degraded", Self::Degraded)];
}

impl Keyword for AddressMethod {
    const WHAT: &'static str = "a way to get an address";
    const WORDS: &'static [(&'static str, Self)] =
        &[("static", Self::Static), ("dhcp", Self::Dhcp), ("slaac", Self::Slaac)];
}

impl Keyword for DhcpServer {
    const WHAT: &'static str = "a DHCP server";
    const WORDS: &'static [(&'static str, Self)] = &[("agent", Self::Agent), ("dnsmasq", Self::Dnsmasq)];
}

impl Keyword for Dad {
    const WHAT: &'static str = "a way of duplicate address detection";
    const WORDS: &'static [(&'static str, Self)] =
        &[("on", Self::On), ("off", Self::Off), ("optimistic", Self::Optimistic)];
}

impl Keyword for AddressProfile {
    const WHAT: &'static str = "a profile of addressing";
    const WORDS: &'static [(&'static str, Self)] = &[("rfc", Self::Rfc), ("fast", Self::Fast)];
}

impl Keyword for LinkBackend {
    const WHAT: &'static str = "a way to emulate links";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("netem", Self::Netem),
        ("userspace", Self::Userspace),
        ("plain", Self::Plain),
    ];
}

impl Keyword for AttachMode {
    const WHAT: &'static str = "a way to hand off";
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("switch", Self::Switch), ("bpf", Self::Bpf), ("move", Self::Move)];
}

impl Keyword for Trigger {
    const WHAT: &'static str = "what tells of a new link";
    const WORDS: &'static [(&'static str, Self)] =
        &[("link", Self::Link), ("carrier", Self::Carrier), ("ra", Self::Ra)];
}

impl Keyword for TunnelBackend {
    const WHAT: &'static str = "who does tunnels";
    const WORDS: &'static [(&'static str, Self)] = &[("agent", Self::Agent), ("kernel", Self::Kernel)];
}

/// An IPv6 multicast group that routers forward (RFC 4291 §2.7).
#[derive(Clone, Copy)]
pub(super) struct Group6(pub(super) Ipv6Addr);

impl FromStr for Group6 {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        /// The scope of a link; smaller ones are below it, and 0 and 15 are reserved.
        const LINK_LOCAL: u16 = 2;
        const RESERVED: u16 = 15;
        match text.parse::<Ipv6Addr>() {
            Ok(group)
                if group.is_multicast()
                    && (LINK_LOCAL + 1..RESERVED).contains(&(group.segments()[0] & 0xf)) =>
            {
                Ok(Self(group))
            }
            _ => Err(InvalidValue {
                message: format!(
                    "{} is not an IPv6 multicast group beyond one link",
                    crate::diagnostic::quote(text)
                ),
                hint: "write a transient group of site-local scope or larger, as ff15::5060".to_owned(),
            }),
        }
    }
}

/// A password that every SIP program can send.
#[derive(Clone)]
pub(super) struct Password(pub(super) String);

impl Password {
    /// Letters and digits at most.
    pub(super) const LONGEST: usize = 64;
}

impl FromStr for Password {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if (1..=Self::LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue {
            message: "this is no password".to_owned(),
            hint: format!("write 1 to {} letters and digits", Self::LONGEST),
        })
    }
}

/// A coordinate or a distance.
#[derive(Clone, Copy)]
pub(crate) struct Metres(pub(crate) f64);

impl Metres {
    pub(super) const MAX: f64 = 1e6;
}

impl FromStr for Metres {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.parse::<f64>() {
            Ok(metres) if metres.abs() <= Self::MAX => Ok(Self(metres)),
            _ => Err(InvalidValue {
                message: format!("{} is not a distance", crate::diagnostic::quote(text)),
                hint: "write metres as a number from -1000000 to 1000000, without a unit".to_owned(),
            }),
        }
    }
}

/// How many nodes share a process at most; none is `auto`.
#[derive(Clone, Copy)]
pub(super) struct PerProcess(pub(super) Option<NonZeroU16>);

impl PerProcess {
    pub(super) const AUTO: &'static str = "auto";
    pub(super) const MAX: u16 = 1000;
}

impl FromStr for PerProcess {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.parse::<NonZeroU16>() {
            _ if text == Self::AUTO => Ok(Self(None)),
            Ok(nodes) if nodes.get() <= Self::MAX => Ok(Self(Some(nodes))),
            _ => Err(InvalidValue {
                message: format!("{} is not a number of nodes", crate::diagnostic::quote(text)),
                hint: format!("write `{}` or a number from 1 to {}", Self::AUTO, Self::MAX),
            }),
        }
    }
}

/// How many times a distance.
#[derive(Clone, Copy)]
pub(super) struct Factor(pub(super) f64);

impl Factor {
    pub(super) const MIN: f64 = 0.01;
    pub(super) const MAX: f64 = 100.0;
}

impl FromStr for Factor {
    type Err = InvalidValue;
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.parse::<f64>() {
            Ok(factor) if (Self::MIN..=Self::MAX).contains(&factor) => Ok(Self(factor)),
            _ => Err(InvalidValue {
                message: format!("{} is not a factor", crate::diagnostic::quote(text)),
                hint: format!("write a number from {} to {}, as 1.5", Self::MIN, Self::MAX),
            }),
        }
    }
}
