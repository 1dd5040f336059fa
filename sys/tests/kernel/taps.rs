//! Taps: both directions, the kernel's times, what is cut off or dropped, links that go down.

use crate::{Node, connect, receive_after, wait_readable};
use samp_sys::clock::{monotonic_nanos, realtime_offset};
use samp_sys::tap::{Frame, Tap};
use std::net::UdpSocket;

/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;

struct Pair {
    a: Node,
    b: Node,
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Pair {
    /// Two nodes on a link that works.
    fn new() -> Self {
        let [mut a, mut b] = Node::many();
        connect(&mut a, 102, &mut b, 103, 1);
        a.configure(|batch| batch.add_address(102, "10.0.0.1".parse().unwrap(), 24));
        b.configure(|batch| batch.add_address(103, "10.0.0.2".parse().unwrap(), 24));
        let sender = a.udp("10.0.0.1:5000");
        let receiver = b.udp("10.0.0.2:5000");
        let pair = Self { a, b, sender, receiver };
        pair.send(b"first");
        pair
    }

    fn send(&self, data: &[u8]) {
        let (received, _) =
            receive_after(&self.receiver, || drop(self.sender.send_to(data, "10.0.0.2:5000")));
        assert!(received == data || received == b"first");
    }

    fn tap(&self) -> [Tap; 2] {
        let open = |node: &Node, index| node.namespace.run(|| Tap::open(index)).unwrap().unwrap();
        [open(&self.a, 102), open(&self.b, 103)]
    }
}

/// The next frame that ends with `data`.
fn wait_for(tap: &mut Tap, data: &[u8]) -> Frame {
    let mut buffer = [0; 2048];
    loop {
        wait_readable(&tap);
        while let Some(frame) = tap.next(&mut buffer).unwrap() {
            if buffer[..frame.captured].ends_with(data) {
                return frame;
            }
        }
    }
}

#[test]
fn a_frame_is_seen_where_it_leaves_and_where_it_arrives() {
    let pair = Pair::new();
    let [mut a, mut b] = pair.tap();
    let before = i128::from(monotonic_nanos()) + i128::from(realtime_offset());
    pair.send(b"hello");
    let [left, came] = [wait_for(&mut a, b"hello"), wait_for(&mut b, b"hello")];
    let after = i128::from(monotonic_nanos()) + i128::from(realtime_offset());
    assert!(left.is_outgoing && !came.is_outgoing);
    assert_eq!((left.captured, left.length), (HEADERS + 5, HEADERS + 5));
    let [left, came] = [left, came].map(|frame| frame.at.as_nanos().cast_signed());
    assert!(left <= came, "{left} {came}");
    // What an adjustment of civil time may do meanwhile.
    const SLACK: i128 = 1_000_000;
    assert!(before - SLACK <= left && came <= after + SLACK, "{before} {left} {came} {after}");
    assert_eq!((a.dropped().unwrap(), b.dropped().unwrap()), (0, 0));
}

#[test]
fn what_does_not_fit_is_cut_or_dropped_and_counted() {
    let pair = Pair::new();
    let [mut a, mut b] = pair.tap();
    b.set_buffer(1).unwrap();
    for _ in 0..100 {
        pair.send(&[7; 1000]);
    }
    assert!(b.dropped().unwrap() > 0);
    assert_eq!(b.dropped().unwrap(), 0, "it counts from the last call");
    wait_readable(&a);
    let frame = loop {
        let frame = a.next(&mut [0; 64]).unwrap().unwrap();
        if frame.length > 1000 {
            break frame;
        }
    };
    assert_eq!((frame.captured, frame.length), (64, HEADERS + 1000));
    while b.next(&mut [0; 64]).unwrap().is_some() {}
}

#[test]
fn a_tap_goes_on_when_its_link_comes_up_again() {
    let mut pair = Pair::new();
    let [mut a, mut b] = pair.tap();
    pair.b.configure(|batch| {
        batch.set_down(103);
        batch.set_up(103);
    });
    pair.send(b"again");
    assert!(wait_for(&mut a, b"again").is_outgoing);
    assert!(!wait_for(&mut b, b"again").is_outgoing);
}

#[test]
fn there_is_no_tap_on_an_interface_that_is_not_there() {
    let node = Node::new();
    let error = node.namespace.run(|| Tap::open(999)).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENODEV));
}
