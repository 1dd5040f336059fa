//! `figures`: the paper's figures, and those that it leaves out, from worlds without messages.

use super::super::{Exit, Failure, Figures, Progress, Terminal};
use crate::experiment::Interrupt;
use crate::report::table;
use samp_simulator::cost::{self, Estimate, Figure, Name, Parameter, Parameters, Study};
use serde::Serialize;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

/// What was made.
#[derive(Serialize)]
struct Made {
    first_seed: u64,
    seeds: u64,
    parameters: Vec<Parameter>,
    figures: Vec<Figure>,
    written: Vec<PathBuf>,
}

/// Makes figures.
pub(super) fn figures(terminal: &Terminal, wanted: &Figures) -> Result<Exit, Failure> {
    let parameters = parameters(&wanted.set)?;
    if wanted.parameters {
        terminal.show(&parameters.list(), |list| describe(list))?;
        return Ok(Exit::Success);
    }
    if !wanted.alphas.is_sorted_by(|one, next| one < next) {
        return Err(Failure::new(Exit::Usage, "the values of `--alpha` must ascend"));
    }
    let names = if wanted.names.is_empty() { Name::ALL } else { &wanted.names };
    let path = |name: &Name, kind: &str| wanted.out.join(format!("figure-{name}.{kind}"));
    let paths: Vec<_> = names.iter().flat_map(|name| [path(name, "svg"), path(name, "csv")]).collect();
    if let Some(present) = paths.iter().find(|path| !wanted.force && path.symlink_metadata().is_ok()) {
        return Err(Failure::new(Exit::Conflict, format!("{} exists", present.display()))
            .hint("name another directory with `--out`, or overwrite it with `--force`".to_owned()));
    }
    let _interrupt =
        Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error))?;
    let study = Study {
        parameters,
        alphas: wanted.alphas.clone(),
        seeds: wanted.seed..wanted.seed + wanted.seeds,
        jobs: wanted.jobs.map_or_else(|| available_parallelism().map_or(1, NonZero::get), usize::from),
    };
    let figures = with_progress(terminal, &study, names);
    let texts = figures.iter().flat_map(|figure| [figure.svg(), figure.csv(&study)]);
    for (path, text) in paths.iter().zip(texts) {
        write(path, &text)?;
    }
    let made = Made {
        first_seed: wanted.seed,
        seeds: wanted.seeds,
        parameters: study.parameters.list(),
        figures,
        written: paths,
    };
    terminal.show(&made, show)?;
    Ok(Exit::Success)
}

/// The defaults, but for what was typed.
fn parameters(set: &[(String, String)]) -> Result<Parameters, Failure> {
    let mut parameters = Parameters::default();
    for (name, value) in set {
        let taken = parameters.set(name, value).map_err(|error| {
            Failure::from_error(Exit::Usage, &error)
                .hint("`samp-lab figures --parameters` lists them".to_owned())
        })?;
        taken.map_err(|reason| Failure::new(Exit::Usage, reason))?;
    }
    parameters.check().map_err(|reason| Failure::new(Exit::Usage, reason))?;
    Ok(parameters)
}

fn with_progress(terminal: &Terminal, study: &Study, names: &[Name]) -> Vec<Figure> {
    let bar = terminal.bar(0);
    bar.set_message("cells played");
    let figures = cost::figures::draw(study, names, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total && terminal.progress == Progress::Lines {
            terminal.note(format!("cells played: {done} of {total}"));
        }
    });
    bar.finish_and_clear();
    figures
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| Failure::io(format_args!("write {}", path.display()), &error))
}

fn describe(list: &[Parameter]) -> String {
    let lines = list.iter().map(|Parameter { name, value, default, about }| {
        let changed = if value == default { String::new() } else { format!(" (default {default})") };
        format!("{name}={value}{changed}\n    {about}\n")
    });
    lines.collect()
}

fn show(made: &Made) -> String {
    let mut text = String::new();
    for figure in &made.figures {
        let header: Vec<_> =
            std::iter::once(figure.x).chain(figure.series.iter().map(|series| series.name)).collect();
        let places = figure.series.first().map_or(&[][..], |series| &series.points).iter();
        let rows = places.enumerate().map(|(index, place)| {
            let values = figure.series.iter().map(|series| estimate(&series.points[index]));
            std::iter::once(place.x.to_string()).chain(values).collect::<Vec<_>>()
        });
        let table = table(&header, rows);
        text += &format!("figure {}: {}; {}\n\n{table}\n", figure.name, figure.title, figure.y);
    }
    text +=
        &format!("mean over {} seeds from {}, ± half of its 95 % interval\n", made.seeds, made.first_seed);
    text + &made.written.iter().map(|path| format!("wrote {}\n", path.display())).collect::<String>()
}

fn estimate(point: &Estimate) -> String {
    format!("{:.2} ± {:.2}", point.mean, point.high - point.mean)
}
