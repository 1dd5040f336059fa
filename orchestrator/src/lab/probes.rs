//! Probes: frames with a number and an instant in them that cross one link each, in both directions.
//!
//! They are sent and received by packet sockets at the link's two ends, as frames of a protocol that nothing else in a
//! lab understands: whatever makes the link's delay and loss treats them as any other, while agents, routes and
//! records do not see them. One thread sends all of them; the kernel says when each arrived, so it does not matter when
//! the thread reads it.

use super::apply::Network;
use super::attachment::Air;
use super::links::Links;
use crate::plan::{Plan, RADIOS, VethEnd};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use samp_model::control::{LinkId, LinkProbes, LinkStatus, PROBE_BYTES, Probed, Probes};
use samp_model::settings::LinkBackend;
use samp_model::topology::{LinkQuality, Loss, NodeId};
use samp_sys::clock::{monotonic_nanos, realtime_nanos};
use samp_sys::frames::FrameSocket;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Local Experimental EtherType 1 (IEEE 802, §9.2.3).
const PROTOCOL: u16 = 0x88b5;
/// Bytes of a probe behind its Ethernet header.
const PAYLOAD: usize = PROBE_BYTES as usize - 14;
/// For so long probes are sent.
const SPAN: Duration = Duration::from_secs(2);
/// Probes in a direction at most.
const MOST: u32 = 200;
/// From one probe of a lab to the next at least.
const GAP: Duration = Duration::from_micros(100);
/// How late a probe may arrive over a link that loses none, and over one that does.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_millis(500)];
/// How long the thread leaves arrivals to their sockets.
const TURN: Duration = Duration::from_millis(5);

/// What is to be probed.
#[derive(Debug)]
pub(super) struct Probing {
    links: Vec<LinkProbes>,
    directions: Vec<Direction>,
}

/// One direction of a link, and what has become of its probes.
#[derive(Debug)]
struct Direction {
    /// Its link's place, and which of the two directions it is.
    of: (usize, usize),
    from: Port,
    to: Port,
    interval: Duration,
    /// How long a probe may take.
    longest: Duration,
    loses: bool,
    count: u32,
    sent: u32,
    /// How long each took, by its number.
    one_way: Vec<Option<u64>>,
}

/// An interface.
#[derive(Clone, Copy, Debug)]
struct Port {
    namespace: usize,
    index: u32,
    mac: [u8; 6],
}

