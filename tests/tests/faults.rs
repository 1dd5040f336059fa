//! Faults on purpose: partitions, crashes and changes of links, by command and in experiments.

use samp_tests::lab::{run, samp_lab, stdout};
use samp_tests::{Events, Lab, topology};
use serde_json::Value;
use std::process::{Command, Stdio};

/// Whether a ping from `s1` comes back.
fn reaches(lab: &Lab, address: &str) -> bool {
    let ping = ["--lab", lab.name(), "exec", "s1", "--", "ping", "-n", "-c", "1", "-W", "1", address];
    run(ping).status.success()
}

fn is_up(lab: &Lab, link: &str) -> bool {
    lab.json(&["link", link])[0]["up"].as_bool().expect("a state")
}

/// The other members that a server's record of the ring names.
fn others(record: &Value) -> usize {
    let successors = record["successors"].as_array().expect("successors");
    successors.iter().filter(|id| **id != record["id"]).count()
}

#[test]
fn a_partition_cuts_the_links_between_its_sides_and_heals() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    assert!(reaches(&lab, "172.16.0.2"));
    let cut = lab.json(&["partition", "s1,ar1"]);
    assert_eq!((cut.as_array().map(Vec::len), &cut[0]["link"]), (Some(1), &Value::from("ar1--ar2")));
    assert!(!reaches(&lab, "172.16.0.2") && reaches(&lab, "172.16.0.1"));
    // What was down before stays down.
    lab.json(&["link", "ar1--s1", "down"]);
    assert_eq!(lab.run(&["partition", "ar1"]).status.code(), Some(5), "no link is left");
    assert_eq!(lab.run(&["partition", "mn1"]).status.code(), Some(1), "a mobile node has no side of its own");
    assert_eq!(lab.json(&["heal"]).as_array().map(Vec::len), Some(1));
    assert!(is_up(&lab, "ar1--ar2") && !is_up(&lab, "ar1--s1"));
    lab.json(&["link", "ar1--s1", "up"]);
    assert!(reaches(&lab, "172.16.0.2"));
    assert_eq!(lab.run(&["heal"]).status.code(), Some(5), "there is no partition any more");
    // Two sides that are named leave the others alone.
    assert_eq!(lab.json(&["partition", "ar1", "--from", "s1"])[0]["link"], "ar1--s1");
    assert!(is_up(&lab, "ar1--ar2"));
    lab.down();
}

#[test]
fn the_ring_falls_apart_and_grows_together_again() {
    let lab = Lab::up(topology("topologies/campus.yaml"), &[]);
    let mut events = Events::of(&lab);
    let of_s1 = |record: &Value| record["event"] == "ring_changed" && record["node"] == "s1";
    lab.json(&["partition", "core-1", "--from", "core-2"]);
    events.wait("a partition", |record| record["event"] == "partitioned");
    events.wait("a ring of s1 alone", |record| of_s1(record) && others(record) == 0);
    lab.json(&["heal"]);
    events.wait("an end of the partition", |record| record["event"] == "healed");
    events.wait("one ring of three", |record| of_s1(record) && others(record) == 2);
    lab.down();
}

#[test]
fn a_radio_link_changes_and_a_rate_goes() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    let radio = lab.json(&["link", "mn1", "--delay", "40ms", "--one-way"]);
    assert_eq!(radio[0]["there"]["one_way_delay"]["nanos"], 40_000_000);
    assert_eq!(radio[0]["back"]["one_way_delay"]["nanos"], 1_000_000);
    let handoff = lab.json(&["handoff", "mn1", "ar2"]);
    let path = &handoff["registration"];
    let (total, floor) = (path["total_ms"].as_f64(), path["floor_ms"].as_f64());
    assert!(total.is_some_and(|total| total > 40.0), "{handoff:#}");
    assert!(floor.is_some_and(|floor| floor > 40.0), "{handoff:#}");
    assert_eq!(lab.run(&["link", "mn1", "down"]).status.code(), Some(1));

    lab.json(&["link", "ar1--ar2", "--rate", "1mbit", "--queue", "5"]);
    let free = lab.json(&["link", "ar1--ar2", "--rate", "none"]);
    assert_eq!((&free[0]["there"]["rate"], &free[0]["there"]["queue"]), (&Value::Null, &Value::Null));
    lab.down();
}

