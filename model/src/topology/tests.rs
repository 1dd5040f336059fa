//! What topology files mean.

mod mistakes;

use super::*;
use crate::diagnostic::render_all;
use crate::paths::{ShortestPaths, WiredGraph};
use crate::settings::Durability;
use proptest::prelude::*;
use std::time::Duration;

/// A file with a bit of everything, and nothing wrong with it.
const GOOD: &str = "\
nodes:
  ar1: { kind: access_router }
  ar2: { kind: access_router, position: [100, 0] }
  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
links:
  - { between: [ar1, ar2], one_way_delay: 5ms }
  - { between: [ar1, s1], one_way_delay: 500us }
";

const GRID: &str = "\
grid:
  width: 3
  height: 3
  domain: { width: 2, height: 2 }
  link: { one_way_delay: 2ms }
  server_link: { one_way_delay: 500us }
mobile_nodes:
  count: 4
";

fn good(text: &str) -> Topology {
    parse("test.yaml", text).unwrap_or_else(|errors| panic!("{}", render_all(&errors, false)))
}

fn errors(text: &str) -> Vec<Diagnostic> {
    parse("test.yaml", text).expect_err("the file is bad")
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../topologies/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Each error as `line:column message | label | hint`.
fn told(text: &str) -> Vec<String> {
    errors(text)
        .iter()
        .map(|error| {
            let hint = error.hint.as_deref().unwrap_or_default();
            format!("{}:{} {} | {} | {hint}", error.line, error.column, error.message, error.label)
        })
        .collect()
}

/// (what of the good file is replaced, by what, all that is said about it)
fn check(good: &str, table: &[(&str, &str, &[&str])]) {
    for (from, to, expected) in table {
        assert!(good.contains(from), "{from}");
        let text = good.replacen(from, to, 1);
        assert_eq!(told(&text), *expected, "\n{from:?} → {to:?}\n{text}");
    }
}

#[test]
fn shipped_files_are_good() {
    let line = parse("topologies/line.yaml", &shipped("line.yaml")).unwrap();
    assert_eq!((line.name.as_str(), line.nodes.len(), line.links.len()), ("line", 5, 2));

    let grid = parse("topologies/grid-small.yaml", &shipped("grid-small.yaml")).unwrap();
    assert_eq!(grid.name, "grid-small");
    assert_eq!(
        (grid.access_routers().count(), grid.sip_servers().count(), grid.mobile_nodes().count()),
        (16, 4, 8)
    );
    assert_eq!(grid.links.len(), 24 + 4);
}

#[test]
fn what_the_shipped_comments_offer_is_what_holds_anyway() {
    let text = shipped("grid-small.yaml");
    let (head, offer) = text.split_once("# What may be added").unwrap();
    let offer: String = offer
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| {
            line.starts_with("  ")
                || ["family:", "samp:", "media:", "emulation:"].iter().any(|key| line.starts_with(key))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(offer.contains("replicas:") && offer.contains("emulation:"), "{offer}");
    assert_eq!(good(&format!("{head}\n{offer}")), good(head));
}

#[test]
fn loading_names_the_file() {
    let path = format!("{}/../topologies/line.yaml", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(load(Path::new(&path)).unwrap().seed, 1);
    let source = Source::read(Path::new(&path)).unwrap();
    assert_eq!(resolve_with(&source, Some(9), &[]).unwrap().seed, 9);

    let missing = load(Path::new("no/such.yaml")).unwrap_err();
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].line, missing[0].column), (0, 0));
    let shown = missing[0].render(false);
    assert!(shown.starts_with("error: cannot read this file: No such file"), "{shown}");
    assert!(shown.contains("--> no/such.yaml"), "{shown}");
}

