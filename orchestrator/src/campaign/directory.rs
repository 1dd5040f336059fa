//! The directory of an experiment of many runs: `cells.json` says which runs there are and what became of them, each
//! whole run is a directory of its own below `cells/`.

use crate::experiment::{Provenance, RunDir, RunDirError};
use samp_model::experiment::{Campaign, Cell, Factor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The file that says which runs there are.
const CELLS: &str = "cells.json";
/// Characters of the levels in a cell's directory name at most.
const LONGEST_NAME: usize = 60;

/// A combination of levels, and its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRecord {
    /// Its directory, from the experiment's.
    pub directory: PathBuf,
    /// The level of each factor.
    pub levels: BTreeMap<String, String>,
    /// Its runs, one for each repetition.
    pub runs: Vec<RunRecord>,
}

/// A run, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Which repetition of its cell it is, from 1.
    pub repetition: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// Its directory, from the experiment's; it exists when the run is whole.
    pub directory: PathBuf,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Not done yet.
    Pending,
    /// Whole; it is valid when there is no reason why not.
    Done {
        /// Why its measurements are not valid.
        invalid_because: Vec<String>,
    },
    /// Broken off.
    Failed {
        /// Why.
        error: String,
    },
}

/// What `experiment.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Design {
    /// The experiment's name.
    pub experiment: String,
    /// What differs between the cells, in order.
    pub factors: Vec<FactorRecord>,
    /// How often each cell is run.
    pub repetitions: usize,
}

/// A factor with its levels; the first is what the others are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorRecord {
    /// Its name.
    pub name: String,
    /// Its levels.
    pub levels: Vec<String>,
}

/// The directory of an experiment of many runs.
#[derive(Clone, Debug)]
pub struct CampaignDir {
    path: PathBuf,
    /// What is planned.
    pub design: Design,
    /// The cells, in order.
    pub cells: Vec<CellRecord>,
}

impl CampaignDir {
    /// What there is to run, in a directory that does not exist yet.
    pub fn planned(campaign: &Campaign) -> Self {
        let factor =
            |factor: &Factor| FactorRecord { name: factor.name.clone(), levels: factor.levels.clone() };
        let design = Design {
            experiment: campaign.name.clone(),
            factors: campaign.factors.iter().map(factor).collect(),
            repetitions: campaign.repetitions,
        };
        let cells = campaign.cells.iter().enumerate().map(|(index, cell)| cell_record(campaign, index, cell));
        Self { path: PathBuf::new(), design, cells: cells.collect() }
    }

