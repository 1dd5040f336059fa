//! Experiments of many runs: what is planned, what becomes of each run, and how long the rest takes.

use super::super::{Exit, Failure, Progress, Results, Terminal};
use super::one_run::{directory, write_junit};
use crate::campaign::{
    CampaignDir, CampaignSummary, CellRecord, RunRecord, State, Verdict, describe, test_cases,
};
use crate::experiment::{Input, Provenance, RunDir};
use crate::report::table;
use indicatif::ProgressBar;
use samp_model::Topology;
use samp_model::experiment::{Campaign, Experiment};
use samp_model::settings::{EmulationSettings, Family};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a lab of some dozen nodes takes to come up, to settle its calls and to end, about.
const LAB_TIME: Duration = Duration::from_secs(2);

/// The runs of an experiment, and what became of those that were made.
pub(super) struct Ledger<'t> {
    terminal: &'t Terminal,
    dir: CampaignDir,
    bar: ProgressBar,
    started: Instant,
    /// How many were missing at the start, and how many of them have been made.
    missing: usize,
    made: usize,
    interrupted: bool,
}

/// What `summary.json` holds.
#[derive(Serialize)]
struct Summarised<'a> {
    valid: usize,
    invalid: usize,
    failed: usize,
    #[serde(flatten)]
    summary: &'a CampaignSummary,
    assertions: &'a [Verdict],
}

/// What is printed in the end.
#[derive(Serialize)]
struct Made<'a> {
    directory: &'a Path,
    #[serde(flatten)]
    summarised: Summarised<'a>,
}

/// Where an experiment comes from and what makes its labs: what must be the same when it is resumed.
pub(super) struct Origin<'a> {
    /// Its files.
    pub(super) inputs: &'a [Input],
    /// Backends, but for a simulation.
    pub(super) emulation: Option<EmulationSettings>,
    /// Which addresses the nodes have.
    pub(super) family: Family,
}

/// What is printed before anything is done.
#[derive(Serialize)]
struct Preview {
    experiment: String,
    cells: Vec<CellRecord>,
    runs: usize,
    /// How long it takes, about: in labs, or in their virtual time.
    seconds: f64,
}

impl<'t> Ledger<'t> {
    /// Of an experiment that begins, or is resumed.
    pub(super) fn open(
        terminal: &'t Terminal,
        campaign: &Campaign,
        results: &Results,
        origin: &Origin<'_>,
    ) -> Result<Self, Failure> {
        let planned = CampaignDir::planned(campaign);
        if let Some(path) = &results.resume {
            return Ok(Self::of(terminal, resumed(path, &planned, origin)?));
        }
        let Origin { inputs, emulation, family } = origin;
        let provenance = Provenance::begin(campaign.first().0.seed, *emulation, *family, inputs)
            .map_err(|error| Failure::io("tell where the figures come from", &error))?;
        let dir = planned.create(directory(results.out.as_deref(), &campaign.name)?, &provenance)?;
        Ok(Self::of(terminal, dir))
    }

    fn of(terminal: &'t Terminal, dir: CampaignDir) -> Self {
        let missing = dir.missing().len();
        let bar = terminal.bar(missing);
        Self { terminal, dir, bar, started: Instant::now(), missing, made: 0, interrupted: false }
    }

    /// The directory, and what there is to run.
    pub(super) fn dir(&self) -> &CampaignDir {
        &self.dir
    }

