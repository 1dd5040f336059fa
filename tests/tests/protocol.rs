//! SAMP in a real lab: handoffs, calls, a crashed server, and an experiment from end to end.

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use samp_tests::lab::{run, stdout};
use samp_tests::{Events, Lab, topology};
use serde_json::Value;

const GRID: &str = "topologies/grid-small.yaml";

/// Checks that the segments of every critical path of a handoff add up to its total.
#[track_caller]
fn assert_tiled(handoff: &Value) {
    let calls = handoff["calls"].as_array().expect("a list");
    let directions = calls.iter().flat_map(|call| [&call["downlink"]["path"], &call["uplink"]["path"]]);
    let mut paths: Vec<_> = directions.collect();
    paths.push(&handoff["registration"]);
    for path in paths {
        let total = path["total_ms"].as_f64().unwrap_or_else(|| panic!("no total: {handoff:#}"));
        let segments = path["segments"].as_array().expect("a list").iter();
        let sum: f64 = segments.map(|segment| segment["duration_ms"].as_f64().expect("a duration")).sum();
        assert!((sum - total).abs() < 1e-6, "{sum} is not {total}: {path:#}");
        assert!(total > 0.0);
    }
}

fn nodes() -> Vec<String> {
    (1..=8).map(|number| format!("mn{number}")).collect()
}

/// Lets everyone call everyone else.
fn call_everybody(lab: &Lab) {
    for caller in nodes() {
        for callee in nodes().iter().filter(|callee| **callee != caller) {
            let call = lab.json(&["call", &caller, callee]);
            assert_eq!(call["outcome"], "established", "{call:#}");
            let (srd, floor) =
                (call["srd_ms"].as_f64().expect("a delay"), call["floor_ms"].as_f64().expect("a floor"));
            assert!(srd >= floor, "no message is faster than its links: {call:#}");
            lab.json(&["hangup"]);
        }
    }
}

/// Moves a random node to a random other access router, again and again.
fn roam(lab: &Lab, moves: usize, seed: u64) {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut places: Vec<String> = nodes()
        .iter()
        .map(|node| lab.json(&["inspect", node])["attached_to"].as_str().expect("a router").to_owned())
        .collect();
    let routers: Vec<String> = (0..16).map(|n| format!("ar-{}-{}", n % 4, n / 4)).collect();
    for _ in 0..moves {
        let index = random.random_range(0..8);
        let others: Vec<_> = routers.iter().filter(|router| **router != places[index]).collect();
        let target = others.choose(&mut random).expect("fifteen others").to_string();
        let handoff = lab.json(&["handoff", &nodes()[index], &target]);
        assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
        assert_tiled(&handoff);
        places[index] = target;
    }
}

#[test]
fn everybody_can_call_everybody_after_twenty_random_handoffs() {
    let lab = Lab::up(topology(GRID), &[]);
    roam(&lab, 20, 1);
    call_everybody(&lab);
    lab.down();
}

#[test]
fn the_interface_itself_can_move() {
    let lab = Lab::up(topology(GRID), &["--attach", "move"]);
    lab.json(&["call", "mn1", "mn2"]);
    lab.json(&["call", "mn3", "mn4"]);
    roam(&lab, 10, 2);
    lab.down();
}

#[test]
fn handoffs_during_calls_keep_the_media_flowing() {
    let lab = Lab::up(topology(GRID), &[]);
    for (caller, callee) in [("mn1", "mn2"), ("mn3", "mn4"), ("mn5", "mn6"), ("mn7", "mn8")] {
        lab.json(&["call", caller, callee]);
    }
    roam(&lab, 12, 3);
    let ended = lab.json(&["hangup"]);
    assert!(ended.is_object(), "{ended:#}");
    lab.down();
}

#[test]
fn the_ring_heals_when_a_server_is_killed() {
    let lab = Lab::up(topology(GRID), &[]);
    lab.json(&["kill", "s3"]);
    // A node whose anchor was s3 finds out at its next move; all others are not concerned.
    roam_everybody(&lab);
    call_everybody(&lab);
    lab.down();
}

/// Moves every node one router on.
fn roam_everybody(lab: &Lab) {
    for (index, node) in nodes().iter().enumerate() {
        let place = lab.json(&["inspect", node])["attached_to"].as_str().expect("a router").to_owned();
        let mut target = format!("ar-{}-{}", index % 4, 3 - index / 4);
        if target == place {
            target = "ar-3-3".to_owned();
        }
        lab.json(&["handoff", node, &target]);
    }
}

