//! What the end-to-end tests share: labs with unique names, and the host as it was before them.

pub mod browser;
pub mod events;
pub mod faults;
pub mod fuzz;
pub mod host;
pub mod lab;
pub mod measured;

pub use browser::Browser;
pub use events::Events;
pub use host::Host;
pub use lab::{Lab, TemporaryFile, samp_lab, topology};
