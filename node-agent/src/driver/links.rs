//! What a mobile node's links take: addresses, routes, and hearing of a new link.

use super::{Driver, now};
use crate::address::RadioAddress;
use crate::address_client::{AddressClient, Step};
use crate::carrier::Carrier;
use crate::dhcp_client::DhcpClient;
use crate::slaac_client::SlaacClient;
use crate::udp::UdpSocket;
use anyhow::{Context, bail};
use samp_model::Time;
use samp_model::agent::{LinkUp, Mobility, Role};
use samp_model::settings::{AddressMethod, Dad, Trigger};
use samp_protocol::{Input, Media, RTP_PORT};
use samp_sys::netlink::Netlink;
use std::ops::ControlFlow;

/// The routing table of the first of two radios; the second one's is the next.
const FIRST_TABLE: u8 = 100;

/// What only a mobile node has.
pub(super) struct Mobile {
    /// One, or two with make before break.
    pub(super) radios: Vec<RadioAddress>,
    /// Whence its addresses come, but for static ones.
    pub(super) addresses: Option<AddressClient>,
    /// With `trigger: carrier`.
    pub(super) carrier: Option<Carrier>,
    pub(super) media: Media,
    pub(super) rtp: UdpSocket,
}

impl Mobile {
    /// Opens its sockets in the calling thread's network namespace, and gives the index of its radio interface.
    ///
    /// # Errors
    /// A port is taken, an interface or a privilege is missing, no descriptor is left, or it is no mobile node.
    pub(super) fn open(role: &Role, seed: u64) -> anyhow::Result<(Self, u32)> {
        let Role::MobileNode {
            interface: name,
            second_interface,
            media,
            family,
            mac,
            identifier,
            addressing,
            trigger,
            mobility,
            ..
        } = role
        else {
            bail!("it is no mobile node");
        };
        let keeps_address = matches!(mobility, Mobility::MobileIp { .. });
        let (mut netlink, interface) = open_interface(name)?;
        let carrier = (*trigger == Trigger::Carrier).then(|| Carrier::open(&mut netlink, interface));
        let carrier = carrier.transpose().context("cannot watch the carrier")?;
        let radios = match second_interface {
            None if keeps_address => {
                vec![RadioAddress::beside(netlink, interface, FIRST_TABLE).below_home_address()]
            }
            None => vec![RadioAddress::new(netlink, interface)],
            Some(second) => {
                let (second_netlink, second) = open_interface(second)?;
                let radios = [
                    RadioAddress::beside(netlink, interface, FIRST_TABLE),
                    RadioAddress::beside(second_netlink, second, FIRST_TABLE + 1),
                ];
                let radios = radios.into_iter();
                radios.map(|radio| if keeps_address { radio.below_home_address() } else { radio }).collect()
            }
        };
        let settings = addressing.clone();
        let addresses = match addressing.address {
            AddressMethod::Static => None,
            AddressMethod::Dhcp => {
                Some(AddressClient::Dhcp(DhcpClient::open(interface, *mac, settings, seed)?))
            }
            AddressMethod::Slaac => {
                let client = SlaacClient::open(name, interface, *mac, *identifier, settings, seed)?;
                Some(AddressClient::Slaac(client))
            }
        };
        let media = Media::new(media.clone(), seed);
        let media = if keeps_address { media.with_marks() } else { media };
        let rtp = UdpSocket::bind(*family, RTP_PORT).context("cannot open the RTP socket")?;
        Ok((Self { radios, addresses, carrier, media, rtp }, interface))
    }
}

impl Driver {
    pub(super) fn handle_link_up(&mut self, triggered: Time, link: LinkUp) -> anyhow::Result<()> {
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
    pub(super) fn handle_link_down(&mut self, radio: usize) -> anyhow::Result<()> {
        // What came over it is counted first.
        self.drain()?;
        match self.mobile.as_mut().and_then(|mobile| mobile.radios.get_mut(radio)) {
            Some(radio) => radio.clear()?,
            None => bail!("there is no radio {radio}"),
        }
        self.tell_tunnels();
        Ok(())
    }

    /// The node is to hear of this link by itself.
    pub(super) fn expect(&mut self, link: LinkUp) {
        let mobile = self.mobile.as_mut();
        match mobile.map(|mobile| (&mut mobile.carrier, &mut mobile.addresses)) {
            Some((Some(carrier), _)) => carrier.expect(link),
            Some((None, Some(AddressClient::Slaac(client)))) => client.expect(link),
            _ => tracing::warn!(handoff = link.handoff, "this node cannot hear of its new link by itself"),
        }
    }

    pub(super) fn handle_carrier(&mut self) -> anyhow::Result<ControlFlow<()>> {
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

    pub(super) fn address_client(&mut self) -> Option<&mut AddressClient> {
        self.mobile.as_mut()?.addresses.as_mut()
    }

    pub(super) fn handle_addresses(&mut self) -> anyhow::Result<ControlFlow<()>> {
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
    pub(super) fn flush_addresses(&mut self) -> anyhow::Result<()> {
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
                    self.tell_tunnels();
                }
            }
        }
        Ok(())
    }

    /// The new addresses come, on one of the radios; those that it had go.
    fn configure(&mut self, link: &LinkUp, dad: Dad) -> anyhow::Result<()> {
        // What came over the old link is counted before the new one begins.
        self.drain()?;
        if let Some(mobile) = &mut self.mobile {
            let Some(radio) = mobile.radios.get_mut(link.radio) else {
                bail!("there is no radio {}", link.radio)
            };
            radio.configure(link, dad)?;
            // Connections live on where the address does.
            if let (Some(sip), None) = (&mut self.sip, &self.tunnels) {
                sip.handle_address_change(radio.interface());
            }
            let others = mobile.radios.iter_mut().enumerate().filter(|(radio, _)| *radio != link.radio);
            others.for_each(|(_, radio)| radio.yield_default());
        }
        self.tell_tunnels();
        Ok(())
    }

    fn use_addresses(&mut self, link: &LinkUp) -> anyhow::Result<()> {
        let handoff = link.handoff;
        // The protocol uses the primary address.
        let Some(address) = link.addresses.first().map(|link| link.address) else {
            bail!("handoff {handoff} brings no address");
        };
        if let Some(mobile) = &mut self.mobile {
            mobile.media.handle_address_change();
        }
        if self.tunnels.is_some() {
            self.feed(now(), Input::MapAdvertised(link.map))?;
        }
        self.feed(now(), Input::AddressConfigured { handoff, address })
    }
}

/// A netlink socket in the calling thread's network namespace, and the index of an interface there.
pub(super) fn open_interface(name: &str) -> anyhow::Result<(Netlink, u32)> {
    let mut netlink = Netlink::open().context("cannot open a netlink socket")?;
    // The kernel answers when the interface can send: it first catches up with changes of the carrier, which
    // it otherwise handles in the background while it drops packets.
    let interface = netlink
        .link_index(name)
        .with_context(|| format!("cannot look up interface {name}"))?
        .with_context(|| format!("there is no interface {name}"))?;
    Ok((netlink, interface))
}
