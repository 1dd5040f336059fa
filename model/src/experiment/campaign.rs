//! An experiment file as a whole: the cells that its factors span, how often each is repeated, and the run that each
//! repetition of a cell is.

use super::assertion::{Assertion, MAX_ASSERTIONS};
use super::file::{CellFile, ExperimentFile, Levels};
use super::movement::is_trace;
use super::trace::MAX_TRACE;
use super::{Experiment, ReadFile, resolve};
use crate::diagnostic::{Diagnostic, did_you_mean, quote};
use crate::topology::Topology;
use crate::tree::{Place, Raw, Setting, Tree, rewritten};
use crate::units::InvalidValue;
use crate::yaml::{Entries, Errors, Source, Whole, span};
use serde::Serialize;
use serde_yaml::Spanned;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Factors of an experiment at most.
const MAX_FACTORS: usize = 8;
/// Levels of a factor at most.
const MAX_LEVELS: usize = 100;
/// Cells of an experiment at most.
const MAX_CELLS: usize = 1_000;
/// Repetitions of each cell at most.
pub(super) const MAX_REPETITIONS: u64 = 1_000;
/// Runs of an experiment at most.
const MAX_RUNS: usize = 10_000;
/// Nodes of all cells together at most, where 16 bytes of the files count as much as a node: to check a cell takes time.
const MAX_SIZE: usize = 2_000_000;
/// Characters in the names of factors and levels at most.
const LONGEST_LABEL: usize = 60;
/// The fields of an experiment that a knob may be; the first part of any other path is a field of the topology.
const OWN_FIELDS: [&str; 6] = ["topology", "seed", "calibrate", "unfinished", "capture", "timeline"];
/// The fields that no knob may be: they are about all cells.
const FIELDS_OF_ALL: [&str; 6] = ["name", "set", "factors", "cells", "repetitions", "assert"];

/// An experiment with all its cells; all have been checked.
pub struct Campaign {
    /// The experiment's name.
    pub name: String,
    /// What differs between the cells; without a factor there is one cell.
    pub factors: Vec<Factor>,
    /// The cells, in the order of the factors' levels, the last factor's first.
    pub cells: Vec<Cell>,
    /// How often each cell is run, each time with another seed.
    pub repetitions: usize,
    /// What is to hold.
    pub assertions: Vec<Assertion>,
    source: Source,
    /// What holds in every cell.
    set: Vec<Setting>,
    /// Topologies and traces as they were read, so that all runs are of the same.
    files: BTreeMap<PathBuf, Source>,
    /// The first cell's first run.
    first: (Experiment, Topology),
}

/// Something that differs between cells.
#[derive(Clone, Serialize)]
pub struct Factor {
    /// Its name.
    pub name: String,
    /// Its levels; the first is what the others are compared with.
    pub levels: Vec<String>,
    /// What each level sets.
    #[serde(skip)]
    settings: Vec<Vec<Setting>>,
}

/// One combination of levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The index of the level of each factor.
    pub levels: Vec<usize>,
    /// The seed of the first run.
    pub seed: u64,
    /// How long a run's timeline lasts, without what calls and handoffs take.
    pub lasts: Duration,
}

