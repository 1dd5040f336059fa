//! A world in virtual time that drives the very state machines of the lab: deterministic to the bit, per seed.

mod network;
mod world;

pub use world::World;
