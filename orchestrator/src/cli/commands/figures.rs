//! `figures`: the paper's figures, and those that it leaves out, from worlds without messages.

use super::super::{Exit, Failure, Figures as Wanted, Progress, Terminal};
use crate::experiment::Interrupt;
use crate::report::table;
use samp_simulator::cost::{self, Estimate, Figure, Name, Parameter, Parameters, Study, Table1};
use serde::Serialize;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

/// What was made.
#[derive(Serialize)]
struct Made<T> {
    first_seed: u64,
    seeds: u64,
    parameters: Vec<Parameter>,
    #[serde(flatten)]
    results: T,
    written: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Figures {
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Table {
    table1: Table1,
}

/// Makes figures, or the table.
pub(super) fn figures(terminal: &Terminal, wanted: &Wanted) -> Result<Exit, Failure> {
    let parameters = parameters(&wanted.set)?;
    if wanted.parameters {
        terminal.show(&parameters.list(), |list| describe(list))?;
        return Ok(Exit::Success);
    }
    if !wanted.alphas.is_sorted_by(|one, next| one < next) {
        return Err(Failure::new(Exit::Usage, "the values of `--alpha` must ascend"));
    }
    let study = Study {
        parameters,
        alphas: wanted.alphas.clone(),
        seeds: wanted.seed..wanted.seed + wanted.seeds,
        jobs: wanted.jobs.map_or_else(|| available_parallelism().map_or(1, NonZero::get), usize::from),
    };
    let names = if wanted.names.is_empty() { Name::ALL } else { &wanted.names };
    let files: Vec<_> = match wanted.table1 {
        true => vec!["table1.csv".to_owned()],
        false => {
            names.iter().flat_map(|name| ["svg", "csv"].map(|kind| format!("figure-{name}.{kind}"))).collect()
        }
    };
    let paths: Vec<_> = files.iter().map(|file| wanted.out.join(file)).collect();
    if let Some(present) = paths.iter().find(|path| !wanted.force && path.symlink_metadata().is_ok()) {
        return Err(Failure::new(Exit::Conflict, format!("{} exists", present.display()))
            .hint("name another directory with `--out`, or overwrite it with `--force`".to_owned()));
    }
    let _interrupt =
        Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error))?;
    if wanted.table1 {
        let table1 = with_progress(terminal, |tell| Table1::of(&study, tell));
        let texts = [table1.csv(&study)];
        finish(terminal, &study, paths, &texts, Table { table1 }, |table| show_table(&table.table1))?;
    } else {
        let figures = with_progress(terminal, |tell| cost::figures::draw(&study, names, tell));
        let texts: Vec<_> = figures.iter().flat_map(|figure| [figure.svg(), figure.csv(&study)]).collect();
        finish(terminal, &study, paths, &texts, Figures { figures }, |made| {
            made.figures.iter().map(show_figure).collect()
        })?;
    }
    Ok(Exit::Success)
}

/// Writes the files, and shows what is in them.
fn finish<T: Serialize>(
    terminal: &Terminal,
    study: &Study,
    paths: Vec<PathBuf>,
    texts: &[String],
    results: T,
    show: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    for (path, text) in paths.iter().zip(texts) {
        write(path, text)?;
    }
    let made = Made {
        first_seed: study.seeds.start,
        seeds: study.seeds.end - study.seeds.start,
        parameters: study.parameters.list(),
        results,
        written: paths,
    };
    terminal.show(&made, |made| {
        let written = made.written.iter().map(|path| format!("wrote {}\n", path.display()));
        let seeds =
            format!("mean over {} seeds from {}, ± half of its 95 % interval\n", made.seeds, made.first_seed);
        show(&made.results) + &seeds + &written.collect::<String>()
    })
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

fn with_progress<T>(terminal: &Terminal, work: impl FnOnce(&mut dyn FnMut(usize, usize)) -> T) -> T {
    let bar = terminal.bar(0);
    bar.set_message("worlds played");
    let made = work(&mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total && terminal.progress == Progress::Lines {
            terminal.note(format!("worlds played: {done} of {total}"));
        }
    });
    bar.finish_and_clear();
    made
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

fn show_figure(figure: &Figure) -> String {
    let header: Vec<_> =
        std::iter::once(figure.x).chain(figure.series.iter().map(|series| series.name)).collect();
    let mut places: Vec<_> =
        figure.series.iter().flat_map(|series| &series.points).map(|point| point.x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let rows = places.into_iter().map(|x| {
        let values = figure.series.iter().map(|series| {
            let point = series.points.iter().find(|point| point.x == x);
            point.map_or_else(String::new, estimate)
        });
        std::iter::once(x.to_string()).chain(values).collect::<Vec<_>>()
    });
    let table = table(&header, rows);
    format!("figure {}: {}; {}\n\n{table}\n", figure.name, figure.title, figure.y)
}

fn show_table(table1: &Table1) -> String {
    let header = [
        "system",
        "paper",
        "registration",
        "first packet",
        "every packet",
        "σ home",
        "σ local",
        "without service",
    ];
    let rows = table1.rows.iter().map(|row| {
        let yes_or_no = |yes: bool| if yes { "Y" } else { "N" };
        let paper = row.paper.map_or_else(String::new, |paper| paper.map(yes_or_no).join(" "));
        let optional = |value: &Option<Estimate>| value.as_ref().map_or_else(String::new, estimate);
        vec![
            row.system.to_owned(),
            paper,
            estimate(&row.registration),
            estimate(&row.first_packet),
            estimate(&row.every_packet),
            optional(&row.sigma_home),
            optional(&row.sigma_local),
            estimate(&row.without_service),
        ]
    });
    let table = table(&header, rows);
    format!(
        "table 1 at α = {}; packets and registrations in hops, the rest in nodes\n\n{table}\n\
         paper: scalability, localised mobility management, signalling and data separated\n",
        table1.alpha
    )
}

fn estimate(point: &Estimate) -> String {
    format!("{:.2} ± {:.2}", point.mean, point.high - point.mean)
}
