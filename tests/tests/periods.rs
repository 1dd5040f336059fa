//! Periods of experiments: everybody moves and calls in their own time, and the lab keeps up.

use samp_tests::lab::{run, stdout, unique_name};
use samp_tests::{TemporaryFile, topology};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_crowd_walks_and_calls_and_everything_comes_to_its_end() {
    let grid = topology("topologies/grid-small.yaml");
    let text = fs::read_to_string(topology("experiments/hotspot.yaml")).expect("the shipped experiment");
    let text = text
        .replace("../topologies/grid-small.yaml", grid.to_str().expect("UTF-8"))
        .replace("lasts: 20s", "lasts: 4s")
        .replace("after: 8s", "after: 1s")
        .replace("calls: { interval: 10s, lasts: 5s }", "calls: { interval: 4s, lasts: 1s }");
    let file = TemporaryFile::new(&text);
    let figures = in_lab_and_simulator(file.path());
    // Two steps each, but for those that stay where they are drawn to; the same in both.
    assert!((9..=16).contains(&figures[0].0.len()), "{figures:#?}");
    assert!(figures.iter().all(|(_, callers)| !callers.is_empty()), "{figures:#?}");
    assert_eq!(figures[0], figures[1]);
}

#[test]
fn paths_over_the_map_are_the_same_in_both() {
    let grid = topology("topologies/grid-small.yaml");
    let text = fs::read_to_string(topology("experiments/waypoint.yaml")).expect("the shipped experiment");
    let (head, tail) = text.split_once("factors:").expect("the shipped experiment");
    let timeline = tail.split_once("timeline:").expect("the shipped experiment").1;
    let text = format!("{head}timeline:{timeline}")
        .replace("../topologies/grid-small.yaml", grid.to_str().expect("UTF-8"))
        .replace("hysteresis: 0", "hysteresis: 20")
        .replace("speed: 20m/s, pause: 5s", "speed: 30m/s, pause: 1s")
        .replace("lasts: 60s", "lasts: 6s");
    let file = TemporaryFile::new(&text);
    let figures = in_lab_and_simulator(file.path());
    assert!(figures[0].0.len() > 4, "{figures:#?}");
    assert_eq!(figures[0], figures[1]);
}

#[test]
fn a_trace_is_followed_and_goes_along_in_a_bundle() {
    let [lab, simulator] = in_lab_and_simulator(&topology("experiments/trace.yaml"));
    assert_eq!(lab, simulator);
    // Four nodes board, and go four stops; who is at the first one already need not move.
    let of = |node: &str| lab.0.iter().filter(|moved| moved.starts_with(&format!("{node:?}"))).count();
    assert!(["mn1", "mn2", "mn3", "mn4"].iter().all(|node| [4, 5].contains(&of(node))), "{lab:#?}");
    assert!(lab.0.iter().any(|moved| moved == "\"mn4\" \"ar-3-2\""), "{lab:#?}");

    let out = std::env::temp_dir().join(unique_name());
    let bundle = out.with_extension("tar.gz");
    let [out, bundle] = [&out, &bundle].map(|path| path.to_str().expect("UTF-8"));
    let experiment = topology("experiments/trace.yaml");
    stdout(run(["--quiet", "sim", experiment.to_str().expect("UTF-8"), "--out", out]));
    let told = stdout(run(["--format", "json", "bundle", out, "--out", bundle]));
    let packed: Value = serde_json::from_str(&told).expect("JSON");
    for path in [out, bundle] {
        let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    }
    let files = packed["files"].as_array().expect("files");
    let is_trace = |file: &&Value| file["path"].as_str().is_some_and(|path| path.ends_with("-trace.csv"));
    assert_eq!(files.iter().filter(is_trace).count(), 1, "{packed:#}");
}

/// The moves and calls of an experiment in a lab and in the simulator, each in order.
fn in_lab_and_simulator(experiment: &Path) -> [(Vec<String>, Vec<String>); 2] {
    let out: PathBuf = std::env::temp_dir().join(unique_name());
    let (out, experiment) = (out.to_str().expect("UTF-8"), experiment.to_str().expect("UTF-8"));
    ["run", "sim"].map(|command| {
        stdout(run(["--quiet", command, experiment, "--out", out]));
        let summary = fs::read_to_string(format!("{out}/summary.json")).expect("a summary");
        fs::remove_dir_all(out).expect("the results can be removed");
        let summary: Value = serde_json::from_str(&summary).expect("JSON");
        assert_eq!(summary["valid"], true, "{:#}", summary["invalid_because"]);
        let each = |what: &str| summary["each"][what].as_array().expect("a list").clone();
        let handoffs = each("handoffs");
        assert!(handoffs.iter().all(|handoff| handoff["missing"] == Value::Array(vec![])), "{handoffs:#?}");
        let in_order = |pairs: Vec<Value>, [a, b]: [&str; 2]| {
            let mut pairs: Vec<_> = pairs.iter().map(|pair| format!("{} {}", pair[a], pair[b])).collect();
            pairs.sort();
            pairs
        };
        (in_order(handoffs, ["node", "to"]), in_order(each("calls"), ["caller", "callee"]))
    })
}
