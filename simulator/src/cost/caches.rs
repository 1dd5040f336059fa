//! Two-tier caching: tier 1 at the mobile node holds care-of addresses, tier 2 at the server holds anchors.

use super::parameters::Parameters;
use crate::city::Position;
use samp_model::Time;
use samp_protocol::cache::{Learned, LocationCache};

/// What the caches had for sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Tier 1 knew where the callee is.
    pub tier1_hits: u64,
    /// Tier 1 believed the callee elsewhere; what tier 2 had then counts below.
    pub tier1_stale: u64,
    /// Tier 2 knew the callee's anchor.
    pub tier2_hits: u64,
    /// Tier 2 believed another anchor.
    pub tier2_stale: u64,
    /// Tier 2 knew nothing.
    pub misses: u64,
}

/// Where the first packet of a session goes by the caches, before it takes the way that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Straight to the callee.
    Callee,
    /// From the caller's anchor to the callee's.
    Anchor,
    /// Nothing is known: over the ring.
    Nothing,
}

/// All caches of a world.
#[derive(Debug)]
pub(super) struct Caches {
    tier1: Vec<LocationCache<u32, Position>>,
    tier2: Vec<LocationCache<u32, u16>>,
    pub(super) outcomes: Outcomes,
}

impl Caches {
    pub(super) fn new(parameters: &Parameters, servers: usize) -> Self {
        let tier1 = parameters.cache(parameters.tier1_lifetime, parameters.tier1_size);
        let tier2 = parameters.cache(parameters.tier2_lifetime, parameters.tier2_size);
        Self {
            tier1: (0..parameters.nodes).map(|_| LocationCache::new(tier1.clone())).collect(),
            tier2: (0..servers).map(|_| LocationCache::new(tier2.clone())).collect(),
            outcomes: Outcomes::default(),
        }
    }

    /// What the caches know of a callee that is at `place` under `anchor`; the places where they wrongly believed it
    /// are given to `wasted`: a care-of address, then an anchor. Caller and
    /// caller's anchor learn where it is. What the callee learns of the caller is of no use to it, as it calls others.
    pub(super) fn look_up(
        &mut self,
        now: Time,
        (caller, caller_anchor): (u32, u16),
        (callee, place, anchor): (u32, Position, u16),
        mut wasted: impl FnMut(Wasted),
    ) -> Found {
        let tier1 = &mut self.tier1[caller as usize];
        let believed = tier1.get(now, &callee);
        if let Some(elsewhere) = believed.filter(|&believed| believed != place) {
            self.outcomes.tier1_stale += 1;
            wasted(Wasted::CareOfAddress(elsewhere));
            tier1.forget(&callee);
        }
        tier1.learn(now, &callee, place, Learned::Found);
        if believed == Some(place) {
            self.outcomes.tier1_hits += 1;
            return Found::Callee;
        }
        let tier2 = &mut self.tier2[usize::from(caller_anchor)];
        let believed = tier2.get(now, &callee);
        match believed {
            None => self.outcomes.misses += 1,
            Some(right) if right == anchor => self.outcomes.tier2_hits += 1,
            Some(wrong) => {
                self.outcomes.tier2_stale += 1;
                wasted(Wasted::Anchor(wrong));
                tier2.forget(&callee);
            }
        }
        tier2.learn(now, &callee, anchor, Learned::Found);
        if believed == Some(anchor) { Found::Anchor } else { Found::Nothing }
    }
}

/// Where a cache led to in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wasted {
    /// From the caller.
    CareOfAddress(Position),
    /// From the caller's anchor.
    Anchor(u16),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn caches_hit_get_stale_and_learn() {
        let parameters = Parameters { nodes: 2, ..Parameters::default() };
        let mut caches = Caches::new(&parameters, 3);
        let at = |x| Position { x, y: 0 };
        let mut look_up = |seconds, place: (u16, u16)| {
            let mut wasted = Vec::new();
            let now = Time::ZERO + Duration::from_secs(seconds);
            let callee = (1, at(place.0), place.1);
            let found = caches.look_up(now, (0, 0), callee, |leg| wasted.push(leg));
            (found, wasted)
        };
        assert_eq!(look_up(0, (5, 1)), (Found::Nothing, vec![]));
        assert_eq!(look_up(59, (5, 1)), (Found::Callee, vec![]));
        // Moved under the same anchor, and then to another one.
        assert_eq!(look_up(60, (6, 1)), (Found::Anchor, vec![Wasted::CareOfAddress(at(5))]));
        assert_eq!(
            look_up(61, (9, 2)),
            (Found::Nothing, vec![Wasted::CareOfAddress(at(6)), Wasted::Anchor(1)])
        );
        // Tier 1 has grown too old, and then tier 2.
        assert_eq!(look_up(130, (9, 2)), (Found::Anchor, vec![]));
        assert_eq!(look_up(800, (9, 2)), (Found::Nothing, vec![]));
        let expected = Outcomes { tier1_hits: 1, tier1_stale: 2, tier2_hits: 2, tier2_stale: 1, misses: 2 };
        assert_eq!(caches.outcomes, expected);
    }
}
