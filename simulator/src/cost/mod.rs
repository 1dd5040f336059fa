//! The paper's world at the cost level: what registrations and sessions cost in hops, without messages.
//!
//! A [`World`] is what a seed fixes, [`play`] moves its mobile nodes at one α, and [`figures`](figures::draw) makes the
//! paper's figures, and those that it leaves out, of many of them. Overlay hops come from the protocol's own routing
//! code on its ideal ring, cache hits from its own caches. Sums are of integers, so that nothing depends on how many
//! threads there are.

#[cfg(test)]
mod agreement;
mod caches;
mod cell;
mod chart;
mod drive;
pub mod figures;
mod overlay;
mod parameters;
mod statistics;
mod table1;
#[cfg(test)]
mod tests;
mod world;

pub use caches::Outcomes;
pub use cell::{Cell, Hops, Sigma, play};
pub use figures::{Figure, Name, Series, Study};
pub use overlay::Route;
pub use parameters::{
    Counted, HomeUpdate, Lifetime, Parameter, Parameters, Reach, SigmaOver, SigmaWhen, UnknownParameter,
};
pub use statistics::Estimate;
pub use table1::{Row, Table1};
pub use world::World;
