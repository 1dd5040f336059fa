//! Experiments of many runs: their directory, which run is at what state, and what they say together.

mod directory;

pub use self::directory::{CampaignDir, CellRecord, RunRecord, State, directory_name};
