//! A lab in virtual time: what a running lab can be asked to do, and the records that it would write.

use crate::wires::Unchanged;
use crate::world::World;
use samp_model::control::{Cause, LinkChange, LinkId, LinkName, Request, Response};
use samp_model::flood::Flood;
use samp_model::record::{FloodNumber, RegistrationScope};
use samp_model::topology::{NodeKind, Topology};
use samp_model::{Event, NodeId, Record, Time};
use samp_protocol::Input;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// What each stage of coming up may take, as in a lab.
const PATIENCE: Duration = Duration::from_secs(30);
/// Stabilisation periods that the ring may take more for each server, as in a lab.
const PERIODS_PER_SERVER: u32 = 2;
/// What registering may take more for each mobile node, as in a lab.
const PATIENCE_PER_NODE: Duration = Duration::from_millis(100);
/// Mobile nodes that register at once, as in a lab.
const AT_ONCE: usize = 200;

/// A lab in virtual time. Nothing in it takes time but links and timers.
pub struct VirtualLab {
    world: World,
    names: HashMap<String, NodeId>,
    /// Each call with the two ends that it began with.
    calls: HashMap<String, [NodeId; 2]>,
    /// Floods that have begun.
    floods: FloodNumber,
    /// How many of the world's happenings have been told as records.
    told: usize,
}

/// What a simulation lacks for a topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// A node runs a program.
    #[error("`{0}` runs a program of its own, which the simulator cannot run")]
    Program(String),
}

/// What a lab did not get to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUp {
    /// These servers are not where they belong.
    #[error("not at their place in the ring: {}", .0.join(", "))]
    Ring(Vec<String>),
    /// These mobile nodes are not registered at their home server.
    #[error("not registered: {}", .0.join(", "))]
    Registration(Vec<String>),
}

/// Why something is not done.
struct Refusal {
    message: String,
    cause: Cause,
}

impl VirtualLab {
    /// A lab of this topology, whose servers have just started.
    ///
    /// # Errors
    /// The topology wants what there is no simulation of.
    pub fn new(topology: Topology) -> Result<Self, Hindrance> {
        Self::check(&topology)?;
        let names = topology.nodes().map(|(id, node)| (node.name.clone(), id)).collect();
        Ok(Self { world: World::of_lab(topology), names, calls: HashMap::new(), floods: 0, told: 0 })
    }