impl Campaign {
    /// Reads an experiment file, and checks each cell.
    ///
    /// # Errors
    /// All that is wrong with the file, or with the first cell that cannot be.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::parse(&Source::read(path)?, &read_file)
    }

    pub(super) fn parse(source: &Source, read: ReadFile<'_>) -> Result<Self, Vec<Diagnostic>> {
        let file: ExperimentFile = source.parse()?;
        let mut reader = Reader { source, errors: Errors::new(source.clone()) };
        let set = reader.settings(file.set.as_ref());
        let factors = reader.factors(&file);
        let repetitions = reader.errors.value_or(file.repetitions.as_ref(), Whole(1)).0 as usize;
        let combinations = reader.combinations(&file, &factors, repetitions);
        let assertions = reader.assertions(file.assert.as_deref().unwrap_or_default(), &factors);
        let errors = reader.errors.into_list();
        if !errors.is_empty() {
            return Err(errors);
        }

        let files = RefCell::new(BTreeMap::new());
        let remember = |path: &Path| {
            if let Some(known) = files.borrow().get(path) {
                return Ok(Source::clone(known));
            }
            let read = read(path)?;
            files.borrow_mut().insert(path.to_owned(), read.clone());
            Ok(read)
        };
        let first = one(source, Some(&file), &settings_of(&set, &factors, &combinations[0]), 0, &remember)?;
        let bytes = source.text().len() + files.borrow().values().map(|f| f.text().len()).sum::<usize>();
        let size = first.1.nodes.len() + bytes / 16;
        let count = combinations.len();
        if count > 1 && count * size > MAX_SIZE {
            let message = format!("{count} cells of {} nodes each are too many", first.1.nodes.len());
            return Err(vec![
                source.diagnostic(0..0, message).hint("use fewer levels, or a smaller topology"),
            ]);
        }
        let mut cells = Vec::new();
        for levels in combinations {
            let experiment = match cells.is_empty() {
                true => first.0.clone(),
                false => one(source, None, &settings_of(&set, &factors, &levels), 0, &remember)?.0,
            };
            cells.push(Cell { levels, seed: experiment.seed, lasts: experiment.lasts() });
        }
        let files = files.into_inner();
        let name = first.0.name.clone();
        let source = source.clone();
        Ok(Self { name, factors, cells, repetitions, assertions, source, set, files, first })
    }

    /// Whether there is but one run, of a file without factors.
    pub fn is_single(&self) -> bool {
        self.factors.is_empty() && self.repetitions == 1
    }

    /// The first cell's first run.
    pub fn first(&self) -> &(Experiment, Topology) {
        &self.first
    }

    /// A cell's run; its seed is the cell's plus `repetition`, which counts from 0.
    ///
    /// # Errors
    /// A file that a topology names has changed since the experiment was read.
    pub fn run(&self, cell: &Cell, repetition: usize) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
        let read = |path: &Path| match self.files.get(path) {
            Some(known) => Ok(known.clone()),
            None => read_file(path),
        };
        one(
            &self.source,
            None,
            &settings_of(&self.set, &self.factors, &cell.levels),
            repetition as u64,
            &read,
        )
    }

    /// The names of a cell's levels, each with its factor's.
    pub fn levels<'c>(&'c self, cell: &'c Cell) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.factors
            .iter()
            .zip(&cell.levels)
            .map(|(factor, &level)| (factor.name.as_str(), factor.levels[level].as_str()))
    }

    /// The topology files.
    pub fn topologies(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path).filter(|path| !is_trace(path))
    }

    /// The traces.
    pub fn traces(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path).filter(|path| is_trace(path))
    }
}

fn read_file(path: &Path) -> Result<Source, Vec<Diagnostic>> {
    if is_trace(path) { Source::read_at_most(path, MAX_TRACE) } else { Source::read(path) }
}

/// What is set in a cell: later ones win.
fn settings_of<'c>(set: &'c [Setting], factors: &'c [Factor], levels: &[usize]) -> Vec<&'c Setting> {
    let of_levels = factors.iter().zip(levels).flat_map(|(factor, &level)| &factor.settings[level]);
    set.iter().chain(of_levels).collect()
}

/// One run; `file` is what `source` holds, where it has been parsed already.
fn one(
    source: &Source,
    file: Option<&ExperimentFile>,
    settings: &[&Setting],
    repetition: u64,
    read: ReadFile<'_>,
) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    let is_own = |setting: &&Setting| OWN_FIELDS.contains(&first_part(&setting.path));
    let (own, of_topology): (Vec<&Setting>, Vec<&Setting>) = settings.iter().copied().partition(is_own);
    if own.is_empty() {
        return match file {
            Some(file) => resolve(source, file, &of_topology, repetition, read),
            None => resolve(source, &source.parse()?, &of_topology, repetition, read),
        };
    }
    let written = rewritten(source, own)?;
    let resolved = written
        .source()
        .parse()
        .and_then(|file| resolve(written.source(), &file, &of_topology, repetition, read));
    resolved.map_err(|errors| written.back(errors))
}

