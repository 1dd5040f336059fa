//! `report`: a run as a page, and on demand as pictures, files of comma-separated values, or Markdown.

use super::super::terminal::print;
use super::super::{Exit, Failure, Format, ReportOptions, Terminal};
use super::compare::predict;
use crate::campaign::{self, CampaignDir, CampaignSummary};
use crate::comparison::Comparison;
use crate::document::{
    Asserted, CampaignMaterial, Document, Material, Prediction, Unreadable, markdown, page,
};
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

/// What a report on an experiment of many runs says to programs.
#[derive(Serialize)]
struct ReportedCampaign<'a> {
    directory: &'a Path,
    #[serde(flatten)]
    summary: &'a CampaignSummary,
    assertions: &'a [Asserted],
    written: Vec<PathBuf>,
}

/// Reports on a run, or on an experiment of many.
pub(super) fn report(terminal: &Terminal, options: &ReportOptions) -> Result<Exit, Failure> {
    if CampaignDir::is_at(&options.directory) {
        return of_campaign(terminal, options);
    }
    let directory = &options.directory;
    let material = Material::read(directory).map_err(unreadable)?;
    let document = Document::of_run(&material, &prediction(terminal, &material, options));
    let written = write_all(&document, options)?;
    if terminal.format == Format::Markdown {
        return print_markdown(&document);
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
    terminal.show(&reported, describe_run)?;
    Ok(Exit::Success)
}

fn of_campaign(terminal: &Terminal, options: &ReportOptions) -> Result<Exit, Failure> {
    let directory = &options.directory;
    let material = CampaignMaterial::read(directory).map_err(unreadable)?;
    // A page that is elsewhere cannot have links to those of the runs.
    let pages = if options.html.is_none() { material.pages() } else { Vec::new() };
    let bar = terminal.bar(pages.len());
    bar.set_message("pages of runs");
    let quiet = terminal.silenced();
    for page_of in &pages {
        let run = Material::read(&directory.join(page_of)).map_err(unreadable)?;
        let document = Document::of_run(&run, &prediction(&quiet, &run, options));
        write(&directory.join(page_of).join(PAGE), &page(&document))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let document = Document::of_campaign(&material, &pages);
    let written = write_all(&document, options)?;
    if terminal.format == Format::Markdown {
        return print_markdown(&document);
    }
    let CampaignMaterial { summary, assertions, dir, .. } = &material;
    let reported = ReportedCampaign { directory, summary, assertions, written };
    let factors: Vec<_> = dir.design.factors.iter().map(|factor| factor.name.as_str()).collect();
    terminal.show(&reported, |reported| {
        let mut text = format!("experiment {}\n", summary.experiment);
        text += &campaign::describe(summary, &factors, &[]);
        text.push('\n');
        let failed = assertions.iter().filter(|asserted| !asserted.holds);
        text.extend(failed.map(|asserted| {
            let Asserted { cell, assertion, failure, .. } = asserted;
            let [cell, failure] = [cell, failure].map(|text| text.as_deref().unwrap_or_default());
            format!("ASSERTION FAILED: {cell}: {assertion}: {failure}\n")
        }));
        text + &told(&reported.written)
    })?;
    Ok(Exit::Success)
}

fn unreadable(error: Unreadable) -> Failure {
    Failure::from_error(Exit::InvalidInput, &error)
        .hint("name a directory that `samp-lab run` or `samp-lab sim` has written".to_owned())
}

/// Writes the page, and what else is wanted.
fn write_all(document: &Document, options: &ReportOptions) -> Result<Vec<PathBuf>, Failure> {
    let mut files =
        vec![(options.html.clone().unwrap_or_else(|| options.directory.join(PAGE)), page(document))];
    for figure in document.figures() {
        if let (Some(dir), Some(picture)) = (&options.svg, &figure.picture) {
            files.push((dir.join(format!("{}.svg", figure.id)), picture.standalone()));
        }
        if let (Some(dir), false) = (&options.csv, figure.table.rows.is_empty()) {
            files.push((dir.join(format!("{}.csv", figure.id)), figure.table.csv()));
        }
    }
    files.iter().try_for_each(|(path, text)| write(path, text))?;
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn print_markdown(document: &Document) -> Result<Exit, Failure> {
    print(&markdown(document)).map_err(|error| Failure::io("write to standard output", &error))?;
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

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(|error| Failure::io(format_args!("write {}", path.display()), &error))
}

fn describe_run(reported: &Reported<'_>) -> String {
    let mut text = format!("experiment {}\n\n", reported.experiment);
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, reported.summary);
    text.push('\n');
    for reason in reported.invalid_because {
        text += &format!("INVALID: {reason}\n");
    }
    text + &told(&reported.written)
}

fn told(written: &[PathBuf]) -> String {
    match written {
        [page] => format!("wrote {}\n", page.display()),
        [page, more @ ..] => format!("wrote {}, and {} other files\n", page.display(), more.len()),
        [] => String::new(),
    }
}
