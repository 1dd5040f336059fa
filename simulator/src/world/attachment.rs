//! Where mobile nodes are, and how they get from one access router to another.
//!
//! ```text
//! hand_over ─▶ told that the link goes down ─going_down─▶ leave ─▶ (gap) ─▶ attach
//!     └───────────────────────────────────────────────────▲
//! make before break: attach ─make_before_break─▶ release of the old attachment
//! ```

use super::World;
use crate::network::Place;
use samp_model::settings::Trigger;
use samp_model::topology::NodeKind;
use samp_model::{Event, NodeId, Time};
use samp_protocol::Input;
use std::net::IpAddr;
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
    /// When it last left an access router, and which.
    left: Option<(Time, NodeId)>,
    /// Make before break: the access router that it is still attached to, too, and its address there.
    leaving: Option<(NodeId, Option<IpAddr>)>,
    on_air: Vec<OnAir>,
}

/// A frame on a radio link.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnAir {
    mobile_node: NodeId,
    access_router: NodeId,
    /// When it came onto the link, and when it leaves it.
    from: Time,
    until: Time,
}

/// How a handoff goes on that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    /// The mobile node has been told that its link goes down: it leaves for this access router, for so long it is nowhere.
    Leave(NodeId, Duration),
    /// Its gap is over: it arrives there.
    Arrive(NodeId),
    /// Make before break: the attachment that it had before is released.
    Release,
}

impl World {
    /// A handoff, as the topology has them: announced, with a gap, or made before the old attachment is broken. Its number
    /// is returned.
    pub(crate) fn hand_over(&mut self, mobile_node: NodeId, access_router: NodeId, gap: Duration) -> u32 {
        let going_down = self.topology.emulation.going_down;
        if going_down.is_zero() {
            return self.begin(mobile_node, access_router, gap);
        }
        let handoff = self.attached.get(&mobile_node).map_or(0, |before| before.handoff + 1);
        self.pending.insert((self.now + going_down, mobile_node), Pending::Leave(access_router, gap));
        let access_router = self.topology.node(access_router).name.clone();
        self.input(mobile_node, Input::LinkGoingDown { handoff, access_router });
        handoff
    }

    /// Goes on with a handoff that has begun.
    pub(super) fn go_on(&mut self, mobile_node: NodeId, pending: Pending) {
        match pending {
            Pending::Leave(to, gap) => drop(self.begin(mobile_node, to, gap)),
            Pending::Arrive(to) => drop(self.attach(mobile_node, to)),
            Pending::Release => self.release(mobile_node),
        }
    }

    fn begin(&mut self, mobile_node: NodeId, access_router: NodeId, gap: Duration) -> u32 {
        if gap.is_zero() {
            return self.attach(mobile_node, access_router);
        }
        let handoff = self.leave_air(mobile_node, gap);
        if let Some(attachment) = self.attached.get_mut(&mobile_node) {
            attachment.is_between = true;
        }
        self.address(mobile_node).map(|address| self.owners.remove(&address));
        self.pending.insert((self.now + gap, mobile_node), Pending::Arrive(access_router));
        handoff
    }

    /// Attaches a mobile node to an access router: for the first time, or as a handoff. Its number is returned.
    pub fn attach(&mut self, mobile_node: NodeId, access_router: NodeId) -> u32 {
        let hold = self.topology.emulation.make_before_break;
        let is_attached = self.attached_to(mobile_node).is_some();
        let keeps_old = is_attached && !hold.is_zero();
        if is_attached && !keeps_old {
            self.leave_air(mobile_node, Duration::ZERO);
        }
        let old_address = self.address(mobile_node);
        let before = self.attached.remove(&mobile_node);
        let frames_dropped = before.as_ref().filter(|_| !keeps_old).map_or(0, Attachment::frames_lost);
        let handoff = before.as_ref().map_or(0, |before| before.handoff + 1);
        let left = before.as_ref().and_then(|before| before.left);
        let leaving = before.as_ref().filter(|_| keeps_old).map(|old| (old.access_router, old_address));
        let on_air = before.filter(|_| keeps_old).map(|old| old.on_air).unwrap_or_default();
        let attachment = Attachment { access_router, handoff, is_between: false, left, leaving, on_air };
        self.attached.insert(mobile_node, attachment);
        if keeps_old {
            self.pending.insert((self.now + hold, mobile_node), Pending::Release);
        }
        let access_router = self.topology.node(access_router).name.clone();
        let attach_cost = Duration::ZERO;
        self.note_event(mobile_node, Event::Attached { handoff, access_router, attach_cost, frames_dropped });
        self.link_up(mobile_node);
        handoff
    }

    /// The attachment that a mobile node has had before is no more.
    fn release(&mut self, mobile_node: NodeId) {
        let now = self.now;
        let Some(attachment) = self.attached.get_mut(&mobile_node) else { return };
        let Some((old, address)) = attachment.leaving.take() else { return };
        attachment.left = Some((now, old));
        let (handoff, frames_dropped) = (attachment.handoff, attachment.frames_lost());
        if let Some(address) = address.filter(|address| Some(*address) != self.address(mobile_node)) {
            self.owners.remove(&address);
        }
        let access_router = self.topology.node(old).name.clone();
        self.note_event(mobile_node, Event::Released { handoff, access_router, frames_dropped });
    }

