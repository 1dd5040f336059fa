//! `ps`, `inspect` and `down`: labs that run.

use super::super::{Exit, Failure, Terminal, Which};
use super::{find, live};
use crate::client::{Client, ClientError};
use crate::plan::password;
use crate::report::{emulation, table, word};
use crate::runtime_dir::RuntimeDir;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use samp_model::control::{AgentState, LabStatus, NodeStatus, Request};
use samp_model::settings::EmulationSettings;
use samp_model::topology::{Node, NodeKind};
use samp_model::{NodeId, Topology};
use serde::Serialize;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

/// How long a lab may take to end, in milliseconds.
const DOWN_DEADLINE_MS: u16 = 10_000;

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
    /// The primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// One a family, the primary first.
    addresses: Vec<IpAddr>,
    neighbours: Vec<&'a str>,
    attached: Vec<&'a str>,
    /// A mobile node's, with `auth: digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Credentials<'a>>,
    /// What enters the node's network without samp-lab; a command can be appended.
    nsenter: String,
}

/// What a SIP program in the node's stead would register with.
#[derive(Serialize)]
struct Credentials<'a> {
    user: &'a str,
    password: String,
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

/// Asks for something that is simply done.
pub(super) fn tell(terminal: &Terminal, client: &Client, request: &Request) -> Result<Exit, Failure> {
    client.ask(request)?;
    done(terminal)
}

/// Ends a lab, or removes what a dead one has left.
pub(super) fn down(terminal: &Terminal, which: &Which) -> Result<Exit, Failure> {
    match which {
        Which::Named(name) => match RuntimeDir::of(name)? {
            dir if dir.path().exists() => down_one(terminal, &dir)?,
            // Nothing there: this tells what is.
            _ => drop(find(which)?),
        },
        Which::Only => match (&live()?[..], &RuntimeDir::list()?[..]) {
            ([], [dead]) => down_one(terminal, dead)?,
            _ => down_one(terminal, find(which)?.dir())?,
        },
    }
    done(terminal)
}

/// Ends all labs of this user.
pub(super) fn down_all(terminal: &Terminal) -> Result<Exit, Failure> {
    let mut down = Vec::new();
    let mut failed = None;
    for dir in RuntimeDir::list()? {
        match down_one(terminal, &dir) {
            Ok(()) => down.push(dir.name().to_owned()),
            // The others shall not stay because of this one.
            Err(failure) => failed = Some(failure),
        }
    }
    if let Some(failure) = failed {
        return Err(failure);
    }
    if down.is_empty() {
        terminal.note("no lab runs");
    }
    #[derive(Serialize)]
    struct Down {
        down: Vec<String>,
    }
    terminal.show(&Down { down }, |_| String::new())?;
    Ok(Exit::Success)
}

fn down_one(terminal: &Terminal, dir: &RuntimeDir) -> Result<(), Failure> {
    let client = Client::new(dir.clone());
    if let Some(status) = running(&client)? {
        end(&client, status.supervisor_pid)?;
        terminal.note(format!("lab {} is down", dir.name()));
    } else {
        // Only what is claimed can be removed without the risk that a new lab has come up there.
        dir.claim()?.dir.remove()?;
        terminal.note(format!("lab {} was dead; what it had left is removed", dir.name()));
    }
    Ok(())
}

