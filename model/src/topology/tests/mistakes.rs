//! What is said about bad topology files, and where.

use super::*;

#[test]
fn bad_structure() {
    check(
        GOOD,
        &[
            (
                "one_way_delay: 5ms",
                "one_way_dealy: 5ms",
                &[
                    "7:28 unknown field `one_way_dealy`, expected `between`, `reverse`, `one_way_delay`, `jitter`, `loss`, `duplicate`, `reorder`, `rate` or `queue` | unknown field | did you mean `one_way_delay`?",
                ],
            ),
            (
                "nodes:",
                "colour: red\nnodes:",
                &[
                    "1:1 unknown field `colour`, expected `name`, `seed`, `family`, `grid`, `graph`, `mobile_nodes`, `radio`, `nodes`, `links`, `protocol`, `mobility`, `samp`, `media`, `addressing` or `emulation` | unknown field | ",
                ],
            ),
            (
                ", one_way_delay: 5ms",
                "",
                &[
                    "7:7 missing field `one_way_delay` | `one_way_delay` belongs beside this | add `one_way_delay: 2ms`",
                ],
            ),
            (
                "kind: sip_server",
                "",
                &["4:7 missing field `kind` | `kind` belongs beside this | add `kind: access_router`"],
            ),
            (
                "ar2: {",
                "ar1: {",
                &["3:3 `ar1` is defined twice | defined again | remove or rename one of the two"],
            ),
            (
                "5ms }",
                "5ms, one_way_delay: 6ms }",
                &["7:48 `one_way_delay` is defined twice | defined again | remove or rename one of the two"],
            ),
            ("5ms", "[5ms]", &["7:43 expected a single value, found a list | expected a single value | "]),
            ("[ar1, ar2]", "ar1-ar2", &["7:16 expected a list, found a single value | expected a list | "]),
            (
                "{ kind: sip_server }",
                "sip_server",
                &["4:7 expected fields with values, found a single value | expected fields with values | "],
            ),
            ("5ms", "~", &["7:43 a value is missing | empty | write one, or remove the field"]),
            (
                "ar2]",
                "ar2",
                &[
                    "7:16 invalid YAML: mismatched bracket '[' closed by '}' |  | each `{` needs its `}`, each `[` its `]`, with commas between the parts",
                ],
            ),
            (
                "  ar2:",
                "   ar2:",
                &[
                    "3:4 invalid YAML: while parsing a block mapping, did not find expected key |  | check the indentation: what belongs together begins in the same column",
                ],
            ),
            (
                "links:",
                "seed: a: b\nlinks:",
                &[
                    "6:8 invalid YAML: mapping values are not allowed in this context |  | check the indentation, and quote a value that contains `: `",
                ],
            ),
            (
                "links:",
                "---\nlinks:",
                &[
                    "7:1 the file has more than one YAML document |  | remove the line `---` and what follows, or put it in another file",
                ],
            ),
            (
                "5ms",
                "!fast 5ms",
                &["7:49 unknown tag `!fast` |  | remove it, or quote a value that begins with `!`"],
            ),
        ],
    );
}

