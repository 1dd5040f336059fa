//! Experiments of many runs: their directory, which run is at what state, and what they say together.

mod compare;
mod directory;
mod summary;
mod text;
mod verdict;

pub use self::compare::{Difference, NotComparable, Pairing, Side, compare, describe_pairings};
pub use self::directory::{CampaignDir, CellRecord, Design, FactorRecord, RunRecord, State, directory_name};
pub use self::summary::{CampaignSummary, CellSummary, Effect, samples_of_cell, samples_of_run, together};
pub use self::text::describe;
pub use self::verdict::{TestCase, Verdict, junit, test_cases};
