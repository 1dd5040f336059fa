//! IPv4, IPv6 and both: everything works on each of them, in a lab of any graph and of many links.

use samp_model::settings::Family;
use samp_model::topology::{self, NodeKind};
use samp_tests::{Lab, TemporaryFile, topology};
use serde_json::Value;
use std::fs;
use std::net::IpAddr;

const FAMILIES: [&str; 3] = ["ipv4", "ipv6", "dual"];

fn ping(lab: &Lab, from: &str, to: IpAddr) {
    lab.exec(from, &["ping", "-n", "-c", "2", "-i", "0.02", "-W", "5", &to.to_string()]);
}

/// All addresses of a node, which must be of this family.
fn addresses(lab: &Lab, node: &str, family: Family) -> Vec<IpAddr> {
    let inspected = lab.json(&["inspect", node]);
    let addresses: Vec<IpAddr> = serde_json::from_value(inspected["addresses"].clone()).expect("addresses");
    assert_eq!(Value::from(addresses[0].to_string()), inspected["address"]);
    assert_eq!(
        addresses[0].is_ipv6(),
        family.has_ipv6(),
        "the primary is IPv6 where there is one: {inspected:#}"
    );
    assert_eq!(addresses.len(), usize::from(family.has_ipv4()) + usize::from(family.has_ipv6()));
    addresses
}

#[track_caller]
fn assert_complete(handoff: &Value) {
    assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
}