#[test]
fn addresses_and_names_are_deterministic() {
    let topology = good(GRID);
    assert_eq!(topology, good(GRID));
    assert_eq!(topology.name, "test");
    let names: Vec<_> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "ar-0-0 ar-1-0 ar-2-0 ar-0-1 ar-1-1 ar-2-1 ar-0-2 ar-1-2 ar-2-2 s1 s2 s3 s4 mn1 mn2 mn3 mn4"
    );
    let id = |name| topology.find(name).unwrap();
    let ar = topology.node(id("ar-1-2"));
    assert_eq!(ar.address(), Some("172.16.0.8".parse().unwrap()));
    let access = ar.access().unwrap();
    assert_eq!(access.subnets, [Subnet { prefix: "10.0.7.0".parse().unwrap(), prefix_len: 24 }]);
    assert_eq!(access.position, Some([100.0, 200.0]));
    assert_eq!(topology.node(id("s4")).address(), Some("172.16.0.13".parse().unwrap()));
    assert_eq!(topology.care_of_address(id("mn4"), id("ar-1-2")), "10.0.7.5".parse::<IpAddr>().unwrap());
    let NodeKind::MobileNode { address_of_record, host, radio, .. } = &topology.node(id("mn4")).kind else {
        panic!()
    };
    assert_eq!((address_of_record.as_str(), *host), ("sip:mn4@samp.test", 5));
    assert_eq!(radio.up.one_way_delay, Duration::from_millis(1));
}

#[test]
fn domains_may_be_partial() {
    let topology = good(GRID);
    let hosts: Vec<_> = topology
        .links
        .iter()
        .filter(|link| matches!(topology.node(link.ends[1]).kind, NodeKind::SipServer { .. }))
        .map(|link| topology.node(link.ends[0]).name.as_str())
        .collect();
    assert_eq!(hosts, ["ar-0-0", "ar-2-0", "ar-0-2", "ar-2-2"]);
    // One server in the middle when no domain is given.
    let whole = good(&GRID.replace("  domain: { width: 2, height: 2 }\n", ""));
    let link = whole.links.last().unwrap();
    assert_eq!(link.ends.map(|end| whole.node(end).name.as_str()), ["ar-1-1", "s1"]);
}

#[test]
fn mobile_nodes_start_where_they_are_told() {
    let starts = |text: &str| -> Vec<usize> {
        let topology = good(text);
        let start = |id| match topology.node(id).kind {
            NodeKind::MobileNode { start, .. } => start.0,
            _ => unreachable!(),
        };
        topology.mobile_nodes().map(start).collect()
    };
    assert_eq!(starts(GRID), [0, 2, 4, 6]);
    assert_eq!(starts(&format!("{GRID}  start: spread\n")), [0, 2, 4, 6]);
    assert_eq!(starts(&format!("{GRID}  start: ar-1-1\n")), [4, 4, 4, 4]);
    let random = |seed: u64| starts(&format!("{GRID}  start: random\nseed: {seed}\n"));
    assert_eq!(random(1), random(1));
    assert_ne!(random(1), random(2));
    assert!(random(3).iter().all(|&start| start < 9));
}

#[test]
fn a_grid_and_explicit_nodes_add_up() {
    let topology = good(&format!(
        "{GRID}nodes:
  far: {{ kind: access_router }}
  r1: {{ kind: router }}
  extra: {{ kind: mobile_node, start: far }}
links:
  - {{ between: [ar-2-2, r1], one_way_delay: 1ms }}
  - {{ between: [r1, far], one_way_delay: 1ms }}
"
    ));
    let id = |name| topology.find(name).unwrap();
    assert_eq!(id("far"), NodeId(9));
    assert_eq!(
        topology.node(id("far")).access().unwrap().subnets[0].prefix,
        "10.0.9.0".parse::<IpAddr>().unwrap()
    );
    assert!(topology.node(id("r1")).access().is_none());
    assert!(matches!(
        topology.node(id("extra")).kind,
        NodeKind::MobileNode { host: 6, start: NodeId(9), .. }
    ));
}

