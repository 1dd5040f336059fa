//! Who is whose agent in Mobile IPv6, HMIPv6 and SIP mobility: a function of the topology.

use crate::agent::{Mobility, MobilityAgent};
use crate::paths::nearest_servers;
use crate::settings::{Dad, HomeAgents, MobilitySettings, Protocol};
use crate::topology::{NodeId, NodeKind, Topology, home_subnet, regional_subnet};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long a node that has made an address waits for somebody to claim it: one probe, RetransTimer (RFC 4862 §5.1,
/// RFC 4861 §10).
const DAD: Duration = Duration::from_secs(1);
/// The port of SIP.
const SIP_PORT: u16 = 5060;

/// The agents of a topology's protocol; with SAMP there are none.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    mobility: BTreeMap<NodeId, Mobility>,
    agents: BTreeMap<NodeId, MobilityAgent>,
    /// The mobility anchor point that each access router tells of.
    maps: BTreeMap<NodeId, Ipv6Addr>,
    /// The server of each subnet of home addresses or regional ones, by its first 64 bits.
    subnets: BTreeMap<u64, NodeId>,
}

impl Agents {
    /// Of this topology.
    pub fn new(topology: &Topology) -> Self {
        let MobilitySettings { protocol, agent, home_agents, route_optimization, .. } = topology.mobility;
        let tunnels = topology.emulation.tunnels;
        let is_hierarchical = protocol == Protocol::Hmipv6;
        let mut agents = Self::default();
        let address = |server: NodeId| topology.node(server).address();
        if let (Protocol::Sip, Some(agent)) = (protocol, agent) {
            let registrar = address(agent).map(|address| SocketAddr::new(address, SIP_PORT));
            let nodes = topology.mobile_nodes();
            agents.mobility =
                nodes.filter_map(|node| Some((node, Mobility::Sip { registrar: registrar? }))).collect();
        }
        if !protocol.is_mobile_ip() {
            return agents;
        }
        let is_dynamic = home_agents == HomeAgents::Dynamic;
        let nearest = if is_hierarchical || is_dynamic { nearest_servers(topology) } else { BTreeMap::new() };
        let servers: BTreeMap<NodeId, u32> = topology.sip_servers().zip(0..).collect();
        let map = |server: &NodeId| v6(regional_subnet(*servers.get(server)?).gateway());
        if is_hierarchical {
            agents.maps =
                nearest.iter().filter_map(|(router, server)| Some((*router, map(server)?))).collect();
        }
        let dad = if topology.addressing.dad == Dad::On { DAD } else { Duration::ZERO };
        for (&server, &number) in &servers {
            let Some(address) = address(server).and_then(v6) else { continue };
            let home_subnet = (is_dynamic || agent == Some(server)).then(|| home_subnet(number));
            let map = map(&server).filter(|_| is_hierarchical);
            let agent = MobilityAgent { address, home_subnet, map, dad, tunnels };
            agents.subnets.extend(agent.subnets().filter_map(|it| Some((first_64(it.prefix)?, server))));
            agents.agents.insert(server, agent);
        }
        for (id, node) in topology.nodes() {
            let NodeKind::MobileNode { start, host, .. } = node.kind else { continue };
            let agent = if is_dynamic { nearest.get(&start).copied() } else { agent };
            let Some(agent) = agent.and_then(|agent| agents.agents.get(&agent)) else { continue };
            let Some(home) = agent.home_subnet.and_then(|subnet| v6(subnet.host(host))) else { continue };
            let (home_agent, hierarchical) = (agent.address, is_hierarchical);
            let mobility = Mobility::MobileIp { home, home_agent, hierarchical, route_optimization, tunnels };
            agents.mobility.insert(id, mobility);
        }
        agents
    }

    /// How a mobile node stays reachable.
    pub fn mobility(&self, mobile_node: NodeId) -> Mobility {
        self.mobility.get(&mobile_node).cloned().unwrap_or_default()
    }

    /// The home address of a mobile node, with Mobile IPv6.
    pub fn home_address(&self, mobile_node: NodeId) -> Option<Ipv6Addr> {
        match self.mobility.get(&mobile_node) {
            Some(Mobility::MobileIp { home, .. }) => Some(*home),
            _ => None,
        }
    }

    /// The address of its home agent.
    pub fn home_agent(&self, mobile_node: NodeId) -> Option<Ipv6Addr> {
        match self.mobility.get(&mobile_node) {
            Some(Mobility::MobileIp { home_agent, .. }) => Some(*home_agent),
            _ => None,
        }
    }

    /// The mobility anchor point that an access router tells of, with HMIPv6: the nearest SIP server. Its address as such.
    pub fn map_at(&self, access_router: NodeId) -> Option<Ipv6Addr> {
        self.maps.get(&access_router).copied()
    }

    /// The URI by which a mobile node is called: its address-of-record, and with Mobile IPv6, which finds nobody by name,
    /// one at its home address.
    pub fn called(&self, topology: &Topology, mobile_node: NodeId) -> String {
        let node = topology.node(mobile_node);
        match (self.home_address(mobile_node), &node.kind) {
            (Some(home), _) => format!("sip:{}@[{home}]", node.name),
            (None, NodeKind::MobileNode { address_of_record, .. }) => address_of_record.clone(),
            (None, _) => String::new(),
        }
    }

