//! A mobile node's addresses, default routes and the gateway's neighbour entries on its radio interface.
//!
//! A care-of address comes as a host address and everything goes by way of the access router: two radios behind one
//! access router do not hear each other, as with the client isolation of a wireless LAN.

use anyhow::Context;
use samp_model::agent::{LinkAddress, LinkUp};
use samp_sys::netlink::{Batch, Netlink, Route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The radio interface and what is configured on it.
#[derive(Debug)]
pub struct RadioAddress {
    netlink: Netlink,
    interface: u32,
    configured: Option<LinkUp>,
}

impl RadioAddress {
    /// Nothing is configured yet on the interface with index `interface`.
    pub fn new(netlink: Netlink, interface: u32) -> Self {
        Self { netlink, interface, configured: None }
    }

    /// Replaces what is configured, in one batch: the old addresses first, so that there are never both.
    ///
    /// # Errors
    /// The kernel refuses a part of it; the interface is then between addresses.
    pub fn configure(&mut self, link: &LinkUp) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        for old in self.configured.take().iter().flat_map(|old| &old.addresses) {
            batch.delete_route(&self.default_route(old));
            batch.delete_neighbour(self.interface, old.gateway);
            batch.delete_address(self.interface, old.address, host_len(old.address));
        }
        for new in &link.addresses {
            batch.add_address(self.interface, new.address, host_len(new.address));
            batch.add_neighbour(self.interface, new.gateway, link.gateway_mac);
            batch.add_route(&self.default_route(new));
        }
        let applied = self.netlink.apply(batch);
        applied.with_context(|| format!("cannot configure the addresses of handoff {}", link.handoff))?;
        self.configured = Some(link.clone());
        Ok(())
    }

    fn default_route(&self, link: &LinkAddress) -> Route {
        let everything = match link.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Route {
            destination: (everything, 0),
            via: Some(link.gateway),
            index: self.interface,
            source: None,
            onlink: true,
        }
    }
}

/// The prefix length of a single address.
fn host_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
