//! Running an experiment: a lab of its own, real or simulated, the schedule, the records, the report.

mod conditions;
mod interrupt;
mod load;
mod provenance;
mod run_dir;
mod runner;
mod stage;

pub use self::interrupt::Interrupt;
pub use self::load::Load;
pub use self::provenance::{Input, Program, Provenance, Timestamp};
pub use self::run_dir::{RunDir, RunDirError};
pub use self::runner::{CALL_DEADLINE, RunError, Runner, StepObserver, await_handoff, handoff_deadline};
pub use self::stage::{RunningLab, SimulatedLab, Stage};

use crate::calibration::CalibrationSummary;
use crate::campaign::Verdict;
use crate::report::{MetricFigures, Report, Summary};
use serde::Serialize;

/// What `summary.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// The experiment's name.
    pub experiment: String,
    /// Whether the measurements may be used.
    pub valid: bool,
    /// Why not.
    pub invalid_because: Vec<String>,
    /// What probes of the links said before the first step, if they were sent.
    pub calibration: Option<CalibrationSummary>,
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
    /// The same by metric, those of RFC 6076 and ITU-T G.107 among them, with intervals and distributions.
    pub metrics: Vec<MetricFigures>,
    /// Whether what the experiment asserts of this one run holds; of many runs that is said of all together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Verdict>,
    /// What the figures are made of.
    pub each: Report,
}
