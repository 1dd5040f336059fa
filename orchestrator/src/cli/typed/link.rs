//! The options of `link`.

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use samp_model::control::LinkName;
use samp_model::topology::{Jitter, LinkQuality, Loss, RateChange};
use samp_model::units::{Delay, Percent};

/// The options of `link`, which make no sense for a link that goes down or comes up.
const QUALITY: [&str; 8] = ["delay", "jitter", "loss", "duplicate", "reorder", "rate", "queue", "one_way"];

/// What is to become of a link.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Link {
    /// The link's ends, as ar1--ar2, or a mobile node for its radio link; none shows all links
    #[arg(value_name = "A--B|MN", value_parser = link_name)]
    pub link: Option<LinkName>,
    /// Whether it goes down or comes up
    #[arg(value_enum, requires = "link", conflicts_with_all = QUALITY)]
    pub state: Option<LinkState>,
    /// One-way delay, as 5ms
    #[arg(long, value_name = "DELAY", requires = "link", env = "SAMP_LAB_DELAY")]
    pub delay: Option<Delay>,
    /// How the delay varies, as 1ms or '1ms normal'
    #[arg(long, value_name = "JITTER", requires = "link", env = "SAMP_LAB_JITTER")]
    pub jitter: Option<Jitter>,
    /// Loss, as 0.1%; in bursts, as 'gemodel 1% 30%'
    #[arg(long, value_name = "LOSS", requires = "link", env = "SAMP_LAB_LOSS")]
    pub loss: Option<Loss>,
    /// How many packets come twice, as 1%
    #[arg(long, value_name = "PERCENT", requires = "link", env = "SAMP_LAB_DUPLICATE")]
    pub duplicate: Option<Percent>,
    /// How many packets overtake others, as 1%
    #[arg(long, value_name = "PERCENT", requires = "link", env = "SAMP_LAB_REORDER")]
    pub reorder: Option<Percent>,
    /// Rate, as 100mbit; none is as fast as the machine
    #[arg(long, value_name = "RATE", requires = "link", env = "SAMP_LAB_RATE")]
    pub rate: Option<RateChange>,
    /// Packets that may wait for a line with a rate
    #[arg(long, value_name = "PACKETS", requires = "link", env = "SAMP_LAB_QUEUE",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LinkQuality::MAX_QUEUE)))]
    pub queue: Option<u32>,
    /// From A to B only, or from the mobile node, not back
    #[arg(long, requires = "link", env = "SAMP_LAB_ONE_WAY", value_parser = FalseyValueParser::new())]
    pub one_way: bool,
}

/// Whether a link works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkState {
    /// Nothing passes
    Down,
    /// It works again
    Up,
}

/// The node or nodes in the name of a link.
fn link_name(text: &str) -> Result<LinkName, String> {
    match text.split_once("--") {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok(LinkName::Wired([a.to_owned(), b.to_owned()])),
        None if !text.is_empty() => Ok(LinkName::Radio(text.to_owned())),
        _ => Err("write a link as its two ends, as ar1--ar2, or as a mobile node".to_owned()),
    }
}