#[test]
fn reverse_overrides_the_way_back() {
    let text = GOOD
        .replace("5ms }", "5ms, loss: 0.1%, rate: 1gbit, reverse: { one_way_delay: 8ms } }")
        .replace("start: ar1 }", "start: ar1, radio: { one_way_delay: 3ms, reverse: { rate: 64kbit } } }");
    let topology =
        good(&format!("{text}radio: {{ one_way_delay: 2ms, loss: 1%, reverse: {{ loss: 50% }} }}\n"));
    let ms = Duration::from_millis;
    assert_eq!(
        topology.links[0].quality,
        [
            LinkQuality {
                one_way_delay: ms(5),
                loss: Loss::Random(0.001),
                rate: Some(1_000_000_000),
                ..LinkQuality::IDEAL
            },
            LinkQuality {
                one_way_delay: ms(8),
                loss: Loss::Random(0.001),
                rate: Some(1_000_000_000),
                ..LinkQuality::IDEAL
            },
        ]
    );
    let NodeKind::MobileNode { radio, .. } = &topology.nodes[3].kind else { panic!() };
    assert_eq!(
        radio.up,
        LinkQuality { one_way_delay: ms(3), loss: Loss::Random(0.01), ..LinkQuality::IDEAL }
    );
    assert_eq!(
        radio.down,
        LinkQuality {
            one_way_delay: ms(3),
            loss: Loss::Random(0.5),
            rate: Some(64_000),
            ..LinkQuality::IDEAL
        }
    );
}

#[test]
fn settings_replace_defaults() {
    let topology = good(&format!(
        "{GOOD}
name: other
samp:
  delta: 30ms
  anchor_select: fastest
  hierarchical_registration: false
  tier1: {{ enabled: false }}
  tier2: {{ lifetime: 5s, size: 7 }}
  registration_lifetime: 60s
  multicast_ttl: 3
  successors: 2
  replicas: 3
  durability: degraded
  virtual_nodes: 16
media: {{ packet_interval: 10ms, payload_bytes: 80 }}
emulation: {{ links: userspace, attach: move, gap: 50ms, trigger: carrier, going_down: 20ms }}
"
    ));
    assert_eq!(topology.name, "other");
    let samp = &topology.samp;
    assert_eq!(
        (samp.delta, samp.discovery_deadline),
        (Duration::from_millis(30), Duration::from_millis(120))
    );
    assert_eq!(samp.anchor_select, crate::settings::AnchorSelect::Fastest);
    assert!(!samp.hierarchical_registration && !samp.tier1.enabled && samp.tier2.enabled);
    assert_eq!((samp.tier2.lifetime, samp.tier2.size), (Duration::from_secs(5), 7));
    assert_eq!((samp.registration_lifetime, samp.multicast_ttl), (Duration::from_secs(60), 3));
    assert_eq!((samp.chord.successors, samp.chord.replicas), (2, 3));
    assert_eq!((samp.chord.durability, samp.chord.virtual_nodes), (Durability::Degraded, 16));
    assert_eq!(
        (topology.media.packet_interval, topology.media.payload_bytes),
        (Duration::from_millis(10), 80)
    );
    assert_eq!(topology.emulation.links, crate::settings::LinkBackend::Userspace);
    assert_eq!(topology.emulation.attach, crate::settings::AttachMode::Move);
    assert_eq!(topology.emulation.gap, Duration::from_millis(50));
    assert_eq!(topology.emulation.trigger, crate::settings::Trigger::Carrier);
    assert_eq!(topology.emulation.going_down, Duration::from_millis(20));
}

#[test]
fn anchors_aliases_and_merges_work() {
    let text = GOOD
        .replace("one_way_delay: 5ms", "one_way_delay: &slow 5ms")
        .replace("one_way_delay: 500us", "one_way_delay: *slow");
    let topology = good(&text);
    assert_eq!(topology.links[1].quality, topology.links[0].quality);
    // An error in an alias is where the alias is used.
    check(
        &text,
        &[(
            "start: ar1",
            "start: *slow",
            &[
                "5:36 alias of an anchor that is not defined above |  | define it with `&name`, or quote a value that begins with `*`",
            ],
        )],
    );
}

