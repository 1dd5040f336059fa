//! Frames of a protocol of one's own: they cross a link, with the kernel's time of arrival, and nobody else hears them.

use crate::{Node, PATIENCE, connect, mac};
use samp_sys::clock::realtime_nanos;
use samp_sys::frames::{Arrival, FrameSocket};
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
