//! What is answered to a request that cannot be met.

use super::control::Answer;
use samp_model::control::{Cause, Response};

/// What cannot be done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) cause: Cause,
}

impl From<Refusal> for Answer {
    fn from(Refusal { message, hint, cause }: Refusal) -> Self {
        Response::Error { message, hint, cause }.into()
    }
}
