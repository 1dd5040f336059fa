//! The options of `flood`.

use clap::{Args, ValueEnum};
use samp_model::flood::{self, Flood};
use samp_model::units::{Frequency, Interval};

/// Who is flooded from where, and with what.
#[derive(Clone, Debug, PartialEq, Args)]
pub struct FloodOptions {
    /// The SIP server
    pub server: String,
    /// The router or SIP server in whose place they are sent
    #[arg(long, value_name = "NODE", env = "SAMP_LAB_FLOOD_FROM")]
    pub from: String,
    /// Requests per second, as 500/s; at most 20000/s
    #[arg(long, value_name = "RATE", env = "SAMP_LAB_FLOOD_RATE")]
    pub rate: Frequency,
    /// For how long, as 3s
    #[arg(long = "for", value_name = "TIME", env = "SAMP_LAB_FLOOD_FOR")]
    pub lasts: Interval,
    /// What each asks
    #[arg(
        long,
        value_enum,
        default_value = "register",
        value_name = "REQUEST",
        env = "SAMP_LAB_FLOOD_REQUEST"
    )]
    pub request: FloodRequest,
}

impl FloodOptions {
    /// What is sent.
    pub fn flood(&self) -> Flood {
        Flood { request: self.request.into(), rate: self.rate.per_second(), lasts: self.lasts.get() }
    }
}

/// What the requests of a flood ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FloodRequest {
    /// REGISTER of made-up users, whose bindings the server keeps
    Register,
    /// OPTIONS, of which it keeps nothing
    Options,
    /// INVITE of made-up users, whom it looks for on the ring
    Invite,
}

impl From<FloodRequest> for flood::FloodRequest {
    fn from(request: FloodRequest) -> Self {
        match request {
            FloodRequest::Register => Self::Register,
            FloodRequest::Options => Self::Options,
            FloodRequest::Invite => Self::Invite,
        }
    }
}