#[test]
fn no_way_in_the_papers_city_is_too_long_for_a_packet() {
    let topology = good(include_str!("../../../topologies/paper-150.yaml"));
    let counts =
        (topology.access_routers().count(), topology.sip_servers().count(), topology.mobile_nodes().count());
    assert_eq!(counts, (22_500, 100, 10_000));
    let graph = WiredGraph::new(&topology);
    let router = |x: usize, y: usize| topology.find(&format!("ar-{x}-{y}")).unwrap();
    // Without the bridges these are too far from the corner on the other side.
    for (x, y) in [(0, 0), (149, 0), (0, 149), (149, 149), (44, 0), (0, 44), (22, 22), (149, 44), (127, 22)] {
        let paths = ShortestPaths::new(&graph, router(x, y));
        let farthest = topology.access_routers().filter_map(|id| paths.hops(id)).max();
        assert!(farthest.unwrap() <= 253, "{farthest:?} hops from ar-{x}-{y}");
        // The bridges change no delay.
        for (to_x, to_y) in [(0, 0), (149, 149), (0, 149), (75, 60), (149, 0)] {
            let hops = (x.abs_diff(to_x) + y.abs_diff(to_y)) as u32;
            assert_eq!(paths.one_way_delay(router(to_x, to_y)), Some(Duration::from_micros(500) * hops));
        }
    }
    // A discovery reaches the server of its domain.
    let near = ShortestPaths::new(&graph, router(14, 14)).hops(topology.find("s1").unwrap());
    assert!(near.unwrap() < topology.samp.multicast_ttl.into());
}

#[test]
fn the_largest_topology_is_resolved() {
    let text = GRID.replace("width: 3", "width: 85").replace("height: 3", "height: 85");
    let topology = good(&text.replace("count: 4", "count: 500"));
    assert_eq!(topology.access_routers().count(), 7225);
    let last = |topology: &Topology| topology.nodes[7224].access().unwrap().subnets.clone();
    assert_eq!(last(&topology), [Subnet { prefix: "10.56.112.0".parse().unwrap(), prefix_len: 23 }]);
    let topology = good(&format!("family: ipv6\n{}", text.replace("count: 4", "count: 500")));
    assert_eq!(last(&topology), [Subnet { prefix: "fd53:414d:50:1c39::".parse().unwrap(), prefix_len: 64 }]);
}

#[test]
fn subnets_hold_their_hosts() {
    let subnet = |prefix: &str, prefix_len| Subnet { prefix: prefix.parse().unwrap(), prefix_len };
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    for (prefix, len, host, address, inside) in [
        ("10.0.1.0", 24, 1, "10.0.1.1", true),
        ("10.0.1.0", 24, 255, "10.0.1.255", true),
        ("10.0.2.0", 23, 256, "10.0.3.0", true),
        ("10.0.1.0", 24, 0, "10.0.2.1", false),
        ("10.0.1.0", 24, 0, "fd00::1", false),
        ("0.0.0.0", 0, 0, "255.255.255.255", true),
        ("fd00:1::", 64, 7, "fd00:1::7", true),
        ("fd00:1::", 64, 0, "fd00:1:0:1::7", false),
    ] {
        let subnet = subnet(prefix, len);
        assert_eq!(subnet.contains(ip(address)), inside, "{address} in {prefix}/{len}");
        if inside && prefix != "0.0.0.0" {
            assert_eq!(subnet.host(host), ip(address));
        }
    }
    assert_eq!(subnet("10.0.1.0", 24).gateway(), ip("10.0.1.1"));
}

