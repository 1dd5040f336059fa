//! The lab as the supervisor holds it, and what can be done to it.

use super::agents::{Agents, Death, TellError};
use super::apply::Network;
use super::attachment::{self, Air, AttachError, Ground, Pending, Release};
use super::control::Answer;
use super::floods::Floods;
use super::links::Links;
use super::multicast::Multicast;
use super::process::{Ended, Process};
use super::programs::Programs;
use super::quotas::Quotas;
use super::records::RecordLog;
use super::survey;
use crate::cause::cause_of;
use crate::plan::{Plan, SIP_PORT};
use crate::runtime_dir::RuntimeDir;
use samp_model::agent::ToAgent;
use samp_model::control::{Cause, LabStatus, NodeStatus, Request, Response};
use samp_model::mobility::Agents as MobilityAgents;
use samp_model::record::HandoffNumber;
use samp_model::settings::{AddressMethod, AddressSettings, DhcpServer, Trigger};
use samp_model::topology::{NodeId, NodeKind, Topology};
use samp_model::{Event, Record, Time};
use samp_sys::cgroup::CpuUsage;
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
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

/// The namespaces that all processes of a lab share.
#[derive(Debug)]
pub(super) struct LabNamespaces([File; 3]);

/// What cannot be done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) cause: Cause,
}

impl From<Refusal> for Answer {
    fn from(Refusal { message, hint, cause }: Refusal) -> Self {
        Response::Error { message, hint, cause }.into()
    }
}

fn no_such_call(call: &str) -> Refusal {
    let hint = Some("the Call-ID is what `samp-lab call` printed".into());
    Refusal { message: format!("there is no call `{call}`"), hint, cause: Cause::Other }
}

