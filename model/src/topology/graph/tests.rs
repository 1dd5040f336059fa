//! What graphs become, and what is said about bad ones.

use super::*;
use crate::examples;
use crate::topology::{self, LinkQuality, NodeId, NodeKind, Topology};
use std::fs;

const YAML: &str = "graph: { graphml: zoo.graphml }\n";

/// A triangle with a tail, as the Topology Zoo would write it.
const GRAPHML: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="LinkLabel" attr.type="string" for="edge" id="d36" />
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d35" />
  <key attr.name="label" attr.type="string" for="node" id="d33" />
  <key attr.name="label" attr.type="string" for="graph" id="d34" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d32" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d29" />
  <graph edgedefault="undirected">
    <data key="d34">the graph's own label</data>
    <node id="0">
      <data key="d29">52.52</data>
      <data key="d32">13.41</data>
      <data key="d33">Berlin</data>
    </node>
    <node id="1"><data key="d29">48.14</data><data key="d32">11.58</data><data key="d33">München</data></node>
    <node id="2"><data key="d29">53.55</data><data key="d32">9.99</data><data key="d33">Hamburg</data></node>
    <node id="3"><data key="d33">Nowhere &amp; else</data></node>
    <edge source="0" target="1"><data key="d35">1000000000.0</data><data key="d36">OC-48</data></edge>
    <edge source="1" target="0"><data key="d35">500000000</data></edge>
    <edge source="1" target="2" />
    <edge source="2" target="2" />
    <edge source="2" target="0" />
    <edge source="3" target="2" />
  </graph>
</graphml>
"#;

fn good_with(yaml: &str, graphml: &str) -> Topology {
    topology::parse_with_graph("lab/zoo.yaml", yaml, graphml)
        .unwrap_or_else(|errors| panic!("{}", crate::diagnostic::render_all(&errors, false)))
}

/// Each error as `file:line:column message | label | hint`.
fn told(yaml: &str, graphml: &str) -> Vec<String> {
    topology::parse_with_graph("zoo.yaml", yaml, graphml)
        .expect_err("the file is bad")
        .iter()
        .map(|error| {
            assert!(!error.render(false).is_empty());
            format!("{error} | {} | {}", error.label, error.hint.as_deref().unwrap_or_default())
        })
        .collect()
}

fn names(topology: &Topology) -> String {
    topology.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Each link as `a-b delay rate`.
fn links(topology: &Topology) -> Vec<String> {
    let show = |link: &topology::Link| {
        let [a, b] = link.ends.map(|end| topology.node(end).name.as_str());
        assert_eq!(link.quality[0], link.quality[1]);
        let LinkQuality { one_way_delay, rate, .. } = link.quality[0];
        assert_eq!(link.quality[0], LinkQuality { one_way_delay, rate, ..LinkQuality::IDEAL });
        format!("{a} {b} {one_way_delay:?} {rate:?}")
    };
    topology.links.iter().map(show).collect()
}

#[test]
fn nodes_and_edges_become_routers_and_links() {
    let topology = good_with(YAML, GRAPHML);
    assert_eq!(topology.name, "zoo");
    assert_eq!(names(&topology), "berlin munchen hamburg nowhere-els");
    assert_eq!(
        links(&topology),
        [
            // 504.0 km, 611.8 km and 255.7 km as the crow flies.
            "berlin munchen 2.52ms None",
            "munchen hamburg 3.059ms None",
            "hamburg berlin 1.279ms None",
            "nowhere-els hamburg 1ms None",
        ]
    );
    let position = |id| topology.node(NodeId(id)).access().unwrap().position;
    // Hamburg is the most northern, and west of both others.
    assert_eq!(position(0), Some([240_121.0, 114_531.0]));
    assert_eq!(position(1), Some([111_635.0, 601_565.0]));
    assert_eq!(position(2), Some([0.0, 0.0]));
    assert_eq!(position(3), None);
    assert_eq!(topology, good_with(YAML, GRAPHML));
}

#[test]
fn delays_and_rates_are_as_wished() {
    let yaml = "
graph:
  graphml: zoo.graphml
  distance_factor: 2
  minimum_delay: 3ms
  default_delay: 0
  link_speeds: true
";
    assert_eq!(
        links(&good_with(yaml, GRAPHML)),
        [
            "berlin munchen 5.04ms Some(1500000000)",
            "munchen hamburg 6.118ms None",
            "hamburg berlin 3ms None",
            "nowhere-els hamburg 0ns None",
        ]
    );
    let extreme = GRAPHML.replace("1000000000.0", "1e300").replace("500000000", "1e-9");
    assert!(links(&good_with(yaml, &extreme))[0].ends_with("Some(100000000000)"));
}

#[test]
fn distances_are_those_on_a_sphere() {
    for (a, b, metres) in [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [0.0, 90.0], EARTH_RADIUS * std::f64::consts::FRAC_PI_2),
        ([0.0, -90.0], [0.0, 90.0], EARTH_RADIUS * std::f64::consts::PI),
        ([90.0, 0.0], [-90.0, 123.0], EARTH_RADIUS * std::f64::consts::PI),
        // Across the date line.
        ([0.0, 179.5], [0.0, -179.5], EARTH_RADIUS * 1f64.to_radians()),
    ] {
        assert!((distance(a, b) - metres).abs() < 0.01, "{a:?} {b:?}: {}", distance(a, b));
        assert!((distance(b, a) - metres).abs() < 0.01);
    }
}

