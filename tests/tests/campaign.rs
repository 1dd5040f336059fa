//! Experiments of many runs, in labs and simulated.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use samp_tests::lab::{TemporaryFile, run, samp_lab, stdout, topology, unique_name};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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
fn labs_are_run_one_after_the_other_and_what_is_whole_stays_when_somebody_interrupts() {
    let steps = "  - handoff: { moves: [[mn1, ar2]], interval: 1s }";
    let file = experiment("topologies/line.yaml", "factors: { samp.delta: [20ms, 40ms] }", steps);
    let results = Results::new();
    let mut child = Command::new(samp_lab())
        .args(["--quiet", "run", path(&file), "--out", results.text()])
        .stdout(Stdio::null())
        .spawn()
        .expect("samp-lab can be started");
    let states = || -> Option<Vec<Value>> {
        let cells: Value = serde_json::from_slice(&fs::read(results.0.join("cells.json")).ok()?).ok()?;
        Some(cells.as_array()?.iter().map(|cell| cell["runs"][0]["state"].clone()).collect())
    };
    while states().is_none_or(|states| states[0] != "done") {
        assert_eq!(child.try_wait().expect("a child"), None, "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it can be interrupted");
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    assert_eq!(states(), Some(vec!["done".into(), "pending".into()]));
    let first = results.0.join("cells/001-20ms/1/records.jsonl");
    let before = fs::read(&first).expect("records");

    let text = stdout(run(["run", path(&file), "--resume", results.text()]));
    assert!(text.contains("2 cells, 2 valid runs"), "{text}");
    assert_eq!(fs::read(&first).expect("records"), before);
    for (directory, delta) in [("001-20ms", 20), ("002-40ms", 40)] {
        let topology = results.json(&format!("cells/{directory}/1/topology.json"));
        assert_eq!(topology["samp"]["delta"]["nanos"], delta * 1_000_000);
        let summary = results.json(&format!("cells/{directory}/1/summary.json"));
        assert_eq!(summary["handoffs"]["complete"], 1);
    }
    assert!(results.json("provenance.json")["emulation"]["links"].is_string());
    assert_eq!(run(["run", path(&file), "--keep"]).status.code(), Some(2));

    // What a lab and what the simulator has made are not one thing.
    let simulated = Results::new();
    assert_eq!(run(["sim", path(&file), "--resume", results.text()]).status.code(), Some(5));
    stdout(run(["--quiet", "sim", path(&file), "--out", simulated.text()]));
    assert_eq!(run(["compare", results.text(), simulated.text()]).status.code(), Some(5));
    let forced = stdout(run(["--format", "json", "compare", results.text(), simulated.text(), "--force"]));
    let forced: Value = serde_json::from_str(&forced).expect("JSON");
    assert_eq!(forced["cells"].as_array().map(Vec::len), Some(2), "{forced:#}");
}

#[test]
fn an_experiment_is_resumed_only_when_it_is_the_same() {
    let head = "factors: { samp.delta: [20ms, 40ms] }\nrepetitions: 2";
    let file = of_grid(head);
    let results = Results::new();
    stdout(run(["--quiet", "sim", path(&file), "--out", results.text()]));
    let summary = fs::read_to_string(results.0.join("summary.json")).expect("a summary");
    // As if it had been broken off in the third run.
    let lost = results.0.join("cells/002-40ms/1");
    fs::rename(&lost, results.0.join("cells/002-40ms/1.partial")).expect("it can be renamed");
    let cells = fs::read_to_string(results.0.join("cells.json")).expect("the cells");
    let mut broken: Value = serde_json::from_str(&cells).expect("JSON");
    broken[1]["runs"][0]["state"] = "pending".into();
    // And killed after another run was whole, and before that was noted.
    broken[1]["runs"][1]["state"] = "pending".into();
    fs::write(results.0.join("cells.json"), broken.to_string()).expect("it can be written");

    let told = run(["sim", path(&file), "--resume", results.text()]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("1 of 1: cells/002-40ms/1 valid"), "{told:?}");
    stdout(told);
    assert!(lost.join("summary.json").exists() && !lost.with_extension("partial").exists());
    assert_eq!(fs::read_to_string(results.0.join("cells.json")).expect("the cells"), cells);
    assert_eq!(fs::read_to_string(results.0.join("summary.json")).expect("a summary"), summary);

    let other = of_grid(&head.replace("40ms", "30ms"));
    let refused = run(["sim", path(&other), "--resume", results.text()]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("its files have changed"), "{refused:?}");
    let single = experiment("topologies/line.yaml", "", "  - wait: 1ms");
    assert_eq!(run(["sim", path(&single), "--resume", results.text()]).status.code(), Some(2));
    let nowhere = Results::new();
    assert_eq!(run(["sim", path(&file), "--resume", nowhere.text()]).status.code(), Some(3));
}

#[test]
fn what_is_asserted_decides_the_exit_code() {
    let head = "\
factors: { hr: { on: {}, off: { samp.hierarchical_registration: false } } }
repetitions: 2
assert:
  - call.ser >= 99%
  - handoff.total.n == 8
  - call.srd.max < 1us for hr = off";
    let file = of_grid(head);
    let results = Results::new();
    let junit = results.0.with_extension("xml");
    let output =
        run(["sim", path(&file), "--out", results.text(), "--junit", junit.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("\n4 of 5 assertions hold\n"), "{text}");
    assert!(text.contains("ASSERTION FAILED: 002-off: call.srd.max < 1us for hr = off: it is "), "{text}");
    let xml = fs::read_to_string(&junit).expect("a JUnit file");
    fs::remove_file(&junit).expect("it can be removed");
    assert!(xml.contains("tests=\"9\" failures=\"1\" errors=\"0\""), "{xml}");

    let summary = results.json("summary.json");
    assert_eq!(summary["assertions"].as_array().map(Vec::len), Some(5));
    let total = &summary["cells"][0]["metrics"][0];
    assert_eq!((&total["metric"], &total["n"]), (&"handoff.total".into(), &8.into()));
    let [low, high] = [0, 1].map(|end| total["p50_ci95"][end].as_f64().expect("a bound"));
    assert!(low <= total["p50"].as_f64().expect("a median") && low <= high, "{total:#}");
    let effects = summary["effects"].as_array().expect("a list");
    let effect = effects.iter().find(|effect| effect["metric"] == "registration.rrd").expect("an effect");
    assert_eq!(
        (&effect["level"], &effect["baseline"], &effect["pairs"]),
        (&"off".into(), &"on".into(), &2.into())
    );
    // Who tells the home server each time waits longer, but not at the median.
    assert!(effect["cliffs_delta"].as_f64() > Some(0.05) && effect["ci95"][0] == 0.0, "{effect:#}");

    // One run may assert something, too.
    let single = experiment(
        "topologies/line.yaml",
        "assert: [handoff.complete >= 100%, call.ser > 0%]",
        "  - wait: 1ms",
    );
    let one = Results::new();
    let output = run(["sim", path(&single), "--out", one.text()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("call.ser > 0%: nothing was measured"));
}

#[test]
fn runs_cells_and_experiments_are_compared() {
    let [file, other] = [of_grid("seed: 7"), of_grid("seed: 7\nset: { grid.link.one_way_delay: 4ms }")];
    let [first, second] = [Results::new(), Results::new()];
    stdout(run(["--quiet", "sim", path(&file), "--out", first.text()]));
    stdout(run(["--quiet", "sim", path(&other), "--out", second.text()]));
    let compared = |first: &str, second: &str| -> Value {
        serde_json::from_str(&stdout(run(["--format", "json", "compare", first, second]))).expect("JSON")
    };
    let same = compared(first.text(), first.text());
    let differences = same["cells"][0]["differences"].as_array().expect("a list").clone();
    assert!(differences.len() > 10 && differences.iter().all(|one| one["difference"] == 0.0), "{same:#}");
    let metrics = first.json("summary.json")["metrics"].as_array().expect("a list").clone();
    for (name, share) in [("call.ser", 100.0), ("call.seer", 100.0), ("call.isa", 0.0), ("call.scr", 100.0)] {
        let metric = metrics.iter().find(|metric| metric["metric"] == name).expect("a metric");
        assert_eq!((&metric["percent"], &metric["all"]), (&share.into(), &2.into()), "{metric:#}");
    }
    let slower = compared(first.text(), second.text());
    let differences = slower["cells"][0]["differences"].as_array().expect("a list");
    let srd = differences.iter().find(|one| one["metric"] == "call.srd").expect("a metric");
    assert!(srd["difference"].as_f64() > Some(5.0) && srd["cliffs_delta"].as_f64() > Some(0.5), "{srd:#}");

    let file = of_grid("seed: 7\nfactors: { grid.link.one_way_delay: [2ms, 4ms] }");
    let cells = Results::new();
    stdout(run(["--quiet", "sim", path(&file), "--out", cells.text()]));
    let cell = |name: &str| cells.0.join("cells").join(name).to_str().expect("UTF-8").to_owned();
    let of_cells = compared(&cell("001-2ms"), &cell("002-4ms"));
    assert_eq!(of_cells["cells"][0]["differences"], slower["cells"][0]["differences"]);
    let all = compared(cells.text(), cells.text());
    assert_eq!(all["cells"].as_array().map(Vec::len), Some(2));
    assert_eq!(run(["compare", cells.text(), first.text()]).status.code(), Some(5));
    assert_eq!(run(["compare", cells.text(), "/nowhere"]).status.code(), Some(3));
    assert_eq!(run(["compare", cells.text()]).status.code(), Some(2));
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

#[test]
fn the_shipped_experiments_answer_their_questions() {
    // What each asserts itself holds; beside that, in which direction its factor works.
    for (name, level, metric, more) in [
        ("hierarchical", "off", "handoff.registration", true),
        ("delta", "20ms", "handoff.registration_new_anchor", true),
        ("anchor", "fastest", "handoff.registration_new_anchor", false),
        ("discover", "ahead", "handoff.registration_new_anchor", false),
        ("confirm", "paper", "handoff.registration_new_anchor", false),
        ("cache-lifetime", "60s", "call.srd", true),
        ("stale", "parallel", "call.srd_tier1_stale", false),
    ] {
        let file = topology(&format!("experiments/{name}.yaml"));
        let results = Results::new();
        stdout(run(["--quiet", "sim", file.to_str().expect("UTF-8"), "--out", results.text()]));
        let summary = results.json("summary.json");
        let effects = summary["effects"].as_array().expect("a list");
        let is_meant = |effect: &&Value| effect["level"] == level && effect["metric"] == metric;
        let effect = effects.iter().find(is_meant).unwrap_or_else(|| panic!("{name}: {effects:#?}"));
        let difference = effect["difference"].as_f64().expect("a number");
        assert!(difference != 0.0 && (difference > 0.0) == more, "{name}: {effect:#}");
    }
}
