//! What happens at one α: everybody's steps and sessions, the same for whoever watches.

use super::world::World;
use crate::city::{HotspotWalk, Position};
use rand::RngExt;
use samp_model::Time;
use samp_model::random::generator;
use std::time::Duration;

/// Who counts what happens.
pub(super) trait Watch {
    /// A node moves from one access router to another.
    fn step(&mut self, node: usize, from: Position, to: Position);
    /// A node that is at the first of these places calls one that is at the second.
    fn call(&mut self, now: Time, caller: usize, callee: usize, places: [Position; 2]);
    /// Everybody has had another turn.
    fn end_round(&mut self, _is_last: bool) {}
}

/// Lets all moves and sessions happen.
pub(super) fn drive(world: &World, alpha: f64, watch: &mut impl Watch) {
    let parameters = &world.parameters;
    let walk = HotspotWalk {
        alpha,
        hotspot: world.placement.hotspot,
        borders: parameters.borders,
        at_hotspot: parameters.at_hotspot,
    };
    let mut places = world.placement.nodes.clone();
    let mut steps = generator(world.seed, &format!("steps {alpha}"));
    let mut calls = generator(world.seed, &format!("calls {alpha}"));
    for round in 1..=parameters.moves {
        for (node, place) in places.iter_mut().enumerate() {
            let from = std::mem::replace(place, walk.step(&world.grid, *place, &mut steps));
            if *place != from {
                watch.step(node, from, *place);
            }
        }
        let now = Time::ZERO + Duration::from_secs(u64::from(round) * u64::from(parameters.move_interval));
        for caller in 0..places.len() {
            if calls.random::<f64>() < parameters.sessions {
                let contacts = world.contacts(caller);
                let callee = contacts[calls.random_range(0..contacts.len())] as usize;
                watch.call(now, caller, callee, [places[caller], places[callee]]);
            }
        }
        watch.end_round(round == parameters.moves);
    }
}
