//! Captures: Wireshark's own dissectors understand them, records agree with them, and they end in good order.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use samp_tests::Lab;
use samp_tests::lab::{samp_lab, unique_name};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

const TOPOLOGY: &str = "
nodes:
  ar1: { kind: access_router }
  ar2: { kind: access_router }
  s1: { kind: sip_server }
  s2: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
  mn2: { kind: mobile_node, start: ar2 }
links:
  - { between: [ar1, ar2], one_way_delay: 2ms }
  - { between: [ar1, s1], one_way_delay: 1ms }
  - { between: [ar2, s2], one_way_delay: 1ms }
";
const EXPERIMENT: &str = "
topology: topology.yaml
capture: [all]
timeline:
  - call: { pairs: [[mn1, mn2]] }
  - handoff: { moves: [[mn1, ar2], [mn2, ar1], [mn1, ar1], [mn2, ar2]], interval: 200ms }
  - hang_up: all
";

/// A directory of this test's own.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique_name());
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join("topology.yaml"), TOPOLOGY).expect("a file");
        fs::write(path.join("experiment.yaml"), EXPERIMENT).expect("a file");
        Self(path)
    }

    fn lab(&self) -> Lab {
        Lab::up(self.0.join("topology.yaml"), &[])
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What tshark makes of a capture: these fields of each frame that passes its filter.
#[track_caller]
fn tshark<const N: usize>(file: &Path, filter: &str, fields: [&str; N]) -> Vec<[String; N]> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "occurrence=f", "-Y", filter, "-r"]).arg(file);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("tshark can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    lines.map(|fields| fields.try_into().expect("so many fields")).collect()
}

/// A message as records and captures have it: node, whether it was sent, peer, summary, Call-ID.
type Message = (String, bool, String, String, String);

/// When each message was, in nanoseconds; those that come more than once, as retransmissions do, are left out.
fn once(messages: impl Iterator<Item = (Message, i128)>) -> BTreeMap<Message, i128> {
    let mut all: BTreeMap<Message, Vec<i128>> = BTreeMap::new();
    messages.for_each(|(message, at)| all.entry(message).or_default().push(at));
    all.into_iter()
        .filter(|(_, times)| times.len() == 1)
        .map(|(message, times)| (message, times[0]))
        .collect()
}

fn in_records(directory: &Path) -> BTreeMap<Message, i128> {
    let records = fs::read_to_string(directory.join("records.jsonl")).expect("records");
    once(records.lines().filter_map(|line| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| record[name].as_str().expect("a text").to_owned();
        let is_sent = match record["event"].as_str().expect("an event") {
            "message_sent" => true,
            "message_received" => false,
            _ => return None,
        };
        let at = i128::from(record["at"].as_u64().expect("nanoseconds"));
        Some(((text("node"), is_sent, text("peer"), text("summary"), text("call")), at))
    }))
}

fn in_capture(directory: &Path) -> BTreeMap<Message, i128> {
    let fields = [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.time_epoch",
        "ip.src",
        "ip.dst",
        "sip.Method",
        "sip.Status-Code",
        "sip.CSeq.seq",
        "sip.CSeq.method",
        "sip.Call-ID",
    ];
    let frames = tshark(&directory.join("capture.pcapng"), "sip && sip.CSeq.method != \"OVERLAY\"", fields);
    once(frames.into_iter().map(
        |[interface, direction, time, from, to, method, status, number, of, call]| {
            let node = interface.split(':').next().expect("node:interface").to_owned();
            let is_sent = match direction.trim_start_matches("0x").parse::<u32>() {
                Ok(1) => false,
                Ok(2) => true,
                _ => panic!("{interface} has no direction: {direction}"),
            };
            let summary = if method.is_empty() {
                format!("{status} {of} {number}")
            } else {
                format!("{method} {number}")
            };
            let (seconds, fraction) = time.split_once('.').expect("a fraction");
            assert_eq!(fraction.len(), 9, "nanoseconds: {time}");
            let at: i128 = format!("{seconds}{fraction}").parse().expect("digits");
            ((node, is_sent, if is_sent { to } else { from }, summary, call), at)
        },
    ))
}

/// How far each message in the records is from the same in the capture, in nanoseconds, in order.
///
/// What a server sends over netem is captured when it leaves netem, so only mobile nodes count there.
fn differences(directory: &Path) -> Vec<i128> {
    let provenance = fs::read(directory.join("provenance.json")).expect("provenance");
    let provenance: Value = serde_json::from_slice(&provenance).expect("JSON");
    let offset = i128::from(provenance["capture"]["monotonic_offset"].as_i64().expect("nanoseconds"));
    let captured = in_capture(directory);
    let recorded = in_records(directory).into_iter();
    let counts = |(node, is_sent, ..): &Message| !is_sent || node.starts_with("mn");
    let both = recorded.filter(|(message, _)| counts(message)).filter_map(|(message, at)| {
        let captured = captured.get(&message)?;
        Some((captured - (at + offset)).abs())
    });
    let mut differences: Vec<_> = both.collect();
    differences.sort();
    differences
}

#[test]
fn a_run_dissects_and_its_records_agree_with_its_capture() {
    /// On a busy machine agents wait for a processor before they write a record, so the messages that were disturbed
    /// least count: a quarter of them.
    const TRIES: usize = 5;
    const AGREE: i128 = 100_000;
    let mut quartiles = Vec::new();
    for number in 0..TRIES {
        let directory = Directory::new();
        let out = directory.0.join("run");
        let mut run = Command::new(samp_lab());
        run.arg("-q").arg("run").arg(directory.path("experiment.yaml")).arg("--out").arg(&out);
        let output = run.output().expect("samp-lab can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        if number == 0 {
            dissects(&out.join("capture.pcapng"));
        }
        let differences = differences(&out);
        assert!(differences.len() >= 20, "{} messages in records and capture", differences.len());
        let quartile = differences[differences.len() / 4];
        if quartile <= AGREE {
            return;
        }
        quartiles.push(quartile);
    }
    panic!("a quarter of the records differs from its capture by {quartiles:?} ns and less");
}

