//! Handoffs: begun when a client asks, gone on with when it is time, recorded as they happen.

use super::attachment::{self, Air, AttachError, Ground, Pending, Release};
use super::refusal::Refusal;
use super::state::{Lab, now};
use crate::cause::{cause_of, chain};
use samp_model::agent::ToAgent;
use samp_model::control::Cause;
use samp_model::record::HandoffNumber;
use samp_model::settings::{AddressMethod, AddressSettings, DhcpServer, Trigger};
use samp_model::topology::{NodeId, NodeKind};
use samp_model::{Event, Time};
use std::net::IpAddr;
use std::time::Duration;

impl Lab {
    /// Begins what a client asks for; the records say what comes of it.
    pub(super) fn handoff(
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
}
