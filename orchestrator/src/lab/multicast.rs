//! Multicast routing: whoever speaks to the discovery group is heard by all servers, along shortest paths.
//!
//! The kernel asks when it meets a new source; the answer is the whole tree at once, so that it asks only once.

use super::apply::Network;
use crate::plan::{MAX_VIFS, Plan, TreeEntry};
use samp_model::topology::NodeId;
use samp_sys::multicast::{Miss, MulticastRouter, Version};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// All multicast routers of a lab, and who speaks where.
#[derive(Default)]
pub(super) struct Multicast {
    routers: BTreeMap<NodeId, Router>,
    sources: HashMap<IpAddr, Source>,
}

struct Router {
    socket: Arc<MulticastRouter>,
    /// Which interface numbers are taken.
    vifs: [bool; MAX_VIFS],
}

/// A care-of address in use.
struct Source {
    access_router: NodeId,
    /// Number of the access router's interface where it is heard.
    vif: u16,
    /// Routers that have an entry for it.
    installed: Vec<NodeId>,
}

/// A router whose kernel asks.
pub(super) type Missed = (NodeId, Miss);

/// Why a router cannot route multicast.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt} at router `{router}`")]
pub(super) struct MulticastError {
    attempt: &'static str,
    router: String,
    #[source]
    source: io::Error,
}

impl Multicast {
    /// Takes over multicast routing in every router; the kernels' questions come out of `missed`'s other end.
    pub(super) fn start(
        plan: &Plan,
        network: &Network,
        missed: &mpsc::Sender<Missed>,
    ) -> Result<Self, MulticastError> {
        let mut multicast = Self::default();
        let version = if plan.multicast.group.is_ipv4() { Version::Ipv4 } else { Version::Ipv6 };
        for (number, namespace) in plan.namespaces.iter().enumerate() {
            // Only routers' interfaces have numbers; a router without a link has nothing to forward.
            if namespace.interfaces.iter().all(|interface| interface.vif.is_none()) {
                continue;
            }
            let node = NodeId(number);
            let failed = |attempt| {
                let router = namespace.name.clone();
                move |source| MulticastError { attempt, router, source }
            };
            let socket = MulticastRouter::open_in(network.namespace(node), version);
            let socket = Arc::new(socket.map_err(failed("open multicast routing"))?);
            let mut vifs = [false; MAX_VIFS];
            for (vif, index) in namespace.interfaces.iter().filter_map(|i| Some((i.vif?, i.index))) {
                socket.add_interface(vif, index).map_err(failed("add a multicast interface"))?;
                vifs[usize::from(vif)] = true;
            }
            let readable =
                asynchronous(Arc::clone(&socket)).map_err(failed("listen to multicast routing"))?;
            tokio::spawn(listen(node, readable, missed.clone()));
            multicast.routers.insert(node, Router { socket, vifs });
        }
        Ok(multicast)
    }

    /// Adds a router's interface that came with a mobile node, and returns its number.
    ///
    /// # Errors
    /// `StorageFull` when the router has no number left.
    pub(super) fn add_interface(&mut self, router: NodeId, index: u32) -> io::Result<u16> {
        let no_router = || io::Error::new(io::ErrorKind::NotFound, "no multicast router");
        let router = self.routers.get_mut(&router).ok_or_else(no_router)?;
        let Some(free) = router.vifs.iter().position(|taken| !taken) else {
            let text = format!("all {MAX_VIFS} multicast interfaces are in use");
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        };
        router.socket.add_interface(free as u16, index)?;
        router.vifs[free] = true;
        Ok(free as u16)
    }

    /// An interface has left a router with its mobile node; the kernel has forgotten it on its own.
    pub(super) fn interface_left(&mut self, router: NodeId, vif: u16) {
        if let Some(router) = self.routers.get_mut(&router) {
            router.vifs[usize::from(vif)] = false;
        }
    }

    /// A care-of address is in use from now on: behind this access router, at this interface.
    pub(super) fn add_source(&mut self, address: IpAddr, access_router: NodeId, vif: u16) {
        self.sources.insert(address, Source { access_router, vif, installed: Vec::new() });
    }

    /// A care-of address is out of use: no router knows it any more, or it would be dropped where it comes next.
    pub(super) fn remove_source(&mut self, plan: &Plan, address: IpAddr) {
        let Some(source) = self.sources.remove(&address) else { return };
        for router in source.installed {
            let Some(found) = self.routers.get(&router) else { continue };
            if let Err(error) = found.socket.delete_entry(address, plan.multicast.group) {
                tracing::warn!(router = router.0, %address, %error, "cannot delete a multicast entry");
            }
        }
    }

    /// Answers a kernel's question. Who is not attached, or speaks to another group, is not forwarded.
    pub(super) fn answer(&mut self, plan: &Plan, (asker, miss): Missed) {
        if miss.group != plan.multicast.group {
            return tracing::debug!(router = asker.0, ?miss, "nobody listens to this group");
        }
        let Some(source) = self.sources.get_mut(&miss.source) else {
            return tracing::debug!(router = asker.0, ?miss, "this source is not attached");
        };
        let entries = plan.multicast.tree(source.access_router).entries;
        source.installed = entries.iter().map(|entry| entry.router).collect();
        // The last entry is the access router's: what it held back finds all others in place.
        for TreeEntry { router, arrives, leaves } in &entries {
            let Some(found) = self.routers.get(router) else { continue };
            let arrives = arrives.unwrap_or(source.vif);
            if let Err(error) = found.socket.add_entry(miss.source, miss.group, arrives, leaves) {
                tracing::error!(router = router.0, ?miss, %error, "cannot add a multicast entry");
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "the successor is unsafe; an Arc of an owned descriptor keeps it open and the same"
)]
fn asynchronous(socket: Arc<MulticastRouter>) -> io::Result<AsyncFd<Arc<MulticastRouter>>> {
    AsyncFd::new(socket)
}

async fn listen(node: NodeId, socket: AsyncFd<Arc<MulticastRouter>>, missed: mpsc::Sender<Missed>) {
    loop {
        let mut ready = match socket.readable().await {
            Ok(ready) => ready,
            Err(error) => {
                return tracing::error!(router = node.0, %error, "cannot wait for multicast routing");
            }
        };
        match socket.get_ref().next_miss() {
            Ok(Some(miss)) => {
                if missed.send((node, miss)).await.is_err() {
                    return;
                }
            }
            Ok(None) => ready.clear_ready(),
            Err(error) => {
                return tracing::error!(router = node.0, %error, "cannot read from multicast routing");
            }
        }
    }
}