/// SIP, RTP and the servers' own messages, at interfaces that have names.
fn dissects(file: &Path) {
    let sip = tshark(file, "sip", ["frame.interface_name", "sip.Method"]);
    let has = |interface: &str, method: &str| sip.iter().any(|[i, m]| i == interface && m == method);
    for (interface, method) in [
        ("mn1:radio0", "INVITE"),
        ("mn2:radio0", "INVITE"),
        ("mn1:radio0", "REGISTER"),
        ("s1:to-ar1", "OVERLAY"),
        ("ar2:to-s2", "OVERLAY"),
    ] {
        assert!(has(interface, method), "no {method} at {interface}: {sip:?}");
    }
    // Which server mn1's anchor is depends on who answers first.
    assert!(has("s1:to-ar1", "INVITE") || has("s2:to-ar2", "INVITE"), "no INVITE at a server: {sip:?}");
    let rtp = tshark(file, "rtp", ["frame.interface_name", "rtp.ssrc"]);
    assert!(rtp.iter().filter(|[interface, _]| interface == "mn2:radio0").count() > 20, "{}", rtp.len());
    assert_eq!(tshark(file, "_ws.malformed", ["frame.number"]), [] as [[String; 1]; 0]);
}

/// `capture` in the background.
struct Capture {
    child: Child,
}

impl Capture {
    /// Returns when it captures.
    #[track_caller]
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = Command::new(samp_lab());
        command.args(["--lab", lab.name(), "capture"]).args(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("samp-lab can be started");
        let mut line = String::new();
        let mut said = BufReader::new(child.stderr.as_mut().expect("a pipe"));
        said.read_line(&mut line).expect("UTF-8");
        assert!(line.starts_with("capturing at "), "{line}");
        Self { child }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    /// Waits for its end; the test runner ends a test that waits for ever.
    fn end(mut self) -> ExitStatus {
        self.child.wait().expect("a child")
    }
}

#[test]
fn a_capture_ends_at_its_limit_on_a_signal_and_with_its_lab() {
    let directory = Directory::new();
    let lab = directory.lab();
    let frames = |name: &str| tshark(&directory.0.join(name), "frame", ["frame.interface_name"]);

    let counted = directory.path("counted.pcapng");
    let answer = lab.json(&["-q", "capture", "s1--ar1", "s2--ar2", "-c", "5", "-w", &counted]);
    assert_eq!((answer["interfaces"].as_u64(), answer["frames"].as_u64()), (Some(4), Some(5)), "{answer}");
    assert_eq!(frames("counted.pcapng").len(), 5);

    let short = directory.path("short.pcapng");
    let answer = lab.json(&["-q", "capture", "mn1", "-G", "300ms", "-w", &short]);
    assert_eq!(answer["interfaces"], 1, "{answer}");

    // Only what passes one node, while it pings another.
    let capture = Capture::start(&lab, &["mn1", "-w", &directory.path("signal.pcapng")]);
    let address = lab.json(&["inspect", "mn2"])["address"].as_str().expect("an address").to_owned();
    lab.exec("mn1", &["ping", "-c", "3", "-i", "0.05", &address]);
    capture.signal(Signal::SIGINT);
    assert!(capture.end().success());
    let pings = tshark(&directory.0.join("signal.pcapng"), "icmp", ["frame.interface_name"]);
    assert!(pings.len() >= 6 && pings.iter().all(|[name]| name == "mn1:radio0"), "{pings:?}");

    let capture = Capture::start(&lab, &["all", "-w", &directory.path("down.pcapng")]);
    lab.json(&["call", "mn1", "mn2"]);
    lab.down();
    assert!(capture.end().success());
    let names = frames("down.pcapng");
    for interface in ["mn1:radio0", "mn2:radio0", "s1:to-ar1", "ar1:to-ar2", "ar2:to-ar1"] {
        assert!(names.iter().any(|[name]| name == interface), "nothing at {interface}");
    }
}

#[test]
fn a_capture_is_piped_and_ends_with_its_reader() {
    let directory = Directory::new();
    let lab = directory.lab();
    let mut capture = Capture::start(&lab, &["all"]);
    let reader = capture.child.stdout.take().expect("a pipe");
    let seen = {
        // It holds the pipe as long as it lives.
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-l", "-c", "3", "-r", "-"]).stdin(reader);
        tshark.output().expect("tshark can be started")
    };
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    assert_eq!(seen.stdout.iter().filter(|&&byte| byte == b'\n').count(), 3);
    assert!(capture.end().success());

    // Also when nothing passes that it could notice it by.
    let mut capture = Capture::start(&lab, &["mn1"]);
    let mut first = [0; 4];
    capture.child.stdout.take().expect("a pipe").read_exact(&mut first).expect("the header");
    assert_eq!(first, [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(capture.end().success());
    lab.down();
}

#[test]
fn what_is_not_there_is_not_captured() {
    let directory = Directory::new();
    let lab = directory.lab();
    for (subject, error) in [
        ("mn9", "there is no node `mn9`"),
        ("ar1--s2", "there is no wired link `ar1--s2`"),
        ("mn1--ar1", "there is no wired link `mn1--ar1`"),
    ] {
        let output = lab.run(&["capture", subject, "-w", "/dev/null"]);
        assert_eq!(output.status.code(), Some(1));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(answer["error"], error);
    }
    lab.down();
}
