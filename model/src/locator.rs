//! Nodes by name and by address, looked up at once.

use crate::topology::{NodeId, NodeKind, Topology, agent_of};
use std::collections::HashMap;
use std::net::IpAddr;

/// An index of a topology, for who asks often. It does not follow later changes of the topology.
#[derive(Clone, Debug)]
pub struct Locator {
    names: HashMap<String, NodeId>,
    /// The addresses of routers and servers, those of access routers in their networks included.
    fixed: HashMap<IpAddr, NodeId>,
    /// With Mobile IPv6 the agents, by their number in the addresses that mobile nodes have of them.
    agents: Vec<NodeId>,
    /// First addresses of access networks, in order, and who has them.
    networks: Vec<(IpAddr, NodeId)>,
    /// Mobile nodes by the host part of their care-of addresses.
    hosts: HashMap<u128, NodeId>,
}

impl Locator {
    /// Of this topology.
    pub fn new(topology: &Topology) -> Self {
        let names = topology.nodes().map(|(id, node)| (node.name.clone(), id)).collect();
        let own = topology.nodes().flat_map(|(id, node)| node.addresses().iter().map(move |&own| (own, id)));
        let mut fixed: HashMap<_, _> = own.collect();
        let mut networks = Vec::new();
        for (id, access) in topology.nodes().filter_map(|(id, node)| Some((id, node.access()?))) {
            for subnet in &access.subnets {
                fixed.insert(subnet.gateway(), id);
                networks.push((subnet.prefix, id));
            }
        }
        networks.sort();
        let hosts = topology.nodes().filter_map(|(id, node)| match node.kind {
            NodeKind::MobileNode { host, .. } => Some((u128::from(host), id)),
            _ => None,
        });
        let has_agents = topology.mobility.protocol.is_mobile_ip();
        let agents = topology.sip_servers().filter(|_| has_agents).collect();
        Self { names, fixed, agents, networks, hosts: hosts.collect() }
    }

    /// The node with this name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    /// As [`Topology::locate`]: whose address it is and, if it is a care-of address, behind which access router.
    pub fn locate(&self, topology: &Topology, address: IpAddr) -> Option<(NodeId, Option<NodeId>)> {
        if let Some(&id) = self.fixed.get(&address) {
            return Some((id, None));
        }
        if let Some(number) = agent_of(address)
            && let Some(&agent) = self.agents.get(number as usize)
        {
            return Some((agent, None));
        }
        let after = self.networks.partition_point(|(first, _)| *first <= address);
        let (first, access_router) = *self.networks.get(after.checked_sub(1)?)?;
        topology.node(access_router).access().filter(|access| access.contains(address))?;
        let host = match (first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => u128::from(u32::from(address) - u32::from(first)),
            (IpAddr::V6(first), IpAddr::V6(address)) => u128::from(address) - u128::from(first),
            _ => return None,
        };
        Some((*self.hosts.get(&host)?, Some(access_router)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mobility::Agents;
    use crate::topology::parse;

    #[test]
    fn it_finds_what_the_topology_does() {
        let grid = "
grid: { width: 3, height: 2, link: { one_way_delay: 2ms }, server_link: { one_way_delay: 1ms } }
mobile_nodes: { count: 4 }
";
        for kind in ["family: dual", "family: ipv6\nprotocol: hmipv6"] {
            check(&parse("grid.yaml", &format!("{kind}{grid}")).expect("a topology"));
        }
    }

    fn check(topology: &Topology) {
        let locator = Locator::new(topology);
        let mut addresses: Vec<IpAddr> =
            topology.nodes.iter().flat_map(|node| node.addresses().to_vec()).collect();
        for access_router in topology.access_routers() {
            for mobile_node in topology.mobile_nodes() {
                addresses.extend(topology.care_of_addresses(mobile_node, access_router));
            }
            let access = topology.node(access_router).access().expect("it is one");
            // The router's own, and one that nobody has.
            addresses.extend(access.subnets.iter().flat_map(|subnet| [subnet.gateway(), subnet.host(200)]));
        }
        let agents = Agents::new(topology);
        let homes = topology.mobile_nodes().filter_map(|node| agents.home_address(node));
        addresses.extend(homes.map(IpAddr::V6));
        addresses.extend(
            ["0.0.0.0", "255.255.255.255", "::", "ff15::5060"]
                .map(|text| text.parse::<IpAddr>().expect("one")),
        );
        assert!(addresses.len() > 50);
        for address in addresses {
            assert_eq!(locator.locate(topology, address), topology.locate(address), "{address}");
        }
        for name in topology.nodes.iter().map(|node| node.name.as_str()).chain(["nobody"]) {
            assert_eq!(locator.find(name), topology.find(name), "{name}");
        }
    }
}
