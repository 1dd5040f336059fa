//! ip6tnl where the kernel has it, and a clean error where it has not.

use crate::{Node, connect, receive_after};
use samp_sys::frames::FrameSocket;
use samp_sys::netlink::{ApplyError, Batch, Route};
use std::io::{ErrorKind, Read, Write};
use std::iter;
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};

const LINK: u32 = 102;
const TUNNEL: u32 = 1000;

const fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
}

fn ends(local: u16, remote: u16) -> [Ipv6Addr; 2] {
    [local, remote].map(address)
}

fn by(index: u32, to: u16) -> Route {
    Route {
        destination: (IpAddr::V6(address(to)), 128),
        via: None,
        index,
        source: None,
        onlink: false,
        mtu: None,
    }
}

/// Two nodes on a link, the first as 1, the second as 2 and 3.
fn pair() -> [Node; 2] {
    let mut nodes = Node::many();
    nodes.iter().for_each(|node| node.sysctls(&[("net/ipv6/conf/default/accept_dad", "0")]));
    let [a, b] = &mut nodes;
    connect(a, LINK, b, LINK, 1);
    a.configure(|batch| batch.add_address(LINK, address(1).into(), 64));
    b.configure(|batch| {
        [2, 3].map(address).into_iter().for_each(|own| batch.add_address(LINK, own.into(), 64));
    });
    nodes
}

/// Those two, where 10 at the first one and 20 at the second one talk through a tunnel.
fn through() -> [Node; 2] {
    let [mut a, mut b] = pair();
    a.configure(|batch| {
        batch.add_tunnel("tnl0", TUNNEL, ends(1, 2));
        batch.add_address(TUNNEL, address(10).into(), 128);
        batch.add_route(&by(TUNNEL, 20));
    });
    b.configure(|batch| {
        batch.add_tunnel("tnl0", TUNNEL, ends(2, 1));
        batch.add_address(LINK, address(20).into(), 128);
        batch.add_route(&by(TUNNEL, 10));
    });
    [a, b]
}

/// A kernel without tunnels says so. Where `SAMP_TEST_TUNNELS` is set there must be some.
fn has_tunnels() -> bool {
    let mut batch = Batch::default();
    batch.add_tunnel("tnl0", TUNNEL, ends(1, 2));
    let Err(error) = Node::new().netlink.apply(batch) else { return true };
    match error {
        ApplyError::Refused { what, source, .. } => {
            assert_eq!(what, "create a tunnel from fd00::1 to fd00::2");
            assert_eq!(source.raw_os_error(), Some(nix::libc::EOPNOTSUPP));
        }
        other => panic!("{other:?}"),
    }
    assert!(std::env::var_os("SAMP_TEST_TUNNELS").is_none(), "this kernel has no ip6tnl");
    eprintln!("SKIPPED: this kernel has no ip6tnl");
    false
}

#[test]
fn tunnels_carry_only_between_their_ends_and_can_be_given_others() {
    if !has_tunnels() {
        return;
    }
    let [mut a, mut b] = through();
    let (here, there) = (a.udp("[fd00::a]:5000"), b.udp("[fd00::14]:5000"));
    let send = || drop(here.send_to(b"through", "[fd00::14]:5000"));
    let (data, from) = receive_after(&there, send);
    assert_eq!((data.as_slice(), from.ip()), (b"through".as_slice(), address(10).into()));
    // The other end has moved, and is not heard before this one knows.
    b.configure(|batch| batch.change_tunnel(TUNNEL, ends(3, 1)));
    while there.recv_from(&mut [0; 100]).is_ok() {}
    send();
    assert_eq!(there.recv_from(&mut [0; 100]).unwrap_err().kind(), ErrorKind::WouldBlock);
    a.configure(|batch| batch.change_tunnel(TUNNEL, ends(1, 3)));
    receive_after(&there, send);

    b.configure(|batch| batch.delete_tunnels());
    let mut batch = Batch::default();
    batch.delete_tunnels();
    assert!(b.netlink.apply(batch).is_err(), "there is none left");
}

/// Longer ones could not be taken out of the tunnel by whoever emulates a link.
#[test]
fn segments_in_a_tunnel_are_as_long_as_on_a_wire() {
    const IPV6: u16 = 0x86dd;
    if !has_tunnels() {
        return;
    }
    let [a, b] = through();
    let frames = b.namespace.run(|| FrameSocket::open(IPV6)).unwrap().unwrap();
    let listener = b.namespace.run(|| TcpListener::bind("[fd00::14]:5000")).unwrap().unwrap();
    let mut stream = a.namespace.run(|| TcpStream::connect("[fd00::14]:5000")).unwrap().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    // As much as the peer's buffer takes while nobody reads.
    stream.write_all(&[0; 32 << 10]).unwrap();
    peer.read_exact(&mut [0; 32 << 10]).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let arrivals = iter::from_fn(|| frames.receive(&mut buffer).unwrap());
    let lengths: Vec<_> = arrivals.filter(|it| it.interface == LINK).map(|it| it.length).collect();
    assert_eq!(lengths.iter().max(), Some(&1500), "{lengths:?}");
}

#[test]
fn out_of_a_tunnel_comes_only_what_is_admitted() {
    if !has_tunnels() {
        return;
    }
    let [mut a, mut b] = pair();
    let mut c = Node::new();
    connect(&mut b, LINK + 1, &mut c, LINK, 2);
    a.configure(|batch| {
        batch.add_tunnel("tnl0", TUNNEL, ends(1, 2));
        [10, 11].map(address).into_iter().for_each(|own| batch.add_address(TUNNEL, own.into(), 128));
        batch.add_route(&by(TUNNEL, 30));
    });
    b.configure(|batch| {
        batch.add_tunnel("tnl0", TUNNEL, ends(2, 1));
        batch.refuse_all_from("tnl0");
        batch.admit(address(10), "tnl0");
        batch.add_route(&by(LINK + 1, 30));
        batch.add_neighbour(LINK + 1, address(30).into(), crate::mac(2, 1));
    });
    c.configure(|batch| batch.add_address(LINK, address(30).into(), 128));
    let there = c.udp("[fd00::1e]:5000");
    let [good, bad] = ["[fd00::a]:5000", "[fd00::b]:5000"].map(|own| a.udp(own));
    let send = |socket: &std::net::UdpSocket| drop(socket.send_to(b"on", "[fd00::1e]:5000"));
    let (_, from) = receive_after(&there, || {
        send(&bad);
        send(&good);
    });
    assert_eq!(from.ip(), address(10), "the first that came through");
    b.configure(|batch| batch.admit_no_more(address(10), "tnl0"));
    while there.recv_from(&mut [0; 100]).is_ok() {}
    send(&good);
    assert_eq!(there.recv_from(&mut [0; 100]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
