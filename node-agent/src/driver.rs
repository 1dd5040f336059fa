//! The driver loop: wait for one event, feed it to the node, flush what comes out, arm the timer, repeat.

mod links;
mod tunnels;

use crate::control::{Control, Received};
use crate::mobile_ip::Tunnels;
use crate::sip_socket::{self, SipSocket};
use crate::timer::Timer;
use crate::udp::Departure;
use anyhow::{Context, bail, ensure};
use links::{Mobile, open_interface};
use samp_model::agent::{AgentConfig, FromAgent, Role, ToAgent};
use samp_model::settings::Records;
use samp_model::{Event, Record, Time};
use samp_protocol::{Input, Node, Output};
use std::io;
use std::ops::ControlFlow;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Datagrams taken from a socket before the others get their turn.
const BURST: usize = 32;
/// What a paused node may be told at most: more than a socket would hold for one that is stopped.
const TOLD_MAX: usize = 4096;

/// A protocol node and its sockets.
pub(crate) struct Driver {
    name: String,
    node: Box<dyn Node>,
    control: Control,
    timer: Timer,
    /// But at an agent of Mobile IPv6.
    sip: Option<SipSocket>,
    mobile: Option<Mobile>,
    /// With Mobile IPv6.
    tunnels: Option<Tunnels>,
    /// When their cost is to be written down.
    cost_due: Time,
    records: Records,
    /// At a server, SIGTERM: it leaves the ring first. Other nodes just end.
    termination: Option<Signal>,
    /// Whether it is to end once it has left.
    is_ending: bool,
    has_left: bool,
    /// Whether it is a server that joins others.
    joins_ring: bool,
    /// Who waits until it has its place on the ring.
    placed: Option<oneshot::Sender<()>>,
    paused: Option<Paused>,
}

/// What came to a node that is paused; all else waits in the kernel.
#[derive(Default)]
struct Paused {
    /// The message that was in hand when it was told to pause, and the instant it was received.
    message: Option<(Time, Input)>,
    told: Vec<ToAgent>,
}

/// What the driver has waited for.
#[derive(Clone, Copy, Debug)]
enum Wake {
    Control,
    ControlHasRoom,
    Termination,
    Deadline,
    Sip,
    Rtp,
    Address,
    Carrier,
    Tunnels,
}

impl Driver {
    /// Opens the node's sockets in the calling thread's network namespace, and has the node built.
    ///
    /// # Errors
    /// A port is taken, the interface is missing, no descriptor is left, or the configuration makes no node.
    pub(crate) fn open(
        config: AgentConfig,
        control: Control,
        build: impl FnOnce(&AgentConfig, Time) -> anyhow::Result<Box<dyn Node>>,
    ) -> anyhow::Result<Self> {
        let timer = Timer::new().context("cannot open a timer")?;
        let (mobile, interface) = match &config.role {
            Role::SipServer { interface, .. } => (None, Some(open_interface(interface)?.1)),
            Role::MobileNode { .. } => {
                let (mobile, interface) = Mobile::open(&config.role, config.seed)?;
                (Some(mobile), Some(interface))
            }
            Role::MobilityAgent(_) => (None, None),
            Role::AccessRouter { .. } | Role::Flooder { .. } => bail!("it has no protocol node"),
        };
        let sip = interface.map(|interface| SipSocket::open(&config.role, &config.samp, interface));
        let sip = sip.transpose().context("cannot open the SIP socket")?;
        let tunnels = Tunnels::open(&config.role)?;
        let leaves = matches!(config.role, Role::SipServer { .. });
        let termination = leaves.then(|| signal(SignalKind::terminate())).transpose();
        let termination = termination.context("cannot catch SIGTERM")?;
        let joins_ring = matches!(&config.role, Role::SipServer { join: Some(_), .. });
        let node = build(&config, now()).context("cannot make the node")?;
        let records = config.samp.records;
        Ok(Self {
            name: config.name,
            node,
            control,
            timer,
            sip,
            mobile,
            tunnels,
            cost_due: Time::ZERO,
            records,
            termination,
            is_ending: false,
            has_left: false,
            joins_ring,
            placed: None,
            paused: None,
        })
    }

    /// Resolves when the node has its place on the ring, that is, a predecessor; none where it is no server that joins one.
    pub(crate) fn place_on_ring(&mut self) -> Option<oneshot::Receiver<()>> {
        let (placed, place) = oneshot::channel();
        self.joins_ring.then(|| {
            self.placed = Some(placed);
            place
        })
    }

