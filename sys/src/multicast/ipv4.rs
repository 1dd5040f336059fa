//! What the kernel's IPv4 multicast router is told and asks (`linux/mroute.h`).

use super::{MAX_INTERFACES, Miss};
use nix::libc;
use std::net::Ipv4Addr;

pub(super) const LEVEL: libc::c_int = libc::IPPROTO_IP;
pub(super) const INIT: libc::c_int = 200;
pub(super) const ADD_VIF: libc::c_int = 202;
pub(super) const DEL_VIF: libc::c_int = 203;
pub(super) const ADD_MFC: libc::c_int = 204;
pub(super) const DEL_MFC: libc::c_int = 205;
const VIFF_USE_IFINDEX: u8 = 8;
const IGMPMSG_NOCACHE: u8 = 1;
const UPCALL_LEN: usize = 20;

/// `struct vifctl`; the local address is an interface index under `VIFF_USE_IFINDEX`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Vifctl {
    vif: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    ifindex: u32,
    remote: u32,
}

impl Vifctl {
    pub(super) fn new(vif: u16, ifindex: u32) -> Self {
        Self { vif, flags: VIFF_USE_IFINDEX, threshold: 1, rate_limit: 0, ifindex, remote: 0 }
    }
}

/// `struct mfcctl`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Mfcctl {
    origin: [u8; 4],
    group: [u8; 4],
    parent: u16,
    /// Per interface, what a packet's TTL must exceed; 0 does not forward.
    ttls: [u8; MAX_INTERFACES as usize],
    counters: [u32; 3],
    expire: i32,
}

impl Mfcctl {
    /// The interface numbers must be below [`MAX_INTERFACES`].
    pub(super) fn new(source: Ipv4Addr, group: Ipv4Addr, arrives: u16, leaves: &[u16]) -> Self {
        let mut ttls = [0; MAX_INTERFACES as usize];
        leaves.iter().for_each(|&vif| ttls[usize::from(vif)] = 1);
        let (origin, group) = (source.octets(), group.octets());
        Self { origin, group, parent: arrives, ttls, counters: [0; 3], expire: 0 }
    }
}

/// `struct igmpmsg` lies over an IP header whose protocol (byte 9) is 0 where real IGMP has 2.
pub(super) fn parse_upcall(message: &[u8]) -> Option<Miss> {
    let message: &[u8; UPCALL_LEN] = message.first_chunk()?;
    let [.., kind, protocol, vif, vif_high, s0, s1, s2, s3, g0, g1, g2, g3] = *message;
    (protocol == 0 && kind == IGMPMSG_NOCACHE).then_some(Miss {
        source: Ipv4Addr::new(s0, s1, s2, s3).into(),
        group: Ipv4Addr::new(g0, g1, g2, g3).into(),
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
        let (source, group) = ([10, 0, 0, 1].into(), [224, 0, 1, 75].into());
        assert_eq!(parse_upcall(&message), Some(Miss { source, group, vif: 3 }));
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
