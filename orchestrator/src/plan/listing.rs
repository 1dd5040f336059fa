//! The plan for human eyes.

use super::{LOOPBACK, NamespacePlan, Plan};
use samp_model::settings::{AttachMode, LinkBackend, Trigger, TunnelBackend};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count: fn(&NamespacePlan) -> usize| self.namespaces.iter().map(count).sum::<usize>();
        let links = match self.emulation.links {
            LinkBackend::Netem => "netem (kernel)",
            LinkBackend::Plain => "plain (no delay, loss and rate)",
            LinkBackend::Userspace | LinkBackend::Auto => "userspace (delay line)",
        };
        let attach = match self.emulation.attach {
            AttachMode::Move => "move (the interface moves between access routers)",
            AttachMode::Bpf => "bpf (one write to the air's table, in the kernel)",
            AttachMode::Switch | AttachMode::Auto => "switch (one write to the air's table)",
        };
        writeln!(f, "links:  {links}")?;
        writeln!(f, "attach: {attach}")?;
        let mut doers = self.agents.iter().filter_map(|agent| agent.config.role.tunnels());
        if doers.next() == Some(TunnelBackend::Kernel) {
            writeln!(f, "tunnels: kernel (Mobile IPv6's are ip6tnl devices)")?;
        }
        if !self.emulation.gap.is_zero() {
            writeln!(f, "gap:    {:?} attached nowhere in each handoff", self.emulation.gap)?;
        }
        match self.emulation.trigger {
            Trigger::Link => {}
            Trigger::Carrier => writeln!(f, "trigger: carrier (it goes and comes again in each handoff)")?,
            Trigger::Ra => {
                writeln!(f, "trigger: ra (mobile nodes hear of new links by router advertisements)")?
            }
        }
        if !self.emulation.make_before_break.is_zero() {
            let kept = self.emulation.make_before_break;
            writeln!(f, "make_before_break: two radios, the old attachment kept for {kept:?}")?;
        }
        if !self.emulation.going_down.is_zero() {
            writeln!(f, "going_down: told {:?} before each detachment", self.emulation.going_down)?;
        }
        writeln!(f, "discovery: {}, TTL {}", self.multicast.group, self.multicast.ttl)?;
        writeln!(
            f,
            "{} namespaces, {} veth pairs, {} addresses, {} neighbours, {} routes, {} agents, {} programs",
            self.namespaces.len(),
            self.veths.len(),
            sum(|namespace| namespace.addresses.len()),
            sum(|namespace| namespace.neighbours.len()),
            sum(|namespace| namespace.routes.len()),
            self.agents.len(),
            self.programs.len(),
        )?;
        for program in &self.programs {
            writeln!(f, "program at {}: {:?}", self.namespaces[program.node.0].name, program.argv)?;
        }
        self.namespaces.iter().try_for_each(|namespace| write!(f, "\n{namespace}"))?;
        self.list_line(f)
    }
}

impl Plan {
    fn list_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line.is_empty() {
            return Ok(());
        }
        let wire = &self.namespaces[self.wire()];
        let name =
            if self.emulation.attach == AttachMode::Bpf { "delay line and switch" } else { "delay line" };
        writeln!(f, "\n{name}")?;
        for pipe in &self.line.pipes {
            let [a, b] = pipe.ends.map(|end| wire.interface_name(end));
            writeln!(f, "  {a} -> {b}  {}", pipe.quality[0])?;
            writeln!(f, "  {b} -> {a}  {}", pipe.quality[1])?;
        }
        for radio in &self.line.radios {
            let name = wire.interface_name(radio.index);
            writeln!(f, "  {name}  up {}, down {}", radio.up, radio.down)?;
        }
        for &access in &self.line.access {
            writeln!(f, "  {}", wire.interface_name(access))?;
        }
        Ok(())
    }
}

impl fmt::Display for NamespacePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for interface in &self.interfaces {
            write!(f, "  interface {} {} index {}", interface.name, interface.mac, interface.index)?;
            if let Some(vif) = interface.vif {
                write!(f, " vif {vif}")?;
            }
            if let Some(netem) = &interface.netem {
                write!(f, " netem {}", netem.quality)?;
            }
            writeln!(f, "{}", if interface.up { "" } else { " down" })?;
        }
        for address in &self.addresses {
            let name = self.interface_name(address.index);
            writeln!(f, "  address {}/{} dev {name}", address.address, address.prefix_len)?;
        }
        for neighbour in &self.neighbours {
            let name = self.interface_name(neighbour.index);
            writeln!(f, "  neighbour {} {} dev {name}", neighbour.address, neighbour.mac)?;
        }
        for route in &self.routes {
            let name = self.interface_name(route.index);
            let (destination, len) = (route.destination, route.prefix_len);
            writeln!(f, "  route {destination}/{len} via {} dev {name} src {}", route.via, route.source)?;
        }
        for sysctl in &self.sysctls {
            writeln!(f, "  sysctl {} = {}", sysctl.path, sysctl.value)?;
        }
        Ok(())
    }
}

impl NamespacePlan {
    fn interface_name(&self, index: u32) -> &str {
        if index == LOOPBACK {
            return "lo";
        }
        self.interfaces.iter().find(|interface| interface.index == index).map_or("?", |found| &found.name)
    }
}
