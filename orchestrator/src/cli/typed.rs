//! The command line as it is typed.

mod bundle;
mod experiments;
mod figures;
mod report;

pub use self::bundle::{Bundle, Reproduce};
pub use self::experiments::{Compare, Results, Run, Sim};
pub use self::figures::Figures;
pub use self::report::ReportOptions;

use crate::calibration::Tolerance;
use clap::builder::FalseyValueParser;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use samp_model::control::LinkName;
use samp_model::flood;
use samp_model::settings::{self, AttachMode, LinkBackend};
use samp_model::topology::{Jitter, LinkQuality, Loss, RateChange};
use samp_model::units::{Delay, Frequency, Interval, InvalidValue, Percent};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

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

#[derive(Debug, Subcommand)]
pub(super) enum TypedCommand {
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
    /// Print the log of a node's agent, or of the supervisor
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
    Flood {
        /// The SIP server
        server: String,
        /// The router or SIP server in whose place they are sent
        #[arg(long, value_name = "NODE", env = "SAMP_LAB_FLOOD_FROM")]
        from: String,
        /// Requests per second, as 500/s; at most 20000/s
        #[arg(long, value_name = "RATE", env = "SAMP_LAB_FLOOD_RATE")]
        rate: Frequency,
        /// For how long, as 3s
        #[arg(long = "for", value_name = "TIME", env = "SAMP_LAB_FLOOD_FOR")]
        lasts: Interval,
        /// What each asks
        #[arg(
            long,
            value_enum,
            default_value = "register",
            value_name = "REQUEST",
            env = "SAMP_LAB_FLOOD_REQUEST"
        )]
        request: FloodRequest,
    },
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

/// What is to be captured, and where to.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Capture {
    /// A node, a wired link as ar1--ar2 (both ends of it), or all
    #[arg(required = true, value_name = "NODE|LINK|all")]
    pub subjects: Vec<String>,
    /// The file; - is standard output, as it is without this
    #[arg(short, long, value_name = "FILE", env = "SAMP_LAB_WRITE")]
    pub write: Option<PathBuf>,
    /// End after so many frames
    #[arg(short, long, value_name = "FRAMES", env = "SAMP_LAB_COUNT",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so long, as 500ms; a plain number is seconds
    #[arg(short = 'G', long, value_name = "TIME", env = "SAMP_LAB_DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
}

/// The options of `link`, which make no sense for a link that goes down or comes up.
const QUALITY: [&str; 8] = ["delay", "jitter", "loss", "duplicate", "reorder", "rate", "queue", "one_way"];

/// What may be off before a measurement is invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Tolerated {
    /// How far the median of a link's delay may be from what is configured [default: 500us]; the 99th percentile may be four
    /// times as far
    #[arg(long, value_name = "DELAY", env = "SAMP_LAB_TOLERANCE")]
    pub tolerance: Option<Delay>,
    /// How long processes may wait for a processor, at the 99th percentile [default: 500us]
    #[arg(long, value_name = "DELAY", env = "SAMP_LAB_CPU_WAIT")]
    pub cpu_wait: Option<Delay>,
}

impl From<Tolerated> for Tolerance {
    fn from(Tolerated { tolerance, cpu_wait }: Tolerated) -> Self {
        let default = Self::default();
        Self {
            delay: tolerance.map_or(default.delay, Delay::get),
            cpu_wait: cpu_wait.map_or(default.cpu_wait, Delay::get),
        }
    }
}

/// What is to become of a link.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Link {
    /// The link's ends, as ar1--ar2, or a mobile node for its radio link; none shows all links
    #[arg(value_name = "A--B|MN", value_parser = link_name)]
    pub link: Option<LinkName>,
    /// Whether it goes down or comes up
    #[arg(value_enum, requires = "link", conflicts_with_all = QUALITY)]
    pub state: Option<LinkState>,
    /// One-way delay, as 5ms
    #[arg(long, value_name = "DELAY", requires = "link", env = "SAMP_LAB_DELAY")]
    pub delay: Option<Delay>,
    /// How the delay varies, as 1ms or '1ms normal'
    #[arg(long, value_name = "JITTER", requires = "link", env = "SAMP_LAB_JITTER")]
    pub jitter: Option<Jitter>,
    /// Loss, as 0.1%; in bursts, as 'gemodel 1% 30%'
    #[arg(long, value_name = "LOSS", requires = "link", env = "SAMP_LAB_LOSS")]
    pub loss: Option<Loss>,
    /// How many packets come twice, as 1%
    #[arg(long, value_name = "PERCENT", requires = "link", env = "SAMP_LAB_DUPLICATE")]
    pub duplicate: Option<Percent>,
    /// How many packets overtake others, as 1%
    #[arg(long, value_name = "PERCENT", requires = "link", env = "SAMP_LAB_REORDER")]
    pub reorder: Option<Percent>,
    /// Rate, as 100mbit; none is as fast as the machine
    #[arg(long, value_name = "RATE", requires = "link", env = "SAMP_LAB_RATE")]
    pub rate: Option<RateChange>,
    /// Packets that may wait for a line with a rate
    #[arg(long, value_name = "PACKETS", requires = "link", env = "SAMP_LAB_QUEUE",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LinkQuality::MAX_QUEUE)))]
    pub queue: Option<u32>,
    /// From A to B only, or from the mobile node, not back
    #[arg(long, requires = "link", env = "SAMP_LAB_ONE_WAY", value_parser = clap::builder::FalseyValueParser::new())]
    pub one_way: bool,
}

