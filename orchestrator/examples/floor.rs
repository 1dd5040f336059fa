//! What the kernel itself takes for the network of a plan, for `scripts/bench-build`:
//!
//! ```text
//! floor raw|lab direct|wire TOPOLOGY
//! ```
//!
//! - `raw` builds it with messages written by hand into a buffer, one socket a namespace, 128 messages and one
//!   acknowledgement a datagram, and with nothing but namespaces, forwarding, veth pairs born in place, addresses and routes;
//! - `lab` builds it as labs do, without emulation and without agents;
//! - `direct` makes one veth pair of each link, as for netem; `wire` makes two, as for the userspace delay line.
//!
//! Prints the seconds for the namespaces and for the links, then keeps everything until its standard input ends.

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use samp_lab::lab::apply::Network;
use samp_lab::plan::{LOOPBACK, LinePlan, Machine, Plan, VethEnd};
use samp_model::control::Stage;
use samp_model::settings::LinkBackend;
use samp_model::topology;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [how, links, file] = &arguments[..] else { bail!("usage: floor raw|lab direct|wire TOPOLOGY") };
    let plan = plan(Path::new(file), links)?;
    samp_sys::process::raise_nofile_limit()?;
    match how.as_str() {
        "raw" => wait_with(raw(&plan)?),
        "lab" => wait_with(lab(&plan)?),
        _ => bail!("`{how}` is neither `raw` nor `lab`"),
    }
}

fn plan(file: &Path, links: &str) -> Result<Plan> {
    let mut topology = topology::load(file).ok().context("the topology is not valid")?;
    topology.emulation.links = match links {
        "direct" => LinkBackend::Netem,
        "wire" => LinkBackend::Userspace,
        _ => bail!("`{links}` is neither `direct` nor `wire`"),
    };
    let mut plan = Plan::new(&topology, &Machine { netem: true, ..Machine::probe()? })?;
    plan.line = LinePlan::default();
    for interface in plan.namespaces.iter_mut().flat_map(|namespace| &mut namespace.interfaces) {
        interface.netem = None;
    }
    Ok(plan)
}

