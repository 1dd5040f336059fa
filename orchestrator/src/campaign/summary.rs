//! What the runs of an experiment say together: the figures of each cell, and what each factor does.

use super::directory::{CampaignDir, CellRecord, FactorRecord};
use crate::comparison::{NoRun, RecordedRun};
use crate::report::{Figures, MetricFigures, Report, Samples, Values, cliffs_delta, paired};
use samp_model::metric::Metric;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What `summary.json` of an experiment of many runs holds. Only valid runs count.
#[derive(Clone, Debug, Serialize)]
pub struct CampaignSummary {
    /// The experiment's name.
    pub experiment: String,
    /// The figures of each cell, its runs put together.
    pub cells: Vec<CellSummary>,
    /// What each factor's levels do, compared with its first.
    pub effects: Vec<Effect>,
}

/// The figures of a cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellSummary {
    /// Its directory, from the experiment's.
    pub directory: PathBuf,
    /// The level of each factor.
    pub levels: BTreeMap<String, String>,
    /// How many runs it has.
    pub runs: usize,
    /// How many of them are valid.
    pub valid: usize,
    /// The metrics that have values.
    pub metrics: Vec<MetricFigures>,
}

/// What a level of a factor does to a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The factor.
    pub factor: String,
    /// Its level.
    pub level: String,
    /// The level that it is compared with.
    pub baseline: String,
    /// What is compared.
    pub metric: Metric,
    /// How many pairs of valid runs there are that differ in this factor only: the other factors' levels and the
    /// repetition are the same, and so who moves and calls.
    pub pairs: usize,
    /// The median over all pairs of what the run's median, or share, is more than its partner's, in the metric's unit.
    pub difference: f64,
    /// Its bootstrap 95 % interval; one pair has none.
    pub ci95: Option<[f64; 2]>,
    /// Cliff's delta of all values of these runs; a share has none.
    pub cliffs_delta: Option<f64>,
}

impl CampaignSummary {
    /// From what the valid runs have recorded.
    ///
    /// # Errors
    /// A run cannot be read.
    pub fn read(dir: &CampaignDir) -> Result<Self, NoRun> {
        let cells = dir.cells.iter().map(|cell| samples_of_cell(dir.path(), cell));
        let runs: Vec<_> = cells.collect::<Result<_, _>>()?;
        Ok(Self::of(dir, &runs))
    }

    /// From the samples of each run, by cell and repetition; none of runs that are not valid.
    pub fn of(dir: &CampaignDir, runs: &[Vec<Option<Samples>>]) -> Self {
        let summary = |(cell, runs): (&CellRecord, &Vec<Option<Samples>>)| CellSummary {
            directory: cell.directory.clone(),
            levels: cell.levels.clone(),
            runs: runs.len(),
            valid: runs.iter().flatten().count(),
            metrics: together(runs.iter().flatten()).figures(),
        };
        let effects = dir.design.factors.iter().flat_map(|factor| effects(factor, &dir.cells, runs));
        Self {
            experiment: dir.design.experiment.clone(),
            cells: dir.cells.iter().zip(runs).map(summary).collect(),
            effects: effects.collect(),
        }
    }
}

impl CellSummary {
    /// The figures of a metric, if it has values.
    pub fn figures(&self, metric: Metric) -> Option<&Figures> {
        self.metrics.iter().find(|figures| figures.metric == metric).map(|found| &found.figures)
    }
}

/// The samples of a run's directory.
///
/// # Errors
/// It is none.
pub fn samples_of_run(directory: &Path) -> Result<Samples, NoRun> {
    let run = RecordedRun::read(directory)?;
    Ok(Samples::of(&Report::assemble(&run.topology, &run.records)))
}

/// The samples of a cell's runs, in order; none of those that are not valid.
///
/// # Errors
/// A valid run's directory is none.
pub fn samples_of_cell(experiment: &Path, cell: &CellRecord) -> Result<Vec<Option<Samples>>, NoRun> {
    let runs = cell.runs.iter();
    runs.map(|run| run.is_valid().then(|| samples_of_run(&experiment.join(&run.directory))).transpose())
        .collect()
}

/// The samples of several runs as one.
pub fn together<'s>(runs: impl Iterator<Item = &'s Samples>) -> Samples {
    let mut all = Samples::default();
    runs.for_each(|samples| all.extend(samples));
    all
}

