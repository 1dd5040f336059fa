//! The host that a mobile node is: it solicits a router on its new link and makes an address of what that advertises
//! (RFC 4861 §6.3.7, RFC 4862 §5.5.3).

use super::STEP;
use super::message::{Advertisement, Map, Prefix};
use crate::random::Random;
use samp_model::Time;
use samp_model::settings::AddressSettings;
use std::collections::VecDeque;
use std::net::Ipv6Addr;

/// So many solicitations are sent (MAX_RTR_SOLICITATIONS, RFC 4861 §10); then the host only listens.
const SOLICITATIONS: u32 = 3;
/// The length of an interface identifier, in bits.
const IDENTIFIER_BITS: u8 = 64;

/// A host with one interface.
#[derive(Debug)]
pub struct Host {
    identifier: u64,
    settings: AddressSettings,
    random: Random,
    /// The link-layer address of its link's router.
    router_mac: Option<[u8; 6]>,
    /// While it looks for that router: how many solicitations were sent.
    looking: Option<u32>,
    /// When the next one is due.
    due: Option<Time>,
    outputs: VecDeque<HostOutput>,
}

/// What the host wants from its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOutput {
    /// Send a router solicitation to all routers.
    Solicit,
    /// A router has answered: this address is to be configured, with that router as the way out.
    Form {
        /// The prefix and the interface identifier.
        address: Ipv6Addr,
        /// The router's link-local address.
        router: Ipv6Addr,
        /// The mobility anchor point that it tells of.
        map: Option<Ipv6Addr>,
    },
}

impl Host {
    /// The host whose addresses end with this interface identifier, which has no link yet.
    pub fn new(identifier: u64, settings: AddressSettings, seed: u64) -> Self {
        let random = Random::new(seed);
        let outputs = VecDeque::new();
        Self { identifier, settings, random, router_mac: None, looking: None, due: None, outputs }
    }

    /// The interface has come to another link, whose router has this link-layer address; what went on at the old one is
    /// over.
    pub fn handle_link_up(&mut self, now: Time, router_mac: [u8; 6]) {
        self.outputs.clear();
        self.router_mac = Some(router_mac);
        self.looking = Some(0);
        let [shortest, longest] = self.settings.rs_delay;
        self.due = Some(now + self.random.duration("rs delay", shortest, longest, STEP));
        self.handle_timeout(now);
    }

    /// Whether an advertisement is another router's than that of its link: then it is on another one (RFC 6275 §11.5.1).
    pub fn has_moved(&self, from: Ipv6Addr, advertisement: &Advertisement) -> bool {
        self.router_mac.is_some()
            && advertisement.source_mac != self.router_mac
            && usable_prefix(from, advertisement).is_some()
    }

    /// As [`handle_link_up`](Self::handle_link_up), where the router's advertisement says so, which is about to be handled.
    pub fn handle_move(&mut self, router_mac: [u8; 6]) {
        self.outputs.clear();
        self.router_mac = Some(router_mac);
        self.looking = Some(SOLICITATIONS);
        self.due = None;
    }

    /// A router's advertisement has arrived. What the old link's router said may be read only now: it changes nothing.
    pub fn handle_advertisement(&mut self, from: Ipv6Addr, advertisement: &Advertisement) {
        if self.looking.is_none() || advertisement.source_mac != self.router_mac {
            return;
        }
        if let Some(prefix) = usable_prefix(from, advertisement) {
            let address = (u128::from(prefix.prefix) | u128::from(self.identifier)).into();
            let map = advertisement.map.filter(Map::is_usable).map(|map| map.address);
            self.outputs.push_back(HostOutput::Form { address, router: from, map });
            self.looking = None;
            self.due = None;
        }
    }

    /// The instant that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        let Some(sent) = self.looking.as_mut().filter(|_| self.due.is_some_and(|due| due <= now)) else {
            return;
        };
        *sent += 1;
        self.due = (*sent < SOLICITATIONS).then(|| now + self.settings.rs_interval);
        self.outputs.push_back(HostOutput::Solicit);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// The next thing that is wanted.
    pub fn poll_output(&mut self) -> Option<HostOutput> {
        self.outputs.pop_front()
    }
}

