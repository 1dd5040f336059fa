//! Tunnels of Mobile IPv6 in the driver's loop.

use super::{BURST, Driver, now};
use crate::mobile_ip::{Cost, Received};
use anyhow::Context;
use samp_model::Event;
use samp_model::settings::Records;
use samp_protocol::mobile_ip::Packet;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Duration;

/// Between two records of what tunnels cost.
const COST_INTERVAL: Duration = Duration::from_secs(1);

impl Driver {
    pub(super) async fn handle_tunnels(&mut self) -> anyhow::Result<ControlFlow<()>> {
        self.tell_cost()?;
        for _ in 0..BURST {
            let Some(tunnels) = &mut self.tunnels else { break };
            match tunnels.try_receive().context("cannot receive datagrams")? {
                Received::Passed => {}
                Received::Nothing => return Ok(ControlFlow::Continue(())),
                Received::Input(input) => {
                    if self.hear_in_turn(now(), input)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    if self.paused.is_some() {
                        return Ok(ControlFlow::Continue(()));
                    }
                }
            }
        }
        tokio::task::yield_now().await;
        Ok(ControlFlow::Continue(()))
    }

    /// Writes down what tunnels have cost, once in a while.
    fn tell_cost(&mut self) -> anyhow::Result<()> {
        let now = now();
        let Some(tunnels) = self.tunnels.as_mut().filter(|_| now >= self.cost_due) else { return Ok(()) };
        self.cost_due = now + COST_INTERVAL;
        let Cost { datagrams, took, longest } = tunnels.take_cost();
        match datagrams {
            0 => Ok(()),
            datagrams => self.record(now, Event::Tunnelled { datagrams, took, longest }),
        }
    }

    /// Takes what has come over a link before it is given up, and the media in that.
    pub(super) fn drain(&mut self) -> anyhow::Result<()> {
        for _ in 0..16 * BURST {
            let Some(tunnels) = &mut self.tunnels else { break };
            match tunnels.try_receive().context("cannot receive datagrams")? {
                Received::Passed => {}
                Received::Nothing => break,
                Received::Input(input) => self.hear(now(), input)?,
            }
        }
        self.drain_rtp()
    }

    /// Tells the tunnels where the node is.
    pub(super) fn tell_tunnels(&mut self) {
        if let (Some(tunnels), Some(mobile)) = (&mut self.tunnels, &self.mobile) {
            let addresses = mobile
                .radios
                .iter()
                .flat_map(|radio| radio.addresses().map(|address| (address, radio.interface())));
            tunnels.set_care_of(addresses.filter_map(|(address, interface)| match address {
                IpAddr::V6(address) => Some((address, interface)),
                IpAddr::V4(_) => None,
            }));
        }
    }

    pub(super) fn send_packet(&mut self, packet: &Packet) -> anyhow::Result<()> {
        let Some(tunnels) = &mut self.tunnels else { return Ok(()) };
        let left = now();
        tunnels.send(packet);
        if self.records == Records::Messages {
            self.record(left, packet.sent())?;
        }
        Ok(())
    }
}
