//! `protocol:` and `mobility:`, and what they want of the rest.

use super::super::file::TopologyFile;
use super::super::{Node, NodeId, NodeKind};
use super::Resolver;
use crate::diagnostic::{quote, suggest_name};
use crate::settings::{Family, MobilitySettings, Protocol};
use crate::yaml::{Word, span};

impl<'f> Resolver<'f> {
    /// Which protocol, and its knobs; its agent is not known yet.
    pub(super) fn mobility(&mut self, file: &'f TopologyFile) -> MobilitySettings {
        let default = MobilitySettings::default();
        let protocol = self.errors.value_or(file.protocol.as_ref(), Word(default.protocol)).0;
        let Some(file) = &file.mobility else { return MobilitySettings { protocol, ..default } };
        MobilitySettings {
            protocol,
            agent: None,
            home_agents: self.errors.value_or(file.ha.as_ref(), Word(default.home_agents)).0,
            route_optimization: self
                .errors
                .value_or(file.route_optimization.as_ref(), Word(default.route_optimization))
                .0,
            authentication: self
                .errors
                .value_or(file.authentication.as_ref(), Word(default.authentication))
                .0,
        }
    }

    /// Finds the agent. Nothing is returned when the rest does not go with the protocol.
    pub(super) fn with_agent(
        &mut self,
        mobility: MobilitySettings,
        file: &'f TopologyFile,
        nodes: &[Node],
        family: Family,
    ) -> Option<MobilitySettings> {
        let protocol = mobility.protocol;
        let at = file.protocol.as_ref().map_or(0..0, span);
        if protocol.is_mobile_ip() && !family.has_ipv6() {
            self.errors.report(at, "Mobile IPv6 needs IPv6 addresses", |error| {
                error.hint("add `family: ipv6`, or `dual`")
            });
            return None;
        }
        let has_program =
            |node: &&Node| !matches!(node.kind, NodeKind::Router { .. }) && node.program.is_some();
        if protocol.is_mobile_ip()
            && let Some(node) = nodes.iter().find(has_program)
        {
            let message = format!("`{}` runs a program of its own, which knows no Mobile IPv6", node.name);
            self.errors.report(at, message, |error| {
                error.hint("write `protocol: samp` or `sip`, or remove `program`")
            });
            return None;
        }
        let is_server = |node: &Node| matches!(node.kind, NodeKind::SipServer { .. });
        let first = nodes.iter().position(is_server).map(NodeId);
        let Some(file) = &file.mobility else { return Some(MobilitySettings { agent: first, ..mobility }) };
        // What has no effect is a mistake.
        let of_mobile_ip = [
            file.ha.as_ref().map(span),
            file.route_optimization.as_ref().map(span),
            file.authentication.as_ref().map(span),
        ];
        if let Some(at) = of_mobile_ip.into_iter().flatten().next().filter(|_| !protocol.is_mobile_ip()) {
            self.errors.report(at, "only Mobile IPv6 has this knob", |error| {
                error.hint("add `protocol: mipv6` or `hmipv6`")
            });
            return None;
        }
        let Some(name) = &file.agent else { return Some(MobilitySettings { agent: first, ..mobility }) };
        if protocol == Protocol::Samp {
            self.errors.report(span(name), "SAMP has no such agent", |error| {
                error.hint("add `protocol: mipv6`, `hmipv6` or `sip`")
            });
            return None;
        }
        let found = nodes.iter().position(|node| node.name == name.value && is_server(node)).map(NodeId);
        if found.is_none() {
            let servers = nodes.iter().filter(|node| is_server(node)).map(|node| node.name.as_str());
            let hint = suggest_name(&name.value, servers);
            self.errors.report(span(name), format!("{} is not a SIP server", quote(&name.value)), |error| {
                error.hint(hint.unwrap_or_else(|| "name a node of `kind: sip_server`, as s1".to_owned()))
            });
        }
        found.map(|agent| MobilitySettings { agent: Some(agent), ..mobility })
    }
}
