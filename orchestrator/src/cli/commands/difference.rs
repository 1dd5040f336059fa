//! What is different between two topologies, as lines.

use super::labs::join;
use samp_model::Topology;
use samp_model::settings::{EmulationSettings, MobilitySettings};
use samp_model::topology::{Node, NodeKind};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A line for each thing that only one of them has: `- KEY: VALUE` for the old, `+ KEY: VALUE` for the new. The backends
/// are given as they were chosen.
pub(super) fn difference(
    (old, old_emulation): (&Topology, EmulationSettings),
    (new, new_emulation): (&Topology, EmulationSettings),
) -> Vec<String> {
    let (old, new) = (flat(old, old_emulation), flat(new, new_emulation));
    let mut lines = Vec::new();
    for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
        let (before, after) = (old.get(key), new.get(key));
        if before != after {
            lines.extend(before.map(|value| format!("- {key}: {value}")));
            lines.extend(after.map(|value| format!("+ {key}: {value}")));
        }
    }
    lines
}

/// Everything that a topology says, by a name that does not depend on the order of nodes and links.
fn flat(topology: &Topology, emulation: EmulationSettings) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    flat.insert("name".to_owned(), topology.name.clone());
    flat.insert("seed".to_owned(), topology.seed.to_string());
    settings(&mut flat, "family", &topology.family);
    for node in &topology.nodes {
        flat.insert(format!("nodes.{}", node.name), describe_node(topology, node));
    }
    for link in &topology.links {
        let [a, b] = link.ends.map(|end| &topology.node(end).name);
        let [there, back] = &link.quality;
        let mut value = there.to_string();
        if there != back {
            value += &format!("; back {}", back);
        }
        let mut key = format!("links.{a}--{b}");
        // Two nodes may have several links.
        while flat.contains_key(&key) {
            key.push('+');
        }
        flat.insert(key, value);
    }
    let agent = topology.mobility.agent.map(|agent| topology.node(agent).name.clone());
    settings(&mut flat, "mobility", &MobilitySettings { agent: None, ..topology.mobility });
    settings(&mut flat, "mobility.agent", &agent);
    settings(&mut flat, "samp", &topology.samp);
    settings(&mut flat, "media", &topology.media);
    settings(&mut flat, "addressing", &topology.addressing);
    settings(&mut flat, "emulation", &emulation);
    flat
}

fn describe_node(topology: &Topology, node: &Node) -> String {
    match &node.kind {
        NodeKind::Router { addresses, access: None } => format!("router {}", join(addresses)),
        NodeKind::Router { addresses, access: Some(access) } => {
            let position = access.position.map_or(String::new(), |[x, y]| format!(" at [{x}, {y}]"));
            format!("access router {}, {}{position}", join(addresses), join(&access.subnets))
        }
        NodeKind::SipServer { addresses } => format!("SIP server {}", join(addresses)),
        NodeKind::MobileNode { address_of_record, start, host, radio } => format!(
            "mobile node {address_of_record}, host {host}, start {}, radio {}; down {}",
            topology.node(*start).name,
            radio.up,
            radio.down
        ),
    }
}

fn settings(flat: &mut BTreeMap<String, String>, name: &str, settings: &impl Serialize) {
    // Settings are plain data, which always become JSON.
    flatten(flat, name, &serde_json::to_value(settings).unwrap_or_default());
}

fn flatten(flat: &mut BTreeMap<String, String>, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            // A duration.
            if let (2, Some(secs), Some(nanos)) =
                (fields.len(), fields.get("secs").and_then(Value::as_u64), fields.get("nanos"))
            {
                let nanos = nanos.as_u64().and_then(|nanos| u32::try_from(nanos).ok()).unwrap_or(0);
                let duration = Duration::from_secs(secs) + Duration::from_nanos(nanos.into());
                flat.insert(name.to_owned(), format!("{duration:?}").replace('µ', "u"));
                return;
            }
            for (field, value) in fields {
                flatten(flat, &format!("{name}.{field}"), value);
            }
        }
        Value::String(text) => drop(flat.insert(name.to_owned(), text.clone())),
        other => drop(flat.insert(name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use samp_model::topology;

    const LINE: &str = "
nodes:
  ar1: { kind: access_router }
  ar2: { kind: access_router }
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
links:
  - { between: [ar1, ar2], one_way_delay: 5ms }
  - { between: [ar1, s1], one_way_delay: 1ms }
";

    fn lines(old: &str, new: &str) -> Vec<String> {
        let [old, new] = [old, new].map(|text| topology::parse("t.yaml", text).unwrap());
        difference((&old, old.emulation), (&new, new.emulation))
    }

    #[test]
    fn the_same_is_the_same() {
        assert_eq!(lines(LINE, LINE), Vec::<String>::new());
        assert_eq!(lines(LINE, &format!("# a comment\n{LINE}")), Vec::<String>::new());
    }

    #[test]
    fn each_change_is_named_by_its_place() {
        let slower = LINE.replace("5ms", "8ms");
        assert_eq!(lines(LINE, &slower), ["- links.ar1--ar2: 5ms", "+ links.ar1--ar2: 8ms"]);
        let lossy = LINE.replace("5ms }", "5ms, reverse: { loss: 1% } }");
        assert_eq!(
            lines(LINE, &lossy),
            ["- links.ar1--ar2: 5ms", "+ links.ar1--ar2: 5ms; back 5ms, loss 1%"]
        );
        let elsewhere = LINE.replace("start: ar1", "start: ar2");
        let both = lines(LINE, &elsewhere);
        assert!(both.len() == 2 && both[1].starts_with("+ nodes.mn1: ") && both[1].contains("start ar2"));
        let more = LINE.replace("links:", "  mn2: { kind: mobile_node, start: ar1 }\nlinks:");
        let [line] = &lines(LINE, &more)[..] else { panic!("one line") };
        assert!(line.starts_with("+ nodes.mn2: "), "{line}");
        let seeded = format!("seed: 7\n{LINE}");
        assert_eq!(lines(&seeded, &seeded.replace('7', "8"))[..], ["- seed: 7", "+ seed: 8"]);
    }
}