#[test]
fn addresses_are_located() {
    let topology = good(GOOD);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let [ar1, ar2, s1, mn1] = [NodeId(0), NodeId(1), NodeId(2), NodeId(3)];
    for (address, place) in [
        ("172.16.0.1", Some((ar1, None))),
        ("172.16.0.3", Some((s1, None))),
        ("10.0.0.1", Some((ar1, None))),
        ("10.0.0.2", Some((mn1, Some(ar1)))),
        ("10.0.1.2", Some((mn1, Some(ar2)))),
        ("10.0.1.3", None),
        ("10.0.2.2", None),
        ("192.0.2.1", None),
    ] {
        assert_eq!(topology.locate(ip(address)), place, "{address}");
    }
}

#[test]
fn each_family_has_its_addresses_and_the_primary_comes_first() {
    const V4: [&str; 5] = ["172.16.0.2", "172.16.0.3", "10.0.1.0/24", "10.0.1.1", "10.0.1.2"];
    const V6: [&str; 5] = [
        "fd53:414d:50::2",
        "fd53:414d:50::3",
        "fd53:414d:50:2::/64",
        "fd53:414d:50:2::1",
        "fd53:414d:50:2::2",
    ];
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    for (word, expected) in [("ipv4", &[V4][..]), ("ipv6", &[V6]), ("dual", &[V6, V4])] {
        let topology = good(&format!("family: {word}\n{GOOD}"));
        let [ar2, s1, mn1] = [NodeId(1), NodeId(2), NodeId(3)];
        let column =
            |number: usize| -> Vec<IpAddr> { expected.iter().map(|texts| ip(texts[number])).collect() };
        assert_eq!(topology.node(ar2).addresses(), column(0));
        assert_eq!(topology.node(s1).addresses(), column(1));
        assert_eq!(topology.node(s1).address(), Some(column(1)[0]));
        assert_eq!(topology.node(mn1).address(), None);
        let access = topology.node(ar2).access().unwrap();
        let subnets = access.subnets.iter().map(Subnet::to_string);
        assert_eq!(subnets.collect::<Vec<_>>(), expected.iter().map(|texts| texts[2]).collect::<Vec<_>>());
        assert!(column(3).into_iter().all(|gateway| access.has_gateway(gateway)));
        assert_eq!(topology.care_of_addresses(mn1, ar2).collect::<Vec<_>>(), column(4));
        assert_eq!(topology.care_of_address(mn1, ar2), column(4)[0]);
        for (addresses, place) in [
            (column(0), (ar2, None)),
            (column(1), (s1, None)),
            (column(3), (ar2, None)),
            (column(4), (mn1, Some(ar2))),
        ] {
            assert!(addresses.into_iter().all(|address| topology.locate(address) == Some(place)));
        }

        // The family can be changed afterwards, and that is the same as if the file had said it.
        let mut changed = good(GOOD);
        changed.set_family(topology.family).unwrap();
        assert_eq!(changed, topology);
    }
    assert_eq!(good(GOOD).family, Family::Ipv4);
    assert!(told(&format!("family: ipv5\n{GOOD}"))[0].contains("`ipv5`"));
}

#[test]
fn the_discovery_group_is_one_that_routers_forward() {
    let group = |text: &str| good(&format!("samp: {{ discovery_group6: \"{text}\" }}\n{GOOD}")).samp;
    assert_eq!(SampSettings::default().discovery_group6.to_string(), "ff15::5060");
    let samp = group("ff18::7");
    let group6: IpAddr = "ff18::7".parse().unwrap();
    assert_eq!(samp.discovery_group(Family::Ipv6), group6);
    assert_eq!(samp.discovery_group(Family::Dual), group6);
    assert_eq!(samp.discovery_group(Family::Ipv4), IpAddr::from([224, 0, 1, 75]));
    for bad in ["fd00::1", "ff12::1", "ff0f::1", "ff00::1", "224.0.1.75", "x"] {
        let message = told(&format!("samp: {{ discovery_group6: \"{bad}\" }}\n{GOOD}")).remove(0);
        assert!(message.contains("not an IPv6 multicast group"), "{bad}: {message}");
    }
}

