//! ip6tnl: IPv6 in IPv6 by the kernel (RFC 2473).

use super::batch::Batch;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::IpProtocol;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoIpTunnel, InfoKind, Ip6TunnelFlags, LinkAttribute};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use std::net::Ipv6Addr;

/// Routers that an outer header passes at most.
const HOP_LIMIT: u8 = 255;

/// The longest datagram in a tunnel over links of 1500 bytes. All have the same, as IPv6 does not hear of each change; routes may
/// have a shorter one.
const MTU: u32 = 1460;
/// The group of all tunnels of a namespace.
const GROUP: u32 = 0x7e1;

impl Batch {
    /// Creates the tunnel interface `name`, with this index and up. Its outer headers are from the first of `ends`, an address
    /// of this node, to the second, and what comes must be the other way round. No other one of the namespace may have
    /// the same ends.
    pub fn add_tunnel(&mut self, name: &str, index: u32, ends: [Ipv6Addr; 2]) {
        let [local, remote] = ends;
        let what = move || format!("create a tunnel from {local} to {remote}");
        // Long segments are cut before, as packet sockets could not tell how they are to be cut inside of tunnels.
        let one_at_most = LinkAttribute::GsoMaxSegs(1);
        let message = tunnel(index, ends).name(name).append_extra_attribute(one_at_most).build();
        self.push(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Gives the tunnel interface with this index other ends; for a moment it takes nothing.
    pub fn change_tunnel(&mut self, index: u32, ends: [Ipv6Addr; 2]) {
        let [local, remote] = ends;
        let what = move || format!("have interface {index} lead from {local} to {remote}");
        self.push(RouteNetlinkMessage::NewLink(tunnel(index, ends).build()), 0, what);
    }

    /// Deletes all tunnels that were [added](Self::add_tunnel) in the namespace, at once; there must be one.
    pub fn delete_tunnels(&mut self) {
        let message = LinkMessageBuilder::<LinkUnspec>::new().link_group(GROUP).build();
        self.push(RouteNetlinkMessage::DelLink(message), 0, || "delete all tunnels".to_owned());
    }
}

fn tunnel(index: u32, ends: [Ipv6Addr; 2]) -> LinkMessageBuilder<LinkUnspec> {
    let [local, remote] = ends.map(Into::into);
    let data = vec![
        InfoIpTunnel::Local(local),
        InfoIpTunnel::Remote(remote),
        InfoIpTunnel::Protocol(IpProtocol::Ipv6),
        InfoIpTunnel::Ttl(HOP_LIMIT),
        // No destination option that says how deep it is (RFC 2473 §4.1.1).
        InfoIpTunnel::Ipv6Flags(Ip6TunnelFlags::IgnEncapLimit),
    ];
    LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ip6Tnl)
        .set_info_data(InfoData::IpTunnel(data))
        .index(index)
        .mtu(MTU)
        .link_group(GROUP)
        .up()
}