#[test]
fn bad_values() {
    let delay = "write a delay as 2ms, 500us or 1s";
    for (from, to, expected) in [
        ("5ms", "5", format!("7:43 `5` has no unit |  | {delay}")),
        ("5ms", "61s", "7:43 `61s` is out of range for a delay |  | a delay is at most 60s".to_owned()),
        (
            "5ms",
            "5ms, loss: 0.1",
            "7:54 `0.1` has no unit |  | write a loss as 0.1% or gemodel 1% 30%".to_owned(),
        ),
        (
            "5ms",
            "5ms, jitter: 6ms",
            "7:56 the jitter is larger than the delay |  | a packet cannot arrive before it is sent".to_owned(),
        ),
        (
            "5ms",
            "5ms, jitter: 3ms, reverse: { one_way_delay: 2ms }",
            "7:87 the jitter is larger than the delay |  | a packet cannot arrive before it is sent".to_owned(),
        ),
        (
            "5ms",
            "0, reorder: 1%",
            "7:55 nothing can be overtaken without a delay |  | add `one_way_delay`, or remove `reorder`".to_owned(),
        ),
        (
            "5ms",
            "5ms, queue: 10",
            "7:55 nothing waits without a rate |  | add `rate`, or remove `queue`".to_owned(),
        ),
        (
            "5ms",
            "5ms, rate: 1Gbit",
            "7:54 `Gbit` is no unit of a rate |  | write a rate as 64kbit, 100mbit or 1gbit".to_owned(),
        ),
        (
            "access_router }",
            "acess_router }",
            "2:16 `acess_router` is not a kind of node |  | did you mean `access_router`?".to_owned(),
        ),
        (
            "[100, 0]",
            "[100, nan]",
            "3:47 `nan` is not a distance |  | write metres as a number from -1000000 to 1000000, without a unit".to_owned(),
        ),
        (
            "nodes:",
            "name: My lab\nnodes:",
            "1:7 `My lab` is not a name |  | write at most 32 of a-z, 0-9 and `-`".to_owned(),
        ),
        (
            "nodes:",
            "seed: -1\nnodes:",
            "1:7 `-1` is not a whole number |  | write a whole number from 0 to 18446744073709551615".to_owned(),
        ),
        (
            "nodes:",
            "samp: { tier1: { size: 0 } }\nnodes:",
            "1:24 `0` is out of range |  | write a whole number from 1 to 1000000".to_owned(),
        ),
        (
            "nodes:",
            "samp: { hierarchical_registration: yes }\nnodes:",
            "1:36 `yes` is not true or false |  | write `true` or `false`".to_owned(),
        ),
        (
            "nodes:",
            "samp: { delta: 1us }\nnodes:",
            "1:16 this time is too short |  | at least 1ms".to_owned(),
        ),
        (
            "nodes:",
            "samp: { discovery_deadline: 20ms }\nnodes:",
            "1:29 this time is too short |  | at least 40ms".to_owned(),
        ),
        (
            "nodes:",
            "samp: { registration_lifetime: 1500ms }\nnodes:",
            "1:32 lifetimes count in whole seconds |  | write it without a fraction of a second".to_owned(),
        ),
        (
            "nodes:",
            "samp: { replicas: 6 }\nnodes:",
            "1:19 more replicas than a home server and its successors can hold |  | at most `successors` + 1, which is 5".to_owned(),
        ),
        (
            "nodes:",
            "emulation: { links: tc }\nnodes:",
            "1:21 `tc` is not a way to emulate links |  | write `auto`, `netem`, `userspace` or `plain`".to_owned(),
        ),
    ] {
        check(GOOD, &[(from, to, &[&expected])]);
    }
}