/// A lab as it is; none when there is none, or when it ends while it is asked.
pub(super) fn running(client: &Client) -> Result<Option<LabStatus>, Failure> {
    use std::io::ErrorKind;
    match client.status() {
        Ok(status) => Ok(Some(status)),
        Err(ClientError::Connect { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        // A supervisor that was killed holds its socket for some more milliseconds.
        Err(ClientError::Broken { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends a lab and waits until nothing of it is left, not even its supervisor with this process id.
pub(super) fn end(client: &Client, pid: i32) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("cannot watch supervisor {pid}: {error}"));
    let supervisor = samp_sys::process::pidfd(pid).map_err(failed)?;
    client.ask(&Request::Down)?;
    // Process 1 ends after all the others of its lab; what the host still sees then is a zombie at most.
    let mut ended = [PollFd::new(supervisor.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ended, PollTimeout::from(DOWN_DEADLINE_MS)).map_err(|errno| failed(errno.into()))? == 0 {
        return Err(Failure::new(Exit::Failed, format!("supervisor {pid} does not end"))
            .hint(format!("`kill -9 {pid}` ends it and all that belongs to it")));
    }
    Ok(())
}

fn done(terminal: &Terminal) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Done {
        done: bool,
    }
    terminal.show(&Done { done: true }, |_| String::new())?;
    Ok(Exit::Success)
}

pub(super) fn node_id(topology: &Topology, name: &str) -> Result<NodeId, Failure> {
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
            address: addresses(topology, id, state).first().copied(),
            addresses: addresses(topology, id, state),
            neighbours: linked.collect(),
            attached: attached.map(|node| node.name.as_str()).collect(),
            credentials: credentials(topology, id),
            nsenter: nsenter(status, state),
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("{}: {}\n", self.node.name, kind(self.node));
        let mut line = |name: &str, value: String| text += &format!("{name:16}{value}\n");
        if !self.addresses.is_empty() {
            line("address", join(&self.addresses));
        }
        if let Some(access) = self.node.access() {
            line("access network", join(&access.subnets));
        }
        if let NodeKind::MobileNode { address_of_record, .. } = &self.node.kind {
            line("home SIP URI", address_of_record.clone());
        }
        if let Some(Credentials { user, password }) = &self.credentials {
            line("credentials", format!("user {user}, password {password}"));
        }
        if let Some(router) = self.attached_to {
            line("attached to", router.to_owned());
        }
        if let Some(agent) = &self.agent {
            line(
                if self.node.program.is_some() { "program" } else { "agent" },
                word(agent) + &self.pid.map_or(String::new(), |pid| format!(", process {pid} of the lab")),
            );
        }
        if !self.neighbours.is_empty() {
            line("linked to", self.neighbours.join(", "));
        }
        if !self.attached.is_empty() {
            line("mobile nodes", self.attached.join(", "));
        }
        line("to enter it", self.nsenter.clone());
        text
    }
}

fn credentials(topology: &Topology, id: NodeId) -> Option<Credentials<'_>> {
    let NodeKind::MobileNode { address_of_record, .. } = &topology.node(id).kind else { return None };
    let user = address_of_record.strip_prefix("sip:")?.split('@').next()?;
    topology.samp.auth.is_on().then(|| Credentials { user, password: password(topology, address_of_record) })
}

fn describe(status: &LabStatus) -> String {
    let topology = &status.topology;
    let rows = topology.nodes().zip(&status.nodes).map(|((id, node), state)| {
        vec![
            node.name.clone(),
            kind(node).to_owned(),
            match &addresses(topology, id, state)[..] {
                [] => "-".to_owned(),
                addresses => join(addresses),
            },
            state.attached_to.clone().unwrap_or_else(|| "-".to_owned()),
            state.agent.as_ref().map_or("-".to_owned(), word),
        ]
    });
    format!(
        "lab {} of topology {}: {}, {}, supervisor {}\n\n{}",
        status.name,
        topology.name,
        word(&topology.family),
        emulation(&status.emulation),
        status.supervisor_pid,
        table(&["node", "kind", "address", "attached to", "agent"], rows)
    )
}

/// The supervisor holds the namespace; without root, one has to be root of the lab's user namespace first.
fn nsenter(status: &LabStatus, node: &NodeStatus) -> String {
    let supervisor = status.supervisor_pid;
    let user = match geteuid().is_root() {
        true => String::new(),
        false => format!("--user=/proc/{supervisor}/ns/user --preserve-credentials "),
    };
    format!("nsenter {user}--net={}", node.namespace.display())
}

/// A node's own addresses; a mobile node's are the care-of addresses that it has where it is attached.
fn addresses(topology: &Topology, id: NodeId, state: &NodeStatus) -> Vec<IpAddr> {
    match state.attached_to.as_deref().and_then(|router| topology.find(router)) {
        Some(router) => topology.care_of_addresses(id, router).collect(),
        None => topology.node(id).addresses().to_vec(),
    }
}

/// In one line.
pub(super) fn join(things: &[impl ToString]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn kind(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Router { access: Some(_), .. } => "access router",
        NodeKind::Router { access: None, .. } => "router",
        NodeKind::SipServer { .. } => "SIP server",
        NodeKind::MobileNode { .. } => "mobile node",
    }
}
