//! Nodes that share a process: each can be stopped, and dies, alone.

use samp_tests::lab::{TemporaryFile, stdout};
use samp_tests::{Lab, topology};
use serde_json::Value;

/// The small grid, its servers in one process and its mobile nodes in another.
fn file() -> TemporaryFile {
    let grid = std::fs::read_to_string(topology("topologies/grid-small.yaml")).expect("the grid");
    TemporaryFile::new(&format!("{grid}\nemulation: {{ nodes_per_process: 8 }}\n"))
}

#[track_caller]
fn assert_call(lab: &Lab, caller: &str, callee: &str) {
    let call = lab.json(&["call", caller, callee]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    lab.json(&["hangup"]);
}

#[test]
fn nodes_that_share_a_process_stop_and_die_alone() {
    let lab = Lab::up(file().path(), &[]);
    let process = |node: &str| lab.json(&["inspect", node])["pid"].as_i64().expect("a process");
    assert_eq!(process("mn1"), process("mn8"));
    assert_eq!(process("s1"), process("s4"));
    assert_ne!(process("mn1"), process("s1"), "they have other privileges");

    lab.json(&["pause", "mn2"]);
    assert_eq!(lab.json(&["inspect", "mn2"])["agent"], "paused");
    assert_eq!(lab.json(&["inspect", "mn1"])["agent"], "running");
    lab.json(&["handoff", "mn1", "ar-3-3"]);
    assert_call(&lab, "mn1", "mn3");
    lab.json(&["resume", "mn2"]);
    assert_call(&lab, "mn1", "mn2");

    let survivor = process("mn1");
    lab.json(&["kill", "mn2"]);
    assert_eq!(lab.json(&["inspect", "mn2"])["agent"], "dead");
    assert!(!lab.run(&["pause", "mn2"]).status.success(), "it is dead");
    lab.json(&["handoff", "mn1", "ar-0-3"]);
    assert_call(&lab, "mn3", "mn1");
    assert_eq!(process("mn1"), survivor);

    lab.json(&["kill", "s3"]);
    // Who was anchored there finds out at the next move.
    for (node, router) in [("mn1", "ar-0-0"), ("mn3", "ar-3-3"), ("mn4", "ar-3-2")] {
        lab.json(&["handoff", node, router]);
    }
    assert_call(&lab, "mn1", "mn3");
    assert_call(&lab, "mn4", "mn1");
    lab.down();
}

#[test]
fn servers_that_share_a_process_join_the_ring_one_after_the_other() {
    let lab = Lab::up(file().path(), &[]);
    let text = stdout(lab.run(&["events"]));
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let places = |server: &'static str| {
        events.iter().filter(move |it| it["event"] == "ring_changed" && it["node"] == server)
    };
    let at = |event: &Value| event["at"].as_u64().expect("an instant");
    for (earlier, later) in [("s2", "s3"), ("s3", "s4")] {
        let placed = places(earlier).find(|it| !it["predecessor"].is_null()).map(at);
        let began = places(later).next().map(at);
        assert!(placed.is_some() && placed <= began, "{earlier} {placed:?}, {later} {began:?}");
    }
    lab.down();
}
