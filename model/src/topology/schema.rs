//! JSON Schema of topology files.

use super::file::{CacheLifetime, Factor, Group6, Kind, MAX_NODES, Metres, Packets, Password, PerProcess};
use super::graph::{DEFAULT_DELAY, DEFAULT_MINIMUM_DELAY};
use super::knobs::MAX_USERS;
use super::program::MAX_ARGUMENTS;
use super::resolve::{DEFAULT_RADIO, DEFAULT_SERVER_LINK, DEFAULT_SPACING, LONGEST_NAME, RESERVED_NAMES};
use super::{Jitter, LinkQuality, Loss};
use crate::ring::MAX_VIRTUAL_NODES;
use crate::schema::{Scalar, document, list, object, pair, scalar, scalar_or, text};
use crate::settings::{
    AnchorSelect, AttachMode, Auth, CacheSettings, Confirm, Discover, Durability, EmulationSettings, Family,
    LinkBackend, MediaSettings, Profile, Records, SampSettings, ServerMode, Stale, UpdateOrder,
};
use crate::units::{Delay, Interval, Percent, Rate};
use crate::yaml::{Keyword, Title, Whole, Word};
use serde_json::{Value, json};
use std::time::Duration;

impl Scalar for Metres {
    fn schema() -> Value {
        json!({ "type": "number", "minimum": -Self::MAX as i64, "maximum": Self::MAX as i64 })
    }
}

impl Scalar for Group6 {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[fF][fF][0-9a-fA-F][3-9a-eA-E]:[0-9a-fA-F:]+$" })
    }
}

impl Scalar for CacheLifetime {
    fn schema() -> Value {
        let interval = Interval::schema()["pattern"].as_str().map_or(String::new(), str::to_owned);
        let interval = interval.trim_start_matches('^').trim_end_matches('$');
        json!({
            "type": "string", "pattern": format!("^({interval}|fixed|adaptive)$"),
            "examples": ["60s", "fixed", "adaptive"],
        })
    }
}

impl Scalar for Password {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": format!("^[0-9A-Za-z]{{1,{}}}$", Self::LONGEST) })
    }
}

impl Scalar for Factor {
    fn schema() -> Value {
        json!({ "type": "number", "minimum": Self::MIN, "maximum": Self::MAX as i64 })
    }
}

impl Scalar for PerProcess {
    fn schema() -> Value {
        json!({ "type": ["string", "integer"], "pattern": "^(auto|[0-9]+)$", "minimum": 1, "maximum": Self::MAX })
    }
}

/// The schema of the whole file.
pub(crate) fn schema() -> Value {
    let mut schema = object(
        "A network of routers, SIP servers and mobile nodes.",
        &[],
        vec![
            ("name", scalar::<Title>("The lab's default name; without it, the file's.")),
            ("seed", scalar_or::<Whole<0, { u64::MAX }>>("Every random choice follows from it.", 1)),
            ("family", scalar_or::<Word<Family>>("Which addresses the nodes have.", word(Family::default()))),
            ("grid", grid()),
            ("graph", graph()),
            ("mobile_nodes", mobile_nodes()),
            ("radio", radio("The radio link of every mobile node that does not say otherwise.")),
            ("nodes", nodes()),
            ("links", list("Wired links.", wired_link())),
            ("samp", samp()),
            ("media", media()),
            ("emulation", emulation()),
        ],
    );
    schema["not"] = json!({ "required": ["grid", "graph"] });
    document("samp-lab topology", schema)
}

fn grid() -> Value {
    object(
        "Access routers ar-0-0, ar-1-0, … side by side, neighbours linked, a SIP server in the middle of each domain.",
        &["width", "height", "link", "server_link"],
        vec![
            ("width", scalar::<Whole<1, MAX_NODES>>("Access routers in a row.")),
            ("height", scalar::<Whole<1, MAX_NODES>>("Rows.")),
            (
                "spacing",
                scalar_or::<Metres>("Metres between neighbours; more than 0.", DEFAULT_SPACING as u64),
            ),
            (
                "domain",
                object(
                    "So many access routers share a SIP server; without it, all share one.",
                    &["width", "height"],
                    vec![
                        ("width", scalar::<Whole<1, MAX_NODES>>("Access routers in a row.")),
                        ("height", scalar::<Whole<1, MAX_NODES>>("Rows.")),
                    ],
                ),
            ),
            ("link", plain_link("Between neighbouring access routers, each way.")),
            ("server_link", plain_link("Between a SIP server and its access router, each way.")),
        ],
    )
}

fn graph() -> Value {
    object(
        "Access routers and links as a GraphML file has them, for one of the Internet Topology Zoo.",
        &["graphml"],
        vec![
            (
                "graphml",
                json!({
                    "type": "string", "pattern": r"\.(graphml|xml)$",
                    "description": "A path from the directory of this file. Every node becomes an access router, \
                                    named from its label.",
                }),
            ),
            (
                "largest_component",
                scalar_or::<Word<bool>>(
                    "Of a graph in several parts, take the largest; else it is an error.",
                    false,
                ),
            ),
            (
                "distance_factor",
                scalar_or::<Factor>(
                    "How many times longer than the great circle between its ends a link is; \
                     delays are those of light in fibre, 200,000 km/s.",
                    1,
                ),
            ),
            (
                "minimum_delay",
                scalar_or::<Delay>("No link with coordinates is faster.", time(DEFAULT_MINIMUM_DELAY)),
            ),
            (
                "default_delay",
                scalar_or::<Delay>("Of links with an end that has no coordinates.", time(DEFAULT_DELAY)),
            ),
            (
                "link_speeds",
                scalar_or::<Word<bool>>("Links have the rate that `LinkSpeedRaw` gives in bit/s.", false),
            ),
            (
                "servers",
                object(
                    "SIP servers s1, s2, …, one each at the routers with the most links.",
                    &["count"],
                    vec![
                        ("count", scalar::<Whole<1, MAX_NODES>>("How many.")),
                        ("link", {
                            let mut link = plain_link("Between a SIP server and its router, each way.");
                            let delay = time(DEFAULT_SERVER_LINK.one_way_delay);
                            link["default"] = json!({ "one_way_delay": delay });
                            link
                        }),
                    ],
                ),
            ),
        ],
    )
}

