//! Who floods a SIP server: one socket and a timer, until the flood is over or the supervisor hangs up.

use crate::control::{Control, Received};
use crate::driver::now;
use crate::timer::Timer;
use crate::udp::{Departure, UdpSocket};
use anyhow::{Context, bail};
use samp_model::agent::{AgentConfig, FromAgent, Role};
use samp_model::settings::Family;
use samp_model::{Event, Record};
use samp_protocol::Flood;
use samp_protocol::sip::{self, Message, Request};
use std::net::SocketAddr;

/// Answers that are taken before it is looked for what is due.
const AT_ONCE: usize = 64;

/// The loop of a flood.
pub(crate) struct Flooder {
    /// The node in whose place it is.
    node: String,
    control: Control,
    socket: UdpSocket,
    timer: Timer,
    flood: Flood,
    unsendable: u64,
}

impl Flooder {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The role is another one, or there is no socket for it.
    pub(crate) fn open(config: &AgentConfig, control: Control) -> anyhow::Result<Self> {
        let Role::Flooder { number, own, to, server, flood } = &config.role else {
            bail!("it is no flood");
        };
        let socket = UdpSocket::bind(Family::of(*own), 0).context("cannot open the socket")?;
        let own = SocketAddr::new(*own, socket.port().context("cannot tell the socket's port")?);
        let timer = Timer::new().context("cannot open a timer")?;
        let flood = Flood::new(*number, to, *flood, *server, own, now());
        Ok(Self { node: config.name.clone(), control, socket, timer, flood, unsendable: 0 })
    }

    /// Floods until it is over, or the supervisor hangs up.
    ///
    /// # Errors
    /// A socket is broken, or the supervisor is not understood.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.record(self.flood.began())?;
        while let Some(due) = self.flood.next_due() {
            tokio::select! {
                ready = self.control.attend() => ready.context("cannot attend to the supervisor")?,
                ready = self.timer.until(Some(due)) => {
                    ready.context("cannot wait for the timer")?;
                    self.send_due();
                }
                ready = self.socket.readable() => {
                    ready.context("cannot wait for answers")?;
                    self.take_answers();
                }
            }
            match self.control.try_receive()? {
                Received::Packet(other) => tracing::warn!(?other, "a flood cannot do that"),
                Received::Nothing => {}
                Received::HangUp => return Ok(()),
            }
        }
        self.record(self.flood.ended())?;
        self.control.flush_all().await.context("cannot send to the supervisor")
    }

    fn record(&mut self, event: Event) -> anyhow::Result<()> {
        self.control.queue(&FromAgent::Record(Record { at: now(), node: self.node.clone(), event }))
    }

    fn send_due(&mut self) {
        let Self { flood, socket, unsendable, .. } = self;
        let (to, own) = (flood.server(), flood.own());
        flood.send_due(now(), |request| send(socket, unsendable, request, own, to));
    }

    fn take_answers(&mut self) {
        let Self { flood, socket, unsendable, .. } = self;
        let (to, own) = (flood.server(), flood.own());
        for _ in 0..AT_ONCE {
            let answer = match socket.try_receive() {
                Ok(Some(datagram)) => sip::parse(datagram.payload),
                Ok(None) => return,
                Err(error) => return tracing::debug!(%error, "no answer"),
            };
            if let Ok(Message::Response(response)) = answer
                && let Some(ack) = flood.handle_response(&response)
            {
                send(socket, unsendable, ack, own, to);
            }
        }
    }
}

/// Says whether it has left.
fn send(socket: &UdpSocket, unsendable: &mut u64, request: Request, own: SocketAddr, to: SocketAddr) -> bool {
    let departure = Departure { source: Some(own.ip()), ..Departure::default() };
    let sent = socket.send(&Message::Request(request).to_bytes(), to, departure);
    if let Err(error) = &sent {
        *unsendable += 1;
        if unsendable.is_power_of_two() {
            tracing::warn!(%to, %error, unsendable, "request not sent");
        }
    }
    sent.is_ok()
}
