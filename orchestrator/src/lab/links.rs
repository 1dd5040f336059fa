//! Links of a running lab: what they do to packets changes, they go down and come up again, alone or many at once.
//!
//! A wired link goes down by its interfaces, at both ends: nothing passes any more, what is on the way is lost, and the
//! nodes notice, as they would if the cable were pulled. The kernel then forgets the neighbours and routes of an
//! interface; they are configured anew when it comes up.

use super::apply::Network;
use super::netem::{self, NetemError};
use crate::plan::{NetemPlan, Plan, VethEnd};
use samp_model::control::{LinkChange, LinkId, LinkStatus};
use samp_model::settings::LinkBackend;
use samp_model::topology::{LinkQuality, NodeId, NodeKind, Topology};
use samp_model::units::InvalidValue;
use samp_sys::netlink::{ApplyError, Batch, Netlink, Route};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The links as they are.
#[derive(Debug)]
pub(super) struct Links {
    /// The wired ones, in the topology's order, then the mobile nodes' radio links.
    links: Vec<LinkStatus>,
    /// Those that partitions have taken down.
    cut: BTreeSet<usize>,
}

/// Why a link was not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("it is already {0}")]
    Already(&'static str),
    #[error("no link that is up joins the two sides")]
    NothingBetween,
    #[error("there is no partition")]
    NoPartition,
    #[error("a radio link cannot be taken down")]
    Radio,
    #[error("the lab's links are plain: nobody makes delays and losses")]
    Plain,
    #[error(
        "the lab's radio links are in the kernel, where they have neither delay nor loss (`attach: bpf`)"
    )]
    InKernel,
    #[error("the lab has no delay line")]
    NoLine,
    #[error(transparent)]
    Quality(InvalidValue),
    #[error("the kernel refuses")]
    Network(#[from] ApplyError),
    #[error("the link cannot be emulated so")]
    Netem(#[from] NetemError),
    #[error("an interface does not come up")]
    Interface(#[source] io::Error),
}

impl Links {
    /// All are up, and as the topology says.
    pub(super) fn new(topology: &Topology) -> Self {
        let status = |link, quality| LinkStatus { link, up: true, quality };
        let wired = topology.links.iter().map(|link| status(LinkId::Wired(link.ends), link.quality));
        let radios = topology.nodes().filter_map(|(id, node)| match &node.kind {
            NodeKind::MobileNode { radio, .. } => Some(status(LinkId::Radio(id), [radio.up, radio.down])),
            _ => None,
        });
        Self { links: wired.chain(radios).collect(), cut: BTreeSet::new() }
    }

    /// All links.
    pub(super) fn all(&self) -> &[LinkStatus] {
        &self.links
    }

    /// A link's number, and whether its ends are the other way round in the topology.
    pub(super) fn find(&self, wanted: LinkId) -> Option<(usize, bool)> {
        let position = |wanted| self.links.iter().position(|status| status.link == wanted);
        let reversed = || match wanted {
            LinkId::Wired([a, b]) => position(LinkId::Wired([b, a])),
            LinkId::Radio(_) => None,
        };
        position(wanted).map(|number| (number, false)).or_else(|| reversed().map(|number| (number, true)))
    }

    /// Changes link number `number`, whose directions are those of the topology.
    pub(super) fn change(
        &mut self,
        plan: &Plan,
        network: &Network,
        number: usize,
        change: LinkChange,
    ) -> Result<LinkStatus, LinkError> {
        let link = self.links[number];
        match change {
            LinkChange::Down | LinkChange::Up if number >= plan.links.len() => return Err(LinkError::Radio),
            LinkChange::Down if !link.up => return Err(LinkError::Already("down")),
            LinkChange::Up if link.up => return Err(LinkError::Already("up")),
            LinkChange::Down | LinkChange::Up => {
                self.switch(plan, network, &[number], change == LinkChange::Up)?;
                self.cut.remove(&number);
            }
            LinkChange::Quality(changes) => {
                let quality = [0, 1].map(|end: usize| changes[end].applied_to(link.quality[end]));
                for quality in quality {
                    quality.check().map_err(|(_, problem)| LinkError::Quality(problem))?;
                }
                set_quality(plan, network, number, quality)?;
                self.links[number].quality = quality;
            }
        }
        Ok(self.links[number])
    }

    /// Takes down all links that are up between nodes for which `is_near` holds and nodes for which `is_far` does.
    pub(super) fn partition(
        &mut self,
        plan: &Plan,
        network: &Network,
        is_near: impl Fn(NodeId) -> bool,
        is_far: impl Fn(NodeId) -> bool,
    ) -> Result<Vec<LinkStatus>, LinkError> {
        let joins = |status: &LinkStatus| match status.link {
            LinkId::Wired([a, b]) => is_near(a) && is_far(b) || is_near(b) && is_far(a),
            LinkId::Radio(_) => false,
        };
        let between = self.links.iter().enumerate().filter(|(_, status)| status.up && joins(status));
        let numbers: Vec<usize> = between.map(|(number, _)| number).collect();
        if numbers.is_empty() {
            return Err(LinkError::NothingBetween);
        }
        let switched = self.switch(plan, network, &numbers, false)?;
        self.cut.extend(numbers);
        Ok(switched)
    }

    /// Brings up what partitions have taken down.
    pub(super) fn heal(&mut self, plan: &Plan, network: &Network) -> Result<Vec<LinkStatus>, LinkError> {
        if self.cut.is_empty() {
            return Err(LinkError::NoPartition);
        }
        let numbers: Vec<usize> = self.cut.iter().copied().collect();
        let switched = self.switch(plan, network, &numbers, true)?;
        self.cut.clear();
        Ok(switched)
    }

    /// Takes wired links down or brings them up, with one message for each namespace.
    fn switch(
        &mut self,
        plan: &Plan,
        network: &Network,
        numbers: &[usize],
        up: bool,
    ) -> Result<Vec<LinkStatus>, LinkError> {
        let ends = || numbers.iter().flat_map(|&number| plan.links[number]);
        let mut batches: BTreeMap<usize, Batch> = BTreeMap::new();
        for end in ends() {
            let batch = batches.entry(end.namespace).or_default();
            if up {
                revive(batch, plan, end);
            } else {
                batch.set_down(plan.namespaces[end.namespace].interfaces[end.interface].index);
            }
        }
        // All sockets first, so that all goes down in the same moment.
        let open =
            |(namespace, batch)| Ok((network.open_netlink(namespace).map_err(ApplyError::Open)?, batch));
        let sockets = batches.into_iter().map(open).collect::<Result<Vec<(Netlink, Batch)>, ApplyError>>()?;
        for (mut socket, batch) in sockets {
            socket.apply(batch)?;
        }
        // Its answer comes when the kernel has caught up with the carrier, without which nothing passes.
        for end in ends().filter(|_| up) {
            let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
            let socket = network.open_netlink(end.namespace);
            let settled = socket.and_then(|mut socket| socket.link_index(&interface.name));
            settled.map_err(LinkError::Interface)?;
        }
        numbers.iter().for_each(|&number| self.links[number].up = up);
        Ok(numbers.iter().map(|&number| self.links[number]).collect())
    }
}

fn set_quality(
    plan: &Plan,
    network: &Network,
    number: usize,
    quality: [LinkQuality; 2],
) -> Result<(), LinkError> {
    let line = || network.line.as_ref().ok_or(LinkError::NoLine);
    if number >= plan.links.len() {
        if network.switch.is_some() {
            return Err(LinkError::InKernel);
        }
        // The mobile nodes have the same order everywhere.
        for which in 0..plan.radios_each() {
            line()?.set_radio_quality(plan.radio(number - plan.links.len(), which), quality);
        }
        return Ok(());
    }
    match plan.emulation.links {
        LinkBackend::Plain => return Err(LinkError::Plain),
        LinkBackend::Netem => {
            for (end, quality) in plan.links[number].into_iter().zip(quality) {
                let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
                let seed = interface.netem.as_ref().map_or(0, |netem| netem.seed);
                let settings = netem::settings(&NetemPlan { quality, seed });
                let mut netlink = network.open_netlink(end.namespace).map_err(ApplyError::Open)?;
                netem::set(&mut netlink, vec![(interface.index, settings)])?;
            }
        }
        LinkBackend::Userspace | LinkBackend::Auto => line()?.set_quality(number, quality),
    }
    Ok(())
}

/// The interface, and what hangs on it.
fn revive(batch: &mut Batch, plan: &Plan, end: VethEnd) {
    let namespace = &plan.namespaces[end.namespace];
    let own = namespace.interfaces[end.interface].index;
    batch.set_up(own);
    for neighbour in namespace.neighbours.iter().filter(|neighbour| neighbour.index == own) {
        batch.add_neighbour(own, neighbour.address, neighbour.mac.0);
    }
    for route in namespace.routes.iter().filter(|route| route.index == own) {
        batch.replace_route(&Route {
            destination: (route.destination, route.prefix_len),
            via: Some(route.via),
            index: own,
            source: Some(route.source),
            onlink: true,
            mtu: None,
        });
    }
}
