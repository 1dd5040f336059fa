//! `link`, `partition` and `heal`: links as they are, and what is to become of them.

use super::super::{Exit, Failure, Link, LinkState, Terminal};
use crate::client::Client;
use crate::report::table;
use samp_model::Topology;
use samp_model::control::{LinkChange, LinkId, LinkName, LinkStatus, Request, Response};
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
    match (&wanted.link, quality_or_state(wanted)) {
        (Some(link), Some(change)) => {
            self::change(terminal, client, &Request::Link { link: link.clone(), change })
        }
        (Some(link), None) => {
            let status = client.status()?;
            let found: Vec<_> =
                status.links.iter().filter(|it| is_named(&status.topology, it.link, link)).copied().collect();
            if found.is_empty() {
                return Err(Failure::new(Exit::Failed, "there is no such link")
                    .hint("`samp-lab link` lists the links".to_owned()));
            }
            show(terminal, &status.topology, &found)
        }
        (None, _) => {
            let status = client.status()?;
            show(terminal, &status.topology, &status.links)
        }
    }
}

/// Asks for a change of links, and shows what they have become.
pub(super) fn change(terminal: &Terminal, client: &Client, request: &Request) -> Result<Exit, Failure> {
    match client.ask(request)? {
        Response::Links(links) => show(terminal, &client.status()?.topology, &links),
        _ => Err(Failure::new(Exit::Failed, "the lab gave an unexpected answer")),
    }
}

fn show(terminal: &Terminal, topology: &Topology, links: &[LinkStatus]) -> Result<Exit, Failure> {
    let named: Vec<_> = links.iter().map(|link| Named::new(topology, link)).collect();
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

fn is_named(topology: &Topology, link: LinkId, name: &LinkName) -> bool {
    match (link, name) {
        (LinkId::Wired(ends), LinkName::Wired([a, b])) => {
            let names = ends.map(|end| topology.node(end).name.as_str());
            names == [a, b] || names == [b, a]
        }
        (LinkId::Radio(node), LinkName::Radio(name)) => topology.node(node).name == *name,
        _ => false,
    }
}

impl<'a> Named<'a> {
    fn new(topology: &Topology, status: &'a LinkStatus) -> Self {
        let [there, back] = &status.quality;
        Self { link: status.link.name(topology), up: status.up, there, back }
    }
}

/// What the options say; none when they say nothing.
fn quality_or_state(link: &Link) -> Option<LinkChange> {
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
        rate: link.rate,
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
            link: Some(LinkName::Wired(["a".into(), "b".into()])),
            delay: "5ms".parse().ok(),
            loss: "1%".parse().ok(),
            ..Link::default()
        };
        let there = QualityChange {
            one_way_delay: Some(Duration::from_millis(5)),
            loss: Some(Loss::Random(0.01)),
            ..Default::default()
        };
        assert_eq!(quality_or_state(&both), Some(LinkChange::Quality(Box::new([there, there]))));
        let one_way = Link { one_way: true, ..both };
        assert_eq!(
            quality_or_state(&one_way),
            Some(LinkChange::Quality(Box::new([there, QualityChange::default()])))
        );
        assert_eq!(quality_or_state(&Link { one_way: true, ..Link::default() }), None);
    }
}
