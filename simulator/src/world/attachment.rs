//! Where mobile nodes are, and how they get from one access router to another.

use super::World;
use crate::network::Place;
use samp_model::topology::NodeKind;
use samp_model::{Event, NodeId, Time};
use samp_protocol::Input;
use std::time::Duration;

/// Frames on the air that are remembered before those that have arrived are forgotten.
const REMEMBERED: usize = 32;

/// Where a mobile node is.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    access_router: NodeId,
    /// Number of its last handoff.
    handoff: u32,
    /// In the gap of a handoff it is nowhere.
    is_between: bool,
    /// When it last left an access router.
    left: Option<Time>,
    /// When frames came onto its radio link, and when they leave it.
    on_air: Vec<(Time, Time)>,
}

impl World {
    /// Attaches a mobile node to an access router: for the first time, or as a handoff. Its number is returned.
    pub fn attach(&mut self, mobile_node: NodeId, access_router: NodeId) -> u32 {
        let mut frames_dropped = 0;
        let handoff = match self.attached.get(&mobile_node) {
            None => 0,
            Some(before) if before.is_between => {
                frames_dropped = before.frames_lost();
                before.handoff + 1
            }
            Some(_) => {
                let handoff = self.leave_air(mobile_node, Duration::ZERO);
                frames_dropped = self.attached[&mobile_node].frames_lost();
                handoff
            }
        };
        let left = self.attached.get(&mobile_node).and_then(|before| before.left);
        let on_air = Vec::new();
        let attachment = Attachment { access_router, handoff, is_between: false, left, on_air };
        self.attached.insert(mobile_node, attachment);
        let access_router = self.topology.node(access_router).name.clone();
        let attach_cost = Duration::ZERO;
        self.note_event(mobile_node, Event::Attached { handoff, access_router, attach_cost, frames_dropped });
        self.configure(mobile_node);
        handoff
    }

    /// As [`attach`](Self::attach), but breaks before it makes: for so long the node is attached nowhere.
    pub(crate) fn attach_after(&mut self, gap: Duration, mobile_node: NodeId, access_router: NodeId) -> u32 {
        let handoff = self.leave_air(mobile_node, gap);
        if let Some(attachment) = self.attached.get_mut(&mobile_node) {
            attachment.is_between = true;
        }
        let address = self.address(mobile_node);
        address.map(|address| self.owners.remove(&address));
        self.between.insert((self.now + gap, mobile_node, access_router));
        handoff
    }

    /// The access router that a mobile node is attached to.
    pub(crate) fn attached_to(&self, mobile_node: NodeId) -> Option<NodeId> {
        let attachment = self.attached.get(&mobile_node).filter(|attachment| !attachment.is_between)?;
        Some(attachment.access_router)
    }

    /// Whether a mobile node is in the gap of a handoff.
    pub(crate) fn is_between(&self, mobile_node: NodeId) -> bool {
        self.attached.get(&mobile_node).is_some_and(|attachment| attachment.is_between)
    }

    /// Attaches a mobile node anew to the access router where it is.
    pub fn come_back(&mut self, mobile_node: NodeId) {
        if let Some(access_router) = self.attached_to(mobile_node) {
            self.attach(mobile_node, access_router);
        }
    }

    /// Attaches every mobile node where it starts.
    pub fn attach_all(&mut self) {
        for (mobile_node, start) in self.starts() {
            self.attach(mobile_node, start);
        }
    }

    /// Each mobile node, and where it starts.
    pub(crate) fn starts(&self) -> Vec<(NodeId, NodeId)> {
        let start = |node: &NodeKind| match node {
            NodeKind::MobileNode { start, .. } => Some(*start),
            _ => None,
        };
        self.topology.nodes().filter_map(|(id, node)| Some((id, start(&node.kind)?))).collect()
    }

    /// After a crash, a mobile node begins where it was.
    pub(super) fn attach_again(&mut self, mobile_node: NodeId) {
        if let Some(attachment) = self.attached.get_mut(&mobile_node) {
            attachment.handoff += 1;
            self.configure(mobile_node);
        }
    }

    /// A frame is on a mobile node's radio link from now until then.
    pub(super) fn note_on_air(&mut self, mobile_node: NodeId, from: Time, until: Time) {
        let Some(attachment) = self.attached.get_mut(&mobile_node) else { return };
        if attachment.on_air.len() >= REMEMBERED {
            let now = self.now;
            attachment.on_air.retain(|&(_, until)| until > now);
        }
        attachment.on_air.push((from, until));
    }

    /// Whether a mobile node left its access router in this time. What is sent in the instant of a handoff is sent after it.
    pub(super) fn has_left(&self, mobile_node: NodeId, from: Time, until: Time) -> bool {
        self.attached.get(&mobile_node).is_some_and(|attachment| attachment.has_left(from, until))
    }

    /// The radio link ends here; what is on it is lost. The number of the handoff that begins is returned.
    fn leave_air(&mut self, mobile_node: NodeId, gap: Duration) -> u32 {
        let now = self.now;
        let Some(attachment) = self.attached.get_mut(&mobile_node) else { return 0 };
        attachment.left = Some(now);
        let (handoff, old) = (attachment.handoff + 1, attachment.access_router);
        let access_router = self.topology.node(old).name.clone();
        self.note_event(mobile_node, Event::Detached { handoff, access_router, gap });
        handoff
    }

    /// Gives a mobile node the address of the place where it is attached.
    fn configure(&mut self, id: NodeId) {
        let Attachment { access_router, handoff, .. } = self.attached[&id];
        let Some(actor) = &mut self.actors[id.0] else { return };
        let address = self.topology.care_of_address(id, access_router);
        let left = actor.address.replace(address);
        if let Some(streams) = &mut actor.streams {
            streams.handle_address_change();
        }
        left.map(|address| self.owners.remove(&address));
        self.owners.insert(address, id);
        let place = Place { vertex: access_router, router: access_router, mobile_node: Some(id) };
        self.places.insert(address, place);
        self.input(id, Input::LinkTrigger { handoff });
        if self.is_mobile_ip() {
            self.input(id, Input::MapAdvertised(self.agents.map_at(access_router)));
        }
        self.input(id, Input::AddressConfigured { handoff, address });
    }
}

impl Attachment {
    fn has_left(&self, from: Time, until: Time) -> bool {
        self.left.is_some_and(|left| from < left && left < until)
    }

    /// Frames that were on the air when the node left.
    fn frames_lost(&self) -> u64 {
        self.on_air.iter().filter(|&&(from, until)| self.has_left(from, until)).count() as u64
    }
}
