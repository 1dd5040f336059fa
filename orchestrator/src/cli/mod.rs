//! The command line: what was typed becomes one [`Invocation`], which is then run.

mod commands;
mod exit;
mod failure;
mod terminal;
mod typed;

pub use self::exit::Exit;
pub use self::failure::Failure;
pub use self::terminal::{Progress, Terminal, Verbosity};
pub use self::typed::{
    Attach, Bundle, Capture, Compare, Drawing, Emulation, Family, Figures, FileKind, FloodOptions, Format,
    Link, LinkState, Links, ReportOptions, Reproduce, Results, Run, Sim, Tolerated,
};

use self::typed::{Typed, TypedCommand};
use crate::calibration::Tolerance;
use crate::report::Style;
use clap::Parser;
use samp_model::units::Delay;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What the user wants, with everything decided that does not need a look at files or labs.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// How to talk about it.
    pub terminal: Terminal,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Check the machine.
    Doctor,
    /// List the examples.
    Examples,
    /// Write an example.
    Init {
        /// Its name.
        example: String,
        /// Where to.
        dir: PathBuf,
        /// Whether files may be overwritten.
        force: bool,
    },
    /// Print a schema.
    Schema(FileKind),
    /// Draw a topology or a lab.
    Graph {
        /// A file or a lab.
        subject: Subject,
        /// In which language.
        output: Drawing,
    },
    /// Check a file.
    Validate(PathBuf),
    /// Show what `up` would create.
    Plan(PathBuf, Emulation),
    /// Bring up a lab.
    Up {
        /// The topology file.
        file: PathBuf,
        /// The lab's name; none is the topology's.
        name: Option<String>,
        /// Backends.
        emulation: Emulation,
        /// Whether another lab of that name has to give way.
        recreate: bool,
        /// Whether the topology's own programs may run.
        allow_programs: bool,
    },
    /// List the labs.
    Ps,
    /// Do something with a lab that runs.
    Lab(Which, LabCommand),
    /// Run an experiment.
    Run(Run),
    /// Simulate an experiment.
    Sim(Sim),
    /// Compare runs, or a run with its simulation.
    Compare(Compare),
    /// Report on a run.
    Report(ReportOptions),
    /// Pack a run.
    Bundle(Bundle),
    /// Make a bundle's runs again.
    Reproduce(Reproduce),
    /// Make figures.
    Figures(Figures),
    /// End a lab, or remove what a dead one has left.
    Down(Which),
    /// End all labs.
    DownAll,
    /// Print a shell's completion script.
    Completions(clap_complete::Shell),
    /// Print the manual page, or write all.
    Man(Option<PathBuf>),
    /// Be the supervisor of the lab with this runtime directory.
    Supervisor(PathBuf),
    /// Be a node's agent.
    Agent,
    /// Find out what works inside fresh namespaces, for `doctor`.
    Probe,
    /// Take the terminal and become a program, for `shell`.
    Foreground(OsString),
}

/// What `graph` draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A file if there is one, else a lab of this name.
    Either(String),
    /// A lab.
    Lab(Which),
}

/// What to do with a lab.
#[derive(Clone, Debug, PartialEq)]
pub enum LabCommand {
    /// Show the lab or a node.
    Inspect(Option<String>),
    /// Run a command inside a node.
    Exec {
        /// The node.
        node: String,
        /// The program.
        program: OsString,
        /// Its arguments.
        args: Vec<OsString>,
    },
    /// Open a shell inside a node.
    Shell(String),
    /// Print the log of a node or of the supervisor.
    Logs {
        /// The node; none is the supervisor.
        node: Option<String>,
        /// Whether to go on.
        follow: bool,
    },
    /// Print the records.
    Events {
        /// Whether to go on.
        follow: bool,
    },
    /// Show the ring.
    Ring,
    /// Show the messages of a call or of a handoff.
    Trace(String),
    /// Move a mobile node.
    Handoff {
        /// The mobile node.
        mobile_node: String,
        /// The access router.
        access_router: String,
        /// For how long it is attached nowhere, where it is not the topology's gap.
        gap: Option<Duration>,
    },
    /// Let one mobile node call another.
    Call {
        /// The caller.
        caller: String,
        /// The callee.
        callee: String,
    },
    /// End a call or all.
    HangUp(Option<String>),
    /// Let another mobile node take a call over.
    Transfer {
        /// The call.
        call: String,
        /// Who takes it over.
        to: String,
    },
    /// Let a mobile node leave its servers.
    Deregister(String),
    /// Let a server leave the ring.
    Leave(String),
    /// Kill a node's agent.
    Kill(String),
    /// Stop a node's agent.
    Pause(String),
    /// Let a node's agent go on.
    Resume(String),
    /// Send a SIP server requests that nobody needs.
    Flood(FloodOptions),
    /// Capture what passes.
    Capture(Capture),
    /// Change or show links.
    Link(Link),
    /// Take down all links between some nodes and others.
    Partition {
        /// The nodes on one side.
        nodes: Vec<String>,
        /// Those on the other side; with none, all others.
        from: Vec<String>,
    },
    /// Bring up what partitions have taken down.
    Heal,
    /// Probe all links.
    Calibrate(Tolerance),
}

