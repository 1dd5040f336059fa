//! What a document is made of: all that a run's directory holds.

use crate::comparison::{Comparison, NoRun, RecordedRun};
use crate::report::{Report, Summary};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A run, as its directory has it.
#[derive(Debug)]
pub struct Material {
    /// Experiment, topology and records.
    pub run: RecordedRun,
    /// What the records say.
    pub report: Report,
    /// The same in figures.
    pub summary: Summary,
    /// Why the measurements may not be used.
    pub invalid_because: Vec<String>,
    /// Whence the figures come.
    pub provenance: Value,
    /// What probes of the links said.
    pub calibration: Option<Calibration>,
    /// What was asserted, and whether it holds.
    pub assertions: Vec<Asserted>,
}

/// What the simulator makes of the run's experiment.
#[derive(Clone, Debug)]
pub enum Prediction {
    /// This.
    Made(Box<Comparison>),
    /// Nothing, and why.
    None(String),
}

/// A file of a run that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// What makes the run.
    #[error(transparent)]
    Run(#[from] NoRun),
    /// What is said about it.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What is taken from `calibration.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Calibration {
    /// Before the first step.
    pub before: Probed,
    /// From the first step to the last.
    pub waits: Vec<Waiting>,
}

/// What probes found.
#[derive(Clone, Debug, Deserialize)]
pub struct Probed {
    /// What may be off.
    pub tolerance: Tolerance,
    /// Each direction of each link.
    pub directions: Vec<Direction>,
}

/// What may be off, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Tolerance {
    /// A median.
    pub p50_ms: f64,
    /// A wait for a processor, at the 99th percentile.
    pub cpu_wait_p99_ms: f64,
}

/// One direction of a link.
#[derive(Clone, Debug, Deserialize)]
pub struct Direction {
    /// Who sent the probes.
    pub from: String,
    /// Who received them.
    pub to: String,
    /// What was configured makes this of them.
    pub expected: Times,
    /// What became of them.
    pub measured: Times,
    /// What is out of tolerance.
    pub faults: Vec<String>,
}

/// One-way times in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Times {
    /// Median.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

/// How long a process waited for a processor.
#[derive(Clone, Debug, Deserialize)]
pub struct Waiting {
    /// Which.
    pub process: String,
    /// 99th percentile of windows of 100 ms, in milliseconds.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Whether that is too long.
    pub starved: bool,
}

/// What is taken from `summary.json`; the rest is made of the records.
#[derive(Deserialize)]
struct Validity {
    invalid_because: Vec<String>,
}

/// What was asserted, as `summary.json` has it.
#[derive(Default, Deserialize)]
struct Assertions {
    #[serde(default)]
    assertions: Vec<Asserted>,
}

/// Whether an assertion holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asserted {
    /// In which cell; none where there is but one run.
    pub cell: Option<String>,
    /// The assertion, as it is written.
    pub assertion: String,
    /// Whether it holds.
    pub holds: bool,
    /// What is wrong.
    pub failure: Option<String>,
}

impl Material {
    /// Reads a run's directory.
    ///
    /// # Errors
    /// A file is missing or not what `run` and `sim` write.
    pub fn read(directory: &Path) -> Result<Self, Unreadable> {
        let run = RecordedRun::read(directory)?;
        let validity: Option<Validity> = read(directory.join("summary.json"))?;
        let provenance = read(directory.join("provenance.json"))?.unwrap_or(Value::Null);
        let calibration = read(directory.join("calibration.json"))?;
        let report = Report::assemble(&run.topology, &run.records);
        let unfinished = || vec!["the run has not come to its end: it has no summary.json".to_owned()];
        let invalid_because = validity.map_or_else(unfinished, |validity| validity.invalid_because);
        let assertions = assertions(directory)?;
        Ok(Self {
            summary: report.summary(),
            run,
            report,
            invalid_because,
            provenance,
            calibration,
            assertions,
        })
    }

    /// Whether the run was in the simulator.
    pub fn is_simulated(&self) -> bool {
        self.provenance.get("emulation").is_some_and(Value::is_null)
    }
}

/// What was asserted about the results in a directory.
pub(super) fn assertions(directory: &Path) -> Result<Vec<Asserted>, Unreadable> {
    let summary: Option<Assertions> = read(directory.join("summary.json"))?;
    Ok(summary.unwrap_or_default().assertions)
}

/// Reads a file, if it is there.
pub(super) fn read<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, Unreadable> {
    let parsed = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        content => content.and_then(|content| Ok(serde_json::from_slice(&content)?)),
    };
    parsed.map(Some).map_err(|source| Unreadable::File { path, source })
}
