//! Addresses that mobile nodes get for themselves: each step of it is told, and is a segment of the handoff.

use samp_tests::lab::stdout;
use samp_tests::{Events, Lab, TemporaryFile, topology};
use serde_json::Value;
use std::fs;
use std::net::Ipv6Addr;
use std::thread;

/// The line of two access routers, with other addressing.
fn line(family: &str, addressing: &str) -> TemporaryFile {
    let text = fs::read_to_string(topology("topologies/line.yaml")).expect("the shipped topology");
    TemporaryFile::new(&format!("family: {family}\naddressing: {{ {addressing} }}\n{text}"))
}

/// The segments between the trigger and the anchor's answer, and their times in milliseconds.
#[track_caller]
fn address_segments(handoff: &Value) -> Vec<(String, f64)> {
    assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
    let segments = handoff["registration"]["segments"].as_array().expect("segments").iter();
    let segments = segments.map(|segment| {
        let name = segment["segment"].as_str().expect("a name").to_owned();
        (name, segment["duration_ms"].as_f64().expect("milliseconds"))
    });
    segments
        .skip_while(|(name, _)| name != "movement_detection")
        .skip(1)
        .take_while(|(name, _)| !name.starts_with("registration") && !name.starts_with("anchor"))
        .collect()
}

#[track_caller]
fn assert_segments(handoff: &Value, expected: &[&str]) {
    let segments = address_segments(handoff);
    let names: Vec<_> = segments.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected, "{handoff:#}");
}

/// The IPv4 addresses of a node's own, but for the loopback interface's.
fn addresses4(lab: &Lab, node: &str) -> Vec<String> {
    let shown = lab.exec(node, &["cat", "/proc/net/fib_trie"]);
    let lines: Vec<_> = shown.lines().map(str::trim).collect();
    let own = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
    let mut own: Vec<_> = own
        .filter_map(|pair| pair[0].strip_prefix("|-- "))
        .filter(|address| !address.starts_with("127."))
        .map(str::to_owned)
        .collect();
    own.sort();
    own.dedup();
    own
}

