//! JSON Schema of experiment files.

use super::campaign::MAX_REPETITIONS;
use super::file::{All, State};
use super::trace::TRACE_EXTENSION;
use super::{Condition, MAX_CALLS, MAX_HANDOFFS, TOPOLOGY_EXTENSIONS, Unfinished};
use crate::flood::FloodRequest;
use crate::schema::{document, list, object, pair, scalar, scalar_or, text};
use crate::topology::{Jitter, Loss, Metres, Packets, RateChange};
use crate::units::{Delay, Frequency, Interval, Percent, Speed};
use crate::yaml::{Title, Whole, Word};
use serde_json::{Value, json};

/// The schema of the whole file.
pub(crate) fn schema() -> Value {
    let mut timeline = list("What happens, one step after the other.", step());
    timeline["minItems"] = json!(1);
    let extensions = TOPOLOGY_EXTENSIONS.join("|");
    document(
        "samp-lab experiment",
        object(
            "What happens in a lab.",
            &["topology", "timeline"],
            vec![
                ("name", scalar::<Title>("Its name; without it, the file's.")),
                (
                    "topology",
                    json!({
                        "type": "string", "pattern": format!(r"\.({extensions})$"),
                        "description": "The topology file, as a path from the directory of this file.",
                    }),
                ),
                (
                    "seed",
                    scalar::<Whole<0, { u64::MAX }>>(
                        "Who calls and who moves follows from it, and the topology's random choices; \
                         without it, the topology's.",
                    ),
                ),
                (
                    "calibrate",
                    scalar::<Word<bool>>(
                        "Probe every link before the first step; a link out of tolerance makes the run invalid.",
                    ),
                ),
                (
                    "unfinished",
                    scalar_or::<Word<Unfinished>>(
                        "What a handoff or a call is that does not come to its end: it makes the run invalid, or metrics count it.",
                        "invalid",
                    ),
                ),
                (
                    "capture",
                    list(
                        "What is captured into capture.pcapng, in the run's directory.",
                        text("A node, a wired link as ar1--ar2, or all."),
                    ),
                ),
                ("timeline", timeline),
                (
                    "set",
                    settings("Knobs of the topology or of this file that are set otherwise, in all cells."),
                ),
                ("factors", factors()),
                ("cells", cells()),
                (
                    "repetitions",
                    scalar_or::<Whole<1, MAX_REPETITIONS>>(
                        "How often each cell is run: the first time with the seed, then with the next one, and so on.",
                        1,
                    ),
                ),
                (
                    "assert",
                    list(
                        "What is to hold for the figures of each cell; when something does not, the exit code is 1.",
                        text("As handoff.total.p95 < 50ms, or call.ser >= 99% for hr = on."),
                    ),
                ),
            ],
        ),
    )
}

/// Knobs by their paths, each with a value of its own kind.
fn settings(description: &str) -> Value {
    named(description, "^[^.]+([.][^.]+)*$", json!({ "description": "The knob's value." }))
}

fn factors() -> Value {
    let mut levels = named(
        "The factor's levels, the first being what others are compared with: values of the knob that the factor is \
         named after, or names with the knobs that each sets.",
        LABEL,
        settings("What this level sets, as samp.delta: 40ms or timeline.0.handoff.interval: 1s."),
    );
    levels["type"] = json!(["array", "object"]);
    levels["items"] = json!({ "description": "A value." });
    named("What differs between the cells: all combinations of the factors' levels.", LABEL, levels)
}

fn cells() -> Value {
    let cell = named("A cell: the level of each factor.", LABEL, text("The level."));
    list("The only cells, instead of all combinations.", cell)
}

/// The names of factors and levels.
const LABEL: &str = "^[ -<>-~]{1,60}$";

/// Fields with free names.
fn named(description: &str, names: &str, field: Value) -> Value {
    json!({
        "type": "object", "description": description, "patternProperties": { names: field },
        "additionalProperties": false,
    })
}

