//! The file format: pcapng (draft-ietf-opsawg-pcapng), one section, little-endian, nanoseconds.

use std::io::{self, Write};

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Option codes; those from 2 on mean something else in each type of block.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_TEXT: u16 = 3;
const INTERFACE_MAC: u16 = 6;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const STATISTICS_BEGIN: u16 = 2;
const STATISTICS_END: u16 = 3;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_DROPPED: u16 = 7;

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;
/// Directions in the flags of a packet.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Bytes of a frame that are kept at most.
pub(super) const SNAP_LENGTH: usize = 256 << 10;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Writer<W> {
    out: W,
    /// The block in the making.
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins the section.
    pub(super) fn begin(out: W, comment: &str) -> io::Result<Self> {
        let mut writer = Self { out, block: Vec::new() };
        writer.block(SECTION_HEADER, |block| {
            block.extend(0x1a2b_3c4d_u32.to_le_bytes());
            // Version 1.0.
            block.extend([1, 0, 0, 0]);
            // The section's length is not known yet.
            block.extend([0xff; 8]);
            option(block, SECTION_APPLICATION, concat!("samp-lab ", env!("CARGO_PKG_VERSION")).as_bytes());
            option(block, COMMENT, comment.as_bytes());
        })?;
        Ok(writer)
    }

    /// Describes the next interface.
    pub(super) fn interface(&mut self, name: &str, text: &str, mac: [u8; 6]) -> io::Result<()> {
        self.block(INTERFACE_DESCRIPTION, |block| {
            block.extend(ETHERNET.to_le_bytes());
            block.extend([0; 2]);
            block.extend((SNAP_LENGTH as u32).to_le_bytes());
            option(block, INTERFACE_NAME, name.as_bytes());
            option(block, INTERFACE_TEXT, text.as_bytes());
            option(block, INTERFACE_MAC, &mac);
            // Ten to the power of minus this.
            option(block, INTERFACE_RESOLUTION, &[9]);
        })
    }

    /// A frame of an interface: the bytes that are kept of `length`.
    pub(super) fn frame(
        &mut self,
        interface: u32,
        nanoseconds: u64,
        is_outgoing: bool,
        bytes: &[u8],
        length: usize,
    ) -> io::Result<()> {
        self.block(ENHANCED_PACKET, |block| {
            block.extend(interface.to_le_bytes());
            time(block, nanoseconds);
            block.extend((bytes.len() as u32).to_le_bytes());
            block.extend((length as u32).to_le_bytes());
            padded(block, bytes);
            let direction = if is_outgoing { OUTBOUND } else { INBOUND };
            option(block, PACKET_FLAGS, &direction.to_le_bytes());
        })
    }

    /// What became of an interface between two instants, to be written last.
    pub(super) fn statistics(
        &mut self,
        interface: u32,
        [begin, end]: [u64; 2],
        received: u64,
        dropped: u64,
    ) -> io::Result<()> {
        self.block(INTERFACE_STATISTICS, |block| {
            block.extend(interface.to_le_bytes());
            time(block, end);
            for (code, instant) in [(STATISTICS_BEGIN, begin), (STATISTICS_END, end)] {
                let mut value = Vec::new();
                time(&mut value, instant);
                option(block, code, &value);
            }
            option(block, STATISTICS_RECEIVED, &received.to_le_bytes());
            option(block, STATISTICS_DROPPED, &dropped.to_le_bytes());
        })
    }

    /// Lets the reader have all that is written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn block(&mut self, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        /// Type and length, before and after.
        const FRAME: usize = 12;
        self.block.clear();
        fill(&mut self.block);
        option(&mut self.block, END_OF_OPTIONS, &[]);
        let length = ((self.block.len() + FRAME) as u32).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&length)?;
        self.out.write_all(&self.block)?;
        self.out.write_all(&length)
    }
}

fn option(block: &mut Vec<u8>, code: u16, value: &[u8]) {
    // All values are short.
    block.extend(code.to_le_bytes());
    block.extend((value.len() as u16).to_le_bytes());
    padded(block, value);
}

/// Up to the next multiple of four bytes.
fn padded(block: &mut Vec<u8>, bytes: &[u8]) {
    block.extend(bytes);
    block.resize(block.len().next_multiple_of(4), 0);
}

/// The higher half first.
fn time(block: &mut Vec<u8>, nanoseconds: u64) {
    block.extend(((nanoseconds >> 32) as u32).to_le_bytes());
    block.extend((nanoseconds as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type and body of each block.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let length = number(&file[4..]) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(number(&file[length - 4..]) as usize, length);
            blocks.push((number(file), file[8..length - 4].to_vec()));
            file = &file[length..];
        }
        blocks
    }

    #[test]
    fn a_file_is_what_the_draft_says() {
        let mut file = Vec::new();
        let mut writer = Writer::begin(&mut file, "why").unwrap();
        writer.interface("a:b", "text", [1, 2, 3, 4, 5, 6]).unwrap();
        writer.frame(0, 0x1_0000_0002, true, b"hello", 7).unwrap();
        writer.statistics(0, [1, 2], 3, 4).unwrap();
        let blocks = blocks(&file);
        let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 5]);
        assert_eq!(blocks[0].1[..8], [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
        assert!(blocks[0].1.ends_with(b"\x01\0\x03\0why\0\0\0\0\0"));
        let interface =
            b"\x01\0\0\0\0\0\x04\0\x02\0\x03\0a:b\0\x03\0\x04\0text\x06\0\x06\0\x01\x02\x03\x04\x05\x06\0\0\
            \x09\0\x01\0\x09\0\0\0\0\0\0\0";
        assert_eq!(blocks[1].1, interface);
        let frame =
            b"\0\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\0\0\x07\0\0\0hello\0\0\0\x02\0\x04\0\x02\0\0\0\0\0\0\0";
        assert_eq!(blocks[2].1, frame);
        let statistics =
            b"\0\0\0\0\0\0\0\0\x02\0\0\0\x02\0\x08\0\0\0\0\0\x01\0\0\0\x03\0\x08\0\0\0\0\0\x02\0\0\0\
            \x04\0\x08\0\x03\0\0\0\0\0\0\0\x07\0\x08\0\x04\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(blocks[3].1, statistics);
    }
}
