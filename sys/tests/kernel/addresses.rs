//! Addresses that the kernel looks for on the link before they may be used: it tells what it has found.

use crate::{Node, connect, wait_readable};
use samp_sys::netlink::{AddressState, AddressWatch};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};

const FREE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const TAKEN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// What the kernel has found out about so many addresses.
fn found(watch: &mut AddressWatch, count: usize) -> BTreeMap<IpAddr, AddressState> {
    let mut found = BTreeMap::new();
    while found.len() < count {
        match watch.next_change() {
            Ok(change)
                if [FREE.into(), TAKEN.into()].contains(&change.address)
                    && change.state != AddressState::Tentative =>
            {
                assert_eq!(change.interface, 103);
                found.insert(change.address, change.state);
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_readable(&*watch),
            Err(error) => panic!("{error}"),
        }
    }
    found
}

fn can_use(node: &Node, address: Ipv6Addr) -> bool {
    node.namespace.run(|| UdpSocket::bind((address, 0))).unwrap().is_ok()
}

#[test]
fn the_kernel_tells_whether_somebody_has_an_address() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    // Both ends can send once the kernel has answered.
    for (node, name) in [(&mut a, "link102"), (&mut b, "link103")] {
        assert!(node.netlink.link_index(name).unwrap().is_some());
    }
    a.configure(|batch| batch.add_address(102, TAKEN.into(), 64));
    let mut watch = b.namespace.run(AddressWatch::open).unwrap().unwrap();
    b.configure(|batch| {
        batch.add_checked_address(103, FREE, 64, false);
        batch.add_checked_address(103, TAKEN, 64, false);
    });
    let expected = [(FREE.into(), AddressState::Usable), (TAKEN.into(), AddressState::Duplicate)];
    assert_eq!(found(&mut watch, 2), BTreeMap::from(expected));
    assert!(can_use(&b, FREE) && !can_use(&b, TAKEN));
}

#[test]
fn an_optimistic_address_can_be_used_meanwhile() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    b.sysctls(&[("net/ipv6/conf/link103/optimistic_dad", "1")]);
    let mut watch = b.namespace.run(AddressWatch::open).unwrap().unwrap();
    b.configure(|batch| batch.add_checked_address(103, FREE, 64, true));
    assert!(can_use(&b, FREE));
    assert_eq!(found(&mut watch, 1), BTreeMap::from([(FREE.into(), AddressState::Usable)]));
}
