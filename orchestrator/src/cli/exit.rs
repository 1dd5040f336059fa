//! Exit codes: what a script can tell from how samp-lab ended.

use samp_model::control::Cause;
use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// It was tried and failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file is invalid.
    InvalidInput = 3,
    /// A privilege or a kernel feature is missing.
    Missing = 4,
    /// Something of that name exists, or it is not clear which one is meant.
    Conflict = 5,
    /// Memory, descriptors, disk or another resource ran out.
    Exhausted = 6,
    /// The run came to its end, but its measurements are not valid.
    InvalidMeasurement = 7,
    /// Ctrl-C, SIGTERM or SIGHUP.
    Interrupted = 130,
}

impl From<Cause> for Exit {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Missing => Exit::Missing,
            Cause::Conflict => Exit::Conflict,
            Cause::Exhausted => Exit::Exhausted,
            Cause::Other => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
