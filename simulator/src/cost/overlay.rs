//! The servers' ring: who is whose home server, and what the ways there cost.

use crate::city::{Grid, Position};
use rand::Rng;
use samp_model::random::generator;
use samp_model::settings::ChordSettings;
use samp_protocol::overlay::{IdealRing, identifier_of};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// What a lookup costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Hops from server to server.
    pub overlay_hops: u32,
    /// Hops from router to router in all of them.
    pub distance: u32,
}

/// The ways from every server to every member's keys, by the protocol's own routing.
#[derive(Debug)]
pub(super) struct Overlay {
    /// By server and member.
    routes: Vec<Route>,
    /// The servers on all ways, one way behind the other.
    ways: Vec<u16>,
    /// Where each way ends there, by server and member.
    ends: Vec<u32>,
    /// Of which server each member is.
    servers: Vec<u16>,
    /// The member that is home to each mobile node.
    homes: Vec<u32>,
}

impl Overlay {
    /// The ring of servers with these addresses, at these places.
    pub(super) fn new(
        grid: &Grid,
        servers: &[Position],
        nodes: usize,
        settings: &ChordSettings,
        counts_owner_hop: bool,
        addresses: &[SocketAddr],
    ) -> Self {
        let ring = IdealRing::new(addresses, settings);
        let mut overlay = Self {
            routes: Vec::with_capacity(servers.len() * ring.members()),
            ways: Vec::new(),
            ends: Vec::with_capacity(servers.len() * ring.members()),
            servers: (0..ring.members()).map(|member| ring.server_of(member) as u16).collect(),
            homes: (0..nodes).map(|node| ring.owner(key_of(node)) as u32).collect(),
        };
        for from in 0..servers.len() {
            for member in 0..ring.members() {
                let way = ring.way(from, member);
                let counted = way.len() - usize::from(!counts_owner_hop && !way.is_empty());
                let legs = std::iter::once(from).chain(way.iter().copied()).zip(&way[..counted]);
                let distance = legs.map(|(from, &to)| grid.distance(servers[from], servers[to])).sum();
                overlay.routes.push(Route { overlay_hops: counted as u32, distance });
                overlay.ways.extend(way.iter().map(|&server| server as u16));
                overlay.ends.push(overlay.ways.len() as u32);
            }
        }
        overlay
    }

    /// What a lookup of a node's key costs from a server.
    pub(super) fn route(&self, from: u16, node: usize) -> Route {
        self.routes[self.index(from, node)]
    }

    /// The servers that it passes, the home server last; none when it begins there.
    pub(super) fn way(&self, from: u16, node: usize) -> &[u16] {
        let index = self.index(from, node);
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ways[start as usize..self.ends[index] as usize]
    }

    fn index(&self, from: u16, node: usize) -> usize {
        usize::from(from) * self.servers.len() + self.homes[node] as usize
    }

    /// How many nodes each server is home to.
    pub(super) fn loads(&self) -> Vec<u32> {
        let mut loads = vec![0; self.routes.len() / self.servers.len()];
        self.homes.iter().for_each(|&member| loads[usize::from(self.servers[member as usize])] += 1);
        loads
    }

    /// A node's home server.
    pub(super) fn home(&self, node: usize) -> u16 {
        self.servers[self.homes[node] as usize]
    }
}

/// The key of a node: its address-of-record, hashed, as in every lab.
pub(super) fn key_of(node: usize) -> samp_model::OverlayId {
    identifier_of(&format!("sip:mn{node}@samp.test"))
}

/// Distinct addresses, and so places on the ring, that the seed draws.
pub(super) fn addresses(count: usize, seed: u64) -> Vec<SocketAddr> {
    let mut random = generator(seed, "addresses");
    let mut drawn = BTreeSet::new();
    let mut addresses = Vec::with_capacity(count);
    while addresses.len() < count {
        let [a, b, c, _] = random.next_u32().to_be_bytes();
        if drawn.insert([a, b, c]) {
            addresses.push(SocketAddr::from(([10, a, b, c], 5060)));
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_costs_what_its_legs_cost() {
        let grid = Grid::new((8, 8), (2, 2), false);
        let servers: Vec<_> = (0..grid.domains()).map(|number| grid.domain(number).0).collect();
        let settings = ChordSettings::default();
        let overlay = |owner_hop| Overlay::new(&grid, &servers, 50, &settings, owner_hop, &addresses(16, 3));
        let (whole, without) = (overlay(true), overlay(false));
        let ring = IdealRing::new(&addresses(servers.len(), 3), &settings);
        let mut longest = 0;
        for node in 0..50 {
            for from in 0..servers.len() as u16 {
                let way = ring.way(from.into(), ring.owner(key_of(node)));
                let (route, shorter) = (whole.route(from, node), without.route(from, node));
                assert_eq!(route.overlay_hops as usize, way.len());
                assert!(
                    whole.way(from, node).iter().map(|&server| usize::from(server)).eq(way.iter().copied())
                );
                assert_eq!(shorter.overlay_hops as usize, way.len().saturating_sub(1));
                let straight =
                    grid.distance(servers[usize::from(from)], servers[usize::from(whole.home(node))]);
                assert!(route.distance >= straight && route.distance >= shorter.distance);
                if way.len() == 1 {
                    assert_eq!((route.distance, shorter.distance), (straight, 0));
                }
                longest = longest.max(way.len());
            }
        }
        assert!(longest > 1);
    }
}