    /// Whether there is a simulation of this topology.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn check(topology: &Topology) -> Result<(), Hindrance> {
        let program = topology.nodes.iter().find(|node| node.program.is_some());
        program.map_or(Ok(()), |node| Err(Hindrance::Program(node.name.clone())))
    }

    /// Links are going to change: from now on every hop counts, so that what is on its way then is lost.
    pub fn expect_link_changes(&mut self) {
        self.world.expect_link_changes();
    }

    /// Lets the servers form their ring and all mobile nodes register, as `up` does.
    ///
    /// # Errors
    /// They do not, in the time that a lab gives them.
    pub fn come_up(&mut self) -> Result<(), NotUp> {
        let servers = self.world.topology().ring_servers().count() as u32;
        let period = self.world.topology().samp.chord.stabilize_period;
        if !self.world.run_until_ring_is_ideal(PATIENCE + period * PERIODS_PER_SERVER * servers) {
            let misplaced = self.world.out_of_place();
            return Err(NotUp::Ring(misplaced.into_iter().map(str::to_owned).collect()));
        }
        let mut unattached: VecDeque<_> = self.world.starts().into();
        let mut waiting: BTreeSet<_> = unattached.iter().map(|&(mobile_node, _)| mobile_node).collect();
        let deadline = self.world.now() + PATIENCE + PATIENCE_PER_NODE * waiting.len() as u32;
        let mut seen = self.world.happened().len();
        while !waiting.is_empty() {
            while waiting.len() < unattached.len() + AT_ONCE {
                let Some((mobile_node, start)) = unattached.pop_front() else { break };
                self.world.attach(mobile_node, start);
            }
            if !self.world.advance(deadline) {
                let name = |node: &NodeId| self.world.topology().node(*node).name.clone();
                return Err(NotUp::Registration(waiting.iter().map(name).collect()));
            }
            for happened in &self.world.happened()[seen..] {
                if matches!(happened.event, Event::Registered { scope: RegistrationScope::Home, .. }) {
                    waiting.remove(&happened.node);
                }
            }
            seen = self.world.happened().len();
        }
        Ok(())
    }

    /// The virtual time; it begins with the servers.
    pub fn now(&self) -> Time {
        self.world.now()
    }

    /// Messages that have arrived and timers that have fired so far.
    pub fn steps(&self) -> u64 {
        self.world.steps()
    }

    /// Lets time pass until there are new records, or until `deadline`; says which.
    pub fn advance(&mut self, deadline: Time) -> bool {
        self.told < self.world.happened().len() || self.world.advance(deadline)
    }

    /// The records that have not been taken yet.
    pub fn take_records(&mut self) -> Vec<Record> {
        let fresh = &self.world.happened()[self.told..];
        self.told += fresh.len();
        fresh.iter().map(|happened| self.world.record(happened)).collect()
    }

    /// Does what a running lab would do. What only a real one has is refused.
    pub fn ask(&mut self, request: &Request) -> Response {
        let done = match request {
            Request::Handoff { mobile_node, access_router, gap } => {
                self.handoff(mobile_node, access_router, *gap).map(|handoff| Response::Handoff { handoff })
            }
            Request::Call { caller, callee } => self.call(caller, callee).map(|call| Response::Call { call }),
            Request::HangUp { call } => self.hang_up(call.as_deref()).map(|()| Response::Done),
            Request::Transfer { call, from, to } => {
                self.transfer(call, from.as_deref(), to).map(|()| Response::Done)
            }
            Request::Deregister { mobile_node } => self
                .find(mobile_node, "a mobile node", is_mobile_node)
                .map(|node| self.world.deregister(node))
                .map(|()| Response::Done),
            Request::Leave { server } => self
                .find(server, "a SIP server", is_server)
                .map(|server| self.world.leave(server))
                .map(|()| Response::Done),
            Request::Kill { node } => self.running(node).map(|node| {
                self.world.crash(node);
                self.world.note_event(node, Event::Killed);
                Response::Done
            }),
            Request::Pause { node } => self.running(node).map(|node| {
                self.world.pause(node);
                self.world.note_event(node, Event::Paused);
                Response::Done
            }),
            Request::Resume { node } => self.running(node).map(|node| {
                self.world.note_event(node, Event::Resumed);
                self.world.resume(node);
                Response::Done
            }),
            Request::Link { link, change } => self.change_link(link, change).map(|()| Response::Done),
            Request::Partition { nodes, from } => self.partition(nodes, from).map(|()| Response::Done),
            Request::Flood { to, from, flood } => {
                self.flood(to, from, *flood).map(|flood| Response::Flood { flood })
            }
            Request::Heal => self.heal().map(|()| Response::Done),
            Request::Status
            | Request::Subscribe
            | Request::Enter { .. }
            | Request::Capture { .. }
            | Request::Probe { .. }
            | Request::ProbeTunnels
            | Request::Waits
            | Request::Down => Err(refusal("a simulated lab has nothing of that kind")),
        };
        done.unwrap_or_else(|Refusal { message, cause }| Response::Error { message, hint: None, cause })
    }

    fn handoff(
        &mut self,
        mobile_node: &str,
        access_router: &str,
        gap: Option<Duration>,
    ) -> Result<u32, Refusal> {
        let is_access_router = |kind: &NodeKind| matches!(kind, NodeKind::Router { access: Some(_), .. });
        let node = self.running(mobile_node)?;
        let router = self.find(access_router, "an access router", is_access_router)?;
        let conflict = |message| Err(Refusal { message, cause: Cause::Conflict });
        if self.world.is_handing_over(node) {
            return conflict(format!("`{mobile_node}` is in the middle of a handoff"));
        }
        if self.world.attached_to(node) == Some(router) {
            return conflict(format!("`{mobile_node}` is already attached to `{access_router}`"));
        }
        let emulation = self.world.topology().emulation;
        let gap = gap.unwrap_or(emulation.gap);
        if !gap.is_zero() && !emulation.make_before_break.is_zero() {
            return Err(refusal("this lab's handoffs make before they break: they have no gap"));
        }
        Ok(self.world.hand_over(node, router, gap))
    }

    fn call(&mut self, caller: &str, callee: &str) -> Result<String, Refusal> {
        let ends = [self.running(caller)?, self.find(callee, "a mobile node", is_mobile_node)?];
        if ends[0] == ends[1] {
            return Err(refusal(&format!("`{caller}` cannot call itself")));
        }
        let callee = self.world.called(ends[1]);
        // As in a lab, but for the lab's name.
        let call = format!("call-{}.{caller}@simulated", self.calls.len() + 1);
        self.world.input(ends[0], Input::Call { callee, call: call.clone() });
        self.calls.insert(call.clone(), ends);
        Ok(call)
    }

    fn hang_up(&mut self, call: Option<&str>) -> Result<(), Refusal> {
        let Some(call) = call else {
            let nodes: Vec<_> = self.world.topology().mobile_nodes().collect();
            nodes.into_iter().for_each(|node| self.world.hang_up(node));
            return Ok(());
        };
        let ends = self.calls.get(call).ok_or_else(|| no_such_call(call))?;
        let Some(&end) = ends.iter().find(|&&end| self.world.is_running(end)) else {
            return Err(refusal(&format!("both ends of call `{call}` are dead")));
        };
        self.world.input(end, Input::HangUp { call: Some(call.to_owned()) });
        Ok(())
    }

    fn transfer(&mut self, call: &str, from: Option<&str>, to: &str) -> Result<(), Refusal> {
        let to = self.running(to)?;
        let from = match from {
            Some(name) => self.running(name)?,
            None => {
                let ends = self.calls.get(call).ok_or_else(|| no_such_call(call))?;
                let is_users = |end: &NodeId| self.address_of_record(*end) == self.address_of_record(to);
                ends.iter().copied().find(is_users).unwrap_or(ends[0])
            }
        };
        if self.world.attached_to(to).is_none() {
            return Err(refusal(&format!("`{}` is attached nowhere", self.world.topology().node(to).name)));
        }
        self.world.transfer(from, call, to);
        Ok(())
    }

    /// Changes a link; its directions are as it is named.
    fn change_link(&mut self, name: &LinkName, change: &LinkChange) -> Result<(), Refusal> {
        let is_any = |_: &NodeKind| true;
        let (wanted, text) = match name {
            LinkName::Radio(node) => {
                (LinkId::Radio(self.find(node, "a mobile node", is_mobile_node)?), node.clone())
            }
            LinkName::Wired([a, b]) => {
                let ends = [self.find(a, "a node", is_any)?, self.find(b, "a node", is_any)?];
                (LinkId::Wired(ends), format!("{a}--{b}"))
            }
        };
        let exists = |link: LinkId| match link {
            LinkId::Wired(ends) => self.world.topology().links.iter().any(|known| known.ends == ends),
            LinkId::Radio(_) => true,
        };
        let (link, change) = match (wanted, change) {
            (LinkId::Wired([a, b]), change) if !exists(wanted) => {
                let mut change = change.clone();
                if let LinkChange::Quality(changes) = &mut change {
                    changes.reverse();
                }
                (LinkId::Wired([b, a]), change)
            }
            (link, change) => (link, change.clone()),
        };
        if !exists(link) {
            return Err(refusal(&format!("there is no link `{text}`")));
        }
        let changed = self.world.change_link(link, &change);
        let (up, quality) =
            changed.map_err(|why| unchanged(&format!("cannot change the link {text}"), why))?;
        let (node, peer) = match link {
            LinkId::Wired([a, b]) => (a, Some(self.world.topology().node(b).name.clone())),
            LinkId::Radio(node) => (node, None),
        };
        self.world.note_event(node, Event::LinkChanged { peer, up, quality: Box::new(quality) });
        Ok(())
    }

    fn partition(&mut self, nodes: &[String], from: &[String]) -> Result<(), Refusal> {
        let wired = |names: &[String]| -> Result<Vec<NodeId>, Refusal> {
            let is_wired = |kind: &NodeKind| !is_mobile_node(kind);
            names.iter().map(|name| self.find(name, "a router or SIP server", is_wired)).collect()
        };
        let (near, far) = (wired(nodes)?, wired(from)?);
        let links = self.world.part_links(
            |node| near.contains(&node),
            |node| !near.contains(&node) && (far.is_empty() || far.contains(&node)),
        );
        let links = links.map_err(|why| unchanged("cannot make a partition", why))?;
        if let Some(&first) = near.first() {
            self.world
                .note_event(first, Event::Partitioned { nodes: nodes.into(), from: from.into(), links });
        }
        Ok(())
    }

    fn heal(&mut self) -> Result<(), Refusal> {
        let (links, first) = self.world.heal_links().map_err(|why| unchanged("cannot heal", why))?;
        self.world.note_event(first, Event::Healed { links });
        Ok(())
    }

    fn flood(&mut self, to: &str, from: &str, flood: Flood) -> Result<FloodNumber, Refusal> {
        let to = self.find(to, "a SIP server", is_server)?;
        let from = self.find(from, "a router or SIP server", |kind| !is_mobile_node(kind))?;
        if to == from {
            return Err(refusal("a server cannot flood itself"));
        }
        flood.check().map_err(|problem| refusal(&problem.message))?;
        self.floods += 1;
        self.world.begin_flood(self.floods, from, to, flood);
        Ok(self.floods)
    }

    fn find(&self, name: &str, what: &str, is_one: impl Fn(&NodeKind) -> bool) -> Result<NodeId, Refusal> {
        let found = self.names.get(name).copied();
        let fits = |id: &NodeId| is_one(&self.world.topology().node(*id).kind);
        found.filter(fits).ok_or_else(|| refusal(&format!("`{name}` is not {what}")))
    }

    /// A mobile node or server that runs.
    fn running(&self, name: &str) -> Result<NodeId, Refusal> {
        let runs = |kind: &NodeKind| is_mobile_node(kind) || is_server(kind);
        let node = self.find(name, "a node where something runs", runs)?;
        if self.world.is_running(node) { Ok(node) } else { Err(refusal(&format!("`{name}` is dead"))) }
    }

    fn address_of_record(&self, node: NodeId) -> &str {
        match &self.world.topology().node(node).kind {
            NodeKind::MobileNode { address_of_record, .. } => address_of_record,
            _ => "",
        }
    }
}

fn is_mobile_node(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::MobileNode { .. })
}

fn is_server(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::SipServer { .. })
}

fn refusal(message: &str) -> Refusal {
    Refusal { message: message.to_owned(), cause: Cause::Other }
}

fn no_such_call(call: &str) -> Refusal {
    refusal(&format!("there is no call `{call}`"))
}

fn unchanged(attempt: &str, why: Unchanged) -> Refusal {
    let (why, cause) = match why {
        Unchanged::Already(true) => ("it is already up", Cause::Conflict),
        Unchanged::Already(false) => ("it is already down", Cause::Conflict),
        Unchanged::NothingBetween => ("no link that is up joins the two sides", Cause::Conflict),
        Unchanged::NoPartition => ("there is no partition", Cause::Conflict),
        Unchanged::Radio => ("a radio link cannot be taken down", Cause::Other),
        Unchanged::Quality => ("its parts do not fit together", Cause::Other),
    };
    Refusal { message: format!("{attempt}: {why}"), cause }
}
