//! The verbs against the running kernel, in namespaces of their own. Needs root, or a user namespace
//! (`rootless::all_verbs_work_without_root` runs everything that way, too).

mod addresses;
mod cgroups;
mod frames;
mod links;
mod multicast;
mod namespaces;
mod netem;
mod processes;
mod rootless;
mod routes;
mod taps;
mod tunnels;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{Batch, Netlink, VethEnd};
use samp_sys::sysctl;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A namespace with a netlink socket in it.
struct Node {
    namespace: Namespace,
    netlink: Netlink,
}

impl Node {
    /// A namespace with `lo` up and forwarding as the lab's routers have it.
    fn new() -> Self {
        let namespace = Namespace::create().unwrap();
        let netlink = Netlink::open_in(&namespace).unwrap();
        let mut node = Self { namespace, netlink };
        node.configure(|batch| batch.set_up(1));
        let settings = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
        node.sysctls(&settings);
        // The higher of "all" and the interface's own counts; later interfaces start with "default".
        node.sysctls(&[("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0")]);
        node
    }

    fn many<const N: usize>() -> [Self; N] {
        std::array::from_fn(|_| Self::new())
    }

    fn sysctls(&self, settings: &[(&str, &str)]) {
        self.namespace
            .run(|| settings.iter().for_each(|(path, value)| sysctl::write(path, value).unwrap()))
            .unwrap();
    }

    fn configure(&mut self, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::default();
        fill(&mut batch);
        self.netlink.apply(batch).unwrap();
    }

    fn udp(&self, address: &str) -> UdpSocket {
        let socket = self.namespace.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket
    }
}

/// A veth pair between `a` and `b`, both ends up. Indexes from 100 are free everywhere: with some modules
/// loaded, a new namespace has more than `lo` (`tunl0`, `sit0`). `n` makes the link's MAC addresses its own.
fn connect(a: &mut Node, a_index: u32, b: &mut Node, b_index: u32, n: u8) {
    let (a_name, b_name) = (format!("link{a_index}"), format!("link{b_index}"));
    let b_namespace = Some(&b.namespace);
    a.configure(|batch| {
        batch.add_veth(
            VethEnd { name: &a_name, index: Some(a_index), mac: Some(mac(n, 0)), namespace: None },
            VethEnd { name: &b_name, index: Some(b_index), mac: Some(mac(n, 1)), namespace: b_namespace },
        );
        batch.set_up(a_index);
    });
    b.configure(|batch| batch.set_up(b_index));
    // The kernel answers when both ends can send; until then it drops what is sent.
    assert_eq!(a.netlink.link_index(&a_name).unwrap(), Some(a_index));
    assert_eq!(b.netlink.link_index(&b_name).unwrap(), Some(b_index));
}

/// MAC address of side 0 or 1 of link `n`.
fn mac(n: u8, side: u8) -> [u8; 6] {
    [2, 0, 0, 0, n, side]
}

/// Calls `send` again and again (a new link takes a moment to carry its first packet) until `receiver` has a
/// datagram, which is returned with its sender.
fn receive_after(receiver: &UdpSocket, mut send: impl FnMut()) -> (Vec<u8>, std::net::SocketAddr) {
    let begin = Instant::now();
    let mut data = [0; 2048];
    while begin.elapsed() < PATIENCE {
        send();
        match receiver.recv_from(&mut data) {
            Ok((length, from)) => return (data[..length].to_vec(), from),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
    panic!("nothing was received");
}

fn wait_readable(descriptor: impl AsFd) {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)], timeout), Ok(1));
}

/// Waits for something that the kernel does in the background.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
