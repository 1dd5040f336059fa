//! What becomes of IPv6 addresses: duplicate address detection goes on in the kernel (RFC 4862 §5.4).

use super::client::{attribute, invalid, word};
use netlink_packet_core::NetlinkBuffer;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A non-blocking socket that hears of each IPv6 address that is new or in another state.
#[derive(Debug)]
pub struct AddressWatch {
    socket: Socket,
    buffer: Vec<u8>,
}

/// An address is new, or in another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// Index of its interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Its state now.
    pub state: AddressState,
}

/// What an address is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// Nothing yet, or, where it is optimistic (RFC 4429), nearly everything.
    Tentative,
    /// Everything.
    Usable,
    /// Nothing: somebody else on the link has it.
    Duplicate,
}

impl AddressWatch {
    /// A socket in the calling thread's namespace, which hears of what happens from now on.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(IPV6_ADDRESSES)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: vec![0; MESSAGE_MAX] })
    }

    /// The next change.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else, when some may have been missed.
    pub fn next_change(&mut self) -> io::Result<AddressChange> {
        loop {
            let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            let message = NetlinkBuffer::new_checked(&self.buffer[..length]).map_err(invalid)?;
            if message.message_type() == RTM_NEWADDR
                && let Some(change) = change(message.payload())
            {
                return Ok(change);
            }
        }
    }
}

impl AsFd for AddressWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for AddressWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// More than a message about an address takes.
const MESSAGE_MAX: usize = 4096;

// linux/rtnetlink.h and linux/if_addr.h
const IPV6_ADDRESSES: u32 = 9;
const RTM_NEWADDR: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// `struct ifaddrmsg` (family, prefix length, flags, scope, index), then attributes.
fn change(payload: &[u8]) -> Option<AddressChange> {
    let (interface, attributes) = (word(payload, 4)?, payload.get(8..)?);
    let address: [u8; 16] = attribute(attributes, IFA_ADDRESS)?.try_into().ok()?;
    let flags = word(&attribute(attributes, IFA_FLAGS)?, 0)?;
    let state = match flags {
        _ if flags & IFA_F_DADFAILED != 0 => AddressState::Duplicate,
        _ if flags & IFA_F_TENTATIVE != 0 => AddressState::Tentative,
        _ => AddressState::Usable,
    };
    Some(AddressChange { interface, address: Ipv6Addr::from(address).into(), state })
}