fn first_part(path: &str) -> &str {
    path.split('.').next().unwrap_or_default()
}

/// Reads what is about all cells.
struct Reader<'s> {
    source: &'s Source,
    errors: Errors,
}

impl Reader<'_> {
    fn settings(&mut self, settings: Option<&Entries<Spanned<Raw>>>) -> Vec<Setting> {
        let entries = settings.map_or(&[][..], |settings| &settings.0);
        entries.iter().filter_map(|(knob, value)| self.setting(knob, value)).collect()
    }

    fn setting(&mut self, knob: &Spanned<String>, value: &Spanned<Raw>) -> Option<Setting> {
        let field = first_part(&knob.value);
        if FIELDS_OF_ALL.contains(&field) {
            self.errors.report(span(knob), format!("`{field}` is no knob"), |error| {
                error.hint(
                    "it is about all cells; a knob is a path as samp.delta or timeline.0.handoff.interval",
                )
            });
            return None;
        }
        let value = Tree::of(self.source, value);
        Some(Setting { path: knob.value.clone(), place: Place::new(self.source, span(knob)), value })
    }

    fn factors(&mut self, file: &ExperimentFile) -> Vec<Factor> {
        let mut factors = Vec::new();
        for (name, levels) in file.factors.iter().flat_map(|factors| &factors.0) {
            if factors.len() == MAX_FACTORS {
                self.errors.report(span(name), format!("more than {MAX_FACTORS} factors"), |error| {
                    error.hint("an experiment with fewer says more")
                });
                break;
            }
            self.label(name, &name.value);
            let count = match levels {
                Levels::Values(values) => values.len(),
                Levels::Named(named) => named.0.len(),
            };
            if count == 0 {
                self.errors.report(span(name), "a factor without levels", |error| {
                    error.hint("write them as a list of values, or as names with what each sets")
                });
            } else if count > MAX_LEVELS {
                self.errors.report(span(name), format!("more than {MAX_LEVELS} levels"), |error| error);
                continue;
            }
            let (levels, settings) = match levels {
                Levels::Values(values) => {
                    let level = |value| Some((self.value_label(value)?, vec![self.setting(name, value)?]));
                    values.iter().filter_map(level).unzip()
                }
                Levels::Named(named) => {
                    let level = |(level, settings): &(Spanned<String>, _)| {
                        self.label(level, &level.value);
                        (level.value.clone(), self.settings(Some(settings)))
                    };
                    named.0.iter().map(level).unzip()
                }
            };
            let factor = Factor { name: name.value.clone(), levels, settings };
            let mut known = BTreeSet::new();
            if let Some(twice) = factor.levels.iter().find(|level| !known.insert(*level)) {
                self.errors.report(span(name), format!("two levels are {}", quote(twice)), |error| error);
            }
            factors.push(factor);
        }
        factors
    }

    /// The name of a level that is a value.
    fn value_label(&mut self, value: &Spanned<Raw>) -> Option<String> {
        let label = Tree::of(self.source, value).label();
        let Some(label) = label else {
            self.errors.report(span(value), "a value is missing", |error| error.label("empty"));
            return None;
        };
        self.label(value, &label);
        Some(label)
    }

    /// Whether this can be the name of a factor or level: it is shown, and part of file names.
    fn label<T>(&mut self, at: &Spanned<T>, label: &str) {
        let fits = (1..=LONGEST_LABEL).contains(&label.len());
        if !fits || !label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) || label.contains('=')
        {
            self.errors.report(span(at), format!("{} is no name", quote(label)), |error| {
                error.hint(format!(
                    "use at most {LONGEST_LABEL} ASCII characters, without `=`; name levels as `on: {{ samp.tier1.enabled: true }}`"
                ))
            });
        }
    }

    fn assertions(&mut self, file: &[Spanned<String>], factors: &[Factor]) -> Vec<Assertion> {
        let mut assertions = Vec::new();
        for assertion in file {
            if assertions.len() == MAX_ASSERTIONS {
                let message = format!("more than {MAX_ASSERTIONS} assertions");
                self.errors.report(span(assertion), message, |error| error);
                break;
            }
            match Assertion::parse(&assertion.value, factors) {
                Ok(parsed) => assertions.push(parsed),
                Err(InvalidValue { message, hint }) => {
                    self.errors.report(span(assertion), message, |error| error.hint(hint));
                }
            }
        }
        assertions
    }

    /// The levels of all cells; at least one, unless there are errors.
    fn combinations(
        &mut self,
        file: &ExperimentFile,
        factors: &[Factor],
        repetitions: usize,
    ) -> Vec<Vec<usize>> {
        let listed = file.cells.as_ref();
        let levels = factors.iter().map(|factor| factor.levels.len());
        let count = match listed {
            Some(listed) => listed.value.len(),
            None => levels.fold(1usize, usize::saturating_mul),
        };
        let at = match (listed, file.factors.as_ref().and_then(|factors| factors.0.last())) {
            (Some(listed), _) => span(listed),
            (None, Some((name, _))) => span(name),
            (None, None) => 0..0,
        };
        if count > MAX_CELLS || count.saturating_mul(repetitions) > MAX_RUNS {
            let message = format!("{count} cells, each run {repetitions} times");
            self.errors.report(at, message, |error| {
                error.label("too much").hint(format!("at most {MAX_CELLS} cells and {MAX_RUNS} runs"))
            });
            return Vec::new();
        }
        let Some(listed) = listed else { return product(factors) };
        if listed.value.is_empty() {
            self.errors.report(at, "there are no cells", |error| {
                error.hint("list some, or remove `cells`: all combinations of levels are cells then")
            });
        }
        let cells: Vec<_> = listed.value.iter().filter_map(|cell| self.cell(cell, factors)).collect();
        let mut known = BTreeSet::new();
        for (cell, listed) in cells.iter().zip(&listed.value) {
            if !known.insert(cell) {
                self.errors.report(span(listed), "this cell is listed twice", |error| error);
            }
        }
        cells
    }

    fn cell(&mut self, listed: &CellFile, factors: &[Factor]) -> Option<Vec<usize>> {
        for (name, _) in &listed.value.0 {
            if !factors.iter().any(|factor| factor.name == name.value) {
                let names = factors.iter().map(|factor| factor.name.as_str());
                self.no_such(name, "factor", names);
                return None;
            }
        }
        let level = |factor: &Factor| {
            let Some((_, level)) = listed.value.0.iter().find(|(name, _)| name.value == factor.name) else {
                let message = format!("this cell has no level of {}", quote(&factor.name));
                self.errors.report(span(listed), message, |error| {
                    error.hint(format!("add `{}: {}`", factor.name, factor.levels[0]))
                });
                return None;
            };
            let index = factor.levels.iter().position(|own| *own == level.value);
            if index.is_none() {
                self.no_such(level, "level", factor.levels.iter().map(String::as_str));
            }
            index
        };
        factors.iter().map(level).collect()
    }

    fn no_such<'n>(&mut self, name: &Spanned<String>, what: &str, names: impl Iterator<Item = &'n str>) {
        let names: Vec<_> = names.collect();
        self.errors.report(span(name), format!("there is no {what} {}", quote(&name.value)), |error| {
            error.hint(match did_you_mean(&name.value, names.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if names.is_empty() => format!("add a {what} to `factors`"),
                None => format!("there are {}", names.join(", ")),
            })
        });
    }
}

/// All combinations.
fn product(factors: &[Factor]) -> Vec<Vec<usize>> {
    factors.iter().fold(vec![Vec::new()], |cells, factor| {
        let longer =
            |cell: Vec<usize>| (0..factor.levels.len()).map(move |level| [&cell[..], &[level]].concat());
        cells.into_iter().flat_map(longer).collect()
    })
}

#[cfg(test)]
mod tests;
