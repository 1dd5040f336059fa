//! `ps`, `inspect`, `logs`, `hangup`, `kill` and `down`: labs that run.

use super::super::{Exit, Failure, Terminal, Which};
use super::{find, live};
use crate::client::Client;
use crate::report::{table, word};
use crate::runtime_dir::RuntimeDir;
use samp_model::control::{AgentState, LabStatus, NodeStatus, Request};
use samp_model::settings::EmulationSettings;
use samp_model::topology::{Node, NodeKind};
use samp_model::{NodeId, Topology};
use serde::Serialize;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a lab may take to end.
const DOWN_DEADLINE: Duration = Duration::from_secs(10);

/// A lab in a list.
#[derive(Serialize)]
struct Listed {
    name: String,
    topology: String,
    nodes: usize,
    agents: usize,
    dead: usize,
    emulation: EmulationSettings,
    supervisor_pid: i32,
}

/// A node in full.
#[derive(Serialize)]
struct NodeView<'a> {
    #[serde(flatten)]
    node: &'a Node,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attached_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    neighbours: Vec<&'a str>,
    attached: Vec<&'a str>,
}

/// Lists the labs.
pub(super) fn ps(terminal: &Terminal) -> Result<Exit, Failure> {
    let mut labs = Vec::new();
    for dir in live()? {
        match Client::new(dir.clone()).status() {
            Ok(status) => labs.push(Listed::from(status)),
            // It may have ended since it was found, or is not up yet.
            Err(error) => tracing::info!(lab = dir.name(), %error, "no status"),
        }
    }
    terminal.show(&labs, |labs| {
        if labs.is_empty() {
            return "no lab runs\n".to_owned();
        }
        let rows = labs.iter().map(|lab| {
            vec![
                lab.name.clone(),
                lab.topology.clone(),
                lab.nodes.to_string(),
                lab.agents.to_string(),
                lab.dead.to_string(),
                word(&lab.emulation.links),
                word(&lab.emulation.attach),
                lab.supervisor_pid.to_string(),
            ]
        });
        table(&["lab", "topology", "nodes", "agents", "dead", "links", "attach", "supervisor"], rows)
    })?;
    Ok(Exit::Success)
}

/// Shows a lab or one of its nodes.
pub(super) fn inspect(terminal: &Terminal, client: &Client, node: Option<&str>) -> Result<Exit, Failure> {
    let status = client.status()?;
    match node {
        Some(name) => {
            let id = node_id(&status.topology, name)?;
            terminal.show(&NodeView::new(&status, id), NodeView::describe)?;
        }
        None => terminal.show(&status, describe)?,
    }
    Ok(Exit::Success)
}

/// Prints the log of a node's agent or of the supervisor.
pub(super) fn logs(terminal: &Terminal, client: &Client, node: Option<&str>) -> Result<Exit, Failure> {
    let path = match node {
        Some(name) => {
            let status = client.status()?;
            let id = node_id(&status.topology, name)?;
            if status.nodes[id.0].agent.is_none() {
                let message = format!("{name} is a router and has no agent, so it has no log");
                return Err(Failure::new(Exit::Usage, message));
            }
            client.dir().node_log(name)
        }
        None => client.dir().supervisor_log(),
    };
    let log = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.map_err(|error| Failure::io(format_args!("read {}", path.display()), &error))?,
    };
    let log = String::from_utf8_lossy(&log).into_owned();
    #[derive(Serialize)]
    struct Log<'a> {
        node: Option<&'a str>,
        lines: Vec<&'a str>,
    }
    terminal.show(&Log { node, lines: log.lines().collect() }, |_| log.clone())?;
    Ok(Exit::Success)
}

/// Ends a call or all.
pub(super) fn hang_up(terminal: &Terminal, client: &Client, call: Option<String>) -> Result<Exit, Failure> {
    client.ask(&Request::HangUp { call })?;
    done(terminal)
}

/// Kills a node's agent.
pub(super) fn kill(terminal: &Terminal, client: &Client, node: String) -> Result<Exit, Failure> {
    client.ask(&Request::Kill { node })?;
    done(terminal)
}

/// Ends a lab, or removes what a dead one has left.
pub(super) fn down(terminal: &Terminal, which: &Which) -> Result<Exit, Failure> {
    if let Which::Named(name) = which {
        let dir = RuntimeDir::of(name)?;
        if !dir.is_live() && dir.path().exists() {
            // Only what is claimed can be removed without the risk that a new lab has come up there.
            dir.claim()?.dir.remove()?;
            terminal.note(format!("lab {name} was dead; what it had left is removed"));
            return done(terminal);
        }
    }
    let client = find(which)?;
    end(&client)?;
    terminal.note(format!("lab {} is down", client.dir().name()));
    done(terminal)
}