fn step() -> Value {
    let mut keys = vec![
        ("call", call()),
        ("handoff", handoff()),
        ("transfer", pair("Who hands its call to whom, as [mn1, mn3].", text("A mobile node."))),
        ("hang_up", scalar::<Word<All>>("End the calls.")),
        ("wait", scalar::<Interval>("Do nothing for so long.")),
        ("await", awaited()),
    ];
    keys.extend(once());
    keys.push(("period", period()));
    let mut step = object("A step: exactly one thing.", &[], keys);
    step["minProperties"] = json!(1);
    step["maxProperties"] = json!(1);
    step
}

fn awaited() -> Value {
    object(
        "Do nothing until something is so; when it takes too long, the run is not valid.",
        &["until", "timeout"],
        vec![
            (
                "until",
                scalar::<Word<Condition>>(
                    "Every mobile node is registered with a server that lives; the servers are at their places on one \
                     ring; or all calls are up, and both ends hear each other.",
                ),
            ),
            ("timeout", scalar::<Interval>("How long it may take.")),
        ],
    )
}

/// What changes the network or what runs at a node.
fn once() -> [(&'static str, Value); 7] {
    [
        ("link", link()),
        ("partition", partition()),
        ("heal", scalar::<Word<All>>("Bring up again what partitions have taken down.")),
        ("kill", text("The node whose agent or program is killed, as by a crash.")),
        ("pause", text("The node whose agent or program is stopped, until it is resumed.")),
        ("resume", text("The node whose agent or program goes on.")),
        ("flood", flood()),
    ]
}

fn period() -> Value {
    let mut walk = object(
        "All mobile nodes walk at random over neighbouring access routers.",
        &["interval"],
        vec![
            ("interval", scalar::<Interval>("Time between two steps of a node.")),
            ("hotspot", text("The access router that everybody is drawn to.")),
            ("alpha", scalar::<Percent>("How many of the steps lead towards the hotspot.")),
            ("gap", gap()),
        ],
    );
    walk["dependentRequired"] = json!({ "hotspot": ["alpha"], "alpha": ["hotspot"] });
    let calls = object(
        "Calls arrive as a Poisson process at each caller, and last for exponentially distributed times.",
        &["interval", "lasts"],
        vec![
            ("interval", scalar::<Interval>("Mean time between two calls of one caller.")),
            ("lasts", scalar::<Interval>("Mean time from dialling to hanging up.")),
            (
                "pairs",
                list(
                    "Who calls whom, as [mn1, mn2]; without it, everybody calls anybody.",
                    pair("Caller and callee.", text("A mobile node.")),
                ),
            ),
        ],
    );
    let mut keys = vec![
        ("after", scalar::<Interval>("How long after the period began; without it, at once.")),
        (
            "when",
            scalar::<Word<Condition>>(
                "As soon as this is so, from then on; when it never is, the run is not valid.",
            ),
        ),
        ("every", scalar::<Interval>("After how long it happens again.")),
        ("handoff", pair("Who moves where, as [mn1, ar2].", text("A mobile node, and an access router."))),
        ("call", pair("Who calls whom, as [mn1, mn2].", text("A mobile node."))),
    ];
    keys.extend(once());
    let mut timed = object("Something that happens at a time of its own: exactly one thing.", &[], keys);
    timed["minProperties"] = json!(1);
    timed["maxProperties"] = json!(3);
    let mut period = object(
        "For so long all goes on at once, and nothing waits for anything; then what is under way comes to its end.",
        &["lasts"],
        vec![
            ("lasts", scalar::<Interval>("How long.")),
            ("walk", walk),
            ("waypoint", waypoint()),
            (
                "trace",
                json!({
                    "type": "string", "pattern": format!(r"\.{TRACE_EXTENSION}$"),
                    "description": "A CSV file of time in seconds, node, access router, as a path from the directory of \
                                    this file: who moves where and when.",
                }),
            ),
            ("calls", calls),
            ("at", list("What else happens.", timed)),
        ],
    );
    // Nodes move in one way.
    period["allOf"] = json!([
        { "not": { "required": ["walk", "waypoint"] } },
        { "not": { "required": ["walk", "trace"] } },
        { "not": { "required": ["waypoint", "trace"] } },
    ]);
    period["minProperties"] = json!(2);
    period
}

fn waypoint() -> Value {
    object(
        "All mobile nodes go straight from one random point between the access routers to the next.",
        &["speed"],
        vec![
            ("speed", scalar::<Speed>("How fast they go.")),
            ("pause", scalar::<Interval>("How long they stay at each point; without it, not at all.")),
            (
                "hysteresis",
                scalar_or::<Metres>(
                    "By how many metres another access router has to be nearer until a node moves to it.",
                    0,
                ),
            ),
            ("gap", gap()),
        ],
    )
}

/// For how long a node that moves is attached nowhere.
fn gap() -> Value {
    scalar::<Delay>("For how long each is attached nowhere; without it, the topology's `emulation: { gap }`.")
}

fn link() -> Value {
    let mut link = object(
        "A link changes: goes down, comes up, or treats packets in another way. What is not named stays as it is.",
        &[],
        vec![
            ("between", pair("A wired link, by its ends.", text("A router or SIP server."))),
            ("radio", text("The radio link of this mobile node.")),
            ("state", scalar::<Word<State>>("A wired link goes down, or comes up again.")),
            (
                "one_way",
                scalar::<Word<bool>>("Only from the first end to the second, or from the mobile node."),
            ),
            ("one_way_delay", scalar::<Delay>("How long a packet takes, one way.")),
            ("jitter", scalar::<Jitter>("How the delay varies.")),
            ("loss", scalar::<Loss>("How many packets are lost.")),
            ("duplicate", scalar::<Percent>("How many packets come twice.")),
            ("reorder", scalar::<Percent>("How many packets take no time, and overtake others.")),
            ("rate", scalar::<RateChange>("Bits per second, or as fast as the machine.")),
            ("queue", scalar::<Packets>("Packets that may wait for a line with a rate.")),
        ],
    );
    link["oneOf"] = json!([{ "required": ["between"] }, { "required": ["radio"] }]);
    link["minProperties"] = json!(2);
    link
}

fn partition() -> Value {
    let node = || text("A router or SIP server.");
    object(
        "All links between these nodes and others go down at once.",
        &["nodes"],
        vec![
            ("nodes", list("One side; mobile nodes are where their access router is.", node())),
            ("from", list("The other side; without it, all other nodes.", node())),
        ],
    )
}

fn flood() -> Value {
    object(
        "A SIP server gets requests that nobody needs, beside all that follows.",
        &["to", "from", "rate", "for"],
        vec![
            ("to", text("The SIP server.")),
            ("from", text("The node in whose place they are sent.")),
            (
                "request",
                scalar_or::<Word<FloodRequest>>(
                    "REGISTER of made-up users, of which the server keeps the bindings; OPTIONS, of which it keeps \
                     nothing; or INVITE of made-up users, whom it looks for on the ring.",
                    "register",
                ),
            ),
            ("rate", scalar::<Frequency>("Requests per second.")),
            ("for", scalar::<Interval>("How long.")),
        ],
    )
}

fn call() -> Value {
    let caller_and_callee = pair("Caller and callee.", text("A mobile node."));
    let mut call = object(
        "Mobile nodes call each other, all at once: so many at random, or these.",
        &[],
        vec![
            ("count", scalar::<Whole<1, MAX_CALLS>>("Calls among mobile nodes that are in none.")),
            ("pairs", list("Who calls whom, as [mn1, mn2].", caller_and_callee)),
        ],
    );
    call["minProperties"] = json!(1);
    call["maxProperties"] = json!(1);
    call
}

fn handoff() -> Value {
    let who_and_where = pair("Mobile node and access router.", text("A mobile node, and an access router."));
    let mut handoff = object(
        "Mobile nodes move, one after the other: so many times at random to a neighbour, or as listed.",
        &["interval"],
        vec![
            ("count", scalar::<Whole<1, MAX_HANDOFFS>>("Handoffs.")),
            ("moves", list("Who moves where, as [mn1, ar2].", who_and_where)),
            ("interval", scalar::<Interval>("Time from each to the next, and after the last.")),
            ("gap", gap()),
        ],
    );
    handoff["oneOf"] = json!([{ "required": ["count"] }, { "required": ["moves"] }]);
    handoff
}
