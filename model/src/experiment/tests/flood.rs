//! Floods: what they may be, as steps and in periods.

use super::*;
use crate::flood::{Flood, FloodRequest};

/// What is said about a step, as `column message`, and the hint.
fn told(timeline: &str) -> Vec<(usize, String, String)> {
    let errors = parse_here(&with_timeline(timeline)).err().unwrap_or_default();
    let told = errors.into_iter();
    told.map(|error| (error.column, error.message, error.hint.unwrap_or_default())).collect()
}

#[test]
fn a_flood_begins_and_what_follows_goes_on() {
    let (experiment, topology) = good(&with_timeline(
        "  - flood: { to: s1, from: ar-0-0, rate: 500/s, for: 3s }
  - period:
      lasts: 10s
      at: [{ after: 1s, every: 4s, flood: { to: s1, from: s2, request: invite, rate: 20000/s, for: 1s } }]
",
    ));
    let id = |name: &str| topology.find(name).unwrap();
    let flood = |from, request, rate, seconds| {
        let flood = Flood { request, rate, lasts: Duration::from_secs(seconds) };
        Action::Flood { to: id("s1"), from: id(from), flood }
    };
    let again = flood("s2", FloodRequest::Invite, 20_000, 1);
    let at = |seconds| Action::At(Duration::from_secs(seconds));
    assert_eq!(
        experiment.schedule(&topology),
        [
            flood("ar-0-0", FloodRequest::Register, 500, 3),
            Action::Begin,
            at(1),
            again.clone(),
            at(5),
            again.clone(),
            at(9),
            again,
            at(10),
            Action::End,
        ]
    );
}

#[test]
fn floods_that_cannot_be_are_refused() {
    for (fields, column, message) in [
        ("to: s1, from: s1, rate: 1/s, for: 1s", 28, "`s1` floods itself"),
        ("to: ar-0-0, from: s1, rate: 1/s, for: 1s", 18, "`ar-0-0` is no SIP server"),
        ("to: s9, from: ar-0-0, rate: 1/s, for: 1s", 18, "the topology has no SIP server `s9`"),
        ("to: s1, from: mn1, rate: 1/s, for: 1s", 28, "`mn1` is no router or SIP server"),
        ("to: s1, from: ar-0-0, rate: 0/s, for: 1s", 42, "`0/s` is out of range for a frequency"),
        ("to: s1, from: ar-0-0, rate: 1mbit, for: 1s", 42, "`mbit` is no unit of a frequency"),
        ("to: s1, from: ar-0-0, rate: 1/s, for: 0s", 52, "`0s` is out of range for a time"),
        ("to: s1, from: ar-0-0, rate: 20000/s, for: 201s", 56, "these are too many requests"),
        (
            "to: s1, from: ar-0-0, rate: 1/s, for: 1s, request: bye",
            65,
            "`bye` is not a request to flood with",
        ),
    ] {
        let told = told(&format!("  - flood: {{ {fields} }}\n"));
        assert_eq!(told.len(), 1, "{fields}: {told:?}");
        let (at, text, hint) = &told[0];
        assert!(*at == column && text.starts_with(message) && !hint.is_empty(), "{fields}: {told:?}");
    }
}

#[test]
fn a_flood_is_over_when_its_period_is() {
    for (times, lasts, message) in [
        ("after: 8s", "3s", "this flood lasts longer than the period"),
        ("every: 3900ms", "2s", "this flood begins again before it is over"),
        ("after: 10s", "1s", "this comes when the period is over"),
    ] {
        let flood = format!("flood: {{ to: s1, from: ar-0-0, rate: 1/s, for: {lasts} }}");
        let told = told(&format!("  - period: {{ lasts: 10s, at: [{{ {times}, {flood} }}] }}\n"));
        assert!(matches!(&told[..], [(_, text, _)] if text == message), "{told:?}");
    }
    let much = "  - flood: { to: s1, from: ar-0-0, rate: 20000/s, for: 190s }\n".repeat(2);
    assert!(told(&much)[0].1.starts_with("up to here there are"), "requests count as things to do");
}
