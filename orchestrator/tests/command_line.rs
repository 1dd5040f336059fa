//! The real program: exit codes, and what is printed where. No lab is brought up here.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs the program in the workspace's root.
fn samp_lab(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_samp-lab"))
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env_remove("SAMP_LAB")
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {}", stdout(output)))
}

/// A scratch path, unique to this process and test.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("samp-lab-cli-{}-{name}", std::process::id()))
}

/// A file with this content; the test removes it.
fn file(name: &str, content: &str) -> PathBuf {
    let path = scratch(name);
    fs::write(&path, content).expect("a scratch file");
    path
}

#[test]
fn help_and_version_are_results() {
    for word in ["--help", "--version"] {
        let output = samp_lab(&[word]);
        assert_eq!((code(&output), stderr(&output)), (0, String::new()));
        assert!(stdout(&output).contains("samp-lab"));
    }
}

#[test]
fn wrong_usage_is_2() {
    for args in [&[][..], &["fly"], &["exec", "mn1"], &["ps", "--format", "yaml"], &["-q", "-v", "ps"]] {
        let output = samp_lab(args);
        assert_eq!((code(&output), stdout(&output)), (2, String::new()), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    let output = samp_lab(&["fly", "--format", "json"]);
    assert_eq!((code(&output), stderr(&output)), (2, String::new()));
    assert!(json(&output)["error"].as_str().expect("an error").contains("fly"));
}

#[test]
fn invalid_files_are_3_and_point_at_the_place() {
    let path = file("bad.yaml", "nodes:\n  ar1: { kind: acess_router }\n");
    let name = path.to_str().expect("UTF-8");
    for command in ["validate", "plan", "up"] {
        let output = samp_lab(&[command, name]);
        assert_eq!((code(&output), stdout(&output)), (3, String::new()));
        let text = stderr(&output);
        assert!(text.contains(&format!("{name}:2:")) && text.contains("access_router"), "{text}");
    }
    let output = samp_lab(&["validate", name, "--format", "json"]);
    assert_eq!((code(&output), stderr(&output)), (3, String::new()));
    let answer = json(&output);
    let first = &answer["diagnostics"][0];
    assert_eq!((&first["path"], &first["line"]), (&Value::from(name), &Value::from(2)));
    assert!(answer["error"].is_string());
    fs::remove_file(path).expect("it is there");
}

#[test]
fn a_file_that_is_missing_is_3_in_every_command_that_takes_one() {
    for command in ["validate", "plan", "up", "run"] {
        let output = samp_lab(&[command, "/nonexistent/lab.yaml"]);
        assert_eq!(code(&output), 3, "{command}: {}", stderr(&output));
        assert!(stderr(&output).contains("/nonexistent/lab.yaml"));
    }
}

#[test]
fn shipped_files_are_valid() {
    for (path, kind) in [
        ("topologies/line.yaml", "topology"),
        ("topologies/grid-small.yaml", "topology"),
        ("experiments/handoff.yaml", "experiment"),
    ] {
        let output = samp_lab(&["validate", path, "--format", "json"]);
        assert_eq!(code(&output), 0, "{path}: {}", stdout(&output));
        assert_eq!(
            (&json(&output)["valid"], &json(&output)["kind"]),
            (&Value::from(true), &Value::from(kind))
        );
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_creates_nothing() {
    let plan = samp_lab(&["plan", "topologies/line.yaml", "--links", "userspace"]);
    let dry = samp_lab(&["up", "--dry-run", "topologies/line.yaml", "--links", "userspace", "--name", "dry"]);
    assert_eq!((code(&plan), code(&dry)), (0, 0), "{}", stderr(&plan));
    assert_eq!(stdout(&plan), stdout(&dry));
    assert!(stdout(&plan).contains("links:  userspace"));
    let listed = json(&samp_lab(&["ps", "--format", "json"]));
    assert!(listed.as_array().expect("a list").iter().all(|lab| lab["name"] != "dry"));
}

#[test]
fn netem_is_there_or_missing_with_a_remedy() {
    let output = samp_lab(&["plan", "topologies/line.yaml", "--links", "netem", "--format", "json"]);
    match code(&output) {
        0 => assert_eq!(json(&output)["emulation"]["links"], "netem"),
        4 => assert!(json(&output)["hint"].as_str().expect("a hint").contains("sch_netem")),
        other => panic!("{other}: {}", stdout(&output)),
    }
}

#[test]
fn results_are_never_overwritten() {
    let dir = scratch("results");
    fs::create_dir(&dir).expect("a scratch directory");
    let path = dir.to_str().expect("UTF-8");
    let output = samp_lab(&["run", "experiments/handoff.yaml", "--out", path]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).contains(path));
    fs::remove_dir(dir).expect("it is still empty");
}

#[test]
fn a_lab_that_does_not_run_is_an_error_with_its_name() {
    for args in [
        &["handoff", "mn1", "ar1"][..],
        &["call", "mn1", "mn2"],
        &["exec", "mn1", "--", "true"],
        &["inspect"],
        &["logs"],
        &["hangup"],
        &["kill", "s1"],
        &["pause", "s1"],
        &["resume", "s1"],
        &["shell", "mn1"],
        &["events"],
        &["ring"],
        &["trace", "mn1"],
        &["link"],
        &["calibrate"],
        &["graph"],
        &["down"],
    ] {
        let lab = ["--lab", "no-such-lab"];
        let output = samp_lab(&[&lab, args].concat());
        assert_eq!((code(&output), stdout(&output)), (1, String::new()), "{args:?}");
        assert!(stderr(&output).contains("no-such-lab"), "{}", stderr(&output));
    }
    assert_eq!(code(&samp_lab(&["down", "no/name"])), 2);
}

#[test]
fn who_stops_reading_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_samp-lab"))
        .args(["plan", "topologies/grid-small.yaml", "--links", "userspace"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
}

#[test]
fn examples_are_listed_and_written_and_never_overwritten() {
    let listed = json(&samp_lab(&["init", "--format", "json"]));
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|example| &example["name"]).collect();
    assert!(names.len() > 1 && stdout(&samp_lab(&["init"])).contains("grid-small"));
    assert_eq!(code(&samp_lab(&["init", "no-such-example"])), 2);
    for name in names {
        let name = name.as_str().expect("a name");
        let dir = scratch(name);
        let path = dir.to_str().expect("UTF-8");
        let written = json(&samp_lab(&["init", name, "--dir", path, "--format", "json"]));
        let main = written["example"].as_str().expect("a path");
        assert_eq!(code(&samp_lab(&["validate", main])), 0, "{name} works by itself");
        // Again: there is nothing to do.
        let again = json(&samp_lab(&["init", name, "--dir", path, "--format", "json"]));
        assert_eq!(again["written"], serde_json::json!([]));

        fs::write(main, "mine").expect("an edited file");
        let refused = samp_lab(&["init", name, "--dir", path]);
        assert_eq!((code(&refused), stdout(&refused)), (5, String::new()));
        assert!(stderr(&refused).contains(main) && stderr(&refused).contains("--force"));
        assert_eq!(fs::read_to_string(main).expect("it is there"), "mine");
        assert_eq!(code(&samp_lab(&["init", name, "--dir", path, "--force"])), 0);
        assert_eq!(code(&samp_lab(&["validate", main])), 0);
        fs::remove_dir_all(dir).expect("the scratch directory");
    }
}

#[test]
fn schemas_are_those_of_the_source_tree() {
    for kind in ["topology", "experiment"] {
        let printed = json(&samp_lab(&["schema", kind]));
        let path = format!("{}/../schema/{kind}.json", env!("CARGO_MANIFEST_DIR"));
        let kept: Value = serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON");
        assert_eq!(printed, kept);
    }
    assert_eq!(stdout(&samp_lab(&["schema"])), stdout(&samp_lab(&["schema", "topology"])));
}

#[test]
fn completions_and_manual_pages_hide_what_only_samp_lab_calls() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = samp_lab(&["completions", shell]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("handoff") && !stdout(&output).contains("__supervisor"), "{shell}");
    }
    assert!(json(&samp_lab(&["completions", "bash", "--format", "json"]))["script"].is_string());
    assert_eq!(code(&samp_lab(&["completions", "cmd"])), 2);

    let page = stdout(&samp_lab(&["man"]));
    assert!(page.contains(".TH samp-lab 1") && page.contains("handoff") && !page.contains("__supervisor"));
    let dir = scratch("man");
    let output = samp_lab(&["man", dir.to_str().expect("UTF-8"), "--format", "json"]);
    let written = json(&output)["written"].as_array().expect("a list").len();
    assert!(dir.join("samp-lab.1").exists() && dir.join("samp-lab-handoff.1").exists());
    assert_eq!(fs::read_dir(&dir).expect("a directory").count(), written);
    fs::remove_dir_all(dir).expect("the scratch directory");
}

#[test]
fn topologies_can_be_drawn_in_every_language() {
    for (language, begins) in [("dot", "graph \"line\""), ("mermaid", "graph TD"), ("svg", "<svg ")] {
        let output = samp_lab(&["graph", "topologies/line.yaml", "--output", language]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).starts_with(begins) && stdout(&output).contains("mn1"));
    }
    assert_eq!(code(&samp_lab(&["graph", "/nonexistent/lab.yaml"])), 3);
}

