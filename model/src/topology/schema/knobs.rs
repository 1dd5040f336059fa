//! JSON Schema of the knobs of topology files: `samp:`, `media:`, `addressing:` and `emulation:`.

use super::super::file::{CacheLifetime, Group6, Password, PerProcess};
use super::super::knobs::MAX_USERS;
use super::{time, word};
use crate::ring::MAX_VIRTUAL_NODES;
use crate::schema::{Scalar, object, pair, scalar, scalar_or, text};
use crate::settings::{
    AddressMethod, AddressProfile, AddressSettings, AnchorSelect, AttachMode, Auth, Authentication,
    CacheSettings, Confirm, Dad, DhcpServer, Discover, Durability, EmulationSettings, HomeAgents,
    LinkBackend, MediaSettings, MobilitySettings, Profile, Records, SampSettings, ServerMode, Stale, Trigger,
    TunnelBackend, UpdateOrder,
};
use crate::units::{Delay, Interval, Percent};
use crate::yaml::{Whole, Word};
use serde_json::{Value, json};

pub(super) fn samp() -> Value {
    let SampSettings {
        profile,
        delta,
        discovery_deadline: _,
        anchor_select,
        confirm,
        discover,
        anchor_probe,
        update_order,
        hierarchical_registration,
        tier1,
        tier2,
        stale,
        stale_deadline,
        ring: _,
        anchor_timeout,
        registration_lifetime,
        min_expires,
        multicast_ttl,
        discovery_group6,
        auth,
        passwords: _,
        records,
        mode,
        overload_lag,
        max_transactions,
        source_rate,
        t1,
        t2,
        t4,
        chord,
    } = SampSettings::default();
    object(
        "SAMP's knobs.",
        &[],
        vec![
            (
                "profile",
                scalar_or::<Word<Profile>>(
                    "Where the knobs come from that are not set here: the paper, or samp-lab's advice.",
                    word(profile),
                ),
            ),
            (
                "delta",
                scalar_or::<Interval>("Servers that answer within it may become the anchor.", time(delta)),
            ),
            (
                "discovery_deadline",
                scalar::<Interval>(
                    "How long a discovery waits when nobody answered within `delta`; without it, 4 × `delta`.",
                ),
            ),
            (
                "anchor_select",
                scalar_or::<Word<AnchorSelect>>("How an anchor is picked among them.", word(anchor_select)),
            ),
            (
                "confirm",
                scalar_or::<Word<Confirm>>(
                    "How the chosen server is told: by a REGISTER of its own, or by the paper's ACK.",
                    word(confirm),
                ),
            ),
            (
                "discover",
                scalar_or::<Word<Discover>>(
                    "Whether candidates for anchor are looked for when one is needed, or before.",
                    word(discover),
                ),
            ),
            (
                "anchor_probe",
                scalar_or::<Interval>(
                    "How often a node renews its registration with its anchor; so soon a crash is noticed.",
                    time(anchor_probe),
                ),
            ),
            (
                "records",
                scalar_or::<Word<Records>>(
                    "Whether every SIP message is recorded, or what the report needs only.",
                    word(records),
                ),
            ),
            (
                "update_order",
                scalar_or::<Word<UpdateOrder>>(
                    "Whether correspondent nodes are told while a node registers, or after.",
                    word(update_order),
                ),
            ),
            (
                "hierarchical_registration",
                scalar_or::<Word<bool>>(
                    "Whether a move within the anchor's reach updates the anchor only.",
                    hierarchical_registration,
                ),
            ),
            ("tier1", cache("The caller's cache of addresses.", &tier1)),
            ("tier2", cache("The anchor's cache of callees' anchors.", &tier2)),
            (
                "stale",
                scalar_or::<Word<Stale>>(
                    "Whether a call on a tier-1 hit goes through the anchor once it has failed, or at once too.",
                    word(stale),
                ),
            ),
            (
                "ring",
                scalar::<Interval>("How long a mobile node rings before it answers; without it, not at all."),
            ),
            (
                "stale_deadline",
                scalar_or::<Interval>(
                    "How long an INVITE sent on a tier-1 hit may stay unanswered.",
                    time(stale_deadline),
                ),
            ),
            (
                "anchor_timeout",
                scalar_or::<Interval>(
                    "An anchor or correspondent node silent for so long is looked for elsewhere.",
                    time(anchor_timeout),
                ),
            ),
            (
                "registration_lifetime",
                scalar_or::<Interval>("Lifetime of bindings, in whole seconds.", time(registration_lifetime)),
            ),
            (
                "min_expires",
                scalar_or::<Interval>(
                    "Registrars refuse shorter lifetimes, but for `registration_lifetime`; in whole seconds.",
                    time(min_expires),
                ),
            ),
            (
                "multicast_ttl",
                scalar_or::<Whole<1, 255>>("Scope of the multicast REGISTER, in routers.", multicast_ttl),
            ),
            (
                "discovery_group6",
                scalar_or::<Group6>(
                    "The multicast group of all SIP servers in IPv6.",
                    discovery_group6.to_string(),
                ),
            ),
            (
                "auth",
                scalar_or::<Word<Auth>>(
                    "Whether registrars want to know who a REGISTER is from.",
                    word(auth),
                ),
            ),
            ("passwords", passwords()),
            (
                "mode",
                scalar_or::<Word<ServerMode>>("What the SIP servers are beside registrars.", word(mode)),
            ),
            (
                "overload_lag",
                scalar_or::<Interval>(
                    "A SIP server to which messages have come late for longer answers 503 to what is new.",
                    time(overload_lag),
                ),
            ),
            (
                "max_transactions",
                scalar_or::<Whole<1, 10_000_000>>("So does one with so many transactions.", max_transactions),
            ),
            (
                "source_rate",
                scalar_or::<Whole<1, 100_000>>(
                    "Datagrams per second that a SIP server takes from one source even under pressure.",
                    source_rate,
                ),
            ),
            ("t1", scalar_or::<Interval>("SIP's T1 (RFC 3261 §17.1.1.1).", time(t1))),
            ("t2", scalar_or::<Interval>("SIP's T2 (RFC 3261 §17.1.2.2).", time(t2))),
            ("t4", scalar_or::<Interval>("SIP's T4 (RFC 3261 §17.1.2.2).", time(t4))),
            (
                "successors",
                scalar_or::<Whole<1, 32>>("Length of the Chord ring's successor lists.", chord.successors),
            ),
            (
                "stabilize_period",
                scalar_or::<Interval>(
                    "Time between two stabilisations of the ring.",
                    time(chord.stabilize_period),
                ),
            ),
            (
                "peer_timeout",
                scalar_or::<Interval>(
                    "A server that has not answered another for so long is taken for dead.",
                    time(chord.peer_timeout),
                ),
            ),
            (
                "replicas",
                scalar_or::<Whole<1, 33>>(
                    "Servers that hold a binding; at most `successors` + 1.",
                    chord.replicas,
                ),
            ),
            (
                "durability",
                scalar_or::<Word<Durability>>(
                    "What becomes of a registration that cannot have all its copies in time: refused, or accepted.",
                    word(chord.durability),
                ),
            ),
            (
                "virtual_nodes",
                scalar_or::<Whole<1, { MAX_VIRTUAL_NODES as u64 }>>(
                    "Places that each server has on the ring: more of them spread bindings more evenly.",
                    chord.virtual_nodes,
                ),
            ),
        ],
    )
}

