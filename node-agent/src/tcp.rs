//! SIP over TCP (RFC 3261 §18): one listener, connections by the peer's address, each a task of its own.
//!
//! All is bounded, so that no peer can take it all: connections, what waits to be sent, and how long a peer may say nothing,
//! be in the middle of a message, or not read.

mod connection;
#[cfg(test)]
mod tests;

use connection::{Outgoing, accept, serve};
use samp_model::Time;
use samp_model::settings::Family;
use samp_protocol::sip::{Message, Transport};
use samp_protocol::{Input, Transmit};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Messages that may wait to be sent on a connection.
const MAX_QUEUED: usize = 64;
/// Events of all connections that may wait for the node.
const MAX_EVENTS: usize = 64;

/// What a node's TCP side bears.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections.
    connections: usize,
    /// Connections with one IPv6 network, a /64.
    per_network: usize,
    /// Connections with one address.
    per_address: usize,
    /// Bytes that wait to be sent on a connection.
    queued: usize,
    /// Bytes that wait to be sent to one address, on all connections with it.
    queued_per_address: usize,
    /// How long a connection may be silent.
    idle: Duration,
    /// How long a connection may take to come about.
    connecting: Duration,
    /// How long a message's arrival, or its sending may take.
    patience: Duration,
}

const LIMITS: Limits = Limits {
    connections: 1_024,
    per_network: 256,
    per_address: 32,
    queued: 256 * 1024,
    queued_per_address: 1024 * 1024,
    // Longer than an INVITE rings.
    idle: Duration::from_secs(240),
    // Three SYN of Linux; then there is UDP.
    connecting: Duration::from_secs(4),
    // As long as a transaction.
    patience: Duration::from_secs(32),
};

/// A node's TCP side.
#[derive(Debug)]
pub(crate) struct Tcp {
    limits: Limits,
    source: Option<IpAddr>,
    /// The network namespace in which the listener is; connections must begin there, too.
    namespace: u64,
    connections: BTreeMap<SocketAddr, Connection>,
    opened: u64,
    sender: Events,
    events: mpsc::Receiver<Event>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    queue: mpsc::Sender<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    /// Dropped with this, which ends the task.
    _kept: oneshot::Sender<()>,
}

/// A message that waits to be sent, and its wire form.
type Queued = (Transmit, Arc<[u8]>);

/// Where the tasks tell what happens.
#[derive(Clone, Debug)]
struct Events {
    sender: mpsc::Sender<Event>,
    ready: Arc<Notify>,
}

