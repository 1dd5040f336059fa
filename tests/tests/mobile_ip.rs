//! Mobile IPv6 and HMIPv6 in real labs: what keeps its address goes on through handoffs, and Wireshark knows the messages.

use samp_tests::Lab;
use samp_tests::lab::{TemporaryFile, has_kernel_tunnels, run, samp_lab, unique_name};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Four access routers in a row with a server at each end: two domains.
const ROW: &str = "
family: ipv6
nodes:
  ar1: { kind: access_router }
  ar2: { kind: access_router }
  ar3: { kind: access_router }
  ar4: { kind: access_router }
  s1: { kind: sip_server }
  s2: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
  mn2: { kind: mobile_node, start: ar4 }
links:
  - { between: [ar1, ar2], one_way_delay: 2ms }
  - { between: [ar2, ar3], one_way_delay: 2ms }
  - { between: [ar3, ar4], one_way_delay: 2ms }
  - { between: [ar1, s1], one_way_delay: 1ms }
  - { between: [ar4, s2], one_way_delay: 1ms }
";

/// That row with these knobs before it.
fn row(knobs: &str) -> TemporaryFile {
    TemporaryFile::new(&format!("{knobs}\n{ROW}"))
}

/// The home address of the mobile node with this number, from 1.
fn home(number: u32) -> String {
    format!("fd53:414d:51::{}", number + 1)
}

/// Radio links that the kernel's switch serves, where it is allowed to.
const FAST_RADIO: &str = "radio: { one_way_delay: 0 }";

