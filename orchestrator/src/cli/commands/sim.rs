//! `sim`: an experiment in simulated labs, from its file to its report.

use super::super::{Exit, Failure, Sim, Terminal};
use super::campaign::{self, Ledger, Origin};
use super::one_run::{Finished, Planned, carry_out, directory, inputs, refuse_to_resume, write_record};
use crate::experiment::{Load, SimulatedLab};
use samp_model::experiment::{Action, Campaign};
use samp_model::topology::Topology;
use samp_simulator::{VirtualLab, for_each};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

/// Simulates an experiment and reports.
pub(super) fn sim(terminal: &Terminal, options: &Sim) -> Result<Exit, Failure> {
    let file = &options.experiment;
    let campaign = Campaign::load(file).map_err(Failure::invalid)?;
    let out = options.results.out.as_deref();
    if options.results.dry_run {
        return campaign::preview(terminal, &campaign, false);
    }
    let inputs = inputs(file, &campaign)?;
    let (experiment, topology) = campaign.first();
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
        return attempt(terminal, planned)?.conclude(terminal, options.results.junit.as_deref());
    }

    for cell in &campaign.cells {
        let (_, topology) = campaign.run(cell, 0).map_err(Failure::invalid)?;
        VirtualLab::check(&topology).map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
    }
    let origin = Origin { inputs: &inputs, emulation: None, family: topology.family };
    let mut ledger = Ledger::open(terminal, &campaign, &options.results, &origin)?;
    let threads = options.jobs.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let dir = ledger.dir().clone();
    let missing = dir.missing();
    let quiet = terminal.silenced();
    let stop = AtomicBool::new(false);
    let mut noted = Ok(());
    let work = || {
        |index: u64| {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let planned = campaign::planned(&dir, &campaign, missing[index as usize]);
            Some(planned.and_then(|(experiment, topology, dir)| {
                let planned =
                    Planned { experiment: &experiment, topology, inputs: &inputs, assertions: &[], dir };
                Ok(attempt(&quiet, planned)?.summary.invalid_because)
            }))
        }
    };
    for_each(0..missing.len() as u64, threads, work, |index, result| {
        let Some(result) = result else { return };
        match ledger.note(missing[index as usize], result, false) {
            Ok(flow) => stop.fetch_or(flow.is_break(), Ordering::Relaxed),
            Err(failure) => {
                noted = Err(failure);
                stop.swap(true, Ordering::Relaxed)
            }
        };
    });
    noted?;
    ledger.conclude(&campaign, &options.results)
}

/// One run in a simulated lab.
pub(super) fn attempt(terminal: &Terminal, planned: Planned<'_>) -> Result<Finished, Failure> {
    let Planned { experiment, topology, dir, .. } = &planned;
    let actions = experiment.schedule(topology);
    let mut lab = simulated(topology, &actions)?;
    let mut provenance = planned.begin(None)?;
    let mut records = dir.lines("records.jsonl")?;
    lab.come_up().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut stage = SimulatedLab::new(lab, |record| write_record(&mut records, record));
    let invalid_because = carry_out(terminal, (experiment, topology), &actions, &mut stage)
        .inspect_err(|_| planned.broken_off(terminal))?;
    let (history, _) = stage.into_parts();
    records.flush().map_err(|error| Failure::io("write the records", &error))?;
    provenance.after = Some(Load::now());
    planned.conclude((history, invalid_because), None, provenance)
}

/// A simulated lab of a topology in which these actions can be carried out.
pub(super) fn simulated(topology: &Topology, actions: &[Action]) -> Result<VirtualLab, Failure> {
    let mut lab =
        VirtualLab::new(topology.clone()).map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
    let changes_links = |action: &Action| {
        matches!(action.effect(), Action::Link { .. } | Action::Partition { .. } | Action::Heal)
    };
    if actions.iter().any(changes_links) {
        lab.expect_link_changes();
    }
    Ok(lab)
}
