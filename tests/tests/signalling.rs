//! What handoffs and calls cost in messages and bytes: worked out by hand from the protocols' flows, and the same in a lab as
//! in virtual time.

use samp_tests::lab::{TemporaryFile, run, stdout};
use samp_tests::topology;
use serde_json::Value;
use std::fs;

/// mn1 calls mn2 and moves to where it is: ar1 and ar2 in a line, s1 at ar1.
fn experiment(protocol: &str, knobs: &str) -> [TemporaryFile; 2] {
    let shipped = fs::read_to_string(topology("topologies/line.yaml")).expect("it is shipped");
    let head = format!("family: ipv6\nprotocol: {protocol}\n{knobs}\n");
    let topology = TemporaryFile::new(&(head + &shipped));
    let name = topology.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let experiment = TemporaryFile::new(&format!(
        "topology: {name}\ntimeline:\n  - call: {{ pairs: [[mn1, mn2]] }}\n  - wait: 1s\n  - handoff: {{ moves: [[mn1, ar2]], interval: 200ms }}\n  - hang_up: all\n"
    ));
    [topology, experiment]
}

/// What the run says of messages and bytes: those of the handoff, and those of the call.
fn cost(command: &str, experiment: &TemporaryFile) -> [[u64; 2]; 2] {
    let out = experiment.path().with_extension("run");
    let [file, dir] = [experiment.path(), &out].map(|path| path.to_str().expect("UTF-8"));
    let told = stdout(run(["--quiet", "--format", "json", command, file, "--out", dir]));
    fs::remove_dir_all(&out).expect("the run's directory");
    let summary: Value = serde_json::from_str(&told).expect("JSON");
    ["handoffs", "calls"].map(|of| {
        let all = summary["signalling"].as_array().expect("a list");
        let one = all.iter().find(|one| one["of"] == of).unwrap_or_else(|| panic!("{of} in {summary:#}"));
        ["messages", "bytes"].map(|what| one[what]["max"].as_u64().expect("a number"))
    })
}

#[test]
fn messages_are_those_of_the_flow() {
    // INVITE over the one server and 100 from it, 200 back, ACK; with Mobile IP end to end in tunnels.
    let [by_server, in_tunnels] = [6, 3];
    // An IPv6 header, 40 bytes; a Home Address option or type 2 routing header with its header, 24; BU with an alternate
    // care-of address or with authorization 32, else 16; BAck 16, with authorization 32; CoTI 16, CoT 24.
    let [update, acknowledgement] = [40 + 24 + 32, 40 + 24 + 16];
    for (protocol, knobs, messages, bytes, of_call) in [
        // REGISTER, 200; re-INVITE, 200, ACK.
        ("samp", "", 5, None, by_server),
        ("sip", "", 5, None, by_server),
        // BU, BAck.
        ("mipv6", "", 2, Some(update + acknowledgement), in_tunnels),
        // Besides CoTI, CoT, BU and BAck: the home keygen token of the call's beginning is still good.
        (
            "mipv6",
            "mobility: { route_optimization: true }",
            6,
            Some(update + acknowledgement + (40 + 16) + (40 + 24) + 2 * (40 + 24 + 32)),
            in_tunnels,
        ),
        // There is only one MAP, and it is kept.
        ("hmipv6", "", 2, Some((40 + 24 + 16) + acknowledgement), in_tunnels),
    ] {
        let [_topology, experiment] = experiment(protocol, knobs);
        let [[found, length], [call, _]] = cost("sim", &experiment);
        assert_eq!((found, call), (messages, of_call), "{protocol} {knobs}");
        assert_eq!(bytes.unwrap_or(length), length, "{protocol} {knobs}");
    }
}

#[test]
fn a_handoff_costs_in_a_lab_what_it_costs_in_virtual_time() {
    let [_topology, experiment] = experiment("mipv6", "");
    let [measured, predicted] = ["run", "sim"].map(|command| cost(command, &experiment));
    assert_eq!(measured[0], predicted[0]);
    // The Call-ID in each of the three messages names the lab.
    assert_eq!(measured[1][0], predicted[1][0]);
}