#[test]
fn servers_are_where_most_links_meet() {
    let servers = |section: &str| {
        let topology = good_with(
            &format!("graph: {{ graphml: zoo.graphml, servers: {section} }}\nmobile_nodes: {{ count: 2 }}\n"),
            GRAPHML,
        );
        (names(&topology), links(&topology)[4..].to_vec())
    };
    let (names, placed) = servers("{ count: 3 }");
    assert_eq!(names, "berlin munchen hamburg nowhere-els s1 s2 s3 mn1 mn2");
    // Hamburg has three, Berlin and München have two; Berlin comes first.
    assert_eq!(placed, ["hamburg s1 500µs None", "berlin s2 500µs None", "munchen s3 500µs None"]);
    let (_, placed) = servers("{ count: 1, link: { one_way_delay: 2ms, rate: 1gbit } }");
    assert_eq!(placed, ["hamburg s1 2ms Some(1000000000)"]);
    assert_eq!(
        told("graph: { graphml: zoo.graphml, servers: { count: 5 } }", GRAPHML),
        [
            "zoo.yaml:1:50: 5 SIP servers, and 4 routers to put one at |  | use fewer; more can be added under `nodes:` and `links:`"
        ]
    );
}

#[test]
fn explicit_nodes_and_links_add_to_the_graph() {
    let yaml = "
graph: { graphml: zoo.graphml }
nodes:
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: berlin }
links:
  - { between: [munchen, s1], one_way_delay: 1ms }
  - { between: [berlin, nowhere-els], one_way_delay: 7ms }
";
    let topology = good_with(yaml, GRAPHML);
    assert_eq!(names(&topology), "berlin munchen hamburg nowhere-els s1 mn1");
    assert!(matches!(topology.nodes[5].kind, NodeKind::MobileNode { start: NodeId(0), .. }));
    for (from, to, expected) in [
        (
            "[munchen, s1]",
            "[munch, s1]",
            "zoo.yaml:7:17: there is no node `munch` | not defined | define it under `nodes:`",
        ),
        (
            "nowhere-els]",
            "hamburg]",
            "zoo.yaml:8:17: `berlin` and `hamburg` are already linked | linked by the graph | remove this link",
        ),
        (
            "  mn1:",
            "  hamburg: { kind: router }\n  mn1:",
            "zoo.yaml:5:3: `hamburg` is defined twice | the graph or `mobile_nodes` already has a node of this name | give this node another name",
        ),
        (
            "graph: {",
            "grid: { width: 2, height: 2, link: { one_way_delay: 1ms }, server_link: { one_way_delay: 1ms } }\ngraph: {",
            "zoo.yaml:3:19: a topology has a grid or a graph, not both |  | remove one of the two; `nodes:` and `links:` add to either",
        ),
        (
            "zoo.graphml }",
            "zoo.graphml, servers: { count: 1 } }",
            "zoo.yaml:4:3: `s1` is defined twice | the graph or `mobile_nodes` already has a node of this name | give this node another name",
        ),
    ] {
        assert_eq!(told(&yaml.replacen(from, to, 1), GRAPHML)[0], expected);
    }
}

