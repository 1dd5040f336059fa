//! Periods of experiments: everybody walks and calls in their own time, and the lab keeps up.

use samp_tests::lab::{run, stdout};
use samp_tests::{TemporaryFile, topology};
use serde_json::Value;
use std::fs;

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
    let out = std::env::temp_dir().join(format!("samp-period-{}", std::process::id()));
    let mut figures = Vec::new();
    for command in ["run", "sim"] {
        let (out, file) = (out.to_str().expect("UTF-8"), file.path().to_str().expect("UTF-8"));
        stdout(run(["--quiet", command, file, "--out", out]));
        let summary = fs::read_to_string(format!("{out}/summary.json")).expect("a summary");
        fs::remove_dir_all(out).expect("the results can be removed");
        let summary: Value = serde_json::from_str(&summary).expect("JSON");
        assert_eq!(summary["valid"], true, "{:#}", summary["invalid_because"]);
        let each = |what: &str| summary["each"][what].as_array().expect("a list").clone();
        let (handoffs, calls) = (each("handoffs"), each("calls"));
        assert!(handoffs.iter().all(|handoff| handoff["missing"] == Value::Array(vec![])), "{handoffs:#?}");
        let moves: Vec<_> =
            handoffs.iter().map(|handoff| (handoff["node"].clone(), handoff["to"].clone())).collect();
        let mut callers: Vec<_> =
            calls.iter().map(|call| format!("{} {}", call["caller"], call["callee"])).collect();
        callers.sort();
        assert!(!callers.is_empty() && !each("interventions").is_empty(), "{summary:#}");
        figures.push((moves, callers));
    }
    // Two steps each, but for those that stay where they are drawn to; the same in both.
    assert!((9..=16).contains(&figures[0].0.len()), "{figures:#?}");
    let sorted = |(moves, callers): &(Vec<(Value, Value)>, Vec<String>)| {
        let mut moves: Vec<_> = moves.iter().map(|(node, to)| format!("{node} {to}")).collect();
        moves.sort();
        (moves, callers.clone())
    };
    assert_eq!(sorted(&figures[0]), sorted(&figures[1]));
}
