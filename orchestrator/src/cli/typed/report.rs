//! The options of `report`.

use clap::Args;
use clap::builder::FalseyValueParser;
use samp_model::units::Delay;
use std::path::PathBuf;

/// What is to be reported, and where to.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct ReportOptions {
    /// The directory that `run` or `sim` has written
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Write the page here, instead of as report.html into the directory
    #[arg(long, value_name = "FILE", env = "SAMP_LAB_HTML")]
    pub html: Option<PathBuf>,
    /// Write each picture as a file into this directory
    #[arg(long, value_name = "DIR", env = "SAMP_LAB_SVG")]
    pub svg: Option<PathBuf>,
    /// Write each table as comma-separated values into this directory
    #[arg(long, value_name = "DIR", env = "SAMP_LAB_CSV")]
    pub csv: Option<PathBuf>,
    /// Do not play the experiment in the simulator
    #[arg(long, env = "SAMP_LAB_NO_PREDICTION", value_parser = FalseyValueParser::new())]
    pub no_prediction: bool,
    /// What processors and kernels may add to a predicted delay for each link on its way
    #[arg(long, value_name = "DELAY", env = "SAMP_LAB_PER_HOP", default_value = "50us")]
    pub per_hop: Delay,
}
