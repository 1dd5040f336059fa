//! Calls that moved to another terminal: how long that took.

use super::history::History;
use super::statistics::maybe_milliseconds;
use serde::Serialize;
use std::time::Duration;

/// One attempt to move a call to another terminal.
#[derive(Clone, Debug, Serialize)]
pub struct Transfer {
    /// The call that was to move.
    pub call: String,
    /// Who was in it.
    pub from: String,
    /// The call that took its place.
    pub by: Option<String>,
    /// Who is in that.
    pub to: Option<String>,
    /// From the REFER until both ends of the new call heard each other.
    #[serde(rename = "took_ms", serialize_with = "maybe_milliseconds")]
    pub took: Option<Duration>,
    /// Why it failed.
    pub failed: Option<u16>,
}

impl Transfer {
    /// All of them, in the order of the calls' beginnings.
    pub(super) fn all(history: &History) -> Vec<Self> {
        let calls = history.calls();
        let transfers = calls.into_iter().filter_map(|(id, call)| {
            let (started, from) = call.transfer_started.clone()?;
            let new = call.replaced_by.as_ref().and_then(|new| history.call(new));
            Some(Self {
                call: id.to_owned(),
                from,
                by: call.replaced_by.clone(),
                to: new.and_then(|new| new.caller.clone()),
                took: new.and_then(|new| new.talks_since()).map(|talks| talks - started),
                failed: call.transfer_failed,
            })
        });
        transfers.collect()
    }
}
