//! The RTP data packet: fixed header (RFC 3550 §5.1) and payload.

/// Length of the fixed header, in bytes.
pub(crate) const HEADER_LEN: usize = 12;
/// Payload type of G.711 µ-law (RFC 3551 §6).
pub(crate) const PCMU: u8 = 0;
/// Ticks of the RTP timestamp in a second of PCMU.
pub(crate) const CLOCK_RATE: u64 = 8000;

const VERSION: u8 = 2;

/// The part of the fixed header that the agent uses: no padding, extension, contributing sources or marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// One of the RTP/AVP payload types.
    pub payload_type: u8,
    /// Counts packets.
    pub sequence: u16,
    /// When the payload's first sample was taken, in ticks of [`CLOCK_RATE`].
    pub timestamp: u32,
    /// Synchronisation source: names the stream.
    pub ssrc: u32,
}

impl Header {
    /// Writes the header to the front of a packet.
    pub(crate) fn write(&self, packet: &mut [u8; HEADER_LEN]) {
        packet[0] = VERSION << 6;
        packet[1] = self.payload_type & 0x7f;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }

    /// Reads the header of a datagram; `None` when it is no RTP data packet (RFC 3550 §A.1).
    pub(crate) fn read(datagram: &[u8]) -> Option<Self> {
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        let contributing_sources = 4 * usize::from(first & 0x0f);
        if first >> 6 != VERSION || rest.len() < contributing_sources {
            return None;
        }
        Some(Self {
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_laid_out_as_in_rfc_3550() {
        let header =
            Header { payload_type: PCMU, sequence: 0x0102, timestamp: 0x0304_0506, ssrc: 0x0708_090a };
        let mut bytes = [0xee; HEADER_LEN];
        header.write(&mut bytes);
        assert_eq!(bytes, [0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(Header::read(&bytes), Some(header));
    }

    #[test]
    fn marker_padding_and_extension_bits_do_not_disturb() {
        let bytes = [0xb0, 0x80, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9];
        let header = Header::read(&bytes).expect("RTP");
        assert_eq!(header, Header { payload_type: 0, sequence: 7, timestamp: 1, ssrc: 9 });
    }

    #[test]
    fn what_is_no_rtp_is_refused() {
        assert_eq!(Header::read(&[]), None, "empty");
        assert_eq!(Header::read(&[0x80; HEADER_LEN - 1]), None, "short");
        assert_eq!(Header::read(&[0x40; HEADER_LEN]), None, "version 1");
        assert_eq!(Header::read(&[0x81; HEADER_LEN]), None, "a contributing source is missing");
    }
}
