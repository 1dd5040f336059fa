//! Where servers, home agent, hotspot and mobile nodes are at the beginning.

use super::grid::{Grid, Position};
use crate::choice::choice;
use rand::RngExt;
use rand_pcg::Pcg64;
use samp_model::random::generator;

choice! {
    /// Where something is in a rectangle of access routers.
    Spot {
        /// In the middle; with an even number, right of it or below.
        Centre = "centre",
        /// At the access router of the smallest x and y.
        Corner = "corner",
        /// Anywhere, drawn anew with each seed.
        Random = "random",
    }
}

impl Spot {
    fn choose(self, (first, (width, height)): (Position, (u16, u16)), random: &mut Pcg64) -> Position {
        let (x, y) = match self {
            Self::Centre => (width / 2, height / 2),
            Self::Corner => (0, 0),
            Self::Random => (random.random_range(0..width), random.random_range(0..height)),
        };
        Position { x: first.x + x, y: first.y + y }
    }
}

/// Where things are to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spots {
    /// Each server, in its domain.
    pub servers: Spot,
    /// The home agent, in the grid.
    pub home_agent: Spot,
    /// The hotspot, in the grid.
    pub hotspot: Spot,
}

/// Where things are.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The server of each domain, by the domain's number.
    pub servers: Vec<Position>,
    /// The home agent.
    pub home_agent: Position,
    /// The hotspot.
    pub hotspot: Position,
    /// The mobile nodes, each anywhere in the grid.
    pub nodes: Vec<Position>,
}

impl Placement {
    /// The placement of a seed, with so many mobile nodes.
    pub fn draw(grid: &Grid, spots: Spots, nodes: usize, seed: u64) -> Self {
        let whole = (Position { x: 0, y: 0 }, (grid.width(), grid.height()));
        let place = |spot: Spot, purpose| spot.choose(whole, &mut generator(seed, purpose));
        let mut of_servers = generator(seed, "servers");
        let mut of_nodes = generator(seed, "nodes");
        Self {
            servers: (0..grid.domains())
                .map(|number| spots.servers.choose(grid.domain(number), &mut of_servers))
                .collect(),
            home_agent: place(spots.home_agent, "home agent"),
            hotspot: place(spots.hotspot, "hotspot"),
            nodes: (0..nodes).map(|_| Spot::Random.choose(whole, &mut of_nodes)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_where_it_should_be() {
        let grid = Grid::new((10, 10), (5, 5), false);
        let draw = |spot, seed| {
            Placement::draw(&grid, Spots { servers: spot, home_agent: spot, hotspot: spot }, 50, seed)
        };
        let centre = draw(Spot::Centre, 1);
        let at = |x, y| Position { x, y };
        assert_eq!(centre.servers, [at(2, 2), at(7, 2), at(2, 7), at(7, 7)]);
        assert_eq!((centre.home_agent, centre.hotspot), (at(5, 5), at(5, 5)));
        assert_eq!(draw(Spot::Corner, 1).servers, [at(0, 0), at(5, 0), at(0, 5), at(5, 5)]);
        let random = draw(Spot::Random, 1);
        assert!(random.servers.iter().enumerate().all(|(number, &server)| grid.domain_of(server) == number));
        assert_eq!(random, draw(Spot::Random, 1));
        assert_ne!(random, draw(Spot::Random, 2));
        assert_eq!(random.nodes, centre.nodes, "the other draws change nothing here");
    }
}
