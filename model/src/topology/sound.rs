//! Topologies that come from elsewhere than from a topology file: whether they are such as files make them.

use super::resolve::LONGEST_NAME;
use super::{NodeId, NodeKind, Topology};
use std::collections::HashSet;
use std::net::IpAddr;

/// Whether a node can have this name, which becomes part of names of interfaces and files.
pub(super) fn is_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= LONGEST_NAME
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(valid)
}

impl Topology {
    /// Whether names are such as files may have, each but once, links and mobile nodes name nodes that there are, and whoever needs
    /// addresses has some.
    pub fn is_sound(&self) -> bool {
        let exists = |id: NodeId| id.0 < self.nodes.len();
        let mut names = HashSet::new();
        let nodes = self.nodes.iter().all(|node| {
            let kind = match &node.kind {
                NodeKind::Router { addresses, access } => {
                    let subnets = access.as_ref().map(|access| &access.subnets);
                    !addresses.is_empty()
                        && subnets.is_none_or(|subnets| {
                            !subnets.is_empty()
                                && subnets.iter().all(|subnet| subnet.prefix_len < bits(subnet.prefix))
                        })
                }
                NodeKind::SipServer { addresses } => !addresses.is_empty(),
                NodeKind::MobileNode { start, .. } => exists(*start) && self.node(*start).access().is_some(),
            };
            kind && is_name(&node.name) && names.insert(&node.name)
        });
        let is_wired = |id: NodeId| exists(id) && !matches!(self.node(id).kind, NodeKind::MobileNode { .. });
        nodes && self.links.iter().all(|link| link.ends.iter().all(|end| is_wired(*end)))
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    #[test]
    fn what_files_make_is_sound_and_what_leads_elsewhere_is_not() {
        let text = "
nodes:
  ar1: { kind: access_router }
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
links:
  - { between: [ar1, s1], one_way_delay: 1ms }
";
        let sound = topology::parse("t.yaml", text).unwrap();
        assert!(sound.is_sound());
        let spoilt = |spoil: fn(&mut Topology)| {
            let mut topology = sound.clone();
            spoil(&mut topology);
            topology.is_sound()
        };
        assert!(!spoilt(|topology| topology.nodes[0].name = "../../etc".into()));
        assert!(!spoilt(|topology| topology.nodes[0].name = "<b>".into()));
        assert!(!spoilt(|topology| topology.nodes[0].name = "s1".into()));
        assert!(!spoilt(|topology| topology.links[0].ends[1] = NodeId(3)));
        assert!(!spoilt(|topology| topology.links[0].ends[1] = NodeId(2)));
        assert!(!spoilt(|topology| {
            if let NodeKind::MobileNode { start, .. } = &mut topology.nodes[2].kind {
                *start = NodeId(1);
            }
        }));
        assert!(!spoilt(|topology| {
            if let NodeKind::Router { access: Some(access), .. } = &mut topology.nodes[0].kind {
                access.subnets[0].prefix_len = 32;
            }
        }));
    }
}
