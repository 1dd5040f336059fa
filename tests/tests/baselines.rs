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
        // Both ends of each call are judged, whatever way its media goes.
        let mut metrics = finished["metrics"].as_array().expect("a list").iter();
        let mos = metrics.find(|metric| metric["metric"] == "media.mos").expect("all calls have media");
        assert_eq!(mos["n"], 6, "{protocol} {knobs}: {mos:#}");
    }
}

/// What a run in virtual time says of itself when s1 is killed while everybody walks, and its exit code.
fn without_s1(protocol: &str, unfinished: &str) -> (Value, Option<i32>) {
    let file = city(&format!("protocol: {protocol}"));
    let name = file.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let experiment = TemporaryFile::new(&format!(
        "topology: {name}\nseed: 9\nunfinished: {unfinished}\ntimeline:\n  - period:\n      lasts: 12s\n      \
         walk: {{ interval: 2s }}\n      at: [{{ after: 2s, kill: s1 }}]\n"
    ));
    let out = experiment.path().with_extension("run");
    let [file, out] = [experiment.path(), &out].map(|path| path.to_str().expect("UTF-8"));
    let output = run(["--quiet", "--format", "json", "sim", file, "--out", out]);
    fs::remove_dir_all(out).expect("the run's directory");
    let told = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (told, output.status.code())
}

#[test]
fn without_its_registrar_nobody_has_service_and_without_an_anchor_some_have_none_for_a_while() {
    let (sip, code) = without_s1("sip", "counted");
    assert_eq!((&sip["valid"], code), (&true.into(), Some(0)), "{sip:#}");
    let death = &sip["deaths"][0];
    assert_eq!(death["server"], "s1", "{death:#}");
    assert_eq!((&death["affected"], &death["for_good"]), (&8.into(), &8.into()), "{death:#}");
    let handoffs = |run: &Value, what: &str| run["handoffs"][what].as_u64().expect("a number");
    assert!(handoffs(&sip, "complete") < handoffs(&sip, "n"), "{sip:#}");

    let (samp, code) = without_s1("samp", "counted");
    assert_eq!((&samp["valid"], code), (&true.into(), Some(0)), "{samp:#}");
    let death = &samp["deaths"][0];
    let affected = death["affected"].as_u64().expect("a number");
    assert!((1..8).contains(&affected) && death["for_good"] == 0, "{death:#}");
    assert!(death["outage"]["max_ms"].as_f64().expect("ms") > 0.0, "{death:#}");

    // Unless they are to be counted, the same is a failure.
    let (invalid, code) = without_s1("sip", "invalid");
    assert_eq!((&invalid["valid"], code), (&false.into(), Some(7)), "{invalid:#}");
}
