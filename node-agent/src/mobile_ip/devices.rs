//! Tunnels that the kernel does (`emulation: { tunnels: kernel }`): which of its ip6tnl devices leads where, and what is
//! routed there. Everything here is what to ask the kernel for; nothing is asked here.
//!
//! ```text
//! mobile node   all, from its home address ▶ default route by the device      from its regional one ▶ another, in a table of its own
//! agent         to a bound address ▶ host route by the device        out of the device ▶ only what is from that address
//! ```
//! A device whose ends nobody needs any more is changed for the next tunnel, so that routes go from one device to another
//! at once: nothing is lost meanwhile, and none is ever deleted, for which the kernel takes milliseconds. At a
//! mobile node what its agent has sent to the address before still comes in by it.

use samp_model::agent::MobilityAgent;
use samp_model::topology::Subnet;
use samp_sys::netlink::{Batch, Route, Tunnel};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// The MTU of all links.
const MTU: u32 = 1500;
/// Bytes of a tunnel's header.
const TUNNEL: u32 = 40;
/// The longest datagram of a mobile node's, which has two tunnels, or one and optimised routes; so has its peer on the way there.
pub const MTU_AT_MOBILE_NODE: u32 = MTU - 4 * TUNNEL;
/// The longest in a home agent's tunnel, which may lead through a mobility anchor point's.
pub const MTU_TO_HOME: u32 = MTU - 2 * TUNNEL;
/// The longest in a tunnel between a mobility anchor point and a mobile node.
pub const MTU_TO_REGIONAL: u32 = MTU - TUNNEL;

/// The index of the first device; the lab's own interfaces are below.
const FIRST_INDEX: u32 = 1_000_000;
/// Devices at most: each takes some memory of the kernel's.
const MAX_DEVICES: u32 = 16_384;
/// The routing table for what is from a regional address; its radios' are below.
const REGIONAL_TABLE: u8 = 110;
/// Where a device leads that has not been needed yet: to nobody (RFC 6666).
const NOWHERE: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0);

type Ends = [Ipv6Addr; 2];

/// Whose tunnels they are.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// A mobile node's.
    MobileNode {
        /// Its home address, which is the kernel's already.
        home: Ipv6Addr,
    },
    /// An agent's.
    Agent {
        /// The address from which it sends itself.
        address: Ipv6Addr,
        /// The subnet of the home addresses that it serves.
        home_subnet: Option<Subnet>,
    },
}

/// A node's tunnel devices.
#[derive(Debug)]
pub(super) struct Devices {
    owner: Owner,
    /// The interface that gets a mobile node's regional address.
    interface: u32,
    /// By their ends, with how many addresses use them.
    used: BTreeMap<Ends, (u32, usize)>,
    /// Those that nobody needs, with the ends that they still have; the longest idle one first.
    idle: VecDeque<(u32, Ends)>,
    made: u32,
    /// The tunnel of each address.
    tunnels: BTreeMap<Ipv6Addr, Ends>,
}

impl Owner {
    pub(super) fn agent(agent: &MobilityAgent) -> Self {
        Owner::Agent { address: agent.address, home_subnet: agent.home_subnet }
    }

    fn mtu(&self, address: Ipv6Addr) -> u32 {
        match self {
            Owner::MobileNode { home } if *home == address => MTU_AT_MOBILE_NODE,
            Owner::Agent { home_subnet: Some(subnet), .. } if subnet.contains(address.into()) => MTU_TO_HOME,
            _ => MTU_TO_REGIONAL,
        }
    }
}

impl Devices {
    /// None yet. `interface` is the index of the one that gets a mobile node's regional address.
    pub(super) fn new(owner: Owner, interface: u32) -> Self {
        Self {
            owner,
            interface,
            used: BTreeMap::new(),
            idle: VecDeque::new(),
            made: 0,
            tunnels: BTreeMap::new(),
        }
    }

    /// Has a device ready for the first tunnel.
    pub(super) fn prepare(&mut self) -> Batch {
        let mut batch = Batch::default();
        self.keep_one_idle(&mut batch);
        batch
    }

    /// What is from this address (at an agent, to it) goes into a tunnel between these two, or with none into no tunnel.
    pub(super) fn set(&mut self, address: Ipv6Addr, ends: Option<Ends>) -> Batch {
        let mut batch = Batch::default();
        let old = self.tunnels.get(&address).copied();
        if old == ends {
            return batch;
        }
        let next = ends.and_then(|ends| self.take(&mut batch, ends, self.owner.mtu(address)));
        match ends.filter(|_| next.is_some()) {
            Some(ends) => self.tunnels.insert(address, ends),
            None => self.tunnels.remove(&address),
        };
        if let Some(device) = next {
            self.lead(&mut batch, address, device, old.is_none());
        }
        if let Some(ends) = old {
            self.leave(&mut batch, address, ends, next.is_none());
        }
        self.keep_one_idle(&mut batch);
        batch
    }

