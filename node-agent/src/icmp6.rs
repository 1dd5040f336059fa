//! A socket for the messages of IPv6 neighbour discovery on one interface (RFC 4861 §4).

use crate::watch::watch;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use samp_model::Time;
use samp_protocol::slaac::HOP_LIMIT;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for any router advertisement; a longer message is cut and then not understood.
const MESSAGE_MAX: usize = 2048;

/// A raw socket that hears all ICMPv6 on its interface; the kernel makes and checks the checksums (RFC 3542 §3.1).
#[derive(Debug)]
pub(crate) struct Icmp6Socket {
    socket: AsyncFd<Socket>,
    interface: u32,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

/// A received message of a neighbour's.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Just after it was received.
    pub at: Time,
    /// The sender.
    pub from: Ipv6Addr,
    /// Whether it was for this node alone.
    pub is_unicast: bool,
    /// From the type on.
    pub bytes: &'a [u8],
}

impl Icmp6Socket {
    /// Opens the socket in the calling thread's network namespace, which needs `CAP_NET_RAW` now and nothing later.
    ///
    /// # Errors
    /// The privilege, the interface or a descriptor is missing.
    pub(crate) fn open(name: &str, interface: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6))?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_multicast_if_v6(interface)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            interface,
            buffer: vec![0; MESSAGE_MAX],
            control: cmsg_space!(libc::in6_pktinfo, libc::c_int),
        })
    }

    /// Waits for a message.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(drop)
    }

    /// The next message of a neighbour's, if one waits; what came over a router is passed over (RFC 4861 §6.1).
    pub(crate) fn try_receive(&mut self) -> io::Result<Option<Received<'_>>> {
        let Self { socket, buffer, control, .. } = self;
        loop {
            match socket.try_io(Interest::READABLE, |socket| receive(socket.as_raw_fd(), buffer, control)) {
                Ok(None) => {}
                Ok(Some((length, from, is_unicast))) => {
                    let at = Time::from_nanos(samp_sys::clock::monotonic_nanos());
                    return Ok(Some(Received { at, from, is_unicast, bytes: &buffer[..length] }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a message to a neighbour or a group.
    ///
    /// # Errors
    /// The interface is down or has no address yet, or there is no room in a queue.
    pub(crate) fn send(&self, bytes: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let to = SocketAddrV6::new(to, 0, 0, self.interface);
        self.socket.get_ref().send_to(bytes, &to.into()).map(drop)
    }
}

/// Length, sender and whether it was for this node alone; none of what came over a router.
fn receive(fd: RawFd, buffer: &mut [u8], control: &mut [u8]) -> io::Result<Option<(usize, Ipv6Addr, bool)>> {
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrIn6>(fd, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let (mut is_near, mut is_unicast) = (false, false);
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv6HopLimit(limit) => is_near = limit == i32::from(HOP_LIMIT),
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                is_unicast = !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_multicast();
            }
            _ => {}
        }
    }
    let from = received.address.filter(|_| is_near).map(|from| from.ip());
    Ok(from.map(|from| (received.bytes, from, is_unicast)))
}
