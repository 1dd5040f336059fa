//! `sim`: an experiment in a simulated lab, from its file to its report.

use super::super::{Exit, Failure, Terminal};
use super::run::{begin, carry_out, conclude, directory, write_record};
use crate::experiment::{Load, SimulatedLab};
use samp_model::experiment;
use samp_model::experiment::Action;
use samp_model::topology::Topology;
use samp_simulator::VirtualLab;
use std::io::Write;
use std::path::Path;

/// Simulates an experiment and reports.
pub(super) fn sim(terminal: &Terminal, file: &Path, out: Option<&Path>) -> Result<Exit, Failure> {
    let (experiment, topology) = experiment::load(file).map_err(Failure::invalid)?;
    let actions = experiment.schedule(&topology);
    let mut lab = simulated(&topology, &actions)?;
    let dir = directory(out, &experiment.name)?;
    let mut provenance = begin(&dir, file, &experiment, &topology, None)?;
    let mut records = dir.lines("records.jsonl")?;
    lab.come_up().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut stage = SimulatedLab::new(lab, |record| write_record(&mut records, record));
    let invalid_because = carry_out(terminal, &topology, &experiment.schedule(&topology), &mut stage)
        .inspect_err(|_| {
            terminal.note(format!("what there is of the run is in {}", dir.partial().display()));
        })?;
    let (history, _) = stage.into_parts();
    records.flush().map_err(|error| Failure::io("write the records", &error))?;
    provenance.after = Some(Load::now());
    conclude(terminal, dir, &experiment, &topology, (history, invalid_because), None, &provenance)
}

/// A simulated lab of a topology in which these actions can be carried out.
pub(super) fn simulated(topology: &Topology, actions: &[Action]) -> Result<VirtualLab, Failure> {
    let mut lab =
        VirtualLab::new(topology.clone()).map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
    let changes_links =
        |action: &Action| matches!(action, Action::Link { .. } | Action::Partition { .. } | Action::Heal);
    if actions.iter().any(changes_links) {
        lab.expect_link_changes();
    }
    Ok(lab)
}
