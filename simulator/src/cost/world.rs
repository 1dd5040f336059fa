//! What a seed fixes, whatever α is.

use super::overlay::{Overlay, addresses};
use super::parameters::{Counted, Parameters};
use crate::city::{Grid, Placement, Position};
use rand::RngExt;
use samp_model::random::generator;

/// The grid, what stands in it, the ring of its servers, and who calls whom.
#[derive(Debug)]
pub struct World {
    pub(super) parameters: Parameters,
    pub(super) seed: u64,
    pub(super) grid: Grid,
    pub(super) placement: Placement,
    pub(super) overlay: Overlay,
    /// Whom each node calls, `parameters.contacts` for each.
    contacts: Vec<u32>,
}

impl World {
    /// The world of a seed. The parameters must have been [checked](Parameters::check).
    pub fn new(parameters: &Parameters, seed: u64) -> Self {
        let grid = parameters.grid();
        let nodes = parameters.nodes as usize;
        let placement = Placement::draw(&grid, parameters.spots(), nodes, seed);
        let counts_owner_hop = parameters.owner_hop == Counted::Yes;
        let addresses = addresses(placement.servers.len(), seed);
        let overlay =
            Overlay::new(&grid, &placement.servers, nodes, &parameters.chord(), counts_owner_hop, &addresses);
        let mut random = generator(seed, "contacts");
        let contacts = (0..nodes).flat_map(|_| 0..parameters.contacts).enumerate().map(|(index, _)| {
            let caller = index as u32 / parameters.contacts;
            let other = random.random_range(0..parameters.nodes - 1);
            // Everybody but the caller.
            other + u32::from(other >= caller)
        });
        let contacts = contacts.collect();
        Self { parameters: parameters.clone(), seed, grid, placement, overlay, contacts }
    }

    /// Where a server is.
    pub(super) fn place_of(&self, server: u16) -> Position {
        self.placement.servers[usize::from(server)]
    }

    /// How far it is from one server on the way to a node's home server until the first one that is on the way there
    /// from another server, too, and which one that is.
    pub(super) fn until_met(&self, from: u16, other: u16, node: usize) -> (u32, u16) {
        let others = self.overlay.way(other, node);
        let (mut distance, mut at) = (0, from);
        for &next in self.overlay.way(from, node) {
            if at == other || others.contains(&at) {
                break;
            }
            distance += self.grid.distance(self.place_of(at), self.place_of(next));
            at = next;
        }
        (distance, at)
    }

    /// Whom a node calls.
    pub(super) fn contacts(&self, node: usize) -> &[u32] {
        let count = self.parameters.contacts as usize;
        &self.contacts[node * count..][..count]
    }
}
