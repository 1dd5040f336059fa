//! The data that crosses crates or processes: topology, experiment, records, messages.
//!
//! Nothing here has behaviour beyond validation and pure functions of the data, and the only I/O is to read the
//! two kinds of input file, and what they name.

pub mod agent;
pub mod capture;
pub mod control;
pub mod diagnostic;
pub mod examples;
pub mod experiment;
pub mod flood;
pub mod knobs;
pub mod locator;
pub mod metric;
pub mod mobility;
pub mod overlay_id;
pub mod paths;
pub mod random;
pub mod record;
pub mod ring;
pub mod schema;
pub mod settings;
pub mod time;
pub mod topology;
mod tree;
pub mod units;
pub mod ways;
mod yaml;

pub use diagnostic::Diagnostic;
pub use experiment::Experiment;
pub use overlay_id::OverlayId;
pub use record::{Event, Record};
pub use time::Time;
pub use topology::{NodeId, Topology};
