//! Programs of the user's own, which run at a node in the place of samp-lab's: their arguments, with what the lab
//! decides filled in.

use super::{NodeId, NodeKind, Topology};
use crate::yaml::Keyword;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Arguments of a program at most, itself included.
pub(super) const MAX_ARGUMENTS: usize = 256;
/// Bytes in an argument at most.
pub(super) const MAX_ARGUMENT: usize = 4096;

/// A program and its arguments, as the file has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    arguments: Vec<Argument>,
}

/// Parts to be joined.
pub(super) type Argument = Vec<Part>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    Text(String),
    /// Something about a node, or about the program's own.
    Field(Option<NodeId>, Field),
}

/// What an argument may ask of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Field {
    /// Its name.
    Name,
    /// Its primary address; of a mobile node the first care-of address.
    Address,
    /// The same as a URI has it: IPv6 in brackets.
    Host,
    /// A mobile node's home SIP URI.
    AddressOfRecord,
}

impl Keyword for Field {
    const WHAT: &'static str = "something that a node has";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("name", Self::Name),
        ("address", Self::Address),
        ("host", Self::Host),
        ("address_of_record", Self::AddressOfRecord),
    ];
}

/// Why a text is no argument.
pub(super) enum Mistake<'t> {
    /// A `{` without its `}`, or the other way round.
    Brace,
    /// What stands between the braces is nothing that can be filled in.
    Unknown(&'t str),
    /// No node has this name.
    NoNode(&'t str),
    /// The node is not mobile, and so has no such thing.
    Lacks(&'t str),
}

impl Program {
    pub(super) fn new(arguments: Vec<Argument>) -> Self {
        Self { arguments }
    }

    /// The program and its arguments at this node of this topology.
    pub fn argv(&self, topology: &Topology, node: NodeId) -> Vec<String> {
        let fill = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(other, field) => field.of(topology, other.unwrap_or(node)).unwrap_or_default(),
        };
        self.arguments.iter().map(|argument| argument.iter().map(fill).collect()).collect()
    }
}

impl Field {
    fn of(self, topology: &Topology, id: NodeId) -> Option<String> {
        let node = topology.node(id);
        let address = || match node.kind {
            NodeKind::MobileNode { start, .. } => Some(topology.care_of_address(id, start)),
            _ => node.address(),
        };
        match (self, &node.kind) {
            (Self::Name, _) => Some(node.name.clone()),
            (Self::Address, _) => address().map(|address| address.to_string()),
            (Self::Host, _) => address().map(|address| match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            }),
            (Self::AddressOfRecord, NodeKind::MobileNode { address_of_record, .. }) => {
                Some(address_of_record.clone())
            }
            (Self::AddressOfRecord, _) => None,
        }
    }

    /// Only mobile nodes have an address-of-record; the rest has everybody.
    fn is_a_mobile_nodes(self) -> bool {
        self == Self::AddressOfRecord
    }
}