#[test]
fn an_experiment_breaks_things_and_says_when() {
    let base = std::env::temp_dir().join(format!("samp-faults-{}", std::process::id()));
    std::fs::create_dir_all(&base).expect("a directory");
    let file = base.join("faults.yaml");
    let text = format!(
        "topology: {}
timeline:
  - link: {{ between: [ar1, ar2], one_way_delay: 8ms, rate: 10mbit }}
  - link: {{ between: [ar2, ar1], one_way: true, rate: none }}
  - link: {{ radio: mn1, one_way_delay: 3ms }}
  - handoff: {{ moves: [[mn1, ar2]], interval: 100ms }}
  - link: {{ between: [ar1, s1], state: down }}
  - link: {{ between: [ar1, s1], state: up }}
  - partition: {{ nodes: [ar2] }}
  - heal: all
  - pause: mn2
  - resume: mn2
  - flood: {{ to: s1, from: ar1, request: options, rate: 100/s, for: 200ms }}
  - kill: mn2
",
        topology("topologies/line.yaml").display()
    );
    std::fs::write(&file, text).expect("the experiment");
    let out = base.join("out");
    let words =
        ["--format", "json", "--quiet", "run", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let summary: Value = serde_json::from_str(&stdout(run(words))).expect("JSON");
    assert_eq!(summary["valid"], true, "{:#}", summary["invalid_because"]);
    let done = summary["interventions"].as_array().expect("a list").iter();
    let done: Vec<_> = done.map(|it| format!("{}: {}", it["node"], it["what"]).replace('"', "")).collect();
    assert_eq!(
        done,
        [
            "ar1: link to ar2 up: 8ms, 10mbit",
            "ar1: link to ar2 up: 8ms, 10mbit; back 8ms",
            "mn1: radio link up: 3ms",
            "ar1: link to s1 down",
            "ar1: link to s1 up: 500us",
            "ar2: partition: ar2 cut off from all others, 1 link down",
            "ar1: partitions healed, 1 link up",
            "mn2: paused",
            "mn2: resumed",
            "ar1: flood of s1: 100 OPTIONS/s for 200ms",
            "mn2: killed",
            "ar1: flood of s1 over: 20 sent, 20 answered 200, 0 unanswered",
        ]
    );
    std::fs::remove_dir_all(&base).expect("the results can be removed");
}

#[test]
fn a_call_goes_through_while_a_server_is_flooded() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    let words = ["flood", "s1", "--from", "ar2", "--rate", "300/s", "--for", "3s"];
    let flood = Command::new(samp_lab())
        .args(["--lab", lab.name(), "--format", "json"])
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .expect("samp-lab can be started");
    let began = Events::of(&lab).wait("a flood", |record| record["event"] == "flood_began");
    assert_eq!(
        (&began["node"], &began["to"], &began["flood"]["rate"]),
        (&"ar2".into(), &"s1".into(), &300.into())
    );
    lab.json(&["call", "mn1", "mn2"]);
    let path = &lab.json(&["handoff", "mn1", "ar2"])["registration"];
    assert!(path["total_ms"].is_number(), "{path:#}");

    let ended = flood.wait_with_output().expect("it ends");
    let ended: Value = serde_json::from_str(&stdout(ended)).expect("JSON");
    assert_eq!(ended["sent"], 900, "{ended:#}");
    let counts =
        |of: &Value| of["answers"].as_array().expect("answers").iter().map(|it| it["count"].as_u64()).sum();
    let answered: Option<u64> = counts(&ended);
    assert_eq!(answered.expect("counts") + ended["unanswered"].as_u64().expect("a count"), 900, "{ended:#}");
    let registered = |it: &Value| it["status"] == 200 && it["count"].as_u64() > Some(0);
    assert!(ended["answers"].as_array().expect("answers").iter().any(registered), "{ended:#}");

    assert!(stdout(lab.run(&["logs", "ar2"])).contains("sockets are open"), "the flooder's log");
    let none = lab.run(&["logs", "ar1"]);
    assert_eq!(none.status.code(), Some(1));
    let none: Value = serde_json::from_slice(&none.stdout).expect("JSON");
    assert_eq!(none["error"], "`ar1` has no log", "{none:#}");
    assert!(none["hint"].as_str().is_some_and(|hint| hint.contains("flooded")), "{none:#}");

    let refused = |words: &[&str]| lab.run(words).status.code();
    let words = |from, rate| ["flood", "s1", "--from", from, "--rate", rate, "--for", "1s"];
    assert_eq!(refused(&words("mn1", "1/s")), Some(1));
    assert_eq!(refused(&words("ar2", "20001/s")), Some(2));
    lab.down();
}
