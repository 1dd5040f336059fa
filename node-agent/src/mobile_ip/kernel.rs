//! The kernel's tunnels, as [`Devices`] says that they are to be.

use super::devices::{Devices, Owner};
use super::path::is_routable;
use samp_sys::netlink::{ApplyError, Netlink};
use std::error::Error;
use std::net::Ipv6Addr;

/// A node's tunnels in its kernel.
pub(super) struct KernelTunnels {
    netlink: Netlink,
    devices: Devices,
}

impl KernelTunnels {
    /// `netlink` is of the node's namespace; `interface` is the index of the one that gets a mobile node's regional address.
    ///
    /// # Errors
    /// The kernel has no such tunnels.
    pub(super) fn open(netlink: Netlink, owner: Owner, interface: u32) -> Result<Self, ApplyError> {
        let mut tunnels = Self { netlink, devices: Devices::new(owner, interface) };
        tunnels.have_spare()?;
        Ok(tunnels)
    }

    /// As [`Devices::set`]. What the kernel refuses is given up and told of, as an address that somebody has made up must not end
    /// the agent.
    pub(super) fn set(&mut self, address: Ipv6Addr, ends: Option<[Ipv6Addr; 2]>) {
        let Self { netlink, devices } = self;
        let ends = ends.filter(|ends| ends.iter().all(|end| is_routable(*end)));
        let old = devices.tunnel(address);
        if let Err(error) = netlink.apply(devices.set(address, ends)) {
            // Whatever of it there is not is refused.
            let _ = netlink.apply(devices.give_up(address, old));
            tracing::warn!(%address, ?ends, error = &error as &dyn Error, "no tunnel");
        } else if devices.tunnel(address) != ends {
            tracing::warn!(%address, ?ends, "no tunnel: there are as many as there may be");
        }
        if let Err(error) = self.have_spare() {
            tracing::warn!(error = &error as &dyn Error, "no tunnel for the next address");
        }
    }

    fn have_spare(&mut self) -> Result<(), ApplyError> {
        let Some(batch) = self.devices.spare() else { return Ok(()) };
        self.netlink.apply(batch).inspect_err(|_| self.devices.give_up_spare())
    }
}