#[test]
fn the_four_messages_of_dhcp_are_segments_of_the_handoff() {
    let file = line("ipv4", "address: dhcp, profile: fast, rapid_commit: false, dhcp_delay: [30ms, 40ms]");
    let lab = Lab::up(file.path(), &[]);
    let call = lab.json(&["call", "mn1", "mn2"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    for to in ["ar2", "ar1", "ar2"] {
        let handoff = lab.json(&["handoff", "mn1", to]);
        assert_segments(&handoff, &["dhcp_delay", "dhcp_offer", "dhcp_request", "dhcp_ack", "address"]);
        let segments = address_segments(&handoff);
        let [(_, delay), (_, offer), _, (_, ack), _] = &segments[..] else { panic!("five segments") };
        // Over the radio link and back, 1 ms each way.
        assert!(*delay >= 30.0 && *offer >= 2.0 && *ack >= 2.0, "{segments:?}");
        // The old care-of address is gone, the new one is the plan's.
        assert_eq!(addresses4(&lab, "mn1"), [handoff["address"].as_str().expect("an address")]);
        assert_eq!(lab.json(&["inspect", "mn1"])["address"], handoff["address"]);
        assert_eq!(handoff["calls"].as_array().map(Vec::len), Some(1), "{handoff:#}");
    }
    lab.down();
}

#[test]
fn with_rapid_commit_two_messages_do() {
    let file = line("ipv4", "address: dhcp, profile: fast");
    let lab = Lab::up(file.path(), &[]);
    assert_segments(&lab.json(&["handoff", "mn1", "ar2"]), &["dhcp_delay", "dhcp_ack", "address"]);
    lab.down();
}

#[test]
fn dnsmasq_gives_the_same_addresses_in_the_same_steps() {
    for (rapid_commit, expected) in [
        (false, &["dhcp_delay", "dhcp_offer", "dhcp_request", "dhcp_ack", "address"][..]),
        (true, &["dhcp_delay", "dhcp_ack", "address"]),
    ] {
        let knobs =
            format!("address: dhcp, dhcp_server: dnsmasq, profile: fast, rapid_commit: {rapid_commit}");
        let lab = Lab::up(line("ipv4", &knobs).path(), &[]);
        let call = lab.json(&["call", "mn1", "mn2"]);
        assert_eq!(call["outcome"], "established", "{call:#}");
        for to in ["ar2", "ar1", "ar2"] {
            let handoff = lab.json(&["handoff", "mn1", to]);
            assert_segments(&handoff, expected);
            assert_eq!(addresses4(&lab, "mn1"), [handoff["address"].as_str().expect("an address")]);
            assert_eq!(lab.json(&["inspect", "mn1"])["address"], handoff["address"]);
            assert!(stdout(lab.run(&["logs", to])).contains("DHCPACK"));
        }
        lab.down();
    }
}

#[test]
fn a_lease_is_renewed_and_costs_nothing() {
    let file = line("ipv4", "address: dhcp, profile: fast, lease: 4s");
    let lab = Lab::up(file.path(), &[]);
    let before = addresses4(&lab, "mn1");
    let mut events = Events::of(&lab);
    let of_mn1 = |record: &Value, event: &str, message: &str| {
        record["node"] == "mn1" && record["event"] == event && record["message"] == message
    };
    events.wait("a request for more time", |record| of_mn1(record, "dhcp_sent", "request"));
    events.wait("more time", |record| of_mn1(record, "dhcp_received", "ack"));
    assert_eq!(addresses4(&lab, "mn1"), before);
    assert_segments(&lab.json(&["handoff", "mn1", "ar2"]), &["dhcp_delay", "dhcp_ack", "address"]);
    lab.down();
}

#[test]
fn a_server_that_does_not_answer_is_asked_again() {
    let file = line("ipv4", "address: dhcp, profile: fast, dhcp_retransmit: 50ms");
    let lab = Lab::up(file.path(), &[]);
    lab.json(&["pause", "ar2"]);
    let mut events = Events::of(&lab);
    let asked =
        |record: &Value| record["node"] == "mn1" && record["event"] == "dhcp_sent" && record["handoff"] == 1;
    let handoff = thread::scope(|scope| {
        let handoff = scope.spawn(|| lab.json(&["handoff", "mn1", "ar2"]));
        events.wait("a first message", asked);
        events.wait("a second message", asked);
        lab.json(&["resume", "ar2"]);
        handoff.join().expect("a handoff")
    });
    let segments = address_segments(&handoff);
    let again = segments.iter().filter(|(name, _)| name == "dhcp_retransmit");
    let again = again.count();
    assert!(again >= 1 && again + 3 == segments.len(), "{segments:?}");
    assert_eq!(segments.last().map(|(name, _)| name.as_str()), Some("address"));
    lab.down();
}

/// The global IPv6 addresses of a node's own.
fn addresses6(lab: &Lab, node: &str) -> Vec<Ipv6Addr> {
    let shown = lab.exec(node, &["cat", "/proc/net/if_inet6"]);
    let global = shown.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields[3] == "00").then(|| u128::from_str_radix(fields[0], 16).expect("an address").into())
    });
    global.collect()
}

#[track_caller]
fn assert_plan_address6(lab: &Lab, handoff: &Value) {
    let own: Vec<_> = addresses6(lab, "mn1").iter().map(Ipv6Addr::to_string).collect();
    assert_eq!(own, [handoff["address"].as_str().expect("an address")], "the old one is gone");
    assert_eq!(lab.json(&["inspect", "mn1"])["address"], handoff["address"]);
}