/// Why there are no probes to report on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("cannot open a packet socket")]
    Socket(#[source] io::Error),
    #[error("cannot receive probes")]
    Receive(#[source] io::Error),
    #[error("{0} probes overflowed their own sockets: the machine is too busy to read them")]
    Missed(u64),
}

impl Probing {
    /// Of so many links from the `first` on, as they are now.
    pub(super) fn new(plan: &Plan, links: &Links, air: &Air, first: usize, count: usize) -> Self {
        let links = links.all().iter().enumerate().skip(first).take(count);
        let mut probing = Self { links: Vec::new(), directions: Vec::new() };
        for (number, status) in links {
            probing.add(plan, air, number, status);
        }
        let gaps = GAP * u32::try_from(probing.directions.len()).unwrap_or(u32::MAX);
        for direction in &mut probing.directions {
            direction.interval = direction.interval.max(gaps).max(SPAN / MOST);
            let count = SPAN.as_nanos() / direction.interval.as_nanos();
            direction.count = u32::try_from(count).unwrap_or(MOST).max(1);
            direction.one_way = vec![None; direction.count as usize];
        }
        probing
    }

    fn add(&mut self, plan: &Plan, air: &Air, number: usize, status: &LinkStatus) {
        let is_plain = matches!(status.link, LinkId::Wired(_)) && plan.emulation.links == LinkBackend::Plain;
        let quality = if is_plain { [LinkQuality::IDEAL; 2] } else { status.quality };
        let found = match status.link {
            _ if !status.up => None,
            LinkId::Wired(ends) => Some((ends, plan.links[number].map(|end| Port::of(plan, end)))),
            LinkId::Radio(node) => radio(plan, air, node),
        };
        let place = self.links.len();
        let probed = found.map(|(ends, ports)| {
            for (way, quality) in quality.iter().enumerate() {
                self.directions.push(Direction::new((place, way), ports[way], ports[1 - way], quality));
            }
            Probed { ends, directions: Default::default() }
        });
        self.links.push(LinkProbes { link: status.link, quality, probed });
    }

    /// Sends all probes and waits for them. The calling thread ends in some namespace of the lab.
    pub(super) fn run(mut self, network: &Network) -> Result<Vec<LinkProbes>, ProbeError> {
        let ports = self.directions.iter().flat_map(|direction| [direction.from, direction.to]);
        let post = Post::open(network, ports.map(|port| port.namespace))?;
        self.send(&post)?;
        self.await_rest(&post)?;
        post.check()?;
        for Direction { of: (place, way), sent, one_way, .. } in self.directions {
            if let Some(probed) = &mut self.links[place].probed {
                probed.directions[way] = Probes { sent, one_way: one_way.into_iter().flatten().collect() };
            }
        }
        Ok(self.links)
    }

    /// Each direction in turn, evenly over its interval.
    fn send(&mut self, post: &Post) -> Result<(), ProbeError> {
        let begin = Instant::now();
        let directions = self.directions.len() as u32;
        let due = |(number, direction): (usize, &Direction)| {
            Reverse((begin + direction.interval / directions * number as u32, number))
        };
        let mut schedule: BinaryHeap<_> = self.directions.iter().enumerate().map(due).collect();
        while let Some(Reverse((due, number))) = schedule.pop() {
            post.deliver(&mut self.directions)?;
            while let Some(rest) = due.checked_duration_since(Instant::now()) {
                sleep(rest.min(TURN));
                post.deliver(&mut self.directions)?;
            }
            let direction = &mut self.directions[number];
            post.send(number, direction);
            if direction.sent < direction.count {
                // Who is late does not hurry: the probes of a link must not wait for each other.
                schedule.push(Reverse((due.max(Instant::now()) + direction.interval, number)));
            }
        }
        Ok(())
    }

    fn await_rest(&mut self, post: &Post) -> Result<(), ProbeError> {
        let longest = self.directions.iter().map(|direction| direction.longest).max().unwrap_or_default();
        let sent = Instant::now();
        loop {
            post.deliver(&mut self.directions)?;
            let waited = sent.elapsed().saturating_sub(longest);
            let is_over = |direction: &Direction| {
                direction.one_way.iter().all(Option::is_some)
                    || waited >= PATIENCE[usize::from(direction.loses)]
            };
            if self.directions.iter().all(is_over) {
                return Ok(());
            }
            sleep(TURN);
        }
    }
}

/// A mobile node's radio link where it is attached: its ends, and their interfaces.
fn radio(plan: &Plan, air: &Air, node: NodeId) -> Option<([NodeId; 2], [Port; 2])> {
    let router = air.attached_to(plan, node)?;
    let interfaces = &plan.namespaces[node.0].interfaces;
    let name = RADIOS[air.radio_in_use(plan, node)?];
    let own = interfaces.iter().position(|interface| interface.name == name)?;
    let (index, mac) = match &plan.mobile_nodes[plan.mobile_node(node)?].moving {
        Some(moving) => (moving.index, moving.mac),
        None => {
            let access = plan.access_routers[plan.access_router(router)?].access?;
            (access.index, access.mac)
        }
    };
    let near = Port::of(plan, VethEnd { namespace: node.0, interface: own });
    Some(([node, router], [near, Port { namespace: router.0, index, mac: mac.0 }]))
}

impl Port {
    fn of(plan: &Plan, end: VethEnd) -> Self {
        let interface = &plan.namespaces[end.namespace].interfaces[end.interface];
        Self { namespace: end.namespace, index: interface.index, mac: interface.mac.0 }
    }
}

impl Direction {
    fn new(of: (usize, usize), from: Port, to: Port, quality: &LinkQuality) -> Self {
        let most = quality.jitter.most();
        let on_line = quality.time_on_line(PROBE_BYTES);
        Self {
            of,
            from,
            to,
            // Probes of a link must not wait for each other: neither for the line, nor for one that is later by jitter.
            interval: 2 * (most + on_line),
            longest: quality.one_way_delay + most + on_line,
            loses: quality.loss != Loss::default(),
            count: 0,
            sent: 0,
            one_way: Vec::new(),
        }
    }
}

/// The sockets, one in each namespace.
struct Post {
    /// Begins every probe, so that those of others are told apart.
    mark: u64,
    sockets: BTreeMap<usize, FrameSocket>,
    epoll: Epoll,
}

impl Post {
    fn open(network: &Network, namespaces: impl Iterator<Item = usize>) -> Result<Self, ProbeError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from);
        let mut post = Self {
            mark: monotonic_nanos(),
            sockets: BTreeMap::new(),
            epoll: epoll.map_err(ProbeError::Socket)?,
        };
        for namespace in namespaces {
            if !post.sockets.contains_key(&namespace) {
                let socket = post.open_in(network, namespace).map_err(ProbeError::Socket)?;
                post.sockets.insert(namespace, socket);
            }
        }
        Ok(post)
    }

    fn open_in(&self, network: &Network, namespace: usize) -> io::Result<FrameSocket> {
        network.namespaces.open(namespace)?.enter()?;
        let socket = FrameSocket::open(PROTOCOL)?;
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, namespace as u64))?;
        Ok(socket)
    }

    fn send(&self, number: usize, direction: &mut Direction) {
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&self.mark.to_be_bytes());
        payload[8..12].copy_from_slice(&(number as u32).to_be_bytes());
        payload[12..16].copy_from_slice(&direction.sent.to_be_bytes());
        payload[16..24].copy_from_slice(&realtime_nanos().to_be_bytes());
        let Port { namespace, index, .. } = direction.from;
        // What an interface does not take is lost as what is lost on the way.
        if let Err(error) = self.sockets[&namespace].send(index, direction.to.mac, &payload) {
            tracing::debug!(%error, namespace, index, "a probe was not sent");
        }
        direction.sent += 1;
    }

    /// Takes what has arrived.
    fn deliver(&self, directions: &mut [Direction]) -> Result<(), ProbeError> {
        let mut events = [EpollEvent::empty(); 64];
        let ready =
            self.epoll.wait(&mut events, 0u8).map_err(io::Error::from).map_err(ProbeError::Receive)?;
        for event in &events[..ready] {
            let namespace = event.data() as usize;
            let mut payload = [0; PAYLOAD];
            let socket = &self.sockets[&namespace];
            while let Some(arrival) = socket.receive(&mut payload).map_err(ProbeError::Receive)? {
                let word =
                    |at: usize| payload[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                let long =
                    |at: usize| payload[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                let direction = directions.get_mut(word(8) as usize).filter(|direction| {
                    let Port { namespace: there, index, .. } = direction.to;
                    long(0) == self.mark && (there, index) == (namespace, arrival.interface)
                });
                let slot = direction.and_then(|direction| direction.one_way.get_mut(word(12) as usize));
                // Of a probe that comes twice the first counts.
                if let Some(slot) = slot {
                    slot.get_or_insert(arrival.at.saturating_sub(long(16)));
                }
            }
        }
        Ok(())
    }

    /// That every probe which arrived was read.
    fn check(&self) -> Result<(), ProbeError> {
        let mut missed = 0;
        for socket in self.sockets.values() {
            missed += socket.missed().map_err(ProbeError::Receive)?;
        }
        if missed == 0 { Ok(()) } else { Err(ProbeError::Missed(missed)) }
    }
}
