//! Who has which address: a function of the nodes' order and the family, nothing else.
//!
//! | | routers and servers | access networks |
//! | --- | --- | --- |
//! | IPv4 | 172.16.0.1, 172.16.0.2, … | 10.0.0.0/24, 10.0.1.0/24, …; shorter prefixes for many mobile nodes |
//! | IPv6 | fd53:414d:50::1, fd53:414d:50::2, … | fd53:414d:50:1::/64, fd53:414d:50:2::/64, … |
//!
//! In an access network the access router is host 1, mobile nodes follow. With Mobile IPv6 the n-th SIP server has
//! fd53:414d:51:n::/64 for the home addresses that it serves and fd53:414d:52:n::/64 for regional care-of addresses, n from 0;
//! there, too, it is host 1, and mobile nodes have the host numbers that they have everywhere.

use super::{AccessNetwork, Node, NodeKind, Subnet};
use crate::settings::Family;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Host number of the first mobile node; the access router is 1.
pub(super) const FIRST_HOST: u32 = 2;

/// Routers and servers have the addresses after this one, in node order.
const NODE_ADDRESSES4: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 0);
/// Access networks are cut from this prefix, in node order.
const ACCESS_NETWORKS4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
/// Bits of an address below that prefix.
const ACCESS_BITS4: u32 = 24;
/// Bits of a host number in an access network at least, so that small labs have /24 subnets.
const MIN_HOST_BITS4: u32 = 8;

/// Unique local addresses (RFC 4193 §3.1). The 40 bits after fd are no random number, as §3.2 has it, but spell "SAM",
/// 0, "P": a lab is an island, and its addresses shall be the same everywhere. Subnet 0 is that of routers and servers.
const PREFIX6: Ipv6Addr = Ipv6Addr::new(0xfd53, 0x414d, 0x0050, 0, 0, 0, 0, 0);
/// Bits of an interface identifier, and so of an address below a subnet's prefix.
const HOST_BITS6: u32 = 64;
/// Subnets below the prefix, besides subnet 0.
const MAX_SUBNETS6: usize = 0xffff;

/// Home subnets of Mobile IPv6 are cut from this prefix.
const HOME_PREFIX6: Ipv6Addr = Ipv6Addr::new(0xfd53, 0x414d, 0x0051, 0, 0, 0, 0, 0);
/// Subnets of regional care-of addresses, from this one.
const REGIONAL_PREFIX6: Ipv6Addr = Ipv6Addr::new(0xfd53, 0x414d, 0x0052, 0, 0, 0, 0, 0);

/// The subnet of home addresses of the SIP server with this number among the servers, from 0.
pub(crate) fn home_subnet(server: u32) -> Subnet {
    subnet6(HOME_PREFIX6, server)
}

/// Its subnet of regional care-of addresses.
pub(crate) fn regional_subnet(server: u32) -> Subnet {
    subnet6(REGIONAL_PREFIX6, server)
}

/// The number of the SIP server in whose home or regional subnet an address is.
pub(crate) fn agent_of(address: IpAddr) -> Option<u32> {
    let IpAddr::V6(address) = address else { return None };
    let number = (u128::from(address) >> HOST_BITS6) as u32 & MAX_SUBNETS6 as u32;
    let subnets = [home_subnet(number), regional_subnet(number)];
    subnets.iter().any(|subnet| subnet.contains(address.into())).then_some(number)
}

fn subnet6(prefix: Ipv6Addr, number: u32) -> Subnet {
    let prefix = u128::from(prefix) + (u128::from(number) << HOST_BITS6);
    Subnet { prefix: IpAddr::V6(prefix.into()), prefix_len: (128 - HOST_BITS6) as u8 }
}

/// The address space has no room for so many access networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{access_networks} access networks for {mobile_nodes} mobile nodes each do not fit {prefix}")]
pub struct AddressSpaceError {
    access_networks: usize,
    mobile_nodes: usize,
    prefix: String,
}

/// Gives every router and server its addresses, and every access network its subnets, in the place of those it had.
pub(super) fn assign(nodes: &mut [Node], family: Family) -> Result<(), AddressSpaceError> {
    let mobile_nodes = nodes.iter().filter(|node| matches!(node.kind, NodeKind::MobileNode { .. })).count();
    let access_networks = nodes.iter().filter(|node| node.access().is_some()).count();
    // Beside the mobile nodes a subnet has its own address, the access router and the broadcast address.
    let hosts = mobile_nodes as u32 + FIRST_HOST + 1;
    let host_bits4 = hosts.next_power_of_two().ilog2().max(MIN_HOST_BITS4);
    let full = |prefix: IpAddr, len: u32| AddressSpaceError {
        access_networks,
        mobile_nodes,
        prefix: format!("{prefix}/{len}"),
    };
    if family.has_ipv4() && access_networks as u64 > 1 << ACCESS_BITS4.saturating_sub(host_bits4) {
        return Err(full(ACCESS_NETWORKS4.into(), 32 - ACCESS_BITS4));
    }
    if family.has_ipv6() && access_networks > MAX_SUBNETS6 {
        return Err(full(PREFIX6.into(), 48));
    }

    // The primary family first.
    let both = |six: IpAddr, four: IpAddr| {
        family.has_ipv6().then_some(six).into_iter().chain(family.has_ipv4().then_some(four)).collect()
    };
    let fixed_address = |number: u32| -> Vec<IpAddr> {
        let six = u128::from(PREFIX6) + u128::from(number);
        both(IpAddr::V6(six.into()), IpAddr::V4((u32::from(NODE_ADDRESSES4) + number).into()))
    };
    let subnet = |number: u32| -> Vec<Subnet> {
        let six = u128::from(PREFIX6) + (u128::from(number + 1) << HOST_BITS6);
        let four = u32::from(ACCESS_NETWORKS4) + (number << host_bits4);
        let prefixes: Vec<IpAddr> = both(IpAddr::V6(six.into()), IpAddr::V4(four.into()));
        let len = |prefix: IpAddr| if prefix.is_ipv4() { 32 - host_bits4 } else { 128 - HOST_BITS6 };
        prefixes.into_iter().map(|prefix| Subnet { prefix, prefix_len: len(prefix) as u8 }).collect()
    };
    let (mut fixed, mut access_network) = (1.., 0..);
    for node in nodes {
        let (NodeKind::Router { addresses, .. } | NodeKind::SipServer { addresses }) = &mut node.kind else {
            continue;
        };
        *addresses = fixed.next().map(fixed_address).unwrap_or_default();
        if let NodeKind::Router { access: Some(AccessNetwork { subnets, .. }), .. } = &mut node.kind {
            *subnets = access_network.next().map(subnet).unwrap_or_default();
        }
    }
    Ok(())
}
