//! `reproduce`: what a bundle holds, done again, and whether it comes out the same.

use super::super::typed::{Results, Run, Tolerated};
use super::super::{Exit, Failure, Reproduce, Terminal};
use super::one_run::{Planned, directory};
use super::{run, sim};
use crate::bundle::unpack;
use crate::campaign::{CampaignDir, samples_of_run, together};
use crate::comparison::RecordedRun;
use crate::document::is_inside;
use crate::experiment::{Input, Interrupt, RunDir};
use crate::report::Samples;
use crate::reproduction::Reproduction;
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was done again.
#[derive(Serialize)]
struct Reproduced {
    directory: PathBuf,
    #[serde(flatten)]
    reproduction: Reproduction,
    /// Why runs that were made again count for nothing.
    invalid_because: Vec<String>,
}

/// A run of a bundle: its cell, where it is, and where it is in the bundle.
struct Original {
    cell: Option<String>,
    directory: PathBuf,
    within: PathBuf,
}

/// Unpacks a bundle, makes its runs again, and compares.
pub(super) fn reproduce(terminal: &Terminal, options: &Reproduce) -> Result<Exit, Failure> {
    let dir = directory(options.out.as_deref(), "reproduction")?;
    let unpacked = unpack(&options.bundle, &dir.partial().join("first")).inspect_err(|_| {
        // What is no bundle leaves nothing behind; that it cannot be removed is not what is wrong.
        let _ = fs::remove_dir_all(dir.partial());
    })?;
    let inputs = inputs(&dir.partial().join("first/inputs"))
        .map_err(|error| Failure::io("read the bundle's inputs", &error))?;
    let interrupt =
        Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error))?;
    let mut cells: Vec<(Option<String>, [Samples; 2])> = Vec::new();
    let mut invalid_because = Vec::new();
    for original in originals(&unpacked.run)? {
        interrupt.rest();
        let path = dir.partial().join("again").join(&original.within);
        let target = RunDir::create(&path)?;
        terminal.note(format!("again: {}", original.within.display()));
        let reasons = again(terminal, options, &original.directory, target, (&inputs, &interrupt))?;
        if !reasons.is_empty() {
            let named = |reason| format!("{}: {reason}", original.within.display());
            invalid_because.extend(reasons.into_iter().map(named));
            continue;
        }
        let both = [samples(&original.directory)?, samples(&path)?];
        match cells.iter_mut().find(|(cell, _)| *cell == original.cell) {
            Some((_, known)) => {
                for (known, more) in known.iter_mut().zip(&both) {
                    *known = together([&*known, more].into_iter());
                }
            }
            None => cells.push((original.cell, both)),
        }
    }
    interrupt.disarm();
    let reproduction = Reproduction::new(cells.iter().map(|(cell, both)| (cell.clone(), both.each_ref())));
    dir.write_json("reproduction.json", &reproduction)?;
    let reproduced = Reproduced { directory: dir.finish()?, reproduction, invalid_because };
    terminal.show(&reproduced, |reproduced| {
        let mut text = reproduced.reproduction.describe();
        text += &format!("results: {}\n", reproduced.directory.display());
        text.extend(reproduced.invalid_because.iter().map(|reason| format!("INVALID: {reason}\n")));
        text
    })?;
    Ok(match reproduced {
        Reproduced { invalid_because, .. } if !invalid_because.is_empty() => Exit::InvalidMeasurement,
        Reproduced { reproduction: Reproduction { reproduced: true, .. }, .. } => Exit::Success,
        _ => Exit::Failed,
    })
}

fn samples(run: &Path) -> Result<Samples, Failure> {
    samples_of_run(run).map_err(|error| Failure::from_error(Exit::InvalidInput, &error))
}

/// The valid runs of a bundle.
fn originals(run: &Path) -> Result<Vec<Original>, Failure> {
    if !CampaignDir::is_at(run) {
        let within = PathBuf::from("run");
        return Ok(vec![Original { cell: None, directory: run.to_owned(), within }]);
    }
    let dir = CampaignDir::read(run).map_err(|error| Failure::io("read the bundle's cells.json", &error))?;
    let of_cell = |cell: &crate::campaign::CellRecord| {
        let name = cell.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let runs = cell.runs.iter().filter(|run| run.is_valid() && is_inside(&run.directory));
        let original = |record: &crate::campaign::RunRecord| Original {
            cell: Some(name.clone()),
            directory: run.join(&record.directory),
            within: record.directory.clone(),
        };
        runs.map(original).collect::<Vec<_>>()
    };
    Ok(dir.cells.iter().flat_map(of_cell).collect())
}

/// Makes a run again, where it was made before: in a lab or in the simulator. Returns why it is not valid.
fn again(
    terminal: &Terminal,
    options: &Reproduce,
    original: &Path,
    dir: RunDir,
    (inputs, interrupt): (&[Input], &Interrupt),
) -> Result<Vec<String>, Failure> {
    let RecordedRun { experiment, topology, .. } =
        RecordedRun::read(original).map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
    let provenance = fs::read(original.join("provenance.json"))
        .and_then(|text| Ok(serde_json::from_slice::<Value>(&text)?))
        .map_err(|error| Failure::io("read the run's provenance.json", &error))?;
    let planned = Planned { experiment: &experiment, topology, inputs, assertions: &[], dir };
    let quiet = terminal.silenced();
    let finished = if provenance["emulation"].is_null() {
        sim::attempt(&quiet, planned)?
    } else {
        let run = Run {
            experiment: PathBuf::new(),
            results: Results::default(),
            keep: false,
            calibrate: original.join("calibration.json").exists(),
            tolerated: Tolerated::default(),
            emulation: options.emulation,
            allow_programs: options.allow_programs,
        };
        run::attempt(&quiet, &run, planned, interrupt)?
    };
    Ok(finished.summary.invalid_because)
}

/// The files that the runs were made of.
fn inputs(directory: &Path) -> io::Result<Vec<Input>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Input::read(&entry?.path())).collect()
}