/// Which lab is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this name.
    Named(String),
    /// The only one that runs.
    Only,
}

/// What the surroundings say about output.
#[derive(Clone, Copy, Debug)]
struct Surroundings {
    no_color: bool,
    stdout: bool,
    stderr: bool,
    width: usize,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let surroundings = Surroundings::look();
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) => return usage_error(&error).into(),
    };
    let invocation = Invocation::resolve(typed, surroundings);
    commands::run(invocation)
}

impl Invocation {
    fn resolve(Typed { global, command }: Typed, surroundings: Surroundings) -> Self {
        let which = |name: Option<String>| name.or(global.lab.clone()).map_or(Which::Only, Which::Named);
        let lab = |command| Command::Lab(which(None), command);
        let command = match command {
            TypedCommand::Doctor => Command::Doctor,
            TypedCommand::Init { example: None, .. } => Command::Examples,
            TypedCommand::Init { example: Some(example), dir, force } => {
                Command::Init { example, dir, force }
            }
            TypedCommand::Schema { kind } => Command::Schema(kind),
            TypedCommand::Graph { subject, output } => {
                let subject = subject.map_or_else(|| Subject::Lab(which(None)), Subject::Either);
                Command::Graph { subject, output }
            }
            TypedCommand::Validate { file } => Command::Validate(file),
            TypedCommand::Plan { file, emulation }
            | TypedCommand::Up { file, emulation, dry_run: true, .. } => Command::Plan(file, emulation),
            TypedCommand::Up { file, name, emulation, dry_run: false, recreate, allow_programs } => {
                Command::Up { file, name: name.or(global.lab.clone()), emulation, recreate, allow_programs }
            }
            TypedCommand::Ps => Command::Ps,
            TypedCommand::Inspect { node } => lab(LabCommand::Inspect(node)),
            TypedCommand::Exec { node, command } => {
                let mut words = command.into_iter();
                let program = words.next().unwrap_or_default();
                lab(LabCommand::Exec { node, program, args: words.collect() })
            }
            TypedCommand::Shell { node } => lab(LabCommand::Shell(node)),
            TypedCommand::Logs { node, follow } => lab(LabCommand::Logs { node, follow }),
            TypedCommand::Events { follow } => lab(LabCommand::Events { follow }),
            TypedCommand::Ring => lab(LabCommand::Ring),
            TypedCommand::Trace { subject } => lab(LabCommand::Trace(subject)),
            TypedCommand::Handoff { mobile_node, access_router, gap } => {
                lab(LabCommand::Handoff { mobile_node, access_router, gap: gap.map(Delay::get) })
            }
            TypedCommand::Call { caller, callee } => lab(LabCommand::Call { caller, callee }),
            TypedCommand::Hangup { call } => lab(LabCommand::HangUp(call)),
            TypedCommand::Transfer { call, to } => lab(LabCommand::Transfer { call, to }),
            TypedCommand::Deregister { node } => lab(LabCommand::Deregister(node)),
            TypedCommand::Leave { server } => lab(LabCommand::Leave(server)),
            TypedCommand::Kill { node } => lab(LabCommand::Kill(node)),
            TypedCommand::Pause { node } => lab(LabCommand::Pause(node)),
            TypedCommand::Resume { node } => lab(LabCommand::Resume(node)),
            TypedCommand::Flood(options) => lab(LabCommand::Flood(options)),
            TypedCommand::Capture(capture) => lab(LabCommand::Capture(capture)),
            TypedCommand::Link(link) => lab(LabCommand::Link(link)),
            TypedCommand::Partition { nodes, from } => lab(LabCommand::Partition { nodes, from }),
            TypedCommand::Heal => lab(LabCommand::Heal),
            TypedCommand::Calibrate { tolerated } => lab(LabCommand::Calibrate(tolerated.into())),
            TypedCommand::Run(run) => Command::Run(run),
            TypedCommand::Sim(sim) => Command::Sim(sim),
            TypedCommand::Compare(compare) => Command::Compare(compare),
            TypedCommand::Report(options) => Command::Report(options),
            TypedCommand::Bundle(options) => Command::Bundle(options),
            TypedCommand::Reproduce(options) => Command::Reproduce(options),
            TypedCommand::Figures(figures) => Command::Figures(figures),
            TypedCommand::Down { all: true, .. } => Command::DownAll,
            TypedCommand::Down { name, all: false } => Command::Down(which(name)),
            TypedCommand::Completions { shell } => Command::Completions(shell),
            TypedCommand::Man { dir } => Command::Man(dir),
            TypedCommand::Supervisor { dir } => Command::Supervisor(dir),
            TypedCommand::Agent => Command::Agent,
            TypedCommand::Probe => Command::Probe,
            TypedCommand::Foreground { program } => Command::Foreground(program),
        };
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        };
        let progress = match verbosity {
            Verbosity::Quiet => Progress::None,
            _ if surroundings.stderr => Progress::Bars,
            _ => Progress::Lines,
        };
        let terminal = Terminal {
            format: global.format,
            verbosity,
            progress,
            color: surroundings.stderr && !surroundings.no_color,
            style: Style {
                unicode: surroundings.stdout && !surroundings.no_color,
                width: surroundings.width,
            },
        };
        Self { command, terminal }
    }
}