fn effects(factor: &FactorRecord, cells: &[CellRecord], runs: &[Vec<Option<Samples>>]) -> Vec<Effect> {
    let Some((baseline, levels)) = factor.levels.split_first() else { return Vec::new() };
    let mut effects = Vec::new();
    for level in levels {
        // The runs of all cells of this level, each with its partner's.
        let mut pairs: Vec<[&Samples; 2]> = Vec::new();
        for (cell, its_runs) in cells.iter().zip(runs).filter(|(cell, _)| cell.levels[&factor.name] == *level)
        {
            let mut partner = cell.levels.clone();
            partner.insert(factor.name.clone(), baseline.clone());
            let Some(partner) = cells.iter().position(|cell| cell.levels == partner) else { continue };
            let both = runs[partner].iter().zip(its_runs);
            pairs.extend(both.filter_map(|(first, second)| Some([first.as_ref()?, second.as_ref()?])));
        }
        effects.extend(Metric::all().filter_map(|metric| {
            let values: Vec<[&Values; 2]> = pairs
                .iter()
                .filter_map(|[first, second]| Some([first.get(metric)?, second.get(metric)?]))
                .collect();
            let differences = values.iter().map(|[first, second]| second.middle() - first.middle());
            let (difference, ci95) = paired(differences.collect())?;
            let all = |side: usize| {
                let mut all: Vec<f64> = values
                    .iter()
                    .flat_map(|pair| match pair[side] {
                        Values::Sample(sample) => &sample[..],
                        Values::Share { .. } => &[],
                    })
                    .copied()
                    .collect();
                all.sort_by(f64::total_cmp);
                all
            };
            Some(Effect {
                factor: factor.name.clone(),
                level: level.clone(),
                baseline: baseline.clone(),
                metric,
                pairs: values.len(),
                difference,
                ci95,
                cliffs_delta: cliffs_delta(&all(0), &all(1)),
            })
        }));
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{RunRecord, State};

    fn sample(values: &[f64]) -> Option<Samples> {
        let ser = Values::Share { of: values.len() as u64, all: 4 };
        Some([(Metric::Srd, Values::Sample(values.to_vec())), (Metric::Ser, ser)].into_iter().collect())
    }

    fn cell(hr: &str, delta: &str) -> CellRecord {
        let run = |repetition| RunRecord {
            repetition,
            seed: repetition as u64,
            directory: PathBuf::new(),
            state: State::Pending,
        };
        let levels = [("hr", hr), ("delta", delta)];
        CellRecord {
            directory: PathBuf::from(format!("cells/{hr}-{delta}")),
            levels: levels.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
            runs: vec![run(1), run(2)],
        }
    }

    #[test]
    fn effects_are_of_runs_that_differ_in_one_factor_only() {
        let factor = |name: &str, levels: [&str; 2]| FactorRecord {
            name: name.to_owned(),
            levels: levels.map(str::to_owned).to_vec(),
        };
        let cells = [cell("on", "10ms"), cell("on", "20ms"), cell("off", "10ms"), cell("off", "20ms")];
        let runs = vec![
            vec![sample(&[1.0, 2.0, 3.0]), sample(&[2.0])],
            vec![sample(&[5.0]), sample(&[6.0])],
            vec![sample(&[4.0]), sample(&[12.0])],
            // This run is not valid, so its partners stay alone.
            vec![None, sample(&[36.0])],
        ];
        let all = effects(&factor("hr", ["on", "off"]), &cells, &runs);
        let [srd, ser] = &all[..] else { panic!("{all:?}") };
        // 4 − 2, 12 − 2 and 36 − 6.
        assert_eq!((srd.metric, srd.pairs, srd.difference), (Metric::Srd, 3, 10.0));
        assert_eq!((srd.ci95, srd.cliffs_delta), (Some([2.0, 30.0]), Some(13.0 / 15.0)));
        assert_eq!((srd.level.as_str(), srd.baseline.as_str()), ("off", "on"));
        // 25 − 75, 25 − 25 and 25 − 25 percent.
        assert_eq!((ser.metric, ser.difference, ser.cliffs_delta), (Metric::Ser, 0.0, None));
        let delta = &effects(&factor("delta", ["10ms", "20ms"]), &cells, &runs)[0];
        assert_eq!((delta.pairs, delta.difference), (3, 4.0));
        // A level that was not run beside its baseline has no effect.
        assert_eq!(effects(&factor("hr", ["on", "off"]), &cells[1..3], &runs[1..3]), []);
    }
}
