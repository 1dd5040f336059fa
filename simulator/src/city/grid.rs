//! The grid of access routers, its domains, and distances in hops.

use crate::choice::choice;

/// Where an access router is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Its column, from 0.
    pub x: u16,
    /// Its row, from 0.
    pub y: u16,
}

/// One of the four ways out of an access router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a smaller x.
    West,
    /// To a larger x.
    East,
    /// To a smaller y.
    North,
    /// To a larger y.
    South,
}

impl Direction {
    /// All four.
    pub const ALL: [Self; 4] = [Self::West, Self::East, Self::North, Self::South];

    /// The way back.
    pub fn opposite(self) -> Self {
        match self {
            Self::West => Self::East,
            Self::East => Self::West,
            Self::North => Self::South,
            Self::South => Self::North,
        }
    }
}

choice! {
    /// What becomes of a random step that leads out of the grid.
    Borders {
        /// It is drawn among the neighbours that there are.
        Choose = "choose",
        /// It is not made.
        Stay = "stay",
        /// It leads the other way.
        Reflect = "reflect",
        /// There are no borders: the grid is a torus, for links too.
        Torus = "torus",
    }
}

/// A rectangle of access routers, each linked to its neighbours, cut into domains.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    width: u16,
    height: u16,
    domain_width: u16,
    domain_height: u16,
    is_torus: bool,
}

impl Grid {
    /// A grid of so many access routers with domains of so many; no size may be zero. Domains at the far borders are
    /// smaller where the sizes do not divide.
    pub fn new(
        (width, height): (u16, u16),
        (domain_width, domain_height): (u16, u16),
        is_torus: bool,
    ) -> Self {
        assert!(
            [width, height, domain_width, domain_height].iter().all(|&size| size > 0),
            "sizes are positive"
        );
        Self { width, height, domain_width, domain_height, is_torus }
    }

    /// Access routers in a row.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Access routers in a column.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// Hops on a shortest path between two access routers.
    pub fn distance(&self, a: Position, b: Position) -> u32 {
        let along = |a: u16, b: u16, length: u16| {
            let straight = a.abs_diff(b);
            if self.is_torus { straight.min(length - straight) } else { straight }
        };
        u32::from(along(a.x, b.x, self.width)) + u32::from(along(a.y, b.y, self.height))
    }

    /// The neighbour in a direction; none beyond a border.
    pub fn neighbour(&self, at: Position, direction: Direction) -> Option<Position> {
        let Position { x, y } = at;
        let down =
            |value: u16, length: u16| value.checked_sub(1).or_else(|| self.is_torus.then(|| length - 1));
        let up = |value: u16, length: u16| match value + 1 {
            next if next < length => Some(next),
            _ => self.is_torus.then_some(0),
        };
        Some(match direction {
            Direction::West => Position { x: down(x, self.width)?, y },
            Direction::East => Position { x: up(x, self.width)?, y },
            Direction::North => Position { x, y: down(y, self.height)? },
            Direction::South => Position { x, y: up(y, self.height)? },
        })
    }

    /// The directions in which a shortest path to another access router begins: along x and along y.
    pub fn towards(&self, from: Position, to: Position) -> [Option<Direction>; 2] {
        let along = |from: u16, to: u16, length: u16, [down, up]: [Direction; 2]| {
            if from == to {
                return None;
            }
            let is_wrapped = self.is_torus && 2 * from.abs_diff(to) > length;
            Some(if (from < to) != is_wrapped { up } else { down })
        };
        [
            along(from.x, to.x, self.width, [Direction::West, Direction::East]),
            along(from.y, to.y, self.height, [Direction::North, Direction::South]),
        ]
    }

    /// How many domains there are.
    pub fn domains(&self) -> usize {
        usize::from(self.columns()) * usize::from(self.height.div_ceil(self.domain_height))
    }

    /// The number of the domain that an access router is in, row by row from 0.
    pub fn domain_of(&self, at: Position) -> usize {
        usize::from(at.y / self.domain_height) * usize::from(self.columns())
            + usize::from(at.x / self.domain_width)
    }

    /// A domain's first access router, and how many it has in a row and in a column.
    pub fn domain(&self, number: usize) -> (Position, (u16, u16)) {
        let columns = usize::from(self.columns());
        let x = (number % columns) as u16 * self.domain_width;
        let y = (number / columns) as u16 * self.domain_height;
        let size = (self.domain_width.min(self.width - x), self.domain_height.min(self.height - y));
        (Position { x, y }, size)
    }

    fn columns(&self) -> u16 {
        self.width.div_ceil(self.domain_width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn all(grid: &Grid) -> impl Iterator<Item = Position> + use<> {
        let (width, height) = (grid.width, grid.height);
        (0..height).flat_map(move |y| (0..width).map(move |x| Position { x, y }))
    }

    #[test]
    fn distances_are_those_of_shortest_paths_over_neighbours() {
        for is_torus in [false, true] {
            let grid = Grid::new((7, 4), (3, 2), is_torus);
            let from = Position { x: 1, y: 3 };
            let mut hops = std::collections::BTreeMap::from([(from, 0)]);
            let mut open = VecDeque::from([from]);
            while let Some(at) = open.pop_front() {
                for next in Direction::ALL.into_iter().filter_map(|direction| grid.neighbour(at, direction)) {
                    let beyond = hops[&at] + 1;
                    hops.entry(next).or_insert_with(|| {
                        open.push_back(next);
                        beyond
                    });
                }
            }
            for to in all(&grid) {
                assert_eq!(grid.distance(from, to), hops[&to], "{to:?}");
                for direction in grid.towards(from, to).into_iter().flatten() {
                    let next = grid.neighbour(from, direction).unwrap();
                    assert_eq!(grid.distance(next, to), hops[&to] - 1, "{direction:?} to {to:?}");
                }
            }
        }
    }

    #[test]
    fn domains_tile_the_grid() {
        let grid = Grid::new((7, 4), (3, 2), false);
        assert_eq!(grid.domains(), 6);
        let sizes: usize = (0..6).map(|number| grid.domain(number).1).map(|(w, h)| usize::from(w * h)).sum();
        assert_eq!(sizes, 28);
        for at in all(&grid) {
            let (first, (width, height)) = grid.domain(grid.domain_of(at));
            assert!(
                (first.x..first.x + width).contains(&at.x) && (first.y..first.y + height).contains(&at.y)
            );
        }
    }
}
