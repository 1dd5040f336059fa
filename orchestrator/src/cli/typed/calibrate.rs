//! The options of `calibrate`.

use crate::calibration::Tolerance;
use clap::Args;
use samp_model::units::Delay;

/// What may be off before a measurement is invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Tolerated {
    /// How far the median of a link's delay may be from what is configured [default: 500us]; the 99th percentile may be four
    /// times as far
    #[arg(long, value_name = "DELAY", env = "SAMP_LAB_TOLERANCE")]
    pub tolerance: Option<Delay>,
    /// How long processes may wait for a processor, at the 99th percentile [default: 500us]
    #[arg(long, value_name = "DELAY", env = "SAMP_LAB_CPU_WAIT")]
    pub cpu_wait: Option<Delay>,
}

impl From<Tolerated> for Tolerance {
    fn from(Tolerated { tolerance, cpu_wait }: Tolerated) -> Self {
        let default = Self::default();
        Self {
            delay: tolerance.map_or(default.delay, Delay::get),
            cpu_wait: cpu_wait.map_or(default.cpu_wait, Delay::get),
        }
    }
}