#[test]
fn an_experiment_is_run_reported_and_gone() {
    let out = std::env::temp_dir().join(format!("samp-run-{}", std::process::id()));
    let experiment = topology("experiments/handoff.yaml");
    let text = stdout(run([
        "--format".as_ref(),
        "json".as_ref(),
        "--quiet".as_ref(),
        "run".as_ref(),
        experiment.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
    ]));
    let printed: Value = serde_json::from_str(&text).expect("JSON");
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).expect("a summary"))
            .expect("JSON");
    assert_eq!(written["valid"], true, "{:#}", written["invalid_because"]);
    assert!(printed.is_object());
    let handoffs = written["each"]["handoffs"].as_array().expect("every handoff");
    assert_eq!(handoffs.len(), 20);
    handoffs.iter().for_each(assert_tiled);
    for line in std::fs::read_to_string(out.join("records.jsonl")).expect("records").lines() {
        serde_json::from_str::<samp_model::Record>(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    }
    let provenance: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("provenance.json")).expect("provenance"))
            .expect("JSON");
    assert!(provenance.is_object());
    std::fs::remove_dir_all(&out).expect("the results can be removed");
}

/// Runs a shipped experiment and returns its summary, which must be valid.
fn run_experiment(name: &str) -> Value {
    let out = std::env::temp_dir().join(format!("samp-run-{name}-{}", std::process::id()));
    let experiment = topology(&format!("experiments/{name}.yaml"));
    stdout(run([
        "--quiet".as_ref(),
        "run".as_ref(),
        experiment.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
    ]));
    let summary = std::fs::read_to_string(out.join("summary.json")).expect("a summary");
    std::fs::remove_dir_all(&out).expect("the results can be removed");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!(summary["valid"], true, "{:#}", summary["invalid_because"]);
    summary
}

#[test]
fn live_calls_move_to_other_terminals() {
    let summary = run_experiment("transfer");
    let transfers = summary["each"]["transfers"].as_array().expect("transfers");
    assert_eq!(transfers.len(), 2);
    for [from, to] in [["mn1", "mn3"], ["mn5", "mn6"]] {
        let transfer = transfers.iter().find(|transfer| transfer["from"] == from).expect("a transfer");
        assert_eq!(transfer["to"], to);
        assert!(transfer["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{transfer:#}");
    }
    let knobs = summary["knobs"].as_array().expect("knobs");
    assert!(knobs.iter().any(|knob| knob["name"] == "confirm" && knob["paper"] == "paper"), "{knobs:?}");

    let lab = Lab::up(topology(GRID), &[]);
    let old = lab.json(&["call", "mn1", "mn2"]);
    let new = lab.json(&["transfer", old["call"].as_str().expect("a call"), "mn3"]);
    assert_eq!((&new["caller"], &new["callee"]), (&Value::from("mn3"), &Value::from("mn2")));
    lab.json(&["hangup"]);
    lab.json(&["deregister", "mn2"]);
    lab.down();
}

#[test]
fn an_anchor_that_is_killed_is_replaced_though_nobody_moves() {
    let file = std::env::temp_dir().join(format!("samp-probe-{}.yaml", std::process::id()));
    let grid = std::fs::read_to_string(topology(GRID)).expect("the grid");
    std::fs::write(&file, format!("{grid}\nsamp: {{ anchor_probe: 2s }}\n")).expect("a file");
    let lab = Lab::up(&file, &[]);
    lab.json(&["kill", "s2"]);
    // Nodes of its own notice within anchor_probe + anchor_timeout; then all are registered elsewhere.
    // By node: its latest anchor, and whether its home server knows.
    let anchors = || {
        let events = stdout(lab.run(&["events"]));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut anchors = std::collections::BTreeMap::new();
        for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let node = text(&event["node"]);
            if event["event"] == "anchor_selected" {
                anchors.insert(node, (text(&event["anchor"]), false));
            } else if event["event"] == "registered"
                && event["scope"] == "home"
                && let Some((_, known)) = anchors.get_mut(&node)
            {
                *known = true;
            }
        }
        anchors
    };
    let dead = lab.json(&["inspect", "s2"])["address"].as_str().expect("an address").to_owned();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while anchors().values().any(|(anchor, known)| *anchor == dead || !known) {
        assert!(std::time::Instant::now() < deadline, "still registered with a dead anchor: {:?}", anchors());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    call_everybody(&lab);
    lab.down();
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn a_stale_entry_costs_its_deadline_only_where_the_ways_are_tried_one_after_the_other() {
    let out = std::env::temp_dir().join(format!("samp-run-stale-{}", std::process::id()));
    let experiment = topology("experiments/stale.yaml");
    let args = ["--quiet", "--format", "json", "run", experiment.to_str().expect("UTF-8"), "--out"];
    // It asserts itself that there are two such calls in each run, and what they take where they wait for the deadline.
    let text = stdout(run(args.iter().copied().chain(out.to_str())));
    std::fs::remove_dir_all(&out).expect("the results can be removed");
    let summary: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(summary["assertions"].as_array().map(Vec::len), Some(3));
    let effects = summary["effects"].as_array().expect("effects");
    let effect = effects.iter().find(|effect| effect["metric"] == "call.srd_tier1_stale").expect("an effect");
    assert_eq!((&effect["level"], &effect["pairs"]), (&"parallel".into(), &2.into()));
    assert!(effect["difference"].as_f64() < Some(0.0), "{effect:#}");
}

#[test]
fn both_terminals_of_a_user_ring_and_one_answers() {
    let summary = run_experiment("terminals-called");
    let calls = summary["each"]["calls"].as_array().expect("calls");
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call["outcome"], "established", "{call:#}");
        assert_eq!(call["media"].as_array().expect("both ends").len(), 2, "{call:#}");
    }
    let lab = Lab::up(topology("topologies/terminals.yaml"), &[]);
    lab.json(&["call", "bob", "phone"]);
    Events::of(&lab).wait("a terminal that is let go", |record| record["event"] == "call_cancelled");
    lab.json(&["hangup"]);
    let events = stdout(lab.run(&["events"]));
    let of_kind = |kind: &str| {
        let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == kind).count()
    };
    assert_eq!((of_kind("call_ringing"), of_kind("call_cancelled")), (2, 1));
    lab.down();
}

