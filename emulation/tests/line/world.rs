//! Nodes in namespaces of their own, each with one veth pair into the `wire` namespace.

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use samp_emulation::{Counters, DelayLine};
use samp_model::topology::LinkQuality;
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{Batch, Netlink, Route, VethEnd};
use samp_sys::sysctl;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The port of every test socket.
pub(crate) const PORT: u16 = 5000;

/// How long to wait for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for what must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// Index of every node's only interface.
const NODE_INTERFACE: u32 = 2;

/// Several nodes of one subnet, which know each other's link-layer addresses, so that no ARP is needed.
pub(crate) struct World {
    pub(crate) wire: Namespace,
    pub(crate) nodes: Vec<Node>,
    _alone: MutexGuard<'static, ()>,
}

/// A node: number `n` has the address 10.0.0.`n + 1`.
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) netlink: Netlink,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: [u8; 6],
    /// Index of its end in the wire namespace.
    pub(crate) end: u32,
}

impl World {
    /// So many nodes. Only one world exists at a time, as each measures time.
    pub(crate) fn new(nodes: u8) -> World {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let wire = namespace();
        let nodes: Vec<_> = (0..nodes).map(|number| Node::new(number, &wire)).collect();
        let mut world = World { wire, nodes, _alone: alone };
        let addresses: Vec<_> = world.nodes.iter().map(|node| (node.address, node.mac)).collect();
        for node in &mut world.nodes {
            let mut batch = Batch::default();
            for &(address, mac) in addresses.iter().filter(|(address, _)| *address != node.address) {
                batch.add_neighbour(NODE_INTERFACE, address.into(), mac);
            }
            node.netlink.apply(batch).unwrap();
        }
        world
    }

    /// Index in the wire namespace of the end of node `n`.
    pub(crate) fn end(&self, n: usize) -> u32 {
        self.nodes[n].end
    }

    /// A socket of node `n`.
    pub(crate) fn socket(&self, n: usize) -> UdpSocket {
        self.nodes[n].socket()
    }

    /// Address and port of node `n`.
    pub(crate) fn at(&self, n: usize) -> (Ipv4Addr, u16) {
        (self.nodes[n].address, PORT)
    }
}

impl Node {
    fn new(number: u8, wire: &Namespace) -> Node {
        let namespace = namespace();
        let mut node = Node {
            netlink: Netlink::open_in(&namespace).unwrap(),
            namespace,
            address: Ipv4Addr::new(10, 0, 0, number + 1),
            mac: [2, 0, 0, 0, 0, number + 1],
            end: 100 + u32::from(number),
        };
        let mut batch = Batch::default();
        let name = format!("end{number}");
        batch.add_veth(
            VethEnd { name: &name, index: Some(node.end), mac: None, namespace: None },
            VethEnd {
                name: "eth0",
                index: Some(NODE_INTERFACE),
                mac: Some(node.mac),
                namespace: Some(&node.namespace),
            },
        );
        batch.set_up(node.end);
        Netlink::open_in(wire).unwrap().apply(batch).unwrap();
        node.up();
        node
    }

    /// Brings the interface up, with address and a route for multicast.
    fn up(&mut self) {
        let mut batch = Batch::default();
        batch.set_up(NODE_INTERFACE);
        batch.add_address(NODE_INTERFACE, self.address.into(), 24);
        batch.add_route(&Route {
            destination: (Ipv4Addr::new(224, 0, 0, 0).into(), 4),
            via: None,
            index: NODE_INTERFACE,
            source: None,
            onlink: false,
            mtu: None,
        });
        self.netlink.apply(batch).unwrap();
    }

    /// Takes the interface down, or up again.
    pub(crate) fn set_up(&mut self, up: bool) {
        let mut batch = Batch::default();
        if up {
            batch.set_up(NODE_INTERFACE)
        } else {
            batch.set_down(NODE_INTERFACE)
        }
        self.netlink.apply(batch).unwrap();
    }

    /// A socket that hears unicast and broadcast, with time stamps.
    pub(crate) fn socket(&self) -> UdpSocket {
        socket_in(&self.namespace)
    }
}

/// As [`Node::socket`], in any namespace.
pub(crate) fn socket_in(namespace: &Namespace) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))).unwrap().unwrap();
    socket.set_broadcast(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
    socket
}

/// A namespace that sends nothing by itself.
pub(crate) fn namespace() -> Namespace {
    let namespace = Namespace::create().expect("network namespaces may be made (root)");
    let quiet = || sysctl::write("net/ipv6/conf/default/disable_ipv6", "1");
    namespace.run(quiet).unwrap().unwrap();
    namespace
}

/// A delay, nothing else.
pub(crate) fn delay(millis: u64) -> LinkQuality {
    LinkQuality { one_way_delay: Duration::from_millis(millis), ..LinkQuality::IDEAL }
}

/// The next datagram, and when it came in, in nanoseconds of the same clock as [`now`].
///
/// The kernel says when, so it does not matter when this thread gets a processor.
pub(crate) fn receive(socket: &UdpSocket) -> io::Result<(Vec<u8>, u64)> {
    let mut buffer = vec![0; 65_536];
    let mut control = nix::cmsg_space!(nix::libc::timespec);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time).as_nanos() as u64),
        _ => None,
    });
    let len = message.bytes;
    buffer.truncate(len);
    Ok((buffer, stamp.expect("time stamps are on")))
}

/// Nanoseconds of the clock that the kernel stamps datagrams with.
pub(crate) fn now() -> u64 {
    Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).unwrap()).as_nanos() as u64
}

/// Asserts that nothing comes in for a while.
pub(crate) fn assert_silent(sockets: &[&UdpSocket], wait: Duration) {
    let end = Instant::now() + wait;
    for socket in sockets {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).unwrap();
        let error = receive(socket).map(|(bytes, _)| bytes).expect_err("nothing should come");
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

/// The first counters for which `ready` holds.
pub(crate) fn counters_when(line: &DelayLine, ready: impl Fn(&Counters) -> bool) -> Counters {
    let end = Instant::now() + PATIENCE;
    loop {
        let counters = line.counters();
        if ready(&counters) {
            return counters;
        }
        assert!(Instant::now() < end, "gave up at {counters:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asserts that every frame is accounted for, none was missed, and none is on its way.
pub(crate) fn assert_complete(line: &DelayLine) -> Counters {
    let counters = counters_when(line, |counters| counters.in_flight == 0);
    let Counters { delivered, lost, dropped_on_air, dropped_queue_full, dropped_unattached, .. } = counters;
    let known = delivered + lost + dropped_on_air + dropped_queue_full + dropped_unattached;
    assert_eq!(
        counters.frames_in + counters.duplicated,
        known + counters.dropped_malformed + counters.send_errors,
        "{counters:?}"
    );
    assert_eq!(counters.missed, 0);
    counters
}

/// The median.
pub(crate) fn median(mut values: Vec<u64>) -> Duration {
    values.sort_unstable();
    Duration::from_nanos(values[values.len() / 2])
}
