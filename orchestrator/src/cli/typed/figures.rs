//! The options of `figures`.

use clap::Args;
use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use samp_simulator::cost::Name;
use std::path::PathBuf;

/// The values of α unless others are typed: the paper's range.
const ALPHAS: &str = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1";

/// Which figures are to be made, and of what.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct Figures {
    /// Make only these, as 4,5a
    #[arg(long = "figure", value_name = "NAME", value_delimiter = ',', env = "SAMP_LAB_FIGURE",
        value_parser = PossibleValuesParser::new(Name::ALL.iter().map(|name| name.name()))
            .try_map(|text| text.parse::<Name>()))]
    pub names: Vec<Name>,
    /// Make the paper's table 1 with numbers instead, at the middle one of the values of α
    #[arg(long, conflicts_with = "names", env = "SAMP_LAB_TABLE1", value_parser = FalseyValueParser::new())]
    pub table1: bool,
    /// Write them into this directory
    #[arg(long, alias = "output", value_name = "DIR", default_value = "figures", env = "SAMP_LAB_OUT")]
    pub out: PathBuf,
    /// Overwrite figures that are there
    #[arg(long, env = "SAMP_LAB_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    /// Worlds, each of a seed of its own
    #[arg(long, value_name = "COUNT", default_value_t = 20, env = "SAMP_LAB_SEEDS",
        value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 1, env = "SAMP_LAB_SEED",
        value_parser = clap::value_parser!(u64).range(..=u64::MAX - 1000))]
    pub seed: u64,
    /// Threads, instead of one for each processor; the figures are the same
    #[arg(long, value_name = "COUNT", env = "SAMP_LAB_JOBS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Probabilities of a step towards the hotspot, ascending
    #[arg(long = "alpha", value_name = "ALPHA", value_delimiter = ',', default_value = ALPHAS,
        env = "SAMP_LAB_ALPHA", value_parser = probability)]
    pub alphas: Vec<f64>,
    /// Set a parameter, as borders=torus; several with commas between them
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', env = "SAMP_LAB_SET", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// Make nothing, list the parameters
    #[arg(long, env = "SAMP_LAB_PARAMETERS", value_parser = FalseyValueParser::new())]
    pub parameters: bool,
}

fn probability(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
