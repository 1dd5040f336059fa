//! What happens in a lab, as it happens.

use crate::lab::{Lab, samp_lab};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The records of a lab, those of the past first.
#[derive(Debug)]
pub struct Events {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Events {
    /// From the beginning of this lab.
    pub fn of(lab: &Lab) -> Self {
        let mut command = Command::new(samp_lab());
        command.args(["--lab", lab.name(), "events", "-f"]);
        Self::from(command)
    }

    /// What this command prints, which follows a lab.
    pub fn from(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("samp-lab can be started");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// The next record that is looked for; the test runner ends a test that waits for ever.
    #[track_caller]
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for line in self.lines.by_ref() {
            let line = line.expect("UTF-8");
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if wanted(&record) {
                return record;
            }
        }
        panic!("the lab has ended without {what}")
    }

    /// Waits until the program at a node has ended; its exit code.
    #[track_caller]
    pub fn exit_code(&mut self, node: &str) -> Value {
        let ended = |record: &Value| record["event"] == "program_ended" && record["node"] == node;
        self.wait(&format!("an end of {node}'s program"), ended)["code"].clone()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
