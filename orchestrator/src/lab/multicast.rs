//! Multicast routing: whoever speaks to the discovery group is heard by all servers, along shortest paths.
//!
//! The kernel asks when it meets a new source; the answer is the whole tree at once, so that it asks only once.

use super::namespaces::Namespaces;
use crate::plan::{MAX_VIFS, Plan, TreeEntry};
use samp_model::topology::NodeId;
use samp_sys::keeper::{Keeper, Misses, RouterChange};
use samp_sys::multicast::{Miss, Version};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// All multicast routers of a lab, and who speaks where.
#[derive(Default)]
pub(super) struct Multicast {
    keepers: Vec<Arc<Keeper>>,
    routers: BTreeMap<NodeId, Router>,
    sources: HashMap<IpAddr, Source>,
}

/// A router; the keeper of its namespace holds its socket.
struct Router {
    keeper: usize,
    /// The number of its namespace there.
    own: usize,
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
    /// Takes over multicast routing in every router; the kernels' questions, which the keepers hear, come out of
    /// `missed`'s other end.
    pub(super) fn start(
        plan: &Plan,
        namespaces: &Namespaces,
        misses: Vec<Misses>,
        missed: &mpsc::Sender<Missed>,
    ) -> Result<Self, MulticastError> {
        let mut multicast = Self { keepers: namespaces.keepers().to_vec(), ..Self::default() };
        let version = if plan.multicast.group.is_ipv4() { Version::Ipv4 } else { Version::Ipv6 };
        let failed = |attempt, number: usize| {
            let router = plan.namespaces[number].name.clone();
            move |source| MulticastError { attempt, router, source }
        };
        let mut changes: Vec<Vec<(usize, RouterChange)>> = vec![Vec::new(); multicast.keepers.len()];
        for (number, namespace) in plan.namespaces.iter().enumerate() {
            // Only routers' interfaces have numbers; a router without a link has nothing to forward.
            if namespace.interfaces.iter().all(|interface| interface.vif.is_none()) {
                continue;
            }
            let (keeper, own) = namespaces.place(number);
            let mut vifs = [false; MAX_VIFS];
            changes[keeper].push((own, RouterChange::Open(version)));
            for (vif, index) in namespace.interfaces.iter().filter_map(|i| Some((i.vif?, i.index))) {
                changes[keeper].push((own, RouterChange::AddInterface { vif, index }));
                vifs[usize::from(vif)] = true;
            }
            multicast.routers.insert(NodeId(number), Router { keeper, own, vifs });
        }
        for (number, (keeper, changes)) in multicast.keepers.iter().zip(changes).enumerate() {
            let routers: Vec<usize> =
                changes.iter().map(|&(own, _)| namespaces.number(number, own)).collect();
            if let Some((position, error)) = keeper.change(changes).into_iter().next() {
                return Err(failed("route multicast", routers[position])(error));
            }
        }
        for (keeper, misses) in misses.into_iter().enumerate() {
            let readable = asynchronous(misses).map_err(failed("listen to multicast routing", 0))?;
            let first = namespaces.number(keeper, 0);
            tokio::spawn(listen(first, readable, missed.clone()));
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
        let change = RouterChange::AddInterface { vif: free as u16, index };
        match self.keepers[router.keeper].change(vec![(router.own, change)]).pop() {
            Some((_, error)) => Err(error),
            None => {
                router.vifs[free] = true;
                Ok(free as u16)
            }
        }
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
        let Some(Source { installed, .. }) = self.sources.remove(&address) else { return };
        let group = plan.multicast.group;
        let delete = |router| (router, RouterChange::DeleteEntry { source: address, group });
        self.change(installed.into_iter().map(delete));
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
        let vif = source.vif;
        let Some((first, others)) = entries.split_last() else { return };
        let entry = |TreeEntry { router, arrives, leaves }: &TreeEntry| {
            let (source, group, arrives) = (miss.source, miss.group, arrives.unwrap_or(vif));
            (*router, RouterChange::AddEntry { source, group, arrives, leaves: leaves.clone() })
        };
        // The last entry is the access router's: what it held back finds all others in place.
        self.change(others.iter().map(entry));
        self.change([entry(first)].into_iter());
    }

    /// Changes routers, in any order; what fails is logged.
    fn change(&self, changes: impl Iterator<Item = (NodeId, RouterChange)>) {
        let mut orders = vec![Vec::new(); self.keepers.len()];
        for (node, change) in changes {
            let Some(router) = self.routers.get(&node) else { continue };
            orders[router.keeper].push((router.own, change));
        }
        for (keeper, changes) in self.keepers.iter().zip(orders).filter(|(_, changes)| !changes.is_empty()) {
            for (_, error) in keeper.change(changes) {
                tracing::error!(%error, "cannot change a multicast entry");
            }
        }
    }
}

#[expect(deprecated, reason = "the successor is unsafe; what is wrapped owns its descriptor")]
fn asynchronous(misses: Misses) -> io::Result<AsyncFd<Misses>> {
    AsyncFd::with_interest(misses, Interest::READABLE)
}

/// Passes on what a keeper's routers ask; `first` is the number of the first namespace that it keeps.
async fn listen(first: usize, misses: AsyncFd<Misses>, missed: mpsc::Sender<Missed>) {
    loop {
        let mut ready = match misses.readable().await {
            Ok(ready) => ready,
            Err(error) => return tracing::error!(%error, "cannot wait for multicast routing"),
        };
        let Some(questions) = misses.get_ref().take() else { return };
        for (own, question) in questions {
            let router = first + own;
            match question {
                Ok(miss) if missed.send((NodeId(router), miss)).await.is_err() => return,
                Ok(_) => {}
                Err(error) => tracing::error!(router, %error, "cannot read from multicast routing"),
            }
        }
        ready.clear_ready();
    }
}