/// Everything that a lab does.
fn exercise(family: &str, attach: &str) {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    let file = TemporaryFile::new(&format!("family: {family}\n{text}"));
    let parsed = topology::load(file.path()).expect("a valid topology");
    let lab = Lab::up(file.path(), &["--attach", attach]);
    let nodes = ["ar1", "ar2", "s1", "mn1", "mn2"];
    for from in nodes {
        for to in nodes.iter().filter(|to| **to != from) {
            addresses(&lab, to, parsed.family).into_iter().for_each(|address| ping(&lab, from, address));
        }
    }

    let call = lab.json(&["call", "mn1", "mn2"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    assert_complete(&lab.json(&["handoff", "mn1", "ar2"]));
    // Now both are behind one router, which sends their packets back to where they came from.
    for (from, to) in [("mn1", "mn2"), ("mn2", "mn1"), ("mn1", "s1"), ("s1", "mn1")] {
        addresses(&lab, to, parsed.family).into_iter().for_each(|address| ping(&lab, from, address));
    }
    assert_complete(&lab.json(&["handoff", "mn2", "ar1"]));
    assert_complete(&lab.json(&["handoff", "mn1", "ar1"]));
    assert_complete(&lab.json(&["handoff", "mn2", "ar2"]));
    addresses(&lab, "mn2", parsed.family).into_iter().for_each(|address| ping(&lab, "mn1", address));
    lab.json(&["hangup"]);
    let call = lab.json(&["call", "mn2", "mn1"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    assert_only_own_addresses(&lab, parsed.family);
    lab.down();
}

/// A mobile node has the addresses that it is told and no others, and follows no redirect.
fn assert_only_own_addresses(lab: &Lab, family: Family) {
    let own = addresses(lab, "mn1", family);
    let shown = lab.exec("mn1", &["cat", "/proc/net/if_inet6"]);
    let global: Vec<_> = shown.lines().filter(|line| line.split_whitespace().nth(3) == Some("00")).collect();
    let expected = own.iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(address.octets().map(|byte| format!("{byte:02x}")).concat()),
        IpAddr::V4(_) => None,
    });
    let expected: Vec<_> = expected.collect();
    assert_eq!(global.len(), expected.len(), "{shown}");
    assert!(expected.iter().all(|address| shown.contains(address)), "{shown}");
    if family.has_ipv6() {
        let redirects = lab.exec("mn1", &["cat", "/proc/sys/net/ipv6/conf/radio0/accept_redirects"]);
        assert_eq!(redirects.trim(), "0");
    } else {
        assert_eq!(shown, "", "no IPv6 at all");
    }
}

#[test]
fn ipv4_works_with_both_ways_to_hand_off() {
    exercise("ipv4", "switch");
    exercise("ipv4", "move");
}

#[test]
fn ipv6_works_with_both_ways_to_hand_off() {
    exercise("ipv6", "switch");
    exercise("ipv6", "move");
}

#[test]
fn both_families_work_with_both_ways_to_hand_off() {
    exercise("dual", "switch");
    exercise("dual", "move");
}

#[test]
fn the_command_line_overrides_the_family() {
    for family in FAMILIES {
        let lab = Lab::up(topology("topologies/line.yaml"), &["--family", family]);
        assert_eq!(lab.json(&["inspect"])["topology"]["family"], family);
        lab.down();
    }
}

#[test]
fn a_link_that_no_shortest_path_takes_does_no_harm() {
    // The way from r1 to r3 over r2 is as short as the direct link, and the parallel link is slow.
    let text = "
nodes:
  r1: { kind: access_router }
  r2: { kind: router }
  r3: { kind: access_router }
  r4: { kind: router }
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: r1 }
links:
  - { between: [r1, r2], one_way_delay: 1ms }
  - { between: [r2, r3], one_way_delay: 1ms }
  - { between: [r1, r3], one_way_delay: 9ms }
  - { between: [r3, r4], one_way_delay: 1ms }
  - { between: [r4, r1], one_way_delay: 3ms }
  - { between: [r3, s1], one_way_delay: 1ms }
";
    for family in FAMILIES {
        let file = TemporaryFile::new(&format!("family: {family}\n{text}"));
        let parsed = topology::load(file.path()).expect("a valid topology");
        let lab = Lab::up(file.path(), &[]);
        for (_, from) in parsed.nodes() {
            for (_, to) in parsed.nodes().filter(|(_, to)| to.name != from.name) {
                to.addresses().iter().for_each(|&address| ping(&lab, &from.name, address));
            }
        }
        assert_complete(&lab.json(&["handoff", "mn1", "r3"]));
        lab.down();
    }
}

/// A grid of 400 routers has 760 links, and with it 1,520 neighbour entries in either family: more than the kernel's
/// usual limit, which holds for the whole machine. Permanent entries do not count.
#[test]
fn a_grid_of_400_routers_comes_up_with_the_usual_limit_of_neighbours() {
    const USUAL: u32 = 1024;
    for version in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{version}/neigh/default/gc_thresh3");
        let limit: u32 =
            fs::read_to_string(&path).expect("a kernel parameter").trim().parse().expect("a number");
        assert!(
            limit <= USUAL,
            "{path} is {limit}: this machine allows more neighbours than usual, so this test can show nothing"
        );
    }
    let text = "
grid:
  width: 20
  height: 20
  domain: { width: 10, height: 20 }
  link: { one_way_delay: 100us }
  server_link: { one_way_delay: 100us }
mobile_nodes: { count: 2 }
";
    for family in ["ipv4", "ipv6"] {
        let file = TemporaryFile::new(&format!("family: {family}\n{text}"));
        let parsed = topology::load(file.path()).expect("a valid topology");
        let lab = Lab::up(file.path(), &[]);
        let ends: Vec<_> = parsed.access_routers().map(|id| parsed.node(id)).collect();
        let [first, last] = [ends[0], ends[399]];
        ping(&lab, &first.name, last.address().expect("a router has one"));
        ping(&lab, "mn1", last.address().expect("a router has one"));
        for router in ends.iter().step_by(57) {
            let NodeKind::Router { addresses, .. } = &router.kind else { continue };
            ping(
                &lab,
                &last.name,
                if router.name == last.name { first.addresses()[0] } else { addresses[0] },
            );
        }
        lab.down();
    }
}
