//! The carrier of the radio interface: how a mobile node hears of a new link where nobody tells it.

use crate::watch::watch;
use samp_model::agent::LinkUp;
use samp_sys::netlink::{CarrierWatch, Netlink};
use std::collections::VecDeque;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What is known of the radio's carrier, and of the links that it will bring.
pub(crate) struct Carrier {
    watch: AsyncFd<CarrierWatch>,
    interface: u32,
    /// How often it has come, as far as that was heard.
    ups: u32,
    /// The links to come, in order: each brings the carrier once.
    next: VecDeque<LinkUp>,
}

impl Carrier {
    /// Opens the socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// No descriptor is left, or there is no such interface.
    pub(crate) fn open(netlink: &mut Netlink, interface: u32) -> io::Result<Self> {
        let watch = watch(CarrierWatch::open()?, Interest::READABLE)?;
        let ups = netlink.carrier_ups(interface)?;
        Ok(Self { watch, interface, ups, next: VecDeque::new() })
    }

    /// What the next link will be like. The latest word on a handoff counts: the one before it failed.
    pub(crate) fn expect(&mut self, link: LinkUp) {
        self.next.retain(|earlier| earlier.handoff != link.handoff);
        self.next.push_back(link);
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.watch.readable().await.map(drop)
    }

    /// The link on which the node is now, if its carrier has come.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn arrived(&mut self) -> io::Result<Option<LinkUp>> {
        let mut arrived = None;
        loop {
            let change = match self.watch.try_io_mut(Interest::READABLE, CarrierWatch::next_change) {
                Ok(change) => change,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(arrived),
                Err(error) => return Err(error),
            };
            if change.interface == self.interface {
                let came = change.ups.wrapping_sub(self.ups) as usize;
                self.ups = change.ups;
                arrived = latest(&mut self.next, came).or(arrived).filter(|_| change.is_up);
            }
        }
    }
}

/// The last of the links that the carrier has brought, which came so many times; they are no longer to come.
fn latest(next: &mut VecDeque<LinkUp>, came: usize) -> Option<LinkUp> {
    let came = came.min(next.len());
    next.drain(..came).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_brings_the_carrier_once() {
        let link =
            |handoff| LinkUp { handoff, radio: 0, addresses: Vec::new(), gateway_mac: [0; 6], map: None };
        let mut next: VecDeque<_> = [1, 2, 3].map(link).into();
        assert_eq!(latest(&mut next, 0), None);
        assert_eq!(latest(&mut next, 1), Some(link(1)));
        assert_eq!(latest(&mut next, 2), Some(link(3)), "it was gone too shortly to hear of it");
        assert_eq!(latest(&mut next, 1), None, "it came without a handoff");
    }
}
