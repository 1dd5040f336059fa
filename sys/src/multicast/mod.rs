//! Multicast routing of one network namespace, in IPv4 or IPv6.
#![allow(unsafe_code)]

mod ipv4;
mod ipv6;

use crate::namespace::Namespace;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Interfaces that one namespace's multicast router can have (the kernel's `MAXVIFS` and `MAXMIFS`).
pub const MAX_INTERFACES: u16 = 32;

/// Which of the kernel's two multicast routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `linux/mroute.h`.
    Ipv4,
    /// `linux/mroute6.h`.
    Ipv6,
}

/// The multicast routing daemon's socket. Only one of a version exists in a namespace; dropping it empties the tables.
///
/// The descriptor is non-blocking and readable when there may be a [`Miss`].
#[derive(Debug)]
pub struct MulticastRouter {
    socket: OwnedFd,
    version: Version,
}

/// A packet that no entry matched; the kernel holds it back for a while, until an entry is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The sender.
    pub source: IpAddr,
    /// The group.
    pub group: IpAddr,
    /// The interface it arrived at.
    pub vif: u16,
}

impl MulticastRouter {
    /// Takes over multicast routing in the calling thread's namespace. Needs `CAP_NET_RAW` there, for IPv6 also
    /// `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// No privilege, `EADDRINUSE` where a router exists, or a kernel without multicast routing.
    pub fn open(version: Version) -> io::Result<Self> {
        let (domain, protocol) = match version {
            Version::Ipv4 => (libc::AF_INET, libc::IPPROTO_IGMP),
            Version::Ipv6 => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        };
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers are involved.
        let fd = Errno::result(unsafe { libc::socket(domain, kind, protocol) })?;
        // SAFETY: the kernel has just opened this descriptor and nothing else knows it.
        let router = Self { socket: unsafe { OwnedFd::from_raw_fd(fd) }, version };
        match version {
            Version::Ipv4 => router.set(ipv4::LEVEL, ipv4::INIT, &1i32)?,
            Version::Ipv6 => {
                // Neighbours' ICMPv6 messages are of no interest, the kernel's questions pass in any case.
                router.set(libc::IPPROTO_ICMPV6, ipv6::FILTER, &ipv6::BLOCK_ALL)?;
                router.set(ipv6::LEVEL, ipv6::INIT, &1i32)?;
            }
        }
        Ok(router)
    }

    /// As [`MulticastRouter::open`], in `namespace`.
    ///
    /// # Errors
    /// As [`Namespace::run`] and [`MulticastRouter::open`].
    pub fn open_in(namespace: &Namespace, version: Version) -> io::Result<Self> {
        namespace.run(|| Self::open(version))?
    }

    /// Makes the interface with index `ifindex` number `vif`, 0 to [`MAX_INTERFACES`] − 1.
    ///
    /// # Errors
    /// The number is too high or taken, or there is no such interface. IPv6 takes interface indexes below 65,536 only.
    pub fn add_interface(&self, vif: u16, ifindex: u32) -> io::Result<()> {
        check_vif(vif)?;
        match self.version {
            Version::Ipv4 => self.set(ipv4::LEVEL, ipv4::ADD_VIF, &ipv4::Vifctl::new(vif, ifindex)),
            Version::Ipv6 => self.set(ipv6::LEVEL, ipv6::ADD_MIF, &ipv6::Mif6ctl::new(vif, ifindex)?),
        }
    }

    /// Forgets an interface. Entries that use it stay and forward to the others.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn delete_interface(&self, vif: u16) -> io::Result<()> {
        match self.version {
            Version::Ipv4 => self.set(ipv4::LEVEL, ipv4::DEL_VIF, &ipv4::Vifctl::new(vif, 0)),
            Version::Ipv6 => self.set(ipv6::LEVEL, ipv6::DEL_MIF, &vif),
        }
    }

    /// Adds or replaces the entry for packets from `source` to `group`: those that arrive at interface
    /// `arrives` leave by `leaves`. Packets held back since the miss are sent at once.
    ///
    /// # Errors
    /// An interface number is too high, or an address is of the other version.
    pub fn add_entry(&self, source: IpAddr, group: IpAddr, arrives: u16, leaves: &[u16]) -> io::Result<()> {
        [arrives].iter().chain(leaves).try_for_each(|&vif| check_vif(vif))?;
        match (self.version, source, group) {
            (Version::Ipv4, IpAddr::V4(source), IpAddr::V4(group)) => {
                self.set(ipv4::LEVEL, ipv4::ADD_MFC, &ipv4::Mfcctl::new(source, group, arrives, leaves))
            }
            (Version::Ipv6, IpAddr::V6(source), IpAddr::V6(group)) => {
                self.set(ipv6::LEVEL, ipv6::ADD_MFC, &ipv6::Mf6cctl::new(source, group, arrives, leaves))
            }
            _ => Err(other_version()),
        }
    }

    /// Deletes the entry for packets from `source` to `group`. It need not exist.
    ///
    /// # Errors
    /// Those of the kernel besides the entry's absence, or an address is of the other version.
    pub fn delete_entry(&self, source: IpAddr, group: IpAddr) -> io::Result<()> {
        let result = match (self.version, source, group) {
            (Version::Ipv4, IpAddr::V4(source), IpAddr::V4(group)) => {
                self.set(ipv4::LEVEL, ipv4::DEL_MFC, &ipv4::Mfcctl::new(source, group, 0, &[]))
            }
            (Version::Ipv6, IpAddr::V6(source), IpAddr::V6(group)) => {
                self.set(ipv6::LEVEL, ipv6::DEL_MFC, &ipv6::Mf6cctl::new(source, group, 0, &[]))
            }
            _ => return Err(other_version()),
        };
        match result {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EADDRNOTAVAIL)) => Ok(()),
            result => result,
        }
    }

    /// The next packet without an entry; none when there is nothing to read.
    ///
    /// # Errors
    /// Those of `recv(2)` besides `EAGAIN`.
    pub fn next_miss(&self) -> io::Result<Option<Miss>> {
        // Messages of neighbours may come here, too; only the head of any message is of interest.
        let mut message = [0; LONGEST_UPCALL];
        loop {
            match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(length) => {
                    let miss = match self.version {
                        Version::Ipv4 => ipv4::parse_upcall(&message[..length]),
                        Version::Ipv6 => ipv6::parse_upcall(&message[..length]),
                    };
                    if miss.is_some() {
                        return Ok(miss);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn set<T: Copy>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: `value` is readable for `length` bytes during the call, and the kernel only reads it.
        let result = unsafe {
            libc::setsockopt(self.socket.as_raw_fd(), level, option, (&raw const *value).cast(), length)
        };
        Errno::result(result)?;
        Ok(())
    }
}

impl AsFd for MulticastRouter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for MulticastRouter {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Bytes of a question that count, of either version.
const LONGEST_UPCALL: usize = ipv6::UPCALL_LEN;

fn check_vif(vif: u16) -> io::Result<()> {
    if vif < MAX_INTERFACES {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a multicast router has at most 32 interfaces"))
}

fn other_version() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a multicast router has addresses of one IP version only")
}
