//! Floods: processes beside the agents, which end by themselves.

use super::nodes::{is_mobile_node, is_sip_server};
use super::refusal::Refusal;
use super::state::Lab;
use crate::cause::{cause_of, chain};
use crate::plan::{AgentPlan, SIP_PORT};
use samp_model::agent::{AgentConfig, Role};
use samp_model::control::Cause;
use samp_model::flood::Flood;
use samp_model::record::FloodNumber;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Floods at once.
const AT_ONCE: usize = 16;

/// The floods of a lab.
#[derive(Debug)]
pub(super) struct Floods {
    begun: FloodNumber,
    /// Whoever floods has one.
    permits: Arc<Semaphore>,
}

impl Floods {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { begun: 0, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Lab {
    /// Lets a server be flooded from a node; the flooder's records say when it begins and ends.
    pub(super) fn flood(&mut self, to: &str, from: &str, flood: Flood) -> Result<FloodNumber, Refusal> {
        let refuse =
            |message: String, hint: &str, cause| Err(Refusal { message, hint: Some(hint.to_owned()), cause });
        let server = self.find(to, "a SIP server", is_sip_server)?;
        let node = self.find(from, "a router or SIP server", |kind| !is_mobile_node(kind))?;
        if server == node {
            return refuse(format!("`{to}` cannot flood itself"), "name another node", Cause::Other);
        }
        if let Err(problem) = flood.check() {
            return refuse(problem.message, &problem.hint, Cause::Other);
        }
        let Ok(permit) = Arc::clone(&self.floods.permits).try_acquire_owned() else {
            return refuse(
                format!("{AT_ONCE} floods go on already"),
                "wait until one is over",
                Cause::Conflict,
            );
        };
        let address = |node| self.topology.node(node).address();
        let (Some(own), Some(server)) = (address(node), address(server)) else {
            return refuse(format!("`{from}` has no address"), "name another node", Cause::Other);
        };
        let number = self.floods.begun + 1;
        let server = SocketAddr::new(server, SIP_PORT);
        let role = Role::Flooder { number, own, to: to.to_owned(), server, flood };
        let config =
            AgentConfig { name: from.to_owned(), seed: 0, samp: Default::default(), secret: None, role };
        self.agents
            .start_guest(&AgentPlan { node, config }, self.network, permit)
            .map_err(|error| Refusal { message: chain(&error), hint: None, cause: cause_of(&error) })?;
        self.floods.begun = number;
        Ok(number)
    }
}
