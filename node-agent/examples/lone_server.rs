//! A SAMP server, as it runs in a lab, for measurements: alone on its ring, or on that of the server at JOIN.
//!
//! ```text
//! lone_server ADDRESS:PORT INTERFACE PROCESSOR [SETTINGS [JOIN]]
//! ```
//! The agent has PROCESSOR for itself; its supervisor, which only counts what it is told, is another thread. SETTINGS
//! is a JSON object with the fields of [`SampSettings`] that shall differ from the defaults.

use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::Pid;
use samp_model::agent::{AgentConfig, Role};
use samp_model::settings::SampSettings;
use samp_sys::ancillary::send_fds;
use samp_sys::namespace::Namespace;
use serde_json::{Map, Value};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;

/// What the servers share with `auth: digest`; sip_load knows it, too.
const RING_KEY: &str = "bench";
/// The longest packet of an agent, in bytes.
const PACKET_MAX: usize = 64 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name| arguments.next().with_context(|| format!("{name} is missing"));
    let address = argument("ADDRESS:PORT")?.parse().context("ADDRESS:PORT")?;
    let interface = argument("INTERFACE")?;
    let processor = argument("PROCESSOR")?.parse().context("PROCESSOR")?;
    let samp = settings(argument("SETTINGS").ok().as_deref())?;
    let join = argument("JOIN").ok().map(|join| join.parse()).transpose().context("JOIN")?;
    let config = AgentConfig {
        name: "server".to_owned(),
        seed: 1,
        secret: samp.auth.is_on().then(|| RING_KEY.to_owned()),
        samp,
        role: Role::SipServer { address, join, interface },
    };
    let pair = || socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let ((agent, supervisor), (hired, hiring)) = (pair()?, pair()?);
    send(supervisor.as_raw_fd(), &serde_json::to_vec(&config)?, MsgFlags::empty())?;
    send_fds(&hiring, &[0], &[agent.as_fd(), Namespace::current()?.as_fd()])?;
    drop((agent, hiring));
    thread::spawn(move || listen(&supervisor));
    let mut processors = CpuSet::new();
    processors.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &processors)?;
    samp_node::run(hired)
}

/// The default settings with these fields replaced; a field that is an object is replaced in part.
fn settings(changes: Option<&str>) -> anyhow::Result<SampSettings> {
    let mut settings = serde_json::to_value(SampSettings::default())?;
    let changes: Map<String, Value> = serde_json::from_str(changes.unwrap_or("{}")).context("SETTINGS")?;
    for (name, value) in changes {
        match (settings.get_mut(&name), value) {
            (Some(Value::Object(fields)), Value::Object(changed)) => fields.extend(changed),
            (Some(field), value) => *field = value,
            (None, _) => anyhow::bail!("SETTINGS: there is no {name}"),
        }
    }
    serde_json::from_value(settings).context("SETTINGS")
}

/// Reads what the agent says, for as long as it lives.
fn listen(supervisor: &OwnedFd) {
    let mut buffer = vec![0; PACKET_MAX];
    while recv(supervisor.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok_and(|length| length > 0) {}
}