pub(super) fn mobility() -> Value {
    let MobilitySettings { protocol: _, agent: _, home_agents, route_optimization, authentication } =
        MobilitySettings::default();
    object(
        "The agents of protocols other than SAMP.",
        &[],
        vec![
            (
                "agent",
                text("The SIP server that is home agent or registrar of all; without it, the first one."),
            ),
            ("ha", scalar_or::<Word<HomeAgents>>("Which home agents there are.", word(home_agents))),
            (
                "route_optimization",
                scalar_or::<Word<bool>>(
                    "Whether peers of a call learn where a mobile node is (RFC 6275 §9.3).",
                    route_optimization,
                ),
            ),
            (
                "authentication",
                scalar_or::<Word<Authentication>>(
                    "Whether home agents ask for proof that an update is the mobile node's (RFC 4285).",
                    word(authentication),
                ),
            ),
        ],
    )
}

fn passwords() -> Value {
    json!({
        "type": ["object", "null"],
        "description": "With `auth: digest`, users of one's own and their passwords; mobile nodes have theirs anyway.",
        "maxProperties": MAX_USERS,
        "patternProperties": { "^[0-9A-Za-z-]{1,32}$": Password::schema() },
        "additionalProperties": false,
    })
}

fn cache(description: &str, CacheSettings { enabled, lifetime, size, .. }: &CacheSettings) -> Value {
    object(
        description,
        &[],
        vec![
            ("enabled", scalar_or::<Word<bool>>("Whether it is used.", *enabled)),
            (
                "lifetime",
                scalar_or::<CacheLifetime>(
                    "How long an entry is believed: a time, or as long as the callee's movement allows.",
                    time(*lifetime),
                ),
            ),
            ("size", scalar_or::<Whole<1, 1_000_000>>("Entries at most; the oldest goes first.", *size)),
        ],
    )
}

