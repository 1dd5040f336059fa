//! `compare`: two runs beside each other, or a run beside its prediction.

use super::super::{Compare, Exit, Failure, Terminal};
use super::one_run::carry_out;
use super::sim::simulated;
use crate::campaign::{NotComparable, Pairing, Side, describe_pairings};
use crate::comparison::{Comparison, RecordedRun, describe};
use crate::experiment::SimulatedLab;
use crate::report::server_work;
use samp_model::Record;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Compares what is to be compared.
pub(super) fn compare(terminal: &Terminal, wanted: &Compare) -> Result<Exit, Failure> {
    match (&wanted.sim, &wanted.first, &wanted.second) {
        (Some(run), ..) => with_simulation(terminal, run, wanted.per_hop.get()),
        (None, Some(first), Some(second)) => side_by_side(terminal, first, second, wanted.force),
        _ => Err(Failure::new(Exit::Usage, "there is nothing to compare")
            .hint("name two runs, or one with `--sim`".to_owned())),
    }
}

/// Shows how the second differs from the first.
fn side_by_side(terminal: &Terminal, first: &Path, second: &Path, force: bool) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Compared {
        backends: [String; 2],
        cells: Vec<Pairing>,
    }
    let [first, second] = [Side::read(first)?, Side::read(second)?];
    if first.backend != second.backend && !force {
        let message = format!("the first has {}, the second {}", first.backend, second.backend);
        return Err(Failure::new(Exit::Conflict, message)
            .hint("what differs may be the backends; `--force` compares all the same".to_owned()));
    }
    let cells = crate::campaign::compare(&first, &second)?;
    let compared = Compared { backends: [first.backend, second.backend], cells };
    terminal.show(&compared, |compared| describe_pairings(&compared.cells))?;
    Ok(Exit::Success)
}

impl From<NotComparable> for Failure {
    fn from(error: NotComparable) -> Self {
        let exit = match error {
            NotComparable::Invalid { .. } => Exit::InvalidMeasurement,
            NotComparable::NothingInCommon(..) => Exit::Conflict,
            NotComparable::NoRun(_) | NotComparable::Unknown(_) => Exit::InvalidInput,
        };
        Self::from_error(exit, &error)
    }
}

/// Plays a run's experiment in the simulator, and shows what is different.
fn with_simulation(terminal: &Terminal, run: &Path, per_hop: Duration) -> Result<Exit, Failure> {
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
    let mut topology = run.topology.clone();
    // A datagram costs there what it has cost here.
    topology.emulation.server_work = server_work(&run.records).or(topology.emulation.server_work);
    let mut lab = simulated(&topology, &actions)?;
    lab.come_up().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut predicted = Vec::new();
    let mut stage = SimulatedLab::new(lab, |record| {
        predicted.push(record.clone());
        Ok(())
    });
    for reason in carry_out(terminal, (&run.experiment, &topology), &actions, &mut stage)? {
        terminal.note(format!("in the simulation: {reason}"));
    }
    drop(stage);
    Ok(predicted)
}
