//! How handoffs break and make, and what tells the mobile node: gaps in which it is attached nowhere, and triggers.

use samp_tests::lab::run;
use samp_tests::{Events, Lab, TemporaryFile, samp_lab, topology};
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
    assert!(error.contains("in the middle of a handoff"), "{error}");
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

/// The names of the segments from the detachment to the address.
#[track_caller]
fn head(handoff: &Value) -> Vec<String> {
    assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
    let segments = handoff["registration"]["segments"].as_array().expect("segments").iter();
    let mut names = segments.map(|segment| segment["segment"].as_str().expect("a name").to_owned());
    let mut head: Vec<_> = names.by_ref().take_while(|name| name != "address").collect();
    head.push("address".to_owned());
    head
}

#[test]
fn a_node_that_is_told_nothing_hears_its_carrier() {
    for (attach, gap) in [("switch", "0"), ("switch", "100ms"), ("move", "0")] {
        let flags = ["--attach", attach, "--trigger", "carrier", "--gap", gap, "--family", "dual"];
        let lab = Lab::up(topology("topologies/line.yaml"), &flags);
        let call = lab.json(&["call", "mn1", "mn2"]);
        assert_eq!(call["outcome"], "established", "{call:#}");
        for to in ["ar2", "ar1", "ar2"] {
            let handoff = lab.json(&["handoff", "mn1", to]);
            assert_eq!(head(&handoff), ["l2", "attach_cost", "movement_detection", "address"]);
            assert_eq!(handoff["calls"].as_array().map(Vec::len), Some(1), "{handoff:#}");
        }
        lab.down();
    }
}

#[test]
fn a_carrier_brings_what_dhcp_needs() {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    let file = TemporaryFile::new(&format!(
        "addressing: {{ address: dhcp, profile: fast }}\nemulation: {{ trigger: carrier }}\n{text}"
    ));
    let lab = Lab::up(file.path(), &[]);
    let expected = ["l2", "attach_cost", "movement_detection", "dhcp_delay", "dhcp_ack", "address"];
    assert_eq!(head(&lab.json(&["handoff", "mn1", "ar2"])), expected);
    lab.down();
}

#[test]
fn a_node_that_is_told_nothing_hears_another_router() {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    // Without a delay the kernel has the radio links, where it lets labs have them.
    for radio in ["1ms", "0"] {
        let text =
            text.replace("radio: { one_way_delay: 1ms }", &format!("radio: {{ one_way_delay: {radio} }}"));
        let file = TemporaryFile::new(&format!(
            "family: ipv6\naddressing: {{ address: slaac, profile: fast }}\nemulation: {{ trigger: ra }}\n{text}"
        ));
        let lab = Lab::up(file.path(), &[]);
        let call = lab.json(&["call", "mn1", "mn2"]);
        assert_eq!(call["outcome"], "established", "{call:#}");
        for to in ["ar2", "ar1", "ar2"] {
            // It asks nobody: until an advertisement comes, it does not know that it has moved.
            let handoff = lab.json(&["handoff", "mn1", to]);
            let expected = ["l2", "attach_cost", "movement_detection", "ra_unsolicited", "address"];
            assert_eq!(head(&handoff), expected, "{handoff:#}");
            assert_eq!(lab.json(&["inspect", "mn1"])["address"], handoff["address"]);
        }
        lab.down();
    }
}

#[test]
fn triggers_that_cannot_work_are_refused() {
    let line = topology("topologies/line.yaml");
    let refused = run(["plan".as_ref(), line.as_os_str(), "--trigger".as_ref(), "ra".as_ref()]);
    assert_eq!(refused.status.code(), Some(3));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("with `address: slaac` only") && error.contains("leave `trigger` out"), "{error}");
}

