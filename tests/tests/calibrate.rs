//! Calibration: probes find out what links do, whatever the lab says.
//!
//! Where a lab has to be found healthy, the limits are so wide that no busy machine exceeds them.

use samp_tests::lab::{TemporaryFile, run, unique_name};
use samp_tests::{Lab, topology};
use serde_json::Value;
use std::fs;

const WIDE: [&str; 5] = ["calibrate", "--tolerance", "20s", "--cpu-wait", "60s"];

/// Where everything is tolerated but loss.
#[track_caller]
fn calibrate(lab: &Lab) -> Value {
    lab.json(&WIDE)
}

/// What a calibration that ends with exit code 7 says.
#[track_caller]
fn invalid(lab: &Lab, options: &[&str]) -> Value {
    let output = lab.run(options);
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The direction from one node to another.
#[track_caller]
fn direction<'a>(calibration: &'a Value, from: &str, to: &str) -> &'a Value {
    let mut directions = calibration["directions"].as_array().expect("a list").iter();
    directions.find(|it| it["from"] == from && it["to"] == to).expect("the direction")
}

fn reasons(calibration: &Value) -> String {
    calibration["invalid_because"].to_string()
}

#[test]
fn a_healthy_lab_passes() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    lab.json(&["link", "ar1--ar2", "--delay", "7ms", "--one-way"]);
    let calibration = calibrate(&lab);
    assert_eq!((&calibration["valid"], reasons(&calibration).as_str()), (&Value::Bool(true), "[]"));
    // Two routers and a server in line, and two mobile nodes: both ways of each link, also of the radio links.
    let directions = calibration["directions"].as_array().expect("a list");
    assert_eq!(directions.len(), 2 * lab.json(&["link"]).as_array().expect("links").len());
    for direction in directions {
        assert_eq!((&direction["probes"], &direction["lost"]), (&Value::from(200), &Value::from(0)));
        let [expected, measured] = ["expected", "measured"].map(|of| direction[of]["p50_ms"].as_f64());
        assert!(measured >= expected, "nothing is faster than its delay: {direction:#}");
    }
    let there = direction(&calibration, "ar1", "ar2");
    assert_eq!(there["expected"]["p50_ms"], 7.0);
    assert!(there["measured"]["p50_ms"].as_f64() >= Some(7.0));
    assert_ne!(direction(&calibration, "ar2", "ar1")["expected"]["p50_ms"], 7.0);
    assert!(direction(&calibration, "ar1", "mn1")["measured"]["p50_ms"].is_number());
    lab.down();
}

#[test]
fn what_changed_behind_the_labs_back_is_found() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    lab.exec("ar1", &["ip", "link", "set", "to-ar2", "down"]);
    let calibration = invalid(&lab, &WIDE);
    let reasons = reasons(&calibration);
    assert!(reasons.contains("link from ar1 to ar2: 200 of 200 probes lost instead of 0.0 %"), "{reasons}");
    assert_eq!(calibration["valid"], false);
    assert_eq!(direction(&calibration, "ar1", "ar2")["measured"]["p50_ms"], Value::Null);
    assert_eq!(direction(&calibration, "ar1", "s1")["faults"], serde_json::json!([]));
    lab.down();
}

#[test]
fn what_is_out_of_tolerance_is_told_with_how_far_it_is_off() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    let calibration = invalid(&lab, &["calibrate", "--tolerance", "0", "--cpu-wait", "60s"]);
    let fault = direction(&calibration, "ar1", "ar2")["faults"][0].as_str().expect("a fault").to_owned();
    assert!(fault.starts_with("p50 ") && fault.ends_with("more than configured"), "{fault}");
    assert!(reasons(&calibration).contains(&format!("link from ar1 to ar2: {fault}")));
    lab.down();
}

#[test]
fn jitter_and_loss_are_judged_by_their_distributions() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    let link = ["link", "ar1--ar2", "--delay", "20ms", "--jitter", "5ms", "--loss", "20%"];
    lab.json(&link);
    lab.json(&["link", "mn1", "--loss", "gemodel 5% 20%"]);
    let calibration = calibrate(&lab);
    let there = direction(&calibration, "ar1", "ar2");
    assert_eq!(there["expected"]["loss"].as_f64().map(|loss| (loss * 1e6).round()), Some(2e5));
    let lost = there["lost"].as_u64().expect("a number");
    assert!((1..200).contains(&lost), "{there:#}");
    // Jitter of so much cannot be had by a machine's own.
    let narrow = |figures: &Value| figures["p99_ms"].as_f64().zip(figures["p50_ms"].as_f64());
    let (p99, p50) = narrow(&there["measured"]).expect("figures");
    assert!(p99 - p50 > 2.0, "{there:#}");
    lab.down();
}

