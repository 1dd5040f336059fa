//! The agent process of one node: sockets, timers and media around a protocol node, in the node's network namespace.
//!
//! One loop drives everything: it waits for one event, feeds it to the node and flushes what comes out.
//! The supervisor is at the other end of a control socket; when it hangs up, the agent ends.

mod address;
mod admission;
mod control;
mod driver;
mod media;
mod privileges;
mod runtime;
mod sip_socket;
mod tcp;
mod timer;
mod udp;
mod watch;

pub use address::RadioAddress;
pub use privileges::leave_root;
pub use runtime::start_runtime;
pub use samp_protocol::RingKey;

use anyhow::Context;
use control::Control;
use driver::Driver;
use samp_model::Time;
use samp_model::agent::AgentConfig;
use samp_protocol::Node;
use std::io;
use std::os::fd::OwnedFd;
use tracing_subscriber::EnvFilter;

/// Environment variable with the log filter, in the syntax of [`EnvFilter`].
const LOG_FILTER: &str = "SAMP_LAB_LOG";

/// Runs the agent of the node that the supervisor describes, until the supervisor hangs up.
///
/// `control` is a connected `SOCK_SEQPACKET` socket. Each packet to arrive is one JSON object: the first is an
/// [`AgentConfig`], the others are [`ToAgent`](samp_model::agent::ToAgent); those that leave are one or more
/// [`FromAgent`](samp_model::agent::FromAgent).
/// Everything is opened in the network namespace of the calling thread, which blocks; the thread then loses for
/// good all capabilities but a mobile node's `CAP_NET_ADMIN`. The log goes to standard error, unless the process
/// logs elsewhere already.
///
/// # Errors
/// The supervisor is not understood, a socket cannot be opened or is broken, or an address cannot be configured.
pub fn run(control: OwnedFd) -> anyhow::Result<()> {
    run_node(control, |config, now| Ok(samp_protocol::build(config, now)?))
}

/// As [`run`], with another node than the protocol's own: `build` makes it from the configuration.
///
/// # Errors
/// As [`run`], and when `build` fails.
pub fn run_node(
    control: OwnedFd,
    build: impl FnOnce(&AgentConfig, Time) -> anyhow::Result<Box<dyn Node>>,
) -> anyhow::Result<()> {
    log_to_stderr();
    let runtime = start_runtime().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut control = Control::new(control).context("cannot use the control socket")?;
        let Some(config) = control.configuration().await? else { return Ok(()) };
        let name = config.name.clone();
        let needed = privileges::needed_by(&config.role);
        let driver = Driver::open(config, control, build).with_context(|| format!("cannot start {name}"))?;
        privileges::drop_all_but(needed).context("cannot drop privileges")?;
        tracing::info!(node = name, "sockets are open");
        driver.run().await.with_context(|| format!("{name} failed"))
    })
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
