//! Servers that died, and for how long whom they served was without service.

use super::super::{Figure, Material, Section, Table, slug};
use super::empty_section;
use crate::report::ServerDeath;
use samp_chart::{Bar, Bars, Entry, Key, Part};

/// Mobile nodes that are drawn.
const DRAWN: usize = 60;

/// The section, where a server died.
pub(super) fn section(material: &Material) -> Option<Section> {
    let deaths = &material.report.deaths;
    let mut section = empty_section("outages", "Outages");
    section.figures.extend(deaths.iter().map(figure));
    (!deaths.is_empty()).then_some(section)
}

fn figure(death: &ServerDeath) -> Figure {
    let title = format!("Without service since {} died", death.server);
    let bar = |(node, took, is_over): &(&str, f64, bool)| Bar {
        name: (*node).to_owned(),
        href: None,
        parts: vec![Part {
            class: if *is_over { "s2" } else { "bad" }.into(),
            is_pale: false,
            from: 0.0,
            length: *took,
            tip: format!("{node}: {took:.1} ms{}", if *is_over { "" } else { ", to the end of the run" }),
        }],
        value: format!("{took:.0} ms{}", if *is_over { "" } else { " and more" }),
    };
    let outages: Vec<_> = death
        .outages
        .iter()
        .map(|outage| (outage.node.as_str(), outage.took.as_secs_f64() * 1000.0, outage.is_over))
        .collect();
    let entry = |class: &str, name: &str| Entry { class: class.into(), name: name.into(), key: Key::Box };
    let picture = Bars {
        title: title.clone(),
        label: "ms without service",
        rows: outages.iter().take(DRAWN).map(bar).collect(),
        legend: [(true, "s2", "registered again with another server"), (false, "bad", "never again")]
            .into_iter()
            .filter(|(over, ..)| outages.iter().any(|(_, _, is_over)| is_over == over))
            .map(|(_, class, name)| entry(class, name))
            .collect(),
        width: 640.0,
    };
    let rows = outages.iter().map(|(node, took, is_over)| {
        vec![(*node).to_owned(), format!("{took:.3}"), if *is_over { "yes" } else { "no" }.to_owned()]
    });
    Figure {
        id: slug(&format!("outage-{}", death.server)),
        title,
        caption: format!(
            "{} of {} mobile nodes were registered with {} when it died, {:.1} s after the first record. From then until they are \
             registered with another server nobody can call them. {} of {} calls that were begun since were not established.",
            outages.len(),
            death.mobile_nodes,
            death.server,
            death.at.as_secs_f64(),
            death.calls_failed,
            death.calls,
        ),
        picture: (!outages.is_empty()).then(|| picture.picture()),
        table: Table::of(&["mobile node", "without service, ms", "registered again"], rows),
        is_half: false,
    }
}