#[test]
fn every_step_of_slaac_is_a_segment_of_the_handoff() {
    // With intervals this long the answer is the only advertisement that can come in time.
    let file = line(
        "ipv6",
        "address: slaac, profile: fast, rs_delay: [30ms, 40ms], ra_delay: [20ms, 30ms], ra_interval: [600s, 600s], dad: on",
    );
    let lab = Lab::up(file.path(), &[]);
    let call = lab.json(&["call", "mn1", "mn2"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    for to in ["ar2", "ar1"] {
        let handoff = lab.json(&["handoff", "mn1", to]);
        assert_segments(&handoff, &["rs_delay", "ra_solicited", "dad", "address"]);
        let segments = address_segments(&handoff);
        let [(_, delay), (_, answer), (_, dad), _] = &segments[..] else { panic!("four segments") };
        // Over the radio link and back, 1 ms each way; the kernel waits for a second, in whole ticks, after its one probe.
        assert!(*delay >= 30.0 && *answer >= 22.0 && *dad >= 900.0, "{segments:?}");
        assert_plan_address6(&lab, &handoff);
        assert_eq!(handoff["calls"].as_array().map(Vec::len), Some(1), "{handoff:#}");
    }
    // While an address is checked nothing is sent from another one, not even over one access router.
    let records = stdout(lab.run(&["events"]));
    let heard = records.lines().filter(|record| record.contains("\"media_first_received\""));
    assert!(
        heard.clone().count() >= 6 && heard.clone().all(|record| !record.contains("\"fe80")),
        "{records}"
    );
    lab.down();
}

#[test]
fn an_optimistic_address_is_used_while_it_is_checked() {
    let file = line("ipv6", "address: slaac, profile: fast, ra_interval: [600s, 600s]");
    let lab = Lab::up(file.path(), &[]);
    let mut events = Events::of(&lab);
    let handoff = lab.json(&["handoff", "mn1", "ar2"]);
    assert_segments(&handoff, &["rs_delay", "ra_solicited", "address"]);
    assert_plan_address6(&lab, &handoff);
    let of_mn1 = |record: &Value, event: &str| {
        record["node"] == "mn1" && record["event"] == event && record["handoff"] == 1
    };
    events.wait("a usable address", |record| of_mn1(record, "address_configured"));
    let checked = events.wait("an address that is checked", |record| of_mn1(record, "address_checked"));
    assert_eq!((&checked["address"], &checked["unique"]), (&handoff["address"], &Value::Bool(true)));
    lab.down();
}

#[test]
fn without_detection_nobody_checks_and_frequent_advertisements_need_no_solicitation() {
    let file = line(
        "ipv6",
        "address: slaac, profile: fast, dad: off, rs_delay: [30s, 30s], ra_interval: [30ms, 40ms]",
    );
    let lab = Lab::up(file.path(), &[]);
    let handoff = lab.json(&["handoff", "mn1", "ar2"]);
    assert_segments(&handoff, &["ra_unsolicited", "address"]);
    assert_plan_address6(&lab, &handoff);
    lab.down();
}

#[test]
fn a_router_that_does_not_answer_is_solicited_again() {
    let file =
        line("ipv6", "address: slaac, profile: fast, dad: off, rs_interval: 50ms, ra_interval: [600s, 600s]");
    let lab = Lab::up(file.path(), &[]);
    lab.json(&["pause", "ar2"]);
    let mut events = Events::of(&lab);
    let solicited = |record: &Value| {
        record["node"] == "mn1" && record["event"] == "router_solicited" && record["handoff"] == 1
    };
    let handoff = thread::scope(|scope| {
        let handoff = scope.spawn(|| lab.json(&["handoff", "mn1", "ar2"]));
        events.wait("a first solicitation", solicited);
        events.wait("a second solicitation", solicited);
        lab.json(&["resume", "ar2"]);
        handoff.join().expect("a handoff")
    });
    let segments = address_segments(&handoff);
    assert!(segments.iter().any(|(name, _)| name == "rs_retransmit"), "{segments:?}");
    lab.down();
}
