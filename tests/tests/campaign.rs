//! Experiments of many runs, in labs and simulated.

use samp_tests::lab::{TemporaryFile, run, stdout, topology, unique_name};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Where an experiment writes to; removed in the end.
struct Results(PathBuf);

impl Results {
    fn new() -> Self {
        Self(std::env::temp_dir().join(unique_name()))
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn json(&self, name: &str) -> Value {
        let path = self.0.join(name);
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("JSON")
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // A test that fails may not have got so far.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An experiment with this head on a shipped topology.
fn experiment(on: &str, head: &str, timeline: &str) -> TemporaryFile {
    let on = topology(on);
    TemporaryFile::new(&format!("topology: {}\n{head}\ntimeline:\n{timeline}\n", on.display()))
}

fn of_grid(head: &str) -> TemporaryFile {
    let steps = "  - call: { count: 2 }\n  - handoff: { count: 4, interval: 100ms }";
    experiment("topologies/grid-small.yaml", head, steps)
}

const FACTORS: &str = "\
seed: 7
set: { samp.delta: 14ms }
factors:
  hr:
    on: {}
    off: { samp.hierarchical_registration: false }
  grid.link.one_way_delay: [1ms, 2ms]
repetitions: 2";

fn path(file: &TemporaryFile) -> &str {
    file.path().to_str().expect("UTF-8")
}

#[test]
fn every_cell_is_simulated_as_often_as_wished_the_same_on_any_number_of_threads() {
    let file = of_grid(FACTORS);
    let [one, many] = [Results::new(), Results::new()];
    let text = stdout(run(["sim", path(&file), "--out", one.text(), "--jobs", "1"]));
    assert!(text.contains("4 cells, 8 valid runs, 0 invalid, 0 failed"), "{text}");
    stdout(run(["--quiet", "sim", path(&file), "--out", many.text(), "--jobs", "4"]));

    let cells = one.json("cells.json");
    assert_eq!(cells, many.json("cells.json"));
    let cells = cells.as_array().expect("a list");
    let levels: Vec<_> = cells
        .iter()
        .map(|cell| [&cell["levels"]["hr"], &cell["levels"]["grid.link.one_way_delay"]])
        .collect();
    assert_eq!(levels, [["on", "1ms"], ["on", "2ms"], ["off", "1ms"], ["off", "2ms"]]);
    for cell in cells {
        let runs = cell["runs"].as_array().expect("a list");
        let seeds: Vec<_> = runs.iter().map(|run| run["seed"].as_u64().expect("a seed")).collect();
        assert_eq!(seeds, [7, 8]);
        for run in runs {
            assert_eq!((&run["state"], &run["invalid_because"]), (&"done".into(), &Value::Array(vec![])));
            let directory = run["directory"].as_str().expect("a path");
            let records = |results: &Results| {
                fs::read(results.0.join(directory).join("records.jsonl")).expect("records")
            };
            assert_eq!(records(&one), records(&many), "{directory}");
            let topology = one.json(&format!("{directory}/topology.json"));
            let on = cell["levels"]["hr"] == "on";
            assert_eq!(topology["samp"]["hierarchical_registration"], on);
            assert_eq!(topology["samp"]["delta"]["nanos"], 14_000_000);
            assert_eq!(one.json(&format!("{directory}/summary.json"))["valid"], true);
        }
    }
    assert_eq!(one.json("experiment.json")["factors"][0]["levels"][1], "off");
}

#[test]
fn labs_are_run_one_after_the_other() {
    let steps = "  - handoff: { moves: [[mn1, ar2]], interval: 10ms }";
    let file = experiment("topologies/line.yaml", "factors: { samp.delta: [20ms, 40ms] }", steps);
    let results = Results::new();
    let text = stdout(run(["run", path(&file), "--out", results.text()]));
    assert!(text.contains("2 cells, 2 valid runs"), "{text}");
    for (directory, delta) in [("001-20ms", 20), ("002-40ms", 40)] {
        let topology = results.json(&format!("cells/{directory}/1/topology.json"));
        assert_eq!(topology["samp"]["delta"]["nanos"], delta * 1_000_000);
        let summary = results.json(&format!("cells/{directory}/1/summary.json"));
        assert_eq!(summary["handoffs"]["complete"], 1);
    }
    assert!(results.json("provenance.json")["emulation"]["links"].is_string());
    let keep = run(["run", path(&file), "--keep"]);
    assert_eq!(keep.status.code(), Some(2));
}

#[test]
fn a_dry_run_shows_the_cells_and_the_time() {
    let file = of_grid(FACTORS);
    let results = Results::new();
    let text = stdout(run(["run", "--dry-run", path(&file), "--out", results.text()]));
    assert!(text.starts_with("experiment ") && text.contains(": 4 cells, 8 runs, about 19 s\n"), "{text}");
    assert!(text.contains("003-off-1ms") && text.contains("7–8"), "{text}");
    assert!(!results.0.exists());
    let json = stdout(run(["--format", "json", "sim", "--dry-run", path(&file)]));
    let preview: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&preview["runs"], &preview["seconds"]), (&8.into(), &3.2.into()));
    assert!(!Path::new("runs").exists());
}
