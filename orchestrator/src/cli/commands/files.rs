//! `validate` and `plan`: what files say, without touching the machine.

use super::super::{Emulation, Exit, Failure, Terminal};
use super::resolve;
use samp_model::{Topology, experiment, topology};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What a valid file holds.
#[derive(Serialize)]
struct Valid<'a> {
    valid: bool,
    file: &'a Path,
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topology: Option<PathBuf>,
    access_routers: usize,
    other_routers: usize,
    sip_servers: usize,
    mobile_nodes: usize,
    links: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<usize>,
}

/// Checks a topology or experiment file.
pub(super) fn validate(terminal: &Terminal, file: &Path) -> Result<Exit, Failure> {
    let valid = if is_experiment(file) {
        let (experiment, topology) = experiment::load(file).map_err(Failure::invalid)?;
        let actions = experiment.schedule(&topology).len();
        Valid {
            kind: "experiment",
            name: experiment.name,
            topology: Some(experiment.topology),
            actions: Some(actions),
            ..count(file, &topology)
        }
    } else {
        count(file, &topology::load(file).map_err(Failure::invalid)?)
    };
    terminal.show(&valid, |valid| {
        let mut text = format!("{}: {} `{}`, valid", valid.file.display(), valid.kind, valid.name);
        if let (Some(actions), Some(topology)) = (valid.actions, &valid.topology) {
            text += &format!("; {actions} actions on {}", topology.display());
        }
        text + &format!(
            "\n{} access routers, {} other routers, {} SIP servers, {} mobile nodes, {} links\n",
            valid.access_routers, valid.other_routers, valid.sip_servers, valid.mobile_nodes, valid.links
        )
    })?;
    Ok(Exit::Success)
}

/// Shows everything that `up` would create.
pub(super) fn plan(terminal: &Terminal, file: &Path, emulation: Emulation) -> Result<Exit, Failure> {
    let mut topology = topology::load(file).map_err(Failure::invalid)?;
    let (plan, _) = resolve(&mut topology, emulation)?;
    terminal.show(&plan, ToString::to_string)?;
    Ok(Exit::Success)
}

fn count<'a>(file: &'a Path, topology: &Topology) -> Valid<'a> {
    let access_routers = topology.access_routers().count();
    let sip_servers = topology.sip_servers().count();
    let mobile_nodes = topology.mobile_nodes().count();
    Valid {
        valid: true,
        file,
        kind: "topology",
        name: topology.name.clone(),
        topology: None,
        access_routers,
        other_routers: topology.nodes.len() - access_routers - sip_servers - mobile_nodes,
        sip_servers,
        mobile_nodes,
        links: topology.links.len(),
        actions: None,
    }
}

/// Only an experiment has a timeline; a file that cannot be read is left to the topology's errors.
fn is_experiment(file: &Path) -> bool {
    let is_of_experiment = |line: &str| line.starts_with("timeline:") || line.starts_with("topology:");
    fs::read_to_string(file).is_ok_and(|text| text.lines().any(is_of_experiment))
}