#[test]
fn parts_are_joined_or_left_out() {
    let parts = GRAPHML.replace("    <edge source=\"3\" target=\"2\" />\n", "");
    assert_eq!(
        told(YAML, &parts),
        [
            "zoo.yaml:1:19: there is no path from `berlin` to `nowhere-els` | not connected to the rest | the graph has 2 parts; add `largest_component: true` beside `graphml` to keep the largest, of 3 nodes, or links between them under `links:`"
        ]
    );
    let joined = format!("{YAML}links: [{{ between: [nowhere-els, berlin], one_way_delay: 1ms }}]\n");
    assert_eq!(good_with(&joined, &parts).links.len(), 4);
    let largest = good_with("graph: { graphml: zoo.graphml, largest_component: true }", &parts);
    assert_eq!((names(&largest).as_str(), largest.links.len()), ("berlin munchen hamburg", 3));
    // Of two that are as large, the first.
    let even = "<graphml><graph><node id='a'/><node id='b'/><node id='c'/><node id='d'/>
        <edge source='c' target='d'/><edge source='b' target='a'/></graph></graphml>";
    assert_eq!(names(&good_with("graph: { graphml: zoo.graphml, largest_component: true }", even)), "a b");
}

#[test]
fn names_are_clean_short_and_unique() {
    let mut names = Names::default();
    for (label, id, name) in [
        ("Paris", "0", "paris"),
        ("PARIS", "1", "paris-2"),
        ("paris-2", "2", "paris-2-2"),
        ("", "17", "n17"),
        ("?", "18", "n18"),
        ("東京", "x", "x"),
        ("", "--", "n"),
        ("São Paulo", "3", "sao-paulo"),
        ("  New   York, NY (2nd) ", "4", "new-york-ny"),
        ("New York, New Jersey", "5", "new-york-ne"),
        ("new york, new mexico", "6", "new-york-2"),
        ("10 Gbit", "7", "n10-gbit"),
        ("S1", "8", "r-s1"),
        ("s", "9", "r-s"),
        ("mn12", "10", "r-mn12"),
        ("Random", "11", "r-random"),
        ("Sofia", "12", "sofia"),
        ("Œrsted's Æther", "13", "oersted-s-a"),
        ("a\u{1b}[31m\u{0}b", "14", "a-31m-b"),
        ("- - -", "15", "n15"),
    ] {
        assert_eq!(names.name(label, id), name, "{label} {id}");
    }
    let mut names = Names::default();
    let many: HashSet<_> = (0..10_000).map(|_| names.name("The same everywhere", "")).collect();
    assert_eq!(many.len(), 10_000);
    assert!(many.iter().all(|name| name.len() <= LONGEST_NAME && !name.ends_with('-')));
    assert!(many.contains("the-same-ev") && many.contains("the-sa-9999"), "{:?}", many.iter().max());
}

