//! Two runs, cells or whole experiments side by side.

use super::directory::CampaignDir;
use super::summary::{samples_of_cell, samples_of_run, together};
use super::text::{interval, titled};
use crate::comparison::NoRun;
use crate::report::{Figures, Samples, Values, cliffs_delta, number, table, unpaired};
use samp_model::metric::Metric;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One of two things that are compared.
#[derive(Debug)]
pub struct Side {
    /// Its directory.
    pub directory: PathBuf,
    /// What made its links and attachments, or that it was simulated.
    pub backend: String,
    /// Its cells; of a run or a cell one.
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    name: String,
    levels: BTreeMap<String, String>,
    samples: Samples,
}

/// Two cells that belong together.
#[derive(Clone, Debug, Serialize)]
pub struct Pairing {
    /// The first one's name.
    pub first: String,
    /// The second one's name.
    pub second: String,
    /// What is different, by metric.
    pub differences: Vec<Difference>,
}

/// How a metric of the second side differs from the first side's.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Which.
    pub metric: Metric,
    /// How many values each side has.
    pub n: [usize; 2],
    /// The medians, or the shares in percent, in the metric's unit.
    pub figures: [f64; 2],
    /// The second less the first.
    pub difference: f64,
    /// Its 95 % interval: of medians by bootstrap, of shares by Newcombe's method (1998).
    pub ci95: [f64; 2],
    /// Cliff's delta: 1 when all values of the second are larger, −1 when all are smaller; a share has none.
    pub cliffs_delta: Option<f64>,
}

/// Why two directories cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum NotComparable {
    /// One is no run, cell or experiment.
    #[error(transparent)]
    NoRun(#[from] NoRun),
    /// One is no run, cell or experiment.
    #[error("{} is no run, cell or experiment", .0.display())]
    Unknown(PathBuf),
    /// A run's measurements are not valid.
    #[error("{} is not valid: {why}", directory.display())]
    Invalid {
        /// The run.
        directory: PathBuf,
        /// Why.
        why: String,
    },
    /// The two have different cells.
    #[error("no cell of {} has the levels of one of {}", .0.display(), .1.display())]
    NothingInCommon(PathBuf, PathBuf),
}

impl Side {
    /// Reads a run, a cell of an experiment, or an experiment of many runs.
    ///
    /// # Errors
    /// It is none, or not valid.
    pub fn read(directory: &Path) -> Result<Self, NotComparable> {
        let unknown = || NotComparable::Unknown(directory.to_owned());
        let name = || directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (cells, provenance) = if CampaignDir::is_at(directory) {
            let dir = CampaignDir::read(directory).map_err(|_| unknown())?;
            (cells(&dir, |_| true)?, directory.to_owned())
        } else if directory.join("records.jsonl").is_file() {
            if let Some(why) = invalid_because(directory) {
                return Err(NotComparable::Invalid { directory: directory.to_owned(), why });
            }
            let samples = samples_of_run(directory)?;
            (vec![Cell { name: name(), levels: BTreeMap::new(), samples }], directory.to_owned())
        } else {
            // A cell lies two levels below its experiment.
            let experiment = directory.join("../..");
            let dir = CampaignDir::read(&experiment).map_err(|_| unknown())?;
            (cells(&dir, |own| own.file_name() == directory.file_name())?, experiment)
        };
        if cells.is_empty() {
            return Err(unknown());
        }
        Ok(Self {
            directory: directory.to_owned(),
            backend: backend(&provenance).ok_or_else(unknown)?,
            cells,
        })
    }
}

/// The cells of an experiment that are wanted, with what their valid runs have recorded.
fn cells(dir: &CampaignDir, is_wanted: impl Fn(&Path) -> bool) -> Result<Vec<Cell>, NoRun> {
    let wanted = dir.cells.iter().filter(|cell| is_wanted(&cell.directory));
    wanted
        .map(|cell| {
            let runs = samples_of_cell(dir.path(), cell)?;
            Ok(Cell {
                name: cell.directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                levels: cell.levels.clone(),
                samples: together(runs.iter().flatten()),
            })
        })
        .collect()
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn invalid_because(run: &Path) -> Option<String> {
    let reasons = json(&run.join("summary.json"))?["invalid_because"].as_array()?.clone();
    let reasons: Vec<_> = reasons.iter().filter_map(Value::as_str).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn backend(directory: &Path) -> Option<String> {
    let provenance = json(&directory.join("provenance.json"))?;
    let emulation = provenance.get("emulation")?;
    let word = |name: &str| emulation[name].as_str().map(str::to_owned);
    Some(match (word("links"), word("attach")) {
        (Some(links), Some(attach)) => format!("links {links}, attach {attach}"),
        _ => "simulated".to_owned(),
    })
}

/// The cells of two sides that have the same levels, or the only two.
///
/// # Errors
/// [`NotComparable::NothingInCommon`].
pub fn compare(first: &Side, second: &Side) -> Result<Vec<Pairing>, NotComparable> {
    let are_single = first.cells.len() == 1 && second.cells.len() == 1;
    let pairs: Vec<_> = first
        .cells
        .iter()
        .filter_map(|cell| {
            let partner = second.cells.iter().find(|other| are_single || other.levels == cell.levels)?;
            Some(Pairing {
                first: cell.name.clone(),
                second: partner.name.clone(),
                differences: differences(&cell.samples, &partner.samples),
            })
        })
        .collect();
    if pairs.is_empty() {
        return Err(NotComparable::NothingInCommon(second.directory.clone(), first.directory.clone()));
    }
    Ok(pairs)
}

fn differences(first: &Samples, second: &Samples) -> Vec<Difference> {
    let difference = |metric| match (first.get(metric)?, second.get(metric)?) {
        (Values::Sample(a), Values::Sample(b)) => {
            let (difference, ci95) = unpaired(a, b)?;
            Some(Difference {
                metric,
                n: [a.len(), b.len()],
                figures: [first.get(metric)?.middle(), second.get(metric)?.middle()],
                difference,
                ci95,
                cliffs_delta: cliffs_delta(a, b),
            })
        }
        (a @ Values::Share { all: of_a, .. }, b @ Values::Share { all: of_b, .. }) => {
            let Figures::Share { percent: p, ci95: [p_low, p_high], .. } = a.figures() else { return None };
            let Figures::Share { percent: q, ci95: [q_low, q_high], .. } = b.figures() else { return None };
            let ci95 = [q - p - (q - q_low).hypot(p_high - p), q - p + (q_high - q).hypot(p - p_low)];
            let n = [*of_a as usize, *of_b as usize];
            Some(Difference { metric, n, figures: [p, q], difference: q - p, ci95, cliffs_delta: None })
        }
        _ => None,
    };
    Metric::all().filter_map(difference).collect()
}

/// The pairings as people read them.
pub fn describe_pairings(pairings: &[Pairing]) -> String {
    let mut text = String::new();
    for Pairing { first, second, differences } in pairings {
        text += &if first == second { format!("{first}\n") } else { format!("{first}, then {second}\n") };
        let row = |one: &Difference| {
            let metric = one.metric;
            vec![
                format!("  {}", titled(metric)),
                format!("{}, {}", one.n[0], one.n[1]),
                number(metric, one.figures[0]),
                number(metric, one.figures[1]),
                number(metric, one.difference),
                interval(metric, one.ci95),
                one.cliffs_delta.map_or("-".to_owned(), |delta| format!("{delta:.2}")),
            ]
        };
        let header = ["  metric", "n", "first", "second", "difference", "95 % interval", "Cliff's delta"];
        text += &(table(&header, differences.iter().map(row)) + "\n");
    }
    text
}