impl Events {
    async fn tell(&self, event: Event) {
        // Nobody listens any more when the node has ended; then the tasks end, too.
        let _ = self.sender.send(event).await;
        self.ready.notify_one();
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages, moved once")]
enum Event {
    Accepted(TcpStream, SocketAddr),
    Message { at: Time, from: SocketAddr, to: IpAddr, message: Message, length: usize },
    Closed { peer: SocketAddr, number: u64, unsent: Vec<Transmit> },
}

impl Tcp {
    /// Listens in the calling thread's network namespace; connections begin at `source`, if that is given.
    ///
    /// # Errors
    /// The port is taken, or no descriptor is left.
    pub(crate) fn listen(family: Family, port: u16, source: Option<IpAddr>) -> io::Result<Self> {
        let (domain, any): (_, IpAddr) = if family.has_ipv6() {
            (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
        } else {
            (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into())
        };
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if family.has_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(any, port).into())?;
        socket.listen(128)?;
        Self::serve(TcpListener::from_std(socket.into())?, source, LIMITS)
    }

    fn serve(listener: TcpListener, source: Option<IpAddr>, limits: Limits) -> io::Result<Self> {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let sender = Events { sender, ready: Arc::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, sender.clone()));
        let namespace = namespace()?;
        let connections = BTreeMap::new();
        Ok(Self { limits, source, namespace, connections, opened: 0, sender, events, tasks })
    }

    /// Waits until [`try_receive`](Self::try_receive) has something.
    pub(crate) async fn readable(&self) {
        if self.events.is_empty() {
            self.sender.ready.notified().await;
        }
    }

    /// The next message, if one has come; what could not be sent is added to `undelivered`.
    pub(crate) fn try_receive(&mut self, undelivered: &mut impl Extend<Transmit>) -> Option<(Time, Input)> {
        while self.tasks.try_join_next().is_some() {}
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Accepted(stream, peer) if self.has_room_for(peer) => {
                    self.open(peer, async { Ok(stream) });
                }
                Event::Accepted(_, peer) => tracing::warn!(%peer, "too many connections"),
                Event::Message { at, from, to, message, length } => {
                    let transport = Transport::Tcp;
                    let bytes = transport.datagram_length(from.ip(), length);
                    return Some((at, Input::Message { from, to, transport, message, bytes }));
                }
                Event::Closed { peer, number, unsent } => {
                    undelivered.extend(unsent);
                    if self.connections.get(&peer).is_some_and(|present| present.number == number) {
                        self.connections.remove(&peer);
                    }
                }
            }
        }
        None
    }

    /// Sends a message on the connection with its destination, which is made if there is none. A response whose connection
    /// is gone goes to where the request's sender listens (RFC 3261 §18.2.2).
    ///
    /// Says whether it is on its way.
    pub(crate) fn send(&mut self, transmit: &Transmit) -> bool {
        let mut peer = transmit.destination;
        if let (Message::Response(response), false) =
            (&*transmit.message, self.connections.contains_key(&peer))
        {
            let port = response.headers.via.first().and_then(|via| via.port);
            peer.set_port(port.unwrap_or(super::sip_socket::SIP_PORT));
        }
        if !self.connections.contains_key(&peer) && !self.connect(peer) {
            return false;
        }
        let Some(connection) = self.connections.get(&peer) else { return false };
        let bytes = transmit.to_bytes();
        let queued = connection.queued_bytes.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        let is_taken = queued <= self.limits.queued
            && self.queued_for(peer.ip()) <= self.limits.queued_per_address
            && connection.queue.try_send((transmit.clone(), bytes)).is_ok();
        if !is_taken {
            // A peer that does not read is left.
            self.connections.remove(&peer);
        }
        is_taken
    }

    /// The node's address is gone, and with it all connections.
    pub(crate) fn close_all(&mut self) {
        self.connections.clear();
    }

    fn connect(&mut self, peer: SocketAddr) -> bool {
        // A process of many nodes goes from namespace to namespace: a connection of another one's would be wrong.
        if !self.has_room_for(peer) || namespace().ok() != Some(self.namespace) {
            return false;
        }
        let socket = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let source = self.source;
        let Ok(socket) = socket else { return false };
        if source.is_some_and(|source| socket.bind(SocketAddr::new(source, 0)).is_err()) {
            return false;
        }
        let patience = self.limits.connecting;
        self.open(peer, async move { timeout(patience, socket.connect(peer)).await? });
        true
    }

    fn has_room_for(&self, peer: SocketAddr) -> bool {
        let count = |peers| self.connections.range::<SocketAddr, _>(peers).count();
        self.connections.len() < self.limits.connections
            && count(of_address(peer.ip())) < self.limits.per_address
            && count(of_network(peer.ip())) < self.limits.per_network
    }

    /// Bytes that wait to be sent to an address.
    fn queued_for(&self, address: IpAddr) -> usize {
        let connections = self.connections.range(of_address(address));
        connections.map(|(_, connection)| connection.queued_bytes.load(Ordering::Relaxed)).sum()
    }

    fn open(
        &mut self,
        peer: SocketAddr,
        stream: impl Future<Output = io::Result<TcpStream>> + Send + 'static,
    ) {
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        self.opened += 1;
        let number = self.opened;
        let events = self.sender.clone();
        let (_kept, left) = oneshot::channel();
        let connection = Connection { number, queue, queued_bytes: queued_bytes.clone(), _kept };
        self.connections.insert(peer, connection);
        let limits = self.limits;
        self.tasks.spawn(async move {
            let mut outgoing = Outgoing::new(waiting, queued_bytes);
            let served = tokio::select! {
                served = serve(peer, stream, &mut outgoing, &events, limits) => served,
                _ = left => Ok(()),
            };
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "connection closed");
            }
            let unsent = outgoing.unsent();
            events.tell(Event::Closed { peer, number, unsent }).await;
        });
    }
}

/// All peers with this address.
fn of_address(address: IpAddr) -> RangeInclusive<SocketAddr> {
    SocketAddr::new(address, 0)..=SocketAddr::new(address, u16::MAX)
}

/// All peers with an address of the same IPv6 /64, or with the same IPv4 address.
fn of_network(address: IpAddr) -> RangeInclusive<SocketAddr> {
    let IpAddr::V6(address) = address else { return of_address(address) };
    let host = u128::from(u64::MAX);
    let [first, last] = [address.to_bits() & !host, address.to_bits() | host].map(Ipv6Addr::from_bits);
    SocketAddr::new(first.into(), 0)..=SocketAddr::new(last.into(), u16::MAX)
}

/// The network namespace of the calling thread.
fn namespace() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino())
}
