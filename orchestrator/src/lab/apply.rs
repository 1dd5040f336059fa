//! From the plan to the kernel: namespaces, links, addresses, routes, link emulation.
//!
//! Everything hangs on the namespaces in [`Network`]: when it is dropped, all of it is gone. Each namespace is opened,
//! configured in few messages and closed again, so that their number does not matter.

use super::mounts::FreshProc;
use super::namespaces::Namespaces;
use super::netem::{self, NetemError};
use crate::plan::{LinePlan, NamespacePlan, Plan, VethEnd};
use samp_emulation::{AccessSpec, DelayLine, KernelSwitch, LineSpec, PipeSpec, RadioSpec, StartError};
use samp_model::control::Stage;
use samp_model::settings::AttachMode;
use samp_sys::keeper::Misses;
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{self, Batch, Netlink};
use std::fs::File;
use std::io;
use std::thread;

/// The kernel's half of a lab.
pub struct Network {
    /// In the order of [`Plan::namespaces`].
    pub(super) namespaces: Namespaces,
    /// What the multicast routers ask, by keeper; taken by [`Multicast::start`](super::multicast::Multicast::start).
    pub(super) misses: Vec<Misses>,
    /// None when nothing needs one.
    pub(super) line: Option<DelayLine>,
    /// With `attach: bpf`, what has the radios in the place of the delay line.
    pub(super) switch: Option<KernelSwitch>,
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
    /// The kernel's switch could not be started.
    #[error("cannot start the switch of BPF programs")]
    Switch(#[source] io::Error),
    /// Nobody waits for the lab any more.
    #[error("whoever waited for the lab is gone")]
    Abandoned(#[source] io::Error),
}

/// Told how many steps of a stage are done, of how many; an error stops the work.
pub type Progress<'a> = dyn FnMut(Stage, usize, usize) -> io::Result<()> + Send + 'a;

impl Network {
    /// Creates everything in the plan. On failure nothing is left. `proc` is the root of a `/proc` that shows this
    /// process.
    ///
    /// # Errors
    /// The first part that failed.
    pub fn apply(plan: &Plan, proc: File, progress: &mut Progress<'_>) -> Result<Network, ApplyError> {
        let count = plan.namespaces.len();
        let failed = |source| ApplyError::Namespaces { count, source };
        let (namespaces, misses) = Namespaces::create(proc, count).map_err(failed)?;
        // A thread that goes from namespace to namespace and ends in the last.
        let (line, switch) = thread::scope(|scope| {
            let build = || {
                let mut site = Site { plan, namespaces: &namespaces, progress };
                site.prepare()?;
                site.create_links()?;
                site.emulate()
            };
            let thread = thread::Builder::new().name("builder".into()).spawn_scoped(scope, build);
            thread.map_err(failed)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(Network { namespaces, misses, line, switch })
    }

    /// A netlink socket in namespace `number`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn open_netlink(&self, number: usize) -> io::Result<Netlink> {
        self.namespaces.open(number).and_then(|namespace| Netlink::open_in(&namespace))
    }

    /// Applies requests in namespace `number`.
    pub(super) fn configure(&self, number: usize, batch: Batch) -> Result<(), netlink::ApplyError> {
        self.open_netlink(number).map_err(netlink::ApplyError::Open)?.apply(batch)
    }
}

/// A plan that is being applied by a thread which enters one namespace after the other.
struct Site<'a, 'p> {
    plan: &'a Plan,
    namespaces: &'a Namespaces,
    progress: &'a mut Progress<'p>,
}

impl Site<'_, '_> {
    /// Kernel parameters.
    fn prepare(&mut self) -> Result<(), ApplyError> {
        let count = self.plan.namespaces.len();
        let mut proc = None;
        for (number, namespace) in self.plan.namespaces.iter().enumerate() {
            if number > 0 && number.is_multiple_of(NAMESPACES_PER_PROC) {
                drop(proc.take());
                proc = FreshProc::mount();
            }
            let prepared = self.namespaces.open(number).and_then(|opened| {
                opened.enter()?;
                set_parameters(namespace)
            });
            prepared.map_err(|source| ApplyError::Prepare { namespace: namespace.name.clone(), source })?;
            self.step(Stage::Namespaces, number + 1, count)?;
        }
        Ok(())
    }

    fn create_links(&mut self) -> Result<(), ApplyError> {
        let plan = self.plan;
        let count = plan.namespaces.len();
        // The kernel looks for the first end's index in the socket's namespace, so each pair is created from there.
        let mut births = vec![Vec::new(); count];
        for veth in &plan.veths {
            births[veth.ends[0].namespace].push(veth.ends);
        }
        let wire = self.open(plan.wire())?;
        for (number, births) in births.iter().enumerate() {
            let mut batch = Batch::default();
            for ends in births {
                let [a, b] = *ends;
                let there = if b.namespace == plan.wire() { wire.clone() } else { self.open(b.namespace)? };
                batch.add_veth(self.birth(a, None), self.birth(b, Some(&there)));
            }
            self.apply(number, batch)?;
            self.step(Stage::Links, number + 1, 2 * count)?;
        }
        // The wire first: an interface whose peer is up passes packets at once when it comes up itself, the other way
        // round when the kernel gets to it, which may be a second later. The delay line does not care.
        for number in (0..count).rev() {
            self.apply(number, configuration(&plan.namespaces[number]))?;
            self.step(Stage::Links, 2 * count - number, 2 * count)?;
        }
        Ok(())
    }

    fn emulate(&mut self) -> Result<(Option<DelayLine>, Option<KernelSwitch>), ApplyError> {
        let plan = self.plan;
        let total = plan.namespaces.len() + 1;
        for (number, namespace) in plan.namespaces.iter().enumerate() {
            if namespace.interfaces.iter().any(|interface| interface.netem.is_some()) {
                netem::emulate(namespace, &mut self.netlink(number)?)
                    .map_err(|source| ApplyError::Netem { namespace: namespace.name.clone(), source })?;
            }
            self.step(Stage::Emulation, number + 1, total)?;
        }
        let wire = self.open(plan.wire())?;
        let mut spec = line_spec(&plan.line);
        let mut switch = None;
        if plan.emulation.attach == AttachMode::Bpf {
            let radios: Vec<_> = spec.radios.drain(..).map(|radio| (radio.index, radio.mac)).collect();
            let access: Vec<_> = spec.access.drain(..).map(|access| access.index).collect();
            switch = Some(KernelSwitch::start(&wire, &radios, &access).map_err(ApplyError::Switch)?);
        }
        let is_idle = spec.pipes.is_empty() && spec.radios.is_empty();
        let line = (!is_idle).then(|| DelayLine::start(&wire, spec)).transpose().map_err(ApplyError::Line)?;
        self.step(Stage::Emulation, total, total)?;
        Ok((line, switch))
    }

    /// One end of a veth pair; without a namespace it is born where the socket is.
    fn birth<'n>(&'n self, end: VethEnd, namespace: Option<&'n Namespace>) -> netlink::VethEnd<'n> {
        let interface = &self.plan.namespaces[end.namespace].interfaces[end.interface];
        netlink::VethEnd {
            name: &interface.name,
            index: Some(interface.index),
            mac: Some(interface.mac.0),
            namespace,
        }
    }

    fn open(&self, number: usize) -> Result<Namespace, ApplyError> {
        self.namespaces.open(number).map_err(|source| ApplyError::Prepare {
            namespace: self.plan.namespaces[number].name.clone(),
            source,
        })
    }

    /// Applies requests in namespace `number`.
    fn apply(&self, number: usize, batch: Batch) -> Result<(), ApplyError> {
        if batch.is_empty() {
            return Ok(());
        }
        let namespace = &self.plan.namespaces[number].name;
        let applied = self.netlink(number)?.apply(batch);
        applied.map_err(|source| ApplyError::Network { namespace: namespace.clone(), source })
    }

    /// A socket in namespace `number`, which the thread enters for that.
    fn netlink(&self, number: usize) -> Result<Netlink, ApplyError> {
        let socket = self.namespaces.open(number).and_then(|opened| {
            opened.enter()?;
            Netlink::open()
        });
        let namespace = &self.plan.namespaces[number].name;
        socket.map_err(|source| ApplyError::Prepare { namespace: namespace.clone(), source })
    }

    fn step(&mut self, stage: Stage, done: usize, total: usize) -> Result<(), ApplyError> {
        (self.progress)(stage, done, total).map_err(ApplyError::Abandoned)
    }
}

/// Namespaces whose parameters are set through one mount of `/proc`: the kernel keeps the files of all of them under the
/// same names, and searches them one after the other.
const NAMESPACES_PER_PROC: usize = 200;

/// Sets the kernel parameters of the calling thread's namespace.
fn set_parameters(plan: &NamespacePlan) -> io::Result<()> {
    for sysctl in &plan.sysctls {
        match samp_sys::sysctl::write(sysctl.path, sysctl.value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.kind() == io::ErrorKind::NotFound && sysctl.is_ipv6_off() => {}
            result => result?,
        }
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
            mtu: route.mtu,
        });
    }
    batch
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
