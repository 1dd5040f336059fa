//! `trace`: the messages of a call or of a handoff, from the lab's records.

use super::super::{Exit, Failure, Terminal};
use super::note_discarded;
use crate::client::Client;
use crate::report::{Ladders, Traced};
use samp_model::control::LabStatus;
use samp_model::{Event, Record};

/// Shows a ladder diagram.
pub(super) fn trace(terminal: &Terminal, client: &Client, subject: &str) -> Result<Exit, Failure> {
    let status = client.status()?;
    let records = records(terminal, client, &status)?;
    let traced = understand(subject, &status, &records)?;
    let Some(ladder) = Ladders::new(&status.topology, &records).draw(&traced) else {
        return Err(Failure::new(Exit::Failed, format!("there is nothing about `{subject}` in the records"))
            .hint(what_there_is(&records)));
    };
    terminal.show(&ladder, |ladder| ladder.draw(terminal.style))?;
    Ok(Exit::Success)
}

/// All records so far that the lab keeps.
pub(super) fn records(
    terminal: &Terminal,
    client: &Client,
    status: &LabStatus,
) -> Result<Vec<Record>, Failure> {
    let records = client.records()?;
    note_discarded(terminal, records.discarded());
    let count = status.records.saturating_sub(records.discarded());
    // Nothing more may happen for a long time, not even for the first time.
    Ok(records.take(usize::try_from(count).unwrap_or(usize::MAX)).collect::<Result<_, _>>()?)
}

/// A handoff is a mobile node and a number, or its name alone; everything else is a call.
fn understand(subject: &str, status: &LabStatus, records: &[Record]) -> Result<Traced, Failure> {
    let (node, number) = match subject.split_once('/') {
        Some((node, number)) => (node, Some(number)),
        None => (subject, None),
    };
    if status.topology.find(node).is_none() {
        return Ok(Traced::Call(subject.to_owned()));
    }
    let number = match number {
        Some(number) => number.parse().ok(),
        None => records.iter().rev().find_map(|record| match record.event {
            Event::Attached { handoff, .. } if record.node == node => Some(handoff),
            _ => None,
        }),
    };
    let Some(number) = number else {
        return Err(Failure::new(Exit::Usage, format!("`{subject}` is neither a call nor a handoff"))
            .hint("write a handoff as mn1/3, or mn1 for its latest one".to_owned()));
    };
    Ok(Traced::Handoff { node: node.to_owned(), number })
}

fn what_there_is(records: &[Record]) -> String {
    /// Names that a hint lists at most.
    const LISTED: usize = 5;
    let latest = records.iter().rev().filter_map(|record| match &record.event {
        Event::CallStarted { call, .. } => Some(call.clone()),
        Event::Detached { handoff, .. } | Event::Released { handoff, .. } => {
            Some(format!("{}/{handoff}", record.node))
        }
        _ => None,
    });
    let latest: Vec<_> = latest.take(LISTED).collect();
    match &latest[..] {
        [] => "there has been neither a call nor a handoff yet".to_owned(),
        latest => format!("the latest are {}", latest.join(", ")),
    }
}