/// Reads an argument: `{{` and `}}` are braces, `{dir}` is `directory`, `{FIELD}` is about the node itself and
/// `{NODE.FIELD}` about another. `find` knows the nodes by name, and whether they are mobile.
pub(super) fn argument<'t>(
    text: &'t str,
    directory: &str,
    itself_mobile: bool,
    find: impl Fn(&str) -> Option<(NodeId, bool)>,
) -> Result<Argument, Mistake<'t>> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        literal.push_str(&rest[..brace]);
        let (found, after) = rest[brace..].split_at(1);
        if let Some(after) = after.strip_prefix(found) {
            literal.push_str(found);
            rest = after;
            continue;
        }
        let (inside, after) = after.split_once('}').filter(|_| found == "{").ok_or(Mistake::Brace)?;
        rest = after;
        if inside == "dir" {
            literal.push_str(directory);
            continue;
        }
        let (node, word) = match inside.split_once('.') {
            Some((name, word)) => (Some(find(name).ok_or(Mistake::NoNode(name))?), word),
            None => (None, inside),
        };
        let known = Field::WORDS.iter().find(|(known, _)| *known == word);
        let &(_, field) = known.ok_or(Mistake::Unknown(inside))?;
        if field.is_a_mobile_nodes() && !node.map_or(itself_mobile, |(_, mobile)| mobile) {
            return Err(Mistake::Lacks(inside));
        }
        parts.extend((!literal.is_empty()).then(|| Part::Text(std::mem::take(&mut literal))));
        parts.push(Part::Field(node.map(|(id, _)| id), field));
    }
    literal.push_str(rest);
    parts.extend((!literal.is_empty() || parts.is_empty()).then_some(Part::Text(literal)));
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::Diagnostic;
    use crate::topology::{Topology, parse};

    fn line(family: &str, program: &str) -> Result<Topology, Vec<Diagnostic>> {
        let text = format!(
            "family: {family}\nnodes:\n  ar1: {{ kind: access_router }}\n  s1: {{ kind: sip_server }}\n  \
             mn1: {{ kind: mobile_node, start: ar1, program: {program} }}\n\
             links: [{{ between: [ar1, s1], one_way_delay: 1ms }}]\n"
        );
        parse("/lab/test.yaml", &text)
    }

    fn argv(family: &str, program: &str) -> Vec<String> {
        let topology = line(family, program).expect("good");
        let mn1 = topology.find("mn1").expect("a node");
        topology.node(mn1).program.as_ref().expect("a program").argv(&topology, mn1)
    }

    #[test]
    fn arguments_are_filled_in() {
        let program =
            r#"[sipp, "{host}:5060", "{s1.host}", "{name}={address_of_record}", "{{x}}", "{dir}/a", ""]"#;
        assert_eq!(
            argv("ipv4", program),
            ["sipp", "10.0.0.2:5060", "172.16.0.2", "mn1=sip:mn1@samp.test", "{x}", "/lab/a", ""]
        );
        assert_eq!(
            argv("ipv6", "[sipp, '{host}', '{s1.address}']")[1..],
            ["[fd53:414d:50:1::2]", "fd53:414d:50::2"]
        );
        assert_eq!(argv("dual", "[sipp, '{address}']")[1], "fd53:414d:50:1::2", "the primary address");
    }

    #[test]
    fn a_server_with_a_program_is_not_on_the_ring() {
        let text = "nodes:\n  r1: { kind: router }\n  s1: { kind: sip_server }\n  s2: { kind: sip_server, program: [kamailio] }\n\
                    links:\n  - { between: [r1, s1], one_way_delay: 1ms }\n  - { between: [r1, s2], one_way_delay: 1ms }\n";
        let topology = parse("test.yaml", text).expect("good");
        assert_eq!(topology.sip_servers().count(), 2);
        assert_eq!(topology.ring_servers().collect::<Vec<_>>(), [topology.find("s1").expect("a node")]);
    }

    #[test]
    fn what_cannot_be_filled_in_is_pointed_at() {
        for (program, at, message) in [
            ("[]", "[]", "a program is a list"),
            ("['']", "''", "a program is a list"),
            ("[a, '{']", "'{'", "a brace without its other half"),
            ("[a, 'x}']", "'x}'", "a brace without its other half"),
            ("[a, '{port}']", "'{port}'", "nothing is known as `port`"),
            ("[a, '{s1.port}']", "'{s1.port}'", "nothing is known as `s1.port`"),
            ("[a, '{s9.host}']", "'{s9.host}'", "there is no node `s9`"),
            ("[a, '{s1.address_of_record}']", "'{s1.address_of_record}'", "is a mobile node's only"),
            (r#"[a, "\0"]"#, r#""\0""#, "cannot be an argument"),
        ] {
            let errors = line("ipv4", program).expect_err(program);
            let [error] = &errors[..] else { panic!("{program}: {errors:?}") };
            let shown = error.render(false);
            assert!(shown.contains(message), "{program}: {shown}");
            let column = format!("  mn1: {{ kind: mobile_node, start: ar1, program: {program} }}").find(at);
            assert_eq!((error.line, Some(error.column)), (5, column.map(|column| column + 1)), "{program}");
        }
    }
}
