//! What is done to a lab's links and processes from outside, by name, and the records of it.

use super::agents::TellError;
use super::links::LinkError;
use super::nodes::is_mobile_node;
use super::process::Process;
use super::refusal::Refusal;
use super::state::{Lab, now};
use crate::cause::{cause_of, chain};
use crate::plan::AgentPlan;
use nix::libc;
use samp_model::Event;
use samp_model::agent::Role;
use samp_model::control::{Cause, LinkChange, LinkId, LinkName, LinkStatus};
use samp_model::settings::TunnelBackend;
use samp_model::topology::{NodeId, NodeKind};
use samp_sys::netlink::{ApplyError, Batch};

impl Lab {
    /// Changes a link; its directions are as it is named.
    pub(super) fn change_link(
        &mut self,
        name: &LinkName,
        change: LinkChange,
    ) -> Result<Vec<LinkStatus>, Refusal> {
        let (number, is_reverse) = self.find_link(name)?;
        let change = match change {
            LinkChange::Quality(mut changes) if is_reverse => {
                changes.reverse();
                LinkChange::Quality(changes)
            }
            change => change,
        };
        let changed = self.links.change(&self.plan, self.network, number, change);
        let status =
            changed.map_err(|error| refusal(&format!("cannot change the link {}", text_of(name)), &error))?;
        let (node, peer) = match status.link {
            LinkId::Wired([a, b]) => (a, Some(self.name_of(b).to_owned())),
            LinkId::Radio(node) => (node, None),
        };
        let LinkStatus { up, quality, .. } = status;
        self.record(now(), node, Event::LinkChanged { peer, up, quality: Box::new(quality) });
        Ok(vec![status])
    }

    /// The number of a link in the plan, and whether it is named the other way round there.
    pub(super) fn find_link(&self, name: &LinkName) -> Result<(usize, bool), Refusal> {
        let wanted = match name {
            LinkName::Radio(node) => LinkId::Radio(self.find(node, "a mobile node", is_mobile_node)?),
            LinkName::Wired([a, b]) => {
                LinkId::Wired([self.find(a, "a node", |_| true)?, self.find(b, "a node", |_| true)?])
            }
        };
        self.links.find(wanted).ok_or_else(|| {
            let message = format!("there is no link `{}`", text_of(name));
            let hint = Some("`samp-lab link` lists the links".into());
            Refusal { message, hint, cause: Cause::Other }
        })
    }

    /// Takes down all links between `nodes` and `from`, or all other nodes when that names none.
    pub(super) fn partition(
        &mut self,
        nodes: &[String],
        from: &[String],
    ) -> Result<Vec<LinkStatus>, Refusal> {
        let near = self.wired_nodes(nodes)?;
        let far = self.wired_nodes(from)?;
        let links = self.links.partition(
            &self.plan,
            self.network,
            |node| near.contains(&node),
            |node| !near.contains(&node) && (far.is_empty() || far.contains(&node)),
        );
        let links = links.map_err(|error| refusal("cannot make a partition", &error))?;
        let event = Event::Partitioned { nodes: nodes.into(), from: from.into(), links: links.len() };
        if let Some(&first) = near.first() {
            self.record(now(), first, event);
        }
        Ok(links)
    }

    /// Brings up what partitions have taken down.
    pub(super) fn heal(&mut self) -> Result<Vec<LinkStatus>, Refusal> {
        let links = self.links.heal(&self.plan, self.network);
        let links = links.map_err(|error| refusal("cannot heal", &error))?;
        if let Some(&LinkStatus { link: LinkId::Wired([first, _]), .. }) = links.first() {
            self.record(now(), first, Event::Healed { links: links.len() });
        }
        Ok(links)
    }

    fn wired_nodes(&self, names: &[String]) -> Result<Vec<NodeId>, Refusal> {
        let is_wired = |kind: &NodeKind| !is_mobile_node(kind);
        names.iter().map(|name| self.find(name, "a router or SIP server", is_wired)).collect()
    }

    /// Kills what runs at a node.
    pub(super) fn kill(&mut self, node: &str) -> Result<(), Refusal> {
        let (node, process) = self.process(node)?;
        let killed = process.kill();
        killed.map_err(|error| self.not_told(node, &error.into()))?;
        self.record(now(), node, Event::Killed);
        self.end_tunnels(node);
        Ok(())
    }

    /// Takes away the tunnels of a node that is dead, if they are the kernel's, which would know nothing of it.
    pub(super) fn end_tunnels(&self, node: NodeId) {
        let is_node = |agent: &&AgentPlan| agent.node == node;
        let role = self.plan.agents.iter().find(is_node).map(|agent| &agent.config.role);
        if role.and_then(Role::tunnels) != Some(TunnelBackend::Kernel) {
            return;
        }
        let mut batch = Batch::default();
        batch.delete_tunnels();
        match self.network.configure(node.0, batch) {
            // They went when it was killed.
            Err(ApplyError::Refused { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => {
                tracing::warn!(node = self.name_of(node), error = chain(&error), "its tunnels go on");
            }
            Ok(()) => {}
        }
    }

    /// Stops what runs at a node, or lets it go on.
    pub(super) fn pause(&mut self, node: &str, pause: bool) -> Result<(), Refusal> {
        let (node, process) = self.process(node)?;
        let paused = process.pause(pause);
        paused.map_err(|error| self.not_told(node, &error.into()))?;
        self.record(now(), node, if pause { Event::Paused } else { Event::Resumed });
        Ok(())
    }

    /// What runs at a node: its agent, or a program of the user's.
    fn process(&mut self, name: &str) -> Result<(NodeId, &mut Process), Refusal> {
        let runs = |kind: &NodeKind| !matches!(kind, NodeKind::Router { .. });
        let has_process = |node: NodeId| self.programs.has(node) || self.agents.status(node).is_some();
        let node = match self.topology.find(name).filter(|&node| has_process(node)) {
            Some(node) => node,
            None => self.find(name, "a node where something runs", runs)?,
        };
        let not_started = self.not_told(node, &TellError::None);
        let process = self.agents.process(node).or_else(|| self.programs.process(node));
        Ok((node, process.ok_or(not_started)?))
    }
}

fn text_of(link: &LinkName) -> String {
    match link {
        LinkName::Radio(node) => node.clone(),
        LinkName::Wired([a, b]) => format!("{a}--{b}"),
    }
}

fn refusal(attempt: &str, error: &LinkError) -> Refusal {
    let cause = match error {
        LinkError::Already(_) | LinkError::NothingBetween | LinkError::NoPartition => Cause::Conflict,
        error => cause_of(error),
    };
    let hint = match error {
        LinkError::Radio => Some("`--loss 100%` silences it".into()),
        LinkError::InKernel => Some("bring the lab up with `--attach switch`".into()),
        _ => None,
    };
    Refusal { message: format!("{attempt}: {}", chain(error)), hint, cause }
}
