//! Random waypoint: paths over the map, and when another access router is nearer by the hysteresis.

use super::super::Waypoint;
use super::super::movement::LOOK;
use super::map::{Map, distance};
use rand::RngExt;
use rand_pcg::Pcg64;
use std::time::Duration;

/// How exactly the time of a move is worked out.
const PRECISION: Duration = Duration::from_micros(100);

/// A straight part of a path.
#[derive(Clone, Copy, Debug)]
struct Leg {
    /// When it begins, after the beginning of the period.
    began: Duration,
    takes: Duration,
    from: [f64; 2],
    to: [f64; 2],
}

impl Leg {
    /// Where one is so long after its beginning.
    fn at(&self, since: Duration) -> [f64; 2] {
        let share = since.as_secs_f64() / self.takes.as_secs_f64();
        [0, 1].map(|axis| self.from[axis] + share * (self.to[axis] - self.from[axis]))
    }
}

impl Waypoint {
    /// When a node that begins at an access router of the map moves, and to which one.
    pub(super) fn moves(
        &self,
        map: &Map,
        start: usize,
        lasts: Duration,
        random: &mut Pcg64,
    ) -> Vec<(Duration, usize)> {
        let mut attached = start;
        let mut moves = Vec::new();
        for leg in self.path(map, map.point(start), lasts, random) {
            let (mut before, mut since) = (Duration::ZERO, Duration::ZERO);
            loop {
                let mut next = since + LOOK;
                match lead(map, attached, leg.at(since)) {
                    Some((lead, _)) if lead > self.hysteresis => {
                        let (at, other) = self.crossing(map, attached, &leg, [before, since]);
                        moves.push((leg.began + at, other));
                        attached = other;
                    }
                    Some((lead, _)) => {
                        // Both distances change by the node's speed at most, so before that nothing happens.
                        let earliest = (self.hysteresis - lead) / (2.0 * self.speed);
                        next = next.max(since + Duration::from_secs_f64(earliest));
                    }
                    None => {}
                }
                if since == leg.takes {
                    break;
                }
                (before, since) = (since, next.min(leg.takes));
            }
        }
        moves
    }

    /// When on a leg another access router comes to be nearer by the hysteresis, and which one; after the second of these
    /// instants one is.
    fn crossing(
        &self,
        map: &Map,
        attached: usize,
        leg: &Leg,
        [mut before, mut after]: [Duration; 2],
    ) -> (Duration, usize) {
        let nearer = |at| {
            lead(map, attached, leg.at(at)).filter(|(lead, _)| *lead > self.hysteresis).map(|(_, it)| it)
        };
        while after - before > PRECISION {
            let middle = before + (after - before) / 2;
            *(if nearer(middle).is_some() { &mut after } else { &mut before }) = middle;
        }
        (after, nearer(after).unwrap_or(attached))
    }

    /// The path of a node for so long; nobody sets off at once, and no leg takes less than [`LOOK`].
    fn path(&self, map: &Map, start: [f64; 2], lasts: Duration, random: &mut Pcg64) -> Vec<Leg> {
        let (mut began, mut from) = ((self.pause + LOOK).mul_f64(random.random()), start);
        let mut legs = Vec::new();
        while began < lasts {
            let to = map.somewhere(random);
            let takes = Duration::from_secs_f64(distance(from, to) / self.speed).max(LOOK);
            legs.push(Leg { began, takes, from, to });
            (began, from) = (began + takes + self.pause, to);
        }
        legs
    }
}

/// The access router next to `here` but for that one, and by how much nearer it is.
fn lead(map: &Map, attached: usize, here: [f64; 2]) -> Option<(f64, usize)> {
    let (other, away) = map.nearest_but(attached, here)?;
    Some((distance(here, map.point(attached)) - away, other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::generator;
    use proptest::prelude::*;

    fn points() -> impl Strategy<Value = Vec<[f64; 2]>> {
        // Few coordinates, so that some are equal.
        proptest::collection::vec(
            [0..20i32, 0..20i32].prop_map(|point| point.map(|c| f64::from(c) * 50.0)),
            2..40,
        )
    }

    fn waypoint() -> impl Strategy<Value = Waypoint> {
        (1.0..50.0f64, 0..5u64, prop_oneof![Just(0.0), 0.0..60.0f64]).prop_map(
            |(speed, pause, hysteresis)| Waypoint {
                speed,
                pause: Duration::from_secs(pause),
                hysteresis,
                gap: None,
            },
        )
    }

    /// Where a node is on its path at an instant.
    fn place(legs: &[Leg], at: Duration) -> [f64; 2] {
        let leg = &legs[legs.partition_point(|leg| leg.began <= at).saturating_sub(1)];
        leg.at(at.saturating_sub(leg.began).min(leg.takes))
    }

    proptest! {
        #[test]
        fn a_node_is_where_no_other_is_nearer_by_the_hysteresis(
            points in points(), waypoint in waypoint(), seed: u64, start in 0..40usize, instants in proptest::collection::vec(0..120_000u64, 20),
        ) {
            let (map, start, lasts) = (Map::new(points.clone()), start % points.len(), Duration::from_secs(120));
            let moves = waypoint.moves(&map, start, lasts, &mut generator(seed, "a node"));
            prop_assert_eq!(&moves, &waypoint.moves(&map, start, lasts, &mut generator(seed, "a node")));
            let legs = waypoint.path(&map, points[start], lasts, &mut generator(seed, "a node"));

            let mut attached = start;
            for &(at, to) in &moves {
                let here = place(&legs, at);
                let away = |index: usize| distance(here, points[index]);
                prop_assert!(attached != to && away(attached) - away(to) > waypoint.hysteresis - 1e-6);
                prop_assert!(points.iter().all(|other| distance(here, *other) > away(to) - 1e-6), "the nearest one");
                attached = to;
            }
            prop_assert!(moves.windows(2).all(|pair| pair[0].0 < pair[1].0), "one after the other");
            // Between two looks it gets this much worse at most.
            let slack = waypoint.hysteresis + 2.0 * waypoint.speed * LOOK.as_secs_f64() + 1e-6;
            for at in instants.into_iter().map(Duration::from_millis) {
                let attached = moves.iter().rfind(|(moved, _)| *moved <= at).map_or(start, |(_, to)| *to);
                let here = place(&legs, at);
                let nearest = points.iter().map(|other| distance(here, *other)).fold(f64::INFINITY, f64::min);
                prop_assert!(distance(here, points[attached]) - nearest <= slack);
            }
        }

        #[test]
        fn nobody_is_faster_than_that_nor_leaves_the_map(
            points in points(), waypoint in waypoint(), seed: u64,
        ) {
            let map = Map::new(points.clone());
            let legs = waypoint.path(&map, points[0], Duration::from_secs(600), &mut generator(seed, "a node"));
            for (leg, next) in legs.iter().zip(&legs[1..]) {
                prop_assert_eq!(leg.to, next.from);
                prop_assert_eq!(next.began, leg.began + leg.takes + waypoint.pause);
                prop_assert!(distance(leg.from, leg.to) <= waypoint.speed * leg.takes.as_secs_f64() + 1e-3);
                for axis in [0, 1] {
                    let along = points.iter().map(|point| point[axis]);
                    let [least, most] = [along.clone().fold(f64::INFINITY, f64::min), along.fold(0.0, f64::max)];
                    prop_assert!((least..=most).contains(&leg.to[axis]));
                }
            }
        }
    }
}
