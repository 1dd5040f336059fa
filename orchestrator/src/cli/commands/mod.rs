//! The commands, and what they share: which lab is meant, and what a topology becomes on this machine.

mod bundle;
mod calibrate;
mod campaign;
mod capture;
mod compare;
mod difference;
mod doctor;
mod exec;
mod figures;
mod files;
mod flood;
mod follow;
mod generate;
mod graph;
mod labs;
mod link;
mod observe;
mod one_run;
mod report;
mod reproduce;
mod ring;
mod run;
mod sim;
mod trace;
mod up;

use super::exit::Exit;
use super::failure::Failure;
use super::typed::Emulation;
use super::{Command, Invocation, LabCommand, Terminal, Which};
use crate::client::{Client, Watch};
use crate::lab::{self, programs::find_program};
use crate::plan::{Machine, Plan};
use crate::runtime_dir::RuntimeDir;
use samp_model::Topology;
use samp_model::control::Request;
use std::collections::BTreeSet;
use std::process::ExitCode;

/// Runs a command and tells how it ended.
pub(super) fn run(Invocation { command, terminal }: Invocation) -> ExitCode {
    // Supervisor and agents have logs of their own.
    if !matches!(command, Command::Supervisor(_) | Command::Agent | Command::Probe | Command::Foreground(_)) {
        terminal.start_log();
    }
    dispatch(&terminal, command).unwrap_or_else(|failure| {
        terminal.report(&failure);
        failure.exit.into()
    })
}

fn dispatch(terminal: &Terminal, command: Command) -> Result<ExitCode, Failure> {
    let exit = match command {
        Command::Doctor => doctor::doctor(terminal)?,
        Command::Examples => files::examples(terminal)?,
        Command::Init { example, dir, force } => files::init(terminal, &example, &dir, force)?,
        Command::Schema(kind) => files::schema(kind)?,
        Command::Graph { subject, output } => graph::graph(terminal, &subject, output)?,
        Command::Validate(file) => files::validate(terminal, &file)?,
        Command::Plan(file, emulation) => files::plan(terminal, &file, emulation)?,
        Command::Up { file, name, emulation, recreate, allow_programs } => {
            up::up(terminal, &file, name, emulation, recreate, allow_programs)?
        }
        Command::Ps => labs::ps(terminal)?,
        Command::Run(options) => run::run(terminal, &options)?,
        Command::Sim(options) => sim::sim(terminal, &options)?,
        Command::Compare(wanted) => compare::compare(terminal, &wanted)?,
        Command::Report(options) => report::report(terminal, &options)?,
        Command::Bundle(options) => bundle::bundle(terminal, &options)?,
        Command::Reproduce(options) => reproduce::reproduce(terminal, &options)?,
        Command::Figures(wanted) => figures::figures(terminal, &wanted)?,
        Command::Down(which) => labs::down(terminal, &which)?,
        Command::DownAll => labs::down_all(terminal)?,
        Command::Completions(shell) => generate::completions(terminal, shell)?,
        Command::Man(dir) => generate::man(terminal, dir.as_deref())?,
        Command::Lab(which, command) => return in_lab(terminal, &find(&which)?, command),
        Command::Supervisor(dir) => return Ok(lab::supervisor::run_supervisor(&dir)),
        Command::Agent => return Ok(lab::agents::run_agent()),
        Command::Probe => return Ok(doctor::probe()),
        Command::Foreground(program) => return exec::foreground(&program),
    };
    Ok(exit.into())
}

fn in_lab(terminal: &Terminal, client: &Client, command: LabCommand) -> Result<ExitCode, Failure> {
    let exit = match command {
        LabCommand::Inspect(node) => labs::inspect(terminal, client, node.as_deref())?,
        LabCommand::Exec { node, program, args } => return exec::exec(client, &node, &program, &args),
        LabCommand::Shell(node) => return exec::shell(client, &node),
        LabCommand::Logs { node, follow } => follow::logs(terminal, client, node.as_deref(), follow)?,
        LabCommand::Events { follow } => follow::events(terminal, client, follow)?,
        LabCommand::Ring => ring::ring(terminal, client)?,
        LabCommand::Trace(subject) => trace::trace(terminal, client, &subject)?,
        LabCommand::Handoff { mobile_node, access_router, gap } => {
            observe::handoff(terminal, client, mobile_node, access_router, gap)?
        }
        LabCommand::Call { caller, callee } => observe::call(terminal, client, caller, callee)?,
        LabCommand::HangUp(call) => labs::tell(terminal, client, &Request::HangUp { call })?,
        LabCommand::Transfer { call, to } => observe::transfer(terminal, client, call, to)?,
        LabCommand::Deregister(mobile_node) => {
            labs::tell(terminal, client, &Request::Deregister { mobile_node })?
        }
        LabCommand::Leave(server) => labs::tell(terminal, client, &Request::Leave { server })?,
        LabCommand::Kill(node) => labs::tell(terminal, client, &Request::Kill { node })?,
        LabCommand::Pause(node) => labs::tell(terminal, client, &Request::Pause { node })?,
        LabCommand::Resume(node) => labs::tell(terminal, client, &Request::Resume { node })?,
        LabCommand::Flood(options) => flood::flood(terminal, client, options)?,
        LabCommand::Capture(wanted) => capture::capture(terminal, client, &wanted)?,
        LabCommand::Link(link) => link::link(terminal, client, &link)?,
        LabCommand::Partition { nodes, from } => {
            link::change(terminal, client, &Request::Partition { nodes, from })?
        }
        LabCommand::Calibrate(tolerance) => calibrate::calibrate(terminal, client, tolerance)?,
        LabCommand::Heal => link::change(terminal, client, &Request::Heal)?,
    };
    Ok(exit.into())
}

