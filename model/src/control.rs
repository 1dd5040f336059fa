//! What the command line and a lab's supervisor say to each other: JSON lines over a Unix stream socket.
//!
//! A client sends one [`Request`]; the supervisor answers with one [`Response`]. After
//! [`Request::Subscribe`] the supervisor goes on with one [`Record`](crate::Record) a line.

use crate::flood::Flood;
use crate::settings::EmulationSettings;
use crate::topology::{LinkQuality, NodeId, NodeKind, QualityChange};
use crate::{
    Topology,
    record::{FloodNumber, HandoffNumber},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The lab as it is now.
    Status,
    /// All records that are kept, the oldest first, then each new one as it comes.
    Subscribe,
    /// Move a mobile node to another access router.
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
    /// End one call, or all calls of the lab.
    HangUp {
        /// The call.
        call: Option<String>,
    },
    /// Let another mobile node take a call over from one that is in it.
    Transfer {
        /// The call.
        call: String,
        /// Who leaves the call; without it, the end that is the new one's user, or the caller.
        from: Option<String>,
        /// Who takes it over.
        to: String,
    },
    /// Let a mobile node leave: its calls end and its servers forget it, until its next handoff.
    Deregister {
        /// The mobile node.
        mobile_node: String,
    },
    /// Let a SIP server leave the ring gracefully; a record says when it has.
    Leave {
        /// The server.
        server: String,
    },
    /// Kill a node's agent with SIGKILL, as a crash would.
    Kill {
        /// The node.
        node: String,
    },
    /// Stop a node's agent with SIGSTOP: it neither hears nor says anything until [`Request::Resume`].
    Pause {
        /// The node.
        node: String,
    },
    /// Let a stopped agent go on, with SIGCONT.
    Resume {
        /// The node.
        node: String,
    },
    /// Send a SIP server requests that nobody needs, beside all else; it ends by itself.
    Flood {
        /// The SIP server.
        to: String,
        /// The node in whose place they are sent.
        from: String,
        /// What is sent.
        flood: Flood,
    },
    /// Change a link; routes stay as they are.
    Link {
        /// Which one.
        link: LinkName,
        /// How.
        change: LinkChange,
    },
    /// Take down all links between some nodes and others at once.
    Partition {
        /// The nodes on one side; mobile nodes are where their access router is.
        nodes: Vec<String>,
        /// Those on the other side; with none, all others.
        from: Vec<String>,
    },
    /// Bring up again what partitions have taken down.
    Heal,
    /// What `exec` needs to enter a node: the answer carries the file descriptors of its network namespace and of
    /// the lab's user, mount and PID namespaces (`SCM_RIGHTS`).
    Enter {
        /// The node.
        node: String,
    },
    /// Taps on a node's interfaces: the answer carries a descriptor for each (`SCM_RIGHTS`), which gets a copy of all
    /// that passes from now on.
    Capture {
        /// The node.
        node: String,
        /// Only the interface towards this neighbour.
        towards: Option<String>,
    },
    /// Send probes over links, both ways, and tell how long each took. It takes seconds.
    Probe {
        /// The first link, by its place in [`LabStatus::links`].
        first: usize,
        /// How many from there on, up to [`PROBED_AT_ONCE`].
        count: usize,
    },
    /// Send datagrams through the tunnels of Mobile IPv6, both ways, and tell how long each took. It takes seconds.
    ProbeTunnels,
    /// How long the lab's processes have waited for a processor.
    Waits,
    /// End the lab.
    Down,
}

/// Bytes of a probe, with its Ethernet header.
pub const PROBE_BYTES: u32 = 60;

/// How many links one [`Request::Probe`] may name.
pub const PROBED_AT_ONCE: usize = 500;

/// Of how many mobile nodes [`Request::ProbeTunnels`] probes the tunnels at most.
pub const TUNNELS_PROBED: usize = 500;

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<LabStatus>),
    /// To [`Request::Handoff`]: this handoff of the node has begun.
    Handoff {
        /// Which one.
        handoff: HandoffNumber,
    },
    /// To [`Request::Call`]: the caller has been told to call.
    Call {
        /// The new call's Call-ID.
        call: String,
    },
    /// To [`Request::Flood`]: the number of the flood, which begins now.
    Flood {
        /// As records have it.
        flood: FloodNumber,
    },
    /// To [`Request::Link`], [`Request::Partition`] and [`Request::Heal`]: the links that have changed, as they are now.
    Links(Vec<LinkStatus>),
    /// To [`Request::Capture`]: the interfaces, in the order of the descriptors.
    Capture {
        /// Each with its name and link-layer address.
        interfaces: Vec<(String, [u8; 6])>,
    },
    /// To [`Request::Probe`]: the links in order.
    Probed(Vec<LinkProbes>),
    /// To [`Request::ProbeTunnels`]: of each mobile node that is attached, in the topology's order.
    TunnelsProbed(Vec<TunnelProbes>),
    /// To [`Request::Waits`]; empty where the kernel does not say.
    Waits(Vec<ProcessWait>),
    /// To [`Request::Subscribe`]: the records follow, one a line.
    Records {
        /// How many came before the first of these and are no longer kept.
        discarded: u64,
    },
    /// Done; there is nothing to tell.
    Done,
    /// It cannot be done.
    Error {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What kind of failure it is.
        #[serde(default)]
        cause: Cause,
    },
}

/// Which link is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkName {
    /// The wired link between these nodes; its first direction is from the first to the second.
    Wired([String; 2]),
    /// The radio link of this mobile node; its first direction is from the mobile node to its access router.
    Radio(String),
}