/// The prefix of which a host makes its address, if the advertisement has one and is a router's on the link.
fn usable_prefix(from: Ipv6Addr, advertisement: &Advertisement) -> Option<Prefix> {
    advertisement.prefix.filter(|prefix| {
        from.is_unicast_link_local()
            && advertisement.source_mac.is_some()
            && !advertisement.router_lifetime.is_zero()
            && prefix.len == 128 - IDENTIFIER_BITS
            && !prefix.prefix.is_unicast_link_local()
            && prefix.valid > 0
            && prefix.preferred <= prefix.valid
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::settings::AddressProfile;
    use std::time::Duration;

    const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 0);

    fn host(profile: AddressProfile) -> Host {
        Host::new(7, AddressSettings::of_profile(profile), 1)
    }

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn advertisement() -> Advertisement {
        Advertisement {
            router_lifetime: Duration::from_secs(1800),
            source_mac: Some(ROUTER_MAC),
            prefix: Some(Prefix { prefix: PREFIX, len: 64, valid: u32::MAX, preferred: u32::MAX }),
            map: None,
        }
    }

    fn outputs(host: &mut Host) -> Vec<HostOutput> {
        std::iter::from_fn(|| host.poll_output()).collect()
    }

    fn formed() -> HostOutput {
        HostOutput::Form { address: Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 7), router: ROUTER, map: None }
    }

    #[test]
    fn it_solicits_three_times_and_then_listens() {
        let mut host = host(AddressProfile::Rfc);
        host.handle_link_up(at(0), ROUTER_MAC);
        let first = host.poll_timeout().expect("a delay");
        assert!(first <= at(1_000));
        for number in 0..3 {
            let due = host.poll_timeout().expect("another one");
            assert_eq!(due, first + Duration::from_secs(4) * number);
            host.handle_timeout(due);
            assert_eq!(outputs(&mut host), [HostOutput::Solicit]);
        }
        assert_eq!(host.poll_timeout(), None);
        host.handle_advertisement(ROUTER, &advertisement());
        assert_eq!(outputs(&mut host), [formed()]);
    }

    #[test]
    fn fast_it_solicits_at_once_and_takes_the_first_answer_only() {
        let mut host = host(AddressProfile::Fast);
        host.handle_advertisement(ROUTER, &advertisement());
        assert_eq!(outputs(&mut host), [], "there is no link yet");
        host.handle_link_up(at(5), ROUTER_MAC);
        assert_eq!(outputs(&mut host), [HostOutput::Solicit]);
        host.handle_advertisement(ROUTER, &advertisement());
        host.handle_advertisement(ROUTER, &advertisement());
        assert_eq!(outputs(&mut host), [formed()]);
        assert_eq!(host.poll_timeout(), None);
        host.handle_link_up(at(9), ROUTER_MAC);
        assert_eq!(outputs(&mut host), [HostOutput::Solicit], "on each link anew");
    }

    #[test]
    fn it_hears_of_a_mobility_anchor_point_that_can_be_used() {
        let good = Map { distance: 1, preference: 1, valid: 1, address: PREFIX };
        for (map, told) in [
            (good, Some(PREFIX)),
            (Map { preference: 0, ..good }, None),
            (Map { valid: 0, ..good }, None),
            (Map { address: ROUTER, ..good }, None),
            (Map { address: super::super::ALL_NODES, ..good }, None),
        ] {
            let mut host = host(AddressProfile::Fast);
            host.handle_link_up(at(0), ROUTER_MAC);
            host.handle_advertisement(ROUTER, &Advertisement { map: Some(map), ..advertisement() });
            let formed = outputs(&mut host).pop();
            assert!(matches!(formed, Some(HostOutput::Form { map, .. }) if map == told), "{formed:?}");
        }
    }

    #[test]
    fn another_routers_advertisement_tells_of_another_link() {
        let mut host = host(AddressProfile::Fast);
        let other = Advertisement { source_mac: Some([9; 6]), ..advertisement() };
        assert!(!host.has_moved(ROUTER, &other), "there is no link yet");
        host.handle_link_up(at(0), ROUTER_MAC);
        host.handle_advertisement(ROUTER, &advertisement());
        assert_eq!(outputs(&mut host), [HostOutput::Solicit, formed()]);
        assert!(!host.has_moved(ROUTER, &advertisement()));
        assert!(!host.has_moved(ROUTER, &Advertisement { router_lifetime: Duration::ZERO, ..other.clone() }));
        assert!(host.has_moved(ROUTER, &other));
        host.handle_move([9; 6]);
        assert_eq!((outputs(&mut host), host.poll_timeout()), (vec![], None), "it need not ask");
        host.handle_advertisement(ROUTER, &advertisement());
        assert_eq!(outputs(&mut host), [], "that was the old link's");
        host.handle_advertisement(ROUTER, &other);
        assert_eq!(outputs(&mut host), [formed()]);
    }

    #[test]
    fn what_is_no_router_of_this_link_with_a_prefix_is_passed_over() {
        let prefix = Prefix { prefix: PREFIX, len: 64, valid: 1, preferred: 1 };
        let with = |prefix: Prefix| Advertisement { prefix: Some(prefix), ..advertisement() };
        for (what, from, advertisement) in [
            ("another link's", ROUTER, Advertisement { source_mac: Some([9; 6]), ..advertisement() }),
            ("no link-layer address", ROUTER, Advertisement { source_mac: None, ..advertisement() }),
            ("from afar", PREFIX, advertisement()),
            ("no router", ROUTER, Advertisement { router_lifetime: Duration::ZERO, ..advertisement() }),
            ("no prefix", ROUTER, Advertisement { prefix: None, ..advertisement() }),
            ("a prefix of another length", ROUTER, with(Prefix { len: 63, ..prefix })),
            ("the link-local prefix", ROUTER, with(Prefix { prefix: ROUTER, ..prefix })),
            ("a prefix that is over", ROUTER, with(Prefix { valid: 0, preferred: 0, ..prefix })),
            ("preferred for longer than valid", ROUTER, with(Prefix { preferred: 2, ..prefix })),
        ] {
            let mut host = host(AddressProfile::Fast);
            host.handle_link_up(at(0), ROUTER_MAC);
            host.handle_advertisement(from, &advertisement);
            assert_eq!(outputs(&mut host), [HostOutput::Solicit], "{what}");
        }
    }
}
