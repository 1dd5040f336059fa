//! From the plan to the kernel: namespaces, links, addresses, routes, link emulation.
//!
//! Everything hangs on the descriptors in [`Network`]: when they are closed, all of it is gone.

use super::netem::{self, NetemError};
use crate::plan::{LinePlan, NamespacePlan, Plan};
use samp_emulation::{AccessSpec, DelayLine, LineSpec, PipeSpec, RadioSpec, StartError};
use samp_model::control::Stage;
use samp_model::topology::NodeId;
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{self, Batch, Netlink, VethEnd};
use std::io;

/// The kernel's half of a lab.
pub struct Network {
    /// In the order of [`Plan::namespaces`].
    pub(super) namespaces: Vec<Namespace>,
    /// Each in the namespace of the same number.
    pub(super) netlinks: Vec<Netlink>,
    /// None when nothing needs one.
    pub(super) line: Option<DelayLine>,
}

/// Why a plan could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Namespaces could not be created.
    #[error("cannot create {count} network namespaces")]
    Namespaces {
        /// How many.
        count: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A namespace could not be prepared.
    #[error("cannot prepare the namespace of {namespace}")]
    Prepare {
        /// Which one.
        namespace: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a part of the network.
    #[error("cannot set up the network of {namespace}")]
    Network {
        /// In which namespace.
        namespace: String,
        /// Why.
        #[source]
        source: netlink::ApplyError,
    },
    /// Links are not emulated as wanted.
    #[error("cannot set up the links of {namespace}")]
    Netem {
        /// In which namespace.
        namespace: String,
        /// Why.
        #[source]
        source: NetemError,
    },
    /// The delay line could not be started.
    #[error("cannot start the delay line")]
    Line(#[source] StartError),
    /// Nobody waits for the lab any more.
    #[error("whoever waited for the lab is gone")]
    Abandoned(#[source] io::Error),
}

/// Told how many steps of a stage are done, of how many; an error stops the work.
pub type Progress<'a> = dyn FnMut(Stage, usize, usize) -> io::Result<()> + Send + 'a;

impl Network {
    /// Creates everything in the plan. On failure nothing is left.
    ///
    /// # Errors
    /// The first part that failed.
    pub fn apply(plan: &Plan, progress: &mut Progress<'_>) -> Result<Network, ApplyError> {
        let (namespaces, mut netlinks) = create_namespaces(plan, progress)?;
        create_links(plan, &namespaces, &mut netlinks, progress)?;
        let line = emulate(plan, &namespaces, &mut netlinks, progress)?;
        Ok(Network { namespaces, netlinks, line })
    }

    /// A netlink socket in a node's namespace.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn open_netlink(&self, node: NodeId) -> io::Result<Netlink> {
        let open = || self.namespace(node).enter().and_then(|()| Netlink::open());
        // The thread ends in the namespace that it has entered.
        std::thread::scope(|scope| {
            scope.spawn(open).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A node's namespace.
    pub fn namespace(&self, node: NodeId) -> &Namespace {
        &self.namespaces[node.0]
    }
}

fn create_namespaces(
    plan: &Plan,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Namespace>, Vec<Netlink>), ApplyError> {
    let count = plan.namespaces.len();
    let failed = |source| ApplyError::Namespaces { count, source };
    let namespaces = Namespace::create_many(count).map_err(failed)?;
    // One thread enters one namespace after the other and ends in the last.
    let netlinks = std::thread::scope(|scope| {
        let prepare = || {
            let prepared =
                namespaces.iter().zip(&plan.namespaces).enumerate().map(|(done, (namespace, plan))| {
                    let netlink = prepare(namespace, plan)
                        .map_err(|source| ApplyError::Prepare { namespace: plan.name.clone(), source })?;
                    progress(Stage::Namespaces, done + 1, count).map_err(ApplyError::Abandoned)?;
                    Ok(netlink)
                });
            prepared.collect::<Result<Vec<_>, _>>()
        };
        let thread = std::thread::Builder::new().name("namespaces".into()).spawn_scoped(scope, prepare);
        let thread = thread.map_err(failed)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok((namespaces, netlinks))
}

/// Moves the calling thread into the namespace, sets its kernel parameters and opens its netlink socket.
fn prepare(namespace: &Namespace, plan: &NamespacePlan) -> io::Result<Netlink> {
    namespace.enter()?;
    for sysctl in &plan.sysctls {
        match samp_sys::sysctl::write(sysctl.path, sysctl.value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.kind() == io::ErrorKind::NotFound && sysctl.is_ipv6_off() => {}
            result => result?,
        }
    }
    Netlink::open()
}

fn create_links(
    plan: &Plan,
    namespaces: &[Namespace],
    netlinks: &mut [Netlink],
    progress: &mut Progress<'_>,
) -> Result<(), ApplyError> {
    let total = 2 * plan.namespaces.len();
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(Stage::Links, done, total).map_err(ApplyError::Abandoned)
    };
    // The kernel looks for the first end's index in the socket's namespace, so each pair is created from there.
    let mut births: Vec<Batch> = plan.namespaces.iter().map(|_| Batch::default()).collect();
    for veth in &plan.veths {
        let [a, b] = veth.ends.map(|end| {
            let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
            VethEnd {
                name: &interface.name,
                index: Some(interface.index),
                mac: Some(interface.mac.0),
                namespace: Some(&namespaces[end.namespace]),
            }
        });
        births[veth.ends[0].namespace].add_veth(a, b);
    }
    for (number, batch) in births.into_iter().enumerate() {
        apply_batch(plan, netlinks, number, batch)?;
        step()?;
    }
    // The wire first: an interface whose peer is up passes packets at once when it comes up itself, the other way
    // round when the kernel gets to it, which may be a second later. The delay line does not care.
    for number in (0..plan.namespaces.len()).rev() {
        apply_batch(plan, netlinks, number, configuration(&plan.namespaces[number]))?;
        step()?;
    }
    Ok(())
}

/// Interfaces up, then what hangs on them.
fn configuration(plan: &NamespacePlan) -> Batch {
    let mut batch = Batch::default();
    batch.set_up(crate::plan::LOOPBACK);
    for interface in plan.interfaces.iter().filter(|interface| interface.up) {
        batch.set_up(interface.index);
    }
    for address in &plan.addresses {
        batch.add_address(address.index, address.address, address.prefix_len);
    }
    for neighbour in &plan.neighbours {
        batch.add_neighbour(neighbour.index, neighbour.address, neighbour.mac.0);
    }
    for route in &plan.routes {
        batch.add_route(&netlink::Route {
            destination: (route.destination, route.prefix_len),
            via: Some(route.via),
            index: route.index,
            source: Some(route.source),
            onlink: true,
        });
    }
    batch
}

fn emulate(
    plan: &Plan,
    namespaces: &[Namespace],
    netlinks: &mut [Netlink],
    progress: &mut Progress<'_>,
) -> Result<Option<DelayLine>, ApplyError> {
    let total = plan.namespaces.len() + 1;
    for (number, namespace) in plan.namespaces.iter().enumerate() {
        netem::emulate(namespace, &mut netlinks[number])
            .map_err(|source| ApplyError::Netem { namespace: namespace.name.clone(), source })?;
        progress(Stage::Emulation, number + 1, total).map_err(ApplyError::Abandoned)?;
    }
    let line = match &plan.line {
        line if line.is_empty() => None,
        line => Some(DelayLine::start(&namespaces[plan.wire()], line_spec(line)).map_err(ApplyError::Line)?),
    };
    progress(Stage::Emulation, total, total).map_err(ApplyError::Abandoned)?;
    Ok(line)
}

fn apply_batch(plan: &Plan, netlinks: &mut [Netlink], number: usize, batch: Batch) -> Result<(), ApplyError> {
    if batch.is_empty() {
        return Ok(());
    }
    netlinks[number]
        .apply(batch)
        .map_err(|source| ApplyError::Network { namespace: plan.namespaces[number].name.clone(), source })
}

fn line_spec(plan: &LinePlan) -> LineSpec {
    LineSpec {
        pipes: plan.pipes.iter().map(|pipe| PipeSpec { ends: pipe.ends, quality: pipe.quality }).collect(),
        radios: plan
            .radios
            .iter()
            .map(|radio| RadioSpec { index: radio.index, mac: radio.mac.0, up: radio.up, down: radio.down })
            .collect(),
        access: plan.access.iter().map(|&index| AccessSpec { index }).collect(),
        seed: plan.seed,
    }
}
