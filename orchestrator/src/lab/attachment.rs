//! Handoffs: the network's end of a mobile node's radio link goes from one access router to another.
//!
//! In modes `switch` and `move` the radio link's frames pass the delay line, whose attachment table says where they come out;
//! frames that are on the air when the table is written are dropped. In mode `switch` that write is the handoff, and in mode
//! `bpf`, where the table is one of the kernel's and frames take no time. In mode `move` the radio is detached, the mobile node's access interface moves into the new router's namespace, and the
//! radio is attached again.
//!
//! With `trigger: carrier` the radio's network end goes down when it is detached and comes up when it is attached: the
//! mobile node's interface, the other end of the pair, loses its carrier and gets it back.
//!
//! Make before break takes two radios: the one that is not in use is attached to the new access router, and the other is
//! released later.
//!
//! A handoff with a gap breaks before it makes: the radio is detached, and attached when the gap is over.

use super::agents::TellError;
use super::apply::Network;
use super::multicast::Multicast;
use super::programs::ProgramError;
use crate::plan::{AccessInterface, MovingInterface, Plan};
use samp_emulation::Attachment;
use samp_model::Time;
use samp_model::agent::{LinkAddress, LinkUp};
use samp_model::mobility::Agents;
use samp_model::record::HandoffNumber;
use samp_model::settings::{AddressMethod, Trigger};
use samp_model::topology::{NodeId, Topology};
use samp_sys::clock::monotonic_nanos;
use samp_sys::netlink::{self, Batch, Route};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Where the mobile nodes are.
#[derive(Debug)]
pub(super) struct Air {
    /// In the order of [`Plan::mobile_nodes`].
    mobile_nodes: Vec<MobileNode>,
    /// The handoffs that have begun, by when they go on.
    pending: BTreeMap<(Time, NodeId), Pending>,
}

/// How a handoff goes on that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// The mobile node has been told that its link goes down: it leaves.
    Leave {
        /// For where.
        to: NodeId,
        /// For how long it is then attached nowhere.
        gap: Duration,
    },
    /// Its gap is over: it arrives.
    Arrive {
        /// Where.
        to: NodeId,
    },
    /// Make before break: the radio that it had before is released.
    Release,
}

#[derive(Debug)]
struct MobileNode {
    /// Where it is; in the gap of a handoff, where it was.
    at: Option<Place>,
    /// In the gap of a handoff: when it was detached, and how many frames on the air were dropped.
    detached: Option<Attachment>,
    /// The radio that is in use there: 0, or 1 for the second one.
    radio: usize,
    /// Make before break: where the other radio still is.
    leaving: Option<Place>,
    /// In mode `move`: in whose namespace its access interface is, and its number in multicast routing there.
    interface_at: (NodeId, Option<u16>),
    /// Number of its next attachment.
    next: HandoffNumber,
}

/// An attachment of one mobile node.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The access router.
    pub(super) node: NodeId,
    /// Its position in [`Plan::access_routers`].
    router: usize,
    /// The care-of addresses there, the primary first.
    addresses: Vec<IpAddr>,
}

/// What an attachment changes.
pub(super) struct Ground<'a> {
    pub(super) topology: &'a Topology,
    pub(super) plan: &'a Plan,
    pub(super) network: &'a Network,
    pub(super) multicast: &'a mut Multicast,
    pub(super) mobility: &'a Agents,
}

/// An attachment that has been made: tell the mobile node, then [`Ground::clean_up`].
#[derive(Debug)]
pub(super) struct Handoff {
    /// What the mobile node is to be told, if it has not been told before.
    pub(super) link: LinkUp,
    /// When and from where the radio left; not at the first attachment, nor where that was told when the gap began.
    pub(super) detached: Option<(Time, NodeId)>,
    /// When the radio came to the new access router.
    pub(super) attached: Time,
    /// What the attachment itself cost.
    pub(super) cost: Duration,
    /// Frames that were on the air and were dropped.
    pub(super) frames_dropped: u64,
    old: Option<Place>,
}

