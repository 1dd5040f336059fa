//! `link`: wired links as they are, and what is to become of them.

use super::super::{Exit, Failure, Link, LinkState, Terminal};
use crate::client::Client;
use crate::report::table;
use samp_model::Topology;
use samp_model::control::{LinkChange, LinkStatus, Request, Response};
use samp_model::topology::{LinkQuality, QualityChange};
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
            Response::Link(status) => vec![*status],
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
            vec![link.clone(), state.to_owned(), there.to_string(), back.to_string()]
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
        jitter: link.jitter,
        loss: link.loss,
        duplicate: link.duplicate.map(|share| share.fraction()),
        reorder: link.reorder.map(|share| share.fraction()),
        rate: link.rate.map(|rate| rate.bits_per_second()),
        queue: link.queue,
    };
    let back = if link.one_way { QualityChange::default() } else { there };
    (there != QualityChange::default()).then_some(LinkChange::Quality(Box::new([there, back])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology::Loss;
    use std::time::Duration;

    #[test]
    fn a_value_is_for_both_directions_unless_it_is_for_one_way() {
        let both = Link {
            link: Some(["a".into(), "b".into()]),
            delay: "5ms".parse().ok(),
            loss: "1%".parse().ok(),
            ..Link::default()
        };
        let there = QualityChange {
            one_way_delay: Some(Duration::from_millis(5)),
            loss: Some(Loss::Random(0.01)),
            ..Default::default()
        };
        assert_eq!(change(&both), Some(LinkChange::Quality(Box::new([there, there]))));
        let one_way = Link { one_way: true, ..both };
        assert_eq!(change(&one_way), Some(LinkChange::Quality(Box::new([there, QualityChange::default()]))));
        assert_eq!(change(&Link { one_way: true, ..Link::default() }), None);
    }
}
