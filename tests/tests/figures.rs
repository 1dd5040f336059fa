//! `figures`, with the real program.

use samp_tests::lab::unique_name;
use samp_tests::samp_lab;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A world in which everything happens, but not much of it.
const SMALL: &str = "size=20,domain=5,nodes=60,moves=20,sessions=0.5";

/// A directory of a test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("samp-{}", unique_name()));
        fs::create_dir(&dir).expect("a scratch directory");
        Self(dir)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(samp_lab());
        command.arg("figures").args(args).current_dir(&self.0);
        command.output().expect("samp-lab starts")
    }

    /// Standard output and error of a command that must end with this code.
    #[track_caller]
    fn expect(&self, code: i32, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(output.status.code(), Some(code), "{args:?}:\n{out}{err}");
        (out, err)
    }

    fn files(&self, dir: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.0.join(dir)).expect("a directory");
        let read = |path: &Path| fs::read(path).expect("a file");
        entries
            .map(|entry| entry.expect("an entry"))
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path())))
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may hold what an assertion wants to be looked at.
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).expect("the scratch directory");
        }
    }
}

#[test]
fn the_same_seeds_give_the_same_bytes_with_any_number_of_threads() {
    let scratch = Scratch::new();
    let make = |out, jobs| {
        let made = ["--set", SMALL, "--seeds", "3", "--alpha", "0,0.5", "--out", out, "--jobs", jobs];
        scratch.expect(0, &made);
        scratch.files(out)
    };
    let one = make("one", "1");
    assert_eq!(one, make("two", "3"));
    let names: Vec<_> = one.keys().map(String::as_str).collect();
    for name in ["figure-4.csv", "figure-4.svg", "figure-5a.svg", "figure-5b.csv"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn what_is_shown_is_what_is_written() {
    let scratch = Scratch::new();
    let args = ["--figure", "5a", "--set", SMALL, "--set", "borders=torus", "--seeds", "2", "--seed", "9"];
    let (json, _) = scratch.expect(0, &[&args[..], &["--format", "json", "--alpha", "0.25"]].concat());
    let made: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&made["first_seed"], &made["seeds"]), (&Value::from(9), &Value::from(2)));
    let parameters = made["parameters"].as_array().expect("a list");
    let borders = parameters.iter().find(|parameter| parameter["name"] == "borders").expect("borders");
    assert_eq!((&borders["value"], &borders["default"]), (&"torus".into(), &"choose".into()));
    let figures = made["figures"].as_array().expect("a list");
    assert_eq!((figures.len(), &figures[0]["name"]), (1, &Value::from("5a")));
    let series = figures[0]["series"].as_array().expect("a list");
    assert_eq!(series.len(), 4);
    let csv = fs::read_to_string(scratch.0.join("figures/figure-5a.csv")).expect("a file");
    assert!(csv.contains("# seeds 9 to 10\n") && csv.contains("# borders=torus\n"));
    for line in series {
        let mean = line["points"][0]["mean"].as_f64().expect("a number");
        let row = format!("\"{}\",0.25,{mean:.4},", line["name"].as_str().expect("a name"));
        assert!(csv.contains(&row), "no {row} in\n{csv}");
    }
    let (text, progress) = scratch.expect(0, &[&args[..], &["--alpha", "0.25", "--force"]].concat());
    assert!(text.contains("SAMP without HR") && text.contains("wrote figures/figure-5a.svg"), "{text}");
    assert_eq!(progress, "worlds played: 2 of 2\n");
}