    /// Writes it into a fresh directory.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn create(mut self, fresh: RunDir, provenance: &Provenance) -> Result<Self, RunDirError> {
        fresh.write_json("provenance.json", provenance)?;
        fresh.write_json("experiment.json", &self.design)?;
        fresh.write_json(CELLS, &self.cells)?;
        self.path = fresh.finish()?;
        Ok(self)
    }

    /// Reads what an experiment of many runs has written.
    ///
    /// # Errors
    /// The directory is none of such an experiment.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = |name| File::open(path.join(name)).map(BufReader::new);
        Ok(Self {
            path: path.to_owned(),
            design: serde_json::from_reader(file("experiment.json")?)?,
            cells: serde_json::from_reader(file(CELLS)?)?,
        })
    }

    /// Notes the runs that are whole though nobody has noted it, as whoever made them was killed before.
    ///
    /// # Errors
    /// Such a run cannot be read.
    pub fn adopt_whole_runs(&mut self) -> io::Result<()> {
        #[derive(Deserialize)]
        struct Summary {
            invalid_because: Vec<String>,
        }
        for run in self.cells.iter_mut().flat_map(|cell| &mut cell.runs) {
            let directory = self.path.join(&run.directory);
            if !matches!(run.state, State::Done { .. }) && directory.exists() {
                let file = BufReader::new(File::open(directory.join("summary.json"))?);
                let Summary { invalid_because } = serde_json::from_reader(file)?;
                run.state = State::Done { invalid_because };
            }
        }
        self.save()
    }

    /// Whether there is the directory of an experiment of many runs.
    pub fn is_at(path: &Path) -> bool {
        path.join(CELLS).is_file()
    }

    /// Whether the same was planned here, whatever has become of it.
    pub fn is_of(&self, planned: &Self) -> bool {
        let runs = |dir: &Self| -> Vec<_> {
            let runs = dir.cells.iter().flat_map(|cell| cell.runs.iter().map(move |run| (cell, run)));
            runs.map(|(cell, run)| (cell.levels.clone(), run.directory.clone(), run.seed)).collect()
        };
        self.design == planned.design && runs(self) == runs(planned)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of cells and repetitions, from 0, of the runs that are not whole, in order.
    pub fn missing(&self) -> Vec<[usize; 2]> {
        let runs = self.cells.iter().enumerate().flat_map(|(cell, record)| {
            record.runs.iter().enumerate().map(move |(run, record)| ([cell, run], record))
        });
        runs.filter(|(_, run)| !matches!(run.state, State::Done { .. })).map(|(number, _)| number).collect()
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &RunRecord> {
        self.cells.iter().flat_map(|cell| &cell.runs)
    }

    /// The directory of a run that is to be made; what an earlier attempt has left is removed.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn run_dir(&self, [cell, run]: [usize; 2]) -> Result<RunDir, RunDirError> {
        RunDir::create_anew(&self.path.join(&self.cells[cell].runs[run].directory))
    }

    /// Notes what became of a run.
    ///
    /// # Errors
    /// Something in the file system.
    pub fn note(&mut self, [cell, run]: [usize; 2], state: State) -> io::Result<()> {
        self.cells[cell].runs[run].state = state;
        self.save()
    }

    /// At any moment there is a whole list on the disk.
    fn save(&self) -> io::Result<()> {
        self.write("cells.json.new", &self.cells)?;
        fs::rename(self.path.join("cells.json.new"), self.path.join(CELLS))
    }

    /// Writes a file as JSON.
    ///
    /// # Errors
    /// Something in the file system.
    pub fn write(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(self.path.join(name))?);
        serde_json::to_writer_pretty(&mut file, content)?;
        file.write_all(b"\n")?;
        file.flush()
    }
}

impl RunRecord {
    /// Whether its measurements can be used.
    pub fn is_valid(&self) -> bool {
        matches!(&self.state, State::Done { invalid_because } if invalid_because.is_empty())
    }
}

fn cell_record(campaign: &Campaign, index: usize, cell: &Cell) -> CellRecord {
    let directory =
        Path::new("cells").join(directory_name(index, campaign.levels(cell).map(|(_, level)| level)));
    let run = |repetition: usize| RunRecord {
        repetition,
        seed: cell.seed.wrapping_add(repetition as u64 - 1),
        directory: directory.join(repetition.to_string()),
        state: State::Pending,
    };
    CellRecord {
        runs: (1..=campaign.repetitions).map(run).collect(),
        levels: campaign.levels(cell).map(|(name, level)| (name.to_owned(), level.to_owned())).collect(),
        directory,
    }
}

/// The name of a cell's directory: its number, from 1, and its levels as far as they fit file names.
pub fn directory_name<'l>(index: usize, levels: impl Iterator<Item = &'l str>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let mut name = format!("{:03}", index + 1);
    for level in levels {
        name.push('-');
        name.extend(level.trim_matches(['.', '-', '/']).chars().map(plain));
    }
    name.truncate(LONGEST_NAME);
    name.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cells_fit_file_systems() {
        for (index, levels, name) in [
            (0, &["on", "14ms"][..], "001-on-14ms"),
            (11, &["../topologies/line.yaml"], "012-topologies-line.yaml"),
            (1000, &["[0ms, 5ms]"], "1001--0ms--5ms"),
            (1, &["..", ""], "002"),
            (1, &[], "002"),
        ] {
            assert_eq!(directory_name(index, levels.iter().copied()), name);
        }
        assert!(directory_name(0, ["x"; 99].into_iter()).len() <= LONGEST_NAME);
    }
}