/// Prints the times, and holds what was built.
fn wait_with<T>((built, [namespaces, links]): (T, [f64; 2])) -> Result<()> {
    println!("{namespaces:.3} {links:.3}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // The kernel frees it at the end of the process, as it does for a lab.
    std::mem::forget(built);
    Ok(())
}

fn lab(plan: &Plan) -> Result<(Network, [f64; 2])> {
    let began = Instant::now();
    let mut at = [0.0; 2];
    let network = Network::apply(plan, File::open("/proc")?, &mut |stage, done, total| {
        if done == total && stage != Stage::Emulation {
            at[usize::from(stage == Stage::Links)] = began.elapsed().as_secs_f64();
        }
        Ok(())
    })?;
    Ok((network, [at[0], at[1] - at[0]]))
}

/// A namespace and its netlink socket.
type Place = (File, OwnedFd);

fn raw(plan: &Plan) -> Result<(Vec<Place>, [f64; 2])> {
    // A thread of its own: this one's namespace is the host's.
    std::thread::scope(|scope| {
        let built = scope.spawn(|| {
            let began = Instant::now();
            let places = plan.namespaces.iter().map(|_| place()).collect::<Result<Vec<_>>>()?;
            let namespaces = began.elapsed().as_secs_f64();
            raw_links(plan, &places)?;
            Ok((places, [namespaces, began.elapsed().as_secs_f64() - namespaces]))
        });
        built.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn place() -> Result<Place> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace = File::open("/proc/thread-self/ns/net")?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    let route = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok((namespace, socket))
}

fn raw_links(plan: &Plan, places: &[Place]) -> Result<()> {
    let mut batches: Vec<Messages> = places.iter().map(|_| Messages::default()).collect();
    for veth in &plan.veths {
        batches[veth.ends[0].namespace].veth(plan, places, veth.ends);
    }
    for (batch, (_, socket)) in batches.iter_mut().zip(places) {
        batch.send(socket)?;
    }
    for (namespace, (_, socket)) in plan.namespaces.iter().zip(places).rev() {
        let mut batch = Messages::default();
        batch.up(LOOPBACK);
        namespace.interfaces.iter().for_each(|interface| batch.up(interface.index));
        for address in &namespace.addresses {
            batch.address(address.index, address.address, address.prefix_len);
        }
        for route in &namespace.routes {
            batch.route(route.destination, route.prefix_len, route.via, route.index, route.source);
        }
        batch.send(socket)?;
    }
    Ok(())
}

/// Netlink messages, one behind the other, and where each begins.
#[derive(Default)]
struct Messages {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

const MESSAGES_A_DATAGRAM: usize = 128;

// linux/rtnetlink.h, linux/if_link.h, linux/veth.h, linux/netlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const REQUEST: u16 = 0x1;
const ACK: u8 = 0x4;
const CREATE_EXCL: u16 = 0x400 | 0x200;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTNH_F_ONLINK: u32 = 4;
const IFF_UP: u32 = 1;

impl Messages {
    fn veth(&mut self, plan: &Plan, places: &[Place], [a, b]: [VethEnd; 2]) {
        self.message(RTM_NEWLINK, CREATE_EXCL, |messages| {
            messages.veth_end(plan, places, a);
            messages.nested(IFLA_LINKINFO, |messages| {
                messages.attribute(IFLA_INFO_KIND, b"veth");
                messages.nested(IFLA_INFO_DATA, |messages| {
                    messages.nested(VETH_INFO_PEER, |messages| messages.veth_end(plan, places, b));
                });
            });
        });
    }

    /// `struct ifinfomsg` and attributes.
    fn veth_end(&mut self, plan: &Plan, places: &[Place], end: VethEnd) {
        let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
        self.words([0, interface.index, 0, 0]);
        self.attribute(IFLA_IFNAME, format!("{}\0", interface.name).as_bytes());
        self.attribute(IFLA_ADDRESS, &interface.mac.0);
        self.attribute(IFLA_NET_NS_FD, &places[end.namespace].0.as_raw_fd().to_ne_bytes());
    }

    fn up(&mut self, index: u32) {
        self.message(RTM_SETLINK, 0, |messages| messages.words([0, index, IFF_UP, IFF_UP]));
    }

    /// `struct ifaddrmsg` and attributes.
    fn address(&mut self, index: u32, address: IpAddr, prefix_len: u8) {
        self.message(RTM_NEWADDR, CREATE_EXCL, |messages| {
            messages.words([u32::from_ne_bytes([family(address), prefix_len, 0, 0]), index]);
            messages.ip(IFA_LOCAL, address);
            messages.ip(IFA_ADDRESS, address);
        });
    }

    /// `struct rtmsg` and attributes: main table, protocol `static`, scope universe, unicast.
    fn route(&mut self, destination: IpAddr, prefix_len: u8, via: IpAddr, index: u32, source: IpAddr) {
        self.message(RTM_NEWROUTE, CREATE_EXCL, |messages| {
            let head = [[family(destination), prefix_len, 0, 0], [254, 4, 0, 1]].map(u32::from_ne_bytes);
            messages.words([head[0], head[1], RTNH_F_ONLINK]);
            messages.ip(RTA_DST, destination);
            messages.ip(RTA_GATEWAY, via);
            messages.ip(RTA_PREFSRC, source);
            messages.attribute(RTA_OIF, &index.to_ne_bytes());
        });
    }

    /// `struct nlmsghdr` and what `rest` appends.
    fn message(&mut self, kind: u16, flags: u16, rest: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.starts.push(start);
        self.words([0, u32::from(kind) | u32::from(flags | REQUEST) << 16, 0, 0]);
        rest(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn nested(&mut self, kind: u16, rest: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.attribute(kind, &[]);
        rest(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn ip(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend((value.len() as u16 + 4).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn words<const N: usize>(&mut self, words: [u32; N]) {
        self.bytes.extend(words.into_iter().flat_map(u32::to_ne_bytes));
    }

    /// The kernel answers the last message of a datagram, and those that fail.
    fn send(&mut self, socket: &OwnedFd) -> Result<()> {
        let mut answer = [0; 4096];
        let ends = self.starts.iter().copied().skip(MESSAGES_A_DATAGRAM).step_by(MESSAGES_A_DATAGRAM);
        for (starts, end) in self.starts.chunks(MESSAGES_A_DATAGRAM).zip(ends.chain([self.bytes.len()])) {
            let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else { continue };
            self.bytes[last + 6] |= ACK;
            send(socket.as_raw_fd(), &self.bytes[first..end], MsgFlags::empty())?;
            recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
            // `struct nlmsghdr`, then a negative error number
            let error = i32::from_ne_bytes(answer[16..20].try_into()?);
            ensure!(error == 0, std::io::Error::from_raw_os_error(-error));
        }
        Ok(())
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { nix::libc::AF_INET as u8 } else { nix::libc::AF_INET6 as u8 }
}
