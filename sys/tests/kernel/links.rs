//! Links: born in place, moved, deleted; errors that name what failed.

use crate::{Node, connect, mac};
use samp_sys::netlink::{ApplyError, Batch, Route, VethEnd};
use std::error::Error;
use std::net::IpAddr;

#[test]
fn both_ends_are_born_in_their_namespaces() {
    // The socket is in neither of them, as the supervisor's is.
    let [mut third, mut a, mut b] = Node::many();
    third.configure(|batch| {
        assert!(batch.is_empty());
        batch.add_veth(
            VethEnd { name: "near", index: Some(107), mac: Some(mac(1, 0)), namespace: Some(&a.namespace) },
            VethEnd { name: "far", index: Some(107), mac: Some(mac(1, 1)), namespace: Some(&b.namespace) },
        );
        assert_eq!(batch.len(), 1);
    });
    assert_eq!(a.netlink.link_index("near").unwrap(), Some(107));
    assert_eq!(b.netlink.link_index("far").unwrap(), Some(107));
    assert_eq!(a.netlink.link_index("far").unwrap(), None);
    assert_eq!(third.netlink.link_index("near").unwrap(), None);
    assert_eq!(hardware_address(&a, "near"), "02:00:00:00:01:00");
    assert_eq!(hardware_address(&b, "far"), "02:00:00:00:01:01");
}

#[test]
fn an_end_without_a_namespace_or_an_index_is_the_kernels_choice() {
    let [mut a, mut b] = Node::many();
    a.configure(|batch| {
        batch.add_veth(
            VethEnd { name: "here", ..VethEnd::default() },
            VethEnd { name: "there", namespace: Some(&b.namespace), ..VethEnd::default() },
        );
    });
    assert!(a.netlink.link_index("here").unwrap().unwrap() > 1);
    assert!(b.netlink.link_index("there").unwrap().unwrap() > 1);
}

#[test]
fn deleting_one_end_deletes_the_other() {
    let [mut a, mut b] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    a.configure(|batch| batch.delete_link(102));
    assert_eq!(a.netlink.link_index("link102").unwrap(), None);
    assert_eq!(b.netlink.link_index("link103").unwrap(), None);
}

#[test]
fn a_moved_link_arrives_with_its_new_index() {
    let [mut a, mut b, mut c] = Node::many();
    connect(&mut a, 102, &mut b, 103, 1);
    b.configure(|batch| batch.move_link(103, &c.namespace, Some(109)));
    assert_eq!(b.netlink.link_index("link103").unwrap(), None);
    assert_eq!(c.netlink.link_index("link103").unwrap(), Some(109));
    assert_eq!(hardware_address(&c, "link103"), "02:00:00:00:01:01");
    c.configure(|batch| {
        batch.set_up(109);
        batch.set_down(109);
        batch.move_link(109, &b.namespace, None);
    });
    assert_eq!(b.netlink.link_index("link103").unwrap(), Some(109));
}

#[test]
fn more_requests_than_one_datagram_holds() {
    let mut node = Node::new();
    let addresses = (0..200u8).map(|last| IpAddr::from([10, 9, 8, last]));
    node.configure(|batch| addresses.clone().for_each(|address| batch.add_address(1, address, 32)));
    // Each is there: a second one is refused, a deletion is not.
    for address in addresses {
        let mut batch = Batch::default();
        batch.add_address(1, address, 32);
        let error = node.netlink.apply(batch).unwrap_err();
        assert_eq!(errno(&error), nix::libc::EEXIST, "{error}");
        node.configure(|batch| batch.delete_address(1, address, 32));
    }
}

#[test]
fn an_error_names_the_request_and_has_the_kernels_words() {
    let mut node = Node::new();
    let mut batch = Batch::default();
    batch.set_up(1);
    batch.set_up(99);
    batch.delete_link(98);
    let error = node.netlink.apply(batch).unwrap_err();
    assert!(error.to_string().starts_with("cannot set interface 99 up"), "{error}");
    assert_eq!(errno(&error), nix::libc::ENODEV);

    // A text that kernels have had since 4.12.
    let mut batch = Batch::default();
    batch.add_route(&Route {
        destination: (IpAddr::from([10, 9, 0, 0]), 16),
        via: Some(IpAddr::from([10, 8, 0, 1])),
        index: 1,
        source: None,
        onlink: false,
        mtu: None,
    });
    let error = node.netlink.apply(batch).unwrap_err().to_string();
    assert!(error.contains("10.9.0.0/16") && error.ends_with("Nexthop has invalid gateway"), "{error}");
}

#[test]
fn after_a_failure_no_further_datagram_is_sent() {
    let mut node = Node::new();
    let mut batch = Batch::default();
    batch.delete_link(99);
    (0..100u8).for_each(|last| batch.add_address(1, IpAddr::from([10, 0, 0, last]), 32));
    let error = node.netlink.apply(batch).unwrap_err();
    assert!(error.to_string().starts_with("cannot delete interface 99"), "{error}");
    // The last address is still free, and the socket works on.
    node.configure(|batch| batch.add_address(1, IpAddr::from([10, 0, 0, 99]), 32));
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let mut node = Node::new();
    let mut batch = Batch::default();
    batch.add_veth(
        VethEnd { name: "sixteen-letters-", ..VethEnd::default() },
        VethEnd { name: "short", ..VethEnd::default() },
    );
    let error = node.netlink.apply(batch).unwrap_err();
    assert!(error.to_string().starts_with("cannot create the veth pair sixteen-letters- / short"), "{error}");
    assert_eq!(node.netlink.link_index("short").unwrap(), None);
}

fn errno(error: &ApplyError) -> i32 {
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    source.and_then(std::io::Error::raw_os_error).unwrap()
}

/// Not from sysfs, which shows the devices of whoever mounted it.
fn hardware_address(node: &Node, name: &str) -> String {
    node.namespace
        .run(|| {
            let mut entries =
                nix::ifaddrs::getifaddrs().unwrap().filter(|entry| entry.interface_name == name);
            let mac = entries.find_map(|entry| entry.address?.as_link_addr()?.addr()).unwrap();
            mac.map(|byte| format!("{byte:02x}")).join(":")
        })
        .unwrap()
}
