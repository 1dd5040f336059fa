//! The options of `bundle`.

use clap::Args;
use std::path::PathBuf;

/// What is to be packed.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Bundle {
    /// The directory that `run` or `sim` has written
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Write the bundle here, a file that does not exist yet, instead of beside the directory
    #[arg(long, value_name = "FILE", env = "SAMP_LAB_OUT")]
    pub out: Option<PathBuf>,
}
