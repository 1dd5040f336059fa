//! Mobile IPv6's tunnels: what [`ForwardingTable`](samp_protocol::mobile_ip::ForwardingTable) says, done to the datagrams of
//! this node's kernel.
//!
//! ```text
//! application ─▶ kernel ─▶ mip0 ═ mip1 ─▶ agent ─▶ wrapped ─▶ raw socket ─▶ radio0, or a server's interface
//! application ◀─ kernel ◀─ mip0 ═ mip1 ◀─ agent ◀─ unwrapped ◀─ packet socket ◀─┘
//! ```
//! The two are a veth pair inside the node: what the kernel routes there comes out at the agent's packet socket, and the
//! other way round. Unlike a TUN device it takes no file of the host's. The kernel gets what is in tunnels, too, and
//! knows nothing of it; the plan keeps it from complaining.
//!
//! With `emulation: { tunnels: kernel }` the kernel's own devices do it, and only messages come here.

mod devices;
mod kernel;
mod path;

use crate::watch::watch;
use anyhow::{Context, bail};
use devices::Owner;
pub use devices::{MTU_AT_MOBILE_NODE, MTU_TO_HOME, MTU_TO_REGIONAL};
use kernel::KernelTunnels;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn6, sendmsg};
use path::{Fate, Paths, Place};
use samp_model::agent::{Mobility, Role};
use samp_model::settings::TunnelBackend;
use samp_protocol::Input;
use samp_protocol::mobile_ip::{Datagram, Forwarding, Packet};
use samp_sys::clock::realtime_nanos;
use samp_sys::frames::FrameSocket;
use samp_sys::netlink::Netlink;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice};
use std::mem;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's end of the veth pair: its name and its link-layer address, which nobody outside of the node ever hears of.
pub const KERNEL_END: (&str, [u8; 6]) = ("mip0", [0x02, 0x5a, 0xff, 0xff, 0xff, 0]);
/// The agent's end.
pub const AGENT_END: (&str, [u8; 6]) = ("mip1", [0x02, 0x5a, 0xff, 0xff, 0xff, 1]);
/// Where the kernel sends what it routes there. No interface has it, so the kernel does not take its own datagrams back in.
pub const BEYOND: [u8; 6] = [0x02, 0x5a, 0xff, 0xff, 0xff, 2];

/// EtherType of IPv6.
const ETH_P_IPV6: u16 = 0x86dd;
/// Where the IPv6 header says what is next.
const NEXT_HEADER: u32 = 6;
/// What tunnels begin with (IPv6), and mobility messages: routing, destination options and Mobility Header.
const HEARD: [u8; 4] = [41, 43, 60, 135];
/// The longest datagram.
const DATAGRAM_MAX: usize = 40 + 65_535;

/// A node's sockets for datagrams in tunnels, and where those go.
pub(crate) struct Tunnels {
    paths: Paths,
    frames: AsyncFd<FrameSocket>,
    /// Datagrams leave here as they are (IPV6_HDRINCL).
    raw: Socket,
    /// With the kernel's tunnels.
    kernel: Option<KernelTunnels>,
    kernel_end: u32,
    agent_end: u32,
    buffer: Vec<u8>,
    dropped: u64,
    cost: Cost,
}

/// How long datagrams were here, since that was asked last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub datagrams: u64,
    pub took: Duration,
    pub longest: Duration,
}

/// What a look at the sockets gave.
#[expect(clippy::large_enum_variant, reason = "moved once and never stored, as the input itself")]
pub(crate) enum Received {
    /// Something for the protocol node.
    Input(Input),
    /// A datagram that is done with.
    Passed,
    /// Nothing more for now.
    Nothing,
}

