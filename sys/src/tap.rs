//! Taps: packet sockets that get a copy of all that an interface sends and receives (packet(7)).

use crate::packet;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, bind, recvmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A tap on one interface. Whoever has the descriptor may read it, whatever its privileges.
///
/// It goes on when the interface goes down and comes up again; nothing more comes when the interface is gone or moves
/// into another namespace.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
    control: Vec<u8>,
}

/// A frame that passed. Its bytes are in the buffer that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When the kernel saw it: since the epoch of `CLOCK_REALTIME`.
    pub at: Duration,
    /// Whether the interface sent it.
    pub is_outgoing: bool,
    /// Bytes in the buffer.
    pub captured: usize,
    /// Bytes that it has.
    pub length: usize,
}

impl Tap {
    /// A tap on the interface with this index, in the calling thread's network namespace.
    ///
    /// # Errors
    /// There is no such interface, or the caller lacks `CAP_NET_RAW` in the namespace's user namespace.
    pub fn open(index: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // With no protocol it hears nothing until it is bound.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        bind(socket.as_raw_fd(), &packet::address(libc::ETH_P_ALL as u16, index, [0; 6]))?;
        Ok(Self::from(socket))
    }

    /// Lets so many bytes wait in the kernel, or as many as the caller may; what does not fit is dropped.
    ///
    /// # Errors
    /// None on the kernels that samp-lab runs on.
    pub fn set_buffer(&self, bytes: usize) -> io::Result<()> {
        packet::set_receive_buffer(&self.socket, bytes)
    }

    /// The next frame, as much of it as fits into `buffer`; none when none waits.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`.
    pub fn next(&mut self, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let room = buffer.len();
        let mut slices = [IoSliceMut::new(buffer)];
        let message = loop {
            let control = Some(&mut self.control[..]);
            let socket = self.socket.as_raw_fd();
            match recvmsg::<LinkAddr>(socket, &mut slices, control, MsgFlags::MSG_TRUNC) {
                Err(Errno::EAGAIN) => return Ok(None),
                // The interface has gone down, which is told once; it may come up again.
                Err(Errno::EINTR | Errno::ENETDOWN) => {}
                result => break result?,
            }
        };
        let stamp = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        let kind = message.address.as_ref().map(LinkAddr::pkttype);
        Ok(Some(Frame {
            at: stamp
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame without its time"))?,
            is_outgoing: kind == Some(libc::PACKET_OUTGOING),
            captured: message.bytes.min(room),
            length: message.bytes,
        }))
    }

    /// Frames that found the buffer full since the last call.
    ///
    /// # Errors
    /// None on the kernels that samp-lab runs on.
    pub fn dropped(&self) -> io::Result<u64> {
        packet::dropped(&self.socket)
    }
}

impl From<OwnedFd> for Tap {
    /// Takes the descriptor of a tap, for example one that another process has sent.
    fn from(socket: OwnedFd) -> Self {
        Self { socket, control: nix::cmsg_space!(TimeSpec) }
    }
}

impl From<Tap> for OwnedFd {
    fn from(tap: Tap) -> Self {
        tap.socket
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