#[test]
fn a_topology_survives_the_control_socket() {
    for family in ["ipv4", "ipv6", "dual"] {
        let topology = good(&format!("family: {family}\n{GRID}"));
        let text = serde_json::to_string(&topology).unwrap();
        assert_eq!(serde_json::from_str::<Topology>(&text).unwrap(), topology);
    }
}

proptest! {
    /// Any text yields a topology or errors that can be shown, never a panic.
    #[test]
    fn no_text_panics(
        cut in 0usize..400,
        len in 0usize..30,
        insert in "[\\PC\n\t{}\\[\\]:,&*!|>'\"#%~-]{0,12}",
    ) {
        let text = format!("{GRID}{GOOD}");
        let cut = cut.min(text.len());
        let end = (cut + len).min(text.len());
        let text = format!("{}{insert}{}", &text[..cut], &text[end..]);
        if let Err(errors) = parse("fuzz.yaml", &text) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.span.end <= text.len());
                prop_assert!(!error.render(false).is_empty());
            }
        }
    }
}

#[test]
fn addressing_follows_its_profile_but_where_the_file_says_otherwise() {
    use crate::settings::{AddressMethod, AddressProfile, AddressSettings};
    let with = |addressing: &str| good(&format!("addressing: {{ {addressing} }}\n{GOOD}")).addressing;
    let s = Duration::from_secs;
    assert_eq!(good(GOOD).addressing, AddressSettings::of_profile(AddressProfile::Rfc));
    assert_eq!(with("profile: fast"), AddressSettings::of_profile(AddressProfile::Fast));
    let mine = with("address: dhcp, profile: fast, dhcp_delay: [1s, 3s], rapid_commit: false");
    let expected = AddressSettings {
        address: AddressMethod::Dhcp,
        dhcp_delay: [s(1), s(3)],
        rapid_commit: false,
        ..AddressSettings::of_profile(AddressProfile::Fast)
    };
    assert_eq!(mine, expected);
    assert_eq!((mine.longest_wait(), with("").longest_wait()), (s(6), s(0)));
    for (bad, expected) in [
        ("address: bootp", "`bootp` is not a way to get an address |  | write `static`, `dhcp` or `slaac`"),
        ("address: slaac", "SLAAC needs `family: ipv6` |  | write `address: static`, or change the other"),
        (
            "ra_interval: [29ms, 1s]",
            "advertisements come too often |  | every 30ms at most, by RFC 6275: [30ms, 70ms]",
        ),
        (
            "address: dhcp }\nfamily: dual #",
            "DHCP needs `family: ipv4` |  | write `address: static`, or change the other",
        ),
        (
            "address: dhcp }\nemulation: { attach: move } #",
            "access routers give out addresses with `attach: switch` or `bpf` only |  | write `address: static`, or change the other",
        ),
        ("dhcp_delay: [1s]", "these are not two times |  | write the shortest and the longest, as [1s, 3s]"),
        (
            "dhcp_delay: [3s, 1s]",
            "the shortest time is longer than the longest |  | write the shorter one first",
        ),
        ("dhcp_retransmit: 1ms", "this time is too short |  | at least 10ms"),
        ("dhcp_server: dhcpd", "`dhcpd` is not a DHCP server |  | write `agent` or `dnsmasq`"),
        (
            "dhcp_server: dnsmasq, lease: 119s",
            "dnsmasq lends no address for so short |  | two minutes at least: 120s; or leave `dhcp_server` out",
        ),
        ("lease: 1500ms", "lifetimes count in whole seconds |  | write it without a fraction of a second"),
    ] {
        let told = told(&format!("addressing: {{ {bad} }}\n{GOOD}"));
        assert!(
            matches!(&told[..], [only] if only.starts_with("1:") && only.ends_with(expected)),
            "{told:?}"
        );
    }
}