/// An old attachment that has been given up after the new one was made: tell the mobile node, then [`Ground::leave`].
#[derive(Debug)]
pub(super) struct Release {
    /// Of which handoff.
    pub(super) handoff: HandoffNumber,
    /// Which radio: 0 or 1.
    pub(super) radio: usize,
    /// When it left.
    pub(super) at: Time,
    /// Frames that were on the air and were dropped.
    pub(super) frames_dropped: u64,
    /// Where it was.
    pub(super) old: Place,
}

/// Why an attachment was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    #[error("`{0}` is not a mobile node")]
    NotMobile(String),
    #[error("`{0}` is not an access router")]
    NoAccess(String),
    #[error("`{mobile_node}` is already attached to `{access_router}`")]
    AlreadyThere { mobile_node: String, access_router: String },
    #[error("`{0}` is attached nowhere")]
    Nowhere(String),
    #[error("`{0}` is in the middle of a handoff")]
    Between(String),
    #[error("cannot attach `{mobile_node}` to `{access_router}`")]
    Failed {
        mobile_node: String,
        access_router: String,
        #[source]
        source: Cause,
    },
}

/// What was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("the lab has no air")]
    NoAir,
    #[error("the kernel's switch refuses")]
    Switch(#[source] io::Error),
    #[error("the kernel refuses")]
    Network(#[from] netlink::ApplyError),
    #[error("the access router cannot route its multicast")]
    Multicast(#[source] io::Error),
    #[error("it cannot be told of its new link")]
    Untold(#[from] TellError),
    #[error("its program does not run")]
    Program(#[from] ProgramError),
}

/// What a mode did.
struct Made {
    attached: Time,
    cost: Duration,
    frames_dropped: u64,
    vif: u16,
}

impl Air {
    /// Nobody is attached.
    pub(super) fn new(plan: &Plan) -> Self {
        let mobile_nodes = plan.mobile_nodes.iter();
        let start = |start| {
            let interface_at = (start, None);
            MobileNode { at: None, detached: None, radio: 0, leaving: None, interface_at, next: 0 }
        };
        let mobile_nodes = mobile_nodes.map(|mobile_node| start(mobile_node.start)).collect();
        Self { mobile_nodes, pending: BTreeMap::new() }
    }

    /// The access router that a mobile node is attached to.
    pub(super) fn attached_to(&self, plan: &Plan, mobile_node: NodeId) -> Option<NodeId> {
        let state = &self.mobile_nodes[plan.mobile_node(mobile_node)?];
        state.at.as_ref().filter(|_| state.detached.is_none()).map(|place| place.node)
    }

    /// Which of its radios a mobile node uses: 0, or 1 for the second one.
    pub(super) fn radio_in_use(&self, plan: &Plan, mobile_node: NodeId) -> Option<usize> {
        Some(self.mobile_nodes[plan.mobile_node(mobile_node)?].radio)
    }

    /// A mobile node's link is about to go down: it is to be told now, and [`due`](Self::due) to leave after `going_down`. Gives the
    /// number of the handoff.
    ///
    /// # Errors
    /// Nonsense is refused.
    pub(super) fn warn(
        &mut self,
        ground: &Ground<'_>,
        mobile_node: NodeId,
        access_router: NodeId,
        going_down: Duration,
        gap: Duration,
    ) -> Result<HandoffNumber, AttachError> {
        let (radio, _) = self.find(ground, mobile_node, access_router)?;
        let due = Time::from_nanos(monotonic_nanos()) + going_down;
        self.pending.insert((due, mobile_node), Pending::Leave { to: access_router, gap });
        Ok(self.mobile_nodes[radio].next)
    }

    /// Detaches a mobile node; it will be [`due`](Self::due) when the gap is over. Gives the number of the handoff, when it began
    /// and where from.
    ///
    /// # Errors
    /// Nonsense is refused, and nothing has changed.
    pub(super) fn detach(
        &mut self,
        ground: &mut Ground<'_>,
        mobile_node: NodeId,
        access_router: NodeId,
        gap: Duration,
    ) -> Result<(HandoffNumber, Time, NodeId), AttachError> {
        let (radio, new) = self.find(ground, mobile_node, access_router)?;
        let state = &mut self.mobile_nodes[radio];
        let name = |id: NodeId| ground.topology.node(id).name.clone();
        let old = state.at.as_ref().ok_or_else(|| AttachError::Nowhere(name(mobile_node)))?;
        let failed = |source| {
            let (mobile_node, access_router) = (name(mobile_node), name(access_router));
            AttachError::Failed { mobile_node, access_router, source }
        };
        // What can be done before costs nothing when the gap is over.
        if ground.plan.mobile_nodes[radio].moving.is_none() {
            ground.prepare(radio, &new).map_err(failed)?;
        }
        let detached = ground.part(radio).map_err(failed)?;
        state.detached = Some(detached);
        self.pending.insert((detached.at + gap, mobile_node), Pending::Arrive { to: access_router });
        Ok((state.next, detached.at, old.node))
    }

    /// When the next handoff goes on that has begun.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.pending.first_key_value().map(|(&(due, _), _)| due)
    }

    /// A mobile node whose handoff is to go on now, and how.
    pub(super) fn due(&mut self, now: Time) -> Option<(NodeId, Pending)> {
        let pending = self.pending.first_entry().filter(|pending| pending.key().0 <= now)?;
        let mobile_node = pending.key().1;
        Some((mobile_node, pending.remove()))
    }

    /// What a mobile node's link will be like when it is attached to an access router.
    ///
    /// # Errors
    /// Nonsense is refused.
    pub(super) fn next_link(
        &self,
        ground: &Ground<'_>,
        mobile_node: NodeId,
        access_router: NodeId,
    ) -> Result<LinkUp, AttachError> {
        let (radio, place) = self.find(ground, mobile_node, access_router)?;
        let router = &ground.plan.access_routers[place.router];
        let moving = ground.plan.mobile_nodes[radio].moving.as_ref().map(|moving| moving.mac);
        let mac = moving.or(router.access.map(|access| access.mac));
        let addresses = place.addresses.iter().zip(&router.subnets);
        let is_static = ground.topology.addressing.address == AddressMethod::Static;
        Ok(LinkUp {
            handoff: self.mobile_nodes[radio].next,
            radio: self.mobile_nodes[radio].next_radio(ground.plan),
            addresses: addresses
                .filter(|_| is_static)
                .map(|(&address, subnet)| LinkAddress { address, gateway: subnet.gateway() })
                .collect(),
            gateway_mac: mac.map_or([0; 6], |mac| mac.0),
            map: ground.mobility.map_at(access_router).filter(|_| is_static),
        })
    }

    /// Attaches a mobile node to an access router.
    ///
    /// # Errors
    /// Nonsense is refused, and nothing has changed. When the kernel refuses, the node may be left unattached; it can
    /// be attached again.
    pub(super) fn attach(
        &mut self,
        ground: &mut Ground<'_>,
        mobile_node: NodeId,
        access_router: NodeId,
    ) -> Result<Handoff, AttachError> {
        let link = self.next_link(ground, mobile_node, access_router)?;
        let (radio, place) = self.find(ground, mobile_node, access_router)?;
        let (topology, plan) = (ground.topology, ground.plan);
        let name = |id: NodeId| topology.node(id).name.clone();
        let state = &mut self.mobile_nodes[radio];
        let (old, detached) = (state.at.clone(), state.detached);
        let made = match &plan.mobile_nodes[radio].moving {
            None => ground.switch(plan.radio(radio, link.radio), &place),
            Some(moving) => ground.carry(radio, moving, &place, state),
        };
        let made = made.map_err(|source| {
            let (mobile_node, access_router) = (name(mobile_node), name(access_router));
            AttachError::Failed { mobile_node, access_router, source }
        })?;
        if let Some(&primary) = place.addresses.first() {
            ground.multicast.add_source(primary, access_router, made.vif);
        }
        state.at = Some(place);
        state.detached = None;
        state.next += 1;
        if link.radio != state.radio {
            state.radio = link.radio;
            state.leaving = old;
            let release = made.attached + plan.emulation.make_before_break;
            self.pending.insert((release, mobile_node), Pending::Release);
            let Made { attached, cost, frames_dropped, .. } = made;
            return Ok(Handoff { link, detached: None, attached, cost, frames_dropped, old: None });
        }
        let called = Time::from_nanos(made.attached.as_nanos().saturating_sub(made.cost.as_nanos() as u64));
        Ok(Handoff {
            link,
            detached: old.as_ref().filter(|_| detached.is_none()).map(|old| (called, old.node)),
            attached: made.attached,
            cost: made.cost,
            frames_dropped: made.frames_dropped + detached.map_or(0, |detached| detached.frames_dropped),
            // After a gap that ended in an error it may come back.
            old: old.filter(|old| old.node != access_router),
        })
    }

    /// Detaches the radio that a mobile node had before; none when there is no such.
    ///
    /// # Errors
    /// There is no air.
    pub(super) fn release(
        &mut self,
        ground: &Ground<'_>,
        mobile_node: NodeId,
    ) -> Result<Option<Release>, Cause> {
        let Some(number) = ground.plan.mobile_node(mobile_node) else { return Ok(None) };
        let state = &mut self.mobile_nodes[number];
        let Some(old) = state.leaving.take() else { return Ok(None) };
        let radio = 1 - state.radio;
        let Attachment { at, frames_dropped, .. } = ground.part(ground.plan.radio(number, radio))?;
        Ok(Some(Release { handoff: state.next - 1, radio, at, frames_dropped, old }))
    }

    /// The mobile node's first radio, and the place that it is to be attached to.
    fn find(
        &self,
        ground: &Ground<'_>,
        mobile_node: NodeId,
        access_router: NodeId,
    ) -> Result<(usize, Place), AttachError> {
        let (topology, plan) = (ground.topology, ground.plan);
        let name = |id: NodeId| topology.node(id).name.clone();
        let radio = plan.mobile_node(mobile_node).ok_or_else(|| AttachError::NotMobile(name(mobile_node)))?;
        let router = plan.access_router(access_router);
        let router = router.ok_or_else(|| AttachError::NoAccess(name(access_router)))?;
        if self.pending.keys().any(|&(_, node)| node == mobile_node) {
            return Err(AttachError::Between(name(mobile_node)));
        }
        let state = &self.mobile_nodes[radio];
        let is_there = state.at.as_ref().is_some_and(|place| place.node == access_router);
        if is_there && state.detached.is_none() {
            let (mobile_node, access_router) = (name(mobile_node), name(access_router));
            return Err(AttachError::AlreadyThere { mobile_node, access_router });
        }
        let addresses = topology.care_of_addresses(mobile_node, access_router).collect();
        Ok((radio, Place { node: access_router, router, addresses }))
    }
}

impl MobileNode {
    /// The radio of its next attachment: with make before break the one that is not in use.
    fn next_radio(&self, plan: &Plan) -> usize {
        match self.at {
            Some(_) => (self.radio + 1) % plan.radios_each(),
            None => self.radio,
        }
    }
}

impl Ground<'_> {
    /// Removes what routers still know of the old care-of address.
    pub(super) fn clean_up(&mut self, handoff: &Handoff) {
        if let Some(old) = &handoff.old {
            self.leave(old);
        }
    }

    /// Mode `switch`: one write to the attachment table, once the new access router knows the node.
    fn switch(&mut self, radio: usize, new: &Place) -> Result<Made, Cause> {
        let access = self.prepare(radio, new)?;
        let parted = if self.has_carrier() { Some(self.part(radio)?) } else { None };
        let joined = self.join(radio, new.router)?;
        let called = parted.unwrap_or(joined).called();
        Ok(Made {
            attached: joined.at,
            cost: joined.at - called,
            frames_dropped: joined.frames_dropped + parted.map_or(0, |parted| parted.frames_dropped),
            vif: access.vif,
        })
    }

    /// Detaches a radio.
    fn part(&self, radio: usize) -> Result<Attachment, Cause> {
        let parted = write(self.network, radio, None)?;
        if self.has_carrier() {
            let mut batch = Batch::default();
            batch.set_down(self.plan.line.radios[radio].index);
            self.network.configure(self.plan.wire(), batch)?;
        }
        Ok(parted)
    }

    /// Attaches a radio to an access end of the delay line. Its carrier comes right after: whoever hears of it can send.
    fn join(&self, radio: usize, access: usize) -> Result<Attachment, Cause> {
        if !self.has_carrier() {
            return write(self.network, radio, Some(access));
        }
        let mut wire = self.network.open_netlink(self.plan.wire()).map_err(netlink::ApplyError::Open)?;
        let joined = write(self.network, radio, Some(access))?;
        let mut batch = Batch::default();
        batch.set_up(self.plan.line.radios[radio].index);
        wire.apply(batch)?;
        Ok(joined)
    }

    /// Whether a radio that is detached has no carrier.
    fn has_carrier(&self) -> bool {
        self.plan.emulation.trigger == Trigger::Carrier
    }

    /// Mode `switch`: the new access router gets to know the node, at this interface.
    fn prepare(&self, radio: usize, new: &Place) -> Result<AccessInterface, Cause> {
        let access = self.plan.access_routers[new.router].access.ok_or(Cause::NoAir)?;
        let mut batch = Batch::default();
        for &address in &new.addresses {
            batch.add_neighbour(access.index, address, self.plan.line.radios[radio].mac.0);
        }
        self.network.configure(new.node.0, batch)?;
        Ok(access)
    }

    /// Mode `move`: the access interface itself moves between namespaces; meanwhile the radio is detached.
    fn carry(
        &mut self,
        radio: usize,
        moving: &MovingInterface,
        new: &Place,
        state: &mut MobileNode,
    ) -> Result<Made, Cause> {
        let to = self.network.namespaces.open(new.node.0).map_err(netlink::ApplyError::Open)?;
        let detachment = self.part(radio)?;
        let (from, old_vif) = state.interface_at;
        if from != new.node {
            let mut batch = Batch::default();
            batch.move_link(moving.index, &to, Some(moving.index));
            if let Err(error) = self.network.configure(from.0, batch) {
                if state.at.is_some() {
                    self.join(radio, radio)?;
                }
                return Err(error.into());
            }
            if let Some(vif) = old_vif {
                self.multicast.interface_left(from, vif);
            }
            state.interface_at = (new.node, None);
        }
        // From here on a failure leaves the node unattached.
        if let Some(old) = state.at.take() {
            self.leave(&old);
        }

        let mut batch = Batch::default();
        batch.set_up(moving.index);
        for (&address, subnet) in new.addresses.iter().zip(&self.plan.access_routers[new.router].subnets) {
            batch.add_neighbour(moving.index, address, self.plan.mobile_nodes[radio].mac.0);
            batch.replace_route(&Route {
                destination: (address, if address.is_ipv4() { 32 } else { 128 }),
                via: None,
                index: moving.index,
                source: Some(subnet.gateway()),
                onlink: false,
                mtu: None,
            });
        }
        self.network.configure(new.node.0, batch)?;
        let vif = match state.interface_at.1 {
            Some(vif) => vif,
            None => self.multicast.add_interface(new.node, moving.index).map_err(Cause::Multicast)?,
        };
        state.interface_at.1 = Some(vif);
        // In this mode every mobile node has an access end of its own at the delay line, under its own number.
        let attachment = self.join(radio, radio)?;
        Ok(Made {
            attached: attachment.at,
            cost: attachment.at - detachment.at,
            frames_dropped: detachment.frames_dropped + attachment.frames_dropped,
            vif,
        })
    }

    /// What hung on an interface that has moved away is gone with it; the rest goes here.
    pub(super) fn leave(&mut self, old: &Place) {
        if let Some(&primary) = old.addresses.first() {
            self.multicast.remove_source(self.plan, primary);
        }
        let Some(access) = self.plan.access_routers[old.router].access else { return };
        let mut batch = Batch::default();
        for &address in &old.addresses {
            batch.delete_neighbour(access.index, address);
        }
        if let Err(error) = self.network.configure(old.node.0, batch) {
            tracing::warn!(%error, addresses = ?old.addresses, "cannot delete neighbour entries");
        }
    }
}

/// Writes to the air's attachment table, whoever has it.
fn write(network: &Network, radio: usize, access: Option<usize>) -> Result<Attachment, Cause> {
    match (&network.switch, &network.line) {
        (Some(switch), _) => switch.attach(radio, access).map_err(Cause::Switch),
        (None, Some(line)) => Ok(line.attach(radio, access)),
        (None, None) => Err(Cause::NoAir),
    }
}
