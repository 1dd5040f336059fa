//! The commands.

use super::{
    Bundle, Capture, Compare, Emulation, Figures, FloodOptions, Link, ReportOptions, Reproduce, Run, Sim,
    Tolerated,
};
use clap::builder::FalseyValueParser;
use clap::{Subcommand, ValueEnum};
use samp_model::units::Delay;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is typed first, with what belongs to it.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TypedCommand {
    /// Check whether labs can run on this machine, and what to do where they cannot
    Doctor,
    /// Write an example, with all files that it needs; without a name, list the examples
    Init {
        /// The example
        example: Option<String>,
        /// Write into this directory
        #[arg(long, value_name = "DIR", default_value = ".", env = "SAMP_LAB_DIR")]
        dir: PathBuf,
        /// Overwrite files that exist and differ
        #[arg(long, env = "SAMP_LAB_FORCE", value_parser = FalseyValueParser::new())]
        force: bool,
    },
    /// Print the JSON Schema of a kind of file
    Schema {
        /// The kind
        #[arg(value_enum, default_value_t)]
        kind: FileKind,
    },
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
    /// Draw a topology, or a lab as it is
    Graph {
        /// A topology file or a lab's name; none is the lab that `--lab` names or that runs
        #[arg(value_name = "FILE|LAB")]
        subject: Option<String>,
        /// The language of the drawing
        #[arg(long, value_enum, default_value_t, value_name = "LANGUAGE", env = "SAMP_LAB_OUTPUT")]
        output: Drawing,
    },
    /// Bring up a lab and return when every mobile node is registered
    ///
    /// When the lab runs already, nothing changes. When it was built from something else, the difference is shown.
    Up {
        /// The topology file
        file: PathBuf,
        /// The lab's name, instead of the topology's
        #[arg(long, value_name = "NAME", env = "SAMP_LAB_NAME")]
        name: Option<String>,
        #[command(flatten)]
        emulation: Emulation,
        /// Create nothing, show the plan
        #[arg(long, env = "SAMP_LAB_DRY_RUN", value_parser = FalseyValueParser::new())]
        dry_run: bool,
        /// End a lab of this name that was built from something else, and bring up this one instead
        #[arg(long, env = "SAMP_LAB_RECREATE", value_parser = FalseyValueParser::new())]
        recreate: bool,
        /// Run the programs that the topology names, with the rights of whoever runs this
        #[arg(long, env = "SAMP_LAB_ALLOW_PROGRAMS", value_parser = FalseyValueParser::new())]
        allow_programs: bool,
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
    /// Open a shell inside a node
    Shell {
        /// The node
        node: String,
    },
    /// Print the log of what runs at a node, or of the supervisor
    Logs {
        /// The node
        node: Option<String>,
        /// Go on with what is added, until the lab ends
        #[arg(short, long, env = "SAMP_LAB_FOLLOW", value_parser = FalseyValueParser::new())]
        follow: bool,
    },
    /// Print all that has happened, as JSON lines: the lab as it is first, then every record
    Events {
        /// Go on with what happens, until the lab ends
        #[arg(short, long, env = "SAMP_LAB_FOLLOW", value_parser = FalseyValueParser::new())]
        follow: bool,
    },
    /// Show the servers' ring: who follows whom, and who holds how many bindings
    Ring,
    /// Show the messages of a call or of a handoff as a ladder diagram
    Trace {
        /// A call, as `call` named it, or a handoff, as mn1/3; a mobile node alone is its latest handoff
        #[arg(value_name = "CALL|HANDOFF")]
        subject: String,
    },
    /// Move a mobile node to another access router and show what took how long
    Handoff {
        /// The mobile node
        mobile_node: String,
        /// The access router
        access_router: String,
        /// For how long it is attached nowhere in between, as 50ms, instead of the topology's gap
        #[arg(long, value_name = "TIME", env = "SAMP_LAB_GAP")]
        gap: Option<Delay>,
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
    /// Move a call to another terminal
    ///
    /// It takes the call over from the end that is of its own user, or from the caller.
    Transfer {
        /// The call, as `call` named it
        call: String,
        /// The mobile node that takes it over
        to: String,
    },
    /// Let a mobile node leave until its next handoff
    ///
    /// Its calls end, and its anchor and its home server forget it.
    Deregister {
        /// The mobile node
        node: String,
    },
    /// Let a SIP server leave the ring in good order
    ///
    /// It hands its bindings over first, tells its neighbours, and takes no part any more.
    Leave {
        /// The SIP server
        server: String,
    },
    /// Crash a node: kill its agent
    Kill {
        /// The node
        node: String,
    },
    /// Stop a node's agent: it neither hears nor says anything, but keeps its state
    Pause {
        /// The node
        node: String,
    },
    /// Let a node's agent go on
    Resume {
        /// The node
        node: String,
    },
    /// Capture what passes interfaces of the lab, as pcapng
    ///
    /// A frame is captured where it leaves and where it arrives. Ctrl-C, the end of the lab, or that nobody reads the
    /// pipe any more ends the capture in good order; a second Ctrl-C ends it at once.
    Capture(Capture),
    /// Change a link, or show how links are
    ///
    /// `down` sets the interfaces at both ends down, so what is on the way is lost and the nodes notice; `up` sets
    /// them up again. Routes never change: what would pass a link that is down is lost.
    Link(Link),
    /// Take down all links between some nodes and all others at once
    ///
    /// Mobile nodes are where their access router is.
    Partition {
        /// The nodes on one side, as ar1,s1
        #[arg(required = true, value_name = "NODE", value_delimiter = ',')]
        nodes: Vec<String>,
        /// The nodes on the other side, instead of all others
        #[arg(long, value_name = "NODE", value_delimiter = ',', env = "SAMP_LAB_FROM")]
        from: Vec<String>,
    },
    /// Bring up the links that partitions have taken down
    Heal,
    /// Send a SIP server requests that nobody needs, and show how they are answered
    ///
    /// They come from many made-up users, at a set rate, whatever is answered, and touch nothing of the lab's own users. The
    /// flood ends by itself, and with the lab.
    Flood(FloodOptions),
    /// Probe every link both ways, and compare with what is configured
    ///
    /// Ends with exit code 7 when a link does not do what it was told, or processes of the lab waited too long for a
    /// processor. Links that have jitter or loss are compared by their distributions.
    Calibrate {
        #[command(flatten)]
        tolerated: Tolerated,
    },
    /// Run an experiment in a lab of its own and report
    ///
    /// An experiment with factors or repetitions is run one lab after the other: two at a time would wait for each other's
    /// processors.
    Run(Run),
    /// Carry out an experiment in virtual time and report
    ///
    /// The nodes run as in a lab, but links and timers take as long as they would and all else takes no time. Needs no lab
    /// and no privileges.
    Sim(Sim),
    /// Compare two runs, or a run with its prediction by the simulator
    ///
    /// Of two runs, cells or experiments with factors, cells of the same levels are compared, metric by metric, with
    /// intervals. What different backends have made is refused.
    ///
    /// With `--sim`, the run's experiment is played in virtual time. Every node is to send and receive the same messages
    /// in each of its conversations, and delays that pass links are to be the same at the median, within 5 % of what the
    /// links alone make of them or so much for each link on the way, whichever is more. Ends with exit code 1 when
    /// something is not.
    Compare(Compare),
    /// Report on a run: a page to look at, pictures for papers, tables for programs
    ///
    /// The page is one file that needs neither network nor scripts. What was measured stands beside what the simulator makes of
    /// the same experiment.
    Report(ReportOptions),
    /// Pack a run into one file, with all that is needed to look at it elsewhere
    ///
    /// A gzipped tar archive: bundle.json with the SHA-256 of each file and of this program and with the machine, the run's
    /// directory, and the files that it was made of.
    Bundle(Bundle),
    /// Make the runs of a bundle again, and compare metric by metric
    ///
    /// Runs are made where they were made before, in labs or in the simulator, of the same topology, experiment and seed. A metric
    /// is reproduced when the bootstrap 95 % interval of the difference of its medians contains 0, or the difference is less than
    /// 5 %; a share, when the two intervals overlap. Ends with exit code 1 when one is not.
    Reproduce(Reproduce),
    /// Make the paper's figures, and those that it leaves out, as SVG and CSV
    ///
    /// Mobile nodes move in the paper's world, and what registrations and sessions cost is counted in hops, without
    /// messages. The figures depend on nothing but seeds and parameters.
    Figures(Figures),
    /// End a lab, or remove what a crashed one has left
    Down {
        /// The lab
        name: Option<String>,
        /// End all labs of this user
        #[arg(long, conflicts_with = "name", env = "SAMP_LAB_ALL", value_parser = FalseyValueParser::new())]
        all: bool,
    },
    /// Print a shell's completion script
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write it and those of all commands
    Man {
        /// Write the pages into this directory
        dir: Option<PathBuf>,
    },
    #[command(name = "__supervisor", hide = true)]
    Supervisor { dir: PathBuf },
    #[command(name = "__agent", hide = true)]
    Agent,
    #[command(name = "__probe", hide = true)]
    Probe,
    #[command(name = "__foreground", hide = true)]
    Foreground { program: OsString },
}

/// A kind of input file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    /// What a lab is built from
    #[default]
    Topology,
    /// What happens in it
    Experiment,
}

/// A language for drawings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Drawing {
    /// Graphviz
    #[default]
    Dot,
    /// Mermaid, which Markdown viewers draw
    Mermaid,
    /// A picture
    Svg,
}
