//! The options that choose backends and addresses, as `up` and `run` have them.

use clap::{Args, ValueEnum};
use samp_model::settings::{self, AttachMode, EmulationSettings, LinkBackend};
use samp_model::units::Delay;

/// Backends and addresses, instead of the topology's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Emulation {
    /// Who makes the delay of wired links
    #[arg(long, value_enum, value_name = "BACKEND", env = "SAMP_LAB_LINKS")]
    pub links: Option<Links>,
    /// How handoffs are done
    #[arg(long, value_enum, value_name = "MODE", env = "SAMP_LAB_ATTACH")]
    pub attach: Option<Attach>,
    /// For how long a mobile node is attached nowhere in a handoff, as 50ms
    #[arg(long, value_name = "TIME", env = "SAMP_LAB_GAP")]
    pub gap: Option<Delay>,
    /// What tells a mobile node of its new link
    #[arg(long, value_enum, value_name = "TRIGGER", env = "SAMP_LAB_TRIGGER")]
    pub trigger: Option<Trigger>,
    /// For how long the old attachment stays beside the new one, with two radios, as 50ms
    #[arg(long, value_name = "TIME", env = "SAMP_LAB_MAKE_BEFORE_BREAK")]
    pub make_before_break: Option<Delay>,
    /// How long before it is detached a mobile node is told of it, as 50ms
    #[arg(long, value_name = "TIME", env = "SAMP_LAB_GOING_DOWN")]
    pub going_down: Option<Delay>,
    /// Which addresses the nodes have
    #[arg(long, value_enum, value_name = "FAMILY", env = "SAMP_LAB_FAMILY")]
    pub family: Option<Family>,
}

impl Emulation {
    /// The topology's choice, where nothing else was typed.
    pub fn over(self, topology: EmulationSettings) -> EmulationSettings {
        EmulationSettings {
            links: self.links.map_or(topology.links, Into::into),
            attach: self.attach.map_or(topology.attach, Into::into),
            gap: self.gap.map_or(topology.gap, Delay::get),
            trigger: self.trigger.map_or(topology.trigger, Into::into),
            make_before_break: self.make_before_break.map_or(topology.make_before_break, Delay::get),
            going_down: self.going_down.map_or(topology.going_down, Delay::get),
            ..topology
        }
    }
}

/// Who makes the delay of wired links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Links {
    /// netem where the kernel has it, else userspace
    Auto,
    /// The kernel's sch_netem
    Netem,
    /// samp-lab's own delay line
    Userspace,
    /// No delay, loss and rate at all
    Plain,
}

/// How handoffs are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// bpf where that can be, else switch
    Auto,
    /// One write to the air's attachment table
    Switch,
    /// The same in the kernel, for radio links without delay and loss
    Bpf,
    /// The interface itself moves
    Move,
}

/// What tells a mobile node of its new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Trigger {
    /// The lab, at once
    Link,
    /// The carrier of its radio interface
    Carrier,
    /// Router advertisements
    Ra,
}

/// Which addresses the nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4 only
    Ipv4,
    /// IPv6 only
    Ipv6,
    /// Both; SIP and media use IPv6
    Dual,
}

impl From<Links> for LinkBackend {
    fn from(links: Links) -> Self {
        match links {
            Links::Auto => Self::Auto,
            Links::Netem => Self::Netem,
            Links::Userspace => Self::Userspace,
            Links::Plain => Self::Plain,
        }
    }
}

impl From<Attach> for AttachMode {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Auto => Self::Auto,
            Attach::Switch => Self::Switch,
            Attach::Bpf => Self::Bpf,
            Attach::Move => Self::Move,
        }
    }
}

impl From<Trigger> for settings::Trigger {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Link => Self::Link,
            Trigger::Carrier => Self::Carrier,
            Trigger::Ra => Self::Ra,
        }
    }
}

impl From<Family> for settings::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
            Family::Dual => Self::Dual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;
    use std::time::Duration;

    #[test]
    fn what_was_typed_wins_over_the_topology() {
        let topology = EmulationSettings {
            tunnels: settings::TunnelBackend::Kernel,
            links: LinkBackend::Netem,
            attach: AttachMode::Move,
            gap: Duration::from_millis(50),
            trigger: settings::Trigger::Ra,
            make_before_break: Duration::ZERO,
            going_down: Duration::from_millis(20),
            nodes_per_process: NonZeroU16::new(7),
            server_cpu: NonZeroU16::new(50),
            server_work: None,
        };
        assert_eq!(Emulation::default().over(topology), topology);
        let typed = Emulation {
            links: Some(Links::Auto),
            attach: Some(Attach::Switch),
            gap: Some(Delay::default()),
            trigger: Some(Trigger::Carrier),
            make_before_break: None,
            going_down: None,
            family: None,
        };
        let (links, attach, gap) = (LinkBackend::Auto, AttachMode::Switch, Duration::ZERO);
        let trigger = settings::Trigger::Carrier;
        assert_eq!(typed.over(topology), EmulationSettings { links, attach, gap, trigger, ..topology });
    }
}
