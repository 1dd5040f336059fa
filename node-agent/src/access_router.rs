//! An access router's agent: it lets mobile nodes have their addresses.

use crate::advertiser::Advertiser;
use crate::control::{Control, Received};
use crate::dhcp_server::DhcpServer;
use crate::timer::Timer;
use anyhow::{Context, bail};
use samp_model::Time;
use samp_model::agent::{AgentConfig, FromAgent, Role, ToAgent};
use samp_model::settings::AddressMethod;
use samp_sys::netlink::Netlink;
use std::io;
use std::ops::ControlFlow;

/// The loop of an access router.
pub(crate) struct AccessRouter {
    control: Control,
    service: Service,
    timer: Timer,
    /// One that is paused says nothing; what is sent to it waits in the kernel.
    is_paused: bool,
}

/// How it does that.
enum Service {
    Dhcp(DhcpServer),
    Advertisements(Box<Advertiser>),
}

impl AccessRouter {
    /// Opens the sockets in the calling thread's network namespace.
    ///
    /// # Errors
    /// The role is another one, or something is missing that it takes.
    pub(crate) fn open(config: &AgentConfig, control: Control) -> anyhow::Result<Self> {
        let Role::AccessRouter { interface: name, mac, subnet, addressing, map } = &config.role else {
            bail!("it is no access router");
        };
        let interface = Netlink::open()
            .and_then(|mut netlink| netlink.link_index(name))
            .with_context(|| format!("cannot look up interface {name}"))?
            .with_context(|| format!("there is no interface {name}"))?;
        let service = match addressing.address {
            AddressMethod::Static => bail!("static addresses need no agent"),
            AddressMethod::Dhcp => Service::Dhcp(DhcpServer::open(name, interface, subnet, addressing)?),
            AddressMethod::Slaac => {
                let settings = addressing.clone();
                let advertiser =
                    Advertiser::open(name, interface, *mac, subnet, *map, settings, config.seed)?;
                Service::Advertisements(advertiser.into())
            }
        };
        let timer = Timer::new().context("cannot open a timer")?;
        Ok(Self { control, service, timer, is_paused: false })
    }

    /// Serves until the supervisor hangs up.
    ///
    /// # Errors
    /// A socket is broken, or the supervisor is not understood.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        self.control.queue(&FromAgent::Ready)?;
        loop {
            let deadline = self.service.poll_timeout().filter(|_| !self.is_paused);
            tokio::select! {
                ready = self.control.attend() => ready.context("cannot attend to the supervisor")?,
                ready = self.timer.until(deadline) => {
                    ready.context("cannot wait for the timer")?;
                    self.service.handle_timeout();
                }
                ready = self.service.readable(), if !self.is_paused => {
                    ready.context("cannot wait for mobile nodes")?;
                    // The supervisor names a mobile node before it comes: whoever it is, it has been named.
                    if self.handle_control()?.is_break() {
                        return Ok(());
                    }
                    self.service.serve().context("cannot receive from mobile nodes")?;
                }
            }
            if self.handle_control()?.is_break() {
                return Ok(());
            }
        }
    }

    /// Takes all that the supervisor has said.
    fn handle_control(&mut self) -> anyhow::Result<ControlFlow<()>> {
        loop {
            match (self.control.try_receive()?, &mut self.service) {
                (Received::Packet(ToAgent::Expect { mac, address }), Service::Dhcp(server)) => {
                    server.expect(mac, address);
                }
                (Received::Packet(ToAgent::Pause), _) => self.is_paused = true,
                (Received::Packet(ToAgent::Resume), _) => self.is_paused = false,
                (Received::Packet(other), _) => tracing::warn!(?other, "this access router cannot do that"),
                (Received::Nothing, _) => return Ok(ControlFlow::Continue(())),
                (Received::HangUp, _) => return Ok(ControlFlow::Break(())),
            }
        }
    }
}

impl Service {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Dhcp(server) => server.readable().await,
            Self::Advertisements(advertiser) => advertiser.readable().await,
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        match self {
            Self::Dhcp(server) => server.serve(),
            Self::Advertisements(advertiser) => advertiser.serve(),
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Dhcp(_) => None,
            Self::Advertisements(advertiser) => Some(advertiser.poll_timeout()),
        }
    }

    fn handle_timeout(&mut self) {
        if let Self::Advertisements(advertiser) = self {
            advertiser.handle_timeout(Time::from_nanos(samp_sys::clock::monotonic_nanos()));
        }
    }
}
