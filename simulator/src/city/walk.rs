//! The movement of the paper: towards the hotspot with probability α, else at random.

use super::grid::{Borders, Direction, Grid, Position};
use crate::choice::choice;
use rand::{Rng, RngExt};

choice! {
    /// What a step towards the hotspot is for a node that is there.
    AtHotspot {
        /// It is not made.
        Stay = "stay",
        /// It is a random one.
        Wander = "wander",
    }
}

/// A random walk that is drawn to one access router.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HotspotWalk {
    /// α, the probability of a step towards the hotspot.
    pub alpha: f64,
    /// The access router that everybody is drawn to.
    pub hotspot: Position,
    /// What becomes of a random step out of the grid.
    pub borders: Borders,
    /// What a step towards the hotspot is at the hotspot.
    pub at_hotspot: AtHotspot,
}

impl HotspotWalk {
    /// Where a node is after its next step: a neighbour, or where it was if the step is not made. The grid must have
    /// more than one access router.
    pub fn step(&self, grid: &Grid, from: Position, random: &mut impl Rng) -> Position {
        if random.random::<f64>() < self.alpha {
            // Both are nearer to the hotspot by one hop.
            let direction = match grid.towards(from, self.hotspot) {
                [Some(along_x), Some(along_y)] => Some(if random.random() { along_x } else { along_y }),
                [one, other] => one.or(other),
            };
            match direction {
                Some(direction) => return grid.neighbour(from, direction).unwrap_or(from),
                None if self.at_hotspot == AtHotspot::Stay => return from,
                None => {}
            }
        }
        loop {
            let direction = Direction::ALL[random.random_range(0..4_usize)];
            match (grid.neighbour(from, direction), self.borders) {
                (Some(next), _) => return next,
                (None, Borders::Choose) => {}
                (None, Borders::Reflect) => {
                    return grid.neighbour(from, direction.opposite()).unwrap_or(from);
                }
                (None, Borders::Stay | Borders::Torus) => return from,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::random::generator;
    use std::collections::BTreeMap;

    const CENTRE: Position = Position { x: 2, y: 2 };

    /// How often a step from there leads where, of 12,000.
    fn steps(walk: &HotspotWalk, from: Position) -> BTreeMap<(u16, u16), f64> {
        let grid = Grid::new((5, 5), (5, 5), walk.borders == Borders::Torus);
        let mut random = generator(1, "walk");
        let mut counts = BTreeMap::new();
        for _ in 0..12_000 {
            let to = walk.step(&grid, from, &mut random);
            *counts.entry((to.x, to.y)).or_insert(0.0) += 1.0;
        }
        counts
    }

    /// Asserts that steps from `from` lead there with these probabilities, within 5 standard deviations.
    #[track_caller]
    fn check(walk: HotspotWalk, from: (u16, u16), expected: &[((u16, u16), f64)]) {
        let counts = steps(&walk, Position { x: from.0, y: from.1 });
        assert_eq!(counts.len(), expected.len(), "{counts:?}");
        for (to, probability) in expected {
            let (mean, deviation) =
                (12_000.0 * probability, (12_000.0 * probability * (1.0 - probability)).sqrt());
            assert!((counts[to] - mean).abs() <= 5.0 * deviation, "{to:?}: {} of {mean}", counts[to]);
        }
    }

    fn walk(alpha: f64, borders: Borders, at_hotspot: AtHotspot) -> HotspotWalk {
        HotspotWalk { alpha, hotspot: CENTRE, borders, at_hotspot }
    }

    #[test]
    fn random_steps_at_a_corner() {
        let random = |borders| walk(0.0, borders, AtHotspot::Stay);
        check(random(Borders::Choose), (0, 0), &[((1, 0), 0.5), ((0, 1), 0.5)]);
        check(random(Borders::Stay), (0, 0), &[((0, 0), 0.5), ((1, 0), 0.25), ((0, 1), 0.25)]);
        check(random(Borders::Reflect), (0, 0), &[((1, 0), 0.5), ((0, 1), 0.5)]);
        check(random(Borders::Reflect), (0, 1), &[((1, 1), 0.5), ((0, 0), 0.25), ((0, 2), 0.25)]);
        check(
            random(Borders::Torus),
            (0, 0),
            &[((1, 0), 0.25), ((4, 0), 0.25), ((0, 1), 0.25), ((0, 4), 0.25)],
        );
    }

    #[test]
    fn steps_towards_the_hotspot() {
        let drawn = |alpha, at_hotspot| walk(alpha, Borders::Choose, at_hotspot);
        check(drawn(1.0, AtHotspot::Stay), (0, 0), &[((1, 0), 0.5), ((0, 1), 0.5)]);
        check(drawn(1.0, AtHotspot::Stay), (2, 4), &[((2, 3), 1.0)]);
        check(drawn(1.0, AtHotspot::Stay), (2, 2), &[((2, 2), 1.0)]);
        let four = [((1, 2), 0.25), ((3, 2), 0.25), ((2, 1), 0.25), ((2, 3), 0.25)];
        check(drawn(1.0, AtHotspot::Wander), (2, 2), &four);
        // 0.6 + 0.4 / 4 towards it.
        let mixed = [((2, 3), 0.7), ((2, 1), 0.1), ((1, 2), 0.1), ((3, 2), 0.1)];
        let below = HotspotWalk { hotspot: Position { x: 2, y: 4 }, ..drawn(0.6, AtHotspot::Stay) };
        check(below, (2, 2), &mixed);
    }

    /// In the paper's city: of the 149 links of a row, 9 lead into another domain, and all are passed equally often.
    #[test]
    fn a_random_walk_changes_domains_with_9_of_149_steps() {
        let grid = Grid::new((150, 150), (15, 15), false);
        let walk = walk(0.0, Borders::Stay, AtHotspot::Stay);
        let mut random = generator(1, "domains");
        let walkers = 4000;
        let (mut crossings, mut squares, mut steps) = (0.0, 0.0, 0.0);
        for _ in 0..walkers {
            let mut at = Position { x: random.random_range(0..150), y: random.random_range(0..150) };
            let mut own = 0.0;
            for _ in 0..200 {
                let to = walk.step(&grid, at, &mut random);
                steps += f64::from(u8::from(to != at));
                own += f64::from(u8::from(grid.domain_of(to) != grid.domain_of(at)));
                at = to;
            }
            crossings += own;
            squares += own * own;
        }
        // Walkers are independent of each other, steps of one are not.
        let n = f64::from(walkers);
        let error = (squares / n - (crossings / n).powi(2)).sqrt() / n.sqrt() / (steps / n);
        let rate = crossings / steps;
        assert!((rate - 9.0 / 149.0).abs() <= 4.0 * error, "{rate} ± {error}");
        assert!(error < 0.02 * rate, "{error}");
    }
}
