//! How a mobile node gets its addresses where the link trigger does not bring them.

use crate::dhcp_client::DhcpClient;
use crate::slaac_client::SlaacClient;
use samp_model::Time;
use samp_model::agent::LinkUp;
use samp_model::record::{Event, HandoffNumber};
use samp_model::settings::Dad;
use std::io;

/// Who asks for addresses.
pub(crate) enum AddressClient {
    /// By DHCP.
    Dhcp(DhcpClient),
    /// By stateless autoconfiguration.
    Slaac(SlaacClient),
}

/// What the driver has to do.
pub(crate) enum Step {
    /// This handoff has taken the node to another link, as it heard then.
    Moved(Time, HandoffNumber),
    /// Write down what happened then.
    Record(Time, Event),
    /// Configure these addresses in the place of the old ones. They can be used at once, but for [`Dad::On`].
    Configure(LinkUp, Dad),
    /// The kernel has found these unique: they can be used.
    Use(LinkUp),
    /// Use none.
    Lose,
}

impl AddressClient {
    /// The radio is at another access router.
    pub(crate) fn handle_link_up(&mut self, now: Time, link: LinkUp) {
        match self {
            Self::Dhcp(client) => client.handle_link_up(now, link),
            Self::Slaac(client) => client.handle_link_up(now, link),
        }
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Dhcp(client) => client.readable().await,
            Self::Slaac(client) => client.readable().await,
        }
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// A socket is broken.
    pub(crate) fn handle_readable(&mut self) -> io::Result<()> {
        match self {
            Self::Dhcp(client) => client.handle_readable(),
            Self::Slaac(client) => client.handle_readable(),
        }
    }

    /// The instant that [`poll_timeout`](Self::poll_timeout) named has come.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        match self {
            Self::Dhcp(client) => client.handle_timeout(now),
            Self::Slaac(client) => client.handle_timeout(now),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Dhcp(client) => client.poll_timeout(),
            Self::Slaac(client) => client.poll_timeout(),
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        match self {
            Self::Dhcp(client) => client.poll_step(),
            Self::Slaac(client) => client.poll_step(),
        }
    }
}
