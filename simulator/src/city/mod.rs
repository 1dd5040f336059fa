//! A city: a grid of access routers with a server for each domain, and mobile nodes that walk in it.
//!
//! Nothing here knows a protocol. Whoever moves nodes takes the [`Grid`], the [`HotspotWalk`] and the [`Placement`].

mod grid;
mod placement;
mod walk;

pub use grid::{Borders, Direction, Grid, Position};
pub use placement::{Placement, Spot, Spots};
pub use walk::{AtHotspot, HotspotWalk};