pub(super) fn media() -> Value {
    let MediaSettings { packet_interval, payload_bytes } = MediaSettings::default();
    object(
        "The RTP streams of a call.",
        &[],
        vec![
            ("packet_interval", scalar_or::<Interval>("Time between two packets.", time(packet_interval))),
            ("payload_bytes", scalar_or::<Whole<1, 1400>>("Payload bytes in a packet.", payload_bytes)),
        ],
    )
}

pub(super) fn addressing() -> Value {
    let settings = AddressSettings::default();
    object(
        "How mobile nodes get their care-of addresses. Defaults are those of `profile: rfc`.",
        &[],
        vec![
            (
                "address",
                scalar_or::<Word<AddressMethod>>("Whence care-of addresses come.", word(settings.address)),
            ),
            (
                "profile",
                scalar_or::<Word<AddressProfile>>("A value for every other knob.", word(settings.profile)),
            ),
            (
                "dhcp_server",
                scalar_or::<Word<DhcpServer>>(
                    "What answers at the access routers with DHCP.",
                    word(settings.dhcp_server),
                ),
            ),
            (
                "dhcp_delay",
                pair("A DHCPDISCOVER waits at random between these.", scalar::<Delay>("0 does not wait.")),
            ),
            (
                "dhcp_retransmit",
                scalar_or::<Interval>(
                    "DHCP messages are first sent again after this.",
                    time(settings.dhcp_retransmit),
                ),
            ),
            (
                "rapid_commit",
                scalar_or::<Word<bool>>("Whether two DHCP messages may do for four.", settings.rapid_commit),
            ),
            ("lease", scalar_or::<Interval>("How long an address is lent.", time(settings.lease))),
            (
                "rs_delay",
                pair(
                    "A router solicitation waits at random between these.",
                    scalar::<Delay>("0 does not wait."),
                ),
            ),
            (
                "rs_interval",
                scalar_or::<Interval>("Routers are solicited again after this.", time(settings.rs_interval)),
            ),
            (
                "ra_interval",
                pair("Routers advertise at random between these.", scalar::<Interval>("At least 30ms.")),
            ),
            (
                "ra_delay",
                pair(
                    "An answer to a solicitation waits at random between these.",
                    scalar::<Delay>("0 does not wait."),
                ),
            ),
            (
                "dad",
                scalar_or::<Word<Dad>>(
                    "Whether an address is checked before it is used.",
                    word(settings.dad),
                ),
            ),
        ],
    )
}

pub(super) fn emulation() -> Value {
    let EmulationSettings {
        links,
        attach,
        gap,
        trigger,
        make_before_break,
        going_down,
        tunnels,
        nodes_per_process: _,
        server_cpu: _,
        server_work: _,
    } = EmulationSettings::default();
    object(
        "How the lab is made.",
        &[],
        vec![
            ("links", scalar_or::<Word<LinkBackend>>("Who makes the delay of wired links.", word(links))),
            ("attach", scalar_or::<Word<AttachMode>>("How handoffs are done.", word(attach))),
            (
                "gap",
                scalar_or::<Delay>("For how long a mobile node is attached nowhere in a handoff.", time(gap)),
            ),
            (
                "trigger",
                scalar_or::<Word<Trigger>>("What tells a mobile node of its new link.", word(trigger)),
            ),
            (
                "make_before_break",
                scalar_or::<Delay>(
                    "For how long the old attachment stays beside the new one, with two radios; 0 is not at all.",
                    time(make_before_break),
                ),
            ),
            (
                "going_down",
                scalar_or::<Delay>(
                    "How long before its detachment a mobile node is told of it; 0 is not at all.",
                    time(going_down),
                ),
            ),
            (
                "tunnels",
                scalar_or::<Word<TunnelBackend>>(
                    "Who does the tunnels of Mobile IPv6 and HMIPv6.",
                    word(tunnels),
                ),
            ),
            (
                "nodes_per_process",
                scalar_or::<PerProcess>("How many nodes' agents share a process at most.", PerProcess::AUTO),
            ),
            (
                "server_cpu",
                scalar::<Percent>(
                    "How much of a processor each SIP server may use, 0.1% or more; without it, as much as there is.",
                ),
            ),
            (
                "server_work",
                scalar::<Interval>(
                    "The CPU time that the simulator takes a SIP server with `server_cpu` to need for a message.",
                ),
            ),
        ],
    )
}
