//! Frames of a protocol of one's own: they cross a link, with the kernel's time of arrival, and nobody else hears them.

use crate::{Node, PATIENCE, connect, mac};
use samp_sys::clock::realtime_nanos;
use samp_sys::frames::{Arrival, FrameSocket};
use samp_sys::offload;
use std::time::Instant;

/// Local Experimental EtherTypes (IEEE 802, §9.2.3).
const PROTOCOL: u16 = 0x88b5;
const OTHER: u16 = 0x88b6;

fn open(node: &Node, protocol: u16) -> FrameSocket {
    node.namespace.run(|| FrameSocket::open(protocol)).unwrap().unwrap()
}

fn receive(socket: &FrameSocket) -> (Arrival, Vec<u8>) {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 64];
    loop {
        if let Some(arrival) = socket.receive(&mut buffer).unwrap() {
            return (arrival, buffer[..arrival.length].to_vec());
        }
        assert!(Instant::now() < deadline, "nothing arrives");
        std::thread::yield_now();
    }
}

#[test]
fn a_frame_crosses_and_the_kernel_says_when() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    let (near, far, stranger) = (open(&b, PROTOCOL), open(&a, PROTOCOL), open(&a, OTHER));
    let before = realtime_nanos();
    // The end that came up last passes packets at once.
    near.send(103, mac(1, 0), &[7; 46]).unwrap();
    let (arrival, payload) = receive(&far);
    assert_eq!((arrival.interface, payload), (102, vec![7; 46]));
    assert!((before..=realtime_nanos()).contains(&arrival.at), "{arrival:?}");
    assert_eq!(stranger.receive(&mut [0; 64]).unwrap(), None);
    assert_eq!(near.receive(&mut [0; 64]).unwrap(), None, "who sends does not hear it");
    assert_eq!(far.missed().unwrap(), 0);
}

#[test]
fn an_interface_that_is_down_or_missing_takes_nothing() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    let near = open(&a, PROTOCOL);
    a.configure(|batch| batch.set_down(102));
    assert!(near.send(102, mac(1, 1), &[0; 46]).is_err());
    assert!(near.send(999, mac(1, 1), &[0; 46]).is_err());
}

#[test]
fn elsewhere_only_frames_with_one_of_the_values_are_heard() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    connect(&mut a, 104, &mut b, 105, 2);
    let (near, far) = (open(&b, PROTOCOL), open(&a, PROTOCOL));
    far.hear_only(104, 6, &[41, 43, 60]).unwrap();
    assert!(far.hear_only(104, 6, &[0; 256]).is_err());
    let frame = |value: u8, mark: u8| [[0; 6].as_slice(), &[value], &[mark; 39]].concat();
    for (mark, value) in (0..).zip([41, 17, 60, 0, 42, 43]) {
        near.send(103, mac(1, 0), &frame(value, mark)).unwrap();
    }
    near.send(105, mac(2, 0), &frame(17, 9)).unwrap();
    let heard =
        [0; 4].map(|_| receive(&far)).map(|(arrival, payload)| (arrival.interface, payload[6], payload[7]));
    assert_eq!(heard, [(102, 41, 0), (102, 60, 2), (102, 43, 5), (104, 17, 9)]);
    assert_eq!(far.receive(&mut [0; 64]).unwrap(), None);
}

/// Whether the checksum of a UDP datagram in IPv4 is right (RFC 768).
fn is_whole(packet: &[u8]) -> bool {
    let (header, udp) = packet.split_at(20);
    let pseudo =
        [&header[12..20], &[0, 17], &(udp.len() as u16).to_be_bytes(), udp, &[0][..udp.len() % 2]].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[test]
fn checksums_are_whole_once_nothing_is_left_to_hardware() {
    const IPV4: u16 = 0x0800;
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    a.configure(|batch| {
        batch.add_address(102, [10, 0, 0, 1].into(), 24);
        batch.add_neighbour(102, [10, 0, 0, 2].into(), mac(1, 1));
    });
    let (far, sender) = (open(&b, IPV4), a.udp("10.0.0.1:9"));
    let is_next_whole = || {
        sender.send_to(b"sum", "10.0.0.2:9").unwrap();
        is_whole(&receive(&far).1)
    };
    let before = is_next_whole();
    let switch_off = |name| a.namespace.run(|| offload::switch_off(name)).unwrap();
    switch_off("link102").unwrap();
    assert_eq!((before, is_next_whole()), (false, true));
    assert!(switch_off("elsewhere").is_err() && switch_off("longer-than-a-name").is_err());
}