/// A call, moves of both ends, and a call back; every part of every handoff is known.
#[track_caller]
fn calls_go_on(knobs: &str, moves: &[[&str; 2]]) -> Vec<Value> {
    let topology = row(knobs);
    let plan = run(["plan".as_ref(), topology.path().as_os_str(), "--attach".as_ref(), "bpf".as_ref()]);
    let attach = if plan.status.success() { "bpf" } else { "switch" };
    let lab = Lab::up(topology.path(), &[]);
    assert_eq!(lab.json(&["inspect"])["emulation"]["attach"], attach);
    let call = lab.json(&["call", "mn1", "mn2"]);
    assert_eq!((&call["outcome"], &call["cache"]), (&"established".into(), &"unused".into()), "{call:#}");
    let handoffs: Vec<_> = moves.iter().map(|[node, place]| lab.json(&["handoff", node, place])).collect();
    for handoff in &handoffs {
        assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
        assert_eq!(handoff["calls"].as_array().map(Vec::len), Some(1), "{handoff:#}");
    }
    lab.json(&["hangup"]);
    // Home addresses are where they were.
    let call = lab.json(&["call", "mn2", "mn1"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    lab.down();
    handoffs
}

/// The last part of each handoff's registration.
fn last_segments(handoffs: &[Value]) -> Vec<&str> {
    let last = |handoff: &'_ Value| {
        handoff["registration"]["segments"].as_array().and_then(|all| all.last()).cloned()
    };
    let names =
        handoffs.iter().map(|handoff| match last(handoff).as_ref().and_then(|it| it["segment"].as_str()) {
            Some("registration_home") => "home",
            Some("registration_anchor") => "anchor",
            other => panic!("{other:?} in {handoff:#}"),
        });
    names.collect()
}

#[test]
fn mobile_ipv6_keeps_calls_through_the_home_agent() {
    let moves = [["mn1", "ar2"], ["mn1", "ar3"], ["mn2", "ar3"], ["mn1", "ar1"]];
    let knobs = format!("protocol: mipv6\naddressing: {{ dad: off }}\n{FAST_RADIO}");
    let handoffs = calls_go_on(&knobs, &moves);
    assert_eq!(last_segments(&handoffs), ["home"; 4]);
}

#[test]
fn hmipv6_tells_the_home_agent_of_a_new_map_only() {
    let moves = [["mn1", "ar2"], ["mn1", "ar4"], ["mn1", "ar3"], ["mn2", "ar1"]];
    let handoffs = calls_go_on("protocol: hmipv6\naddressing: { dad: off }", &moves);
    assert_eq!(last_segments(&handoffs), ["anchor", "home", "anchor", "home"]);
}

#[test]
fn map_options_of_router_advertisements_are_heeded() {
    let moves = [["mn1", "ar2"], ["mn1", "ar4"], ["mn2", "ar1"]];
    let knobs =
        format!("protocol: hmipv6\naddressing: {{ address: slaac, profile: fast, dad: off }}\n{FAST_RADIO}");
    assert_eq!(last_segments(&calls_go_on(&knobs, &moves)), ["anchor", "home", "home"]);
}

#[test]
fn media_goes_straight_with_route_optimisation() {
    let moves = [["mn1", "ar2"], ["mn2", "ar3"], ["mn1", "ar4"]];
    for protocol in ["mipv6", "hmipv6"] {
        let knobs = format!(
            "protocol: {protocol}\nmobility: {{ route_optimization: true }}\naddressing: {{ dad: off }}"
        );
        calls_go_on(&knobs, &moves);
    }
}

/// What serves so many bytes to whoever connects, once.
const SERVER: &str = "
import socket, sys
listener = socket.create_server(('::', 8000), family=socket.AF_INET6)
print('listening', flush=True)
peer, _ = listener.accept()
peer.sendall(bytes(range(256)) * (int(sys.argv[1]) // 256))
";

/// What fetches them, a sixteenth for each line of its input, and sums them up.
const CLIENT: &str = "
import socket, sys
peer = socket.socket(socket.AF_INET6)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
peer.connect((sys.argv[1], 8000))
total = int(sys.argv[2])
print(peer.getsockname()[0], flush=True)
left, right = 0, True
for line in sys.stdin:
    wanted = left + total // 16
    while left < wanted:
        chunk = peer.recv(min(wanted - left, 4096))
        if not chunk: sys.exit('cut off')
        right = right and all(byte == (left + i) % 256 for i, byte in enumerate(chunk))
        left += len(chunk)
    print(left, right, flush=True)
";

/// A program inside a node, line by line.
struct Talk {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn start(lab: &Lab, node: &str, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(samp_lab());
        command.args(["--lab", lab.name(), "exec", node, "--", "python3", "-c", program]).args(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("samp-lab can be started");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { child, input, output: BufReader::new(output) }
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("UTF-8");
        line.trim_end().to_owned()
    }

    fn ask(&mut self) -> String {
        writeln!(self.input).expect("it listens");
        self.hear()
    }
}

/// A download by TCP, and pings both ways, while the node that has begun them moves.
fn unmodified_applications_go_on(knobs: &str) {
    const BYTES: usize = 1 << 20;
    let lab = Lab::up(row(knobs).path(), &[]);
    let server_address = lab.json(&["inspect", "s2"])["address"].as_str().expect("an address").to_owned();
    let bytes = BYTES.to_string();
    let mut server = Talk::start(&lab, "s2", SERVER, &[&bytes]);
    assert_eq!(server.hear(), "listening");
    let mut client = Talk::start(&lab, "mn1", CLIENT, &[&server_address, &bytes]);
    assert_eq!(client.hear(), home(1), "the home address without being told");
    for (number, place) in (1..).zip(["ar2", "ar3", "ar4", "ar1"].iter().cycle().take(16)) {
        lab.json(&["handoff", "mn1", place]);
        assert_eq!(client.ask(), format!("{} True", number * BYTES / 16));
    }
    drop(client.input);
    assert!(client.child.wait().expect("a child").success());
    assert!(server.child.wait().expect("a child").success());
    for (place, other) in [("ar2", "mn2"), ("ar3", "s1")] {
        lab.json(&["handoff", "mn1", place]);
        lab.exec(other, &["ping", "-c", "2", "-i", "0.1", &home(1)]);
        lab.exec("mn1", &["ping", "-c", "2", "-i", "0.1", "-s", "1300", &server_address]);
        // Longer than what a tunnel takes in one piece; whoever sends it is told, or knows.
        lab.exec("s2", &["ping", "-c", "3", "-i", "0.1", "-s", "1452", &home(1)]);
        lab.exec("mn1", &["ping", "-c", "2", "-i", "0.1", "-s", "4000", &home(2)]);
    }
    lab.down();
}

#[test]
fn ping_and_tcp_survive_handoffs_of_mobile_ipv6() {
    unmodified_applications_go_on("protocol: mipv6\naddressing: { dad: off }");
}

#[test]
fn ping_and_tcp_survive_handoffs_of_hmipv6() {
    unmodified_applications_go_on("protocol: hmipv6\naddressing: { dad: off }");
}

#[test]
fn the_kernels_tunnels_carry_calls_of_mobile_ipv6() {
    if has_kernel_tunnels() {
        let moves = [["mn1", "ar2"], ["mn1", "ar3"], ["mn2", "ar3"], ["mn1", "ar1"]];
        let knobs =
            "protocol: mipv6\naddressing: { dad: off }\nemulation: { tunnels: kernel, attach: switch }";
        assert_eq!(last_segments(&calls_go_on(knobs, &moves)), ["home"; 4]);
    }
}

#[test]
fn the_kernels_tunnels_carry_applications_of_hmipv6() {
    if has_kernel_tunnels() {
        let knobs = "protocol: hmipv6\naddressing: { dad: off }\nemulation: { tunnels: kernel }";
        unmodified_applications_go_on(knobs);
    }
}

/// What Wireshark finds in a capture: of each frame the values of these fields, one behind the other where there are more.
#[track_caller]
fn tshark<const N: usize>(file: &Path, fields: [&str; N]) -> Vec<[String; N]> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-r"]).arg(file).args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("tshark can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let frames = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    frames.map(|frame| frame.try_into().expect("so many fields")).collect()
}

#[test]
fn wireshark_knows_the_messages() {
    let knobs = "protocol: hmipv6\nmobility: { route_optimization: true, authentication: rfc4285 }
addressing: { address: slaac, profile: fast, dad: off }\nemulation: { attach: switch }";
    let topology = row(knobs);
    let experiment = TemporaryFile::new(&format!(
        "topology: {}\ncapture: [all]\ntimeline:\n  - call: {{ pairs: [[mn1, mn2]] }}
  - handoff: {{ moves: [[mn1, ar2], [mn1, ar3], [mn2, ar1]], interval: 500ms }}\n  - hang_up: all\n",
        topology.path().file_name().and_then(|name| name.to_str()).expect("UTF-8")
    ));
    let out = std::env::temp_dir().join(unique_name());
    let mut run = Command::new(samp_lab());
    let output =
        run.arg("-q").arg("run").arg(experiment.path()).arg("--out").arg(&out).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fields = [
        "mip6.mhtype",
        "icmpv6.opt.type",
        "icmpv6.type",
        "ipv6.nxt",
        "ipv6.routing.type",
        "mip6.auth.subtype",
        "mip6.mnid.identifier",
        "rtp",
        "_ws.malformed",
    ];
    let frames = tshark(&out.join("capture.pcapng"), fields);
    let has = |value: &str, wanted: &str| value.split(',').any(|value| value == wanted);
    let kinds = ["HoTI", "CoTI", "HoT", "CoT", "BU", "BAck"];
    for (number, what) in (1..).map(|number: u8| number.to_string()).zip(kinds) {
        assert!(frames.iter().any(|[kind, ..]| has(kind, &number)), "no {what}");
    }
    // Updates to the home agent and its answers show whose they are; those to MAPs and peers do not.
    let [signed, unsigned] = ["mn1", ""].map(|name| {
        let of_name = frames.iter().filter(|[kind, .., shown, _, _]| !kind.is_empty() && shown == name);
        of_name.map(|[kind, _, _, _, _, proof, ..]| (kind.as_str(), proof.as_str())).collect::<Vec<_>>()
    });
    for kind in ["5", "6"] {
        assert!(signed.contains(&(kind, "1")), "{signed:?}");
        assert!(unsigned.contains(&(kind, "")), "{unsigned:?}");
    }
    assert!(frames.iter().any(|[_, option, ..]| has(option, "23")), "no MAP option");
    let mut media = frames.iter().filter(|[.., rtp, _]| !rtp.is_empty());
    assert!(media.any(|[_, _, _, next, ..]| has(next, "41")), "no media in tunnels");
    let mut media = frames.iter().filter(|[.., rtp, _]| !rtp.is_empty());
    assert!(media.any(|[_, _, _, _, routing, ..]| has(routing, "2")), "no media past the home agents");
    for [_, _, error, .., malformed] in &frames {
        // Kernels do not complain of what is in tunnels.
        assert!(!has(error, "1") && !has(error, "4") && malformed.is_empty());
    }
    let summary = std::fs::read_to_string(out.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let at = |number: usize| summary["tunnels"][number]["at"].as_str();
    assert_eq!(
        [at(0), at(1), at(2)],
        [Some("mobile nodes"), Some("agents"), None],
        "{:#}",
        summary["tunnels"]
    );
    std::fs::remove_dir_all(out).expect("the run's directory");
}

#[test]
fn nothing_is_sent_from_an_address_that_is_being_checked() {
    let knobs = "protocol: mipv6\naddressing: { address: slaac, profile: fast, dad: on }\nemulation: { attach: switch }";
    assert_eq!(last_segments(&calls_go_on(knobs, &[["mn1", "ar2"], ["mn2", "ar3"]])), ["home"; 2]);
}

/// Whether a node answers at its home address.
fn answers(lab: &Lab, number: u32) -> bool {
    // From a router, so that nothing but the pinged node's own agents matters.
    let command =
        ["--lab", lab.name(), "exec", "ar2", "--", "ping", "-c", "3", "-i", "0.2", "-W", "2", &home(number)];
    run(command).status.success()
}

#[test]
fn a_dead_map_leaves_its_nodes_without_service_until_they_reach_another_one() {
    a_map_dies("");
}

#[test]
fn the_kernels_tunnels_end_with_their_agent() {
    if has_kernel_tunnels() {
        a_map_dies("emulation: { tunnels: kernel }");
    }
}

fn a_map_dies(knobs: &str) {
    let lab = Lab::up(row(&format!("protocol: hmipv6\naddressing: {{ dad: off }}\n{knobs}")).path(), &[]);
    assert!(answers(&lab, 1) && answers(&lab, 2));
    lab.json(&["kill", "s2"]);
    assert!(answers(&lab, 1) && !answers(&lab, 2), "s2 is the MAP where mn2 is");
    let handoff = lab.json(&["handoff", "mn2", "ar2"]);
    assert_eq!(handoff["missing"], Value::Array(vec![]), "{handoff:#}");
    assert!(answers(&lab, 2));
    // Nobody has another home agent.
    lab.json(&["kill", "s1"]);
    assert!(!answers(&lab, 1) && !answers(&lab, 2));
    lab.down();
}
