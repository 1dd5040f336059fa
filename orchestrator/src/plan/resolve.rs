//! Every `auto` of a topology becomes what this machine can do; nobody asks the machine afterwards.

use super::{Machine, PlanError, radios_each};
use samp_emulation::MAX_RADIOS;
use samp_model::settings::{AttachMode, EmulationSettings, LinkBackend, TunnelBackend};
use samp_model::topology::{LinkQuality, Node, NodeKind, Topology};
use std::num::NonZeroU16;

/// Agents that have a process each where nothing else is asked for; more than these share processes.
const ALONE_AT_MOST: usize = 200;
/// How many of them then share one at most.
const TOGETHER: u16 = 250;

/// No `auto` is left afterwards.
pub(super) fn resolve(topology: &Topology, machine: &Machine) -> Result<EmulationSettings, PlanError> {
    let asked = topology.emulation;
    let links = match asked.links {
        LinkBackend::Netem if !machine.netem => return Err(PlanError::NoNetem),
        LinkBackend::Auto if machine.netem => LinkBackend::Netem,
        LinkBackend::Auto => LinkBackend::Userspace,
        LinkBackend::Plain => check_plain(topology).map(|()| LinkBackend::Plain)?,
        links => links,
    };
    let attach = match (asked.attach, why_no_bpf(topology, machine)) {
        (AttachMode::Bpf, Some(why)) => return Err(PlanError::NoBpf(why)),
        (AttachMode::Auto, Some(_)) => AttachMode::Switch,
        (AttachMode::Auto, None) => AttachMode::Bpf,
        (attach, _) => attach,
    };
    if asked.tunnels == TunnelBackend::Kernel && topology.mobility.protocol.is_mobile_ip() && !machine.tunnels
    {
        return Err(PlanError::NoTunnels);
    }
    if asked.server_cpu.is_some() && !machine.cpu_quota {
        return Err(PlanError::NoCpuQuota);
    }
    let has_agent = |kind: &NodeKind| match kind {
        NodeKind::Router { access, .. } => access.is_some() && topology.addressing.by_agents(),
        NodeKind::SipServer { .. } | NodeKind::MobileNode { .. } => true,
    };
    let agents = topology.nodes.iter().filter(|node| has_agent(&node.kind)).count();
    let per_process = if agents > ALONE_AT_MOST { TOGETHER } else { 1 };
    let nodes_per_process = asked.nodes_per_process.or(NonZeroU16::new(per_process));
    Ok(EmulationSettings { links, attach, nodes_per_process, ..asked })
}

/// Why the air's switch cannot be the kernel's, if it cannot: it knows no delay and no loss.
fn why_no_bpf(topology: &Topology, machine: &Machine) -> Option<&'static str> {
    let radios = topology.mobile_nodes().count() * radios_each(&topology.emulation);
    let is_plain = |node: &Node| match &node.kind {
        NodeKind::MobileNode { radio, .. } => {
            radio.up == LinkQuality::IDEAL && radio.down == LinkQuality::IDEAL
        }
        NodeKind::Router { .. } | NodeKind::SipServer { .. } => true,
    };
    if !machine.bpf {
        Some("this kernel does not let this user have it (Linux 6.6 and root)")
    } else if !topology.nodes.iter().all(is_plain) {
        Some("a radio link has a delay, a loss or a rate")
    } else if radios > MAX_RADIOS {
        Some("there are more than 256 radios")
    } else {
        None
    }
}

/// Each link must be what a veth pair is.
fn check_plain(topology: &Topology) -> Result<(), PlanError> {
    let plain = LinkQuality::IDEAL;
    match topology.links.iter().find(|link| link.quality != [plain; 2]) {
        Some(link) => {
            let [a, b] = link.ends.map(|end| topology.node(end).name.clone());
            Err(PlanError::NotPlain { a, b })
        }
        None => Ok(()),
    }
}