#[test]
fn bad_graphs() {
    // (what of the good file is replaced, by what, all that is said about it)
    let table: &[(&str, &str, &[&str])] = &[
        (
            "52.52",
            "95",
            &["zoo.graphml:12:23: `95` is not a latitude |  | write degrees as a number from -90 to 90"],
        ),
        (
            "13.41",
            "NaN",
            &["zoo.graphml:13:23: `NaN` is not a longitude |  | write degrees as a number from -180 to 180"],
        ),
        (
            "1000000000.0",
            "-1",
            &[
                "zoo.graphml:19:49: `-1` is not a speed |  | write bits per second as a number, as 1000000000, or remove it",
            ],
        ),
        (
            "node id=\"3\"",
            "node id=\"2\"",
            &[
                "zoo.graphml:18:15: the node `2` is defined twice | defined again | ",
                "zoo.graphml:24:19: there is no node `3` | not defined | did you mean `0`?",
            ],
        ),
        (
            "target=\"1\"",
            "target=\"München\"",
            &[
                "zoo.graphml:19:30: there is no node `München` | not defined | `source` and `target` are the `id` of a node of this graph",
            ],
        ),
        (
            "source=\"0\" ",
            "",
            &["zoo.graphml:19:5: this edge has no `source` |  | write `<edge source=\"…\">`"],
        ),
        (
            "node id=\"3\"",
            "node",
            &[
                "zoo.graphml:18:5: this node has no `id` |  | write `<node id=\"…\">`",
                "zoo.graphml:24:19: there is no node `3` | not defined | did you mean `0`?",
            ],
        ),
        (
            "    <edge source=\"0\"",
            "    <hyperedge />\n    <edge source=\"0\"",
            &[
                "zoo.graphml:19:5: hyperedges are not supported |  | put a node in its place, with an edge to each of its ends",
            ],
        ),
        (
            "<node id=\"3\">",
            "<node id=\"3\"><graph/>",
            &[
                "zoo.graphml:18:18: a graph within a node is not supported |  | remove it, and give its nodes to the outer graph",
            ],
        ),
        (
            "  </graph>\n",
            "  </graph>\n  <graph/>\n",
            &["zoo.graphml:26:3: the file has more than one graph |  | leave one"],
        ),
        (
            "</graphml>",
            "</graph>",
            &["zoo.graphml:26:1: invalid XML: expected 'graphml' tag, not 'graph' |  | "],
        ),
        (
            "  </graph>\n</graphml>\n",
            "",
            &[
                "zoo.graphml:24:35: invalid XML: the file ends before its first element does |  | has it been copied completely?",
            ],
        ),
        ("&amp;", "&lol;", &["zoo.graphml:18:42: invalid XML: unknown entity reference 'lol' |  | "]),
        (
            "<graphml xmlns",
            "<!DOCTYPE lolz [<!ENTITY lol \"lol\">]>\n<graphml xmlns",
            &[
                "zoo.graphml:2:1: a document type declaration is not allowed here |  | remove `<!DOCTYPE …>`; GraphML needs none",
            ],
        ),
        (
            GRAPHML,
            "graph [\n  node [ id 0 ]\n]\n",
            &[
                "zoo.graphml:1:1: invalid XML: unknown token |  | a GraphML file begins with `<`; a .gml file is something else",
            ],
        ),
        (
            GRAPHML,
            "",
            &[
                "zoo.graphml:1:1: invalid XML: the file ends before its first element does |  | has it been copied completely?",
            ],
        ),
        (
            GRAPHML,
            "<html/>",
            &["zoo.graphml:1:1: the first element is `html`, not `graphml` |  | is it a GraphML file?"],
        ),
        (
            GRAPHML,
            "<graphml/>",
            &["zoo.graphml:1:1: the file has no graph |  | there is one element `graph` in `graphml`"],
        ),
        (
            GRAPHML,
            "<graphml><graph/></graphml>",
            &["zoo.graphml:1:10: the graph has no nodes |  | is it the right file?"],
        ),
    ];
    for (from, to, expected) in table {
        assert!(GRAPHML.contains(from), "{from}");
        assert_eq!(told(YAML, &GRAPHML.replacen(from, to, 1)), *expected, "{from} → {to}");
    }
}

