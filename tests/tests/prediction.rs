//! A run beside its prediction: the lab does, message by message, what the simulator says, in the time that it says.
//!
//! A machine that is busy with other things delays messages beyond δ, and then other servers are chosen. So a run counts
//! only where the lab itself says that its processes got the processor in time, and there are several attempts.

use samp_tests::lab::{run, unique_name};
use samp_tests::topology;
use serde_json::Value;
use std::fs;

/// How often the experiment runs at most.
const ATTEMPTS: usize = 6;

#[test]
fn a_run_is_as_predicted() {
    let experiment = topology("experiments/handoff.yaml");
    let experiment = experiment.to_str().expect("UTF-8");
    let mut unlike = Vec::new();
    for _ in 0..ATTEMPTS {
        let dir = std::env::temp_dir().join(unique_name());
        let out = dir.to_str().expect("UTF-8");
        let ran = run(["--quiet", "run", experiment, "--calibrate", "--out", out]);
        let code = ran.status.code();
        assert!(matches!(code, Some(0 | 7)), "{}", String::from_utf8_lossy(&ran.stderr));
        let compared = run(["--quiet", "--format", "json", "compare", "--sim", out]);
        let comparison: Value = serde_json::from_slice(&compared.stdout).expect("JSON");
        fs::remove_dir_all(&dir).expect("a directory of this test's");
        assert!(comparison["conversations"].as_u64() > Some(60), "{comparison:#}");
        assert!(comparison["delays"].as_array().is_some_and(|delays| delays.len() >= 6), "{comparison:#}");
        assert_eq!(compared.status.code(), Some(if comparison["agrees"] == true { 0 } else { 1 }));
        if comparison["agrees"] == true {
            return;
        }
        if code == Some(0) {
            unlike.push(comparison);
        }
    }
    assert!(
        unlike.is_empty(),
        "{} valid runs, and none is as predicted; the last: {:#}",
        unlike.len(),
        unlike[unlike.len() - 1]
    );
    println!("SKIPPED a_run_is_as_predicted: in {ATTEMPTS} runs the machine never had time for the lab");
}

#[test]
fn what_is_no_run_is_not_compared() {
    let nowhere = std::env::temp_dir().join(unique_name());
    let output = run(["compare", "--sim", nowhere.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("records.jsonl"));
}
