//! Points of a map, and which of them is the nearest: a k-d tree.

use rand::RngExt;
use rand_pcg::Pcg64;

/// Points, each with its index.
pub(super) struct Map {
    points: Vec<[f64; 2]>,
    /// Indexes of the points: the middle one parts the others, by x and by y in turn.
    tree: Vec<usize>,
    /// The least and the largest coordinates.
    bounds: [[f64; 2]; 2],
}

/// How far two points are from each other.
pub(super) fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

impl Map {
    /// Of these points, one at least.
    pub(super) fn new(points: Vec<[f64; 2]>) -> Self {
        let mut tree: Vec<usize> = (0..points.len()).collect();
        part(&points, &mut tree, 0);
        let bound = |choose: fn(f64, f64) -> f64| {
            [0, 1].map(|axis| points.iter().map(|point| point[axis]).reduce(choose).unwrap_or_default())
        };
        let bounds = [bound(f64::min), bound(f64::max)];
        Self { points, tree, bounds }
    }

    pub(super) fn point(&self, index: usize) -> [f64; 2] {
        self.points[index]
    }

    /// A point anywhere in the rectangle around all.
    pub(super) fn somewhere(&self, random: &mut Pcg64) -> [f64; 2] {
        let [least, most] = self.bounds;
        [0, 1].map(|axis| least[axis] + random.random::<f64>() * (most[axis] - least[axis]))
    }

    /// The point next to `here`, but not that one, and how far it is; of several that of the smallest index.
    pub(super) fn nearest_but(&self, but: usize, here: [f64; 2]) -> Option<(usize, f64)> {
        let mut best = None;
        self.look(&self.tree, 0, but, here, &mut best);
        best.map(|(distance, index)| (index, distance))
    }

    fn look(&self, part: &[usize], axis: usize, but: usize, here: [f64; 2], best: &mut Option<(f64, usize)>) {
        let (before, [middle, after @ ..]) = part.split_at(part.len() / 2) else { return };
        let candidate = (distance(here, self.points[*middle]), *middle);
        if *middle != but && best.is_none_or(|best| candidate < best) {
            *best = Some(candidate);
        }
        let beyond = here[axis] - self.points[*middle][axis];
        let (near, far) = if beyond < 0.0 { (before, after) } else { (after, before) };
        self.look(near, 1 - axis, but, here, best);
        if best.is_none_or(|(distance, _)| beyond.abs() <= distance) {
            self.look(far, 1 - axis, but, here, best);
        }
    }
}

/// Puts the middle one in the middle, the smaller ones before it and the larger ones behind, and so on with either half.
fn part(points: &[[f64; 2]], indexes: &mut [usize], axis: usize) {
    if indexes.len() < 2 {
        return;
    }
    let by_axis = |a: &usize, b: &usize| points[*a][axis].total_cmp(&points[*b][axis]);
    let (before, _, after) = indexes.select_nth_unstable_by(indexes.len() / 2, by_axis);
    part(points, before, 1 - axis);
    part(points, after, 1 - axis);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_is_the_nearest(
            points in proptest::collection::vec([0..10i32, 0..10i32], 1..60), here in [-5..15i32, -5..15i32], but in 0..60usize,
        ) {
            let points: Vec<_> = points.into_iter().map(|point| point.map(f64::from)).collect();
            let here = here.map(f64::from);
            let others = points.iter().enumerate().filter(|(index, _)| *index != but);
            let expected = others.map(|(index, point)| (distance(here, *point), index)).reduce(|a, b| if b < a { b } else { a });
            let expected = expected.map(|(distance, index)| (index, distance));
            prop_assert_eq!(Map::new(points).nearest_but(but, here), expected);
        }
    }
}