#[test]
fn bad_sections() {
    for (section, expected) in [
        (
            "{ graphml: zoo.graphml, distance_factor: nan }",
            "zoo.yaml:1:49: `nan` is not a factor |  | write a number from 0.01 to 100, as 1.5",
        ),
        (
            "{ graphml: zoo.graphml, minimum_delay: 5 }",
            "zoo.yaml:1:47: `5` has no unit |  | write a delay as 2ms, 500us or 1s",
        ),
        (
            "{ graphml: zoo.gml }",
            "zoo.yaml:1:19: `zoo.gml` is not a GraphML file |  | `graphml` is a path from the directory of this file, as `backbone.graphml`",
        ),
        (
            "{ graphml: /etc/shadow }",
            "zoo.yaml:1:19: `/etc/shadow` is not a GraphML file |  | `graphml` is a path from the directory of this file, as `backbone.graphml`",
        ),
        (
            "{ servers: { count: 1 } }",
            "zoo.yaml:1:10: missing field `graphml` | `graphml` belongs beside this | add `graphml: backbone.graphml`",
        ),
        (
            "zoo.graphml",
            "zoo.yaml:1:8: expected fields with values, found a single value | expected fields with values | ",
        ),
    ] {
        assert_eq!(told(&format!("graph: {section}"), GRAPHML)[0], expected, "{section}");
    }
    // Both files' errors at once, the topology's first.
    let both = told(
        "graph: { graphml: zoo.graphml, link_speeds: 1 }\nsamp: { t1: 1 }\n",
        &GRAPHML.replace("52.52", "?"),
    );
    let places: Vec<_> = both.iter().map(|error| error.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["zoo.yaml:1:45:", "zoo.yaml:2:13:", "zoo.graphml:12:23:"]);
}

#[test]
fn the_file_is_read_from_beside_the_topology() {
    let directory = std::env::temp_dir().join(format!("samp-graph-{}", std::process::id()));
    fs::create_dir_all(directory.join("maps")).unwrap();
    let yaml = directory.join("zoo.yaml");
    fs::write(&yaml, "graph: { graphml: maps/a.graphml }").unwrap();
    let error = topology::load(&yaml).unwrap_err();
    let missing = (error.len(), error[0].line, error[0].column, error[0].message.clone());
    fs::write(directory.join("maps/a.graphml"), GRAPHML).unwrap();
    let names = topology::load(&yaml).map(|topology| names(&topology));
    let named = topology::graph_file(&yaml);
    fs::write(directory.join("maps/a.graphml"), b"<graphml \xff").unwrap();
    let latin = topology::load(&yaml).unwrap_err();
    fs::remove_dir_all(&directory).unwrap();

    assert_eq!((missing.0, missing.1, missing.2), (1, 1, 19));
    assert!(missing.3.contains("maps/a.graphml: cannot read this file: No such file"), "{}", missing.3);
    assert_eq!(names.unwrap(), "berlin munchen hamburg nowhere-els");
    assert_eq!(named.unwrap(), Some(directory.join("maps/a.graphml")));
    assert!(latin[0].message.ends_with("this file is not UTF-8 text"), "{latin:?}");
}

#[test]
fn many_neighbours_are_too_many() {
    let star = |arms: usize| {
        let nodes: String = (0..=arms).map(|id| format!("<node id=\"{id}\"/>\n")).collect();
        let edges: String = (1..=arms).map(|id| format!("<edge source=\"{id}\" target=\"0\"/>\n")).collect();
        format!("<graphml><graph>\n{nodes}{edges}</graph></graphml>")
    };
    assert_eq!(good_with(YAML, &star(31)).links.len(), 31);
    assert_eq!(
        told(YAML, &star(32)),
        [
            "zoo.graphml:2:1: the node `0` has more than 31 neighbours |  | the kernel routes multicast between at most 32 interfaces; add a node between"
        ]
    );
    // No server goes where there is no room for its link.
    let servers = good_with("graph: { graphml: zoo.graphml, servers: { count: 1 } }", &star(31));
    assert_eq!(links(&servers)[31], "n1 s1 500µs None");
    assert!(told(YAML, &star(10_000))[0].contains("the node `0` has more than"));
    let many: String = (0..40_001).map(|id| format!("<node id=\"{id}\"/>")).collect();
    assert_eq!(
        told(YAML, &format!("<graphml><graph>{many}</graph></graphml>")),
        ["zoo.yaml:1:19: the topology has 40001 nodes or more |  | at most 40000 fit"]
    );
}

