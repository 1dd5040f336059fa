//! What the kernel's IPv6 multicast router is told and asks (`linux/mroute6.h`).

use super::Miss;
use nix::libc;
use std::io;
use std::net::Ipv6Addr;

pub(super) const LEVEL: libc::c_int = libc::IPPROTO_IPV6;
pub(super) const INIT: libc::c_int = 200;
pub(super) const ADD_MIF: libc::c_int = 202;
pub(super) const DEL_MIF: libc::c_int = 203;
pub(super) const ADD_MFC: libc::c_int = 204;
pub(super) const DEL_MFC: libc::c_int = 205;
/// `ICMPV6_FILTER` (`linux/icmpv6.h`).
pub(super) const FILTER: libc::c_int = 1;
/// `struct icmp6_filter`: a set bit blocks the message type of its number.
pub(super) const BLOCK_ALL: [u32; 8] = [u32::MAX; 8];
const MRT6MSG_NOCACHE: u8 = 1;
pub(super) const UPCALL_LEN: usize = 40;

/// `struct mif6ctl`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Mif6ctl {
    mif: u16,
    flags: u8,
    threshold: u8,
    ifindex: u16,
    rate_limit: u32,
}

impl Mif6ctl {
    pub(super) fn new(mif: u16, ifindex: u32) -> io::Result<Self> {
        let ifindex = u16::try_from(ifindex).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "IPv6 multicast routing takes interface indexes below 65536",
            )
        })?;
        Ok(Self { mif, flags: 0, threshold: 1, ifindex, rate_limit: 0 })
    }
}

/// `struct mf6cctl`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Mf6cctl {
    origin: SockaddrIn6,
    group: SockaddrIn6,
    parent: u16,
    /// One bit an interface. There are no TTL thresholds in IPv6.
    interfaces: [u32; 8],
}

/// `struct sockaddr_in6`, of which only the address counts here.
#[repr(C)]
#[derive(Clone, Copy)]
struct SockaddrIn6 {
    family: u16,
    port: u16,
    flow_info: u32,
    address: [u8; 16],
    scope: u32,
}

impl SockaddrIn6 {
    fn new(address: Ipv6Addr) -> Self {
        let family = libc::AF_INET6 as u16;
        Self { family, port: 0, flow_info: 0, address: address.octets(), scope: 0 }
    }
}

impl Mf6cctl {
    /// The interface numbers must be below [`MAX_INTERFACES`](super::MAX_INTERFACES).
    pub(super) fn new(source: Ipv6Addr, group: Ipv6Addr, arrives: u16, leaves: &[u16]) -> Self {
        let mut interfaces = [0; 8];
        leaves.iter().for_each(|&mif| interfaces[usize::from(mif / 32)] |= 1 << (mif % 32));
        let (origin, group) = (SockaddrIn6::new(source), SockaddrIn6::new(group));
        Self { origin, group, parent: arrives, interfaces }
    }
}

/// `struct mrt6msg` lies over the packet's IPv6 header, whose first byte is never 0.
pub(super) fn parse_upcall(message: &[u8]) -> Option<Miss> {
    let message: &[u8; UPCALL_LEN] = message.first_chunk()?;
    let ([zero, kind, mif, mif_high, ..], Some((_, addresses))) =
        (*message, message.split_first_chunk::<8>())
    else {
        return None;
    };
    let (source, group) = addresses.split_first_chunk::<16>()?;
    (zero == 0 && kind == MRT6MSG_NOCACHE).then_some(Miss {
        source: Ipv6Addr::from(*source).into(),
        group: Ipv6Addr::from(*group.first_chunk::<16>()?).into(),
        vif: u16::from_le_bytes([mif, mif_high]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_the_kernel() {
        assert_eq!(size_of::<Mif6ctl>(), 12);
        assert_eq!(std::mem::offset_of!(Mif6ctl, ifindex), 4);
        assert_eq!(size_of::<SockaddrIn6>(), 28);
        assert_eq!(size_of::<Mf6cctl>(), 92);
        assert_eq!(std::mem::offset_of!(Mf6cctl, parent), 56);
        assert_eq!(std::mem::offset_of!(Mf6cctl, interfaces), 60);
    }

    #[test]
    fn leaves_are_bits() {
        let any = Ipv6Addr::UNSPECIFIED;
        assert_eq!(Mf6cctl::new(any, any, 0, &[0, 3, 31]).interfaces[..2], [1 | 1 << 3 | 1 << 31, 0]);
        assert!(Mif6ctl::new(0, 1 << 16).is_err());
    }

    #[test]
    fn only_a_cache_miss_is_a_miss() {
        let [source, group]: [Ipv6Addr; 2] = ["fd00::1", "ff15::5060"].map(|text| text.parse().unwrap());
        // Behind the message comes what was copied along.
        let mut message = [0xee; 80];
        message[..8].copy_from_slice(&[0, MRT6MSG_NOCACHE, 3, 0, 0, 0, 0, 0]);
        message[8..24].copy_from_slice(&source.octets());
        message[24..40].copy_from_slice(&group.octets());
        let miss = Miss { source: source.into(), group: group.into(), vif: 3 };
        assert_eq!(parse_upcall(&message), Some(miss));
        assert_eq!(parse_upcall(&message[..40]), Some(miss));
        assert_eq!(parse_upcall(&message[..39]), None);
        for (place, value) in [(0, 0x60), (1, 2)] {
            let mut other = message;
            other[place] = value;
            assert_eq!(parse_upcall(&other), None);
        }
    }
}
