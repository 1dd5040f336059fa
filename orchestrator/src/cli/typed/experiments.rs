//! The options of the commands that run experiments.

use super::{Emulation, Tolerated};
use crate::calibration::Tolerance;
use clap::Args;
use clap::builder::FalseyValueParser;
use samp_model::units::Delay;
use std::path::PathBuf;

/// Where results go.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Results {
    /// Write the results here, a directory that does not exist yet, instead of into `runs`
    #[arg(long, value_name = "DIR", env = "SAMP_LAB_OUT")]
    pub out: Option<PathBuf>,
    /// Run nothing, show the cells and how long they would take
    #[arg(long, env = "SAMP_LAB_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub dry_run: bool,
    /// Go on with an experiment of many runs that was broken off, in its directory
    ///
    /// Its files, options and backends have to be the same. Runs that are whole stay; those that failed are made again.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "dry_run"], env = "SAMP_LAB_RESUME")]
    pub resume: Option<PathBuf>,
    /// Write what the experiment asserts, and whether it holds, into this file as JUnit's XML
    #[arg(long, value_name = "FILE", env = "SAMP_LAB_JUNIT")]
    pub junit: Option<PathBuf>,
}

/// What is compared with what.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Compare {
    /// A run, a cell or an experiment of many runs
    #[arg(value_name = "A", required_unless_present = "sim", conflicts_with = "sim", requires = "second")]
    pub first: Option<PathBuf>,
    /// Another one
    #[arg(value_name = "B")]
    pub second: Option<PathBuf>,
    /// Compare also what different backends have made
    #[arg(long, conflicts_with = "sim", env = "SAMP_LAB_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    /// Compare this run with its prediction by the simulator
    #[arg(long, value_name = "RUN", env = "SAMP_LAB_SIM")]
    pub sim: Option<PathBuf>,
    /// What processors and kernels may add to a delay for each link on its way, with `--sim`
    #[arg(long, value_name = "DELAY", env = "SAMP_LAB_PER_HOP", default_value = "50us")]
    pub per_hop: Delay,
}

/// An experiment in labs of its own.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Run {
    /// The experiment file
    pub experiment: PathBuf,
    /// Where the results go
    #[command(flatten)]
    pub results: Results,
    /// Leave the lab running; not for experiments of many runs
    #[arg(long, env = "SAMP_LAB_KEEP", value_parser = FalseyValueParser::new())]
    pub keep: bool,
    /// Probe every link before the first step, also where the experiment does not say so; the run is invalid when one does
    /// not do what it was told, or processes of the lab wait too long for a processor
    #[arg(long, env = "SAMP_LAB_CALIBRATE", value_parser = FalseyValueParser::new())]
    pub calibrate: bool,
    /// What may be off
    #[command(flatten)]
    pub tolerated: Tolerated,
    /// Backends and addresses
    #[command(flatten)]
    pub emulation: Emulation,
    /// Run the programs that the topology names, with the rights of whoever runs this
    #[arg(long, env = "SAMP_LAB_ALLOW_PROGRAMS", value_parser = FalseyValueParser::new())]
    pub allow_programs: bool,
}

/// An experiment in virtual time.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Sim {
    /// The experiment file
    pub experiment: PathBuf,
    /// Where the results go
    #[command(flatten)]
    pub results: Results,
    /// Runs at a time, of an experiment of many runs [default: one for each processor]; the results are the same
    #[arg(long, value_name = "RUNS", env = "SAMP_LAB_JOBS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
}

impl Run {
    /// By how much measurements may be off, if links are probed.
    pub fn tolerance(&self) -> Tolerance {
        self.tolerated.into()
    }
}
