//! The options of `bundle` and `reproduce`.

use super::Emulation;
use clap::Args;
use clap::builder::FalseyValueParser;
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

/// What is to be done again.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Reproduce {
    /// The file that `bundle` has written
    pub bundle: PathBuf,
    /// Write the results here, a directory that does not exist yet, instead of into `runs`
    #[arg(long, value_name = "DIR", env = "SAMP_LAB_OUT")]
    pub out: Option<PathBuf>,
    /// Backends and addresses, instead of those that the runs had
    #[command(flatten)]
    pub emulation: Emulation,
    /// Run the programs that the topology names, with the rights of whoever runs this
    #[arg(long, env = "SAMP_LAB_ALLOW_PROGRAMS", value_parser = FalseyValueParser::new())]
    pub allow_programs: bool,
}
