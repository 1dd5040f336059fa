//! A run beside its prediction: the same experiment in the simulator, message by message and delay by delay.

mod delays;
mod messages;
mod text;

pub use self::delays::{DelayComparison, compare_delays};
pub use self::messages::{Conversation, Difference, compare_messages};
pub use self::text::describe;

use samp_model::experiment::Experiment;
use samp_model::{Record, Topology};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a run's directory holds for playing it again.
#[derive(Debug)]
pub struct RecordedRun {
    /// The experiment.
    pub experiment: Experiment,
    /// The topology, as it ran.
    pub topology: Topology,
    /// All records.
    pub records: Vec<Record>,
}

/// Why a directory is no run.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct NoRun {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl RecordedRun {
    /// Reads a run's directory.
    ///
    /// # Errors
    /// A file is missing or not what `run` writes.
    pub fn read(directory: &Path) -> Result<Self, NoRun> {
        let path = directory.join("records.jsonl");
        let records = read_lines(&path).map_err(|source| NoRun { path, source })?;
        let path = directory.join("topology.json");
        let topology: Topology = read_json(path.clone())?;
        if !topology.is_sound() {
            return Err(NoRun { path, source: io::Error::other("it is not what a topology file makes") });
        }
        Ok(Self { experiment: read_json(directory.join("experiment.json"))?, topology, records })
    }
}

fn read_json<T: DeserializeOwned>(path: PathBuf) -> Result<T, NoRun> {
    let read = File::open(&path).and_then(|file| Ok(serde_json::from_reader(BufReader::new(file))?));
    read.map_err(|source| NoRun { path, source })
}

fn read_lines(path: &Path) -> io::Result<Vec<Record>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// What a run and its prediction have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Whether all messages are the same and all delays within their limits.
    pub agrees: bool,
    /// How many conversations there are: what one node sends and receives under one Call-ID.
    pub conversations: usize,
    /// Those that are not the same.
    pub differences: Vec<Difference>,
    /// The delays at the median.
    pub delays: Vec<DelayComparison>,
}

impl Comparison {
    /// Of what was measured, and what was predicted; a delay may be off by `per_hop` for each link on its way, or by 5 % of
    /// what the links alone make of it.
    pub fn new(topology: &Topology, measured: &[Record], predicted: &[Record], per_hop: Duration) -> Self {
        let (conversations, differences) = compare_messages(measured, predicted);
        let delays = compare_delays(topology, measured, predicted, per_hop);
        let agrees = differences.is_empty() && delays.iter().all(DelayComparison::agrees);
        Self { agrees, conversations, differences, delays }
    }
}
