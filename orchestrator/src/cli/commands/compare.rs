//! `compare --sim`: a run beside its prediction.

use super::super::{Exit, Failure, Terminal};
use super::one_run::carry_out;
use super::sim::simulated;
use crate::comparison::{Comparison, RecordedRun, describe};
use crate::experiment::SimulatedLab;
use samp_model::Record;
use std::path::Path;
use std::time::Duration;

/// Plays a run's experiment in the simulator, and shows what is different.
pub(super) fn with_simulation(terminal: &Terminal, run: &Path, per_hop: Duration) -> Result<Exit, Failure> {
    let run = RecordedRun::read(run).map_err(|error| {
        Failure::from_error(Exit::InvalidInput, &error)
            .hint("name a directory that `samp-lab run` has written".to_owned())
    })?;
    let predicted = predict(terminal, &run)?;
    let comparison = Comparison::new(&run.topology, &run.records, &predicted, per_hop);
    terminal.show(&comparison, describe)?;
    Ok(if comparison.agrees { Exit::Success } else { Exit::Failed })
}

/// What the simulator makes of a run's experiment.
pub(super) fn predict(terminal: &Terminal, run: &RecordedRun) -> Result<Vec<Record>, Failure> {
    let actions = run.experiment.schedule(&run.topology);
    let mut lab = simulated(&run.topology, &actions)?;
    lab.come_up().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut predicted = Vec::new();
    let mut stage = SimulatedLab::new(lab, |record| {
        predicted.push(record.clone());
        Ok(())
    });
    for reason in carry_out(terminal, &run.topology, &actions, &mut stage)? {
        terminal.note(format!("in the simulation: {reason}"));
    }
    drop(stage);
    Ok(predicted)
}
