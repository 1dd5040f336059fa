//! Handoffs that break before they make: for a set time the mobile node is attached nowhere.

use samp_tests::lab::run;
use samp_tests::{Events, Lab, samp_lab, topology};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

const GAP_MS: f64 = 1000.0;

/// How long a segment of a critical path took, of which its floor must be `floor`; in milliseconds.
#[track_caller]
fn segment(path: &Value, name: &str, floor: f64) -> f64 {
    let segments = path["segments"].as_array().unwrap_or_else(|| panic!("no segments: {path:#}"));
    let segment = segments.iter().find(|segment| segment["segment"] == name);
    let segment = segment.unwrap_or_else(|| panic!("no {name}: {path:#}"));
    assert_eq!(segment["floor_ms"], floor, "{path:#}");
    segment["duration_ms"].as_f64().expect("a duration")
}

#[test]
fn a_gap_is_a_segment_of_the_handoff_and_a_silence() {
    for attach in ["switch", "move"] {
        let lab = Lab::up(topology("topologies/grid-small.yaml"), &["--attach", attach]);
        lab.json(&["call", "mn1", "mn2"]);
        let place = lab.json(&["inspect", "mn1"])["attached_to"].clone();
        let target = if place == "ar-1-1" { "ar-2-1" } else { "ar-1-1" };
        let handoff = lab.json(&["handoff", "mn1", target, "--gap", "1s"]);
        assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
        assert!(segment(&handoff["registration"], "l2", GAP_MS) >= GAP_MS, "{attach}: {handoff:#}");
        for direction in ["downlink", "uplink"] {
            let seen = &handoff["calls"][0][direction];
            assert!(segment(&seen["path"], "l2", GAP_MS) >= GAP_MS, "{attach}: {handoff:#}");
            // Fifty packets fall into the gap, unless their sender waits for a processor; who hears late takes the silence for shorter.
            assert!(
                seen["media_gap_ms"].as_f64().expect("a silence") >= GAP_MS / 2.0,
                "{attach}: {handoff:#}"
            );
            assert!(seen["packets_lost"].as_u64().expect("a count") >= 10, "{attach}: {handoff:#}");
        }
        // Without one, the same handoff is as before.
        lab.json(&["handoff", "mn1", place.as_str().expect("a router")]);
        lab.down();
    }
}

#[test]
fn in_the_gap_a_node_is_nowhere_and_cannot_be_moved() {
    let lab = Lab::up(topology("topologies/grid-small.yaml"), &["--gap", "60s"]);
    let mut events = Events::of(&lab);
    let mut handoff = Command::new(samp_lab());
    handoff
        .args(["--lab", lab.name(), "handoff", "mn1", "ar-3-3"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut handoff = handoff.spawn().expect("samp-lab can be started");
    events.wait("the gap", |record| record["event"] == "detached" && record["node"] == "mn1");
    assert_eq!(lab.json(&["inspect", "mn1"])["attached_to"], Value::Null);
    let refused = lab.run(&["handoff", "mn1", "ar-0-0"]);
    assert_eq!(refused.status.code(), Some(5));
    let error = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(error.contains("in the gap of a handoff"), "{error}");
    // Another one moves all the same, and nobody waits for the end of the gap.
    lab.json(&["handoff", "mn2", "ar-3-3", "--gap", "0"]);
    lab.down();
    assert_eq!(handoff.wait().expect("a child").code(), Some(1));
}

#[test]
fn an_experiment_has_a_gap_of_its_own() {
    let dir = std::env::temp_dir().join(format!("samp-gap-{}", std::process::id()));
    fs::create_dir(&dir).expect("a directory");
    let line = topology("topologies/line.yaml");
    let line = line.canonicalize().expect("it is shipped");
    let text = format!(
        "topology: {}\ntimeline:\n- handoff: {{ moves: [[mn1, ar2]], interval: 1ms, gap: 40ms }}\n\
         - handoff: {{ moves: [[mn1, ar1]], interval: 1ms }}\n",
        line.display()
    );
    let file = dir.join("gap.yaml");
    fs::write(&file, text).expect("a file");
    let out = dir.join("run");
    let output = run([
        "--quiet".as_ref(),
        "run".as_ref(),
        file.as_os_str(),
        "--gap".as_ref(),
        "90ms".as_ref(),
        "--out".as_ref(),
        out.as_os_str(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(out.join(name)).expect("a file")).expect("JSON")
    };
    let handoffs = read("summary.json")["each"]["handoffs"].clone();
    for (index, gap) in [40.0, 90.0].into_iter().enumerate() {
        assert!(segment(&handoffs[index]["registration"], "l2", gap) >= gap, "{handoffs:#}");
    }
    assert_eq!(read("provenance.json")["emulation"]["gap"]["nanos"], 90_000_000);
    fs::remove_dir_all(&dir).expect("it can be removed");
}
