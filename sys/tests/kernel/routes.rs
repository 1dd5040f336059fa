//! Addresses, routes and neighbours: packets that cross three namespaces.

use crate::{Node, connect, mac, receive_after};
use samp_sys::netlink::{Batch, Netlink, Route};
use std::net::IpAddr;

/// a (102) — (102) r (103) — (102) c, unnumbered: one host address each on `lo`, in IPv4 and IPv6.
struct Line {
    a: Node,
    r: Node,
    c: Node,
}

fn v4(node: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, node])
}

fn v6(node: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(node)])
}

fn host(address: IpAddr) -> (IpAddr, u8) {
    (address, if address.is_ipv4() { 32 } else { 128 })
}

fn onlink(to: IpAddr, via: IpAddr, index: u32, source: IpAddr) -> Route {
    Route { destination: host(to), via: Some(via), index, source: Some(source), onlink: true, mtu: None }
}

impl Line {
    fn new() -> Self {
        let [mut a, mut r, mut c] = Node::many();
        connect(&mut a, 102, &mut r, 102, 1);
        connect(&mut r, 103, &mut c, 102, 2);
        for address in [v4, v6] {
            let prefix_len = host(address(1)).1;
            a.configure(|batch| {
                batch.add_address(1, address(1), prefix_len);
                batch.add_neighbour(102, address(2), mac(1, 1));
                batch.add_route(&onlink(address(3), address(2), 102, address(1)));
            });
            r.configure(|batch| {
                batch.add_address(1, address(2), prefix_len);
                batch.add_neighbour(102, address(1), mac(1, 0));
                batch.add_neighbour(103, address(3), mac(2, 1));
                batch.add_route(&onlink(address(1), address(1), 102, address(2)));
                batch.add_route(&onlink(address(3), address(3), 103, address(2)));
            });
            c.configure(|batch| {
                batch.add_address(1, address(3), prefix_len);
                batch.add_neighbour(102, address(2), mac(2, 0));
                batch.add_route(&onlink(address(1), address(2), 102, address(3)));
            });
        }
        Self { a, r, c }
    }
}

#[test]
fn a_packet_crosses_an_unnumbered_line_and_comes_back() {
    let line = Line::new();
    for (sender, receiver, from) in
        [("0.0.0.0:0", "10.0.0.3:5060", v4(1)), ("[::]:0", "[fd00::3]:5060", v6(1))]
    {
        let receiving = line.c.udp(receiver);
        let sending = line.a.udp(sender);
        let (data, source) = receive_after(&receiving, || {
            sending.send_to(b"there", receiver).unwrap();
        });
        assert_eq!(data, b"there");
        assert_eq!(source.ip(), from, "the route's preferred source");
        let (data, source) = receive_after(&sending, || {
            receiving.send_to(b"back", source).unwrap();
        });
        assert_eq!((&data[..], source.to_string()), (&b"back"[..], receiver.to_owned()));
    }
}

#[test]
fn a_deleted_route_is_gone_and_a_replaced_one_leads_elsewhere() {
    let mut line = Line::new();
    for (address, any) in [(v4 as fn(u8) -> IpAddr, "0.0.0.0:0"), (v6, "[::]:0")] {
        let there = std::net::SocketAddr::new(address(3), 9);
        let socket = line.a.udp(any);
        socket.send_to(b"x", there).unwrap();
        let route = onlink(address(3), address(2), 102, address(1));
        line.a.configure(|batch| batch.delete_route(&route));
        let error = line.a.udp(any).send_to(b"x", there).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
        let error = apply(&mut line.a.netlink, |batch| batch.delete_route(&route)).unwrap_err();
        assert!(error.starts_with(&format!("cannot delete route {}", address(3))), "{error}");

        // A default route, first through the router, then through a neighbour that is nobody.
        let any_prefix = if address(0).is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0u16; 8]) };
        let default = Route { destination: (any_prefix, 0), ..route };
        line.a.configure(|batch| batch.add_route(&default));
        line.a.udp(any).send_to(b"x", there).unwrap();
        let elsewhere = Route { via: Some(address(77)), ..default };
        apply(&mut line.a.netlink, |batch| batch.add_route(&default)).unwrap_err();
        line.a.configure(|batch| {
            batch.replace_route(&elsewhere);
            batch.delete_route(&elsewhere);
        });
        let error = line.a.udp(any).send_to(b"x", there).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable, "only one default route was left");
    }
}

#[test]
fn a_route_on_the_link_needs_no_next_hop() {
    let mut line = Line::new();
    for address in [v4 as fn(u8) -> IpAddr, v6] {
        let route = Route {
            destination: host(address(40)),
            via: None,
            index: 102,
            source: Some(address(1)),
            onlink: false,
            mtu: None,
        };
        line.a.configure(|batch| {
            batch.add_route(&route);
            batch.delete_route(&route);
        });
    }
}

#[test]
fn an_address_goes_with_the_routes_that_have_it_as_source() {
    let mut line = Line::new();
    line.a.configure(|batch| batch.delete_address(1, v4(1), 32));
    let error = line.a.udp("0.0.0.0:0").send_to(b"x", "10.0.0.3:9").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
}

#[test]
fn a_deleted_neighbour_is_not_deleted_again() {
    let mut line = Line::new();
    for address in [v4(2), v6(2)] {
        line.a.configure(|batch| {
            // Replacing is not an error.
            batch.add_neighbour(102, address, mac(9, 9));
            batch.delete_neighbour(102, address);
        });
        let error = apply(&mut line.a.netlink, |batch| batch.delete_neighbour(102, address)).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot delete neighbour {address} from interface 102")),
            "{error}"
        );
    }
}

#[test]
fn a_route_error_tells_all_of_the_route() {
    let mut line = Line::new();
    let unreachable = Route { onlink: false, ..onlink(v4(3), IpAddr::from([192, 0, 2, 1]), 102, v4(1)) };
    let error = apply(&mut line.r.netlink, |batch| batch.add_route(&unreachable)).unwrap_err();
    assert!(
        error.starts_with("cannot add route 10.0.0.3/32 via 192.0.2.1 on interface 102 from 10.0.0.1"),
        "{error}"
    );
    let mixed = Route { via: Some(v4(2)), source: None, ..onlink(v6(9), v6(2), 102, v6(1)) };
    apply(&mut line.a.netlink, |batch| batch.add_route(&mixed)).unwrap_err();
}

fn apply(netlink: &mut Netlink, fill: impl FnOnce(&mut Batch)) -> Result<(), String> {
    let mut batch = Batch::default();
    fill(&mut batch);
    netlink.apply(batch).map_err(|error| error.to_string())
}
