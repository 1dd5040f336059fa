//! `flood`: send a SIP server requests that nobody needs, and show what became of them.

use super::super::{Exit, Failure, FloodOptions, Terminal};
use super::watch;
use crate::client::Client;
use crate::report::table;
use samp_model::Event;
use samp_model::control::{Request, Response};
use samp_model::record::Answers;
use std::time::Duration;

/// How much longer than the flood itself its last record may take.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);

/// Lets a server be flooded, and waits for the end of it.
pub(super) fn flood(terminal: &Terminal, client: &Client, options: FloodOptions) -> Result<Exit, Failure> {
    let flood = options.flood();
    let FloodOptions { server: to, from, .. } = options;
    let mut watch = watch(terminal, client)?;
    let request = Request::Flood { to, from: from.clone(), flood };
    let Response::Flood { flood: number } = client.ask(&request)? else {
        return Err(Failure::new(Exit::Failed, "the lab gave an unexpected answer"));
    };
    watch.wait(flood.lasts + RECORD_DEADLINE, |history| history.has_flood_ended(number).then_some(()))?;
    let mut events = watch.history().of(&from).iter().map(|record| &record.event);
    let is_its_end = |event: &&Event| matches!(event, Event::FloodEnded { number: it, .. } if *it == number);
    let Some(ended) = events.find(is_its_end) else {
        return Err(Failure::new(Exit::Failed, "the flood has not come to its end")
            .hint(format!("`samp-lab logs {from}` may tell why")));
    };
    terminal.show(ended, describe)?;
    Ok(Exit::Success)
}

fn describe(ended: &Event) -> String {
    let Event::FloodEnded { to, sent, answers, unanswered, .. } = ended else { return String::new() };
    let answers = answers.iter().map(|Answers { status, count }| (status.to_string(), *count));
    let rows = answers.chain([("none".to_owned(), *unanswered)]);
    let rows = rows.map(|(answer, count)| vec![answer, count.to_string()]);
    format!("{sent} requests sent to {to}\n\n{}", table(&["answer", "requests"], rows))
}