    /// The kernel has refused what this address was to have, and what its device is like now is not known.
    pub(super) fn give_up(&mut self, address: Ipv6Addr) {
        if let Some(ends) = self.tunnels.remove(&address) {
            self.drop_user(ends);
        }
    }

    /// One address less uses the device with these ends, which is returned, and whether nobody does now.
    fn drop_user(&mut self, ends: Ends) -> Option<(u32, bool)> {
        let (device, users) = self.used.get_mut(&ends)?;
        let device = *device;
        *users -= 1;
        let is_idle = *users == 0;
        if is_idle {
            self.used.remove(&ends);
        }
        Some((device, is_idle))
    }

    /// The device with these ends: one that has them, or one that is given them.
    fn take(&mut self, batch: &mut Batch, ends: Ends, mtu: u32) -> Option<u32> {
        if let Some((device, users)) = self.used.get_mut(&ends) {
            *users += 1;
            return Some(*device);
        }
        let as_before = self.idle.iter().position(|(_, before)| *before == ends);
        let device = match as_before {
            Some(position) => self.idle.remove(position)?.0,
            None => self.idle.pop_front()?.0,
        };
        // It may have had another MTU.
        batch.change_tunnel(Tunnel { name: &name(device), index: index(device), ends, mtu });
        self.used.insert(ends, (device, 1));
        Some(device)
    }

    fn keep_one_idle(&mut self, batch: &mut Batch) {
        if self.idle.is_empty() && self.made < MAX_DEVICES {
            let device = self.made;
            self.made += 1;
            let name = name(device);
            let nobody = u128::from(NOWHERE) + u128::from(device);
            let ends = [Ipv6Addr::UNSPECIFIED, nobody.into()];
            batch.add_tunnel(Tunnel { name: &name, index: index(device), ends, mtu: MTU_TO_REGIONAL });
            if matches!(self.owner, Owner::Agent { .. }) {
                batch.refuse_all_from(&name);
            }
            self.idle.push_back((device, ends));
        }
    }

    /// An address gets its first tunnel, or goes on to another one.
    fn lead(&self, batch: &mut Batch, address: Ipv6Addr, device: u32, is_first: bool) {
        match self.owner {
            Owner::MobileNode { home } if home == address => {
                batch.replace_preferred_route(&default_route(device, Some(home)));
            }
            Owner::MobileNode { .. } if is_first => {
                batch.add_address(self.interface, address.into(), 128);
                batch.add_source_route(address.into(), REGIONAL_TABLE, &default_route(device, None));
            }
            Owner::MobileNode { .. } => {
                batch.replace_source_route(address.into(), REGIONAL_TABLE, &default_route(device, None));
            }
            Owner::Agent { address: own, .. } => {
                batch.admit(address, &name(device));
                batch.replace_route(&host_route(address, device, own));
            }
        }
    }

    /// An address has no use any more for a tunnel, or for any.
    fn leave(&mut self, batch: &mut Batch, address: Ipv6Addr, ends: Ends, is_last: bool) {
        let Some((device, is_idle)) = self.drop_user(ends) else { return };
        if is_idle {
            self.idle.push_back((device, ends));
        }
        match self.owner {
            Owner::MobileNode { .. } if !is_last => {}
            Owner::MobileNode { home } if home == address => {
                batch.delete_preferred_route(&default_route(device, Some(home)));
            }
            Owner::MobileNode { .. } => {
                batch.delete_source_route(address.into(), REGIONAL_TABLE, &default_route(device, None));
                batch.delete_address(self.interface, address.into(), 128);
            }
            Owner::Agent { address: own, .. } => {
                if is_last {
                    batch.delete_route(&host_route(address, device, own));
                }
                batch.admit_no_more(address, &name(device));
            }
        }
    }
}

/// An agent's, to an address that is bound.
fn host_route(address: Ipv6Addr, device: u32, agent: Ipv6Addr) -> Route {
    let (destination, source) = ((IpAddr::V6(address), 128), Some(agent.into()));
    Route { destination, via: None, index: index(device), source, onlink: false }
}

/// A mobile node's, and the source of what has none yet.
fn default_route(device: u32, source: Option<Ipv6Addr>) -> Route {
    let destination = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    Route { destination, via: None, index: index(device), source: source.map(Into::into), onlink: false }
}

fn name(device: u32) -> String {
    format!("tnl{device}")
}

fn index(device: u32) -> u32 {
    FIRST_INDEX + device
}

#[cfg(test)]
mod tests;
