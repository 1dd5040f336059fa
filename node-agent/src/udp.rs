//! A UDP socket that knows at which of the node's addresses a datagram arrived, and may choose whence one leaves.

use crate::watch::watch;
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use samp_model::Time;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest datagram that UDP can carry, in bytes.
const DATAGRAM_MAX: usize = 65_535;
/// What the kernel may queue for a node that is not running just now, in bytes; more than it allows is cut.
const RECEIVE_BUFFER: usize = 1 << 20;

/// An IPv4 socket bound to one port of every address, the ones to come included.
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
    /// Source address.
    pub source: Option<Ipv4Addr>,
    /// Index of the interface.
    pub interface: Option<u32>,
    /// Time to live, in routers.
    pub ttl: Option<u8>,
}

impl UdpSocket {
    /// Opens the socket in the calling thread's network namespace. Sent multicast is not looped back.
    ///
    /// # Errors
    /// The port is taken, or no descriptor is left.
    pub(crate) fn bind(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_all_v4(false)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            buffer: vec![0; DATAGRAM_MAX],
            control: cmsg_space!(libc::in_pktinfo),
        })
    }

    /// Hears `group` on the interface with this index.
    ///
    /// # Errors
    /// There is no such interface.
    pub(crate) fn join(&self, group: Ipv4Addr, interface: u32) -> io::Result<()> {
        self.socket.get_ref().join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
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
    /// `to` is not IPv4, or there is no route, no such source address, no room in the socket's queue.
    pub(crate) fn send(&self, payload: &[u8], to: SocketAddr, departure: Departure) -> io::Result<()> {
        let SocketAddr::V4(to) = to else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "only IPv4 is supported"));
        };
        let info = libc::in_pktinfo {
            ipi_ifindex: departure.interface.unwrap_or(0).try_into().unwrap_or(0),
            ipi_spec_dst: in_addr(departure.source.unwrap_or(Ipv4Addr::UNSPECIFIED)),
            ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
        };
        let ttl = departure.ttl.map(libc::c_int::from);
        let mut control = Vec::with_capacity(2);
        if departure.source.is_some() || departure.interface.is_some() {
            control.push(ControlMessage::Ipv4PacketInfo(&info));
        }
        if let Some(ttl) = &ttl {
            control.push(ControlMessage::Ipv4Ttl(ttl));
        }
        let to = SockaddrIn::from(to);
        let fd = self.socket.get_ref().as_raw_fd();
        sendmsg(fd, &[IoSlice::new(payload)], &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

/// Length, sender and destination address of the datagram now in `buffer`.
fn receive(fd: RawFd, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, SocketAddrV4, Ipv4Addr)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrIn>(fd, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
    let to = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))),
        _ => None,
    });
    let (Some(from), Some(to)) = (received.address, to) else {
        return Err(io::Error::other("the kernel gave no addresses with a datagram"));
    };
    Ok((received.bytes, from.into(), to))
}

fn datagram(
    received: io::Result<(usize, SocketAddrV4, Ipv4Addr)>,
    buffer: &[u8],
) -> io::Result<Option<Datagram<'_>>> {
    match received {
        Ok((length, from, to)) => Ok(Some(Datagram {
            at: Time::from_nanos(samp_sys::clock::monotonic_nanos()),
            from: from.into(),
            to: to.into(),
            payload: &buffer[..length],
        })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}
