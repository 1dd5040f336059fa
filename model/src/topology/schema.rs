//! JSON Schema of topology files.

mod knobs;

use super::file::{CacheLifetime, Factor, Group6, Kind, MAX_NODES, Metres, Packets, Password, PerProcess};
use super::graph::{DEFAULT_DELAY, DEFAULT_MINIMUM_DELAY};
use super::program::MAX_ARGUMENTS;
use super::resolve::{DEFAULT_RADIO, DEFAULT_SERVER_LINK, DEFAULT_SPACING, LONGEST_NAME, RESERVED_NAMES};
use super::{Jitter, LinkQuality, Loss};
use crate::schema::{Scalar, document, list, object, pair, scalar, scalar_or, text};
use crate::settings::{Family, Protocol};
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
            (
                "protocol",
                scalar_or::<Word<Protocol>>(
                    "What keeps mobile nodes reachable; all but samp run in `samp-lab sim` only.",
                    word(Protocol::default()),
                ),
            ),
            ("mobility", knobs::mobility()),
            ("samp", knobs::samp()),
            ("media", knobs::media()),
            ("addressing", knobs::addressing()),
            ("emulation", knobs::emulation()),
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

/// As the files write it.
fn time(duration: Duration) -> String {
    let micros = duration.as_micros();
    match (micros % 1_000_000, micros % 1_000) {
        (0, _) => format!("{}s", micros / 1_000_000),
        (_, 0) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}
