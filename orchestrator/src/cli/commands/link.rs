//! `link`: wired links as they are, and what is to become of them.

use super::super::{Exit, Failure, Link, LinkState, Terminal};
use crate::client::Client;
use crate::report::table;
use samp_model::Topology;
use samp_model::control::{LinkChange, LinkStatus, QualityChange, Request, Response};
use samp_model::topology::LinkQuality;
use serde::Serialize;

/// A link with the names of its ends.
#[derive(Serialize)]
struct Named<'a> {
    link: String,
    up: bool,
    there: &'a LinkQuality,
    back: &'a LinkQuality,
}

/// Changes a link, or shows one or all.
pub(super) fn link(terminal: &Terminal, client: &Client, wanted: &Link) -> Result<Exit, Failure> {
    let status = client.status()?;
    let topology = &status.topology;
    let changed = match (&wanted.link, change(wanted)) {
        (Some(ends), Some(change)) => match client.ask(&Request::Link { ends: ends.clone(), change })? {
            Response::Link(status) => vec![status],
            _ => return Err(Failure::new(Exit::Failed, "the lab gave an unexpected answer")),
        },
        (Some([a, b]), None) => {
            let is_it = |link: &&LinkStatus| {
                let names = link.ends.map(|end| topology.node(end).name.as_str());
                names == [a, b] || names == [b, a]
            };
            let found: Vec<_> = status.links.iter().filter(is_it).copied().collect();
            if found.is_empty() {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("there is no wired link between `{a}` and `{b}`"),
                )
                .hint("`samp-lab link` lists the wired links".to_owned()));
            }
            found
        }
        (None, _) => status.links.clone(),
    };
    let named: Vec<_> = changed.iter().map(|link| Named::new(topology, link)).collect();
    terminal.show(&named, |links| {
        let rows = links.iter().map(|named| {
            let Named { link, up, there, back } = named;
            let state = if *up { "up" } else { "down" };
            vec![link.clone(), state.to_owned(), describe(there), describe(back)]
        });
        table(&["link", "state", "there", "back"], rows)
    })?;
    Ok(Exit::Success)
}

impl<'a> Named<'a> {
    fn new(topology: &Topology, link: &'a LinkStatus) -> Self {
        let [a, b] = link.ends.map(|end| &topology.node(end).name);
        let [there, back] = &link.quality;
        Self { link: format!("{a}--{b}"), up: link.up, there, back }
    }
}

/// What the options say; none when they say nothing.
fn change(link: &Link) -> Option<LinkChange> {
    match link.state {
        Some(LinkState::Down) => return Some(LinkChange::Down),
        Some(LinkState::Up) => return Some(LinkChange::Up),
        None => {}
    }
    let there = QualityChange {
        one_way_delay: link.delay.map(|delay| delay.get()),
        loss: link.loss.map(|loss| loss.fraction()),
        rate: link.rate.map(|rate| rate.bits_per_second()),
    };
    let back = QualityChange {
        one_way_delay: link.reverse_delay.map(|delay| delay.get()).or(there.one_way_delay),
        loss: link.reverse_loss.map(|loss| loss.fraction()).or(there.loss),
        rate: link.reverse_rate.map(|rate| rate.bits_per_second()).or(there.rate),
    };
    ([there, back] != [QualityChange::default(); 2]).then_some(LinkChange::Quality([there, back]))
}

/// As the files have it: `5ms, loss 0.1%, 100mbit`.
pub(super) fn describe(quality: &LinkQuality) -> String {
    let mut text = format!("{:?}", quality.one_way_delay).replace('µ', "u");
    if quality.loss > 0.0 {
        text += &format!(", loss {}%", (quality.loss * 1e8).round() / 1e6);
    }
    if let Some(rate) = quality.rate {
        text += &match rate {
            rate if rate.is_multiple_of(1_000_000_000) => format!(", {}gbit", rate / 1_000_000_000),
            rate if rate.is_multiple_of(1_000_000) => format!(", {}mbit", rate / 1_000_000),
            rate => format!(", {}kbit", rate as f64 / 1e3),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn qualities_are_written_as_in_files() {
        let quality =
            |micros, loss, rate| LinkQuality { one_way_delay: Duration::from_micros(micros), loss, rate };
        assert_eq!(describe(&quality(5000, 0.0, None)), "5ms");
        assert_eq!(describe(&quality(500, 0.001, Some(100_000_000))), "500us, loss 0.1%, 100mbit");
        assert_eq!(describe(&quality(0, 1.0, Some(64_500))), "0ns, loss 100%, 64.5kbit");
    }

    #[test]
    fn one_value_is_for_both_directions_unless_there_is_another() {
        let link = Link {
            link: Some(["a".into(), "b".into()]),
            delay: "5ms".parse().ok(),
            reverse_loss: "1%".parse().ok(),
            ..Link::default()
        };
        let there = QualityChange { one_way_delay: Some(Duration::from_millis(5)), ..Default::default() };
        let back = QualityChange { loss: Some(0.01), ..there };
        assert_eq!(change(&link), Some(LinkChange::Quality([there, back])));
        assert_eq!(change(&Link::default()), None);
    }
}