/// Ends a lab and waits until nothing of it is left.
pub(super) fn end(client: &Client) -> Result<(), Failure> {
    let pid = client.status()?.supervisor_pid;
    client.ask(&Request::Down)?;
    // Process 1 ends after all the others of its lab; what the host still sees then is a zombie at most.
    let deadline = Instant::now() + DOWN_DEADLINE;
    while is_running(pid) {
        if Instant::now() > deadline {
            return Err(Failure::new(Exit::Failed, format!("supervisor {pid} does not end"))
                .hint(format!("`kill -9 {pid}` ends it and all that belongs to it")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Whether a process exists and is no zombie (proc_pid_stat(5): the state follows the name in parentheses).
fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        !matches!(state, Some('Z' | 'X'))
    })
}

fn done(terminal: &Terminal) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Done {
        done: bool,
    }
    terminal.show(&Done { done: true }, |_| String::new())?;
    Ok(Exit::Success)
}

fn node_id(topology: &Topology, name: &str) -> Result<NodeId, Failure> {
    topology.find(name).ok_or_else(|| {
        Failure::new(Exit::Failed, format!("the lab has no node `{name}`"))
            .hint("`samp-lab inspect` lists them".to_owned())
    })
}

impl From<LabStatus> for Listed {
    fn from(status: LabStatus) -> Self {
        let count = |wanted: fn(&AgentState) -> bool| {
            status.nodes.iter().filter_map(|node| node.agent.as_ref()).filter(|state| wanted(state)).count()
        };
        Self {
            nodes: status.nodes.len(),
            agents: count(|_| true),
            dead: count(|state| *state == AgentState::Dead),
            name: status.name,
            topology: status.topology.name,
            emulation: status.emulation,
            supervisor_pid: status.supervisor_pid,
        }
    }
}

impl<'a> NodeView<'a> {
    fn new(status: &'a LabStatus, id: NodeId) -> Self {
        let topology = &status.topology;
        let name = |id: NodeId| topology.node(id).name.as_str();
        let state = &status.nodes[id.0];
        let linked = topology.links.iter().filter_map(|link| match link.ends {
            [a, b] if a == id => Some(name(b)),
            [a, b] if b == id => Some(name(a)),
            _ => None,
        });
        let own = name(id);
        let attached = status.nodes.iter().filter(|node| node.attached_to.as_deref() == Some(own));
        Self {
            node: topology.node(id),
            agent: state.agent,
            pid: state.pid,
            attached_to: state.attached_to.as_deref(),
            address: address(topology, id, state),
            neighbours: linked.collect(),
            attached: attached.map(|node| node.name.as_str()).collect(),
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("{}: {}\n", self.node.name, kind(self.node));
        let mut line = |name: &str, value: String| text += &format!("{name:16}{value}\n");
        if let Some(address) = self.address {
            line("address", address.to_string());
        }
        if let Some(access) = self.node.access() {
            line("access network", format!("{}/{}", access.prefix, access.prefix_len));
        }
        if let NodeKind::MobileNode { address_of_record, .. } = &self.node.kind {
            line("home SIP URI", address_of_record.clone());
        }
        if let Some(router) = self.attached_to {
            line("attached to", router.to_owned());
        }
        if let Some(agent) = &self.agent {
            line(
                "agent",
                word(agent) + &self.pid.map_or(String::new(), |pid| format!(", process {pid} of the lab")),
            );
        }
        if !self.neighbours.is_empty() {
            line("linked to", self.neighbours.join(", "));
        }
        if !self.attached.is_empty() {
            line("mobile nodes", self.attached.join(", "));
        }
        text
    }
}

fn describe(status: &LabStatus) -> String {
    let topology = &status.topology;
    let rows = topology.nodes().zip(&status.nodes).map(|((id, node), state)| {
        vec![
            node.name.clone(),
            kind(node).to_owned(),
            address(topology, id, state).map_or("-".to_owned(), |address| address.to_string()),
            state.attached_to.clone().unwrap_or_else(|| "-".to_owned()),
            state.agent.as_ref().map_or("-".to_owned(), word),
        ]
    });
    format!(
        "lab {} of topology {}: links {}, attach {}, supervisor {}\n\n{}",
        status.name,
        topology.name,
        word(&status.emulation.links),
        word(&status.emulation.attach),
        status.supervisor_pid,
        table(&["node", "kind", "address", "attached to", "agent"], rows)
    )
}

/// A node's own address; a mobile node's is the care-of address that it has where it is attached.
fn address(topology: &Topology, id: NodeId, state: &NodeStatus) -> Option<IpAddr> {
    let care_of = || Some(topology.care_of_address(id, topology.find(state.attached_to.as_deref()?)?));
    topology.node(id).address().or_else(care_of)
}

fn kind(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Router { access: Some(_), .. } => "access router",
        NodeKind::Router { access: None, .. } => "router",
        NodeKind::SipServer { .. } => "SIP server",
        NodeKind::MobileNode { .. } => "mobile node",
    }
}