#[test]
fn a_node_is_told_before_its_link_goes_down() {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    let file = TemporaryFile::new(&format!("samp: {{ discover: ahead }}\n{text}"));
    for flags in [&["--going-down", "60ms"][..], &["--going-down", "60ms", "--gap", "30ms"]] {
        let lab = Lab::up(file.path(), flags);
        let handoff = lab.json(&["handoff", "mn1", "ar2"]);
        assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
        let before = handoff["going_down_ms"].as_f64().expect("it was told");
        // From the telling to the detachment; the node may have heard it late.
        assert!((0.0..10_000.0).contains(&before), "{handoff:#}");
        let mut events = Events::of(&lab);
        let told = events.wait("a hint", |record| record["event"] == "link_going_down");
        assert_eq!(
            (&told["node"], &told["handoff"], &told["access_router"]),
            (&"mn1".into(), &1.into(), &"ar2".into())
        );
        lab.down();
    }
}

#[test]
fn make_before_break_loses_nothing_either_way() {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    let file = TemporaryFile::new(&format!("media: {{ packet_interval: 1ms, payload_bytes: 20 }}\n{text}"));
    for family in ["ipv4", "ipv6"] {
        // Long enough for the session update, however slow the machine.
        let lab = Lab::up(file.path(), &["--make-before-break", "3s", "--family", family]);
        let call = lab.json(&["call", "mn1", "mn2"]);
        assert_eq!(call["outcome"], "established", "{call:#}");
        for to in ["ar2", "ar1"] {
            let handoff = lab.json(&["handoff", "mn1", to]);
            assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
            assert!(handoff["kept_ms"].as_f64().expect("a time") >= 3000.0, "{handoff:#}");
            assert_eq!(lab.json(&["inspect", "mn1"])["address"], handoff["address"]);
        }
        lab.json(&["hangup"]);
        let mut events = Events::of(&lab);
        for node in ["mn1", "mn2"] {
            let heard = events.wait("what was heard", |record| {
                record["event"] == "media_summary" && record["node"] == node
            });
            assert_eq!(heard["lost"], 0, "{family}: {heard:#}");
            // Two handoffs of 3 s each, at 1,000 packets/s.
            assert!(heard["received"].as_u64().expect("a count") > 3000, "{family}: {heard:#}");
            events = Events::of(&lab);
        }
        lab.down();
    }
}

#[test]
fn a_gap_and_make_before_break_exclude_each_other() {
    let line = topology("topologies/line.yaml");
    let flags = ["--make-before-break", "50ms", "--gap", "20ms"].map(AsRef::as_ref);
    let refused = run(["plan".as_ref(), line.as_os_str()].into_iter().chain(flags));
    assert_eq!(refused.status.code(), Some(3));
    let lab = Lab::up(&line, &["--make-before-break", "50ms"]);
    let refused = lab.run(&["handoff", "mn1", "ar2", "--gap", "20ms"]);
    assert!(!refused.status.success());
    lab.json(&["handoff", "mn1", "ar2"]);
    lab.down();
}

#[test]
fn the_kernels_switch_serves_radio_links_without_delay() {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    let radio = "radio: { one_way_delay: 1ms }";
    assert!(text.contains(radio));
    let file = TemporaryFile::new(&text.replace(radio, "radio: { one_way_delay: 0 }"));
    let plan = run(["plan".as_ref(), file.path().as_os_str(), "--attach".as_ref(), "bpf".as_ref()]);
    let expected = if plan.status.success() { "bpf" } else { "switch" };
    for flags in [&["--family", "ipv4"][..], &["--family", "ipv6", "--trigger", "carrier"]] {
        let lab = Lab::up(file.path(), flags);
        assert_eq!(lab.json(&["inspect"])["emulation"]["attach"], expected);
        let call = lab.json(&["call", "mn1", "mn2"]);
        assert_eq!(call["outcome"], "established", "{call:#}");
        for to in ["ar2", "ar1", "ar2"] {
            let handoff = lab.json(&["handoff", "mn1", to]);
            assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
            assert_eq!(handoff["frames_dropped"], 0, "nothing is on the air: {handoff:#}");
        }
        // It could not do that.
        assert_eq!(lab.run(&["link", "mn1", "--loss", "5%"]).status.success(), expected == "switch");
        lab.down();
    }
    // A radio link with a delay is the delay line's.
    let line = topology("topologies/line.yaml");
    let refused = run(["plan".as_ref(), line.as_os_str(), "--attach".as_ref(), "bpf".as_ref()]);
    assert_eq!(refused.status.code(), Some(3));
}