    /// Somebody wants it to end before the next run.
    pub(super) fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Notes what became of a run: why it is not valid, or why it was broken off. Tells whether to go on.
    pub(super) fn note(
        &mut self,
        number @ [cell, run]: [usize; 2],
        result: Result<Vec<String>, Failure>,
        interrupted: bool,
    ) -> Result<ControlFlow<()>, Failure> {
        self.interrupted |= interrupted;
        let name = self.dir.cells[cell].runs[run].directory.display().to_string();
        let (state, what, end) = match result {
            Ok(invalid_because) => {
                let what = if invalid_because.is_empty() { "valid" } else { "INVALID" };
                (State::Done { invalid_because }, what, None)
            }
            Err(failure) if interrupted || failure.exit == Exit::Interrupted => {
                self.interrupted = true;
                return Ok(ControlFlow::Break(()));
            }
            Err(failure) => {
                let state = State::Failed { error: failure.message.clone() };
                // What is missing for one run is missing for all.
                let hopeless = matches!(failure.exit, Exit::Missing | Exit::Exhausted | Exit::InvalidInput);
                (state, "FAILED", hopeless.then_some(failure))
            }
        };
        self.dir.note(number, state).map_err(|error| Failure::io("write the list of runs", &error))?;
        self.made += 1;
        let left = self.started.elapsed().mul_f64((self.missing - self.made) as f64 / self.made as f64);
        let told = format!("{name} {what}, {} left", about(left));
        self.bar.set_position(self.made as u64);
        if self.terminal.progress == Progress::Lines {
            self.terminal.note(format!("{} of {}: {told}", self.made, self.missing));
        }
        self.bar.set_message(told);
        match end {
            Some(failure) => Err(failure),
            None if self.interrupted => Ok(ControlFlow::Break(())),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Puts the runs' figures together, writes and shows them, and tells whether what is asserted holds.
    pub(super) fn conclude(self, campaign: &Campaign, results: &Results) -> Result<Exit, Failure> {
        self.bar.finish_and_clear();
        let summary =
            CampaignSummary::read(&self.dir).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let verdicts = Verdict::all(&campaign.assertions, &summary);
        let valid = self.dir.runs().filter(|run| run.is_valid()).count();
        let count = |counts: fn(&State) -> bool| self.dir.runs().filter(|run| counts(&run.state)).count();
        let made = Made {
            directory: self.dir.path(),
            summarised: Summarised {
                valid,
                invalid: count(|state| matches!(state, State::Done { .. })) - valid,
                failed: count(|state| matches!(state, State::Failed { .. })),
                summary: &summary,
                assertions: &verdicts,
            },
        };
        let text = self.describe(campaign, &made.summarised);
        let written = self
            .dir
            .write("summary.json", &made.summarised)
            .and_then(|()| fs::write(self.dir.path().join("summary.txt"), &text));
        written.map_err(|error| Failure::io("write the summary", &error))?;
        if let Some(junit) = &results.junit {
            write_junit(junit, &campaign.name, &test_cases(&self.dir, &verdicts))?;
        }
        self.terminal.show(&made, |made| text + &format!("\nresults: {}\n", made.directory.display()))?;
        Ok(match made.summarised {
            _ if self.interrupted => Exit::Interrupted,
            Summarised { failed: 1.., .. } => Exit::Failed,
            Summarised { assertions, .. } if assertions.iter().any(|verdict| !verdict.holds) => Exit::Failed,
            Summarised { invalid: 1.., .. } => Exit::InvalidMeasurement,
            _ => Exit::Success,
        })
    }

    fn describe(&self, campaign: &Campaign, summarised: &Summarised<'_>) -> String {
        let Summarised { valid, invalid, failed, summary, assertions } = summarised;
        let mut text = format!(
            "experiment {}: {} cells, {valid} valid runs, {invalid} invalid, {failed} failed\n",
            campaign.name,
            self.dir.cells.len()
        );
        let factors: Vec<&str> = campaign.factors.iter().map(|factor| factor.name.as_str()).collect();
        let asserted: Vec<_> = campaign.assertions.iter().map(|assertion| assertion.metric).collect();
        text += &describe(summary, &factors, &asserted);
        if !assertions.is_empty() {
            let holding = assertions.iter().filter(|verdict| verdict.holds).count();
            text += &format!("\n{holding} of {} assertions hold\n", assertions.len());
        }
        text.extend(self.dir.runs().flat_map(complaints));
        text.extend(assertions.iter().filter_map(Verdict::complaint));
        text
    }
}

/// What is wrong with a run, in lines.
fn complaints(run: &RunRecord) -> Vec<String> {
    let name = run.directory.display();
    match &run.state {
        State::Done { invalid_because } => {
            invalid_because.iter().map(|reason| format!("INVALID: {name}: {reason}\n")).collect()
        }
        State::Failed { error } => vec![format!("FAILED: {name}: {error}\n")],
        State::Pending => vec![format!("MISSING: {name}\n")],
    }
}

/// What an earlier command has left, if it is of the same experiment.
fn resumed(path: &Path, planned: &CampaignDir, origin: &Origin<'_>) -> Result<CampaignDir, Failure> {
    let cannot = |error: &io::Error| {
        Failure::new(Exit::InvalidInput, format!("cannot resume {}: {error}", path.display()))
            .hint("name the directory of an experiment with factors or repetitions".to_owned())
    };
    let mut dir = CampaignDir::read(path).map_err(|error| cannot(&error))?;
    let provenance = fs::read(path.join("provenance.json"))
        .and_then(|text| Ok(serde_json::from_slice::<Value>(&text)?))
        .map_err(|error| cannot(&error))?;
    let hashes = |inputs: &Value| -> BTreeSet<String> {
        let inputs = inputs.as_array().map_or(&[][..], Vec::as_slice);
        inputs.iter().filter_map(|input| input["sha1"].as_str()).map(str::to_owned).collect()
    };
    let changed = if hashes(&provenance["inputs"]) != hashes(&json!(origin.inputs)) {
        "its files have changed since"
    } else if provenance["emulation"] != json!(origin.emulation)
        || provenance["family"] != json!(origin.family)
    {
        "it ran with other backends or addresses"
    } else if !dir.is_of(planned) {
        "it has other cells"
    } else {
        dir.adopt_whole_runs().map_err(|error| cannot(&error))?;
        return Ok(dir);
    };
    Err(Failure::new(Exit::Conflict, format!("cannot resume {}: {changed}", path.display()))
        .hint("runs of different experiments are not put together: begin a new directory".to_owned()))
}

/// A run that is to be made.
pub(super) fn planned(
    dir: &CampaignDir,
    campaign: &Campaign,
    number @ [cell, run]: [usize; 2],
) -> Result<(Experiment, Topology, RunDir), Failure> {
    let (experiment, topology) = campaign.run(&campaign.cells[cell], run).map_err(Failure::invalid)?;
    Ok((experiment, topology, dir.run_dir(number)?))
}

/// Shows what would be run, and how long that would take: in labs, or in virtual time.
pub(super) fn preview(terminal: &Terminal, campaign: &Campaign, in_labs: bool) -> Result<Exit, Failure> {
    let dir = CampaignDir::planned(campaign);
    let each: Duration = campaign.cells.iter().map(|cell| cell.lasts).sum();
    let runs = dir.runs().count();
    let timelines = each * campaign.repetitions as u32;
    let total = if in_labs { timelines + LAB_TIME * runs as u32 } else { timelines };
    let preview = Preview {
        experiment: campaign.name.clone(),
        cells: dir.cells.clone(),
        runs,
        seconds: total.as_secs_f64(),
    };
    terminal.show(&preview, |preview| {
        let cells = preview.cells.len();
        let time = if in_labs { "" } else { " of virtual time" };
        let mut text = format!(
            "experiment {}: {cells} cells, {runs} runs, about {}{time}\n\n",
            campaign.name,
            about(total)
        );
        text += &cell_table(&dir, &["runs", "seeds"], |cell| {
            let seeds: Vec<_> = cell.runs.iter().map(|run| run.seed.to_string()).collect();
            let seeds = match &seeds[..] {
                [first, .., last] => format!("{first}–{last}"),
                one => one.concat(),
            };
            vec![cell.runs.len().to_string(), seeds]
        });
        text
    })?;
    Ok(Exit::Success)
}

fn cell_table(dir: &CampaignDir, columns: &[&str], more: impl Fn(&CellRecord) -> Vec<String>) -> String {
    let factors = dir.design.factors.iter().map(|factor| factor.name.as_str());
    let header: Vec<&str> = ["  cell"].into_iter().chain(factors).chain(columns.iter().copied()).collect();
    let row = |cell: &CellRecord| {
        let name = cell.directory.file_name().map(PathBuf::from).unwrap_or_default();
        let levels = dir.design.factors.iter().map(|factor| cell.levels[&factor.name].clone());
        [format!("  {}", name.display())].into_iter().chain(levels).chain(more(cell)).collect()
    };
    table(&header, dir.cells.iter().map(row))
}

/// A time as people say it.
fn about(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        for (seconds, told) in [(0.4, "0 s"), (59.6, "1 min 0 s"), (61.0, "1 min 1 s"), (7322.0, "2 h 2 min")]
        {
            assert_eq!(about(Duration::from_secs_f64(seconds)), told);
        }
    }
}
