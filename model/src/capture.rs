//! What of a lab is captured: nodes, wired links, or all of it.

use crate::Topology;
use crate::diagnostic::{quote, suggest_name};
use crate::topology::NodeId;
use crate::units::InvalidValue;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Some interfaces of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CapturePlace {
    /// The node.
    pub node: NodeId,
    /// Only the interface towards this neighbour; without it all of them.
    pub towards: Option<NodeId>,
}

/// The places that a text names: a node, both ends of a wired link as `ar1--ar2`, or every node by `all`.
///
/// # Errors
/// The topology has no such node or link.
pub fn places(topology: &Topology, subject: &str) -> Result<BTreeSet<CapturePlace>, InvalidValue> {
    let whole = |node| CapturePlace { node, towards: None };
    if let Some(node) = topology.find(subject) {
        return Ok([whole(node)].into());
    }
    if subject == "all" {
        return Ok(topology.nodes().map(|(node, _)| whole(node)).collect());
    }
    let Some((a, b)) = subject.split_once("--") else {
        let names = topology.nodes.iter().map(|node| node.name.as_str());
        return Err(InvalidValue {
            message: format!("there is no node {}", quote(subject)),
            hint: suggest_name(subject, names)
                .unwrap_or_else(|| "write a node, a wired link as ar1--ar2, or all".to_owned()),
        });
    };
    let linked = topology
        .find(a)
        .zip(topology.find(b))
        .filter(|&(a, b)| topology.links.iter().any(|link| link.ends == [a, b] || link.ends == [b, a]));
    let (a, b) = linked.ok_or_else(|| InvalidValue {
        message: format!("there is no wired link {}", quote(subject)),
        hint: "a mobile node's radio link is captured at the mobile node".to_owned(),
    })?;
    let end = |node, other| CapturePlace { node, towards: Some(other) };
    Ok([end(a, b), end(b, a)].into())
}

/// The places without those that others contain.
pub fn without_repetition(mut places: BTreeSet<CapturePlace>) -> BTreeSet<CapturePlace> {
    let whole: BTreeSet<NodeId> =
        places.iter().filter(|place| place.towards.is_none()).map(|place| place.node).collect();
    places.retain(|place| place.towards.is_none() || !whole.contains(&place.node));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Topology {
        let text =
            "nodes: { ar1: { kind: access_router }, ar2: { kind: access_router }, s1: { kind: sip_server },
  mn1: { kind: mobile_node, start: ar1 } }
links: [{ between: [ar1, ar2], one_way_delay: 1ms }, { between: [s1, ar1], one_way_delay: 1ms }]";
        crate::topology::parse("line.yaml", text).unwrap()
    }

    #[test]
    fn nodes_links_and_all_are_places() {
        let topology = line();
        let named = |subject: &str| -> Vec<String> {
            let name = |node| topology.node(node).name.clone();
            let places = places(&topology, subject).unwrap().into_iter();
            places
                .map(|place| match place.towards {
                    Some(other) => format!("{}->{}", name(place.node), name(other)),
                    None => name(place.node),
                })
                .collect()
        };
        assert_eq!(named("mn1"), ["mn1"]);
        assert_eq!(named("ar2--ar1"), ["ar1->ar2", "ar2->ar1"]);
        assert_eq!(named("ar1--s1"), ["ar1->s1", "s1->ar1"]);
        assert_eq!(named("all"), ["ar1", "ar2", "s1", "mn1"]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let topology = line();
        let error = places(&topology, "mn2").unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.hint.as_str()),
            ("there is no node `mn2`", "did you mean `mn1`?")
        );
        for subject in ["s1--ar2", "mn1--ar1", "ar1--", "--", "ar1--ar1"] {
            let error = places(&topology, subject).unwrap_err();
            assert_eq!(error.message, format!("there is no wired link `{subject}`"));
        }
    }

    #[test]
    fn a_node_contains_its_ends_of_links() {
        let topology = line();
        let both = ["ar1--ar2", "ar1"].map(|subject| places(&topology, subject).unwrap());
        let kept = without_repetition(both.into_iter().flatten().collect());
        let [ar1, ar2] = ["ar1", "ar2"].map(|name| topology.find(name).unwrap());
        let expected =
            [CapturePlace { node: ar1, towards: None }, CapturePlace { node: ar2, towards: Some(ar1) }];
        assert_eq!(kept, expected.into());
    }
}
