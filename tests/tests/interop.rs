//! Programs that know nothing of samp-lab, inside its labs: sipp as client and server, baresip as a mobile node,
//! Kamailio as the registrar.

use samp_tests::lab::unique_name;
use samp_tests::{Events, Lab, samp_lab};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// Where the programs' scenarios and configurations are.
const SIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sip");
/// Where the shipped topologies are, and Kamailio's configuration.
const TOPOLOGIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../topologies");

/// A topology file that is gone when the test is over.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Two access routers, 4 ms apart, with a SIP server at the first or at both; a mobile node of samp-lab's, and these
/// nodes besides.
///
/// sipp sends all its answers to where a call's first request came from, whatever the Via says; behind one server
/// that is right.
fn lab(servers: usize, nodes: &str) -> Lab {
    up(&topology(servers, nodes))
}

fn topology(servers: usize, nodes: &str) -> String {
    let numbers = 1..=servers;
    let kinds: String = numbers.clone().map(|n| format!("  s{n}: {{ kind: sip_server }}\n")).collect();
    let links: String =
        numbers.map(|n| format!("  - {{ between: [ar{n}, s{n}], one_way_delay: 1ms }}\n")).collect();
    format!(
        "nodes:\n  ar1: {{ kind: access_router }}\n  ar2: {{ kind: access_router }}\n{kinds}  \
         mn1: {{ kind: mobile_node, start: ar1 }}\n{nodes}links:\n  \
         - {{ between: [ar1, ar2], one_way_delay: 4ms }}\n{links}"
    )
}

fn up(text: &str) -> Lab {
    let file = File(std::env::temp_dir().join(format!("{}.yaml", unique_name())));
    std::fs::write(&file.0, text).expect("a file");
    Lab::up(&file.0, &["--allow-programs"])
}

/// A mobile node that runs this program.
fn node(name: &str, start: &str, program: &str) -> String {
    format!("  {name}: {{ kind: mobile_node, start: {start}, program: [{program}] }}\n")
}

/// sipp with a scenario of ours for so many calls, from a port.
fn sipp(
    scenario: &str,
    transport: &str,
    service: &str,
    calls: usize,
    address: &str,
    port: u16,
) -> Vec<String> {
    let arguments = format!(
        "sipp -sf {SIP}/{scenario}.xml -t {transport} -s {service} -m {calls} -r 5 -i {address} -p {port} -nostdin \
         -timeout 60 -timeout_error"
    );
    arguments.split(' ').map(str::to_owned).collect()
}

/// sipp as callee, which ends when it has had so many calls.
fn callee(scenario: &str, transport: &str, calls: usize) -> String {
    let program = sipp(scenario, transport, "callee", calls, "{address}", 5060);
    node("callee", "ar2", &program.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", "))
}

/// A node from which the test calls.
fn caller() -> String {
    node("caller", "ar1", "sleep, infinity")
}

fn address(lab: &Lab, node: &str) -> String {
    lab.json(&["inspect", node])["address"].as_str().expect("an address").to_owned()
}

/// Runs sipp inside a node against a server, until it has done its calls.
#[track_caller]
fn run_sipp(
    lab: &Lab,
    node: &str,
    server: &str,
    scenario: &str,
    transport: &str,
    service: &str,
    calls: usize,
) {
    let mut command = sipp(scenario, transport, service, calls, &address(lab, node), 5070);
    command.push(format!("{}:5060", address(lab, server)));
    lab.exec(node, &command.iter().map(String::as_str).collect::<Vec<_>>());
}

/// sipp calls sipp through samp-lab's server.
fn sipp_calls_sipp(call: &str, answer: &str, transport: &str) {
    const CALLS: usize = 5;
    let lab = lab(1, &(callee(answer, transport, CALLS) + &caller()));
    run_sipp(&lab, "callee", "s1", "register", transport, "callee", 1);
    run_sipp(&lab, "caller", "s1", call, transport, "callee", CALLS);
    assert_eq!(Events::of(&lab).exit_code("callee"), 0);
    lab.down();
}

#[test]
fn sipp_calls_sipp_over_udp() {
    sipp_calls_sipp("call", "answer", "u1");
}

#[test]
fn sipp_calls_sipp_over_tcp() {
    sipp_calls_sipp("call", "answer", "t1");
}

#[test]
fn sipp_cancels_a_call_that_rings() {
    sipp_calls_sipp("cancel", "cancelled", "u1");
}

#[test]
fn sipp_and_a_mobile_node_call_each_other() {
    let lab = lab(2, &(callee("answer", "u1", 1) + &caller()));
    run_sipp(&lab, "caller", "s1", "call", "u1", "mn1", 3);
    run_sipp(&lab, "callee", "s2", "register", "u1", "callee", 1);
    let mut events = Events::of(&lab);
    // The command would wait for media, which this scenario does not send.
    let mut calling = Command::new(samp_lab());
    let mut calling =
        calling.args(["-q", "--lab", lab.name(), "call", "mn1", "callee"]).spawn().expect("it starts");
    let call = events.wait("a call", |record| record["event"] == "call_established");
    assert_eq!(call["node"], "mn1");
    calling.kill().expect("it still waits");
    calling.wait().expect("it ends");
    lab.down();
}

