//! The agents: servers and mobile nodes, each in its namespace and at the end of a socket pair, and the processes that
//! they are in, alone or together.

use super::apply::Network;
use super::process::{Ended, Process, last_words};
use super::quotas::Quotas;
use crate::cause::cause_of;
use crate::plan::AgentPlan;
use crate::runtime_dir::RuntimeDir;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, socketpair};
use samp_model::agent::{FromAgent, HIRED_AT_ONCE, ToAgent};
use samp_model::control::{AgentState, Cause};
use samp_model::topology::NodeId;
use samp_sys::ancillary::send_fds;
use samp_sys::process::{Isolated, Place, spawn_in};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::UnixDatagram;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The hidden sub-command that an agent's process runs.
pub const AGENT_COMMAND: &str = "__agent";

/// Exit code of an agent that lacks memory, descriptors or the like.
const EXHAUSTED: u8 = 6;

/// The longest packet between supervisor and agent, in bytes.
const PACKET_MAX: usize = 64 * 1024;

/// Runs an agent process whose hiring socket is its standard input, as the supervisor starts it; to be called by the
/// sub-command [`AGENT_COMMAND`].
pub fn run_agent() -> ExitCode {
    let hiring = || Ok(io::stdin().as_fd().try_clone_to_owned()?);
    match samp_node::leave_root().and_then(|()| hiring()).and_then(samp_node::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the node's log; where the disk is full, the exit code still tells.
            let _ = writeln!(io::stderr(), "{error:#}");
            match cause_of(error.as_ref()) {
                Cause::Exhausted => ExitCode::from(EXHAUSTED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// All agents of a lab, by node.
#[derive(Debug)]
pub(super) struct Agents {
    agents: BTreeMap<NodeId, Agent>,
    /// What each process runs.
    executable: PathBuf,
    dir: RuntimeDir,
    /// Where what they say goes.
    said: mpsc::Sender<Said>,
}

#[derive(Debug)]
struct Agent {
    process: Process,
    socket: Arc<UnixDatagram>,
}

/// What an agent said, and who it was.
pub(super) type Said = (NodeId, FromAgent);

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the agent of `{node}`")]
pub(super) struct StartError {
    node: String,
    #[source]
    source: io::Error,
}

/// Why an agent cannot be told something.
#[derive(Debug, thiserror::Error)]
pub(super) enum TellError {
    #[error("no agent of samp-lab runs there")]
    None,
    #[error("its agent is dead")]
    Dead,
    #[error("its agent does not listen")]
    Socket(#[source] io::Error),
}

/// An agent that has ended, and how.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) node: NodeId,
    pub(super) how: String,
    /// What its log says last, when it ended by itself.
    pub(super) last_words: Option<String>,
    /// What kind of failure it is.
    pub(super) cause: Cause,
}

impl Agents {
    /// None yet. What they say will come out of `said`'s other end.
    pub(super) fn new(executable: PathBuf, dir: &RuntimeDir, said: mpsc::Sender<Said>) -> Self {
        Self { agents: BTreeMap::new(), executable, dir: dir.clone(), said }
    }

    /// Starts process number `number`, and tells its agents what they are.
    pub(super) fn start(
        &mut self,
        number: usize,
        plans: &[AgentPlan],
        network: &Network,
        quotas: &Quotas,
    ) -> Result<(), StartError> {
        let dir = &self.dir;
        let Some(first) = plans.first() else { return Ok(()) };
        let failed = |plan: &AgentPlan| {
            let node = plan.config.name.clone();
            move |source| StartError { node, source }
        };
        let log = match plans {
            [alone] => dir.node_log(&alone.config.name),
            _ => dir.process_log(number),
        };
        let group = quotas.entrance(first.node).map_err(failed(first))?;
        let group = group.as_ref().map(AsFd::as_fd);
        let (isolated, hiring) =
            spawn(first, network, group, &self.executable, &log).map_err(failed(first))?;
        let isolated = Arc::new(isolated);
        let is_shared = plans.len() > 1;
        for plans in plans.chunks(HIRED_AT_ONCE) {
            let mut fds = Vec::new();
            for plan in plans {
                let node_log = dir.node_log(&plan.config.name);
                if node_log != log {
                    symlink(&log, node_log).map_err(failed(plan))?;
                }
                let (socket, theirs) = control_sockets().map_err(failed(plan))?;
                match send(&socket, &plan.config) {
                    // It has ended already; its death will be told, and that says why.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                    result => result.map_err(failed(plan))?,
                }
                let socket = Arc::new(socket);
                tokio::spawn(listen(plan.node, Arc::clone(&socket), self.said.clone()));
                let process = Process {
                    isolated: Arc::clone(&isolated),
                    shared: is_shared.then(|| Arc::clone(&socket)),
                    state: AgentState::Starting,
                    log: log.clone(),
                };
                self.agents.insert(plan.node, Agent { process, socket });
                fds.push((theirs, network.namespaces.open(plan.node.0).map_err(failed(plan))?));
            }
            let fds: Vec<_> =
                fds.iter().flat_map(|(control, namespace)| [control.as_fd(), namespace.as_fd()]).collect();
            match send_fds(&hiring, &[0], &fds) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => result.map_err(failed(first))?,
            }
        }
        Ok(())
    }

    /// Starts a process beside whatever runs at a node. It ends by itself, gives the permit back then, and has no state.
    pub(super) fn start_guest(
        &self,
        plan: &AgentPlan,
        network: &Network,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), StartError> {
        let start = || {
            let log = self.dir.node_log(&plan.config.name);
            let (_, hiring) = spawn(plan, network, None, &self.executable, &log)?;
            let (socket, theirs) = control_sockets()?;
            send(&socket, &plan.config)?;
            let namespace = network.namespaces.open(plan.node.0)?;
            send_fds(&hiring, &[0], &[theirs.as_fd(), namespace.as_fd()])?;
            io::Result::Ok(socket)
        };
        let socket = start().map_err(|source| StartError { node: plan.config.name.clone(), source })?;
        let (node, said) = (plan.node, self.said.clone());
        tokio::spawn(async move {
            listen(node, Arc::new(socket), said).await;
            drop(permit);
        });
        Ok(())
    }

    /// State and process id of a node's agent, if it has one.
    pub(super) fn status(&self, node: NodeId) -> Option<(AgentState, i32)> {
        self.agents.get(&node).map(|agent| (agent.process.state, agent.process.isolated.pid))
    }

    /// The processes that live, each with the first node in it.
    pub(super) fn pids(&self) -> BTreeMap<i32, NodeId> {
        let alive = self.agents.iter().filter(|(_, agent)| !agent.process.state.has_ended());
        alive.rev().map(|(&node, agent)| (agent.process.isolated.pid, node)).collect()
    }

    /// Whether a node has an agent that lives.
    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.agents.get(&node).is_some_and(|agent| !agent.process.state.has_ended())
    }

    /// Log of a node's agent.
    pub(super) fn log(&self, node: NodeId) -> Option<&Path> {
        self.agents.get(&node).map(|agent| agent.process.log.as_path())
    }

    /// An agent has said that it is ready.
    pub(super) fn ready(&mut self, node: NodeId) {
        let starting = |process: &&mut Process| process.state == AgentState::Starting;
        if let Some(process) = self.process(node).filter(starting) {
            process.state = AgentState::Running;
        }
    }

    /// Tells an agent something. It does not wait: an agent that lets a socket's worth of messages lie is stuck.
    pub(super) fn tell(&self, node: NodeId, message: &ToAgent) -> Result<(), TellError> {
        let agent = self.agents.get(&node).ok_or(TellError::None)?;
        if agent.process.state.has_ended() {
            return Err(TellError::Dead);
        }
        send(&agent.socket, message).map_err(TellError::Socket)
    }

    /// The process of a node's agent.
    pub(super) fn process(&mut self, node: NodeId) -> Option<&mut Process> {
        Some(&mut self.agents.get_mut(&node)?.process)
    }

    /// A child has ended: which agents were in it, and how they ended.
    pub(super) fn ended(&mut self, ended: &Ended) -> Vec<Death> {
        let exhausted = ended.code == Some(EXHAUSTED.into());
        let cause = if exhausted { Cause::Exhausted } else { Cause::Other };
        let mut deaths = Vec::new();
        for (&node, Agent { process, .. }) in &mut self.agents {
            // Who was killed in a process that went on has not ended now.
            let ended_before = process.shared.is_some() && process.state.has_ended();
            if process.isolated.pid != ended.pid || ended_before {
                continue;
            }
            process.state = ended.state();
            let last_words = ended.code.and_then(|_| last_words(&process.log));
            deaths.push(Death { node, how: ended.how.clone(), last_words, cause });
        }
        deaths
    }
}

/// Starts a process, in the namespace of its first node and in that control group, and gives the socket over which it is
/// hired.
fn spawn(
    first: &AgentPlan,
    network: &Network,
    group: Option<BorrowedFd<'_>>,
    executable: &Path,
    log: &Path,
) -> io::Result<(Isolated, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let namespace = network.namespaces.open(first.node.0)?;
    let process = spawn_in(
        Place { network: &namespace, directory: Path::new("/"), group },
        executable,
        &[AGENT_COMMAND.into()],
        &[(0, theirs.as_fd()), (2, log.as_fd())],
    )?;
    Ok((process, ours))
}

/// Both ends of a node's control socket.
fn control_sockets() -> io::Result<(UnixDatagram, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    // Connected and with message boundaries: for sending and receiving, a SEQPACKET socket is a datagram socket
    // that also tells of the peer's end, by an empty packet.
    Ok((UnixDatagram::from_std(ours.into())?, theirs))
}

pub(super) fn send(socket: &UnixDatagram, message: &impl Serialize) -> io::Result<()> {
    let packet = serde_json::to_vec(message)?;
    if packet.len() > PACKET_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    nix::sys::socket::send(socket.as_raw_fd(), &packet, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

thread_local! {
    /// Where packets of all agents arrive: one byte more than allowed, so that one that was cut off is noticed.
    static PACKET: RefCell<Vec<u8>> = RefCell::new(vec![0; PACKET_MAX + 1]);
}

/// Passes on what an agent says until it hangs up.
async fn listen(node: NodeId, socket: Arc<UnixDatagram>, said: mpsc::Sender<Said>) {
    loop {
        let heard = socket.readable().await.and_then(|()| {
            PACKET.with_borrow_mut(|packet| {
                let length = socket.try_recv(packet)?;
                // Its own packets are never empty: this is the end.
                let messages = || serde_json::Deserializer::from_slice(&packet[..length]).into_iter();
                Ok((length > 0).then(|| messages().collect::<Vec<_>>()))
            })
        });
        let messages = match heard {
            Ok(Some(messages)) => messages,
            Ok(None) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => return tracing::error!(node = node.0, %error, "cannot hear an agent"),
        };
        for message in messages {
            match message {
                Ok(message) => {
                    if said.send((node, message)).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::error!(node = node.0, %error, "cannot understand an agent"),
            }
        }
    }
}
