//! ip6tnl: IPv6 in IPv6 by the kernel (RFC 2473).

use super::batch::Batch;
use super::client::{ApplyError, Netlink};
use crate::namespace::Namespace;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::IpProtocol;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoIpTunnel, InfoKind, Ip6TunnelFlags, LinkAttribute};
use nix::libc;
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use std::io;
use std::net::Ipv6Addr;

/// Routers that an outer header passes at most.
const HOP_LIMIT: u8 = 255;

/// The group of all tunnels of a namespace.
const GROUP: u32 = 0x7e1;

/// A tunnel interface.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// Its interface index.
    pub index: u32,
    /// Where outer headers begin and end: an address of this node, and one of the other. What comes must have just these.
    pub ends: [Ipv6Addr; 2],
    /// The longest datagram that it takes, without the outer header.
    pub mtu: u32,
}

impl Batch {
    /// Creates a tunnel, which is up. No other one of the namespace may have the same ends.
    pub fn add_tunnel(&mut self, tunnel: Tunnel<'_>) {
        let [local, remote] = tunnel.ends;
        let what = move || format!("create a tunnel from {local} to {remote}");
        // Long segments are cut before, as packet sockets could not tell how they are to be cut inside of tunnels.
        let one_at_most = LinkAttribute::GsoMaxSegs(1);
        let message = tunnel.message().name(tunnel.name).append_extra_attribute(one_at_most).build();
        self.push(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, what);
    }

    /// Gives the tunnel with this index other ends and another MTU, and no other name; for a moment it takes nothing.
    pub fn change_tunnel(&mut self, tunnel: Tunnel<'_>) {
        let [local, remote] = tunnel.ends;
        let what = move || format!("have a tunnel lead from {local} to {remote}");
        self.push(RouteNetlinkMessage::NewLink(tunnel.message().build()), 0, what);
    }

    /// Deletes all tunnels that were [added](Self::add_tunnel) in the namespace, at once; there must be one.
    pub fn delete_tunnels(&mut self) {
        let message = LinkMessageBuilder::<LinkUnspec>::new().link_group(GROUP).build();
        self.push(RouteNetlinkMessage::DelLink(message), 0, || "delete all tunnels".to_owned());
    }
}

impl Tunnel<'_> {
    fn message(&self) -> LinkMessageBuilder<LinkUnspec> {
        let [local, remote] = self.ends.map(Into::into);
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
            .index(self.index)
            .mtu(self.mtu)
            .link_group(GROUP)
            .up()
    }
}

/// Whether this kernel has such tunnels, tried in a throw-away namespace.
///
/// # Errors
/// The namespace could not be made, or a tunnel was refused for another reason than its absence.
pub fn tunnels_available() -> io::Result<bool> {
    let mut netlink = Netlink::open_in(&Namespace::create()?)?;
    let mut batch = Batch::default();
    let ends = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST];
    batch.add_tunnel(Tunnel { name: "tnl0", index: 1000, ends, mtu: 1460 });
    match netlink.apply(batch) {
        Ok(()) => Ok(true),
        Err(ApplyError::Refused { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(false)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}
