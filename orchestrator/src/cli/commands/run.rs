//! `run`: an experiment from its file to its report, in labs of its own, one after the other.
//!
//! Two labs at a time would wait for each other's processors, and it is the waiting that would be measured.

use super::super::{Exit, Failure, Run, Terminal};
use super::calibrate::with_progress;
use super::campaign::{self, Ledger, Origin};
use super::labs::end;
use super::one_run::{Finished, Planned, carry_out, directory, inputs, refuse_to_resume, write_record};
use super::{check_programs, resolve, resolve_on, up};
use crate::calibration::{RunCalibration, WaitWatch};
use crate::capture::{Background, Taps};
use crate::client::{Client, Watch};
use crate::experiment::{Interrupt, Load, RunDir, RunningLab};
use crate::report::History;
use samp_model::Topology;
use samp_model::experiment::{Action, Campaign, Experiment};
use samp_sys::process::raise_nofile_limit;
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;

/// Characters of the experiment's name that the lab's name begins with; the rest is this process's id.
const NAME_PART: usize = 20;

/// Runs an experiment and reports.
pub(super) fn run(terminal: &Terminal, options: &Run) -> Result<Exit, Failure> {
    let file = &options.experiment;
    let campaign = Campaign::load(file).map_err(Failure::invalid)?;
    if options.results.dry_run {
        return campaign::preview(terminal, &campaign, true);
    }
    let out = options.results.out.as_deref();
    let (experiment, topology) = campaign.first();
    let mut first = topology.clone();
    let (plan, machine) = resolve(&mut first, options.emulation)?;
    check_programs(&plan, options.allow_programs)?;
    up::warn_if_busy(terminal);
    let inputs = inputs(file, &campaign)?;
    let catch =
        || Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error));
    if campaign.is_single() {
        refuse_to_resume(&options.results)?;
        let dir = directory(out, &experiment.name)?;
        let planned = Planned {
            experiment,
            topology: topology.clone(),
            inputs: &inputs,
            assertions: &campaign.assertions,
            dir,
        };
        return attempt(terminal, options, planned, &catch()?)?
            .conclude(terminal, options.results.junit.as_deref());
    }

    if options.keep {
        return Err(Failure::new(Exit::Usage, "`--keep` is for one run, and this experiment has many")
            .hint("`samp-lab up` brings up a lab that stays".to_owned()));
    }
    // What this machine cannot do is said now, and not after hours of other cells.
    for cell in &campaign.cells {
        let (_, mut topology) = campaign.run(cell, 0).map_err(Failure::invalid)?;
        check_programs(&resolve_on(&machine, &mut topology, options.emulation)?, options.allow_programs)?;
    }
    let origin = Origin { inputs: &inputs, emulation: Some(plan.emulation), family: first.family };
    let mut ledger = Ledger::open(terminal, &campaign, &options.results, &origin)?;
    let interrupt = catch()?;
    let quiet = terminal.silenced();
    for number in ledger.dir().missing() {
        interrupt.rest();
        // Between two runs a signal may have found nothing to interrupt.
        if interrupt.was_received() {
            ledger.interrupt();
            break;
        }
        let result =
            campaign::planned(ledger.dir(), &campaign, number).and_then(|(experiment, topology, dir)| {
                let planned =
                    Planned { experiment: &experiment, topology, inputs: &inputs, assertions: &[], dir };
                Ok(attempt(&quiet, options, planned, &interrupt)?.summary.invalid_because)
            });
        if ledger.note(number, result, interrupt.was_received())?.is_break() {
            break;
        }
    }
    interrupt.rest();
    ledger.conclude(&campaign, &options.results)
}

/// One run in a lab of its own.
pub(super) fn attempt(
    terminal: &Terminal,
    options: &Run,
    mut planned: Planned<'_>,
    interrupt: &Interrupt,
) -> Result<Finished, Failure> {
    let (plan, machine) = resolve(&mut planned.topology, options.emulation)?;
    check_programs(&plan, options.allow_programs)?;
    let mut provenance = planned.begin(Some(plan.emulation))?;
    let Planned { experiment, topology, dir, .. } = &planned;
    let records = Rc::new(RefCell::new(dir.lines("records.jsonl")?));

    let name = lab_name(experiment);
    let (client, _) = up::bring_up(terminal, (topology, &machine, &plan), &name, interrupt)?;
    let actions = experiment.schedule(topology);
    let wanted = (options.calibrate || experiment.calibrate).then(|| options.tolerance());
    let calibrated = wanted.map(|tolerance| with_progress(terminal, &client, tolerance)).transpose();
    let measured = calibrated.and_then(|calibration| {
        let capture = start_capture(&client, topology, experiment, dir)?;
        let watch = calibration.as_ref().map(|begun| WaitWatch::start(&client, begun.tolerance.cpu_wait));
        let measured = measure(terminal, &client, (experiment, topology), &actions, &records, interrupt);
        let waits = watch.map(WaitWatch::stop);
        provenance.capture = capture.map(Background::end).transpose().map_err(capture_failed)?;
        Ok((measured?, calibration.zip(waits).map(|(before, waits)| RunCalibration::new(before, waits))))
    });
    provenance.after = Some(Load::now());
    if options.keep && measured.is_ok() {
        terminal.note(format!("lab {name} is still up; `samp-lab down {name}` ends it"));
    } else if let Err(failure) =
        client.status().map_err(Into::into).and_then(|lab| end(&client, lab.supervisor_pid))
    {
        // What went wrong first is more interesting.
        terminal.note(format!("lab {name} did not end in order: {}", failure.message));
    }
    let ((history, mut invalid_because), calibration) =
        measured.inspect_err(|_| planned.broken_off(terminal))?;

    if let Some(calibration) = &calibration {
        dir.write_json("calibration.json", calibration)?;
        invalid_because.extend(calibration.invalid_because());
    }
    let calibration = calibration.as_ref().map(RunCalibration::summary);
    planned.conclude((history, invalid_because), calibration, provenance)
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
    planned: (&Experiment, &Topology),
    actions: &[Action],
    records: &Rc<RefCell<BufWriter<File>>>,
    interrupt: &Interrupt,
) -> Result<(History, Vec<String>), Failure> {
    let sink = Rc::clone(records);
    let mut watch = Watch::start(client, move |record| write_record(&mut *sink.borrow_mut(), record))?;
    if watch.discarded() > 0 {
        return Err(Failure::new(Exit::Failed, "the lab's first records were gone before they were written"));
    }
    interrupt.pass_to(watch.interrupter());
    let stage = &mut RunningLab { client, watch: &mut watch };
    let result = carry_out(terminal, planned, actions, stage);
    let written = records.borrow_mut().flush();
    let invalid_because = result?;
    written.map_err(|error| Failure::io("write the records", &error))?;
    Ok((watch.into_history(), invalid_because))
}

/// A name of its own, so that any number of runs can go on side by side.
fn lab_name(experiment: &Experiment) -> String {
    let name: String = experiment.name.chars().take(NAME_PART).collect();
    format!("{name}-{}", std::process::id())
}
