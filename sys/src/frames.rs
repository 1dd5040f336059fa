//! Frames of one protocol on the interfaces of a namespace: what probes of links are made of, and what tunnels are taken from.

use crate::packet;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, bind, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use socket2::{SockFilter, SockRef};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// Bytes that may wait for who reads, as far as the kernel allows.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A packet socket (packet(7)) that sends frames of one protocol and hears those that arrive, on every interface of the
/// namespace in which it was opened. Nobody else hears frames of a protocol that only it has.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
    protocol: u16,
}

/// A frame that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Index of the interface where it came in.
    pub interface: u32,
    /// When the kernel took it in, as [`realtime_nanos`](crate::clock::realtime_nanos) tells the time.
    pub at: u64,
    /// Bytes of its payload.
    pub length: usize,
}

impl FrameSocket {
    /// In the calling thread's namespace, for this EtherType.
    ///
    /// # Errors
    /// The caller lacks `CAP_NET_RAW`, or descriptors are short.
    pub fn open(protocol: u16) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // The kernel writes and removes Ethernet headers. Nothing is heard before the protocol is bound.
        let socket = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
        packet::set_receive_buffer(&socket, RECEIVE_BUFFER)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        bind(socket.as_raw_fd(), &packet::address(protocol, 0, [0; 6]))?;
        Ok(Self { socket, protocol })
    }

    /// In the calling thread's namespace, to send frames of this EtherType; it hears nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_send(protocol: u16) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
        Ok(Self { socket, protocol })
    }

    /// From now on, only frames at the interface with this index wait, and elsewhere those whose payload has one of `values`
    /// at byte `at`. A few values only.
    ///
    /// # Errors
    /// There are too many values.
    pub fn hear_only(&self, interface: u32, at: u32, values: &[u8]) -> io::Result<()> {
        let load = |size, from| SockFilter::new((libc::BPF_LD | size | libc::BPF_ABS) as u16, 0, 0, from);
        // A jump leads to the last instruction but one, which keeps the frame.
        let keep_if = |value: u32, left: usize| {
            let jump = u8::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok::<_, io::Error>(SockFilter::new(
                (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
                jump,
                0,
                value,
            ))
        };
        let result = |bytes| SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes);
        let mut filter = vec![
            load(libc::BPF_W, (libc::SKF_AD_OFF + libc::SKF_AD_IFINDEX).cast_unsigned()),
            keep_if(interface, values.len() + 2)?,
            load(libc::BPF_B, at),
        ];
        for (number, &value) in values.iter().enumerate() {
            filter.push(keep_if(value.into(), values.len() - number)?);
        }
        filter.extend([result(0), result(u32::MAX)]);
        SockRef::from(&self.socket).attach_filter(&filter)
    }

    /// Sends a frame out of the interface with this index, to this link-layer address. It does not wait.
    ///
    /// # Errors
    /// The interface does not take it: it is down, gone, or its queue is full.
    pub fn send(&self, interface: u32, to: [u8; 6], payload: &[u8]) -> io::Result<()> {
        let to = packet::address(self.protocol, interface, to);
        sendto(self.socket.as_raw_fd(), payload, &to, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// The next frame that has arrived, with as much of its payload as the buffer takes; none when none waits.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        let mut control = nix::cmsg_space!(libc::timespec);
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = match recvmsg::<LinkAddr>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => return Ok(None),
            result => result?,
        };
        let interface = message.address.map_or(0, |address| address.ifindex() as u32);
        let at = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time).as_nanos() as u64),
            _ => None,
        });
        let at = at.ok_or_else(|| io::Error::other("the kernel says no time of arrival"))?;
        Ok(Some(Arrival { interface, at, length: message.bytes }))
    }

    /// How many frames have arrived and found no place to wait, since this was asked last.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn missed(&self) -> io::Result<u64> {
        packet::dropped(&self.socket)
    }
}

impl AsRawFd for FrameSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
