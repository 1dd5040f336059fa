//! What a timeline can wait for: events, never a time.

use samp_tests::lab::run;
use samp_tests::{TemporaryFile, topology};
use serde_json::Value;
use std::fs;

/// A server dies, and its nodes look for another one; `timeout` is for the ring.
fn crash(timeout: &str) -> TemporaryFile {
    let grid = topology("topologies/grid-small.yaml");
    TemporaryFile::new(&format!(
        "topology: {}
seed: 7
set: {{ samp.anchor_probe: 500ms, samp.stabilize_period: 200ms }}
timeline:
  - call: {{ pairs: [[mn1, mn2]] }}
  - await: {{ until: calls_established, timeout: 1s }}
  - kill: s2
  - await: {{ until: ring_stable, timeout: {timeout} }}
  - await: {{ until: all_registered, timeout: 60s }}
",
        grid.display()
    ))
}

/// Runs it, and returns the exit code, summary and topology, and the records.
fn carried_out(command: &str, file: &TemporaryFile) -> (Option<i32>, [Value; 2], Vec<Value>) {
    let out = std::env::temp_dir().join(format!("samp-waiting-{command}-{}", std::process::id()));
    let (out, file) = (out.to_str().expect("UTF-8"), file.path().to_str().expect("UTF-8"));
    let done = run(["--quiet", command, file, "--out", out]);
    let read = |name: &str| fs::read_to_string(format!("{out}/{name}")).expect("a result");
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let written = ["summary.json", "topology.json"].map(|name| json(&read(name)));
    let records = read("records.jsonl").lines().map(json).collect();
    fs::remove_dir_all(out).expect("the results can be removed");
    (done.status.code(), written, records)
}

#[test]
fn everybody_registers_elsewhere_when_a_server_dies() {
    for command in ["run", "sim"] {
        let (code, [summary, topology], records) = carried_out(command, &crash("60s"));
        assert_eq!((code, &summary["valid"]), (Some(0), &Value::Bool(true)), "{command}: {summary:#}");
        let nodes = topology["nodes"].as_array().expect("nodes");
        let s2 = nodes.iter().find(|node| node["name"] == "s2").expect("the server");
        let dead = &s2["kind"]["sip_server"]["addresses"][0];
        let killed = records.iter().position(|record| record["event"] == "killed").expect("a crash");
        let with_anchor =
            |event: &str, record: &&Value| record["event"] == event && record["scope"] == "anchor";
        let after = &records[killed..];
        let lost: Vec<_> = after.iter().filter(|record| with_anchor("registration_failed", record)).collect();
        // In a lab, chance may have led nobody to s2.
        assert!(command == "run" || !lost.is_empty(), "somebody was with s2");
        // Whoever was with the dead server has found another one by the end of the timeline, as that was awaited.
        for node in lost.iter().map(|record| &record["node"]) {
            let registered = |record: &&Value| with_anchor("registered", record) && record["node"] == *node;
            let anchor = after.iter().rfind(registered).map(|record| &record["path"][0]);
            assert!(anchor.is_some_and(|anchor| anchor != dead), "{command}: {node} is with {anchor:?}");
        }
    }
}

#[test]
fn what_does_not_come_makes_the_run_invalid_and_is_named() {
    // Faster than the servers look after each other.
    let (code, [summary, _], _) = carried_out("sim", &crash("1ms"));
    assert_eq!(code, Some(7));
    let reason = summary["invalid_because"][0].as_str().expect("a reason");
    assert!(reason.starts_with("after 1ms, not at their place in the ring: s"), "{reason}");
}

/// Something in a period waits for a state.
fn period(lasts: &str, at: &str) -> TemporaryFile {
    let grid = topology("topologies/grid-small.yaml");
    TemporaryFile::new(&format!(
        "topology: {}
seed: 7
set: {{ samp.stabilize_period: 200ms }}
timeline:
  - period: {{ lasts: {lasts}, at: [{at}] }}
",
        grid.display()
    ))
}

/// When this happened for the last time, in nanoseconds.
fn last(records: &[Value], event: &str) -> Option<u64> {
    records.iter().rfind(|record| record["event"] == event)?["at"].as_u64()
}

#[test]
fn something_happens_as_soon_as_a_call_is_up() {
    let file = period(
        "4s",
        "{ call: [mn1, mn2] }, { when: calls_established, pause: mn8 }, { after: 3s, resume: mn8 }",
    );
    for command in ["run", "sim"] {
        let (code, [summary, _], records) = carried_out(command, &file);
        assert_eq!((code, &summary["valid"]), (Some(0), &Value::Bool(true)), "{command}: {summary:#}");
        let paused = records.iter().position(|record| record["event"] == "paused").expect("a pause");
        let heard = records.iter().filter(|record| record["event"] == "media_first_received");
        let heard: Vec<_> = heard.filter_map(|record| record["at"].as_u64()).collect();
        let paused = records[paused]["at"].as_u64().expect("an instant");
        assert!(heard.len() == 2 && heard.iter().all(|&at| at <= paused), "{command}: {heard:?} {paused}");
        let resumed = last(&records, "resumed").expect("an end of it");
        assert!(command == "run" || heard.contains(&paused) && paused < resumed, "{heard:?} {paused}");
    }
}

#[test]
fn something_happens_as_soon_as_the_ring_is_whole_again() {
    let at = "{ after: 1s, kill: s2 }, { after: 1s, when: ring_stable, kill: s3 }";
    let (code, [summary, _], records) = carried_out("sim", &period("20s", at));
    assert_eq!((code, &summary["valid"]), (Some(0), &Value::Bool(true)), "{summary:#}");
    let killed = |name: &str| {
        let is_it = |record: &Value| record["event"] == "killed" && record["node"] == name;
        records.iter().position(is_it).expect("a crash")
    };
    let between = &records[killed("s2") + 1..killed("s3")];
    assert_eq!(last(between, "ring_changed"), records[killed("s3")]["at"].as_u64(), "no sooner and no later");

    let (code, [summary, _], _) = carried_out("sim", &period("1001ms", at));
    assert_eq!(code, Some(7));
    let reason = summary["invalid_because"][0].as_str().expect("a reason");
    assert!(reason.starts_with("until the end of the period, not at their place in the ring: s"), "{reason}");
}
