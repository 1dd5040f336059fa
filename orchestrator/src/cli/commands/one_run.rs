//! One run of an experiment, wherever it takes place: its directory, and what is in it.

use super::super::{Exit, Failure, Progress, Results, Terminal};
use crate::calibration::CalibrationSummary;
use crate::campaign::{TestCase, Verdict, junit};
use crate::experiment::{Input, Provenance, RunDir, RunError, RunSummary, Runner, Stage, Timestamp};
use crate::report::{History, Report, Samples, Values, emulation, word, write_summary};
use samp_model::experiment::{Action, Assertion, Campaign, Experiment};
use samp_model::settings::EmulationSettings;
use samp_model::{Record, Topology, topology};
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where runs go unless they are told otherwise.
const RUNS: &str = "runs";

/// A run that came to its end.
#[derive(Serialize)]
pub(super) struct Finished {
    directory: PathBuf,
    #[serde(flatten)]
    pub(super) summary: RunSummary,
    #[serde(skip)]
    provenance: Provenance,
}

/// A run that is to be made.
pub(super) struct Planned<'a> {
    /// What happens.
    pub(super) experiment: &'a Experiment,
    /// Where.
    pub(super) topology: Topology,
    /// The files that say so.
    pub(super) inputs: &'a [Input],
    /// What is to hold for this run alone.
    pub(super) assertions: &'a [Assertion],
    /// Where the results go.
    pub(super) dir: RunDir,
}

/// Where the results go.
pub(super) fn directory(out: Option<&Path>, experiment: &str) -> Result<RunDir, Failure> {
    Ok(match out {
        Some(out) => RunDir::create(out)?,
        None => RunDir::fresh(Path::new(RUNS), experiment, Timestamp::now())?,
    })
}

/// One run is whole or not there.
pub(super) fn refuse_to_resume(results: &Results) -> Result<(), Failure> {
    match &results.resume {
        Some(_) => Err(Failure::new(Exit::Usage, "this experiment is one run, which cannot be resumed")
            .hint("run it again; what was broken off is not needed".to_owned())),
        None => Ok(()),
    }
}

/// The files of an experiment.
pub(super) fn inputs(file: &Path, campaign: &Campaign) -> Result<Vec<Input>, Failure> {
    let mut paths = vec![file.to_owned()];
    for topology in campaign.topologies() {
        paths.push(topology.to_owned());
        paths.extend(topology::graph_file(topology).map_err(Failure::invalid)?);
    }
    paths.extend(campaign.traces().map(Path::to_owned));
    let inputs = paths.iter().map(|path| Input::read(path)).collect::<io::Result<_>>();
    inputs.map_err(|error| Failure::io("tell where the figures come from", &error))
}

impl Planned<'_> {
    /// Keeps what there is to run, so that it can be run again, and whence it comes.
    pub(super) fn begin(&self, emulation: Option<EmulationSettings>) -> Result<Provenance, Failure> {
        let Self { experiment, topology, inputs, dir, .. } = self;
        let mut provenance = Provenance::begin(experiment.seed, emulation, topology.family, inputs)
            .map_err(|error| Failure::io("tell where the figures come from", &error))?;
        provenance.mobility = Some(topology.mobility.into());
        dir.write_json("provenance.json", &provenance)?;
        dir.write_json("experiment.json", experiment)?;
        dir.write_json("topology.json", topology)?;
        Ok(provenance)
    }

    /// Writes the figures.
    pub(super) fn conclude(
        self,
        (history, invalid_because): (History, Vec<String>),
        calibration: Option<CalibrationSummary>,
        provenance: Provenance,
    ) -> Result<Finished, Failure> {
        let report = Report::from_history(&self.topology, &history);
        let samples = Samples::of(&report);
        let verdict = |assertion: &Assertion| {
            let figures = samples.get(assertion.metric).map(Values::figures);
            Verdict::on(assertion, None, figures.as_ref())
        };
        let summary = RunSummary {
            experiment: self.experiment.name.clone(),
            valid: invalid_because.is_empty(),
            invalid_because,
            calibration,
            summary: report.summary(),
            metrics: samples.figures(),
            assertions: self.assertions.iter().map(verdict).collect(),
            each: report,
        };
        self.dir.write_json("summary.json", &summary)?;
        self.dir.write_json("provenance.json", &provenance)?;
        Ok(Finished { directory: self.dir.finish()?, summary, provenance })
    }

    /// Says where what there is of a run can be found that was broken off.
    pub(super) fn broken_off(&self, terminal: &Terminal) {
        terminal.note(format!("what there is of the run is in {}", self.dir.partial().display()));
    }
}

impl Finished {
    /// Shows the figures, and whether what is asserted of them holds.
    pub(super) fn conclude(self, terminal: &Terminal, junit: Option<&Path>) -> Result<Exit, Failure> {
        let verdicts = &self.summary.assertions;
        if let Some(junit) = junit {
            let reasons = &self.summary.invalid_because;
            let run = TestCase {
                class: "run".to_owned(),
                name: "the run is valid".to_owned(),
                failure: None,
                error: (!reasons.is_empty()).then(|| reasons.join("; ")),
            };
            let cases: Vec<_> = [run].into_iter().chain(verdicts.iter().map(TestCase::from)).collect();
            write_junit(junit, &self.summary.experiment, &cases)?;
        }
        terminal.show(&self, describe)?;
        Ok(match self.summary.valid {
            _ if verdicts.iter().any(|verdict| !verdict.holds) => Exit::Failed,
            true => Exit::Success,
            false => Exit::InvalidMeasurement,
        })
    }
}

/// Writes a JUnit file.
pub(super) fn write_junit(path: &Path, suite: &str, cases: &[TestCase]) -> Result<(), Failure> {
    fs::write(path, junit(suite, cases))
        .map_err(|error| Failure::io(format_args!("write {}", path.display()), &error))
}

/// Carries out the schedule, and tells how far it is.
pub(super) fn carry_out(
    terminal: &Terminal,
    (experiment, topology): (&Experiment, &Topology),
    actions: &[Action],
    stage: &mut impl Stage,
) -> Result<Vec<String>, RunError> {
    let bar = terminal.bar(actions.len());
    if terminal.progress == Progress::Lines {
        terminal.note(format!("carrying out {} actions", actions.len()));
    }
    let result = Runner::new(topology, experiment.unfinished, stage).run(actions, &mut |done, _, what| {
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
        tracing::info!(done, "{what}");
    });
    bar.finish_and_clear();
    result
}

/// Writes a record as a line of JSON.
pub(super) fn write_record(file: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *file, record).map_err(io::Error::from)?;
    file.write_all(b"\n")
}

fn describe(finished: &Finished) -> String {
    let Finished { directory, summary, provenance } = finished;
    let mut text = format!("experiment {}", summary.experiment);
    text += &format!(
        ": {}, {}, seed {}, kernel {}\n\n",
        word(&provenance.family),
        provenance.emulation.as_ref().map_or("simulated".to_owned(), emulation),
        provenance.seed,
        provenance.kernel
    );
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, &summary.summary);
    if let Some(calibration) = &summary.calibration {
        text += &format!("\n{calibration}\n");
    }
    text += &format!("\nresults: {}\n", directory.display());
    if let Some(capture) = provenance.capture.filter(|capture| capture.dropped > 0) {
        text += &format!("the capture lacks {} frames\n", capture.dropped);
    }
    for reason in &summary.invalid_because {
        text += &format!("INVALID: {reason}\n");
    }
    text.extend(summary.assertions.iter().filter_map(Verdict::complaint));
    text
}
