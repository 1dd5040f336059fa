//! That the schemas say what the parser says: the same fields, the same required ones, the same values.

use crate::diagnostic::Diagnostic;
use crate::{examples, experiment, schema, topology};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;

/// Topologies that between them have every field; no more good than that.
fn topologies() -> Vec<Value> {
    let reverse = json!({
        "one_way_delay": "1ms", "jitter": "1ms normal", "loss": "1%", "duplicate": "1%", "reorder": "1%", "rate": "1mbit",
        "queue": 1,
    });
    let link = reverse.clone();
    let mut radio = link.clone();
    radio["reverse"] = reverse;
    let mut wired = radio.clone();
    wired["between"] = json!(["ar-0-0", "ar"]);
    let cache = json!({ "enabled": true, "lifetime": "1s", "size": 1 });
    let samp = json!({
        "profile": "paper", "confirm": "paper", "discover": "ahead", "anchor_probe": "1s",
        "update_order": "serial", "stale": "parallel", "ring": "1s",
        "delta": "40ms", "discovery_deadline": "160ms", "anchor_select": "random",
        "hierarchical_registration": true, "tier1": cache, "tier2": cache, "stale_deadline": "1s",
        "anchor_timeout": "1s", "registration_lifetime": "60s", "multicast_ttl": 1, "t1": "1s",
        "t2": "4s", "t4": "5s", "mode": "redirect",
        "min_expires": "60s", "records": "messages", "auth": "digest", "passwords": { "alice": "wonderland1" },
        "overload_lag": "1s", "max_transactions": 1, "source_rate": 20,
        "discovery_group6": "ff15::5060",
        "successors": 4, "stabilize_period": "1s", "peer_timeout": "1s", "replicas": 2,
        "durability": "degraded", "virtual_nodes": 8,
    });
    let all = json!({
        "name": "test",
        "seed": 1,
        "family": "ipv4",
        "grid": {
            "width": 2, "height": 2, "spacing": 1, "domain": { "width": 1, "height": 1 },
            "link": link, "server_link": link,
        },
        "mobile_nodes": { "count": 2, "start": "spread" },
        "radio": radio,
        "nodes": {
            "ar": { "kind": "access_router", "position": [1, 2] },
            "mn": { "kind": "mobile_node", "start": "ar", "user": "alice", "radio": radio, "program": ["sipp", "{address}"] },
        },
        "links": [wired],
        "protocol": "mipv6",
        "mobility": { "agent": "s1", "ha": "dynamic", "route_optimization": true, "authentication": "rfc4285" },
        "samp": samp,
        "media": { "packet_interval": "1s", "payload_bytes": 1 },
        "addressing": {
            "address": "dhcp", "profile": "fast", "dhcp_server": "dnsmasq", "dhcp_delay": ["1s", "2s"], "dhcp_retransmit": "1s",
            "rapid_commit": true, "lease": "60s", "rs_delay": ["0", "1s"], "rs_interval": "1s",
            "ra_interval": ["30ms", "70ms"], "ra_delay": ["0", "1ms"], "dad": "optimistic",
        },
        "emulation": { "links": "auto", "attach": "auto", "gap": "50ms", "trigger": "carrier", "make_before_break": "50ms", "going_down": "50ms", "tunnels": "kernel", "nodes_per_process": "auto", "server_cpu": "5%", "server_work": "120us" },
    });
    let graph = json!({
        "name": "test",
        "graph": {
            "graphml": "test.graphml", "largest_component": true, "distance_factor": 1, "minimum_delay": "1ms",
            "default_delay": "1ms", "link_speeds": true, "servers": { "count": 1, "link": link },
        },
    });
    vec![all, graph]
}

