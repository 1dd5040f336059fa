//! The driver loop: wait for one event, feed it to the node, flush what comes out, arm the timer, repeat.

use crate::address::RadioAddress;
use crate::address_client::{AddressClient, Step};
use crate::carrier::Carrier;
use crate::control::{Control, Received};
use crate::dhcp_client::DhcpClient;
use crate::sip_socket::{self, SipSocket};
use crate::slaac_client::SlaacClient;
use crate::timer::Timer;
use crate::udp::{Departure, UdpSocket};
use anyhow::{Context, bail, ensure};
use samp_model::agent::{AgentConfig, FromAgent, LinkUp, Role, ToAgent};
use samp_model::settings::{AddressMethod, Dad, Records, Trigger};
use samp_model::{Event, Record, Time};
use samp_protocol::sip::Message;
use samp_protocol::{Input, Media, Node, Output, RTP_PORT};
use samp_sys::netlink::Netlink;
use std::io;
use std::ops::ControlFlow;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Datagrams taken from a socket before the others get their turn.
const BURST: usize = 32;
/// What a paused node may be told at most: more than a socket would hold for one that is stopped.
const TOLD_MAX: usize = 4096;

/// The routing table of the first of two radios; the second one's is the next.
const FIRST_TABLE: u8 = 100;