/// The labs that run, by name.
fn live() -> Result<Vec<RuntimeDir>, Failure> {
    Ok(RuntimeDir::list()?.into_iter().filter(RuntimeDir::is_live).collect())
}

/// The lab that is meant.
fn find(which: &Which) -> Result<Client, Failure> {
    let running = live()?;
    let names = running.iter().map(RuntimeDir::name).collect::<Vec<_>>().join(", ");
    match which {
        Which::Named(name) => match running.iter().find(|dir| dir.name() == name) {
            Some(dir) => Ok(Client::new(dir.clone())),
            None => Err(Failure::new(Exit::Failed, format!("no lab named `{name}` runs"))
                .hint((!names.is_empty()).then(|| format!("these do: {names}")))),
        },
        Which::Only => match &running[..] {
            [only] => Ok(Client::new(only.clone())),
            [] => Err(Failure::new(Exit::Failed, "no lab runs")
                .hint("bring one up with `samp-lab up TOPOLOGY`".to_owned())),
            many => Err(Failure::new(Exit::Conflict, format!("{} labs run: {names}", many.len()))
                .hint("say which one with `--lab NAME`".to_owned())),
        },
    }
}

/// Follows a lab, and says what it no longer knows of itself.
fn watch(terminal: &Terminal, client: &Client) -> Result<Watch, Failure> {
    let watch = Watch::start(client, |_| Ok(()))?;
    note_discarded(terminal, watch.discarded());
    Ok(watch)
}

fn note_discarded(terminal: &Terminal, discarded: u64) {
    if discarded > 0 {
        terminal.note(format!(
            "the lab no longer keeps its first {discarded} records: what is only in them is not told"
        ));
    }
}

/// What the topology becomes on this machine, with the backends and the family that were typed.
fn resolve(topology: &mut Topology, emulation: Emulation) -> Result<(Plan, Machine), Failure> {
    let machine = Machine::probe().map_err(|error| {
        Failure::io("look at this machine", &error).hint("`samp-lab doctor` tells what is missing".to_owned())
    })?;
    Ok((resolve_on(&machine, topology, emulation)?, machine))
}

/// As [`resolve`], on a machine that is known already.
fn resolve_on(machine: &Machine, topology: &mut Topology, emulation: Emulation) -> Result<Plan, Failure> {
    topology.emulation = emulation.over(topology.emulation);
    if let Some(family) = emulation.family {
        topology
            .set_family(family.into())
            .map_err(|error| Failure::from_error(Exit::InvalidInput, &error))?;
    }
    Ok(Plan::new(topology, machine)?)
}

/// That the topology's own programs may run, and that all programs can.
fn check_programs(plan: &Plan, allowed: bool) -> Result<(), Failure> {
    let users = plan.programs.iter().filter(|program| program.is_users);
    let users: BTreeSet<&str> = users.map(|program| program.argv[0].as_str()).collect();
    if !users.is_empty() && !allowed {
        let names = users.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Exit::Usage, format!("this topology runs programs of its own: {names}"))
            .hint(
                "`--allow-programs` lets it, with your rights; `samp-lab plan FILE` shows their arguments"
                    .to_owned(),
            ));
    }
    let names: BTreeSet<&str> = plan.programs.iter().map(|program| program.argv[0].as_str()).collect();
    for name in names {
        if let Err(error) = find_program(name) {
            return Err(Failure::new(Exit::Missing, format!("cannot run `{name}`: {error}"))
                .hint("install it, or write its path".to_owned()));
        }
    }
    Ok(())
}
