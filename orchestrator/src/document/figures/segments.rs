//! The looks of a handoff's segments: a colour for what is being done, pale where a node waits, full where links are passed.

use samp_chart::{Entry, Key};

/// How a segment is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The class of its colour.
    pub(super) class: &'static str,
    /// Whether it is time at a node, not on links.
    pub(super) is_pale: bool,
}

/// What the colours stand for.
const FAMILIES: [(&str, &str); 7] = [
    ("s1", "radio link"),
    ("s6", "the emulator itself"),
    ("s5", "address"),
    ("s4", "registration"),
    ("s2", "session update"),
    ("s3", "media"),
    ("bad", "failed"),
];

/// The look of a segment or phase.
pub(super) fn look(segment: &str) -> Look {
    let (class, is_pale) = match segment {
        "l2" => ("s1", false),
        "attach_cost" => ("s6", false),
        "movement_detection" => ("s1", true),
        "dhcp_offer" | "dhcp_ack" | "ra_solicited" => ("s5", false),
        "anchor_discovery" | "registration_anchor" | "registration_home" => ("s4", false),
        "delta_wait" | "dispatch" => ("s4", true),
        "registration_failed" => ("bad", false),
        "update_transit" | "session_update" => ("s2", false),
        "update_dispatch" => ("s2", true),
        "media_transit" => ("s3", false),
        "packetisation" => ("s3", true),
        // What is left are steps to an address.
        _ => ("s5", true),
    };
    Look { class, is_pale }
}

/// The legend of what is drawn.
pub(super) fn legend<'a>(segments: impl Iterator<Item = &'a str>) -> Vec<Entry> {
    let looks: Vec<Look> = segments.map(look).collect();
    let families = FAMILIES.iter().filter(|(class, _)| looks.iter().any(|look| look.class == *class));
    let entry = |class: &str, name: &str, key| Entry { class: class.to_owned(), name: name.to_owned(), key };
    let mut entries: Vec<_> = families.map(|(class, name)| entry(class, name, Key::Box)).collect();
    if looks.iter().any(|look| look.is_pale) {
        entries.push(entry("quiet", "pale: at a node, not on links", Key::Pale));
    }
    entries
}
