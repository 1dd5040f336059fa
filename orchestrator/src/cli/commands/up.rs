//! `up`: a lab in the background, and its progress until it stands.

use super::super::{Emulation, Exit, Failure, Terminal};
use super::resolve;
use crate::client::Client;
use crate::experiment::Interrupt;
use crate::lab::supervisor::launch;
use crate::plan::Machine;
use crate::runtime_dir::RuntimeDir;
use samp_model::control::{Progress, Stage};
use samp_model::settings::EmulationSettings;
use samp_model::{Topology, topology};
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
}

/// How long each stage took.
pub(super) struct Seconds(Vec<(Stage, f64)>);

/// Brings up a lab.
pub(super) fn up(
    terminal: &Terminal,
    file: &Path,
    name: Option<String>,
    emulation: Emulation,
) -> Result<Exit, Failure> {
    let mut topology = topology::load(file).map_err(Failure::invalid)?;
    let (plan, machine) = resolve(&mut topology, emulation)?;
    let name = name.unwrap_or_else(|| topology.name.clone());
    let _exits =
        Interrupt::catch(Exit::Interrupted as i32).map_err(|error| Failure::io("catch Ctrl-C", &error))?;
    let (_, seconds) = bring_up(terminal, &topology, &machine, &name)?;
    let up = Up {
        lab: &name,
        topology: &topology.name,
        nodes: topology.nodes.len(),
        emulation: plan.emulation,
        total_seconds: seconds.0.iter().map(|(_, seconds)| seconds).sum(),
        seconds,
    };
    terminal.show(&up, |up| {
        format!("lab {} is up after {:.2} s: {} nodes\n", up.lab, up.total_seconds, up.nodes)
    })?;
    Ok(Exit::Success)
}

/// Starts a supervisor and shows its progress until the lab stands.
///
/// Should this process end before, by Ctrl-C or otherwise, the supervisor notices and ends too.
pub(super) fn bring_up(
    terminal: &Terminal,
    topology: &Topology,
    machine: &Machine,
    name: &str,
) -> Result<(Client, Seconds), Failure> {
    let claim = RuntimeDir::of(name)?.claim()?;
    let dir = claim.dir.clone();
    let mut launched = launch(claim, topology, machine)?;
    let mut stages = terminal.stages();
    loop {
        let progress = launched
            .next_progress()
            .map_err(|error| Failure::io("hear from the lab's supervisor", &error))?;
        match progress {
            Some(Progress::Stage { stage, done, total }) => stages.update(stage, done, total),
            Some(Progress::Up { seconds }) => return Ok((Client::new(dir), Seconds(seconds))),
            Some(Progress::Failed { message, hint }) => {
                return Err(Failure::new(Exit::Failed, message).hint(hint));
            }
            None => {
                let log = dir.supervisor_log();
                return Err(Failure::new(Exit::Failed, "the lab's supervisor died while the lab came up")
                    .hint(format!("its log is {}", log.display())));
            }
        }
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
