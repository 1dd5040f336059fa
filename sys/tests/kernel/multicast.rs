//! Multicast routing over two routers.

use crate::{Node, PATIENCE, connect, receive_after, wait_readable};
use samp_sys::multicast::{MAX_INTERFACES, Miss, MulticastRouter};
use samp_sys::netlink::Route;
use socket2::{InterfaceIndexOrAddress, SockRef};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Instant;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 75);
const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PORT: u16 = 5060;

/// source (102) — (102) near (103) — (102) far (103) — (102) member; interface n is vif n − 102.
struct Tree {
    near: MulticastRouter,
    far: MulticastRouter,
    sender: UdpSocket,
    member: UdpSocket,
    _nodes: [Node; 4],
}

impl Tree {
    fn new() -> Self {
        let mut nodes: [Node; 4] = Node::many();
        let [source, near, far, member] = &mut nodes;
        connect(source, 102, near, 102, 1);
        connect(near, 103, far, 102, 2);
        connect(far, 103, member, 102, 3);
        source.configure(|batch| {
            batch.add_address(1, IpAddr::V4(SOURCE), 32);
            batch.add_route(&Route {
                destination: (IpAddr::from([224, 0, 0, 0]), 4),
                via: None,
                index: 102,
                source: Some(IpAddr::V4(SOURCE)),
                onlink: false,
            });
        });
        let sender = source.udp("0.0.0.0:0");
        sender.set_multicast_ttl_v4(8).unwrap();
        let receiver = member.udp(&format!("{GROUP}:{PORT}"));
        SockRef::from(&receiver).join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(102)).unwrap();
        let open = |node: &Node| {
            let router = MulticastRouter::open_in(&node.namespace).unwrap();
            router.add_interface(0, 102).unwrap();
            router.add_interface(1, 103).unwrap();
            router
        };
        Self { near: open(near), far: open(far), sender, member: receiver, _nodes: nodes }
    }

    fn send(&self, text: &str) {
        self.sender.send_to(text.as_bytes(), (GROUP, PORT)).unwrap();
    }
}

/// Sends until the router reports a miss: a new link takes a moment to carry its first packet.
fn miss_after(router: &MulticastRouter, mut send: impl FnMut()) -> Miss {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        send();
        let slice = 50u16;
        let mut polled =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(router), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut polled, slice).unwrap();
        if let Some(miss) = router.next_miss().unwrap() {
            return miss;
        }
    }
    panic!("no miss was reported");
}

#[test]
fn a_miss_is_reported_entries_deliver_and_deletion_stops_it() {
    let tree = Tree::new();
    assert_eq!(tree.near.next_miss().unwrap(), None);

    let expected = Miss { source: SOURCE, group: GROUP, vif: 0 };
    assert_eq!(miss_after(&tree.near, || tree.send("hello")), expected);
    // Both entries at once, as the supervisor does: what waits at the first router passes the second.
    tree.far.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    tree.near.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    let (data, from) = receive_after(&tree.member, || tree.send("hello"));
    assert_eq!((&data[..], from.ip()), (&b"hello"[..], IpAddr::V4(SOURCE)));
    assert_eq!(tree.far.next_miss().unwrap(), None);

    tree.near.delete_entry(SOURCE, GROUP).unwrap();
    tree.near.delete_entry(SOURCE, GROUP).unwrap();
    assert_eq!(miss_after(&tree.near, || tree.send("again")), expected);
    // Nothing of it has passed: after the entry is back, the first one to arrive is the one that waited.
    tree.near.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    let (data, _) = receive_after_leftovers(&tree);
    assert_eq!(data, b"again");
}

/// The first datagram that is not a repetition of "hello".
fn receive_after_leftovers(tree: &Tree) -> (Vec<u8>, std::net::SocketAddr) {
    loop {
        let received = receive_after(&tree.member, || ());
        if received.0 != b"hello" {
            return received;
        }
    }
}

#[test]
fn a_packet_that_caused_a_miss_is_delivered_once_the_entries_are_there() {
    let tree = Tree::new();
    // The path works, and is forgotten again.
    miss_after(&tree.near, || tree.send("first"));
    tree.far.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    tree.near.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    receive_after(&tree.member, || tree.send("first"));
    tree.near.delete_entry(SOURCE, GROUP).unwrap();
    tree.far.delete_entry(SOURCE, GROUP).unwrap();

    tree.send("held back");
    wait_readable(&tree.near);
    assert!(tree.near.next_miss().unwrap().is_some());
    tree.near.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    wait_readable(&tree.far);
    assert_eq!(tree.far.next_miss().unwrap(), Some(Miss { source: SOURCE, group: GROUP, vif: 0 }));
    tree.far.add_entry(SOURCE, GROUP, 0, &[1]).unwrap();
    loop {
        let (data, _) = receive_after(&tree.member, || ());
        if data == b"held back" {
            return;
        }
        assert_eq!(data, b"first");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let node = Node::new();
    let router = MulticastRouter::open_in(&node.namespace).unwrap();
    assert!(MulticastRouter::open_in(&node.namespace).is_err(), "one router in a namespace");
    assert!(router.add_interface(0, 99).is_err(), "no such interface");
    assert!(router.add_interface(MAX_INTERFACES, 1).is_err());
    assert!(router.add_entry(SOURCE, GROUP, MAX_INTERFACES, &[]).is_err());
    assert!(router.add_entry(SOURCE, GROUP, 0, &[MAX_INTERFACES]).is_err());
    router.delete_entry(SOURCE, GROUP).unwrap();
    assert!(router.delete_interface(0).is_err());
    drop(router);
    MulticastRouter::open_in(&node.namespace).unwrap();
}

#[test]
fn a_deleted_interface_can_be_added_again() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 102, 1);
    let router = MulticastRouter::open_in(&a.namespace).unwrap();
    router.add_interface(4, 102).unwrap();
    assert!(router.add_interface(4, 102).is_err());
    router.delete_interface(4).unwrap();
    router.add_interface(4, 102).unwrap();
}