/// Whether a link works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkState {
    /// Nothing passes
    Down,
    /// It works again
    Up,
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

/// The node or nodes in the name of a link.
fn link_name(text: &str) -> Result<LinkName, String> {
    match text.split_once("--") {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok(LinkName::Wired([a.to_owned(), b.to_owned()])),
        None if !text.is_empty() => Ok(LinkName::Radio(text.to_owned())),
        _ => Err("write a link as its two ends, as ar1--ar2, or as a mobile node".to_owned()),
    }
}

/// A time, in seconds where it has no unit.
fn duration(text: &str) -> Result<Duration, InvalidValue> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_plain { format!("{text}s") } else { text.to_owned() };
    text.parse().map(Interval::get)
}

/// Backends and addresses, instead of the topology's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Emulation {
    /// Who makes the delay of wired links
    #[arg(long, value_enum, value_name = "BACKEND", env = "SAMP_LAB_LINKS")]
    pub links: Option<Links>,
    /// How handoffs are done
    #[arg(long, value_enum, value_name = "MODE", env = "SAMP_LAB_ATTACH")]
    pub attach: Option<Attach>,
    /// For how long a mobile node is attached nowhere in a handoff, as 50ms
    #[arg(long, value_name = "TIME", env = "SAMP_LAB_GAP")]
    pub gap: Option<Delay>,
    /// What tells a mobile node of its new link
    #[arg(long, value_enum, value_name = "TRIGGER", env = "SAMP_LAB_TRIGGER")]
    pub trigger: Option<Trigger>,
    /// For how long the old attachment stays beside the new one, with two radios, as 50ms
    #[arg(long, value_name = "TIME", env = "SAMP_LAB_MAKE_BEFORE_BREAK")]
    pub make_before_break: Option<Delay>,
    /// How long before it is detached a mobile node is told of it, as 50ms
    #[arg(long, value_name = "TIME", env = "SAMP_LAB_GOING_DOWN")]
    pub going_down: Option<Delay>,
    /// Which addresses the nodes have
    #[arg(long, value_enum, value_name = "FAMILY", env = "SAMP_LAB_FAMILY")]
    pub family: Option<Family>,
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
    /// No delay, loss and rate at all
    Plain,
}

/// How handoffs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// bpf where that can be, else switch
    Auto,
    /// One write to the air's attachment table
    Switch,
    /// The same in the kernel, for radio links without delay and loss
    Bpf,
    /// The interface itself moves
    Move,
}

/// What tells a mobile node of its new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Trigger {
    /// The lab, at once
    Link,
    /// The carrier of its radio interface
    Carrier,
    /// Router advertisements
    Ra,
}

/// What the requests of a flood ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloodRequest {
    /// REGISTER of made-up users, whose bindings the server keeps
    Register,
    /// OPTIONS, of which it keeps nothing
    Options,
    /// INVITE of made-up users, whom it looks for on the ring
    Invite,
}

impl From<FloodRequest> for flood::FloodRequest {
    fn from(request: FloodRequest) -> Self {
        match request {
            FloodRequest::Register => Self::Register,
            FloodRequest::Options => Self::Options,
            FloodRequest::Invite => Self::Invite,
        }
    }
}

/// Which addresses the nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4 only
    Ipv4,
    /// IPv6 only
    Ipv6,
    /// Both; SIP and media use IPv6
    Dual,
}

impl From<Family> for settings::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
            Family::Dual => Self::Dual,
        }
    }
}

impl From<Links> for LinkBackend {
    fn from(links: Links) -> Self {
        match links {
            Links::Auto => Self::Auto,
            Links::Netem => Self::Netem,
            Links::Userspace => Self::Userspace,
            Links::Plain => Self::Plain,
        }
    }
}

impl From<Attach> for AttachMode {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Auto => Self::Auto,
            Attach::Switch => Self::Switch,
            Attach::Bpf => Self::Bpf,
            Attach::Move => Self::Move,
        }
    }
}

impl From<Trigger> for settings::Trigger {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Link => Self::Link,
            Trigger::Carrier => Self::Carrier,
            Trigger::Ra => Self::Ra,
        }
    }
}
