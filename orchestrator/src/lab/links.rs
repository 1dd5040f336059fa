//! Wired links of a running lab: what they do to packets changes, they go down and come up again.
//!
//! A link goes down by its interfaces, at both ends: nothing passes any more, what is on the way is lost, and the
//! nodes notice, as they would if the cable were pulled. The kernel then forgets the neighbours and routes of an
//! interface; they are configured anew when it comes up.

use super::apply::Network;
use super::netem::{self, NetemError};
use crate::plan::{NetemPlan, Plan, VethEnd};
use samp_model::control::{LinkChange, LinkStatus};
use samp_model::settings::LinkBackend;
use samp_model::topology::{NodeId, Topology};
use samp_model::units::InvalidValue;
use samp_sys::netlink::{ApplyError, Batch, Route};
use std::io;

/// The wired links as they are, in the topology's order.
#[derive(Debug)]
pub(super) struct Links {
    links: Vec<LinkStatus>,
}

/// Why a link was not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the link is already {0}")]
    Already(&'static str),
    #[error("the lab's links are plain: nobody makes delays and losses")]
    Plain,
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
        let links = topology.links.iter();
        Self {
            links: links
                .map(|link| LinkStatus { ends: link.ends, up: true, quality: link.quality })
                .collect(),
        }
    }

    /// All links.
    pub(super) fn all(&self) -> &[LinkStatus] {
        &self.links
    }

    /// The first link between two nodes, and whether `ends` are the other way round there.
    pub(super) fn between(&self, ends: [NodeId; 2]) -> Option<(usize, bool)> {
        let [a, b] = ends;
        let straight = self.links.iter().position(|link| link.ends == [a, b]).map(|number| (number, false));
        let reverse = || self.links.iter().position(|link| link.ends == [b, a]).map(|number| (number, true));
        straight.or_else(reverse)
    }

    /// Changes link number `number`, whose directions are those of the topology.
    pub(super) fn change(
        &mut self,
        plan: &Plan,
        network: &Network,
        number: usize,
        change: LinkChange,
    ) -> Result<LinkStatus, LinkError> {
        let link = &mut self.links[number];
        let ends = plan.links[number];
        match change {
            LinkChange::Down if !link.up => return Err(LinkError::Already("down")),
            LinkChange::Up if link.up => return Err(LinkError::Already("up")),
            LinkChange::Down => {
                for end in ends {
                    let mut batch = Batch::default();
                    batch.set_down(plan.namespaces[end.namespace].interfaces[end.interface].index);
                    network.configure(end.namespace, batch)?;
                }
                link.up = false;
            }
            LinkChange::Up => {
                for end in ends {
                    network.configure(end.namespace, revival(plan, end))?;
                }
                // Its answer comes when the kernel has caught up with the carrier, without which nothing passes.
                for end in ends {
                    let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
                    let settled = network
                        .open_netlink(end.namespace)
                        .and_then(|mut socket| socket.link_index(&interface.name));
                    settled.map_err(LinkError::Interface)?;
                }
                link.up = true;
            }
            LinkChange::Quality(changes) => {
                let quality = [0, 1].map(|end: usize| changes[end].applied_to(link.quality[end]));
                if plan.emulation.links == LinkBackend::Plain {
                    return Err(LinkError::Plain);
                }
                for quality in quality {
                    quality.check().map_err(|(_, problem)| LinkError::Quality(problem))?;
                }
                if plan.emulation.links == LinkBackend::Netem {
                    for (end, quality) in ends.into_iter().zip(quality) {
                        let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
                        let seed = interface.netem.as_ref().map_or(0, |netem| netem.seed);
                        let settings = netem::settings(&NetemPlan { quality, seed });
                        let mut netlink = network.open_netlink(end.namespace).map_err(ApplyError::Open)?;
                        netem::set(&mut netlink, vec![(interface.index, settings)])?;
                    }
                } else {
                    network.line.as_ref().ok_or(LinkError::NoLine)?.set_quality(number, quality);
                }
                link.quality = quality;
            }
        }
        Ok(*link)
    }
}

/// The interface, and what hangs on it.
fn revival(plan: &Plan, end: VethEnd) -> Batch {
    let namespace = &plan.namespaces[end.namespace];
    let own = namespace.interfaces[end.interface].index;
    let mut batch = Batch::default();
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
        });
    }
    batch
}