    /// Turns the crank until the supervisor hangs up, or until a server that was sent SIGTERM has left the ring.
    ///
    /// # Errors
    /// A socket is broken, the supervisor is not understood, or an address cannot be configured.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.control.queue(&FromAgent::Ready)?;
        self.flush(now())?;
        while !(self.is_ending && self.has_left) {
            self.control.flush().context("cannot send to the supervisor")?;
            match self.wait().await.context("cannot wait for input")? {
                Wake::Control => {
                    if self.handle_control()?.is_break() {
                        return Ok(());
                    }
                }
                Wake::ControlHasRoom => {}
                Wake::Termination => {
                    self.is_ending = true;
                    self.feed(now(), Input::Leave)?;
                }
                Wake::Deadline => self.handle_deadline()?,
                Wake::Sip => {
                    if self.handle_sip().await?.is_break() {
                        return Ok(());
                    }
                }
                Wake::Rtp => self.handle_rtp().await?,
                Wake::Tunnels => {
                    if self.handle_tunnels().await?.is_break() {
                        return Ok(());
                    }
                }
                Wake::Address => {
                    if self.handle_addresses()?.is_break() {
                        return Ok(());
                    }
                }
                Wake::Carrier => {
                    if self.handle_carrier()?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        self.control.flush_all().await.context("cannot send to the supervisor")
    }

    async fn wait(&mut self) -> io::Result<Wake> {
        if self.paused.is_some() {
            return self.control.readable().await.map(|()| Wake::Control);
        }
        let deadline = self.deadline();
        let terminated = async {
            match &mut self.termination {
                Some(termination) => termination.recv().await,
                None => std::future::pending().await,
            }
        };
        let rtp_readable = async {
            match &self.mobile {
                Some(mobile) => mobile.rtp.readable().await,
                None => std::future::pending().await,
            }
        };
        let address_readable = async {
            match self.mobile.as_ref().and_then(|mobile| mobile.addresses.as_ref()) {
                Some(addresses) => addresses.readable().await,
                None => std::future::pending().await,
            }
        };
        let carrier_readable = async {
            match self.mobile.as_ref().and_then(|mobile| mobile.carrier.as_ref()) {
                Some(carrier) => carrier.readable().await,
                None => std::future::pending().await,
            }
        };
        let sip_readable = async {
            match &self.sip {
                Some(sip) => sip.readable().await,
                None => std::future::pending().await,
            }
        };
        let tunnels_readable = async {
            match &self.tunnels {
                Some(tunnels) => tunnels.readable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.control.readable() => ready.map(|()| Wake::Control),
            ready = self.control.flushable() => ready.map(|()| Wake::ControlHasRoom),
            _ = terminated => Ok(Wake::Termination),
            ready = self.timer.until(deadline) => ready.map(|()| Wake::Deadline),
            ready = sip_readable => ready.map(|()| Wake::Sip),
            ready = rtp_readable => ready.map(|()| Wake::Rtp),
            ready = address_readable => ready.map(|()| Wake::Address),
            ready = carrier_readable => ready.map(|()| Wake::Carrier),
            ready = tunnels_readable => ready.map(|()| Wake::Tunnels),
        }
    }

    /// When the node, its media or its address want to be looked after again.
    fn deadline(&self) -> Option<Time> {
        let media = self.mobile.as_ref().and_then(|mobile| mobile.media.next_due());
        let addresses = self.mobile.as_ref().and_then(|mobile| mobile.addresses.as_ref()?.poll_timeout());
        self.node.poll_timeout().into_iter().chain(media).chain(addresses).min()
    }

    /// Takes all that the supervisor has said.
    fn handle_control(&mut self) -> anyhow::Result<ControlFlow<()>> {
        loop {
            let packet = match self.control.try_receive()? {
                Received::Packet(packet) => packet,
                Received::Nothing => return Ok(ControlFlow::Continue(())),
                Received::HangUp => return Ok(ControlFlow::Break(())),
            };
            match (packet, &mut self.paused) {
                (ToAgent::Resume, paused) => {
                    let Some(Paused { message, told }) = paused.take() else { continue };
                    message.map_or(Ok(()), |(at, input)| self.hear(at, input))?;
                    told.into_iter().try_for_each(|packet| self.obey(packet))?;
                }
                (packet, None) => self.obey(packet)?,
                (packet, Some(Paused { told, .. })) => {
                    ensure!(told.len() < TOLD_MAX, "too much was told to a paused node");
                    told.push(packet);
                }
            }
        }
    }

    fn obey(&mut self, packet: ToAgent) -> anyhow::Result<()> {
        let now = now();
        match packet {
            ToAgent::LinkUp(link) => self.handle_link_up(now, link)?,
            ToAgent::LinkDown { radio } => self.handle_link_down(radio)?,
            ToAgent::NextLink(link) => self.expect(link),
            ToAgent::LinkGoingDown { handoff, access_router } => {
                self.feed(now, Input::LinkGoingDown { handoff, access_router })?;
            }
            ToAgent::Call { callee, call } => self.feed(now, Input::Call { callee, call })?,
            ToAgent::Leave => self.feed(now, Input::Leave)?,
            ToAgent::HangUp { call } => self.feed(now, Input::HangUp { call })?,
            ToAgent::Transfer { call, target } => self.feed(now, Input::Transfer { call, target })?,
            ToAgent::Deregister => self.feed(now, Input::Deregister)?,
            ToAgent::Pause => self.paused = Some(Paused::default()),
            ToAgent::Resume => {}
            ToAgent::Expect { .. } => tracing::warn!("this node gives out no addresses"),
        }
        Ok(())
    }

    fn handle_deadline(&mut self) -> anyhow::Result<()> {
        let now = now();
        if let Some(Mobile { media, rtp, .. }) = &mut self.mobile {
            media.send_due(now, |packet, to| rtp.send(packet, to, Departure::default()));
        }
        if self.node.poll_timeout().is_some_and(|timeout| timeout <= now) {
            self.node.handle_timeout(now);
        }
        self.flush(now)?;
        if let Some(client) = self.address_client() {
            client.handle_timeout(now);
        }
        self.flush_addresses()
    }

    async fn handle_sip(&mut self) -> anyhow::Result<ControlFlow<()>> {
        if let Some(lag) = self.sip.as_ref().and_then(|sip| sip.lag(now())) {
            self.node.handle_input(now(), Input::Lag(lag));
        }
        for _ in 0..BURST {
            let Some(sip) = &mut self.sip else { break };
            let received = sip.try_receive(self.control.is_behind());
            let (at, input) = match received.context("cannot receive SIP messages")? {
                sip_socket::Received::Message(at, input) => (at, input),
                sip_socket::Received::Dropped => continue,
                sip_socket::Received::Nothing => return Ok(ControlFlow::Continue(())),
            };
            if self.hear_in_turn(at, input)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if self.paused.is_some() {
                return Ok(ControlFlow::Continue(()));
            }
        }
        // The runtime looks at the other descriptors only when it gets the thread back.
        tokio::task::yield_now().await;
        Ok(ControlFlow::Continue(()))
    }

    /// The peer may have been told something after this node was: that comes first, as it did there. It may be to pause.
    fn hear_in_turn(&mut self, at: Time, input: Input) -> anyhow::Result<ControlFlow<()>> {
        if self.handle_control()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        match &mut self.paused {
            Some(paused) => paused.message = Some((at, input)),
            None => self.hear(at, input)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn hear(&mut self, at: Time, input: Input) -> anyhow::Result<()> {
        if self.records == Records::Messages
            && let Some(received) = input.received()
        {
            self.record(at, received)?;
        }
        self.feed(at, input)
    }

    async fn handle_rtp(&mut self) -> anyhow::Result<()> {
        let Some(Mobile { media, rtp, .. }) = &mut self.mobile else { return Ok(()) };
        let mut is_drained = false;
        for _ in 0..BURST {
            let Some(datagram) = rtp.try_receive().context("cannot receive media")? else {
                is_drained = true;
                break;
            };
            media.handle_datagram(datagram.at, datagram.from.ip(), datagram.to, datagram.payload);
        }
        self.record_media()?;
        if !is_drained {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Takes what waits at the RTP socket now, but never more than it can hold.
    fn drain_rtp(&mut self) -> anyhow::Result<()> {
        let Some(Mobile { media, rtp, .. }) = &mut self.mobile else { return Ok(()) };
        for _ in 0..16 * BURST {
            let Some(datagram) = rtp.receive_queued().context("cannot receive media")? else { break };
            media.handle_datagram(datagram.at, datagram.from.ip(), datagram.to, datagram.payload);
        }
        self.record_media()
    }

    fn feed(&mut self, now: Time, input: Input) -> anyhow::Result<()> {
        self.node.handle_input(now, input);
        self.flush(now)
    }

    /// Empties the node: what happened first, then what is to be sent.
    fn flush(&mut self, now: Time) -> anyhow::Result<()> {
        loop {
            while let Some(output) = self.node.poll_event() {
                match (output, &mut self.mobile) {
                    (Output::Record(event), _) => {
                        if matches!(event, Event::RingChanged { predecessor: Some(_), .. })
                            && let Some(placed) = self.placed.take()
                        {
                            // Nobody may wait for it any more.
                            let _ = placed.send(());
                        }
                        self.record(now, event)?;
                    }
                    (Output::Media(command), Some(mobile)) => mobile.media.handle_command(now, command),
                    (Output::Left, _) => self.has_left = true,
                    (Output::Media(command), None) => tracing::warn!(?command, "media at a node without any"),
                    (Output::Packet(packet), _) => self.send_packet(&packet)?,
                    (Output::Forwarding(change), _) => {
                        if let Some(tunnels) = &mut self.tunnels {
                            tunnels.apply(change);
                        }
                    }
                }
            }
            self.record_media()?;
            let Some(transmit) = self.node.poll_transmit() else { return Ok(()) };
            let transmit = transmit.encoded();
            let left = self::now();
            if let Some(sip) = &mut self.sip {
                sip.send(&transmit);
            }
            if self.records == Records::Messages
                && let Some(sent) = transmit.sent()
            {
                self.record(left, sent)?;
            }
        }
    }

    fn record_media(&mut self) -> anyhow::Result<()> {
        while let Some((at, event)) = self.mobile.as_mut().and_then(|mobile| mobile.media.poll_event()) {
            self.record(at, event)?;
        }
        Ok(())
    }

    fn record(&mut self, at: Time, event: Event) -> anyhow::Result<()> {
        self.control.queue(&FromAgent::Record(Record { at, node: self.name.clone(), event }))
    }
}

pub(crate) fn now() -> Time {
    Time::from_nanos(samp_sys::clock::monotonic_nanos())
}