    /// What a SIP server is with Mobile IPv6, in the place of a SIP server; none with other protocols.
    pub fn mobility_agent(&self, server: NodeId) -> Option<&MobilityAgent> {
        self.agents.get(&server)
    }

    /// The agent that answers for an address on its subnet, whether it is bound or not.
    pub fn serving(&self, address: IpAddr) -> Option<NodeId> {
        self.subnets.get(&first_64(address)?).copied()
    }
}

/// The first 64 bits of an IPv6 address.
fn first_64(address: IpAddr) -> Option<u64> {
    v6(address).map(|address| (u128::from(address) >> 64) as u64)
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TunnelBackend;
    use crate::topology::parse;

    /// ar-0-0 … ar-3-0 in a row, servers at the first and the third.
    fn row(protocol: &str) -> Topology {
        let text = format!(
            "
family: ipv6
{protocol}
grid: {{ width: 4, height: 1, domain: {{ width: 2, height: 1 }}, link: {{ one_way_delay: 2ms }}, server_link: {{ one_way_delay: 1ms }} }}
mobile_nodes: {{ count: 4 }}
"
        );
        parse("row.yaml", &text).unwrap_or_else(|errors| panic!("{:?}", errors.first()))
    }

    fn id(topology: &Topology, name: &str) -> NodeId {
        topology.find(name).expect("a node")
    }

    #[test]
    fn every_access_router_tells_of_the_nearest_map() {
        let topology = row("protocol: hmipv6");
        let agents = Agents::new(&topology);
        let maps = ["ar-0-0", "ar-1-0", "ar-2-0", "ar-3-0"].map(|name| agents.map_at(id(&topology, name)));
        let map = |number| Some(Ipv6Addr::new(0xfd53, 0x414d, 0x52, number, 0, 0, 0, 1));
        // ar-1-0 is as far from both; the first one wins.
        assert_eq!(maps, [map(0), map(0), map(1), map(1)]);
        let [one, two] = ["s1", "s2"].map(|name| agents.mobility_agent(id(&topology, name)).unwrap());
        assert_eq!((one.map, two.map), (map(0), map(1)));
        assert!(one.home_subnet.is_some() && two.home_subnet.is_none());
        assert_eq!(one.dad, Duration::from_secs(1));
        let regional = regional_subnet(1).host(7);
        assert_eq!(agents.serving(regional), topology.find("s2"));
        assert_eq!(agents.serving(topology.node(id(&topology, "s2")).address().unwrap()), None);
        // What is sent to an address of either subnet goes to its server.
        let home = agents.home_address(id(&topology, "mn2")).unwrap();
        assert_eq!(topology.locate(home.into()), Some((id(&topology, "s1"), None)));
        assert_eq!(topology.locate(map(1).unwrap().into()), Some((id(&topology, "s2"), None)));
        assert_eq!(agents.called(&topology, id(&topology, "mn2")), format!("sip:mn2@[{home}]"));
    }

    #[test]
    fn home_agents_and_registrars_are_as_the_file_says() {
        let topology = row("protocol: mipv6\nmobility: { agent: s2, route_optimization: true }");
        let agents = Agents::new(&topology);
        let server = id(&topology, "s2");
        let IpAddr::V6(address) = topology.node(server).address().unwrap() else { panic!("IPv4") };
        for mobile_node in topology.mobile_nodes() {
            let home = agents.home_address(mobile_node).unwrap();
            let expected = Mobility::MobileIp {
                home,
                home_agent: address,
                hierarchical: false,
                route_optimization: true,
                tunnels: TunnelBackend::Agent,
            };
            assert_eq!(agents.mobility(mobile_node), expected);
        }
        assert_eq!(agents.map_at(id(&topology, "ar-0-0")), None);

        let topology = row("protocol: mipv6\nmobility: { ha: dynamic }\naddressing: { dad: off }");
        let agents = Agents::new(&topology);
        let homes = topology.mobile_nodes().map(|node| agents.home_agent(node).unwrap().into());
        let names = homes.map(|home| topology.node(topology.locate(home).unwrap().0).name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["s1", "s1", "s2", "s2"]);
        assert!(topology.sip_servers().all(|server| agents.mobility_agent(server).unwrap().dad.is_zero()));

        let topology = row("protocol: sip");
        let agents = Agents::new(&topology);
        let registrar = SocketAddr::new(topology.node(id(&topology, "s1")).address().unwrap(), 5060);
        assert_eq!(agents.mobility(id(&topology, "mn1")), Mobility::Sip { registrar });
        assert_eq!(
            topology.ring_servers().collect::<Vec<_>>(),
            [id(&topology, "s1")],
            "the others do nothing"
        );
        assert_eq!(agents.mobility_agent(id(&topology, "s1")), None);
        assert_eq!(agents.called(&topology, id(&topology, "mn1")), "sip:mn1@samp.test");

        let topology = row("");
        let agents = Agents::new(&topology);
        assert_eq!(agents.mobility(id(&topology, "mn1")), Mobility::Samp);
        assert_eq!(topology.ring_servers().count(), 2);
    }
}