/// A protocol node and its sockets.
pub(crate) struct Driver {
    name: String,
    node: Box<dyn Node>,
    control: Control,
    timer: Timer,
    sip: SipSocket,
    mobile: Option<Mobile>,
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

/// What only a mobile node has.
struct Mobile {
    /// One, or two with make before break.
    radios: Vec<RadioAddress>,
    /// Whence its addresses come, but for static ones.
    addresses: Option<AddressClient>,
    /// With `trigger: carrier`.
    carrier: Option<Carrier>,
    media: Media,
    rtp: UdpSocket,
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
        let (Role::SipServer { interface: name, .. } | Role::MobileNode { interface: name, .. }) =
            &config.role
        else {
            bail!("it has no protocol node");
        };
        let (mut netlink, interface) = open_interface(name)?;
        let sip =
            SipSocket::open(&config.role, &config.samp, interface).context("cannot open the SIP socket")?;
        let (mobile, termination) = match &config.role {
            Role::SipServer { .. } | Role::AccessRouter { .. } | Role::MobilityAgent(_) => {
                (None, Some(signal(SignalKind::terminate()).context("cannot catch SIGTERM")?))
            }
            Role::MobileNode {
                media,
                family,
                mac,
                identifier,
                addressing,
                trigger,
                second_interface,
                ..
            } => {
                let carrier = (*trigger == Trigger::Carrier).then(|| Carrier::open(&mut netlink, interface));
                let carrier = carrier.transpose().context("cannot watch the carrier")?;
                let radios = match second_interface {
                    None => vec![RadioAddress::new(netlink, interface)],
                    Some(second) => {
                        let (second_netlink, second) = open_interface(second)?;
                        vec![
                            RadioAddress::beside(netlink, interface, FIRST_TABLE),
                            RadioAddress::beside(second_netlink, second, FIRST_TABLE + 1),
                        ]
                    }
                };
                let (settings, seed) = (addressing.clone(), config.seed);
                let addresses = match addressing.address {
                    AddressMethod::Static => None,
                    AddressMethod::Dhcp => {
                        Some(AddressClient::Dhcp(DhcpClient::open(interface, *mac, settings, seed)?))
                    }
                    AddressMethod::Slaac => Some(AddressClient::Slaac(SlaacClient::open(
                        name,
                        interface,
                        *mac,
                        *identifier,
                        settings,
                        seed,
                    )?)),
                };
                let media = Media::new(media.clone(), config.seed);
                let rtp = UdpSocket::bind(*family, RTP_PORT).context("cannot open the RTP socket")?;
                (Some(Mobile { radios, addresses, carrier, media, rtp }), None)
            }
        };
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
            self.timer.set(self.deadline()).context("cannot set the timer")?;
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
        tokio::select! {
            ready = self.control.readable() => ready.map(|()| Wake::Control),
            ready = self.control.flushable() => ready.map(|()| Wake::ControlHasRoom),
            _ = terminated => Ok(Wake::Termination),
            ready = self.timer.expired() => ready.map(|()| Wake::Deadline),
            ready = self.sip.readable() => ready.map(|()| Wake::Sip),
            ready = rtp_readable => ready.map(|()| Wake::Rtp),
            ready = address_readable => ready.map(|()| Wake::Address),
            ready = carrier_readable => ready.map(|()| Wake::Carrier),
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

    fn handle_link_up(&mut self, triggered: Time, link: LinkUp) -> anyhow::Result<()> {
        if self.mobile.is_none() {
            tracing::warn!(handoff = link.handoff, "link trigger at a node that does not move");
            return Ok(());
        }
        self.feed(triggered, Input::LinkTrigger { handoff: link.handoff })?;
        match self.address_client() {
            Some(client) => {
                client.handle_link_up(triggered, link);
                self.flush_addresses()
            }
            None => {
                self.configure(&link, Dad::Off)?;
                self.use_addresses(&link)
            }
        }
    }

    /// The old link is gone, whose address was kept beside the new one.
    fn handle_link_down(&mut self, radio: usize) -> anyhow::Result<()> {
        // What came over it is counted first.
        self.drain_rtp()?;
        match self.mobile.as_mut().and_then(|mobile| mobile.radios.get_mut(radio)) {
            Some(radio) => radio.clear(),
            None => bail!("there is no radio {radio}"),
        }
    }

    /// The node is to hear of this link by itself.
    fn expect(&mut self, link: LinkUp) {
        let mobile = self.mobile.as_mut();
        match mobile.map(|mobile| (&mut mobile.carrier, &mut mobile.addresses)) {
            Some((Some(carrier), _)) => carrier.expect(link),
            Some((None, Some(AddressClient::Slaac(client)))) => client.expect(link),
            _ => tracing::warn!(handoff = link.handoff, "this node cannot hear of its new link by itself"),
        }
    }

    fn handle_carrier(&mut self) -> anyhow::Result<ControlFlow<()>> {
        // What the link is like was said before its carrier came.
        if self.handle_control()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.paused.is_some() {
            return Ok(ControlFlow::Continue(()));
        }
        let carrier = self.mobile.as_mut().and_then(|mobile| mobile.carrier.as_mut());
        let arrived = carrier.map_or(Ok(None), Carrier::arrived).context("cannot hear of the carrier")?;
        if let Some(link) = arrived {
            self.handle_link_up(now(), link)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn address_client(&mut self) -> Option<&mut AddressClient> {
        self.mobile.as_mut()?.addresses.as_mut()
    }

    fn handle_addresses(&mut self) -> anyhow::Result<ControlFlow<()>> {
        // A link of which an advertisement tells was named before.
        if self.handle_control()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.paused.is_some() {
            return Ok(ControlFlow::Continue(()));
        }
        if let Some(client) = self.address_client() {
            client.handle_readable().context("cannot receive what is said of addresses")?;
        }
        self.flush_addresses()?;
        Ok(ControlFlow::Continue(()))
    }

    /// Does what the addresses take.
    fn flush_addresses(&mut self) -> anyhow::Result<()> {
        while let Some(step) = self.address_client().and_then(AddressClient::poll_step) {
            match step {
                Step::Moved(at, handoff) => self.feed(at, Input::LinkTrigger { handoff })?,
                Step::Record(at, event) => self.record(at, event)?,
                Step::Configure(link, dad) => {
                    self.configure(&link, dad)?;
                    if dad != Dad::On {
                        self.use_addresses(&link)?;
                    }
                }
                Step::Use(link) => {
                    if let Some(mobile) = &mut self.mobile {
                        mobile.radios[0].use_checked()?;
                    }
                    self.use_addresses(&link)?;
                }
                Step::Lose => {
                    if let Some(mobile) = &mut self.mobile {
                        mobile.radios[0].clear()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The new addresses come, on one of the radios; those that it had go.
    fn configure(&mut self, link: &LinkUp, dad: Dad) -> anyhow::Result<()> {
        // What came over the old link is counted before the new one begins.
        self.drain_rtp()?;
        if let Some(mobile) = &mut self.mobile {
            let Some(radio) = mobile.radios.get_mut(link.radio) else {
                bail!("there is no radio {}", link.radio)
            };
            radio.configure(link, dad)?;
            self.sip.handle_address_change(radio.interface());
            let others = mobile.radios.iter_mut().enumerate().filter(|(radio, _)| *radio != link.radio);
            others.for_each(|(_, radio)| radio.yield_default());
            mobile.media.handle_address_change();
        }
        Ok(())
    }

    fn use_addresses(&mut self, link: &LinkUp) -> anyhow::Result<()> {
        let handoff = link.handoff;
        // The protocol uses the primary address.
        let Some(address) = link.addresses.first().map(|link| link.address) else {
            bail!("handoff {handoff} brings no address");
        };
        self.feed(now(), Input::AddressConfigured { handoff, address })
    }

    fn handle_deadline(&mut self) -> anyhow::Result<()> {
        self.timer.clear().context("cannot read the timer")?;
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
        if let Some(lag) = self.sip.lag(now()) {
            self.node.handle_input(now(), Input::Lag(lag));
        }
        for _ in 0..BURST {
            let (at, input) = match self
                .sip
                .try_receive(self.control.is_behind())
                .context("cannot receive SIP messages")?
            {
                sip_socket::Received::Message(at, input) => (at, input),
                sip_socket::Received::Dropped => continue,
                sip_socket::Received::Nothing => return Ok(ControlFlow::Continue(())),
            };
            // The peer may have been told something after this node was: that comes first, as it did there.
            if self.handle_control()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if let Some(paused) = &mut self.paused {
                paused.message = Some((at, input));
                return Ok(ControlFlow::Continue(()));
            }
            self.hear(at, input)?;
        }
        // The runtime looks at the other descriptors only when it gets the thread back.
        tokio::task::yield_now().await;
        Ok(ControlFlow::Continue(()))
    }

    fn hear(&mut self, at: Time, input: Input) -> anyhow::Result<()> {
        if let Input::Message { from, message, .. } = &input
            && let Some((summary, call)) = self.described(message)
        {
            self.record(at, Event::MessageReceived { peer: from.ip(), summary, call })?;
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
                    (output @ (Output::Packet(_) | Output::Forwarding(_)), _) => {
                        tracing::error!(?output, "Mobile IPv6 at a node of a lab");
                    }
                }
            }
            self.record_media()?;
            let Some(transmit) = self.node.poll_transmit() else { return Ok(()) };
            let described = self.described(&transmit.message).map(|described| (self::now(), described));
            self.sip.send(&transmit);
            if let Some((left, (summary, call))) = described {
                let peer = transmit.destination.ip();
                self.record(left, Event::MessageSent { peer, summary, call })?;
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

    /// What to record of a message, if anything.
    fn described(&self, message: &Message) -> Option<(String, String)> {
        (self.records == Records::Messages).then(|| message.described())?
    }
}

pub(crate) fn now() -> Time {
    Time::from_nanos(samp_sys::clock::monotonic_nanos())
}

/// A netlink socket in the calling thread's network namespace, and the index of an interface there.
fn open_interface(name: &str) -> anyhow::Result<(Netlink, u32)> {
    let mut netlink = Netlink::open().context("cannot open a netlink socket")?;
    // The kernel answers when the interface can send: it first catches up with changes of the carrier, which
    // it otherwise handles in the background while it drops packets.
    let interface = netlink
        .link_index(name)
        .with_context(|| format!("cannot look up interface {name}"))?
        .with_context(|| format!("there is no interface {name}"))?;
    Ok((netlink, interface))
}
