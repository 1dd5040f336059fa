//! A world in virtual time that drives the very state machines of the lab: deterministic to the bit, per seed.
//!
//! [`cost`] counts hops in the paper's world without messages, in the grid of [`city`].
//!
//! [`World`] is the world. [`Scenario`] is what a seed stands for, [`play`] lets it happen and holds it against the
//! [`Invariant`]s, [`shrink`] makes a failing one small, [`play_seeds`] does all of it with many.
//!
//! [`VirtualLab`] is a world that can be asked what a running lab can be asked, and writes the same records.

mod choice;
pub mod city;
pub mod cost;
mod faults;
mod invariants;
mod lab;
mod network;
mod parallel;
mod play;
mod scenario;
mod seeds;
mod shrink;
mod terrain;
mod trace;
mod wires;
mod workload;
mod world;

pub use faults::Fault;
pub use invariants::{Invariant, Violation};
pub use lab::{Hindrance, NotUp, VirtualLab};
pub use network::Weather;
pub use parallel::for_each;
pub use play::{Options, Outcome, play};
pub use scenario::{Action, Scenario, Step};
pub use seeds::{Failure, play_seeds};
pub use shrink::shrink;
pub use workload::Work;
pub use world::{Happened, Leg, World};
