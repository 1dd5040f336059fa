//! Multicast routing over two routers.

use crate::{Node, PATIENCE, connect, receive_after, wait_readable};
use samp_sys::multicast::{MAX_INTERFACES, Miss, MulticastRouter, Version};
use samp_sys::netlink::Route;
use socket2::{InterfaceIndexOrAddress, SockRef};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

const PORT: u16 = 5060;

/// What differs between the two versions of IP.
#[derive(Clone, Copy)]
struct Case {
    version: Version,
    source: IpAddr,
    group: IpAddr,
}

const CASES: [Case; 2] = [
    Case {
        version: Version::Ipv4,
        source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        group: IpAddr::V4(Ipv4Addr::new(224, 0, 1, 75)),
    },
    Case {
        version: Version::Ipv6,
        source: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
        group: IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x5060)),
    },
];

/// source (102) — (102) near (103) — (102) far (103) — (102) member; interface n is vif n − 102.
struct Tree {
    case: Case,
    near: MulticastRouter,
    far: MulticastRouter,
    sender: UdpSocket,
    member: UdpSocket,
    _nodes: [Node; 4],
}

impl Tree {
    fn new(case: Case) -> Self {
        let mut nodes: [Node; 4] = Node::many();
        let [source, near, far, member] = &mut nodes;
        connect(source, 102, near, 102, 1);
        connect(near, 103, far, 102, 2);
        connect(far, 103, member, 102, 3);
        let (prefix, host) = match case.version {
            Version::Ipv4 => ((IpAddr::from([224, 0, 0, 0]), 4), 32),
            Version::Ipv6 => ((IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0u16]), 8), 128),
        };
        source.configure(|batch| {
            // IPv6 takes the source of multicast from the interface that it leaves by (RFC 6724 §4).
            batch.add_address(102, case.source, host);
            batch.add_route(&Route {
                destination: prefix,
                via: None,
                index: 102,
                source: Some(case.source),
                onlink: false,
                mtu: None,
            });
        });
        let sender = source.udp(if case.source.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" });
        let receiver = member.udp(&SocketAddr::new(case.group, PORT).to_string());
        match case.group {
            IpAddr::V4(group) => {
                sender.set_multicast_ttl_v4(8).unwrap();
                let interface = InterfaceIndexOrAddress::Index(102);
                SockRef::from(&receiver).join_multicast_v4_n(&group, &interface).unwrap();
            }
            IpAddr::V6(group) => {
                let sender = SockRef::from(&sender);
                sender.set_multicast_hops_v6(8).unwrap();
                sender.set_multicast_if_v6(102).unwrap();
                receiver.join_multicast_v6(&group, 102).unwrap();
            }
        }
        let open = |node: &Node| {
            let router = MulticastRouter::open_in(&node.namespace, case.version).unwrap();
            router.add_interface(0, 102).unwrap();
            router.add_interface(1, 103).unwrap();
            router
        };
        let (near, far) = (open(near), open(far));
        Self { case, near, far, sender, member: receiver, _nodes: nodes }
    }

    fn send(&self, text: &str) {
        self.sender.send_to(text.as_bytes(), (self.case.group, PORT)).unwrap();
    }

    fn add_entry(&self, router: &MulticastRouter) {
        router.add_entry(self.case.source, self.case.group, 0, &[1]).unwrap();
    }

    fn delete_entry(&self, router: &MulticastRouter) {
        router.delete_entry(self.case.source, self.case.group).unwrap();
    }

    fn miss(&self) -> Miss {
        Miss { source: self.case.source, group: self.case.group, vif: 0 }
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
    for case in CASES {
        let tree = Tree::new(case);
        assert_eq!(tree.near.next_miss().unwrap(), None);

        assert_eq!(miss_after(&tree.near, || tree.send("hello")), tree.miss());
        // Both entries at once, as the supervisor does: what waits at the first router passes the second.
        tree.add_entry(&tree.far);
        tree.add_entry(&tree.near);
        let (data, from) = receive_after(&tree.member, || tree.send("hello"));
        assert_eq!((&data[..], from.ip()), (&b"hello"[..], case.source));
        assert_eq!(tree.far.next_miss().unwrap(), None);

        tree.delete_entry(&tree.near);
        tree.delete_entry(&tree.near);
        assert_eq!(miss_after(&tree.near, || tree.send("again")), tree.miss());
        // Nothing of it has passed: after the entry is back, the first one to arrive is the one that waited.
        tree.add_entry(&tree.near);
        assert_eq!(receive_after_leftovers(&tree, b"hello"), b"again");
    }
}

/// The first datagram that is not a repetition of `leftover`.
fn receive_after_leftovers(tree: &Tree, leftover: &[u8]) -> Vec<u8> {
    loop {
        let (data, _) = receive_after(&tree.member, || ());
        if data != leftover {
            return data;
        }
    }
}

#[test]
fn a_packet_that_caused_a_miss_is_delivered_once_the_entries_are_there() {
    for case in CASES {
        let tree = Tree::new(case);
        // The path works, and is forgotten again.
        miss_after(&tree.near, || tree.send("first"));
        tree.add_entry(&tree.far);
        tree.add_entry(&tree.near);
        receive_after(&tree.member, || tree.send("first"));
        tree.delete_entry(&tree.near);
        tree.delete_entry(&tree.far);

        tree.send("held back");
        wait_readable(&tree.near);
        assert!(tree.near.next_miss().unwrap().is_some());
        tree.add_entry(&tree.near);
        wait_readable(&tree.far);
        assert_eq!(tree.far.next_miss().unwrap(), Some(tree.miss()));
        tree.add_entry(&tree.far);
        assert_eq!(receive_after_leftovers(&tree, b"first"), b"held back");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for Case { version, source, group } in CASES {
        let node = Node::new();
        let router = MulticastRouter::open_in(&node.namespace, version).unwrap();
        assert!(MulticastRouter::open_in(&node.namespace, version).is_err(), "one router in a namespace");
        assert!(router.add_interface(0, 99).is_err(), "no such interface");
        assert!(router.add_interface(MAX_INTERFACES, 1).is_err());
        assert!(router.add_entry(source, group, MAX_INTERFACES, &[]).is_err());
        assert!(router.add_entry(source, group, 0, &[MAX_INTERFACES]).is_err());
        let other = CASES.iter().find(|case| case.version != version).unwrap();
        assert!(router.add_entry(other.source, group, 0, &[]).is_err());
        assert!(router.delete_entry(source, other.group).is_err());
        router.delete_entry(source, group).unwrap();
        assert!(router.delete_interface(0).is_err());
        drop(router);
        MulticastRouter::open_in(&node.namespace, version).unwrap();
    }
}

#[test]
fn a_namespace_can_have_a_router_of_either_version() {
    let node = Node::new();
    let [four, six] = CASES.map(|case| MulticastRouter::open_in(&node.namespace, case.version).unwrap());
    assert_eq!((four.next_miss().unwrap(), six.next_miss().unwrap()), (None, None));
}

#[test]
fn a_deleted_interface_can_be_added_again() {
    for case in CASES {
        let [mut a, mut b] = Node::many();
        connect(&mut a, 102, &mut b, 102, 1);
        let router = MulticastRouter::open_in(&a.namespace, case.version).unwrap();
        router.add_interface(4, 102).unwrap();
        assert!(router.add_interface(4, 102).is_err());
        router.delete_interface(4).unwrap();
        router.add_interface(4, 102).unwrap();
    }
}