/// What is to become of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkChange {
    /// Its interfaces go down; what is on the way is lost. Not for radio links.
    Down,
    /// Its interfaces come up again, with the neighbours and routes that they had in the beginning.
    Up,
    /// It treats packets in this way from now on: from the first end to the second, and back.
    Quality(Box<[QualityChange; 2]>),
}

/// A link of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkId {
    /// Between these ends, in the topology's order.
    Wired([NodeId; 2]),
    /// The radio link of this mobile node.
    Radio(NodeId),
}

/// A link as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Which one.
    pub link: LinkId,
    /// Whether its interfaces are up.
    pub up: bool,
    /// From the first end to the second, and back; of a radio link, up and down.
    pub quality: [LinkQuality; 2],
}

/// A link, and what became of its probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkProbes {
    /// Which one.
    pub link: LinkId,
    /// What its backend was told to do when the probes began, from the first end to the second, and back.
    pub quality: [LinkQuality; 2],
    /// None where nothing can pass: it is down, or a radio link that is attached to nothing.
    pub probed: Option<Probed>,
}

/// The probes of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Between these nodes; of a radio link, the mobile node and its access router.
    pub ends: [NodeId; 2],
    /// From the first end to the second, and back.
    pub directions: [Probes; 2],
}

/// The probes of a mobile node's tunnels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelProbes {
    /// The mobile node.
    pub mobile_node: NodeId,
    /// Its home agent.
    pub agent: NodeId,
    /// From its home address to the agent, and back.
    pub directions: [Probes; 2],
}

/// The probes of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// How many were sent.
    pub sent: u32,
    /// Nanoseconds that each of those that arrived took, in the order in which they were sent.
    pub one_way: Vec<u64>,
}

/// How long a process has waited for a processor since it began (proc(5), `schedstat`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessWait {
    /// The first of the nodes that it is the agent of, or the delay line.
    pub name: String,
    /// Nanoseconds on a run queue.
    pub waited: u64,
    /// How often it was given a processor.
    pub slices: u64,
}

impl LinkId {
    /// As commands name it: `ar1--ar2`, or `mn1`.
    pub fn name(self, topology: &Topology) -> String {
        let name = |node: NodeId| &topology.node(node).name;
        match self {
            LinkId::Wired([a, b]) => format!("{}--{}", name(a), name(b)),
            LinkId::Radio(node) => name(node).clone(),
        }
    }
}

/// A lab as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabStatus {
    /// The lab's name.
    pub name: String,
    /// What it was built from.
    pub topology: Topology,
    /// The backends that run, never `auto`.
    pub emulation: EmulationSettings,
    /// The supervisor's process id, as the host sees it.
    pub supervisor_pid: i32,
    /// Whether it has come up.
    pub is_up: bool,
    /// How many records there are.
    pub records: u64,
    /// One entry a node, in the topology's order.
    pub nodes: Vec<NodeStatus>,
    /// The wired links, then the mobile nodes' radio links, in the topology's order.
    pub links: Vec<LinkStatus>,
}

impl LabStatus {
    /// The topology with its links as they are now.
    pub fn topology_now(&self) -> Topology {
        let mut topology = self.topology.clone();
        let mut wired = topology.links.iter_mut();
        for LinkStatus { link, quality, .. } in &self.links {
            match link {
                LinkId::Wired(_) => wired.next().into_iter().for_each(|link| link.quality = *quality),
                LinkId::Radio(node) => {
                    if let NodeKind::MobileNode { radio, .. } = &mut topology.nodes[node.0].kind {
                        [radio.up, radio.down] = *quality;
                    }
                }
            }
        }
        topology
    }
}

/// A node as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// State of its agent; routers have none.
    pub agent: Option<AgentState>,
    /// The agent's process id inside the lab's PID namespace.
    pub pid: Option<i32>,
    /// Where the host's `/proc` shows the node's network namespace.
    pub namespace: PathBuf,
    /// A mobile node's current access router.
    pub attached_to: Option<String>,
}

/// State of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Running,
    /// Stopped, until it is resumed.
    Paused,
    /// Ended, by a signal or with another exit code than 0.
    Dead,
    /// Ended with exit code 0: a program of the user's, or a server's agent that has left the ring.
    Done,
}

impl AgentState {
    /// Whether it does not run any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Dead | Self::Done)
    }
}

/// What the supervisor writes to the readiness pipe during `up`, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// So much of a stage is done.
    Stage {
        /// Which stage.
        stage: Stage,
        /// Steps done.
        done: usize,
        /// Steps in all.
        total: usize,
    },
    /// The lab is up.
    Up {
        /// Seconds that each stage took, in order.
        seconds: Vec<(Stage, f64)>,
    },
    /// The lab could not come up; the supervisor ends.
    Failed {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What kind of failure it is.
        #[serde(default)]
        cause: Cause,
    },
}

/// Kinds of failure that who has to deal with it treats differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A privilege or a kernel feature is missing.
    Missing,
    /// It contradicts what is there already.
    Conflict,
    /// Memory, descriptors, disk or another resource ran out.
    Exhausted,
    /// Anything else.
    #[default]
    Other,
}

/// The stages of `up`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Namespaces are created.
    Namespaces,
    /// Links, addresses and routes are created.
    Links,
    /// Delay, loss and rate are put on the links.
    Emulation,
    /// Agents start and open their sockets.
    Agents,
    /// The servers form a stable ring.
    Ring,
    /// The mobile nodes register.
    Registration,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 6] =
        [Stage::Namespaces, Stage::Links, Stage::Emulation, Stage::Agents, Stage::Ring, Stage::Registration];

    /// Its name in progress bars and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Namespaces => "namespaces",
            Stage::Links => "links",
            Stage::Emulation => "emulation",
            Stage::Agents => "agents",
            Stage::Ring => "ring",
            Stage::Registration => "registration",
        }
    }
}
