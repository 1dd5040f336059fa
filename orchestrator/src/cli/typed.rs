//! The command line as it is typed.

mod bundle;
mod calibrate;
mod capture;
mod command;
mod emulation;
mod experiments;
mod figures;
mod flood;
mod link;
mod report;

pub use self::bundle::{Bundle, Reproduce};
pub use self::calibrate::Tolerated;
pub use self::capture::Capture;
pub use self::command::{Drawing, FileKind};
pub use self::emulation::{Attach, Emulation, Family, Links};
pub use self::experiments::{Compare, Results, Run, Sim};
pub use self::figures::Figures;
pub use self::flood::FloodOptions;
pub use self::link::{Link, LinkState};
pub use self::report::ReportOptions;

pub(super) use self::command::TypedCommand;

use clap::builder::FalseyValueParser;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, ValueEnum};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid file, 4 privilege or kernel feature missing, 5 conflict, \
6 out of resources, 7 measurement invalid, 130 interrupted. `exec` and `shell` pass their command's own code on.

Results go to standard output, progress and errors to standard error; with `--format json` an error is a JSON \
object on standard output too.

Every option can also be set in the environment, as SAMP_LAB_FORMAT=json; `--lab` is SAMP_LAB. NO_COLOR is respected.";

/// Real mobile nodes on real links: build a lab from a file, hand off, measure.
#[derive(Debug, Parser)]
#[command(name = "samp-lab", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Typed {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: TypedCommand,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", env = "SAMP_LAB_FORMAT")]
    pub(super) format: Format,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count, env = "SAMP_LAB_VERBOSE")]
    pub(super) verbose: u8,
    /// Say nothing but results and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        env = "SAMP_LAB_QUIET",
        value_parser = FalseyValueParser::new()
    )]
    pub(super) quiet: bool,
    /// The lab that is meant, when more than one runs
    #[arg(long, global = true, value_name = "NAME", env = "SAMP_LAB")]
    pub(super) lab: Option<String>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document, or a line of JSON for each piece of news where there is no end
    Json,
    /// For a pull request or a job's summary: a report as Markdown, all else as a block of text
    Markdown,
}
