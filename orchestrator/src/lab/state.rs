//! The lab as the supervisor holds it.

use super::agents::{Agents, Death};
use super::apply::Network;
use super::attachment::Air;
use super::enter::LabNamespaces;
use super::floods::Floods;
use super::links::Links;
use super::multicast::Multicast;
use super::process::Ended;
use super::programs::Programs;
use super::quotas::Quotas;
use super::records::RecordLog;
use super::survey;
use crate::plan::Plan;
use crate::runtime_dir::RuntimeDir;
use samp_model::control::{LabStatus, NodeStatus};
use samp_model::mobility::Agents as MobilityAgents;
use samp_model::topology::{NodeId, Topology};
use samp_model::{Event, Record, Time};
use samp_sys::cgroup::CpuUsage;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A lab and all that belongs to it.
pub(super) struct Lab {
    pub(super) dir: RuntimeDir,
    pub(super) topology: Topology,
    pub(super) plan: Plan,
    /// Who is whose agent, but with SAMP.
    pub(super) mobility: MobilityAgents,
    /// Left to the end of the process: while the kernel frees namespaces, each router's multicast socket would wait
    /// for it to close.
    pub(super) network: &'static Network,
    pub(super) agents: Agents,
    pub(super) programs: Programs,
    pub(super) quotas: Quotas,
    pub(super) air: Air,
    pub(super) multicast: Multicast,
    pub(super) records: RecordLog,
    /// Caller and callee of every call there has been, by Call-ID.
    pub(super) calls: HashMap<String, [NodeId; 2]>,
    pub(super) links: Links,
    pub(super) floods: Floods,
    /// Whoever probes links has it.
    pub(super) probing: Arc<Semaphore>,
    /// The supervisor's process id, as the host sees it.
    pub(super) supervisor_pid: i32,
    pub(super) namespaces: LabNamespaces,
    /// Whether it has come up.
    pub(super) is_up: bool,
}

impl Lab {
    /// A child has ended: whose deaths that is, if of anybody.
    pub(super) fn ended(&mut self, ended: &Ended) -> Vec<Death> {
        let mut deaths = self.agents.ended(ended);
        if let Some(death) = self.programs.ended(ended) {
            self.record(now(), death.node, Event::ProgramEnded { code: ended.code });
            deaths.extend((ended.code != Some(0)).then_some(death));
        }
        deaths.iter().for_each(|death| self.end_tunnels(death.node));
        deaths
    }

    pub(super) fn name_of(&self, node: NodeId) -> &str {
        &self.topology.node(node).name
    }

    pub(super) fn record(&self, at: Time, node: NodeId, event: Event) {
        self.records.push(&Record { at, node: self.name_of(node).into(), event });
    }

    /// Records what the servers with CPU quotas have had.
    pub(super) fn account(&self) {
        for (node, usage) in self.quotas.usage() {
            let CpuUsage { used, throttled, periods, periods_throttled } = match usage {
                Ok(usage) => usage,
                Err(error) => {
                    tracing::error!(%error, node = self.name_of(node), "cannot tell its CPU time");
                    continue;
                }
            };
            let process = self.agents.status(node).or_else(|| self.programs.status(node));
            let datagrams = process.and_then(|(_, pid)| survey::datagrams_taken(pid));
            let event = Event::ServerCpu { used, throttled, periods, periods_throttled, datagrams };
            self.record(now(), node, event);
        }
    }

    /// As clients see it.
    pub(super) fn status(&self) -> LabStatus {
        let nodes = self.topology.nodes().map(|(id, node)| {
            let agent = self.agents.status(id).or_else(|| self.programs.status(id));
            NodeStatus {
                name: node.name.clone(),
                agent: agent.map(|(state, _)| state),
                pid: agent.map(|(_, pid)| pid),
                namespace: self.network.namespaces.path(id.0),
                attached_to: self.air.attached_to(&self.plan, id).map(|router| self.name_of(router).into()),
            }
        });
        LabStatus {
            name: self.dir.name().into(),
            topology: self.topology.clone(),
            emulation: self.plan.emulation,
            supervisor_pid: self.supervisor_pid,
            is_up: self.is_up,
            records: self.records.written(),
            nodes: nodes.collect(),
            links: self.links.all().to_vec(),
        }
    }
}

pub(super) fn now() -> Time {
    Time::from_nanos(samp_sys::clock::monotonic_nanos())
}