fn mobile_nodes() -> Value {
    let mut start = text(
        "Where they begin: evenly `spread` over the access routers, at `random`, or all at the one of this name.",
    );
    start["default"] = json!("spread");
    object(
        "Mobile nodes mn1, mn2, ….",
        &["count"],
        vec![("count", scalar::<Whole<1, MAX_NODES>>("How many.")), ("start", start)],
    )
}

fn nodes() -> Value {
    let mut node = object(
        "A node.",
        &["kind"],
        vec![
            ("kind", scalar::<Word<Kind>>("What it is.")),
            (
                "position",
                pair("Where an access router stands, x and y in metres.", scalar::<Metres>("Metres.")),
            ),
            ("start", text("The access router where a mobile node begins.")),
            (
                "user",
                scalar::<Title>(
                    "Whose terminal a mobile node is: those of one user share an address-of-record, and all ring. \
                     Without it, it is its own.",
                ),
            ),
            ("radio", radio("A mobile node's radio link, as far as it differs from that of all.")),
            ("program", program()),
        ],
    );
    let kind_is = |kind: &str| json!({ "properties": { "kind": { "const": kind } }, "required": ["kind"] });
    node["allOf"] = json!([
        {
            "if": kind_is(word(Kind::MobileNode)),
            "then": { "required": ["start"] },
            "else": { "properties": { "start": false, "user": false, "radio": false } },
        },
        { "if": kind_is(word(Kind::AccessRouter)), "else": { "properties": { "position": false } } },
    ]);
    json!({
        "type": ["object", "null"],
        "description": "Nodes by their names: at most 11 of a-z, 0-9 and `-`, a letter first.",
        "propertyNames": { "not": { "enum": RESERVED_NAMES } },
        "patternProperties": { format!("^[a-z][a-z0-9-]{{0,{}}}$", LONGEST_NAME - 1): node },
        "additionalProperties": false,
    })
}

fn program() -> Value {
    let mut program = list(
        "A program of yours that runs here in the place of samp-lab's, and its arguments. Filled in are \
         `{address}`, `{host}`, `{name}` and `{address_of_record}`, of another node as `{s1.address}`, and `{dir}`, \
         the directory of this file; `{{` and `}}` are braces.",
        text("A word, as it is."),
    );
    program["minItems"] = json!(1);
    program["maxItems"] = json!(MAX_ARGUMENTS);
    program
}

fn word<T: Keyword + PartialEq>(value: T) -> &'static str {
    T::WORDS.iter().find(|(_, own)| *own == value).map_or("", |&(word, _)| word)
}

fn wired_link() -> Value {
    let mut fields = vec![("between", pair("The names of its two ends.", text("A router or SIP server.")))];
    fields.extend(quality());
    fields.push(("reverse", object("What differs from the second end to the first.", &[], quality())));
    object("A link.", &["between", "one_way_delay"], fields)
}

fn plain_link(description: &str) -> Value {
    object(description, &["one_way_delay"], quality())
}

fn radio(description: &str) -> Value {
    let mut fields = quality();
    fields[0].1["default"] = json!(time(DEFAULT_RADIO.one_way_delay));
    let reverse = "What differs from the access router to the mobile node.";
    fields.push(("reverse", object(reverse, &[], quality())));
    object(description, &[], fields)
}

fn quality() -> Vec<(&'static str, Value)> {
    vec![
        ("one_way_delay", scalar::<Delay>("How long a packet takes, one way.")),
        ("jitter", scalar::<Jitter>("How the delay varies: at most so much, or by Gauss.")),
        (
            "loss",
            scalar::<Loss>("How many packets are lost; at random, or in bursts by Gilbert and Elliott."),
        ),
        ("duplicate", scalar::<Percent>("How many packets come twice.")),
        ("reorder", scalar::<Percent>("How many packets take no time, and overtake others.")),
        ("rate", scalar::<Rate>("Bits per second; without it, as fast as the machine.")),
        ("queue", scalar_or::<Packets>("Packets that may wait for a line with a rate.", LinkQuality::QUEUE)),
    ]
}

fn samp() -> Value {
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

fn media() -> Value {
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

fn emulation() -> Value {
    let EmulationSettings { links, attach, gap, nodes_per_process: _ } = EmulationSettings::default();
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
                "nodes_per_process",
                scalar_or::<PerProcess>("How many nodes' agents share a process at most.", PerProcess::AUTO),
            ),
        ],
    )
}

/// As the files write it.
fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    match (micros % 1_000_000, micros % 1_000) {
        (0, _) => format!("{}s", micros / 1_000_000),
        (_, 0) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}