impl Surroundings {
    fn look() -> Self {
        Self {
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
            width: terminal::width(),
        }
    }
}

/// Tells what is wrong with the command line, or prints the help that was asked for.
fn usage_error(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Nobody is left to tell when standard output is closed.
        let _ = error.print();
        return Exit::Success;
    }
    // Parsing has failed, so whether JSON was wanted can only be guessed from the words.
    let words: Vec<_> = std::env::args_os().collect();
    let json = words.iter().any(|word| word == "--format=json")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
    if json {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Terminal::json().report(
            &Failure::new(Exit::Usage, message).hint("`samp-lab --help` tells what is understood".to_owned()),
        );
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPED: Surroundings = Surroundings { no_color: false, stdout: false, stderr: false, width: 100 };
    const TERMINAL: Surroundings = Surroundings { no_color: false, stdout: true, stderr: true, width: 100 };

    fn resolve(words: &str, surroundings: Surroundings) -> Invocation {
        let words = ["samp-lab"].into_iter().chain(words.split_whitespace());
        Invocation::resolve(Typed::try_parse_from(words).unwrap(), surroundings)
    }

    fn command(words: &str) -> Command {
        resolve(words, PIPED).command
    }

    #[test]
    fn the_parser_is_consistent() {
        use clap::CommandFactory;
        Typed::command().debug_assert();
    }

    #[test]
    fn a_dry_run_is_a_plan() {
        let emulation =
            Emulation { links: Some(Links::Netem), family: Some(Family::Dual), ..Emulation::default() };
        let plan = Command::Plan("a.yaml".into(), emulation);
        assert_eq!(command("up --dry-run --links netem --family dual a.yaml"), plan);
        assert_eq!(command("plan a.yaml --family dual --links netem"), plan);
        assert_eq!(
            command("up a.yaml --name x --links netem --family dual"),
            Command::Up {
                file: "a.yaml".into(),
                name: Some("x".into()),
                emulation,
                recreate: false,
                allow_programs: false
            }
        );
    }

    #[test]
    fn a_lab_is_named_by_option_or_argument_or_is_the_only_one() {
        assert_eq!(command("down"), Command::Down(Which::Only));
        assert_eq!(command("down x"), Command::Down(Which::Named("x".into())));
        assert_eq!(command("--lab x down"), Command::Down(Which::Named("x".into())));
        assert_eq!(
            command("handoff mn1 ar2 --lab x"),
            Command::Lab(
                Which::Named("x".into()),
                LabCommand::Handoff { mobile_node: "mn1".into(), access_router: "ar2".into(), gap: None }
            )
        );
    }

    #[test]
    fn tolerances_have_defaults() {
        let calibrate = |tolerance| Command::Lab(Which::Only, LabCommand::Calibrate(tolerance));
        assert_eq!(command("calibrate"), calibrate(Tolerance::default()));
        let [delay, cpu_wait] = [1, 20].map(std::time::Duration::from_millis);
        assert_eq!(
            command("calibrate --tolerance 1ms --cpu-wait 20ms"),
            calibrate(Tolerance { delay, cpu_wait })
        );
        assert!(Typed::try_parse_from(["samp-lab", "calibrate", "--tolerance", "1"]).is_err());
    }

    #[test]
    fn a_command_for_a_node_keeps_its_own_options() {
        let exec = LabCommand::Exec {
            node: "mn1".into(),
            program: "ping".into(),
            args: vec!["-c".into(), "1".into(), "--format".into()],
        };
        assert_eq!(command("exec mn1 -- ping -c 1 --format"), Command::Lab(Which::Only, exec));
        assert!(Typed::try_parse_from(["samp-lab", "exec", "mn1"]).is_err());
    }

    #[test]
    fn output_depends_on_what_listens() {
        assert_eq!(resolve("ps", PIPED).terminal.progress, Progress::Lines);
        assert_eq!(resolve("ps", TERMINAL).terminal.progress, Progress::Bars);
        assert_eq!(resolve("-q ps", TERMINAL).terminal.progress, Progress::None);
        assert_eq!(resolve("-vv ps", TERMINAL).terminal.verbosity, Verbosity::Debug);
        assert!(resolve("ps", TERMINAL).terminal.style.unicode);
        let plain = resolve("ps", Surroundings { no_color: true, ..TERMINAL }).terminal;
        assert!(!plain.style.unicode && !plain.color);
        assert_eq!(resolve("ps --format json", PIPED).terminal.format, Format::Json);
    }
}
