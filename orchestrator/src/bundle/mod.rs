//! A run, or an experiment of many, in one file: all that is needed to look at it elsewhere, and to do it again.
//!
//! It is a gzipped tar archive. `bundle.json` comes first and says what there is, by SHA-256; below `run/` is the directory as it
//! was, below `inputs/` the files that it was made of.

mod manifest;
mod pack;
mod unpack;

pub use self::manifest::{Entry, Machine, Manifest};
pub use self::pack::pack;
pub use self::unpack::{Unpacked, unpack};

use std::io;
use std::path::PathBuf;

/// The directory of what was measured, inside of a bundle.
pub const RUN: &str = "run";
/// The directory of what it was made of.
const INPUTS: &str = "inputs";
/// What says what there is.
const MANIFEST: &str = "bundle.json";
/// Files of a bundle at most.
const MAX_FILES: usize = 200_000;
/// Bytes of a bundle's files at most.
const MAX_BYTES: u64 = 64 << 30;
/// Bytes of what says what there is at most.
const MAX_MANIFEST: u64 = 64 << 20;

/// Why there is no bundle, or it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Something in the file system.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The archive is not as `samp-lab bundle` writes it.
    #[error("this is no bundle: {0}")]
    NoBundle(String),
}

fn failed(attempt: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BundleError {
    move |source| BundleError::Io { attempt, path: path.into(), source }
}

#[cfg(test)]
mod tests;