#[test]
fn every_option_has_its_variable() {
    let help = stdout(&samp_lab(&["help"]));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"trace"), "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let help = stdout(&samp_lab(&[command, "--help"]));
        let options = help.split("\nOptions:\n").nth(1).expect("options").split("\n      --").skip(1);
        let own = options.filter(|option| !option.starts_with("help"));
        for option in own {
            let option = option.split("\n  -").next().unwrap_or(option);
            assert!(option.contains("[env: SAMP_LAB"), "{command}: --{option}");
        }
    }
}

#[test]
fn a_simulation_writes_what_a_run_writes_and_always_the_same() {
    let dirs = [scratch("sim-1"), scratch("sim-2")];
    for dir in &dirs {
        let dir = dir.to_str().expect("UTF-8");
        let output = samp_lab(&["sim", "experiments/handoff.yaml", "--out", dir, "--format", "json"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let summary = json(&output);
        assert_eq!(summary["valid"], true);
        assert_eq!(summary["handoffs"]["n"], 20);
        assert_eq!(summary["calls"]["established"], 4);
        let again = samp_lab(&["sim", "experiments/handoff.yaml", "--out", dir]);
        assert_eq!(code(&again), 5, "results are never overwritten");
    }
    let [first, second] = dirs.each_ref().map(|dir| fs::read(dir.join("records.jsonl")).expect("records"));
    assert!(first == second && first.len() > 10_000);
    dirs.iter().for_each(|dir| fs::remove_dir_all(dir).expect("a directory of this test's"));
}

#[test]
fn a_campaign_with_a_cell_that_cannot_be_is_refused_before_the_first_lab() {
    let topology = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/../topologies/line.yaml"));
    let topology = topology.expect("it is shipped");
    let text = format!(
        "topology: {}\nfactors: {{ emulation.attach: [switch, bpf] }}\ntimeline:\n- call: {{ count: 1 }}\n",
        topology.display()
    );
    let (experiment, dir) = (file("cells.yaml", &text), scratch("run-none"));
    let [named, out] = [&experiment, &dir].map(|path| path.to_str().expect("UTF-8"));
    let output = samp_lab(&["run", named, "--out", out]);
    fs::remove_file(&experiment).expect("the scratch file can be removed");
    assert_eq!((code(&output), stdout(&output)), (3, String::new()));
    assert!(stderr(&output).contains("the topology asks for `attach: bpf`, but"), "{}", stderr(&output));
    assert!(!dir.exists(), "nothing is left");
}

#[test]
fn what_cannot_be_simulated_is_3() {
    let topology = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/../topologies/kamailio.yaml"));
    let topology = topology.expect("it is shipped");
    for more in ["", "factors: { samp.delta: [20ms, 40ms] }\n"] {
        let text = format!("topology: {}\n{more}timeline:\n- call: {{ count: 1 }}\n", topology.display());
        let (experiment, dir) = (file("program.yaml", &text), scratch("sim-none"));
        let [named, out] = [&experiment, &dir].map(|path| path.to_str().expect("UTF-8"));
        let output = samp_lab(&["sim", named, "--out", out]);
        fs::remove_file(&experiment).expect("the scratch file can be removed");
        assert_eq!((code(&output), stdout(&output)), (3, String::new()));
        assert!(
            stderr(&output).contains("`kamailio` runs a program of its own, which the simulator cannot run")
        );
        assert!(!dir.exists(), "nothing is left");
    }
}