#[test]
fn hostile_graphs_are_refused_at_once() {
    let first = |graphml: &str| told(YAML, graphml).remove(0);
    let attributes = |count: usize| -> String { (0..count).map(|number| format!(" a{number}=''")).collect() };
    let spaces: String = (0..70).map(|number| format!(" xmlns:n{number}='u'")).collect();
    for (graphml, expected) in [
        (" ".repeat(graphml::MAX_BYTES + 1), "zoo.yaml:1:19: zoo.graphml: this file is larger than 8 MiB"),
        ("<a/>".repeat(500_000), "zoo.graphml:1:1600001: the file is too complex: too many tags"),
        ("<".repeat(8 << 20), "zoo.graphml:1:400001: the file is too complex: too many tags"),
        (
            format!("<graphml{}/>", attributes(100_000)),
            "zoo.graphml:1:451: the file is too complex: too many attributes in one element",
        ),
        (
            format!("<e{}/>", attributes(60)).repeat(9_000),
            "zoo.graphml:1:1725001: the file is too complex: too many attributes",
        ),
        (format!("<graphml{spaces}/>"), "zoo.graphml:1:896: the file is too complex: too many namespaces"),
        ("<graphml>".repeat(100_000), "zoo.graphml:1:900001: invalid XML: the file ends before"),
        (format!("<graphml>{}", "\u{1}"), "zoo.graphml:1:10: invalid XML: a non-XML character"),
    ] {
        let said = first(&graphml);
        assert!(said.starts_with(expected), "{said}\n{expected}");
        assert!(!said.contains('\u{1}'));
    }
    // A line of = in a comment is nothing special.
    let comment = GRAPHML.replace("  <graph ", &format!("  <!-- {} -->\n  <graph ", "=".repeat(100)));
    good_with(YAML, &comment);
}

#[test]
fn the_shipped_backbone() {
    let [yaml, graphml] = ["topologies/backbone.yaml", "topologies/backbone.graphml"]
        .map(|path| examples::FILES.iter().find(|file| file.path == path).unwrap().text);
    let topology = topology::parse_with_graph("topologies/backbone.yaml", yaml, graphml).unwrap();
    assert_eq!(
        names(&topology),
        "lisboa madrid barcelona paris london dublin bruxelles amsterdam frankfurt zurich milano munchen wien \
         praha berlin kobenhavn exchange s1 s2 s3 mn1 mn2 mn3 mn4 mn5 mn6"
    );
    assert_eq!(topology.links.len(), 25 + 3);
    assert_eq!(
        links(&topology)[25..],
        ["frankfurt s1 500µs None", "paris s2 500µs None", "amsterdam s3 500µs None"]
    );
    assert!(links(&topology).contains(&"frankfurt exchange 1ms None".to_owned()));
    // What its comments offer is possible, and what they say holds anyway does.
    let fast = yaml.replace("  # link_speeds", "  link_speeds").replace("  # largest", "  largest");
    let fast = topology::parse_with_graph("topologies/backbone.yaml", &fast, graphml).unwrap();
    assert_eq!(fast.links.iter().filter_map(|link| link.quality[0].rate).max(), Some(80_000_000_000));
    let plain = yaml.replace("  minimum_delay: 100us\n", "").replace("  default_delay: 1ms\n", "");
    assert_eq!(topology::parse_with_graph("topologies/backbone.yaml", &plain, graphml).unwrap(), topology);
}

#[test]
fn the_shipped_campus() {
    let campus = examples::find("campus").unwrap().files[0];
    let topology = topology::parse(campus.path, campus.text).unwrap();
    assert_eq!(
        (topology.access_routers().count(), topology.sip_servers().count(), topology.mobile_nodes().count()),
        (15, 3, 6)
    );
    assert_eq!(topology.links.iter().filter(|link| link.quality[0] != link.quality[1]).count(), 1);
    assert_eq!(
        topology.links.iter().filter(|link| link.quality[0].loss != topology::Loss::default()).count(),
        1
    );
}
