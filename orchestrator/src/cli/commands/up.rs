//! `up`: a lab in the background, and its progress until it stands.

use super::super::{Emulation, Exit, Failure, Terminal};
use super::difference::difference;
use super::labs::{end, running};
use super::{check_programs, resolve};
use crate::client::Client;
use crate::experiment::{Interrupt, Load};
use crate::lab::supervisor::launch;
use crate::plan::{Machine, Plan};
use crate::runtime_dir::RuntimeDir;
use nix::sys::signal::Signal;
use samp_model::control::{LabStatus, Progress, Stage};
use samp_model::settings::EmulationSettings;
use samp_model::{Topology, topology};
use samp_sys::process::Isolated;
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::path::Path;

/// A lab that has come up.
#[derive(Serialize)]
struct Up<'a> {
    lab: &'a str,
    topology: &'a str,
    nodes: usize,
    emulation: EmulationSettings,
    seconds: Seconds,
    total_seconds: f64,
    /// Whether anything has been done.
    changed: bool,
    /// Why measurements cannot be trusted now.
    busy: Option<String>,
}

/// How long each stage took.
pub(super) struct Seconds(Vec<(Stage, f64)>);

/// Brings up a lab.
pub(super) fn up(
    terminal: &Terminal,
    file: &Path,
    name: Option<String>,
    emulation: Emulation,
    recreate: bool,
    allow_programs: bool,
) -> Result<Exit, Failure> {
    let mut topology = topology::load(file).map_err(Failure::invalid)?;
    let (plan, machine) = resolve(&mut topology, emulation)?;
    check_programs(&plan, allow_programs)?;
    // Before the building itself keeps the machine busy.
    let busy = warn_if_busy(terminal);
    let name = name.unwrap_or_else(|| topology.name.clone());
    let interrupt =
        Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error))?;
    let dir = RuntimeDir::of(&name)?;
    let client = Client::new(dir);
    if let Some(status) = running(&client)? {
        let difference = difference((&status.topology, status.emulation), (&topology, plan.emulation));
        if difference.is_empty() && status.is_up {
            return unchanged(terminal, &status, busy);
        }
        if !recreate {
            return Err(conflict(&status, difference));
        }
        end(&client, status.supervisor_pid)?;
        terminal.note(format!("lab {name} is down"));
    }
    let (_, seconds) = bring_up(terminal, (&topology, &machine, &plan), &name, &interrupt)?;
    interrupt.disarm();
    let up = Up {
        lab: &name,
        topology: &topology.name,
        nodes: topology.nodes.len(),
        emulation: plan.emulation,
        total_seconds: seconds.0.iter().map(|(_, seconds)| seconds).sum(),
        seconds,
        changed: true,
        busy,
    };
    terminal.show(&up, |up| {
        format!("lab {} is up after {:.2} s: {} nodes\n", up.lab, up.total_seconds, up.nodes)
    })?;
    Ok(Exit::Success)
}

/// Warns when the machine is too busy to be trusted, and tells why.
pub(super) fn warn_if_busy(terminal: &Terminal) -> Option<String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = Load::now().busy(cpus)?;
    terminal.note(format!(
        "warning: the machine is too busy for measurements to be trusted: {busy}; `samp-lab calibrate` tells how far off they are"
    ));
    Some(busy)
}

fn unchanged(terminal: &Terminal, status: &LabStatus, busy: Option<String>) -> Result<Exit, Failure> {
    let up = Up {
        lab: &status.name,
        topology: &status.topology.name,
        nodes: status.nodes.len(),
        emulation: status.emulation,
        seconds: Seconds(Vec::new()),
        total_seconds: 0.0,
        changed: false,
        busy,
    };
    terminal.show(&up, |up| format!("lab {} is up already, and built from the same\n", up.lab))?;
    Ok(Exit::Success)
}

fn conflict(status: &LabStatus, difference: Vec<String>) -> Failure {
    let name = &status.name;
    if difference.is_empty() {
        return Failure::new(Exit::Conflict, format!("the lab `{name}` is still coming up"))
            .hint("wait for the `samp-lab up` that builds it".to_owned());
    }
    let hint = format!(
        "`--recreate` ends it and brings up this one instead, `samp-lab down {name}` only ends it, \
         `--name` gives this one another name"
    );
    Failure {
        difference,
        ..Failure::new(Exit::Conflict, format!("the lab `{name}` is up, but was built from something else"))
    }
    .hint(hint)
}

/// Starts a supervisor and shows its progress until the lab stands.
///
/// Should this process end before, the supervisor notices and ends too; a signal ends it for certain, until the caller
/// gives `interrupt` another meaning.
pub(super) fn bring_up(
    terminal: &Terminal,
    (topology, machine, plan): (&Topology, &Machine, &Plan),
    name: &str,
    interrupt: &Interrupt,
) -> Result<(Client, Seconds), Failure> {
    let dir = RuntimeDir::of(name)?;
    let mut launched = interrupt.make(|| {
        let launched = launch(dir.claim()?, topology, machine, plan)?;
        let pidfd = launched.pidfd.try_clone().map_err(|error| Failure::io("copy a descriptor", &error))?;
        let (supervisor, left) = (Isolated { pid: launched.pid, pidfd }, dir.clone());
        Ok::<_, Failure>((launched, move || kill(&supervisor, &left)))
    })?;
    let mut stages = terminal.stages();
    loop {
        let progress = launched
            .next_progress()
            .map_err(|error| Failure::io("hear from the lab's supervisor", &error))?;
        match progress {
            Some(Progress::Stage { stage, done, total }) => stages.update(stage, done, total),
            Some(Progress::Up { seconds }) => return Ok((Client::new(dir), Seconds(seconds))),
            Some(Progress::Failed { message, hint, cause }) => {
                return Err(Failure::new(cause.into(), message).hint(hint));
            }
            None => {
                // When a signal has ended it, this waits for the end of this process.
                interrupt.disarm();
                let log = dir.supervisor_log();
                return Err(Failure::new(Exit::Failed, "the lab's supervisor died while the lab came up")
                    .hint(format!("its log is {}", log.display())));
            }
        }
    }
}

/// Ends a supervisor, whatever it is at, and waits until nothing of its lab is left.
fn kill(supervisor: &Isolated, dir: &RuntimeDir) {
    // Both fail when it has ended by itself.
    let _ = supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait();
    if let Err(error) = dir.claim().and_then(|claim| claim.dir.remove()) {
        tracing::warn!(%error, "cannot remove the runtime directory");
    }
}

/// An object with a key for each stage.
impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (stage, seconds) in &self.0 {
            map.serialize_entry(stage.name(), seconds)?;
        }
        map.end()
    }
}
