//! A lab's nodes as clients name them: which one is meant, and what it is told.

use super::agents::TellError;
use super::refusal::Refusal;
use super::state::Lab;
use crate::cause::{cause_of, chain};
use samp_model::agent::ToAgent;
use samp_model::control::Cause;
use samp_model::topology::{NodeId, NodeKind};

impl Lab {
    pub(super) fn mobile_node(&self, name: &str) -> Result<NodeId, Refusal> {
        self.find(name, "a mobile node", is_mobile_node)
    }

    /// The node of this name, if it is one of those that are meant, which `what` tells whoever named another.
    pub(super) fn find(
        &self,
        name: &str,
        what: &str,
        is_one: impl Fn(&NodeKind) -> bool,
    ) -> Result<NodeId, Refusal> {
        let found = self.topology.find(name).filter(|&id| is_one(&self.topology.node(id).kind));
        found.ok_or_else(|| self.no_such(what, name, is_one))
    }

    fn no_such(&self, what: &str, name: &str, is_one: impl Fn(&NodeKind) -> bool) -> Refusal {
        /// Names that a hint lists at most.
        const LISTED: usize = 10;
        let message = match self.topology.find(name) {
            Some(_) => format!("`{name}` is not {what}"),
            None => format!("there is no node `{name}`"),
        };
        let fitting = self.topology.nodes.iter().filter(|node| is_one(&node.kind));
        let mut names: Vec<&str> = fitting.map(|node| node.name.as_str()).collect();
        if names.len() > LISTED {
            names.truncate(LISTED);
            names.push("…");
        }
        let hint = match names[..] {
            [] => "this lab has none".into(),
            _ => format!("it must be {what}: {}", names.join(", ")),
        };
        Refusal { message, hint: Some(hint), cause: Cause::Other }
    }

    pub(super) fn check_alive(&self, node: NodeId) -> Result<(), Refusal> {
        if self.agents.is_alive(node) || self.programs.has(node) {
            Ok(())
        } else {
            Err(self.not_told(node, &TellError::Dead))
        }
    }

    pub(super) fn tell(&self, node: NodeId, message: &ToAgent) -> Result<(), Refusal> {
        self.agents.tell(node, message).map_err(|error| self.not_told(node, &error))
    }

    /// That a node cannot be told anything.
    pub(super) fn not_told(&self, node: NodeId, error: &TellError) -> Refusal {
        let hint = self.agents.log(node).map(|log| format!("see its log: {}", log.display()));
        let message = format!("`{}`: {}", self.name_of(node), chain(error));
        Refusal { message, hint, cause: cause_of(error) }
    }
}

pub(super) fn is_sip_server(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::SipServer { .. })
}

pub(super) fn is_mobile_node(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::MobileNode { .. })
}
