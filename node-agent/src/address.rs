//! A mobile node's addresses, default routes and the gateway's neighbour entries on its radio interface.
//!
//! A care-of address comes as a host address and everything goes by way of the access router: two radios behind one
//! access router do not hear each other, as with the client isolation of a wireless LAN.

use anyhow::Context;
use samp_model::agent::{LinkAddress, LinkUp};
use samp_model::settings::Dad;
use samp_sys::netlink::{Batch, Netlink, Route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The radio interface and what is configured on it.
#[derive(Debug)]
pub struct RadioAddress {
    netlink: Netlink,
    interface: u32,
    configured: Option<LinkUp>,
    /// Whether its gateways are known.
    is_routed: bool,
    /// Whether the default routes are by way of them.
    is_default: bool,
    /// Where there are two radios, or a home address: the routing table for packets from this one's addresses.
    table: Option<u8>,
    /// Whether the node has a home address, whose IPv6 default route is another one.
    has_home_address: bool,
}

impl RadioAddress {
    /// Nothing is configured yet on the interface with index `interface`.
    pub fn new(netlink: Netlink, interface: u32) -> Self {
        Self {
            netlink,
            interface,
            configured: None,
            is_routed: false,
            is_default: false,
            table: None,
            has_home_address: false,
        }
    }

    /// One of two radios: what is sent from its addresses leaves by it, whichever has the default routes. `table` is a routing
    /// table of its own.
    pub fn beside(netlink: Netlink, interface: u32, table: u8) -> Self {
        Self { table: Some(table), ..Self::new(netlink, interface) }
    }

    /// One of a node with a home address: only what is sent from a care-of address leaves by it as it is.
    pub fn below_home_address(self) -> Self {
        Self { has_home_address: true, ..self }
    }

    /// Replaces what is configured, in one batch: the old addresses first, so that there are never both. With
    /// [`Dad::On`] nothing leaves the node before the new ones are [unique](Self::use_checked).
    ///
    /// # Errors
    /// The kernel refuses a part of it; the interface is then between addresses.
    pub fn configure(&mut self, link: &LinkUp, dad: Dad) -> anyhow::Result<()> {
        let mut batch = self.removal();
        for new in &link.addresses {
            match (new.address, dad) {
                (IpAddr::V6(address), Dad::On | Dad::Optimistic) => {
                    let is_optimistic = dad == Dad::Optimistic;
                    batch.add_checked_address(self.interface, address, host_len(new.address), is_optimistic);
                }
                (address, _) => batch.add_address(self.interface, address, host_len(address)),
            }
        }
        if dad != Dad::On {
            self.add_routes(&mut batch, link);
        }
        let applied = self.netlink.apply(batch);
        applied.with_context(|| format!("cannot configure the addresses of handoff {}", link.handoff))?;
        self.is_routed = dad != Dad::On;
        self.is_default = self.is_routed;
        self.configured = Some(link.clone());
        Ok(())
    }

    /// The addresses that were configured with [`Dad::On`] can be used. With a route before, the kernel would send from
    /// its link-local address meanwhile.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn use_checked(&mut self) -> anyhow::Result<()> {
        let Some(link) = &self.configured else { return Ok(()) };
        let mut batch = Batch::default();
        self.add_routes(&mut batch, link);
        self.netlink.apply(batch).context("cannot configure routes")?;
        self.is_routed = true;
        self.is_default = true;
        Ok(())
    }

    /// The addresses that are configured.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.configured.iter().flat_map(|link| &link.addresses).map(|link| link.address)
    }

    /// Index of the interface.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Another radio has the default routes now; the addresses stay.
    pub fn yield_default(&mut self) {
        self.is_default = false;
    }

    fn add_routes(&self, batch: &mut Batch, link: &LinkUp) {
        for new in &link.addresses {
            batch.add_neighbour(self.interface, new.gateway, link.gateway_mac);
            if let Some(table) = self.table {
                batch.add_source_route(new.address, table, &self.default_route(new));
            }
            // In the place of another radio's, so that there always is one.
            if self.has_default(new) {
                batch.replace_route(&self.default_route(new));
            }
        }
    }

    /// Removes what is configured.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn clear(&mut self) -> anyhow::Result<()> {
        let batch = self.removal();
        self.netlink.apply(batch).context("cannot remove the addresses")
    }

    /// What takes the present addresses away; they are forgotten.
    fn removal(&mut self) -> Batch {
        let mut batch = Batch::default();
        for old in self.configured.take().iter().flat_map(|old| &old.addresses) {
            if self.is_default && self.has_default(old) {
                batch.delete_route(&self.default_route(old));
            }
            if self.is_routed {
                if let Some(table) = self.table {
                    batch.delete_source_route(old.address, table, &self.default_route(old));
                }
                batch.delete_neighbour(self.interface, old.gateway);
            }
            batch.delete_address(self.interface, old.address, host_len(old.address));
        }
        batch
    }

    /// Whether what has no source yet leaves by the radio as it is.
    fn has_default(&self, link: &LinkAddress) -> bool {
        !(self.has_home_address && link.address.is_ipv6())
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
            mtu: None,
        }
    }
}

/// The prefix length of a single address.
fn host_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
