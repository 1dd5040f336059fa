//! The options of `capture`.

use clap::Args;
use samp_model::units::{Interval, InvalidValue};
use std::path::PathBuf;
use std::time::Duration;

/// What is to be captured, and where to.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct Capture {
    /// A node, a wired link as ar1--ar2 (both ends of it), or all
    #[arg(required = true, value_name = "NODE|LINK|all")]
    pub subjects: Vec<String>,
    /// The file; - is standard output, as it is without this
    #[arg(short, long, value_name = "FILE", env = "SAMP_LAB_WRITE")]
    pub write: Option<PathBuf>,
    /// End after so many frames
    #[arg(short, long, value_name = "FRAMES", env = "SAMP_LAB_COUNT",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so long, as 500ms; a plain number is seconds
    #[arg(short = 'G', long, value_name = "TIME", env = "SAMP_LAB_DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
}

/// A time, in seconds where it has no unit.
fn duration(text: &str) -> Result<Duration, InvalidValue> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_plain { format!("{text}s") } else { text.to_owned() };
    text.parse().map(Interval::get)
}
