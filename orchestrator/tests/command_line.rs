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
