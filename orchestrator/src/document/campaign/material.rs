//! What an experiment's directory says.

use super::super::material::{Asserted, Unreadable, assertions, read};
use crate::campaign::{
    CampaignDir, CampaignSummary, CellRecord, RunRecord, State, samples_of_cell, together,
};
use crate::report::Samples;
use serde_json::Value;
use std::path::{Component, Path};

/// Runs that have pages of their own.
const PAGES: usize = 60;

/// What an experiment's directory says.
#[derive(Debug)]
pub struct CampaignMaterial {
    /// Which runs there are.
    pub dir: CampaignDir,
    /// The figures.
    pub summary: CampaignSummary,
    /// What was asserted, and whether it holds.
    pub assertions: Vec<Asserted>,
    /// The samples of each cell, its valid runs put together.
    pub(super) samples: Vec<Samples>,
    pub(super) provenance: Value,
}

impl CampaignMaterial {
    /// Reads an experiment's directory.
    ///
    /// # Errors
    /// A file is missing, or not what `run` and `sim` write.
    pub fn read(path: &Path) -> Result<Self, Unreadable> {
        let cells = path.join("cells.json");
        let dir = CampaignDir::read(path).map_err(|source| Unreadable::File { path: cells, source })?;
        let runs = dir.cells.iter().map(|cell| samples_of_cell(path, cell));
        let runs: Vec<_> = runs.collect::<Result<_, _>>()?;
        Ok(Self {
            summary: CampaignSummary::of(&dir, &runs),
            samples: runs.iter().map(|runs| together(runs.iter().flatten())).collect(),
            assertions: assertions(path)?,
            provenance: read(path.join("provenance.json"))?.unwrap_or_default(),
            dir,
        })
    }

    /// The directories of the runs that have pages of their own: all, or where that were too many, the first of each cell.
    pub fn pages(&self) -> Vec<&Path> {
        let done = |run: &&RunRecord| matches!(run.state, State::Done { .. }) && is_inside(&run.directory);
        let all: Vec<_> = self.dir.runs().filter(done).map(|run| run.directory.as_path()).collect();
        if all.len() <= PAGES {
            return all;
        }
        let first = |cell: &'_ CellRecord| cell.runs.iter().position(|run| done(&run));
        let cells =
            self.dir.cells.iter().filter_map(|cell| Some(cell.runs[first(cell)?].directory.as_path()));
        cells.take(PAGES).collect()
    }
}

/// Whether a directory lies in the experiment's, whatever the list of runs says.
pub fn is_inside(directory: &Path) -> bool {
    directory.components().all(|component| matches!(component, Component::Normal(_)))
}
