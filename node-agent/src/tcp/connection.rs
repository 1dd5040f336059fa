//! One connection's task: it reads, writes, and says what has come and what could not be sent.

use super::{Event, Events, Limits, Queued};
use crate::driver::now;
use samp_protocol::Transmit;
use samp_protocol::sip::{self, Framer};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// What a connection has still to send.
pub(super) struct Outgoing {
    waiting: mpsc::Receiver<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    /// What is just being written.
    current: Option<Transmit>,
}

impl Outgoing {
    pub(super) fn new(waiting: mpsc::Receiver<Queued>, queued_bytes: Arc<AtomicUsize>) -> Self {
        Self { waiting, queued_bytes, current: None }
    }

    /// Writes until there will be nothing more.
    async fn write_to(&mut self, mut writer: OwnedWriteHalf, patience: Duration) -> io::Result<()> {
        while let Some((transmit, bytes)) = self.waiting.recv().await {
            self.current = Some(transmit);
            timeout(patience, writer.write_all(&bytes)).await??;
            self.current = None;
            self.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// What was not written, or not as a whole.
    pub(super) fn unsent(mut self) -> Vec<Transmit> {
        self.waiting.close();
        let mut unsent: Vec<_> = self.current.take().into_iter().collect();
        while let Ok((transmit, _)) = self.waiting.try_recv() {
            unsent.push(transmit);
        }
        unsent
    }
}

pub(super) async fn accept(listener: TcpListener, events: Events) {
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

/// Serves a connection until its peer has done with it, or has broken a rule.
pub(super) async fn serve(
    peer: SocketAddr,
    stream: impl Future<Output = io::Result<TcpStream>>,
    outgoing: &mut Outgoing,
    events: &Events,
    limits: Limits,
) -> io::Result<()> {
    let stream = stream.await?;
    stream.set_nodelay(true)?;
    let to = stream.local_addr()?.ip();
    let (reader, writer) = stream.into_split();
    tokio::select! {
        done = read_from(reader, peer, to, events, limits) => done,
        done = outgoing.write_to(writer, limits.patience) => done,
    }
}

async fn read_from(
    mut reader: OwnedReadHalf,
    from: SocketAddr,
    to: IpAddr,
    events: &Events,
    limits: Limits,
) -> io::Result<()> {
    let (mut framer, mut buffer) = (Framer::default(), vec![0; 4096]);
    let mut deadline = Instant::now() + limits.idle;
    loop {
        let length = timeout_at(deadline, reader.read(&mut buffer)).await??;
        if length == 0 {
            return Ok(());
        }
        let (at, was_inside) = (now(), framer.is_inside_message());
        let mut messages = Vec::new();
        framer
            .push(&buffer[..length], |frame| messages.push((sip::parse(frame), frame.len())))
            .map_err(io::Error::other)?;
        if !framer.is_inside_message() {
            deadline = Instant::now() + limits.idle;
        } else if !was_inside || !messages.is_empty() {
            deadline = Instant::now() + limits.patience;
        }
        for (message, length) in messages {
            let message = message.map_err(io::Error::other)?;
            events.tell(Event::Message { at, from, to, message, length }).await;
        }
    }
}