#[test]
fn the_table_has_all_systems() {
    let scratch = Scratch::new();
    let args = ["--table1", "--set", SMALL, "--seeds", "2", "--alpha", "0.4"];
    let (text, _) = scratch.expect(0, &args);
    let systems = ["MIPv4", "MIPv6", "HMIPv6", "SAMP", "ROAM", "EMIPv6", "Wrap", "DHARMA", "DNSP2P"];
    for system in systems {
        assert!(text.lines().any(|line| line.starts_with(system)), "{system} in:\n{text}");
    }
    let (json, _) = scratch.expect(0, &[&args[..], &["--force", "--format", "json"]].concat());
    let made: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(made["table1"]["alpha"], 0.4);
    let rows = made["table1"]["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), systems.len());
    assert_eq!(rows[1]["without_service"]["mean"], 60.0, "without its home agent nobody has service");
    let csv = &scratch.files("figures")["table1.csv"];
    assert!(String::from_utf8_lossy(csv).contains("\nMIPv6,without service,60.0000,"));
    scratch.expect(2, &["--table1", "--figure", "4"]);
}

#[test]
fn figures_that_are_there_are_not_overwritten_unasked() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.0.join("figures")).expect("a directory");
    fs::write(scratch.0.join("figures/figure-4.csv"), "mine").expect("a file");
    let args = ["--figure", "4", "--set", SMALL, "--seeds", "1"];
    let (_, refused) = scratch.expect(5, &args);
    assert!(refused.contains("figures/figure-4.csv exists") && refused.contains("--force"), "{refused}");
    assert_eq!(scratch.files("figures").len(), 1, "nothing is made");
    scratch.expect(0, &[&args[..], &["--force"]].concat());
    assert!(scratch.files("figures")["figure-4.csv"].starts_with(b"# figure 4"));
}

#[test]
fn wrong_usage_is_refused_before_anything_is_made() {
    let scratch = Scratch::new();
    for (args, wanted) in [
        (["--set", "border=torus"], "there is no parameter `border`"),
        (["--set", "borders=none"], "write choose, stay, reflect, torus"),
        (["--set", "size=5000"], "`size` is 5000, and must be 2 to 1000"),
        (["--set", "borders"], "write NAME=VALUE"),
        (["--figure", "6"], "possible values: 4, 5a, 5b"),
        (["--alpha", "1.5"], "a number from 0 to 1"),
        (["--alpha", "0.5,0.1"], "must ascend"),
        (["--seeds", "0"], "1..=1000"),
        (["--jobs", "0"], "1..=1024"),
    ] {
        let (_, refused) = scratch.expect(2, &args);
        assert!(refused.contains(wanted), "{args:?}: {refused}");
    }
    assert!(fs::read_dir(&scratch.0).expect("a directory").next().is_none());
}

#[test]
fn parameters_are_listed_and_have_variables() {
    let scratch = Scratch::new();
    let (text, _) = scratch.expect(0, &["--parameters", "--set", "borders=stay"]);
    assert!(text.contains("borders=stay (default choose)\n    What a random step"), "{text}");
    let mut command = Command::new(samp_lab());
    command.args(["figures", "--format", "json"]).current_dir(&scratch.0);
    let output = command.env("SAMP_LAB_PARAMETERS", "yes").env("SAMP_LAB_SET", "moves=7").output();
    let list: Value = serde_json::from_slice(&output.expect("samp-lab starts").stdout).expect("JSON");
    let moves = list.as_array().expect("a list").iter().find(|parameter| parameter["name"] == "moves");
    assert_eq!(moves.expect("moves")["value"], "7");
}

/// The page lists every parameter as the program does.
#[test]
fn the_documentation_lists_the_parameters() {
    let page = include_str!("../../docs/figures.md");
    let scratch = Scratch::new();
    let (json, _) = scratch.expect(0, &["--parameters", "--format", "json"]);
    let list: Value = serde_json::from_str(&json).expect("JSON");
    for parameter in list.as_array().expect("a list") {
        let [name, default, about] =
            ["name", "default", "about"].map(|key| parameter[key].as_str().expect("text"));
        let row = format!("| `{name}` | {default} | {about} |");
        assert!(page.contains(&row), "docs/figures.md has no line\n{row}");
    }
}
