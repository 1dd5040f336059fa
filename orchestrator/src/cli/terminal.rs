//! What the user sees: results on standard output, everything else on standard error.

use super::failure::Failure;
use super::typed::Format;
use crate::report::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use samp_model::control::Stage;
use samp_model::diagnostic::render_all;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use tracing_subscriber::filter::LevelFilter;

/// How to talk to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// How results are printed.
    pub format: Format,
    /// How much is told besides.
    pub verbosity: Verbosity,
    /// How progress is shown.
    pub progress: Progress,
    /// Whether errors may have colours.
    pub color: bool,
    /// How results may look.
    pub style: Style,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Results and errors.
    Quiet,
    /// Progress and warnings.
    Normal,
    /// What is done.
    Verbose,
    /// How it is done.
    Debug,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not at all.
    None,
    /// A line for each stage.
    Lines,
    /// Bars that grow.
    Bars,
}

/// The stages of `up`, as they go on.
#[derive(Debug)]
pub struct Stages {
    mode: Progress,
    all: MultiProgress,
    bars: BTreeMap<Stage, ProgressBar>,
    finished: Option<Stage>,
}

impl Terminal {
    /// JSON and nothing else.
    pub(super) fn json() -> Self {
        Self {
            format: Format::Json,
            verbosity: Verbosity::Quiet,
            progress: Progress::None,
            color: false,
            style: Style::default(),
        }
    }

    /// The same, that says nothing: for what is a part of something larger.
    pub fn silenced(&self) -> Self {
        Self { verbosity: Verbosity::Quiet, progress: Progress::None, ..self.clone() }
    }

    /// Sends the log to standard error, as much of it as the user wants.
    pub fn start_log(&self) {
        let level = match self.verbosity {
            Verbosity::Quiet => LevelFilter::ERROR,
            Verbosity::Normal => LevelFilter::WARN,
            Verbosity::Verbose => LevelFilter::INFO,
            Verbosity::Debug => LevelFilter::DEBUG,
        };
        let format =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(self.color).log_internal_errors(false);
        // Fails when there is a log already, which is as good.
        let _ = format.with_writer(io::stderr).try_init();
    }

    /// Prints a result: `data` as JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// Standard output cannot be written. That its reader has gone is none.
    pub fn show<T: Serialize>(&self, data: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let printed = match self.format {
            Format::Text => print(&text(data)),
            // Indented, so that nothing in it ends the block.
            Format::Markdown => {
                print(&text(data).lines().map(|line| format!("    {line}\n")).collect::<String>())
            }
            Format::Json => print_with(|out| {
                serde_json::to_writer_pretty(&mut *out, data)?;
                out.write_all(b"\n")
            }),
        };
        printed.map_err(|error| Failure::io("write to standard output", &error))
    }

    /// Says something about the progress.
    pub fn note(&self, text: impl AsRef<str>) {
        if self.verbosity > Verbosity::Quiet {
            // Who closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "{}", text.as_ref());
        }
    }

    /// Tells an error: as JSON on standard output, or as text on standard error.
    pub fn report(&self, failure: &Failure) {
        if self.format == Format::Json {
            let json = serde_json::to_string_pretty(failure).unwrap_or_else(|error| error.to_string());
            // Nobody is left to tell when standard output is closed.
            let _ = print(&(json + "\n"));
            return;
        }
        let [error, hint] = match self.color {
            true => ["\x1b[1;31merror\x1b[0m", "\x1b[1;36mhint\x1b[0m"],
            false => ["error", "hint"],
        };
        let mut text = if failure.diagnostics.is_empty() {
            format!("{error}: {}\n", failure.message)
        } else {
            render_all(&failure.diagnostics, self.color) + "\n"
        };
        for line in &failure.difference {
            let (start, end) = match (self.color, line.starts_with('-')) {
                (false, _) => ("", ""),
                (true, true) => ("\x1b[31m", "\x1b[0m"),
                (true, false) => ("\x1b[32m", "\x1b[0m"),
            };
            text += &format!("{start}{line}{end}\n");
        }
        if let Some(advice) = &failure.hint {
            text += &format!("{hint}: {advice}\n");
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Shows the stages of `up`.
    pub fn stages(&self) -> Stages {
        Stages {
            mode: self.progress,
            all: MultiProgress::with_draw_target(self.target()),
            bars: BTreeMap::new(),
            finished: None,
        }
    }

    /// A bar for `total` steps of something.
    pub fn bar(&self, total: usize) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total as u64), self.target());
        bar.set_style(bar_style("{bar:32} {pos}/{len} {msg}"));
        bar
    }

    fn target(&self) -> ProgressDrawTarget {
        match self.progress {
            Progress::Bars => ProgressDrawTarget::stderr(),
            Progress::None | Progress::Lines => ProgressDrawTarget::hidden(),
        }
    }
}

impl Stages {
    /// So much of a stage is done.
    pub fn update(&mut self, stage: Stage, done: usize, total: usize) {
        if self.mode == Progress::Lines {
            if done == total && self.finished < Some(stage) {
                self.finished = Some(stage);
                // Who closed standard error does not want to know.
                let _ = writeln!(io::stderr(), "{}: {done} of {total}", stage.name());
            }
            return;
        }
        let bar = self.bars.entry(stage).or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::hidden());
            bar.set_style(bar_style("{msg:12} {bar:32} {pos}/{len} {elapsed_precise}"));
            let bar = self.all.add(bar);
            bar.set_message(stage.name());
            bar
        });
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total {
            bar.finish();
        }
    }
}

/// Columns of the terminal, or a width that suits a file where there is none or it does not say.
pub(super) fn width() -> usize {
    comfy_table::Table::new().width().filter(|&columns| columns > 0).map_or(100, usize::from)
}

fn bar_style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// Writes to standard output; that its reader has gone is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// As [`print`], what is written bit by bit.
fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
