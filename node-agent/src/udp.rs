//! A UDP socket that knows at which of the node's addresses a datagram arrived, and may choose whence one leaves.

use crate::watch::watch;
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use samp_model::Time;
use samp_model::settings::Family;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, SystemTime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest datagram that UDP can carry, in bytes.
const DATAGRAM_MAX: usize = 65_535;
/// What the kernel may queue for a node that is not running just now, in bytes; more than it allows is cut.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A socket of one IP version, bound to one port of every address, the ones to come included.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

/// A received datagram.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    /// Just after it was received.
    pub at: Time,
    /// How long it had waited in the socket then.
    pub waited: Duration,
    /// The sender.
    pub from: SocketAddr,
    /// The address it was sent to: one of the node's own, or a group.
    pub to: IpAddr,
    /// Its payload.
    pub payload: &'a [u8],
}

/// How a datagram leaves, where the routing table shall not decide.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Departure {
    /// Source address, of the destination's IP version.
    pub source: Option<IpAddr>,
    /// Index of the interface.
    pub interface: Option<u32>,
    /// Time to live or hop limit, in routers.
    pub ttl: Option<u8>,
}

impl UdpSocket {
    /// Opens the socket in the calling thread's network namespace, for the family's primary addresses. Sent multicast
    /// is not looped back.
    ///
    /// # Errors
    /// The port is taken, or no descriptor is left.
    pub(crate) fn bind(family: Family, port: u16) -> io::Result<Self> {
        let (domain, unspecified): (_, IpAddr) = if family.has_ipv6() {
            (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
        } else {
            (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
        };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if family.has_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_all_v6(false)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            socket.set_multicast_loop_v4(false)?;
            socket.set_multicast_all_v4(false)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&SocketAddr::new(unspecified, port).into())?;
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            buffer: vec![0; DATAGRAM_MAX],
            // The longer address of the two.
            control: cmsg_space!(libc::in6_pktinfo, libc::timespec),
        })
    }

    /// The port that it is bound to; none where the kernel does not say.
    pub(crate) fn port(&self) -> Option<u16> {
        Some(self.socket.get_ref().local_addr().ok()?.as_socket()?.port())
    }

    /// Hears `group` on the interface with this index.
    ///
    /// # Errors
    /// There is no such interface, or the group is of the other IP version.
    pub(crate) fn join(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
            }
            IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
        }
    }

    /// Lets datagrams go to all on a link (IPv4).
    ///
    /// # Errors
    /// None on the kernels that samp-lab runs on.
    pub(crate) fn allow_broadcast(&self) -> io::Result<()> {
        self.socket.get_ref().set_broadcast(true)
    }

    /// Hears only what comes in on this interface, and sends out of it.
    ///
    /// # Errors
    /// There is no such interface.
    pub(crate) fn bind_to_interface(&self, name: &str) -> io::Result<()> {
        self.socket.get_ref().bind_device(Some(name.as_bytes()))
    }

    /// Waits for a datagram.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(drop)
    }

    /// The next datagram, if the socket is known to be readable and one waits.
    pub(crate) fn try_receive(&mut self) -> io::Result<Option<Datagram<'_>>> {
        let Self { socket, buffer, control } = self;
        let received =
            socket.try_io(Interest::READABLE, |socket| receive(socket.as_raw_fd(), buffer, control));
        datagram(received, buffer)
    }

    /// As [`try_receive`](Self::try_receive), but asks the kernel whatever is known.
    pub(crate) fn receive_queued(&mut self) -> io::Result<Option<Datagram<'_>>> {
        let Self { socket, buffer, control } = self;
        datagram(receive(socket.get_ref().as_raw_fd(), buffer, control), buffer)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// `to` is of the other IP version, or there is no route, no such source address, no room in the socket's queue.
    pub(crate) fn send(&self, payload: &[u8], to: SocketAddr, departure: Departure) -> io::Result<()> {
        let Departure { source, interface, ttl } = departure;
        let interface = interface.unwrap_or(0);
        let info4 = libc::in_pktinfo {
            ipi_ifindex: interface.try_into().unwrap_or(0),
            ipi_spec_dst: in_addr(match source {
                Some(IpAddr::V4(source)) => source,
                _ => Ipv4Addr::UNSPECIFIED,
            }),
            ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
        };
        let info6 = libc::in6_pktinfo {
            ipi6_addr: in6_addr(match source {
                Some(IpAddr::V6(source)) => source,
                _ => Ipv6Addr::UNSPECIFIED,
            }),
            ipi6_ifindex: interface,
        };
        let ttl = ttl.map(libc::c_int::from);
        let mut control = Vec::with_capacity(2);
        if departure.source.is_some() || departure.interface.is_some() {
            control.push(match to {
                SocketAddr::V4(_) => ControlMessage::Ipv4PacketInfo(&info4),
                SocketAddr::V6(_) => ControlMessage::Ipv6PacketInfo(&info6),
            });
        }
        if let Some(ttl) = &ttl {
            control.push(match to {
                SocketAddr::V4(_) => ControlMessage::Ipv4Ttl(ttl),
                SocketAddr::V6(_) => ControlMessage::Ipv6HopLimit(ttl),
            });
        }
        let to = SockaddrStorage::from(to);
        let fd = self.socket.get_ref().as_raw_fd();
        sendmsg(fd, &[IoSlice::new(payload)], &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

/// What the kernel tells of the datagram now in the buffer.
struct Told {
    length: usize,
    waited: Duration,
    from: SocketAddr,
    to: IpAddr,
}

fn receive(fd: RawFd, buffer: &mut [u8], control: &mut [u8]) -> io::Result<Told> {
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let (mut to, mut waited) = (None, Duration::ZERO);
    for message in received.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            // The kernel stamps with the time of day; a clock that is set meanwhile is taken for no wait.
            ControlMessageOwned::ScmTimestampns(arrived) => {
                let arrived = SystemTime::UNIX_EPOCH + Duration::from(arrived);
                waited = SystemTime::now().duration_since(arrived).unwrap_or_default();
            }
            _ => {}
        }
    }
    // Without flow label and scope, which are no part of an address that nodes tell each other.
    let from = received.address.and_then(|from| match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
        (Some(from), _) => Some(SocketAddr::new(from.ip().into(), from.port())),
        (_, Some(from)) => Some(SocketAddr::new(from.ip().into(), from.port())),
        _ => None,
    });
    let (Some(from), Some(to)) = (from, to) else {
        return Err(io::Error::other("the kernel gave no addresses with a datagram"));
    };
    Ok(Told { length: received.bytes, waited, from, to })
}

fn datagram(received: io::Result<Told>, buffer: &[u8]) -> io::Result<Option<Datagram<'_>>> {
    match received {
        Ok(Told { length, waited, from, to }) => Ok(Some(Datagram {
            at: Time::from_nanos(samp_sys::clock::monotonic_nanos()),
            waited,
            from,
            to,
            payload: &buffer[..length],
        })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}

fn in6_addr(address: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: address.octets() }
}