fn experiments() -> Vec<Value> {
    let once = json!([
        { "link": {
            "between": ["ar-0-0", "ar-1-0"], "one_way": true, "one_way_delay": "1ms", "jitter": "1ms normal", "loss": "1%",
            "duplicate": "1%", "reorder": "1%", "rate": "1mbit", "queue": 1,
        } },
        { "link": { "between": ["ar-0-0", "ar-1-0"], "rate": "none" } },
        { "link": { "between": ["ar-0-0", "ar-1-0"], "state": "down" } },
        { "link": { "radio": "mn1", "loss": "1%" } },
        { "partition": { "nodes": ["ar-0-0"], "from": ["ar-1-0"] } },
        { "heal": "all" },
        { "kill": "s1" },
        { "pause": "s1" },
        { "resume": "s1" },
        { "flood": { "to": "s1", "from": "ar-0-0", "request": "options", "rate": "500/s", "for": "3s" } },
    ]);
    let happenings = json!([
        { "after": "5s", "every": "10s", "pause": "s1" },
        { "call": ["mn1", "mn2"] },
        { "after": "5s", "when": "ring_stable", "kill": "s1" },
        { "after": "5s", "handoff": ["mn1", "ar-0-0"] },
    ]);
    let joined = |first: &Value, then: &Value| {
        let lists = [first, then].into_iter().filter_map(Value::as_array);
        Value::Array(lists.flatten().cloned().collect())
    };
    let steps = json!([
        { "call": { "count": 1 } },
        { "call": { "pairs": [["mn1", "mn2"]] } },
        { "handoff": { "count": 1, "interval": "1s", "gap": "50ms" } },
        { "handoff": { "moves": [["mn1", "ar-0-0"]], "interval": "1s" } },
        { "transfer": ["mn1", "mn2"] },
        { "hang_up": "all" },
        { "wait": "1s" },
        { "await": { "until": "ring_stable", "timeout": "30s" } },
        { "period": {
            "lasts": "60s",
            "walk": { "interval": "10s", "hotspot": "ar-0-0", "alpha": "30%", "gap": "50ms" },
            "calls": { "interval": "30s", "lasts": "10s", "pairs": [["mn1", "mn2"]] },
            "at": joined(&happenings, &once),
        } },
        { "period": {
            "lasts": "60s",
            "waypoint": { "speed": "15m/s", "pause": "5s", "hysteresis": 10, "gap": "50ms" },
        } },
        { "period": { "lasts": "60s", "trace": "walk.csv" } },
    ]);
    let steps = joined(&steps, &once);
    vec![json!({
        "name": "test", "topology": "test.yaml", "seed": 1, "calibrate": true, "unfinished": "counted", "capture": ["all"], "timeline": steps,
        "set": { "samp.delta": "20ms" },
        "factors": { "samp.stale": ["sequential"], "hr": { "on": { "samp.hierarchical_registration": true } } },
        "cells": [{ "samp.stale": "sequential", "hr": "on" }],
        "repetitions": 2,
        "assert": ["handoff.total.p95 < 50ms for hr = on"],
    })]
}

const GRAPHML: &str = "<graphml><graph><node id='a'/></graph></graphml>";
const GRID: &str = "
grid: { width: 2, height: 2, link: { one_way_delay: 1ms }, server_link: { one_way_delay: 1ms } }
mobile_nodes: { count: 4 }
";

/// JSON is YAML, too.
fn topology_errors(file: &Value) -> Vec<Diagnostic> {
    topology::parse_with_graph("test.yaml", &file.to_string(), GRAPHML).err().unwrap_or_default()
}

fn experiment_errors(file: &Value) -> Vec<Diagnostic> {
    experiment::parse("test.yaml", &file.to_string(), GRID).err().unwrap_or_default()
}

/// What the parser says about a file.
type Check = fn(&Value) -> Vec<Diagnostic>;

fn kinds() -> [(Value, Vec<Value>, Check); 2] {
    [
        (schema::topology(), topologies(), topology_errors),
        (schema::experiment(), experiments(), experiment_errors),
    ]
}

/// Everything in a file, each with its pointer and its schema.
fn walk<'v>(
    schema: &'v Value,
    value: &'v Value,
    pointer: &str,
    found: &mut Vec<(String, &'v Value, &'v Value)>,
) {
    found.push((pointer.to_owned(), schema, value));
    for (name, value) in value.as_object().into_iter().flatten() {
        let schema = schema["properties"]
            .get(name)
            .or_else(|| schema["patternProperties"].as_object()?.values().next());
        walk(
            schema.unwrap_or_else(|| panic!("{pointer}/{name} is not in the schema")),
            value,
            &format!("{pointer}/{name}"),
            found,
        );
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        walk(&schema["items"], value, &format!("{pointer}/{index}"), found);
    }
}

fn each(mut check: impl FnMut(&Value, &Check, &str, &Value, &Value)) {
    for (schema, files, errors) in &kinds() {
        for file in files {
            let mut found = Vec::new();
            walk(schema, file, "", &mut found);
            for (pointer, schema, value) in found {
                check(file, errors, &pointer, schema, value);
            }
        }
    }
}

fn object<'v>(file: &'v mut Value, pointer: &str) -> &'v mut Map<String, Value> {
    file.pointer_mut(pointer).unwrap().as_object_mut().unwrap()
}