impl Tunnels {
    /// Opens the sockets of a node in the calling thread's network namespace; none for a node without tunnels.
    ///
    /// # Errors
    /// A privilege or an interface is missing.
    pub(crate) fn open(role: &Role) -> anyhow::Result<Option<Self>> {
        let (place, owner, backend) = match role {
            Role::MobileNode { mobility: Mobility::MobileIp { home, tunnels, .. }, .. } => {
                let place = Place::Mobile { home: *home, care_of: Vec::new() };
                (place, Owner::MobileNode { home: *home }, *tunnels)
            }
            Role::MobilityAgent(agent) => {
                let addresses = [Some(agent.address), agent.map].into_iter().flatten().collect();
                (Place::Agent { addresses }, Owner::agent(agent), agent.tunnels)
            }
            _ => return Ok(None),
        };
        let mut netlink = Netlink::open().context("cannot open a netlink socket")?;
        let mut index = |name| match netlink.link_index(name) {
            Ok(Some(index)) => Ok(index),
            Ok(None) => bail!("there is no interface {name}"),
            Err(error) => Err(error).with_context(|| format!("cannot look up interface {name}")),
        };
        let (kernel_end, agent_end) = (index(KERNEL_END.0)?, index(AGENT_END.0)?);
        samp_sys::offload::switch_off(KERNEL_END.0).context("cannot have the kernel compute checksums")?;
        let frames = FrameSocket::open(ETH_P_IPV6).context("cannot open a packet socket")?;
        let heard = if backend == TunnelBackend::Kernel { &HEARD[1..] } else { &HEARD };
        frames.hear_only(agent_end, NEXT_HEADER, heard).context("cannot filter what is heard")?;
        let raw = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::from(libc::IPPROTO_RAW)));
        let kernel =
            (backend == TunnelBackend::Kernel).then(|| KernelTunnels::open(netlink, owner, kernel_end));
        Ok(Some(Self {
            paths: Paths::new(place, backend),
            frames: watch(frames, Interest::READABLE)?,
            raw: raw.context("cannot open a raw socket")?,
            kernel: kernel.transpose().context("cannot make a tunnel of the kernel's")?,
            kernel_end,
            agent_end,
            buffer: vec![0; DATAGRAM_MAX],
            dropped: 0,
            cost: Cost::default(),
        }))
    }

    /// Waits for a datagram.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.frames.readable().await.map(drop)
    }

    /// Takes the next datagram, if one waits, and does with it what is to be done.
    ///
    /// # Errors
    /// The socket is broken; what a datagram is like is never an error.
    pub(crate) fn try_receive(&mut self) -> io::Result<Received> {
        let Self { frames, buffer, .. } = self;
        let received = frames.try_io(Interest::READABLE, |frames| {
            frames.receive(buffer)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        let arrival = match received {
            Ok(arrival) => arrival,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        };
        let Some(datagram) = Datagram::of_frame(&self.buffer[..arrival.length]) else {
            return Ok(Received::Passed);
        };
        let destination = datagram.destination();
        let is_outbound = arrival.interface == self.agent_end;
        let fate = match arrival.interface {
            _ if is_outbound => self.paths.outbound(datagram),
            // This agent has written it.
            kernel_end if kernel_end == self.kernel_end => Fate::Pass,
            _ => self.paths.inbound(datagram),
        };
        let is_through = matches!(fate, Fate::Deliver(_) | Fate::Send(..));
        let input = self.meet(fate);
        if is_through {
            // The time of day, which may have been set meanwhile.
            let took = Duration::from_nanos(realtime_nanos().saturating_sub(arrival.at));
            self.cost.datagrams += 1;
            self.cost.took += took;
            self.cost.longest = self.cost.longest.max(took);
        }
        let is_told = is_outbound && self.paths.table.take_watch(destination);
        let input = input.or_else(|| is_told.then_some(Input::InUse(destination)));
        Ok(input.map_or(Received::Passed, Received::Input))
    }

    /// What datagrams have cost since this was asked last.
    pub(crate) fn take_cost(&mut self) -> Cost {
        mem::take(&mut self.cost)
    }

    /// What is to be done to datagrams from now on.
    pub(crate) fn apply(&mut self, change: Forwarding) {
        self.paths.apply(change);
        if let (Some(kernel), Forwarding::From(address, ends) | Forwarding::To(address, ends)) =
            (&mut self.kernel, change)
        {
            kernel.set(address, ends);
        }
    }

    /// Sends a message of the protocol node's.
    pub(crate) fn send(&mut self, packet: &Packet) {
        let fate = self.paths.send(packet);
        self.meet(fate);
    }

    /// These are the mobile node's care-of addresses now, each with the index of its interface.
    pub(crate) fn set_care_of(&mut self, addresses: impl Iterator<Item = (Ipv6Addr, u32)>) {
        if let Place::Mobile { care_of, .. } = &mut self.paths.place {
            *care_of = addresses.collect();
        }
    }

    /// Does with a datagram what is to be done; what the protocol node is to hear is returned.
    fn meet(&mut self, fate: Fate) -> Option<Input> {
        match fate {
            Fate::Tell(input) => return Some(input),
            Fate::Pass => {}
            Fate::Deliver(datagram) => {
                let frames = self.frames.get_ref();
                if let Err(error) = frames.send(self.agent_end, KERNEL_END.1, datagram.bytes()) {
                    self.lose(&datagram, &error.to_string());
                }
            }
            Fate::Send(datagram, interface) => {
                if let Err(error) = send_raw(&self.raw, &datagram, interface) {
                    self.lose(&datagram, error.desc());
                }
            }
            Fate::Drop(why) => self.lose_silently(why),
        }
        None
    }

    fn lose(&mut self, datagram: &Datagram, why: &str) {
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            let (from, to, dropped) = (datagram.source(), datagram.destination(), self.dropped);
            tracing::warn!(%from, %to, why, dropped, "datagram not sent");
        }
    }

    fn lose_silently(&mut self, why: &str) {
        self.dropped += 1;
        tracing::debug!(why, dropped = self.dropped, "datagram dropped");
    }
}

/// Sends a datagram as it is. By a certain interface it goes as what comes from its source address does.
fn send_raw(socket: &Socket, datagram: &Datagram, interface: Option<u32>) -> Result<(), Errno> {
    let to = SockaddrIn6::from(SocketAddrV6::new(datagram.destination(), 0, 0, 0));
    let info = interface.map(|interface| libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: datagram.source().octets() },
        ipi6_ifindex: interface,
    });
    let control: Vec<_> = info.iter().map(ControlMessage::Ipv6PacketInfo).collect();
    let slices = [IoSlice::new(datagram.bytes())];
    sendmsg(socket.as_raw_fd(), &slices, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}