/// baresip behind s2, with more parameters of its account.
fn baresip(parameters: &str) -> String {
    let account = format!(
        "/uanew <{{address_of_record}}>;outbound=\\\"sip:{{s2.host}}\\\";regint=60;answermode=auto{parameters}"
    );
    node("phone", "ar2", &format!("baresip, -f, {SIP}/baresip, -e, \"{account}\""))
}

/// Waits until baresip is told this of its registration: an INVITE may come before it has registered.
fn await_registration(lab: &Lab, events: &mut Events, status: &str) {
    events.wait("an answer to a registration", |record| {
        record["event"] == "message_sent"
            && record["peer"] == address(lab, "phone")
            && record["summary"].as_str().is_some_and(|text| text.starts_with(&format!("{status} REGISTER")))
    });
}

#[test]
fn baresip_registers_with_its_password() {
    // This one knows MD5 only.
    let knobs = "samp: { auth: digest_md5, passwords: { phone: wonderland1 } }\n";
    let lab = up(&(topology(2, &baresip(";auth_user=phone;auth_pass=wonderland1")) + knobs));
    let mut events = Events::of(&lab);
    await_registration(&lab, &mut events, "401");
    await_registration(&lab, &mut events, "200");
    let call = lab.json(&["call", "mn1", "phone"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    lab.json(&["hangup"]);
    lab.down();
}

#[test]
fn baresip_is_a_mobile_node() {
    let lab = lab(2, &baresip(""));
    let mut events = Events::of(&lab);
    await_registration(&lab, &mut events, "200");
    let call = lab.json(&["call", "mn1", "phone"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    let phone = address(&lab, "phone");
    let media = |from: &str, to: &str| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |record: &Value| {
            record["event"] == "media_first_received"
                && record["from"] == from.as_str()
                && record["to"] == to.as_str()
        }
    };
    events.wait("its media", media(&phone, &address(&lab, "mn1")));
    // It follows a mobile node that moves…
    lab.json(&["handoff", "mn1", "ar2"]);
    events.wait("its media at the new address", media(&phone, &address(&lab, "mn1")));
    // … and moves itself without a word: what it sends comes from its new address.
    lab.json(&["handoff", "phone", "ar1"]);
    let moved = address(&lab, "phone");
    assert_ne!(moved, phone);
    events.wait("its media from its new address", media(&moved, &address(&lab, "mn1")));
    lab.json(&["hangup"]);
    lab.down();
}

#[test]
fn kamailio_is_the_registrar_of_a_plain_sip_network() {
    let text = format!(
        "nodes:\n  ar1: {{ kind: access_router }}\n  ar2: {{ kind: access_router }}\n  \
         k: {{ kind: sip_server, program: [kamailio, -DD, -E, -f, {TOPOLOGIES}/kamailio.cfg, -Y, '.', -l, 'udp:{{host}}:5060', -l, 'tcp:{{host}}:5060'] }}\n\
         {}{}links:\n  - {{ between: [ar1, ar2], one_way_delay: 4ms }}\n  - {{ between: [ar1, k], one_way_delay: 1ms }}\n",
        callee("answer", "u1", 5),
        caller()
    );
    let lab = up(&text);
    run_sipp(&lab, "callee", "k", "register", "u1", "callee", 1);
    run_sipp(&lab, "caller", "k", "call", "u1", "callee", 5);
    assert_eq!(Events::of(&lab).exit_code("callee"), 0);
    // The callee moves; its registrar learns of it as the callee registers again.
    lab.json(&["handoff", "callee", "ar1"]);
    run_sipp(&lab, "callee", "k", "register", "u1", "callee", 1);
    lab.down();
}

#[test]
fn kamailio_is_the_registrar_of_mobile_nodes() {
    let lab = Lab::up(format!("{TOPOLOGIES}/kamailio.yaml"), &["--allow-programs"]);
    let call = lab.json(&["call", "mn1", "mn2"]);
    assert_eq!((&call["outcome"], &call["cache"]), (&"established".into(), &"unused".into()), "{call:#}");
    // It moves in the call: it registers with Kamailio, and its peer follows the re-INVITE.
    for place in ["ar2", "ar1", "ar2"] {
        let handoff = lab.json(&["handoff", "mn1", place]);
        assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
        assert_eq!(handoff["calls"].as_array().map(Vec::len), Some(1), "{handoff:#}");
    }
    lab.json(&["hangup"]);
    // Who has moved is found where it is, and nowhere else.
    let call = lab.json(&["call", "mn2", "mn1"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    lab.json(&["hangup"]);
    lab.down();
}