#[test]
fn servers_that_are_sent_sigterm_hand_all_bindings_over_and_end() {
    let file = std::env::temp_dir().join(format!("samp-sigterm-{}.yaml", std::process::id()));
    let grid = std::fs::read_to_string(topology(GRID)).expect("the grid");
    // There is one copy of each binding, so that what a server takes along is lost.
    std::fs::write(&file, format!("{grid}\nsamp: {{ replicas: 1 }}\n")).expect("a file");
    let lab = Lab::up(&file, &[]);
    let mut events = Events::of(&lab);
    for (server, others) in [("s3", ["s1", "s2", "s4"].as_slice()), ("s1", &["s2", "s4"])] {
        let pid = lab.json(&["inspect", server])["pid"].to_string();
        lab.exec("s4", &["sh", "-c", &format!("kill -TERM {pid}")]);
        events.wait("a server that leaves", |record| {
            record["event"] == "ring_left" && record["node"] == server
        });
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while lab.json(&["inspect", server])["agent"] != "done" {
            assert!(std::time::Instant::now() < deadline, "{server} has left and does not end");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        // What a server recorded before it answered may reach the lab's records after that.
        while bindings_when_left(&lab, server, others) < 8 {
            assert!(
                std::time::Instant::now() < deadline,
                "{} are held by {others:?}",
                bindings_when_left(&lab, server, others)
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    assert!(!lab.run(&["leave", "s3"]).status.success(), "it has ended");
    lab.down();
    std::fs::remove_file(file).expect("removed");
}

/// The bindings that `others` held as home servers when `server` left the ring.
fn bindings_when_left(lab: &Lab, server: &str, others: &[&str]) -> u64 {
    let events = stdout(lab.run(&["events"]));
    let records: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let left = records.iter().find(|record| record["event"] == "ring_left" && record["node"] == server);
    let left = left.expect("it has left")["at"].as_u64();
    let last = |other: &str| {
        let counts = records.iter().filter(|record| {
            record["event"] == "bindings_changed" && record["node"] == other && record["at"].as_u64() <= left
        });
        counts
            .max_by_key(|record| record["at"].as_u64())
            .map_or(0, |record| record["home"].as_u64().expect("a count"))
    };
    others.iter().map(|other| last(other)).sum()
}
