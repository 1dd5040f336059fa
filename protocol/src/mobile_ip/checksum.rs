//! The checksum over the pseudo-header of IPv6 (RFC 8200 §8.1, RFC 1071).

use std::net::Ipv6Addr;

/// The checksum of these bytes, whose own checksum field counts as it is: over bytes that have the right one it is zero.
pub(super) fn checksum(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, bytes: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        let chunks = bytes.chunks(2);
        chunks.map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
    };
    let mut sum = words(&source.octets()) + words(&destination.octets());
    sum += bytes.len() as u64 + u64::from(protocol) + words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
