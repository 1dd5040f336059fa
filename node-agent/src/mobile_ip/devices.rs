//! Tunnels that the kernel does (`emulation: { tunnels: kernel }`): which of its ip6tnl devices leads where, and what is
//! routed there. Everything here is what to ask the kernel for; nothing is asked here.
//!
//! ```text
//! mobile node   all, from its home address ▶ default route by the device      from its regional one ▶ another, in a table of its own
//! agent         to a bound address ▶ host route by the device        out of the device ▶ only what is from that address
//! ```
//! A device whose ends nobody needs any more is changed for the next tunnel, so that routes go from one device to another
//! at once: nothing is lost meanwhile, and none is ever deleted, for which the kernel takes milliseconds. A mobile node with two
//! radios still hears by it what was sent to its address before.

use samp_model::agent::MobilityAgent;
use samp_model::topology::Subnet;
use samp_sys::netlink::{Batch, Route};
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

    /// The route of what goes into the tunnel of this address, which leads into a device.
    fn route(&self, address: Ipv6Addr, device: u32) -> Route {
        let everything = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        let (destination, source, mtu) = match *self {
            Owner::MobileNode { home } if home == address => {
                (everything, Some(home.into()), MTU_AT_MOBILE_NODE)
            }
            Owner::MobileNode { .. } => (everything, None, MTU_TO_REGIONAL),
            Owner::Agent { address: own, home_subnet } => {
                let is_home = home_subnet.is_some_and(|subnet| subnet.contains(address.into()));
                let mtu = if is_home { MTU_TO_HOME } else { MTU_TO_REGIONAL };
                ((address.into(), 128), Some(own.into()), mtu)
            }
        };
        Route { destination, via: None, index: index(device), source, onlink: false, mtu: Some(mtu) }
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

    /// What is from this address (at an agent, to it) goes into a tunnel between these two, or with none into no tunnel, nor if no
    /// device is left for [it](Self::tunnel).
    pub(super) fn set(&mut self, address: Ipv6Addr, ends: Option<Ends>) -> Batch {
        let mut batch = Batch::default();
        let old = self.tunnel(address);
        if old == ends {
            return batch;
        }
        let next = ends.and_then(|ends| self.take(&mut batch, ends, old.is_none()));
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
        batch
    }

    /// The ends of an address's tunnel.
    pub(super) fn tunnel(&self, address: Ipv6Addr) -> Option<Ends> {
        self.tunnels.get(&address).copied()
    }

    /// What has to be asked for so that a device is idle when one is needed.
    pub(super) fn spare(&mut self) -> Option<Batch> {
        if !self.idle.is_empty() || self.made >= MAX_DEVICES {
            return None;
        }
        let mut batch = Batch::default();
        let device = self.made;
        self.made += 1;
        batch.add_tunnel(&name(device), index(device), nowhere(device));
        if matches!(self.owner, Owner::Agent { .. }) {
            batch.refuse_all_from(&name(device));
        }
        self.idle.push_back((device, nowhere(device)));
        Some(batch)
    }

    /// The kernel has refused the last [spare](Self::spare) device.
    pub(super) fn give_up_spare(&mut self) {
        self.idle.pop_back();
    }

    /// The kernel has refused a part of what this address was to have, which had the tunnel `old` before: takes back all that it
    /// may have, whatever of that there is.
    pub(super) fn give_up(&mut self, address: Ipv6Addr, old: Option<Ends>) -> Batch {
        let mut batch = Batch::default();
        let new = self.tunnels.remove(&address);
        for device in [new, old].into_iter().flatten().filter_map(|ends| self.device(ends)) {
            self.part(&mut batch, address, device);
        }
        if let Some((device, true)) = new.and_then(|ends| self.drop_user(ends)) {
            batch.change_tunnel(index(device), nowhere(device));
            self.idle.push_back((device, nowhere(device)));
        }
        batch
    }

    /// The device with these ends.
    fn device(&self, ends: Ends) -> Option<u32> {
        let idle = || self.idle.iter().find(|(_, has)| *has == ends).map(|(device, _)| *device);
        self.used.get(&ends).map(|(device, _)| *device).or_else(idle)
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

    /// The device with these ends: one that has them, or one that is given them. The last one is for who has one to give back.
    fn take(&mut self, batch: &mut Batch, ends: Ends, is_first: bool) -> Option<u32> {
        if let Some((device, users)) = self.used.get_mut(&ends) {
            *users += 1;
            return Some(*device);
        }
        if is_first && self.made >= MAX_DEVICES && self.idle.len() < 2 {
            return None;
        }
        let as_before = self.idle.iter().position(|(_, before)| *before == ends);
        let device = match as_before {
            Some(position) => self.idle.remove(position)?.0,
            None => {
                let (device, _) = self.idle.pop_front()?;
                batch.change_tunnel(index(device), ends);
                device
            }
        };
        self.used.insert(ends, (device, 1));
        Some(device)
    }

    /// An address gets its first tunnel, or goes on to another one.
    fn lead(&self, batch: &mut Batch, address: Ipv6Addr, device: u32, is_first: bool) {
        let route = self.owner.route(address, device);
        match self.owner {
            Owner::MobileNode { home } if home == address => batch.replace_preferred_route(&route),
            Owner::MobileNode { .. } if is_first => {
                batch.add_address(self.interface, address.into(), 128);
                batch.add_source_route(address.into(), REGIONAL_TABLE, &route);
            }
            Owner::MobileNode { .. } => batch.replace_source_route(address.into(), REGIONAL_TABLE, &route),
            Owner::Agent { .. } => {
                batch.admit(address, &name(device));
                batch.replace_route(&route);
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
            _ if is_last => self.part(batch, address, device),
            Owner::MobileNode { .. } => {}
            Owner::Agent { .. } => batch.admit_no_more(address, &name(device)),
        }
    }

    /// Takes away all that an address has at a device.
    fn part(&self, batch: &mut Batch, address: Ipv6Addr, device: u32) {
        let route = self.owner.route(address, device);
        match self.owner {
            Owner::MobileNode { home } if home == address => batch.delete_preferred_route(&route),
            Owner::MobileNode { .. } => {
                batch.delete_source_route(address.into(), REGIONAL_TABLE, &route);
                batch.delete_address(self.interface, address.into(), 128);
            }
            Owner::Agent { .. } => {
                batch.delete_route(&route);
                batch.admit_no_more(address, &name(device));
            }
        }
    }
}

/// The ends of a device that has not been needed yet.
fn nowhere(device: u32) -> Ends {
    [Ipv6Addr::UNSPECIFIED, (u128::from(NOWHERE) + u128::from(device)).into()]
}

fn name(device: u32) -> String {
    format!("tnl{device}")
}

fn index(device: u32) -> u32 {
    FIRST_INDEX + device
}

#[cfg(test)]
mod tests;
