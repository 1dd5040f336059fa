//! Calls between mobile nodes: set up, ended, moved to another terminal.

use super::agents::TellError;
use super::refusal::Refusal;
use super::state::Lab;
use crate::plan::SIP_PORT;
use samp_model::agent::ToAgent;
use samp_model::control::Cause;
use samp_model::topology::{NodeId, NodeKind};
use std::net::SocketAddr;

impl Lab {
    /// Lets one mobile node call another; gives the Call-ID.
    pub(super) fn call(&mut self, caller: &str, callee: &str) -> Result<String, Refusal> {
        let [caller, callee] = [self.mobile_node(caller)?, self.mobile_node(callee)?];
        if caller == callee {
            let message = format!("`{}` cannot call itself", self.name_of(caller));
            let hint = Some("name two different mobile nodes".into());
            return Err(Refusal { message, hint, cause: Cause::Other });
        }
        self.check_alive(caller)?;
        let call = format!("call-{}.{}@{}", self.calls.len() + 1, self.name_of(caller), self.dir.name());
        let message =
            ToAgent::Call { callee: self.mobility.called(&self.topology, callee), call: call.clone() };
        self.tell(caller, &message)?;
        self.calls.insert(call.clone(), [caller, callee]);
        Ok(call)
    }

    /// Ends a call, or all.
    pub(super) fn hang_up(&mut self, call: Option<&str>) -> Result<(), Refusal> {
        let message = ToAgent::HangUp { call: call.map(str::to_owned) };
        let Some(call) = call else {
            let mut alive = self.topology.mobile_nodes().filter(|&node| self.agents.is_alive(node));
            return alive.try_for_each(|node| self.tell(node, &message));
        };
        let Some(ends) = self.calls.get(call) else { return Err(no_such_call(call)) };
        match ends.iter().find(|&&end| self.agents.is_alive(end)) {
            Some(&end) => self.tell(end, &message),
            None => {
                let message = format!("both ends of call `{call}` are dead");
                Err(Refusal { message, hint: None, cause: Cause::Other })
            }
        }
    }

    /// Lets a terminal take over a call, from the end of its own user unless `from` names another.
    ///
    /// The terminal is named by its Contact, as service discovery would tell it (RFC 5631 §5).
    pub(super) fn transfer(&mut self, call: &str, from: Option<&str>, to: &str) -> Result<(), Refusal> {
        let to = self.mobile_node(to)?;
        let from = match from {
            Some(name) => self.mobile_node(name)?,
            None => {
                let Some(ends) = self.calls.get(call) else { return Err(no_such_call(call)) };
                let is_users = |end: &NodeId| self.address_of_record(*end) == self.address_of_record(to);
                ends.iter().copied().find(is_users).unwrap_or(ends[0])
            }
        };
        if from == to {
            let message = format!("`{}` has the call already", self.name_of(to));
            return Err(Refusal { message, hint: None, cause: Cause::Other });
        }
        self.check_alive(to)?;
        let user =
            self.address_of_record(to).trim_start_matches("sip:").split('@').next().unwrap_or_default();
        let Some(router) = self.air.attached_to(&self.plan, to) else {
            return Err(self.not_told(to, &TellError::None));
        };
        let target = match self.mobility.home_address(to) {
            Some(_) => self.mobility.called(&self.topology, to),
            None => {
                let address = self.topology.care_of_address(to, router);
                format!("sip:{user}@{}", SocketAddr::new(address, SIP_PORT))
            }
        };
        self.tell(from, &ToAgent::Transfer { call: call.to_owned(), target })
    }

    fn address_of_record(&self, node: NodeId) -> &str {
        match &self.topology.node(node).kind {
            NodeKind::MobileNode { address_of_record, .. } => address_of_record,
            _ => "",
        }
    }
}

fn no_such_call(call: &str) -> Refusal {
    let hint = Some("the Call-ID is what `samp-lab call` printed".into());
    Refusal { message: format!("there is no call `{call}`"), hint, cause: Cause::Other }
}
