//! `run`: an experiment from its file to its report, in a lab of its own.

use super::super::{Calibrating, Emulation, Exit, Failure, Progress, Terminal};
use super::calibrate::with_progress;
use super::labs::end;
use super::{check_programs, resolve, up};
use crate::calibration::{CalibrationSummary, RunCalibration, WaitWatch};
use crate::capture::{Background, Taps};
use crate::client::{Client, Watch};
use crate::experiment::{
    Interrupt, Load, Provenance, RunDir, RunError, RunSummary, Runner, RunningLab, Stage, Timestamp,
};
use crate::report::{History, Report, emulation, word, write_summary};
use samp_model::experiment::{Action, Experiment};
use samp_model::settings::EmulationSettings;
use samp_model::{Record, Topology, experiment};
use samp_sys::process::raise_nofile_limit;
use serde::Serialize;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where runs go unless they are told otherwise.
const RUNS: &str = "runs";
/// Characters of the experiment's name that the lab's name begins with; the rest is this process's id.
const NAME_PART: usize = 20;

/// A run that came to its end.
#[derive(Serialize)]
struct Finished {
    directory: PathBuf,
    #[serde(flatten)]
    summary: RunSummary,
}

/// Runs an experiment and reports.
pub(super) fn run(
    terminal: &Terminal,
    file: &Path,
    out: Option<&Path>,
    keep: bool,
    calibration: Calibrating,
    emulation: Emulation,
    allow_programs: bool,
) -> Result<Exit, Failure> {
    let (experiment, mut topology) = experiment::load(file).map_err(Failure::invalid)?;
    let (plan, machine) = resolve(&mut topology, emulation)?;
    check_programs(&plan, allow_programs)?;
    up::warn_if_busy(terminal);
    let dir = directory(out, &experiment.name)?;
    let emulation = Some(plan.emulation);
    let mut provenance = begin(&dir, file, &experiment, &topology, emulation)?;
    let records = Rc::new(RefCell::new(dir.lines("records.jsonl")?));

    let interrupt =
        Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error))?;
    let name = lab_name(&experiment);
    let (client, _) = up::bring_up(terminal, (&topology, &machine, &plan), &name, &interrupt)?;
    let actions = experiment.schedule(&topology);
    let wanted = (calibration.always || experiment.calibrate).then_some(calibration.tolerance);
    let calibrated = wanted.map(|tolerance| with_progress(terminal, &client, tolerance)).transpose();
    let measured = calibrated.and_then(|calibration| {
        let capture = start_capture(&client, &topology, &experiment, &dir)?;
        let watch = calibration.as_ref().map(|begun| WaitWatch::start(&client, begun.tolerance.cpu_wait));
        let measured = measure(terminal, &client, &topology, &actions, &records, &interrupt);
        let waits = watch.map(WaitWatch::stop);
        provenance.capture = capture.map(Background::end).transpose().map_err(capture_failed)?;
        Ok((measured?, calibration.zip(waits).map(|(before, waits)| RunCalibration::new(before, waits))))
    });
    provenance.after = Some(Load::now());
    if keep && measured.is_ok() {
        terminal.note(format!("lab {name} is still up; `samp-lab down {name}` ends it"));
    } else if let Err(failure) =
        client.status().map_err(Into::into).and_then(|lab| end(&client, lab.supervisor_pid))
    {
        // What went wrong first is more interesting.
        terminal.note(format!("lab {name} did not end in order: {}", failure.message));
    }
    let ((history, mut invalid_because), calibration) = measured.inspect_err(|_| {
        terminal.note(format!("what there is of the run is in {}", dir.partial().display()));
    })?;

    if let Some(calibration) = &calibration {
        dir.write_json("calibration.json", calibration)?;
        invalid_because.extend(calibration.invalid_because());
    }
    let calibration = calibration.as_ref().map(RunCalibration::summary);
    conclude(terminal, dir, &experiment, &topology, (history, invalid_because), calibration, &provenance)
}

/// Where the results go.
pub(super) fn directory(out: Option<&Path>, experiment: &str) -> Result<RunDir, Failure> {
    Ok(match out {
        Some(out) => RunDir::create(out)?,
        None => RunDir::fresh(Path::new(RUNS), experiment, Timestamp::now())?,
    })
}

