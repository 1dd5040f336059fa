//! `report`: a run as a page, and on demand as pictures, files of comma-separated values, or Markdown.

use super::super::terminal::print;
use super::super::{Exit, Failure, Format, ReportOptions, Terminal};
use super::compare::predict;
use crate::comparison::Comparison;
use crate::document::{Document, Material, Prediction, markdown, page};
use crate::report::{Report, Summary, write_summary};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The page's name in a run's directory.
const PAGE: &str = "report.html";
/// Records of a run that is played again for its prediction; more take too long.
const PREDICTED: usize = 500_000;

/// What a report says to programs.
#[derive(Serialize)]
struct Reported<'a> {
    directory: &'a Path,
    experiment: &'a str,
    valid: bool,
    invalid_because: &'a [String],
    #[serde(flatten)]
    summary: &'a Summary,
    each: &'a Report,
    written: Vec<PathBuf>,
}

/// Reports on a run.
pub(super) fn report(terminal: &Terminal, options: &ReportOptions) -> Result<Exit, Failure> {
    let directory = &options.directory;
    let material = Material::read(directory).map_err(|error| {
        Failure::from_error(Exit::InvalidInput, &error)
            .hint("name a directory that `samp-lab run` or `samp-lab sim` has written".to_owned())
    })?;
    let document = Document::of_run(&material, &prediction(terminal, &material, options));
    let mut written = Vec::new();
    write(&mut written, options.html.clone().unwrap_or_else(|| directory.join(PAGE)), &page(&document))?;
    for figure in document.figures() {
        if let (Some(dir), Some(picture)) = (&options.svg, &figure.picture) {
            write(&mut written, dir.join(format!("{}.svg", figure.id)), &picture.standalone())?;
        }
        if let (Some(dir), false) = (&options.csv, figure.table.rows.is_empty()) {
            write(&mut written, dir.join(format!("{}.csv", figure.id)), &figure.table.csv())?;
        }
    }
    if terminal.format == Format::Markdown {
        print(&markdown(&document)).map_err(|error| Failure::io("write to standard output", &error))?;
        return Ok(Exit::Success);
    }
    let reported = Reported {
        directory,
        experiment: &document.title,
        valid: document.invalid_because.is_empty(),
        invalid_because: &document.invalid_because,
        summary: &material.summary,
        each: &material.report,
        written,
    };
    terminal.show(&reported, describe)?;
    Ok(Exit::Success)
}

/// What the simulator makes of the experiment, or why there is nothing of the kind.
fn prediction(terminal: &Terminal, material: &Material, options: &ReportOptions) -> Prediction {
    let run = &material.run;
    if material.is_simulated() {
        return Prediction::None("This run is a simulation itself.".to_owned());
    }
    if options.no_prediction {
        return Prediction::None("It was not asked for.".to_owned());
    }
    if run.records.len() > PREDICTED {
        return Prediction::None(format!(
            "A run of more than {PREDICTED} records is not played again for a report; `samp-lab compare --sim` does so."
        ));
    }
    match predict(terminal, run) {
        Ok(predicted) => {
            let comparison = Comparison::new(&run.topology, &run.records, &predicted, options.per_hop.get());
            Prediction::Made(Box::new(comparison))
        }
        Err(failure) => {
            Prediction::None(format!("The simulator cannot play this experiment: {}.", failure.message))
        }
    }
}

fn write(written: &mut Vec<PathBuf>, path: PathBuf, text: &str) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    made.map_err(|error| Failure::io(format_args!("write {}", path.display()), &error))?;
    written.push(path);
    Ok(())
}

fn describe(reported: &Reported<'_>) -> String {
    let mut text = format!("experiment {}\n\n", reported.experiment);
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, reported.summary);
    text.push('\n');
    for reason in reported.invalid_because {
        text += &format!("INVALID: {reason}\n");
    }
    match &reported.written[..] {
        [page] => text += &format!("wrote {}\n", page.display()),
        [page, more @ ..] => text += &format!("wrote {}, and {} other files\n", page.display(), more.len()),
        [] => {}
    }
    text
}
