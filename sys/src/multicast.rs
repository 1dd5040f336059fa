//! IPv4 multicast routing of one network namespace.
#![allow(unsafe_code)]

use crate::namespace::Namespace;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Interfaces that one namespace's multicast router can have (the kernel's `MAXVIFS`).
pub const MAX_INTERFACES: u16 = 32;

/// The multicast routing daemon's socket. Only one exists in a namespace; dropping it empties the tables.
///
/// The descriptor is non-blocking and readable when there may be a [`Miss`].
#[derive(Debug)]
pub struct MulticastRouter(OwnedFd);

/// A packet that no entry matched; the kernel holds it back for a while, until an entry is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The sender.
    pub source: Ipv4Addr,
    /// The group.
    pub group: Ipv4Addr,
    /// The interface it arrived at.
    pub vif: u16,
}

impl MulticastRouter {
    /// Takes over multicast routing in the calling thread's namespace. Needs `CAP_NET_RAW` there.
    ///
    /// # Errors
    /// No privilege, `EADDRINUSE` where a router exists, or a kernel without multicast routing.
    pub fn open() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let fd = unsafe {
            libc::socket(
                libc::AF_INET,
                libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                libc::IPPROTO_IGMP,
            )
        };
        let fd = Errno::result(fd)?;
        // SAFETY: the kernel has just opened this descriptor and nothing else knows it.
        let router = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        router.set(MRT_INIT, &1i32)?;
        Ok(router)
    }

    /// As [`MulticastRouter::open`], in `namespace`.
    ///
    /// # Errors
    /// As [`Namespace::run`] and [`MulticastRouter::open`].
    pub fn open_in(namespace: &Namespace) -> io::Result<Self> {
        namespace.run(Self::open)?
    }

    /// Makes the interface with index `ifindex` number `vif`, 0 to [`MAX_INTERFACES`] − 1.
    ///
    /// # Errors
    /// The number is too high or taken, or there is no such interface.
    pub fn add_interface(&self, vif: u16, ifindex: u32) -> io::Result<()> {
        check_vif(vif)?;
        let request = Vifctl { vif, flags: VIFF_USE_IFINDEX, threshold: 1, ifindex, ..Vifctl::default() };
        self.set(MRT_ADD_VIF, &request)
    }

    /// Forgets an interface. Entries that use it stay and forward to the others.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn delete_interface(&self, vif: u16) -> io::Result<()> {
        self.set(MRT_DEL_VIF, &Vifctl { vif, ..Vifctl::default() })
    }

    /// Adds or replaces the entry for packets from `source` to `group`: those that arrive at interface
    /// `arrives` leave by `leaves`. Packets held back since the miss are sent at once.
    ///
    /// # Errors
    /// An interface number is too high.
    pub fn add_entry(
        &self,
        source: Ipv4Addr,
        group: Ipv4Addr,
        arrives: u16,
        leaves: &[u16],
    ) -> io::Result<()> {
        check_vif(arrives)?;
        let mut request = Mfcctl::new(source, group);
        request.parent = arrives;
        for &vif in leaves {
            check_vif(vif)?;
            request.ttls[usize::from(vif)] = 1;
        }
        self.set(MRT_ADD_MFC, &request)
    }

    /// Deletes the entry for packets from `source` to `group`. It need not exist.
    ///
    /// # Errors
    /// Those of the kernel besides the entry's absence.
    pub fn delete_entry(&self, source: Ipv4Addr, group: Ipv4Addr) -> io::Result<()> {
        match self.set(MRT_DEL_MFC, &Mfcctl::new(source, group)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EADDRNOTAVAIL)) => Ok(()),
            result => result,
        }
    }

    /// The next packet without an entry; none when there is nothing to read.
    ///
    /// # Errors
    /// Those of `recv(2)` besides `EAGAIN`.
    pub fn next_miss(&self) -> io::Result<Option<Miss>> {
        // Real IGMP messages of neighbours come here, too; only the head of any message is of interest.
        let mut message = [0; UPCALL_LEN];
        loop {
            match recv(self.0.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(length) => {
                    if let Some(miss) = parse_upcall(&message[..length]) {
                        return Ok(Some(miss));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn set<T: Copy>(&self, option: libc::c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: `value` is readable for `length` bytes during the call, and the kernel only reads it.
        let result = unsafe {
            libc::setsockopt(self.0.as_raw_fd(), libc::IPPROTO_IP, option, (&raw const *value).cast(), length)
        };
        Errno::result(result)?;
        Ok(())
    }
}

impl AsFd for MulticastRouter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for MulticastRouter {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

// linux/mroute.h
const MRT_INIT: libc::c_int = 200;
const MRT_ADD_VIF: libc::c_int = 202;
const MRT_DEL_VIF: libc::c_int = 203;
const MRT_ADD_MFC: libc::c_int = 204;
const MRT_DEL_MFC: libc::c_int = 205;
const VIFF_USE_IFINDEX: u8 = 8;
const IGMPMSG_NOCACHE: u8 = 1;
const UPCALL_LEN: usize = 20;

/// `struct vifctl`; the local address is an interface index under `VIFF_USE_IFINDEX`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Vifctl {
    vif: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    ifindex: u32,
    remote: u32,
}

/// `struct mfcctl`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Mfcctl {
    origin: [u8; 4],
    group: [u8; 4],
    parent: u16,
    /// Per interface, what a packet's TTL must exceed; 0 does not forward.
    ttls: [u8; MAX_INTERFACES as usize],
    counters: [u32; 3],
    expire: i32,
}

impl Mfcctl {
    fn new(source: Ipv4Addr, group: Ipv4Addr) -> Self {
        let (origin, group) = (source.octets(), group.octets());
        Self { origin, group, parent: 0, ttls: [0; MAX_INTERFACES as usize], counters: [0; 3], expire: 0 }
    }
}

fn check_vif(vif: u16) -> io::Result<()> {
    if vif < MAX_INTERFACES {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a multicast router has at most 32 interfaces"))
}

/// `struct igmpmsg` lies over an IP header whose protocol (byte 9) is 0 where real IGMP has 2.
fn parse_upcall(message: &[u8]) -> Option<Miss> {
    let message: &[u8; UPCALL_LEN] = message.try_into().ok()?;
    let [.., kind, protocol, vif, vif_high, s0, s1, s2, s3, g0, g1, g2, g3] = *message;
    (protocol == 0 && kind == IGMPMSG_NOCACHE).then_some(Miss {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        group: Ipv4Addr::new(g0, g1, g2, g3),
        vif: u16::from_le_bytes([vif, vif_high]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_the_kernel() {
        assert_eq!(size_of::<Vifctl>(), 16);
        assert_eq!(std::mem::offset_of!(Vifctl, ifindex), 8);
        assert_eq!(size_of::<Mfcctl>(), 60);
        assert_eq!(std::mem::offset_of!(Mfcctl, ttls), 10);
        assert_eq!(std::mem::offset_of!(Mfcctl, counters), 44);
    }

    #[test]
    fn only_a_cache_miss_is_a_miss() {
        let mut message = [0; UPCALL_LEN];
        message[8] = IGMPMSG_NOCACHE;
        message[10] = 3;
        message[12..].copy_from_slice(&[10, 0, 0, 1, 224, 0, 1, 75]);
        let miss = Miss { source: Ipv4Addr::new(10, 0, 0, 1), group: Ipv4Addr::new(224, 0, 1, 75), vif: 3 };
        assert_eq!(parse_upcall(&message), Some(miss));
        assert_eq!(parse_upcall(&message[..19]), None);
        let igmp = {
            let mut igmp = message;
            igmp[9] = 2;
            igmp
        };
        assert_eq!(parse_upcall(&igmp), None);
        let wrong_interface = {
            let mut wrong = message;
            wrong[8] = 2;
            wrong
        };
        assert_eq!(parse_upcall(&wrong_interface), None);
    }
}
