//! The agent process of a node, or of many: sockets, timers and media around a protocol node, in the node's namespace.
//!
//! One loop drives each node: it waits for one event, feeds it to the node and flushes what comes out. The supervisor is
//! at the other end of a control socket; when it hangs up, the node ends, and the process with its last one.

mod access_router;
mod address;
mod address_client;
mod advertiser;
mod carrier;
mod control;
mod dhcp_client;
mod dhcp_server;
mod driver;
mod flooder;
mod icmp6;
pub mod mobile_ip;
mod privileges;
mod runtime;
mod sip_socket;
mod slaac_client;
mod tcp;
mod timer;
mod udp;
mod watch;

pub use address::RadioAddress;
pub use privileges::leave_root;
pub use runtime::start_runtime;
pub use samp_protocol::{RingKey, shared_secret};
pub use timer::Timer;

use access_router::AccessRouter;
use anyhow::Context;
use control::Control;
use driver::Driver;
use flooder::Flooder;
use samp_model::Time;
use samp_model::agent::{AgentConfig, Role};
use samp_protocol::Node;
use samp_sys::ancillary::recv_fds;
use samp_sys::namespace::Namespace;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;

/// A SIP server of a process joins when so many members for each that is joining have their places: a ring grows fast, but
/// not by all at once, who would ask the same members again and again for what changes meanwhile.
const MEMBERS_PER_JOIN: usize = 4;
/// The next one does not wait longer for the one before.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);
/// Environment variable with the log filter, in the syntax of [`EnvFilter`].
const LOG_FILTER: &str = "SAMP_LAB_LOG";

/// Runs the agents of the nodes that the supervisor describes, until it has hung up on all of them.
///
/// `hiring` is a connected `SOCK_SEQPACKET` socket, which brings nodes as [`HIRED_AT_ONCE`](samp_model::agent::HIRED_AT_ONCE)
/// says, until its end. Each node's control socket is of the same type. Each packet to arrive there is one JSON object:
/// the first is an [`AgentConfig`], the others are [`ToAgent`](samp_model::agent::ToAgent); those that leave are one or more
/// [`FromAgent`](samp_model::agent::FromAgent).
/// The calling thread enters one namespace after the other to open the nodes' sockets; then it loses for good all
/// capabilities but `CAP_NET_ADMIN`, and that, too, where no node is mobile or has tunnels of the kernel's. The log goes to standard error, unless the
/// process logs elsewhere already.
///
/// # Errors
/// The supervisor is not understood, a socket cannot be opened or is broken, or an address cannot be configured. One
/// node's error ends them all.
pub fn run(hiring: OwnedFd) -> anyhow::Result<()> {
    run_nodes(hiring, |config, now| Ok(samp_protocol::build(config, now)?))
}

/// As [`run`], with other nodes than the protocol's own: `build` makes them from their configuration.
///
/// # Errors
/// As [`run`], and when `build` fails.
pub fn run_nodes(
    hiring: OwnedFd,
    build: impl Fn(&AgentConfig, Time) -> anyhow::Result<Box<dyn Node>>,
) -> anyhow::Result<()> {
    log_to_stderr();
    let nodes = hired(&hiring).context("cannot hear of the nodes")?;
    drop(hiring);
    let runtime = start_runtime().context("cannot start the runtime")?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut needed = Vec::new();
        let mut agents = Vec::new();
        for (control, namespace) in nodes {
            let mut control = Control::new(control).context("cannot use the control socket")?;
            let Some(config) = control.configuration().await? else { continue };
            let name = config.name.clone();
            needed.extend(privileges::needed_by(&config.role));
            namespace.enter().with_context(|| format!("cannot enter the namespace of {name}"))?;
            let agent =
                Agent::open(config, control, &build).with_context(|| format!("cannot start {name}"))?;
            agents.push((name, agent));
        }
        privileges::drop_all_but(&needed).context("cannot drop privileges")?;
        let mut running = JoinSet::new();
        let mut joining = JoinSet::new();
        let mut joined = 0;
        for (name, mut agent) in agents {
            while joining.len() > joined / MEMBERS_PER_JOIN {
                tokio::select! {
                    Some(ended) = running.join_next() => ended.context("a node has panicked")??,
                    Some(_) = joining.join_next() => joined += 1,
                }
            }
            if let Some(place) = agent.place_on_ring() {
                joining.spawn_local(timeout(JOIN_PATIENCE, place));
            }
            tracing::info!(node = name, "sockets are open");
            let span = tracing::info_span!("node", name);
            let run = async move { agent.run().await.with_context(|| format!("{name} failed")) };
            running.spawn_local(run.instrument(span));
        }
        while let Some(ended) = running.join_next().await {
            ended.context("a node has panicked")??;
        }
        Ok(())
    })
}

/// What runs for a node.
enum Agent {
    /// Around a protocol node.
    Node(Box<Driver>),
    /// Beside the kernel's forwarding.
    AccessRouter(Box<AccessRouter>),
    /// Beside whatever else runs there.
    Flooder(Box<Flooder>),
}

impl Agent {
    fn open(
        config: AgentConfig,
        control: Control,
        build: impl FnOnce(&AgentConfig, Time) -> anyhow::Result<Box<dyn Node>>,
    ) -> anyhow::Result<Self> {
        Ok(match config.role {
            Role::AccessRouter { .. } => Self::AccessRouter(AccessRouter::open(&config, control)?.into()),
            Role::Flooder { .. } => Self::Flooder(Flooder::open(&config, control)?.into()),
            Role::SipServer { .. } | Role::MobileNode { .. } | Role::MobilityAgent(_) => {
                Self::Node(Driver::open(config, control, build)?.into())
            }
        })
    }

    /// Resolves when the node, a SIP server, has its place on the ring.
    fn place_on_ring(&mut self) -> Option<oneshot::Receiver<()>> {
        match self {
            Self::Node(driver) => driver.place_on_ring(),
            Self::AccessRouter(_) | Self::Flooder(_) => None,
        }
    }

    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Node(driver) => driver.run().await,
            Self::AccessRouter(router) => router.run().await,
            Self::Flooder(flooder) => flooder.run().await,
        }
    }
}

/// The control socket and the namespace of each node.
fn hired(hiring: &OwnedFd) -> anyhow::Result<Vec<(OwnedFd, Namespace)>> {
    let mut nodes = Vec::new();
    loop {
        let (length, fds) = recv_fds(hiring, &mut [0])?;
        if length == 0 {
            return Ok(nodes);
        }
        let mut fds = fds.into_iter();
        while let Some(control) = fds.next() {
            let namespace = fds.next().context("a node without a namespace")?;
            nodes.push((control, Namespace::from(namespace)));
        }
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    // Where the disk is full, the log's own errors have nowhere to go either.
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // Fails when there is a subscriber already: then the process logs as its owner wants.
    let _ = format.try_init();
}
