//! The other protocols by the command line: SIP mobility in a real lab, all of them in virtual time. Mobile IP in labs is in
//! `mobile_ip.rs`.

use samp_tests::lab::{TemporaryFile, run, stdout};
use samp_tests::{Lab, topology};
use serde_json::Value;
use std::fs;

/// The shipped city with this before it.
fn city(head: &str) -> TemporaryFile {
    let shipped = fs::read_to_string(topology("topologies/grid-small.yaml")).expect("it is shipped");
    TemporaryFile::new(&format!("{head}\n{shipped}"))
}

#[test]
fn sip_mobility_runs_in_a_lab_with_one_registrar() {
    let file = city("protocol: sip\nmobility: { agent: s3 }");
    let lab = Lab::up(file.path(), &[]);
    let ring = lab.json(&["ring"]);
    let servers: Vec<_> = ring.as_array().expect("a list").iter().map(|server| &server["server"]).collect();
    assert_eq!(servers, ["s3"], "{ring:#}");
    let call = lab.json(&["call", "mn1", "mn8"]);
    assert_eq!((&call["outcome"], &call["cache"]), (&"established".into(), &"unused".into()), "{call:#}");
    for place in ["ar-1-0", "ar-3-0", "ar-3-3"] {
        let handoff = lab.json(&["handoff", "mn1", place]);
        assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
        assert_eq!(handoff["calls"].as_array().map(Vec::len), Some(1));
        let segments = handoff["registration"]["segments"].as_array().expect("a list").iter();
        let names: Vec<_> = segments.map(|segment| segment["segment"].as_str().expect("a name")).collect();
        assert_eq!(names.last(), Some(&"registration_home"), "{names:?}");
    }
    lab.json(&["hangup"]);
    // Who has moved is found, by way of the registrar.
    let call = lab.json(&["call", "mn8", "mn1"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    assert_eq!(call["path"].as_array().map(Vec::len), Some(1));
    lab.down();
}

#[test]
fn an_experiment_in_virtual_time_is_the_same_for_every_protocol() {
    for (protocol, knobs) in [
        ("samp", ""),
        ("mipv6", ""),
        ("mipv6", "mobility: { route_optimization: true, ha: dynamic }"),
        ("hmipv6", "mobility: { agent: s2 }"),
        ("sip", ""),
    ] {
        let file = city(&format!("family: ipv6\nprotocol: {protocol}\n{knobs}"));
        let name = file.path().file_name().and_then(|name| name.to_str()).expect("a name");
        let experiment = TemporaryFile::new(&format!(
            "topology: {name}\ntimeline:\n  - call: {{ count: 3 }}\n  - handoff: {{ count: 12, interval: 200ms }}\n  - hang_up: all\n"
        ));
        let out = experiment.path().with_extension("run");
        let [file, out] = [experiment.path(), &out].map(|path| path.to_str().expect("UTF-8"));
        let finished: Value =
            serde_json::from_str(&stdout(run(["--quiet", "--format", "json", "sim", file, "--out", out])))
                .expect("JSON");
        fs::remove_dir_all(out).expect("the run's directory");
        assert_eq!(finished["valid"], true, "{protocol} {knobs}: {finished:#}");
        let handoffs = &finished["handoffs"];
        assert_eq!((&handoffs["n"], &handoffs["complete"]), (&12.into(), &12.into()), "{protocol} {knobs}");
        assert_eq!(finished["calls"]["established"], 3, "{protocol} {knobs}");
    }
}
