//! The control socket: JSON packets from and to the supervisor.

use crate::watch::watch;
use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv, send};
use samp_model::agent::{AgentConfig, FromAgent, ToAgent};
use serde_json::{from_slice, to_writer};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest packet, in bytes.
const PACKET_MAX: usize = 64 * 1024;
/// What may wait for a supervisor that does not read, in bytes.
const OUTBOX_MAX: usize = 32 << 20;

/// This agent's end of the socket pair.
#[derive(Debug)]
pub(crate) struct Control {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    /// Packets of encoded messages, oldest first.
    outbox: VecDeque<Vec<u8>>,
    /// Bytes in all of them.
    waiting: usize,
    is_hung_up: bool,
}

/// What a look at the control socket gave.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    /// A packet.
    Packet(ToAgent),
    /// Nothing more for now.
    Nothing,
    /// The supervisor has closed its end.
    HangUp,
}

impl Control {
    /// Takes over the agent's end of a `SOCK_SEQPACKET` socket pair.
    ///
    /// # Errors
    /// The descriptor cannot be waited for.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL)?);
        fcntl(&socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let socket = watch(socket, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            socket,
            buffer: vec![0; PACKET_MAX],
            outbox: VecDeque::new(),
            waiting: 0,
            is_hung_up: false,
        })
    }

    /// Waits for the first packet; `None` when the supervisor hangs up before it.
    ///
    /// # Errors
    /// The packet is no configuration.
    pub(crate) async fn configuration(&mut self) -> anyhow::Result<Option<AgentConfig>> {
        loop {
            self.readable().await?;
            match self.receive()? {
                Packet::Bytes(bytes) => {
                    return Ok(Some(from_slice(bytes).context("cannot understand the configuration")?));
                }
                Packet::Nothing => {}
                Packet::HangUp => return Ok(None),
            }
        }
    }

    /// Waits for a packet or for hang-up.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(drop)
    }

    /// Waits until more of what is queued can be sent; for ever when nothing is.
    pub(crate) async fn flushable(&self) -> io::Result<()> {
        if self.outbox.is_empty() {
            return std::future::pending().await;
        }
        self.socket.writable().await.map(drop)
    }

    /// The next packet, if one waits; asks the kernel, whatever is known of the socket.
    ///
    /// # Errors
    /// The packet is none of [`ToAgent`].
    pub(crate) fn try_receive(&mut self) -> anyhow::Result<Received> {
        if self.is_hung_up {
            return Ok(Received::HangUp);
        }
        match self.receive()? {
            Packet::Bytes(bytes) => {
                Ok(Received::Packet(from_slice(bytes).context("cannot understand the supervisor")?))
            }
            Packet::Nothing => Ok(Received::Nothing),
            Packet::HangUp => Ok(Received::HangUp),
        }
    }

    /// Whether the supervisor does not keep up with what this agent tells it.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting > OUTBOX_MAX / 10
    }

    /// Queues a message for [`flush`](Self::flush), together with others that wait already: a packet costs more than
    /// what is in it.
    ///
    /// # Errors
    /// The supervisor has not read for too long.
    pub(crate) fn queue(&mut self, message: &FromAgent) -> anyhow::Result<()> {
        ensure!(self.waiting < OUTBOX_MAX, "the supervisor does not read: {OUTBOX_MAX} bytes wait");
        if self.outbox.is_empty() {
            self.outbox.push_back(Vec::new());
        }
        let packet = self.outbox.back_mut().context("there is a packet")?;
        let before = packet.len();
        to_writer(&mut *packet, message).context("cannot encode a message for the supervisor")?;
        let length = packet.len() - before;
        ensure!(length <= PACKET_MAX, "a message of {length} bytes is too long");
        if packet.len() > PACKET_MAX {
            let message = packet.split_off(before);
            self.outbox.push_back(message);
        }
        self.waiting += length;
        Ok(())
    }

    /// Sends what is queued, as far as the socket takes it. Hang-up is told by [`try_receive`](Self::try_receive).
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(packet) = self.outbox.front() {
            let sent = self.socket.try_io(Interest::WRITABLE, |socket| {
                Ok(send(socket.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
            });
            match sent {
                Ok(length) => {
                    self.outbox.pop_front();
                    self.waiting -= length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_hang_up(&error) => {
                    self.is_hung_up = true;
                    self.outbox.clear();
                    self.waiting = 0;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what is queued, as the supervisor reads, until there is a packet or hang-up. Nothing is lost when it is dropped
    /// before.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) async fn attend(&mut self) -> io::Result<()> {
        loop {
            self.flush()?;
            tokio::select! {
                ready = self.readable() => return ready,
                ready = self.flushable() => ready?,
            }
        }
    }

    /// Sends all that is queued, however long the supervisor takes to read.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) async fn flush_all(&mut self) -> io::Result<()> {
        self.flush()?;
        while !self.outbox.is_empty() {
            self.flushable().await?;
            self.flush()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<Packet<'_>> {
        let Self { socket, buffer, .. } = self;
        // With MSG_TRUNC the kernel tells the packet's own length, even when it is longer than the buffer.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = match recv(socket.get_ref().as_raw_fd(), buffer, flags) {
            // Once more, for the runtime to note that it is no longer readable.
            Err(Errno::EAGAIN) => {
                socket.try_io(Interest::READABLE, |socket| Ok(recv(socket.as_raw_fd(), buffer, flags)?))
            }
            received => received.map_err(io::Error::from),
        };
        match received {
            Ok(0) => Ok(Packet::HangUp),
            Ok(length) => match buffer.get(..length) {
                Some(bytes) => Ok(Packet::Bytes(bytes)),
                None => bail!("the supervisor sent a packet of {length} bytes"),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Packet::Nothing),
            Err(error) if is_hang_up(&error) => Ok(Packet::HangUp),
            Err(error) => Err(error).context("cannot receive from the supervisor"),
        }
    }
}

enum Packet<'a> {
    Bytes(&'a [u8]),
    Nothing,
    HangUp,
}

/// Whether the peer is gone: with all read (`EPIPE`), or with packets of ours unread (`ECONNRESET`).
fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use samp_model::{Event, Record, Time};
    use serde_json::{Deserializer, to_vec};

    /// Runs a test with an agent's end and its supervisor's.
    fn with_pair<F: Future<Output = ()>>(test: impl FnOnce(Control, OwnedFd) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
            let (agent, supervisor) = pair.expect("a socket pair");
            test(Control::new(agent).expect("a control socket"), supervisor).await;
        });
    }

    fn say(supervisor: &OwnedFd, bytes: &[u8]) {
        send(supervisor.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).expect("sent");
    }

    fn hear(supervisor: &OwnedFd) -> Option<Vec<FromAgent>> {
        let mut buffer = vec![0; PACKET_MAX];
        let length = recv(supervisor.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).ok()?;
        let messages = Deserializer::from_slice(&buffer[..length]).into_iter();
        Some(messages.collect::<Result<_, _>>().expect("JSON"))
    }

    fn record(number: u32) -> FromAgent {
        let event = Event::LinkTriggered { handoff: number };
        FromAgent::Record(Record { at: Time::from_nanos(1), node: "mn".into(), event })
    }

    #[test]
    fn a_hang_up_before_the_configuration_is_no_error() {
        with_pair(async |mut control, supervisor| {
            drop(supervisor);
            assert_eq!(control.configuration().await.expect("no error"), None);
        });
    }

    #[test]
    fn packets_arrive_one_by_one_and_then_the_hang_up() {
        with_pair(async |mut control, supervisor| {
            let packet = ToAgent::HangUp { call: None };
            say(&supervisor, &to_vec(&packet).expect("JSON"));
            say(&supervisor, &to_vec(&packet).expect("JSON"));
            drop(supervisor);
            control.readable().await.expect("readable");
            for expected in [Received::Packet(packet.clone()), Received::Packet(packet), Received::HangUp] {
                assert_eq!(control.try_receive().expect("understood"), expected);
            }
        });
    }

    #[test]
    fn garbage_and_packets_that_are_too_long_are_errors() {
        for (packet, complaint) in
            [(vec![b'{'; 3], "understand"), (vec![b' '; PACKET_MAX + 1], "65537 bytes")]
        {
            with_pair(async |mut control, supervisor| {
                say(&supervisor, &packet);
                let error = control.configuration().await.expect_err("an error");
                assert!(format!("{error:#}").contains(complaint), "{error:#}");
            });
        }
    }

    #[test]
    fn what_the_socket_does_not_take_waits_and_nothing_is_lost() {
        with_pair(async |mut control, supervisor| {
            const COUNT: u32 = 50_000;
            for number in 0..COUNT {
                control.queue(&record(number)).expect("queued");
            }
            let mut heard = 0;
            while heard < COUNT {
                control.flushable().await.expect("writable");
                control.flush().expect("flushed");
                assert!(!control.outbox.is_empty() || heard > 0, "more than a socket's buffer");
                while let Some(packet) = hear(&supervisor) {
                    for message in packet {
                        assert_eq!(message, record(heard));
                        heard += 1;
                    }
                }
            }
            assert!(control.outbox.is_empty());
            assert_eq!(control.waiting, 0);
        });
    }

    #[test]
    fn a_supervisor_that_is_gone_is_a_hang_up_for_who_sends() {
        with_pair(async |mut control, supervisor| {
            control.queue(&record(0)).expect("queued");
            drop(supervisor);
            control.flushable().await.expect("writable");
            control.flush().expect("no error");
            assert_eq!(control.try_receive().expect("no error"), Received::HangUp);
        });
    }
}
