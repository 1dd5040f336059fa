//! Knobs of a topology that cannot be together.

use super::{Node, NodeKind, Topology};
use crate::settings::{AddressMethod, AttachMode, EmulationSettings, Family, Trigger, TunnelBackend};
use std::time::Duration;

/// Handoffs, and what nodes do after them, cannot be as a knob under `emulation:` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoffHindrance {
    /// The knob.
    pub key: &'static str,
    /// Why.
    pub why: &'static str,
}

impl HandoffHindrance {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        format!("leave `{}` out, or change the other", self.key)
    }
}

impl Topology {
    /// Why mobile nodes cannot get their addresses as the topology says, if they cannot.
    pub fn addressing_hindrance(&self) -> Option<&'static str> {
        let (family, other) = match self.addressing.address {
            AddressMethod::Static => return None,
            AddressMethod::Dhcp => (Family::Ipv4, "DHCP needs `family: ipv4`"),
            AddressMethod::Slaac => (Family::Ipv6, "SLAAC needs `family: ipv6`"),
        };
        let takes_part =
            |node: &Node| node.access().is_some() || matches!(node.kind, NodeKind::MobileNode { .. });
        if self.family != family {
            Some(other)
        } else if self.emulation.attach == AttachMode::Move {
            Some("access routers give out addresses with `attach: switch` or `bpf` only")
        } else if self.nodes.iter().any(|node| takes_part(node) && node.program.is_some()) {
            Some("mobile nodes and access routers with a `program` have static addresses only")
        } else {
            None
        }
    }

    /// Why handoffs cannot be as the topology says, if they cannot.
    pub fn handoff_hindrance(&self) -> Option<HandoffHindrance> {
        let EmulationSettings { attach, gap, trigger, make_before_break, going_down, tunnels, .. } =
            self.emulation;
        let is_static = self.addressing.address == AddressMethod::Static;
        let keeps_old = !make_before_break.is_zero();
        let has_program =
            |node: &Node| matches!(node.kind, NodeKind::MobileNode { .. }) && node.program.is_some();
        let has_program = self.nodes.iter().any(has_program);
        let (key, why) = if trigger == Trigger::Ra && self.addressing.address != AddressMethod::Slaac {
            ("trigger", "router advertisements tell of a new link with `address: slaac` only")
        } else if trigger != Trigger::Link && has_program {
            ("trigger", "mobile nodes with a `program` are told of a new link by `trigger: link` only")
        } else if !going_down.is_zero() && has_program {
            ("going_down", "mobile nodes with a `program` cannot be told that their link goes down")
        } else if keeps_old && !gap.is_zero() {
            ("make_before_break", "a handoff either makes before it breaks or has a `gap`")
        } else if keeps_old && (attach == AttachMode::Move || trigger != Trigger::Link || !is_static) {
            (
                "make_before_break",
                "two radios need `attach: switch` or `bpf`, `trigger: link` and `address: static`",
            )
        } else if keeps_old && has_program {
            ("make_before_break", "mobile nodes with a `program` have one radio")
        } else if tunnels == TunnelBackend::Kernel && self.mobility.route_optimization {
            ("tunnels", "the kernel's tunnels know no optimised routes")
        } else {
            return None;
        };
        Some(HandoffHindrance { key, why })
    }

    /// The longest that a handoff may take, without its gap, until the mobile node has an address on its new link, while no
    /// message is lost twice.
    pub fn longest_wait(&self) -> Duration {
        let unheard = match self.emulation.trigger {
            Trigger::Ra => self.addressing.ra_interval[1],
            Trigger::Link | Trigger::Carrier => Duration::ZERO,
        };
        self.emulation.going_down
            + self.emulation.make_before_break
            + unheard
            + self.addressing.longest_wait()
    }
}
