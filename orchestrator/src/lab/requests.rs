//! What clients ask of a lab.

use super::control::Answer;
use super::nodes::is_sip_server;
use super::refusal::Refusal;
use super::state::Lab;
use samp_model::agent::ToAgent;
use samp_model::control::{Cause, Request, Response};

impl Lab {
    /// Does what a client asks, but for [`Request::Subscribe`], which the control server does, [`Request::Down`], which
    /// ends the loop around this, and what [`Lab::survey`] finds out.
    pub(super) fn answer(&mut self, request: &Request) -> Answer {
        let answer = match request {
            Request::Status => Ok(Response::Status(Box::new(self.status())).into()),
            Request::Enter { node } => self.enter(node),
            Request::Capture { node, towards } => self.capture(node, towards.as_deref()),
            Request::Subscribe | Request::Down => Ok(Response::Done.into()),
            _ if !self.is_up => Err(Refusal {
                message: format!("the lab `{}` is still coming up", self.dir.name()),
                hint: Some("wait for `samp-lab up` to return".into()),
                cause: Cause::Conflict,
            }),
            Request::Probe { .. } | Request::ProbeTunnels | Request::Waits => Ok(Response::Done.into()),
            Request::Handoff { mobile_node, access_router, gap } => self
                .handoff(mobile_node, access_router, *gap)
                .map(|handoff| Response::Handoff { handoff }.into()),
            Request::Call { caller, callee } => {
                self.call(caller, callee).map(|call| Response::Call { call }.into())
            }
            Request::HangUp { call } => self.hang_up(call.as_deref()).map(|()| Response::Done.into()),
            Request::Transfer { call, from, to } => {
                self.transfer(call, from.as_deref(), to).map(|()| Response::Done.into())
            }
            Request::Deregister { mobile_node } => {
                let node = self.mobile_node(mobile_node);
                node.and_then(|node| self.tell(node, &ToAgent::Deregister)).map(|()| Response::Done.into())
            }
            Request::Leave { server } => {
                let server = self.find(server, "a SIP server", is_sip_server);
                server.and_then(|server| self.tell(server, &ToAgent::Leave)).map(|()| Response::Done.into())
            }
            Request::Kill { node } => self.kill(node).map(|()| Response::Done.into()),
            Request::Pause { node } => self.pause(node, true).map(|()| Response::Done.into()),
            Request::Resume { node } => self.pause(node, false).map(|()| Response::Done.into()),
            Request::Link { link, change } => {
                self.change_link(link, change.clone()).map(|links| Response::Links(links).into())
            }
            Request::Partition { nodes, from } => {
                self.partition(nodes, from).map(|links| Response::Links(links).into())
            }
            Request::Flood { to, from, flood } => {
                self.flood(to, from, *flood).map(|flood| Response::Flood { flood }.into())
            }
            Request::Heal => self.heal().map(|links| Response::Links(links).into()),
        };
        answer.unwrap_or_else(Answer::from)
    }
}
