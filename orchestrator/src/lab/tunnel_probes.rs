//! Probes of Mobile IPv6's tunnels: datagrams with a number and an instant in them, from mobile nodes' home addresses to their
//! home agents and back. They take the way that applications' datagrams take, and the receiving kernel says when they
//! arrived.

use super::apply::Network;
use super::probes::ProbeError;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use samp_model::control::{Probes, TUNNELS_PROBED, TunnelProbes};
use samp_model::mobility::Agents;
use samp_model::topology::{NodeId, Topology};
use samp_sys::clock::{monotonic_nanos, realtime_nanos};
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// For so long probes are sent.
const SPAN: Duration = Duration::from_secs(2);
/// From one probe of a direction to the next at least, and from one of a lab to the next.
const INTERVAL: Duration = Duration::from_millis(20);
const GAP: Duration = Duration::from_millis(1);
/// How long the last ones are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the thread leaves arrivals to their sockets.
const TURN: Duration = Duration::from_millis(5);
/// Bytes of a probe behind its UDP header: mark, direction, number, instant.
const PAYLOAD: usize = 24;

/// What is to be probed.
#[derive(Debug)]
pub(super) struct TunnelProbing {
    /// Mobile nodes with their home agents.
    pairs: Vec<[(NodeId, Ipv6Addr); 2]>,
    /// Of each pair there and back.
    directions: Vec<Direction>,
}

/// One way between two nodes, and what has become of its probes.
#[derive(Debug)]
struct Direction {
    from: NodeId,
    to: NodeId,
    sent: u32,
    /// How long each took, by its number.
    one_way: Vec<Option<u64>>,
}

impl TunnelProbing {
    /// Of the first [`TUNNELS_PROBED`] mobile nodes for which `is_attached` holds.
    pub(super) fn new(topology: &Topology, agents: &Agents, is_attached: impl Fn(NodeId) -> bool) -> Self {
        let pair = |mobile_node| {
            let home = agents.home_address(mobile_node)?;
            let agent = agents.serving(home.into())?;
            Some([(mobile_node, home), (agent, agents.home_agent(mobile_node)?)])
        };
        let attached = topology.mobile_nodes().filter(|&node| is_attached(node));
        let pairs: Vec<_> = attached.filter_map(pair).take(TUNNELS_PROBED).collect();
        let direction = |[(from, _), (to, _)]: [_; 2]| Direction { from, to, sent: 0, one_way: Vec::new() };
        let directions = pairs.iter().flat_map(|&[a, b]| [direction([a, b]), direction([b, a])]).collect();
        Self { pairs, directions }
    }

    /// Sends all probes and waits for them. The calling thread ends in some namespace of the lab.
    pub(super) fn run(mut self, network: &Network) -> Result<Vec<TunnelProbes>, ProbeError> {
        let post = Post::open(network, self.pairs.iter().flatten())?;
        self.send(&post)?;
        let sent = Instant::now();
        let is_over = |direction: &Direction| direction.one_way.iter().all(Option::is_some);
        while !self.directions.iter().all(is_over) && sent.elapsed() < PATIENCE {
            sleep(TURN);
            post.deliver(&mut self.directions)?;
        }
        let mut directions = self.directions.into_iter().map(|Direction { sent, one_way, .. }| Probes {
            sent,
            one_way: one_way.into_iter().flatten().collect(),
        });
        let mut next = || directions.next().unwrap_or_default();
        let probed = |[(mobile_node, _), (agent, _)]: [_; 2]| TunnelProbes {
            mobile_node,
            agent,
            directions: [next(), next()],
        };
        Ok(self.pairs.into_iter().map(probed).collect())
    }