#[test]
fn bad_meaning() {
    check(
        GOOD,
        &[
            (
                "ar2], one",
                "ar22], one",
                &["7:22 there is no node `ar22` | not defined | there are `ar1` to `ar2`"],
            ),
            (
                "ar2], one",
                "zz], one",
                &["7:22 there is no node `zz` | not defined | define it under `nodes:`"],
            ),
            (
                "start: ar1",
                "start: mn1",
                &[
                    "5:36 `mn1` is not an access router | no mobile node can be here | mobile nodes begin at a node of `kind: access_router`",
                ],
            ),
            (
                "start: ar1",
                "start: ar3",
                &["5:36 there is no node `ar3` | not defined | there are `ar1` to `ar2`"],
            ),
            (
                ", start: ar1",
                "",
                &[
                    "5:3 the mobile node `mn1` has no start | begins nowhere | add the access router where it begins: `start: ar1`",
                ],
            ),
            (
                "ar2], one",
                "ar1], one",
                &["7:17 a link from `ar1` to itself | the same node twice | a link is between two nodes"],
            ),
            (
                "ar2], one",
                "mn1], one",
                &[
                    "7:22 `mn1` is a mobile node and has no wired links | a mobile node | its radio link goes to the access router that its `start` names",
                ],
            ),
            (
                "[ar1, ar2], one",
                "[ar1], one",
                &["7:17 a link has two ends, not 1 |  | write `between: [ar1, ar2]`"],
            ),
            (
                "[ar1, ar2], one",
                "[], one",
                &["7:16 a link has two ends, not 0 |  | write `between: [ar1, ar2]`"],
            ),
            (
                "links:",
                "links:\n  - { between: [ar2, ar1], one_way_delay: 1ms }",
                &[
                    "8:17 `ar1` and `ar2` are already linked | linked again | remove one; `reverse` sets what differs in the other direction",
                ],
            ),
            (
                "links:",
                "links:\n  - { between: [ar2, s1], one_way_delay: 1ms }",
                &[
                    "9:22 the SIP server `s1` has more than one link | linked again | a SIP server has one link, and that to a router",
                ],
            ),
            (
                "  mn1:",
                "  s2: { kind: sip_server }\n  mn1:",
                &[
                    "5:3 the SIP server `s2` has no link | not connected | add it under `links:`: `- { between: [ar1, s2], one_way_delay: 500us }`",
                ],
            ),
            (
                "links:",
                "links:\n  - { between: [s1, s2], one_way_delay: 1ms }",
                &["7:21 there is no node `s2` | not defined | did you mean `s1`?"],
            ),
            (
                "  - { between: [ar1, ar2], one_way_delay: 5ms }\n",
                "",
                &[
                    "3:3 there is no path from `ar1` to `ar2` | not connected to the rest | add a link between the two parts under `links:`",
                ],
            ),
            (
                "ar2: {",
                "Ar2: {",
                &[
                    "3:3 `Ar2` is not a name for a node |  | begin with a letter and use at most 11 of a-z, 0-9 and `-`",
                ],
            ),
            (
                "ar2: {",
                "long-name-ab: {",
                &[
                    "3:3 `long-name-ab` is not a name for a node |  | begin with a letter and use at most 11 of a-z, 0-9 and `-`",
                ],
            ),
            (
                "mn1: {",
                "random: {",
                &[
                    "5:3 `random` is not a name for a node |  | `start: random` has a meaning of its own; take another name",
                ],
            ),
            (
                "sip_server }",
                "sip_server, position: [1, 2] }",
                &[
                    "4:38 only access routers have a `position` | does not belong here | remove `position`, or change `kind`",
                ],
            ),
            (
                "sip_server }",
                "sip_server, start: ar1 }",
                &[
                    "4:34 only mobile nodes have a `start` | does not belong here | remove `start`, or change `kind`",
                ],
            ),
            (
                "sip_server }",
                "sip_server, radio: { loss: 1% } }",
                &[
                    "4:34 only mobile nodes have a `radio` | does not belong here | remove `radio`, or change `kind`",
                ],
            ),
            (
                "[100, 0]",
                "[100]",
                &["3:42 a position has two coordinates |  | write `position: [x, y]`, in metres"],
            ),
            (
                GOOD,
                "",
                &[
                    "1:1 the topology has no nodes |  | add a `grid:`, or `nodes:` and `links:`; topologies/line.yaml shows how",
                ],
            ),
            (
                GOOD,
                "mobile_nodes: { count: 2 }",
                &[
                    "1:24 there are mobile nodes, but no access router |  | add one under `nodes:`: `ar1: { kind: access_router }`",
                    "1:24 there are mobile nodes, but no SIP server |  | add one under `nodes:`, `s1: { kind: sip_server }`, and link it to a router",
                ],
            ),
            (
                GOOD,
                "nodes:\n  s1: { kind: sip_server }\n  s2: { kind: sip_server }\nlinks:\n  - { between: [s1, s2], one_way_delay: 1ms }\n",
                &[
                    "5:17 `s1` and `s2` are both SIP servers | no router here | a SIP server has one link, and that to a router",
                ],
            ),
        ],
    );
}

