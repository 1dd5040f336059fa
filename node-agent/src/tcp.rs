//! SIP over TCP (RFC 3261 §18): one listener, connections by the peer's address, each a task of its own.
//!
//! All is bounded: connections, also per peer, what waits to be sent, and how long a peer may say nothing, be in the middle of
//! a message, or not read.

use crate::driver::now;
use samp_model::Time;
use samp_model::settings::Family;
use samp_protocol::sip::{self, Framer, Message, Transport};
use samp_protocol::{Input, Transmit};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// Connections at most.
const MAX_CONNECTIONS: usize = 1_024;
/// Connections with one address at most.
const MAX_PER_PEER: usize = 32;
/// Messages that may wait to be sent on a connection.
const MAX_QUEUED: usize = 64;
/// Bytes that may.
const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// Events of all connections that may wait for the node.
const MAX_EVENTS: usize = 64;
/// How long a connection may be silent: longer than an INVITE rings.
const IDLE: Duration = Duration::from_secs(240);
/// How long connecting, a message's arrival, or its sending may take: as long as a transaction.
const PATIENCE: Duration = Duration::from_secs(32);

/// A node's TCP side.
#[derive(Debug)]
pub(crate) struct Tcp {
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
}

/// A message that waits to be sent, and its wire form.
type Queued = (Transmit, Vec<u8>);

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
    Message { at: Time, from: SocketAddr, to: IpAddr, message: Message },
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
        let listener = TcpListener::from_std(socket.into())?;
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let sender = Events { sender, ready: Arc::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, sender.clone()));
        let namespace = namespace()?;
        Ok(Self { source, namespace, connections: BTreeMap::new(), opened: 0, sender, events, tasks })
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
                Event::Message { at, from, to, message } => {
                    return Some((at, Input::Message { from, to, transport: Transport::Tcp, message }));
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
        let bytes = transmit.message.to_bytes();
        let queued = connection.queued_bytes.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        let is_taken =
            queued <= MAX_QUEUED_BYTES && connection.queue.try_send((transmit.clone(), bytes)).is_ok();
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
        self.open(peer, async move { timeout(PATIENCE, socket.connect(peer)).await? });
        true
    }

    fn has_room_for(&self, peer: SocketAddr) -> bool {
        let of_peer = SocketAddr::new(peer.ip(), 0)..=SocketAddr::new(peer.ip(), u16::MAX);
        self.connections.len() < MAX_CONNECTIONS && self.connections.range(of_peer).count() < MAX_PER_PEER
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
        self.connections.insert(peer, Connection { number, queue, queued_bytes: queued_bytes.clone() });
        self.tasks.spawn(async move {
            let mut outgoing = Outgoing { waiting, queued_bytes, current: None };
            if let Err(error) = serve(peer, stream, &mut outgoing, &events).await {
                tracing::debug!(%peer, %error, "connection closed");
            }
            let unsent = outgoing.unsent();
            events.tell(Event::Closed { peer, number, unsent }).await;
        });
    }
}

/// The network namespace of the calling thread.
fn namespace() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// What a connection has still to send.
struct Outgoing {
    waiting: mpsc::Receiver<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    /// What is just being written.
    current: Option<Transmit>,
}

impl Outgoing {
    /// Writes until there will be nothing more, which is when the node has left the connection.
    async fn write_to(&mut self, mut writer: OwnedWriteHalf) -> io::Result<()> {
        while let Some((transmit, bytes)) = self.waiting.recv().await {
            self.current = Some(transmit);
            timeout(PATIENCE, writer.write_all(&bytes)).await??;
            self.current = None;
            self.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn unsent(mut self) -> Vec<Transmit> {
        self.waiting.close();
        let mut unsent: Vec<_> = self.current.take().into_iter().collect();
        while let Ok((transmit, _)) = self.waiting.try_recv() {
            unsent.push(transmit);
        }
        unsent
    }
}

async fn accept(listener: TcpListener, events: Events) {
    while !events.sender.is_closed() {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = SocketAddr::new(peer.ip(), peer.port());
                events.tell(Event::Accepted(stream, peer)).await;
            }
            // Descriptors are short; others may give some back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Serves a connection until one side has done with it.
async fn serve(
    peer: SocketAddr,
    stream: impl Future<Output = io::Result<TcpStream>>,
    outgoing: &mut Outgoing,
    events: &Events,
) -> io::Result<()> {
    let stream = stream.await?;
    stream.set_nodelay(true)?;
    let to = stream.local_addr()?.ip();
    let (reader, writer) = stream.into_split();
    tokio::select! {
        done = read_from(reader, peer, to, events) => done,
        done = outgoing.write_to(writer) => done,
    }
}

async fn read_from(
    mut reader: OwnedReadHalf,
    from: SocketAddr,
    to: IpAddr,
    events: &Events,
) -> io::Result<()> {
    let (mut framer, mut buffer) = (Framer::default(), vec![0; 4096]);
    let mut deadline = Instant::now() + IDLE;
    loop {
        let length = timeout_at(deadline, reader.read(&mut buffer)).await??;
        if length == 0 {
            return Ok(());
        }
        let (at, was_inside) = (now(), framer.is_inside_message());
        let mut messages = Vec::new();
        framer.push(&buffer[..length], |frame| messages.push(sip::parse(frame))).map_err(io::Error::other)?;
        if !framer.is_inside_message() {
            deadline = Instant::now() + IDLE;
        } else if !was_inside || !messages.is_empty() {
            deadline = Instant::now() + PATIENCE;
        }
        for message in messages {
            let message = message.map_err(io::Error::other)?;
            events.tell(Event::Message { at, from, to, message }).await;
        }
    }
}
