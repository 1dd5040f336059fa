//! What CI services run: `scripts/action.sh`, with what it leaves when all is well and when it is not.

use samp_tests::{TemporaryFile, samp_lab, topology};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The line with one handoff, and what is asserted of it.
fn experiment(assertion: &str) -> TemporaryFile {
    let line = topology("topologies/line.yaml");
    TemporaryFile::new(&format!(
        "topology: {}\ntimeline:\n  - handoff: {{ moves: [[mn1, ar2]], interval: 200ms }}\nassert:\n  - {assertion}\n",
        line.display()
    ))
}

/// A directory of the action's own, which goes with this.
struct Workspace(PathBuf);

impl Workspace {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("samp-action-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn act(&self, command: &str, experiment: &TemporaryFile) -> Output {
        Command::new(topology("scripts/action.sh"))
            .env("SAMP_LAB_PROGRAM", samp_lab())
            .env("EXPERIMENT", experiment.path())
            .env("COMMAND", command)
            .env("LINKS", "auto")
            .env("RESULTS", self.0.join("results"))
            .env("GITHUB_STEP_SUMMARY", self.0.join("summary.md"))
            .env("GITHUB_OUTPUT", self.0.join("output"))
            .output()
            .expect("bash")
    }

    #[track_caller]
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_holds_is_0_and_all_results_are_there() {
    let workspace = Workspace::new("holds");
    let output = workspace.act("run", &experiment("handoff.complete >= 100%"));
    assert!(output.status.success(), "{output:?}");
    let results = workspace.0.join("results");
    assert_eq!(workspace.text("output"), format!("results={}\n", results.display()));
    assert!(workspace.text("summary.md").contains("Handoffs"), "{}", workspace.text("summary.md"));
    assert!(workspace.text("results/junit.xml").contains("failures=\"0\""));
    assert!(workspace.text("results/run/report.html").starts_with("<!DOCTYPE html>"));
}

#[test]
fn what_does_not_hold_is_1_and_all_results_are_there_too() {
    let workspace = Workspace::new("fails");
    let output = workspace.act("sim", &experiment("handoff.registration.p50 < 1ms"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(workspace.text("summary.md").contains("Handoffs"), "{}", workspace.text("summary.md"));
    assert!(!workspace.text("results/junit.xml").contains("<testsuites failures=\"0\""));
    assert!(workspace.text("results/junit.xml").contains("<failure"));
    assert!(workspace.text("results/run/report.html").starts_with("<!DOCTYPE html>"));
    // The results of another run are never overwritten.
    let again = workspace.act("sim", &experiment("handoff.complete >= 100%"));
    assert_eq!(again.status.code(), Some(2), "{again:?}");
}

#[test]
fn an_experiment_that_is_none_has_no_results() {
    let workspace = Workspace::new("none");
    let output = workspace.act("sim", &TemporaryFile::new("topology: none.yaml\ntimeline: []\n"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(workspace.text("summary.md").contains("exit code 3"), "{}", workspace.text("summary.md"));
}