impl LabNamespaces {
    /// Those of the calling process.
    pub(super) fn open() -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/self/ns/{name}"));
        Ok(Self([open("user")?, open("mnt")?, open("pid")?]))
    }
}

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
            Request::Leave { server } => self.leave(server).map(|()| Response::Done.into()),
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

    /// Detaches a mobile node, to attach it when the gap is over; the records say when.
    fn detach(
        &mut self,
        mobile_node: NodeId,
        access_router: NodeId,
        gap: Duration,
    ) -> Result<HandoffNumber, AttachError> {
        let (air, mut ground) = self.air();
        let (handoff, at, old) = air.detach(&mut ground, mobile_node, access_router, gap)?;
        let access_router = self.name_of(old).into();
        self.record(at, mobile_node, Event::Detached { handoff, access_router, gap });
        Ok(handoff)
    }

    /// Tells a mobile node that its link goes down, to detach it after that.
    fn warn(&mut self, mobile_node: NodeId, to: NodeId, gap: Duration) -> Result<HandoffNumber, AttachError> {
        let (air, ground) = self.air();
        let handoff = air.warn(&ground, mobile_node, to, ground.plan.emulation.going_down, gap)?;
        let access_router = self.name_of(to).into();
        let told = self.agents.tell(mobile_node, &ToAgent::LinkGoingDown { handoff, access_router });
        // It does not hold the handoff up that it was not told.
        if let Err(error) = told {
            tracing::warn!(%error, mobile_node = self.name_of(mobile_node), "cannot tell that its link goes down");
        }
        Ok(handoff)
    }

    /// When the next handoff goes on that has begun.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.air.next_due()
    }

    /// Goes on with the handoffs for which it is time.
    pub(super) fn go_on(&mut self) {
        while let Some((mobile_node, pending)) = self.air.due(now()) {
            let gone_on = match pending {
                Pending::Leave { to, gap } => self.begin(mobile_node, to, gap),
                Pending::Arrive { to } => self.attach(mobile_node, to),
                Pending::Release => {
                    self.release(mobile_node);
                    continue;
                }
            };
            if let Err(error) = gone_on {
                tracing::error!("{}", chain(&error));
            }
        }
    }

    /// Gives up the attachment that a mobile node had before.
    fn release(&mut self, mobile_node: NodeId) {
        let (air, ground) = self.air();
        let Release { handoff, radio, at, frames_dropped, old } = match air.release(&ground, mobile_node) {
            Ok(Some(release)) => release,
            Ok(None) => return,
            Err(error) => return tracing::error!("cannot release an attachment: {}", chain(&error)),
        };
        // One that has died since misses nothing.
        if let Err(error) = self.agents.tell(mobile_node, &ToAgent::LinkDown { radio }) {
            tracing::warn!(%error, mobile_node = self.name_of(mobile_node), "cannot tell that its old link is gone");
        }
        self.air().1.leave(&old);
        let access_router = self.name_of(old.node).into();
        self.record(at, mobile_node, Event::Released { handoff, access_router, frames_dropped });
    }

    /// Detaches a mobile node, if there is a gap, or attaches it elsewhere at once.
    fn begin(
        &mut self,
        mobile_node: NodeId,
        to: NodeId,
        gap: Duration,
    ) -> Result<HandoffNumber, AttachError> {
        match gap {
            Duration::ZERO => self.attach(mobile_node, to),
            gap => self.detach(mobile_node, to, gap),
        }
    }

    /// Attaches a mobile node to an access router and tells it; the records say when.
    pub(super) fn attach(
        &mut self,
        mobile_node: NodeId,
        access_router: NodeId,
    ) -> Result<HandoffNumber, AttachError> {
        self.announce(mobile_node, access_router);
        let (air, ground) = self.air();
        let link = air.next_link(&ground, mobile_node, access_router)?;
        let is_told = match ground.plan.emulation.trigger {
            Trigger::Link => true,
            Trigger::Carrier => false,
            // A node that starts asks for routers.
            Trigger::Ra => link.handoff == 0,
        };
        if !is_told {
            let told = self.agents.tell(mobile_node, &ToAgent::NextLink(link));
            told.map_err(|error| self.failed(mobile_node, access_router, error.into()))?;
        }
        let (air, mut ground) = self.air();
        let handoff = air.attach(&mut ground, mobile_node, access_router)?;
        // First of all the node is told: everything else can wait.
        let told = match self.programs.link_up(self.network, mobile_node, &handoff.link) {
            None if is_told => {
                self.agents.tell(mobile_node, &ToAgent::LinkUp(handoff.link.clone())).map_err(Into::into)
            }
            None => Ok(()),
            Some(told) => told.map_err(attachment::Cause::from),
        };
        let told_at = now();
        self.air().1.clean_up(&handoff);
        let number = handoff.link.handoff;
        if let Some((at, old)) = handoff.detached {
            let access_router = self.name_of(old).into();
            let event = Event::Detached { handoff: number, access_router, gap: Duration::ZERO };
            self.record(at, mobile_node, event);
        }
        let event = Event::Attached {
            handoff: number,
            access_router: self.name_of(access_router).into(),
            attach_cost: handoff.cost,
            frames_dropped: handoff.frames_dropped,
        };
        self.record(handoff.attached, mobile_node, event);
        told.map_err(|error| self.failed(mobile_node, access_router, error))?;
        if self.programs.has(mobile_node) {
            self.record(told_at, mobile_node, Event::LinkTriggered { handoff: number });
            if let Some(link) = handoff.link.addresses.first() {
                let event = Event::AddressConfigured { handoff: number, address: link.address };
                self.record(told_at, mobile_node, event);
            }
        }
        Ok(number)
    }

    fn failed(&self, mobile_node: NodeId, access_router: NodeId, source: attachment::Cause) -> AttachError {
        let [mobile_node, access_router] = [mobile_node, access_router].map(|node| self.name_of(node).into());
        AttachError::Failed { mobile_node, access_router, source }
    }

    fn air(&mut self) -> (&mut Air, Ground<'_>) {
        let ground = Ground {
            topology: &self.topology,
            plan: &self.plan,
            network: self.network,
            multicast: &mut self.multicast,
            mobility: &self.mobility,
        };
        (&mut self.air, ground)
    }

    /// Tells an access router with a DHCP server who comes, before it comes.
    fn announce(&self, mobile_node: NodeId, access_router: NodeId) {
        let AddressSettings { address, dhcp_server, .. } = self.topology.addressing;
        if address != AddressMethod::Dhcp || dhcp_server != DhcpServer::Agent {
            return;
        }
        let mac = self.plan.mobile_node(mobile_node).map(|radio| self.plan.mobile_nodes[radio].mac.0);
        let has_access = self.plan.access_router(access_router).is_some();
        // What is neither is refused by who attaches.
        let Some(mac) = mac.filter(|_| has_access) else { return };
        let IpAddr::V4(address) = self.topology.care_of_address(mobile_node, access_router) else { return };
        if let Err(error) = self.agents.tell(access_router, &ToAgent::Expect { mac, address }) {
            // A server that does not run any more gives no address, which the handoff shows.
            let access_router = self.name_of(access_router);
            tracing::warn!(%error, access_router, "cannot tell the DHCP server who comes");
        }
    }

    /// A child has ended: whose deaths that is, if of anybody.
    pub(super) fn ended(&mut self, ended: &Ended) -> Vec<Death> {
        let mut deaths = self.agents.ended(ended);
        if let Some(death) = self.programs.ended(ended) {
            self.record(now(), death.node, Event::ProgramEnded { code: ended.code });
            deaths.extend((ended.code != Some(0)).then_some(death));
        }
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

    fn status(&self) -> LabStatus {
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

    fn handoff(
        &mut self,
        mobile_node: &str,
        access_router: &str,
        gap: Option<Duration>,
    ) -> Result<HandoffNumber, Refusal> {
        let mobile_node = self.mobile_node(mobile_node)?;
        let router = self.find(access_router, "an access router", |kind| {
            matches!(kind, NodeKind::Router { access: Some(_), .. })
        })?;
        self.check_alive(mobile_node)?;
        let gap = gap.unwrap_or(self.plan.emulation.gap);
        if !gap.is_zero() && !self.plan.emulation.make_before_break.is_zero() {
            let message = "this lab's handoffs make before they break: they have no gap".to_owned();
            let hint = Some("bring the lab up without `make_before_break`".into());
            return Err(Refusal { message, hint, cause: Cause::Other });
        }
        let begun = match self.plan.emulation.going_down {
            Duration::ZERO => self.begin(mobile_node, router, gap),
            _ => self.warn(mobile_node, router, gap),
        };
        begun.map_err(|error| {
            let hint = match &error {
                AttachError::AlreadyThere { .. } => Some(
                    "`samp-lab inspect` shows where every mobile node is; choose another access router"
                        .into(),
                ),
                _ => None,
            };
            let cause = match &error {
                AttachError::AlreadyThere { .. } | AttachError::Between(_) => Cause::Conflict,
                error => cause_of(error),
            };
            Refusal { message: chain(&error), hint, cause }
        })
    }

    fn call(&mut self, caller: &str, callee: &str) -> Result<String, Refusal> {
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

    fn hang_up(&mut self, call: Option<&str>) -> Result<(), Refusal> {
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

    /// The terminal is named by its Contact, as service discovery would tell it (RFC 5631 §5).
    fn transfer(&mut self, call: &str, from: Option<&str>, to: &str) -> Result<(), Refusal> {
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

    fn leave(&mut self, server: &str) -> Result<(), Refusal> {
        let is_server = |kind: &NodeKind| matches!(kind, NodeKind::SipServer { .. });
        let server = self.find(server, "a SIP server", is_server)?;
        self.tell(server, &ToAgent::Leave)
    }

    fn kill(&mut self, node: &str) -> Result<(), Refusal> {
        let (node, process) = self.process(node)?;
        let killed = process.kill();
        killed.map_err(|error| self.not_told(node, &error.into()))?;
        self.record(now(), node, Event::Killed);
        Ok(())
    }

    fn pause(&mut self, node: &str, pause: bool) -> Result<(), Refusal> {
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

    /// The descriptors of the node's network namespace, and of the lab's user, mount and PID namespaces.
    fn enter(&self, node: &str) -> Result<Answer, Refusal> {
        let node = self.find(node, "a node", |_| true)?;
        let LabNamespaces([user, mount, pid]) = &self.namespaces;
        let fds = self.network.namespaces.open(node.0).and_then(|network| {
            let fds = [network.as_fd(), user.as_fd(), mount.as_fd(), pid.as_fd()];
            fds.into_iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<Vec<OwnedFd>>>()
        });
        let fds = fds.map_err(|error| Refusal {
            message: format!("cannot open the namespaces of `{}`: {error}", self.name_of(node)),
            hint: None,
            cause: cause_of(&error),
        })?;
        Ok(Answer { response: Response::Done, fds })
    }

    fn mobile_node(&self, name: &str) -> Result<NodeId, Refusal> {
        self.find(name, "a mobile node", is_mobile_node)
    }

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

    fn check_alive(&self, node: NodeId) -> Result<(), Refusal> {
        if self.agents.is_alive(node) || self.programs.has(node) {
            Ok(())
        } else {
            Err(self.not_told(node, &TellError::Dead))
        }
    }

    fn tell(&self, node: NodeId, message: &ToAgent) -> Result<(), Refusal> {
        self.agents.tell(node, message).map_err(|error| self.not_told(node, &error))
    }

    fn not_told(&self, node: NodeId, error: &TellError) -> Refusal {
        let hint = self.agents.log(node).map(|log| format!("see its log: {}", log.display()));
        let message = format!("`{}`: {}", self.name_of(node), chain(error));
        Refusal { message, hint, cause: cause_of(error) }
    }
}

pub(super) fn now() -> Time {
    Time::from_nanos(samp_sys::clock::monotonic_nanos())
}

pub(super) fn is_mobile_node(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::MobileNode { .. })
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some texts hold their cause already.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