    /// Each direction in turn.
    fn send(&mut self, post: &Post) -> Result<(), ProbeError> {
        let all = u32::try_from(self.directions.len()).unwrap_or(u32::MAX).max(1);
        let gap = GAP.max(INTERVAL / all);
        let count = (SPAN.as_nanos() / (gap * all).as_nanos()).max(1) as usize;
        let mut due = Instant::now();
        for number in 0..count * self.directions.len() {
            while let Some(rest) = due.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
                post.deliver(&mut self.directions)?;
                sleep(rest.min(TURN));
            }
            post.send(number % self.directions.len(), &mut self.directions);
            // Who is late does not hurry.
            due = due.max(Instant::now()) + gap;
        }
        Ok(())
    }
}

/// The sockets, one at each node.
struct Post {
    /// Begins every probe, so that those of others are told apart.
    mark: u64,
    sockets: BTreeMap<NodeId, (UdpSocket, SocketAddr)>,
    epoll: Epoll,
}

impl Post {
    fn open<'a>(
        network: &Network,
        ends: impl Iterator<Item = &'a (NodeId, Ipv6Addr)>,
    ) -> Result<Self, ProbeError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from);
        let mut post = Self {
            mark: monotonic_nanos(),
            sockets: BTreeMap::new(),
            epoll: epoll.map_err(ProbeError::Socket)?,
        };
        for &(node, address) in ends {
            if !post.sockets.contains_key(&node) {
                let socket = post.open_in(network, node, address).map_err(ProbeError::Socket)?;
                post.sockets.insert(node, socket);
            }
        }
        Ok(post)
    }

    fn open_in(
        &self,
        network: &Network,
        node: NodeId,
        address: Ipv6Addr,
    ) -> io::Result<(UdpSocket, SocketAddr)> {
        network.namespaces.open(node.0)?.enter()?;
        let socket = UdpSocket::bind((IpAddr::V6(address), 0))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, node.0 as u64))?;
        let bound = socket.local_addr()?;
        Ok((socket, bound))
    }

    fn send(&self, number: usize, directions: &mut [Direction]) {
        let direction = &mut directions[number];
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&self.mark.to_be_bytes());
        payload[8..12].copy_from_slice(&(number as u32).to_be_bytes());
        payload[12..16].copy_from_slice(&direction.sent.to_be_bytes());
        payload[16..].copy_from_slice(&realtime_nanos().to_be_bytes());
        let (socket, to) = (&self.sockets[&direction.from].0, self.sockets[&direction.to].1);
        // What does not leave is lost as what is lost on the way.
        if let Err(error) = socket.send_to(&payload, to) {
            tracing::debug!(%error, %to, "a probe was not sent");
        }
        direction.sent += 1;
        direction.one_way.push(None);
    }

    /// Takes what has arrived.
    fn deliver(&self, directions: &mut [Direction]) -> Result<(), ProbeError> {
        let mut events = [EpollEvent::empty(); 64];
        let ready =
            self.epoll.wait(&mut events, 0u8).map_err(io::Error::from).map_err(ProbeError::Receive)?;
        for event in &events[..ready] {
            let node = NodeId(event.data() as usize);
            let mut payload = [0; PAYLOAD];
            while let Some(at) = receive(&self.sockets[&node].0, &mut payload).map_err(ProbeError::Receive)? {
                let word =
                    |at: usize| payload[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                let long =
                    |at: usize| payload[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                let direction = directions.get_mut(word(8) as usize);
                let direction = direction.filter(|direction| long(0) == self.mark && direction.to == node);
                if let Some(slot) =
                    direction.and_then(|direction| direction.one_way.get_mut(word(12) as usize))
                {
                    // Of a probe that comes twice the first counts.
                    slot.get_or_insert(at.saturating_sub(long(16)));
                }
            }
        }
        Ok(())
    }
}

/// The next probe, and when the kernel took it in; none when none waits.
fn receive(socket: &UdpSocket, payload: &mut [u8]) -> io::Result<Option<u64>> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(payload)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
    let told = match received {
        Err(Errno::EAGAIN) => return Ok(None),
        received => received?,
    };
    let stamp = told.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time).as_nanos() as u64),
        _ => None,
    });
    stamp.map(Some).ok_or_else(|| io::Error::other("the kernel does not say when a datagram came"))
}