#[test]
fn bad_grids() {
    check(
        GRID,
        &[
            ("width: 3", "width: 0", &["2:10 `0` is out of range |  | write a whole number from 1 to 40000"]),
            (
                "width: 3",
                "width: 20000",
                &["2:10 the topology has 60004 nodes or more |  | at most 40000 fit"],
            ),
            (
                "count: 4",
                "count: 4\n  start: ar-9-9",
                &["9:10 there is no node `ar-9-9` | not defined | there are `ar-0-0` to `ar-2-2`"],
            ),
            (
                "height: 3",
                "height: 3\n  spacing: 0",
                &["4:12 a spacing is more than 0 |  | write metres, as `spacing: 100`"],
            ),
            (
                "count: 4\n",
                "count: 4\nnodes:\n  ar-0-0: { kind: router }\n",
                &[
                    "10:3 `ar-0-0` is defined twice | the grid or `mobile_nodes` already has a node of this name | give this node another name",
                ],
            ),
            (
                "count: 4\n",
                "count: 4\nlinks:\n  - { between: [ar-1-0, ar-0-0], one_way_delay: 1ms }\n",
                &["10:17 `ar-1-0` and `ar-0-0` are already linked | linked by the grid | remove this link"],
            ),
            (
                "count: 4\n",
                "count: 4\nlinks:\n  - { between: [ar-1-0, s1], one_way_delay: 1ms }\n",
                &[
                    "10:25 the SIP server `s1` has more than one link | linked by the grid | a SIP server has one link, and that to a router",
                ],
            ),
        ],
    );
    let wide = GRID.replace("width: 3", "width: 60").replace("height: 3", "height: 60");
    let wide = wide.replace("count: 4", "count: 5000");
    assert_eq!(
        told(&wide),
        [
            "2:10 3600 access networks for 5000 mobile nodes each do not fit 10.0.0.0/8 |  | use fewer access routers or fewer mobile nodes, or `family: ipv6`"
        ]
    );
    assert_eq!(good(&wide.replace("count: 5000", "count: 4000")).mobile_nodes().count(), 4000);
}

#[test]
fn routers_have_at_most_31_wired_links() {
    let star = |arms: usize| {
        let nodes: String = (0..arms).map(|n| format!("  r{n}: {{ kind: router }}\n")).collect();
        let links: String =
            (0..arms).map(|n| format!("  - {{ between: [hub, r{n}], one_way_delay: 1ms }}\n")).collect();
        format!("nodes:\n  hub: {{ kind: access_router }}\n{nodes}links:\n{links}")
    };
    good(&star(31));
    assert_eq!(
        told(&star(32)),
        [
            "67:17 the router `hub` has more than 31 links | one link too many | the kernel routes multicast between at most 32 interfaces; add a router between"
        ]
    );
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let text = GOOD
        .replace("5ms", "5")
        .replace("500us", "x")
        .replace("start: ar1", "start: ar9")
        .replace("position: [100, 0]", "start: s1");
    let lines: Vec<_> = errors(&text).iter().map(|error| error.line).collect();
    assert_eq!(lines, [3, 5, 7, 8]);

    let many: String = (0..50).map(|n| format!("  n{n}: {{ kind: nonsense }}\n")).collect();
    let many = errors(&format!("nodes:\n{many}"));
    assert_eq!(many.len(), 21);
    assert_eq!(many[20].render(false), "error: and 30 more errors\n--> test.yaml");
}

#[test]
fn shown_as_rustc_would() {
    let text = GOOD.replace("links:", "links:\n  - { between: [ar2, ar1], one_way_delay: 1ms }");
    let [error] = &errors(&text)[..] else { panic!() };
    assert_eq!(
        error.render(false),
        "\
error: `ar1` and `ar2` are already linked
 --> test.yaml:8:17
  |
7 |   - { between: [ar2, ar1], one_way_delay: 1ms }
  |                 -------- first linked here
8 |   - { between: [ar1, ar2], one_way_delay: 5ms }
  |                 ^^^^^^^^ linked again
  |
  = help: remove one; `reverse` sets what differs in the other direction"
    );
    assert!(error.render(true).contains("\u{1b}["));

    let [error] = &errors(&GOOD.replace("kind: sip_server", "kinds: sip_server"))[..] else { panic!() };
    assert_eq!(
        error.render(false),
        "\
error: unknown field `kinds`, expected `kind`, `position`, `start`, `user`, `radio` or `program`
 --> test.yaml:4:9
  |
4 |   s1: { kinds: sip_server }
  |         ^^^^^ unknown field
  |
  = help: did you mean `kind`?"
    );
    assert_eq!(
        error.to_string(),
        "test.yaml:4:9: unknown field `kinds`, expected `kind`, `position`, `start`, `user`, `radio` or `program`"
    );
    assert_eq!(
        serde_json::to_value(error).unwrap(),
        serde_json::json!({
            "path": "test.yaml", "line": 4, "column": 9, "span": { "start": 97, "end": 102 },
            "message": "unknown field `kinds`, expected `kind`, `position`, `start`, `user`, `radio` or `program`",
            "label": "unknown field", "hint": "did you mean `kind`?", "related": null,
        })
    );
}

