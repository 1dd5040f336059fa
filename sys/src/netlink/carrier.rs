//! What becomes of interfaces' carriers, as the kernel's link watch tells it.

use super::client::{attribute, invalid, word};
use netlink_packet_core::NetlinkBuffer;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A non-blocking socket that hears of each change of an interface.
///
/// The kernel tells of a carrier when its link watch runs, which is at once or up to a second later. A carrier that went and
/// came again in the meantime is told of once; that it was gone shows in how often it has come.
#[derive(Debug)]
pub struct CarrierWatch {
    socket: Socket,
    buffer: Vec<u8>,
}

/// How an interface is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierChange {
    /// Index of the interface.
    pub interface: u32,
    /// Whether it can send (IFF_LOWER_UP).
    pub is_up: bool,
    /// How often its carrier has come since it was made.
    pub ups: u32,
}

impl CarrierWatch {
    /// A socket in the calling thread's namespace, which hears of what happens from now on.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(LINKS)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: vec![0; MESSAGE_MAX] })
    }

    /// The next change.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else, when some may have been missed.
    pub fn next_change(&mut self) -> io::Result<CarrierChange> {
        loop {
            let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            let message = NetlinkBuffer::new_checked(&self.buffer[..length]).map_err(invalid)?;
            if message.message_type() == RTM_NEWLINK
                && let Some(change) = change(message.payload())
            {
                return Ok(change);
            }
        }
    }
}

impl AsFd for CarrierWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for CarrierWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// More than a message about a veth interface takes.
const MESSAGE_MAX: usize = 8192;

// linux/rtnetlink.h, linux/if_link.h and linux/if.h
const LINKS: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFF_LOWER_UP: u32 = 1 << 16;

/// `struct ifinfomsg` (family, type, index, flags, change), then attributes.
pub(super) fn change(payload: &[u8]) -> Option<CarrierChange> {
    let (interface, flags) = (word(payload, 4)?, word(payload, 8)?);
    let ups = word(&attribute(payload.get(16..)?, IFLA_CARRIER_UP_COUNT)?, 0)?;
    Some(CarrierChange { interface, is_up: flags & IFF_LOWER_UP != 0, ups })
}
