//! The command line as it is typed.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use samp_model::settings::{AttachMode, LinkBackend};
use std::ffi::OsString;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 invalid file, 4 privilege or kernel feature missing, 5 conflict, \
6 out of resources, 7 measurement invalid, 130 interrupted. `exec` passes its command's own code on.

Results go to standard output, progress and errors to standard error; with `--format json` an error is a JSON \
object on standard output too.";

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
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: Format,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
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
    /// For programs: one JSON document
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum TypedCommand {
    /// Check whether labs can run on this machine, and what to do where they cannot
    Doctor,
    /// Check a topology or experiment file
    Validate {
        /// The file
        file: PathBuf,
    },
    /// Show everything that `up` would create
    Plan {
        /// The topology file
        file: PathBuf,
        #[command(flatten)]
        emulation: Emulation,
    },
    /// Bring up a lab and return when every mobile node is registered
    Up {
        /// The topology file
        file: PathBuf,
        /// The lab's name, instead of the topology's
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        emulation: Emulation,
        /// Create nothing, show the plan
        #[arg(long)]
        dry_run: bool,
    },
    /// List the labs that run
    Ps,
    /// Show a lab, or one of its nodes
    Inspect {
        /// The node
        node: Option<String>,
    },
    /// Run a command inside a node
    Exec {
        /// The node
        node: String,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Print the log of a node's agent, or of the supervisor
    Logs {
        /// The node
        node: Option<String>,
    },
    /// Move a mobile node to another access router and show what took how long
    Handoff {
        /// The mobile node
        mobile_node: String,
        /// The access router
        access_router: String,
    },
    /// Let one mobile node call another
    Call {
        /// The node that calls
        caller: String,
        /// The node that is called
        callee: String,
    },
    /// End a call, or all calls
    Hangup {
        /// The call, as `call` named it
        call: Option<String>,
    },
    /// Crash a node: kill its agent
    Kill {
        /// The node
        node: String,
    },
    /// Run an experiment in a lab of its own and report
    Run {
        /// The experiment file
        experiment: PathBuf,
        /// Write the results here, a directory that does not exist yet, instead of into `runs`
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Leave the lab running
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        emulation: Emulation,
    },
    /// End a lab
    Down {
        /// The lab
        name: Option<String>,
    },
    #[command(name = "__supervisor", hide = true)]
    Supervisor { dir: PathBuf },
    #[command(name = "__agent", hide = true)]
    Agent,
    #[command(name = "__probe", hide = true)]
    Probe,
}

/// Backends, instead of the topology's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Emulation {
    /// Who makes the delay of wired links
    #[arg(long, value_enum, value_name = "BACKEND")]
    pub links: Option<Links>,
    /// How handoffs are done
    #[arg(long, value_enum, value_name = "MODE")]
    pub attach: Option<Attach>,
}

/// Who makes the delay of wired links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Links {
    /// netem where the kernel has it, else userspace
    Auto,
    /// The kernel's sch_netem
    Netem,
    /// samp-lab's own delay line
    Userspace,
}

/// How handoffs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// switch
    Auto,
    /// One write to the air's attachment table
    Switch,
    /// The interface itself moves
    Move,
}

impl From<Links> for LinkBackend {
    fn from(links: Links) -> Self {
        match links {
            Links::Auto => Self::Auto,
            Links::Netem => Self::Netem,
            Links::Userspace => Self::Userspace,
        }
    }
}

impl From<Attach> for AttachMode {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Auto => Self::Auto,
            Attach::Switch => Self::Switch,
            Attach::Move => Self::Move,
        }
    }
}
