//! The router that an access router is to its access network: it advertises the network's prefix (RFC 4861 §6.2).

use super::message::{Advertisement, Map, Message, Prefix};
use super::{ALL_NODES, STEP};
use crate::random::Random;
use samp_model::Time;
use samp_model::settings::AddressSettings;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

/// The first advertisements come at these intervals at least (RFC 4861 §10, MAX_INITIAL_RTR_ADVERT_INTERVAL and
/// MAX_INITIAL_RTR_ADVERTISEMENTS).
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
const INITIAL: u32 = 3;
/// Longer than any interval between advertisements (RFC 4861 §6.2.1, AdvDefaultLifetime).
const ROUTER_LIFETIME: Duration = Duration::from_secs(1800);
/// So many hosts may wait for an answer; others wait for the next unsolicited advertisement.
const MAX_WAITING: usize = 1024;

/// A router with one interface.
#[derive(Debug)]
pub struct Router {
    advertisement: Advertisement,
    settings: AddressSettings,
    random: Random,
    /// When all nodes are told next, and how often they were.
    unsolicited: (Time, u32),
    /// Who has asked, and when the answer is due.
    waiting: BTreeMap<Ipv6Addr, Time>,
}

impl Router {
    /// A router with this link-layer address, whose link has this prefix of 64 bits; it begins at once.
    pub fn new(now: Time, mac: [u8; 6], prefix: Ipv6Addr, settings: AddressSettings, seed: u64) -> Self {
        let prefix = Prefix { prefix, len: 64, valid: u32::MAX, preferred: u32::MAX };
        let advertisement = Advertisement {
            router_lifetime: ROUTER_LIFETIME,
            source_mac: Some(mac),
            prefix: Some(prefix),
            map: None,
        };
        Self {
            advertisement,
            settings,
            random: Random::new(seed),
            unsolicited: (now, 0),
            waiting: BTreeMap::new(),
        }
    }

    /// It tells of this mobility anchor point, too, and of one only: distance and preference are as without a choice
    /// (RFC 5380 §4).
    pub fn with_map(mut self, address: Ipv6Addr) -> Self {
        self.advertisement.map = Some(Map { distance: 1, preference: 1, valid: u32::MAX, address });
        self
    }

    /// A host asks. Each is answered by itself, as §6.2.6 allows, so that no answer waits for the one before it.
    pub fn handle_solicitation(&mut self, now: Time, from: Ipv6Addr) {
        // A host that has no address yet hears what all nodes hear.
        let to = if from.is_unspecified() { ALL_NODES } else { from };
        if self.waiting.len() < MAX_WAITING && !self.waiting.contains_key(&to) {
            let [shortest, longest] = self.settings.ra_delay;
            let due = now + self.random.duration("ra delay", shortest, longest, STEP);
            self.waiting.insert(to, due);
        }
    }

    /// The next advertisement that is due, and to whom it goes.
    pub fn poll_advertisement(&mut self, now: Time) -> Option<(Ipv6Addr, Message)> {
        let solicited = self.waiting.iter().find(|(_, due)| **due <= now).map(|(to, _)| *to);
        let to = match solicited {
            Some(to) => {
                self.waiting.remove(&to);
                to
            }
            None if self.unsolicited.0 <= now => {
                self.schedule(now);
                ALL_NODES
            }
            None => return None,
        };
        Some((to, Message::Advertisement(self.advertisement.clone())))
    }

    /// When [`poll_advertisement`](Self::poll_advertisement) has the next one.
    pub fn poll_timeout(&self) -> Time {
        self.waiting.values().copied().fold(self.unsolicited.0, Time::min)
    }

    fn schedule(&mut self, now: Time) {
        let [shortest, longest] = self.settings.ra_interval;
        let interval = self.random.duration("ra interval", shortest, longest, STEP);
        let sent = self.unsolicited.1 + 1;
        let interval = if sent < INITIAL { interval.min(INITIAL_INTERVAL) } else { interval };
        self.unsolicited = (now + interval, sent.min(INITIAL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::settings::AddressProfile;

    const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

    fn router(profile: AddressProfile) -> Router {
        let prefix = Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 0);
        Router::new(Time::ZERO, [2, 0, 0, 0, 0, 1], prefix, AddressSettings::of_profile(profile), 1)
    }

    /// The intervals between so many unsolicited advertisements.
    fn intervals(router: &mut Router, count: usize) -> Vec<Duration> {
        let mut now = Time::ZERO;
        let mut interval = || {
            assert_eq!(router.poll_advertisement(now).map(|(to, _)| to), Some(ALL_NODES));
            assert_eq!(router.poll_advertisement(now), None);
            let next = router.poll_timeout();
            let interval = next - now;
            now = next;
            interval
        };
        (0..count).map(|_| interval()).collect()
    }

    #[test]
    fn advertisements_come_at_the_intervals_of_the_profile() {
        let s = Duration::from_secs;
        let by_the_letter = intervals(&mut router(AddressProfile::Rfc), 6);
        assert_eq!(by_the_letter[..2], [s(16); 2], "the first ones come sooner");
        assert!(by_the_letter[2..].iter().all(|interval| (s(198)..=s(600)).contains(interval)));
        let fast = intervals(&mut router(AddressProfile::Fast), 50);
        let ms = Duration::from_millis;
        assert!(fast.iter().all(|interval| (ms(30)..=ms(70)).contains(interval)));
        assert!(fast.iter().any(|interval| *interval != fast[0]), "at random");
    }

    #[test]
    fn who_asks_is_answered_alone_and_once() {
        let mut router = router(AddressProfile::Rfc);
        let _ = router.poll_advertisement(Time::ZERO);
        let asked = Time::ZERO + Duration::from_secs(1);
        router.handle_solicitation(asked, HOST);
        router.handle_solicitation(asked, HOST);
        let due = router.poll_timeout();
        assert!(due <= asked + Duration::from_millis(500));
        let (to, message) = router.poll_advertisement(due).expect("an answer");
        let Message::Advertisement(advertisement) = message else { panic!("an advertisement") };
        assert_eq!((to, advertisement.source_mac), (HOST, Some([2, 0, 0, 0, 0, 1])));
        assert_eq!(router.poll_advertisement(due), None);
        router.handle_solicitation(due, Ipv6Addr::UNSPECIFIED);
        let due = router.poll_timeout();
        assert_eq!(router.poll_advertisement(due).map(|(to, _)| to), Some(ALL_NODES));
    }

    #[test]
    fn a_flood_of_solicitations_is_bounded() {
        let mut router = router(AddressProfile::Rfc);
        let hosts = (0..5_000u128).map(|host| Ipv6Addr::from(u128::from(HOST) + host));
        hosts.for_each(|host| router.handle_solicitation(Time::ZERO, host));
        assert_eq!(router.waiting.len(), MAX_WAITING);
    }
}