#[test]
fn a_byte_order_mark_and_wide_characters_do_not_shift_positions() {
    let text = format!("\u{feff}# Übergänge 🚶\n{}", GOOD.replace("ar1: {", "ar1: { start: «ü», "));
    assert_eq!(
        told(&text),
        ["3:17 only mobile nodes have a `start` | does not belong here | remove `start`, or change `kind`"]
    );
}

#[test]
fn hostile_files_are_refused() {
    let message = |text: &str| errors(text)[0].message.clone();
    assert_eq!(message(&"#".repeat((1 << 20) + 1)), "this file is larger than 1 MiB");
    assert!(message(&"[".repeat(5000)).starts_with("nested too deeply"));
    assert!(message(&"{\n".repeat(5000)).starts_with("nested too deeply"));
    let deep: String = (0..200).map(|depth| format!("{}nodes:\n", " ".repeat(depth))).collect();
    assert!(!message(&deep).is_empty());
    let bomb: String =
        (1..9).map(|n| format!("  - &a{n} [{}]\n", vec![format!("*a{}", n - 1); 20].join(", "))).collect();
    assert!(!message(&format!("links:\n  - &a0 [x]\n{bomb}")).is_empty());
    let aliases = format!("nodes: &a {{}}\nlinks: [{}]", "*a, ".repeat(5000));
    assert!(!message(&aliases).is_empty());
    assert!(!message(&"- ".repeat(1 << 19)).is_empty());
    assert!(message("\u{1b}[31mred: 1").starts_with("invalid YAML: unexpected character"));
    // A name from the file cannot reach the terminal as a control sequence.
    let shown = errors("nodes:\n  \"\\e[31m\": { kind: router }\n")[0].render(false);
    assert!(!shown.contains('\u{1b}') && shown.contains("`\\u{1b}[31m`"), "{shown}");
}

#[test]
fn bad_mobility() {
    check(
        GOOD,
        &[
            (
                "nodes:",
                "protocol: mipv4\nnodes:",
                &["1:11 `mipv4` is not a protocol |  | did you mean `mipv6`?"],
            ),
            (
                "nodes:",
                "protocol: hmipv6\nnodes:",
                &["1:11 Mobile IPv6 needs IPv6 addresses |  | add `family: ipv6`, or `dual`"],
            ),
            (
                "nodes:",
                "mobility: { ha: dynamic }\nnodes:",
                &["1:17 only Mobile IPv6 has this knob |  | add `protocol: mipv6` or `hmipv6`"],
            ),
            (
                "nodes:",
                "protocol: sip\nmobility: { route_optimization: true }\nnodes:",
                &["2:33 only Mobile IPv6 has this knob |  | add `protocol: mipv6` or `hmipv6`"],
            ),
            (
                "nodes:",
                "protocol: sip\nmobility: { authentication: rfc4285 }\nnodes:",
                &["2:29 only Mobile IPv6 has this knob |  | add `protocol: mipv6` or `hmipv6`"],
            ),
            (
                "nodes:",
                "protocol: mipv6\nmobility: { authentication: rfc4825 }\nnodes:",
                &["2:29 `rfc4825` is not a way of authentication |  | did you mean `rfc4285`?"],
            ),
            (
                "nodes:",
                "family: ipv6\nprotocol: mipv6\nmobility: { route_optimization: true }\nemulation: { tunnels: kernel }\nnodes:",
                &[
                    "4:23 the kernel's tunnels know no optimised routes |  | leave `tunnels` out, or change the other",
                ],
            ),
            (
                "nodes:",
                "emulation: { tunnels: kernal }\nnodes:",
                &["1:23 `kernal` is not who does tunnels |  | did you mean `kernel`?"],
            ),
            (
                "nodes:",
                "mobility: { agent: s1 }\nnodes:",
                &["1:20 SAMP has no such agent |  | add `protocol: mipv6`, `hmipv6` or `sip`"],
            ),
            (
                "nodes:",
                "protocol: sip\nmobility: { agent: s9 }\nnodes:",
                &["2:20 `s9` is not a SIP server |  | did you mean `s1`?"],
            ),
            (
                "nodes:",
                "protocol: sip\nmobility: { agent: ar1 }\nnodes:",
                &["2:20 `ar1` is not a SIP server |  | name a node of `kind: sip_server`, as s1"],
            ),
        ],
    );
}