#[test]
fn links_that_are_down_are_left_out() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    lab.json(&["link", "ar1--ar2", "down"]);
    let calibration = calibrate(&lab);
    let skipped = serde_json::json!([{ "link": "ar1--ar2", "because": "it is down" }]);
    assert_eq!(
        (&calibration["skipped"], calibration["directions"].as_array().map(Vec::len)),
        (&skipped, Some(6))
    );
    lab.down();
}

#[test]
fn two_do_not_probe_at_once() {
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    // The first waits so long for its probes that the second comes meanwhile.
    lab.json(&["link", "ar1--ar2", "--delay", "8s", "--one-way"]);
    let [one, other] = std::thread::scope(|scope| {
        let lab = &lab;
        [(); 2].map(|()| scope.spawn(|| lab.run(&WIDE))).map(|thread| thread.join().expect("it ends"))
    });
    let mut codes = [&one, &other].map(|output| output.status.code());
    codes.sort();
    assert_eq!(codes, [Some(0), Some(5)], "{}", String::from_utf8_lossy(&other.stdout));
    lab.down();
}

#[test]
fn a_run_is_calibrated_first_and_is_invalid_when_it_fails() {
    let base = std::env::temp_dir().join(format!("samp-calibrate-{}", std::process::id()));
    std::fs::create_dir_all(&base).expect("a directory");
    let file = base.join("wait.yaml");
    let line = topology("topologies/line.yaml");
    let text = format!("topology: {}\ncalibrate: true\ntimeline: [wait: 300ms]\n", line.display());
    std::fs::write(&file, text).expect("the experiment");
    let run_into = |name: &str, tolerance: &str| {
        let out = base.join(name);
        let (file, out) = (file.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
        let words = ["--format", "json", "--quiet", "run", file, "--out", out, "--cpu-wait", "60s"];
        let output = run(words.into_iter().chain(["--tolerance", tolerance]));
        let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let written = std::fs::read(base.join(name).join("calibration.json")).expect("it is written");
        (output.status.code(), summary, serde_json::from_slice::<Value>(&written).expect("JSON"))
    };
    let (code, summary, calibration) = run_into("good", "20s");
    assert_eq!((code, reasons(&summary).as_str()), (Some(0), "[]"));
    assert_eq!(
        (&calibration["before"]["valid"], &calibration["unknown"]),
        (&Value::Bool(true), &Value::Null)
    );
    assert_eq!(summary["calibration"]["directions"], 8);
    assert_eq!(summary["calibration"]["out_of_tolerance"], 0);

    let (code, summary, calibration) = run_into("bad", "0");
    assert_eq!((code, &summary["valid"]), (Some(7), &Value::Bool(false)));
    assert!(reasons(&summary).contains("calibration: link from ar1 to ar2: p50"), "{}", reasons(&summary));
    assert_eq!(calibration["before"]["valid"], false);
    std::fs::remove_dir_all(&base).expect("the results can be removed");
}

#[test]
fn up_says_the_same_of_a_busy_machine_in_json_and_on_standard_error() {
    let (line, name) = (topology("topologies/line.yaml"), unique_name());
    let output = run(["--format", "json", "up", line.to_str().expect("UTF-8"), "--name", &name]);
    run(["down", &name]);
    assert!(output.status.success(), "that the machine is busy is no error");
    let up: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told = String::from_utf8_lossy(&output.stderr);
    match &up["busy"] {
        Value::String(busy) => assert!(told.contains(&format!("trusted: {busy};")), "{told}"),
        busy => assert!(busy.is_null() && !told.contains("warning"), "{told}"),
    }
}

#[test]
fn tunnels_cost_what_the_links_do_not() {
    let shipped = fs::read_to_string(topology("topologies/line.yaml")).expect("it is shipped");
    let file = TemporaryFile::new(&format!("family: ipv6\nprotocol: mipv6\n{shipped}"));
    let lab = Lab::up(file.path(), &[]);
    let calibration = calibrate(&lab);
    let tunnels = calibration["tunnels"].as_array().expect("a list");
    let ends: Vec<_> = tunnels.iter().map(|tunnel| [&tunnel["from"], &tunnel["to"]]).collect();
    assert_eq!(ends, [["mn1", "s1"], ["s1", "mn1"], ["mn2", "s1"], ["s1", "mn2"]]);
    for tunnel in tunnels {
        assert_eq!((&tunnel["passes"], &tunnel["lost"]), (&Value::from(2), &Value::from(0)), "{tunnel:#}");
        assert!(tunnel["cost_ms"].as_f64() > Some(0.0), "nothing is faster than its links: {tunnel:#}");
    }
    lab.down();
}