#[test]
fn the_committed_schemas_are_these() {
    for (name, schema) in [("topology", schema::topology()), ("experiment", schema::experiment())] {
        let path = format!("{}/../schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("SAMP_LAB_WRITE_SCHEMA").is_some() {
            fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let committed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(
            committed, schema,
            "SAMP_LAB_WRITE_SCHEMA=1 cargo test -p samp-model schema  writes {path} anew"
        );
    }
}

#[test]
fn the_fields_are_those_of_the_parser() {
    let mut objects = 0;
    each(|file, errors, pointer, schema, _| {
        let Some(fields) = schema["properties"].as_object() else { return };
        let mut file = file.clone();
        object(&mut file, pointer).insert("zz".to_owned(), json!(1));
        let said = errors(&file)[0].message.clone();
        let expected =
            said.strip_prefix("unknown field `zz`, expected ").unwrap_or_else(|| panic!("{pointer}: {said}"));
        let expected: BTreeSet<_> = expected.split('`').skip(1).step_by(2).collect();
        assert_eq!(expected, fields.keys().map(String::as_str).collect(), "{pointer}");
        assert_eq!(schema["additionalProperties"], false, "{pointer}");
        objects += 1;
    });
    assert!(objects > 20);
}

#[test]
fn the_required_fields_are_those_of_the_parser() {
    each(|file, errors, pointer, schema, value| {
        let Some(fields) = schema["properties"].as_object() else { return };
        for name in fields.keys().filter(|name| value.get(name).is_some()) {
            let mut file = file.clone();
            object(&mut file, pointer).remove(name);
            let missing =
                errors(&file).iter().any(|error| error.message == format!("missing field `{name}`"));
            let required =
                schema["required"].as_array().is_some_and(|required| required.contains(&json!(name)));
            assert_eq!(missing, required, "{pointer}/{name}");
        }
    });
}

#[test]
fn the_samples_have_every_field() {
    fn all(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        found.insert(path.to_owned());
        let fields = schema["properties"].as_object().into_iter().flatten();
        fields.for_each(|(name, schema)| all(schema, &format!("{path}/{name}"), found));
        let named = schema["patternProperties"].as_object().into_iter().flatten();
        named.for_each(|(_, schema)| all(schema, &format!("{path}/*"), found));
        schema.get("items").into_iter().for_each(|items| all(items, &format!("{path}/*"), found));
    }
    for (schema, files, _) in kinds() {
        let mut expected = BTreeSet::new();
        all(&schema, "", &mut expected);
        let mut found = Vec::new();
        for file in &files {
            walk(&schema, file, "", &mut found);
        }
        let free = |pointer: &str| -> String {
            let parts: Vec<_> = pointer.split('/').collect();
            let kept = parts.iter().enumerate().map(|(at, part)| {
                let named = matches!(
                    parts[1..at.max(1)],
                    ["nodes" | "set" | "factors"]
                        | [_, "passwords"]
                        | ["cells", _]
                        | ["factors", _]
                        | ["factors", _, _]
                );
                if named || part.parse::<usize>().is_ok() { "*" } else { *part }
            });
            kept.collect::<Vec<_>>().join("/")
        };
        let found: BTreeSet<_> = found.iter().map(|(pointer, ..)| free(pointer)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn values_are_what_the_parser_takes() {
    let mut values = 0;
    each(|file, errors, pointer, schema, value| {
        if value.is_object() || value.is_array() {
            return;
        }
        let expected = if let Some(words) = schema["enum"].as_array() {
            let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
            format!("write {}", crate::diagnostic::one_of(&words))
        } else if schema["type"] == "boolean" {
            "write `true` or `false`".to_owned()
        } else if schema["type"] == "integer" {
            format!("write a whole number from {} to {}", schema["minimum"], schema["maximum"])
        } else if schema["type"] == "number" || schema["type"].is_array() {
            format!("a number from {} to {}", schema["minimum"], schema["maximum"])
        } else if let Some(examples) = schema["examples"].as_array() {
            let (last, first) = examples.split_last().unwrap();
            let first: Vec<_> = first.iter().map(|example| example.as_str().unwrap()).collect();
            let first = if first.is_empty() { String::new() } else { format!("{} or ", first.join(", ")) };
            format!("as {first}{}", last.as_str().unwrap())
        } else if schema.get("maxLength").is_some() {
            format!("write at most {} of", schema["maxLength"])
        } else {
            assert!(schema["type"] == "string" || schema.get("type").is_none(), "{pointer}");
            return;
        };
        let mut file = file.clone();
        *file.pointer_mut(pointer).unwrap() = json!("No Sense!");
        let said: Vec<_> = errors(&file).into_iter().filter_map(|error| error.hint).collect();
        assert!(said.iter().any(|hint| hint.contains(&expected)), "{pointer}: {expected}: {said:?}");
        if schema["examples"].is_array() {
            assert_eq!(
                said.iter().any(|hint| hint.contains("a delay")),
                schema.get("anyOf").is_some(),
                "{pointer}"
            );
        }
        values += 1;
    });
    assert!(values > 60);
}

/// As far as the schemas use it, without patterns and conditions.
fn validate(schema: &Value, value: &Value, pointer: &str) {
    let bad = |why: &str| panic!("{pointer} is {value}: {why}");
    if let Some(any) = schema["anyOf"].as_array() {
        if value.is_string() {
            return validate(&any[0], value, pointer);
        }
        assert_eq!(*value, any[1]["const"], "{pointer}");
        return;
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{pointer} is {value}");
        return;
    }
    let kinds: Vec<_> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        Value::String(kind) => vec![kind.as_str()],
        // Of any kind.
        _ => return,
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    if !kinds.iter().any(is) {
        bad(&format!("not of type {kinds:?}"));
    }
    if let Some(number) = value.as_f64()
        && !(schema["minimum"].as_f64().unwrap()..=schema["maximum"].as_f64().unwrap()).contains(&number)
    {
        bad("out of range");
    }
    let length = value.as_array().map_or(0, Vec::len) as u64;
    if value.is_array()
        && !(schema["minItems"].as_u64().unwrap_or(0)..=schema["maxItems"].as_u64().unwrap_or(u64::MAX))
            .contains(&length)
    {
        bad("too long or too short");
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().unwrap()).is_some(), "{pointer}: no {required}");
    }
    let mut found = Vec::new();
    walk(schema, value, "", &mut found);
    for (inner, schema, value) in found.into_iter().filter(|(inner, ..)| inner.matches('/').count() == 1) {
        validate(schema, value, &format!("{pointer}{inner}"));
    }
}

#[test]
fn the_examples_are_valid() {
    for file in examples::FILES.iter().filter(|file| file.path.ends_with(".yaml")) {
        let value: Value = serde_yaml::from_str(file.text).unwrap();
        let directory = file.path.split('/').next().unwrap();
        let kind = if directory == "experiments" { "experiment" } else { "topology" };
        let schema = if kind == "experiment" { schema::experiment() } else { schema::topology() };
        validate(&schema, &value, file.path);
        let first = file.text.lines().next().unwrap();
        assert_eq!(first, format!("# yaml-language-server: $schema=../schema/{kind}.json"), "{}", file.path);
    }
}

#[test]
fn the_defaults_are_valid() {
    each(|file, errors, pointer, schema, _| {
        let Some(default) = schema.get("default") else { return };
        validate(schema, default, pointer);
        let mut file = file.clone();
        *file.pointer_mut(pointer).unwrap() = default.clone();
        let here = errors(&file).into_iter().find(|error| error.message.contains("is not a"));
        assert_eq!(here, None, "{pointer}");
    });
}

/// A text that the schema of a quantity describes.
fn written(schema: &Value) -> impl Strategy<Value = String> + use<> {
    let schema = schema.get("anyOf").map_or(schema, |any| &any[0]);
    let pattern = schema["pattern"].as_str().unwrap();
    proptest::string::string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
}

macro_rules! patterns_are_the_parsers {
    ($($test:ident: $quantity:ty),*) => {
        $(
            proptest! {
                /// What the pattern describes may be too much or too fine, but it is written as it should be.
                #[test]
                fn $test(text in written(&<$quantity as schema::Scalar>::schema())) {
                    if let Err(error) = text.parse::<$quantity>() {
                        let only = ["is out of range", "is too large", "is finer than"];
                        prop_assert!(only.iter().any(|only| error.message.contains(only)), "{error}");
                    }
                }
            }
        )*
    };
}
patterns_are_the_parsers!(
    delays_are_written_so: crate::units::Delay,
    intervals_are_written_so: crate::units::Interval,
    percentages_are_written_so: crate::units::Percent,
    rates_are_written_so: crate::units::Rate,
    titles_are_written_so: crate::yaml::Title
);
