//! What packet sockets share (packet(7)): addresses, room to wait, and what found none.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{LinkAddr, SockaddrLike, setsockopt, sockopt};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// The link-layer address `mac` on the interface with this index, for one protocol; interface 0 is every one.
pub(crate) fn address(protocol: u16, interface: u32, mac: [u8; 6]) -> LinkAddr {
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&mac);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: mac.len() as u8,
        sll_addr,
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`, which is copied.
    let copied = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    copied.expect("family and length are those of a link-layer address")
}

/// Lets so many bytes wait in the kernel, or as many as the caller may.
pub(crate) fn set_receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &bytes) {
        Err(Errno::EPERM) => Ok(setsockopt(socket, sockopt::RcvBuf, &bytes)?),
        result => Ok(result?),
    }
}

/// How many frames have found no room at a packet socket since this was asked last.
///
/// # Errors
/// It is no packet socket.
pub fn dropped(socket: &impl AsFd) -> io::Result<u64> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: pointer and length describe `statistics`, which any bytes are valid for and which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(u64::from(statistics.tp_drops))
}