    /// The access router that a mobile node is attached to.
    pub(crate) fn attached_to(&self, mobile_node: NodeId) -> Option<NodeId> {
        let attachment = self.attached.get(&mobile_node).filter(|attachment| !attachment.is_between)?;
        Some(attachment.access_router)
    }

    /// Number of a mobile node's last handoff; 0 is its first attachment.
    pub(super) fn handoff_of(&self, mobile_node: NodeId) -> u32 {
        self.attached.get(&mobile_node).map_or(0, |attachment| attachment.handoff)
    }

    /// Whether a mobile node is in the gap of a handoff.
    pub(crate) fn is_between(&self, mobile_node: NodeId) -> bool {
        self.attached.get(&mobile_node).is_some_and(|attachment| attachment.is_between)
    }

    /// Whether a handoff of a mobile node has begun and not come to its end.
    pub(crate) fn is_handing_over(&self, mobile_node: NodeId) -> bool {
        self.pending.keys().any(|(_, node)| *node == mobile_node)
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
            self.link_up(mobile_node);
        }
    }

    /// A frame is on a mobile node's radio link from now until then.
    pub(super) fn note_on_air(
        &mut self,
        mobile_node: NodeId,
        access_router: NodeId,
        from: Time,
        until: Time,
    ) -> OnAir {
        let frame = OnAir { mobile_node, access_router, from, until };
        if let Some(attachment) = self.attached.get_mut(&mobile_node) {
            if attachment.on_air.len() >= REMEMBERED {
                let now = self.now;
                attachment.on_air.retain(|frame| frame.until > now);
            }
            attachment.on_air.push(frame);
        }
        frame
    }

    /// Whether a frame's mobile node left its access router while it was on the air. What is sent in the instant of a handoff
    /// is sent after it.
    pub(super) fn was_left_behind(&self, frame: OnAir) -> bool {
        self.attached.get(&frame.mobile_node).is_some_and(|attachment| attachment.has_left(frame))
    }

    /// The radio link ends here; what is on it is lost. The number of the handoff that begins is returned.
    fn leave_air(&mut self, mobile_node: NodeId, gap: Duration) -> u32 {
        let now = self.now;
        let Some(attachment) = self.attached.get_mut(&mobile_node) else { return 0 };
        let (handoff, old) = (attachment.handoff + 1, attachment.access_router);
        attachment.left = Some((now, old));
        let access_router = self.topology.node(old).name.clone();
        self.note_event(mobile_node, Event::Detached { handoff, access_router, gap });
        handoff
    }

    /// A mobile node has a new link, of which it knows at once, but with `trigger: ra`.
    fn link_up(&mut self, id: NodeId) {
        let Attachment { access_router, handoff, .. } = self.attached[&id];
        if self.addressing.is_in_use() {
            self.stand_at(id, access_router);
            let hears_by_itself = handoff > 0 && self.topology.emulation.trigger == Trigger::Ra;
            if !hears_by_itself {
                self.input(id, Input::LinkTrigger { handoff });
            }
            return self.look_for_address(id, access_router, hears_by_itself);
        }
        let address = self.topology.care_of_address(id, access_router);
        self.take_address(id, address);
        self.input(id, Input::LinkTrigger { handoff });
        if self.is_mobile_ip() {
            self.input(id, Input::MapAdvertised(self.agents.map_at(access_router)));
        }
        self.input(id, Input::AddressConfigured { handoff, address });
    }

    /// From now on a mobile node has this address, at the access router where it is.
    pub(super) fn take_address(&mut self, id: NodeId, address: IpAddr) {
        let Attachment { access_router, leaving, .. } = self.attached[&id];
        let Some(actor) = &mut self.actors[id.0] else { return };
        let left = actor.address.replace(address);
        if let Some(streams) = &mut actor.streams {
            streams.handle_address_change();
        }
        if leaving.is_none() {
            left.map(|address| self.owners.remove(&address));
        }
        self.owners.insert(address, id);
        let place = Place { vertex: access_router, router: access_router, mobile_node: Some(id) };
        self.places.insert(address, place);
    }

    /// What it sends from the address of its old link goes out at this access router, and nothing comes back to that.
    fn stand_at(&mut self, id: NodeId, access_router: NodeId) {
        if let Some(address) = self.address(id) {
            self.owners.remove(&address);
            let place = Place { vertex: access_router, router: access_router, mobile_node: Some(id) };
            self.places.insert(address, place);
        }
    }
}

impl Attachment {
    fn has_left(&self, frame: OnAir) -> bool {
        self.left
            .is_some_and(|(left, at)| at == frame.access_router && frame.from < left && left < frame.until)
    }

    /// Frames that were on the air when the node left.
    fn frames_lost(&self) -> u64 {
        self.on_air.iter().filter(|frame| self.has_left(**frame)).count() as u64
    }
}