/// Keeps what there is to run, so that it can be run again, and whence it comes.
pub(super) fn begin(
    dir: &RunDir,
    file: &Path,
    experiment: &Experiment,
    topology: &Topology,
    emulation: Option<EmulationSettings>,
) -> Result<Provenance, Failure> {
    let inputs = [file, &experiment.topology];
    let provenance = Provenance::begin(experiment.seed, emulation, topology.family, &inputs)
        .map_err(|error| Failure::io("tell where the figures come from", &error))?;
    dir.write_json("provenance.json", &provenance)?;
    dir.write_json("experiment.json", experiment)?;
    dir.write_json("topology.json", topology)?;
    Ok(provenance)
}

/// Writes the figures and shows them.
pub(super) fn conclude(
    terminal: &Terminal,
    dir: RunDir,
    experiment: &Experiment,
    topology: &Topology,
    (history, invalid_because): (History, Vec<String>),
    calibration: Option<CalibrationSummary>,
    provenance: &Provenance,
) -> Result<Exit, Failure> {
    let report = Report::from_history(topology, &history);
    let summary = RunSummary {
        experiment: experiment.name.clone(),
        valid: invalid_because.is_empty(),
        invalid_because,
        calibration,
        summary: report.summary(),
        each: report,
    };
    dir.write_json("summary.json", &summary)?;
    dir.write_json("provenance.json", provenance)?;
    let finished = Finished { directory: dir.finish()?, summary };
    terminal.show(&finished, |finished| describe(finished, provenance))?;
    Ok(if finished.summary.valid { Exit::Success } else { Exit::InvalidMeasurement })
}

/// Captures what the experiment asks for, if anything.
fn start_capture(
    client: &Client,
    topology: &Topology,
    experiment: &Experiment,
    dir: &RunDir,
) -> Result<Option<Background>, Failure> {
    if experiment.capture.is_empty() {
        return Ok(None);
    }
    raise_nofile_limit().map_err(capture_failed)?;
    let taps = Taps::open(client, topology, &experiment.capture)?;
    taps.write_in_background(&dir.partial().join("capture.pcapng")).map(Some).map_err(capture_failed)
}

fn capture_failed(error: io::Error) -> Failure {
    Failure::io("write the capture", &error)
}

/// Carries out the schedule; all records are in the file when it returns.
fn measure(
    terminal: &Terminal,
    client: &Client,
    topology: &Topology,
    actions: &[Action],
    records: &Rc<RefCell<BufWriter<File>>>,
    interrupt: &Interrupt,
) -> Result<(History, Vec<String>), Failure> {
    let sink = Rc::clone(records);
    let mut watch = Watch::start(client, move |record| write_record(&mut *sink.borrow_mut(), record))?;
    interrupt.pass_to(watch.interrupter());
    let stage = &mut RunningLab { client, watch: &mut watch };
    let result = carry_out(terminal, topology, actions, stage);
    let written = records.borrow_mut().flush();
    let invalid_because = result?;
    written.map_err(|error| Failure::io("write the records", &error))?;
    Ok((watch.into_history(), invalid_because))
}

/// Carries out the schedule, and tells how far it is.
pub(super) fn carry_out(
    terminal: &Terminal,
    topology: &Topology,
    actions: &[Action],
    stage: &mut impl Stage,
) -> Result<Vec<String>, RunError> {
    let bar = terminal.bar(actions.len());
    if terminal.progress == Progress::Lines {
        terminal.note(format!("carrying out {} actions", actions.len()));
    }
    let result = Runner::new(topology, stage).run(actions, &mut |done, _, what| {
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

/// A name of its own, so that any number of runs can go on side by side.
fn lab_name(experiment: &Experiment) -> String {
    let name: String = experiment.name.chars().take(NAME_PART).collect();
    format!("{name}-{}", std::process::id())
}

fn describe(finished: &Finished, provenance: &Provenance) -> String {
    let mut text = format!("experiment {}", finished.summary.experiment);
    text += &format!(
        ": {}, {}, seed {}, kernel {}\n\n",
        word(&provenance.family),
        provenance.emulation.as_ref().map_or("simulated".to_owned(), emulation),
        provenance.seed,
        provenance.kernel
    );
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, &finished.summary.summary);
    if let Some(calibration) = &finished.summary.calibration {
        text += &format!("\n{calibration}\n");
    }
    text += &format!("\nresults: {}\n", finished.directory.display());
    if let Some(capture) = provenance.capture.filter(|capture| capture.dropped > 0) {
        text += &format!("the capture lacks {} frames\n", capture.dropped);
    }
    for reason in &finished.summary.invalid_because {
        text += &format!("INVALID: {reason}\n");
    }
    text
}
