//! Hostile files: each is refused with exit code 3 and a position, in time and in little memory, and nothing is created.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use samp_tests::fuzz;
use samp_tests::lab::{run, stdout, unique_name};
use samp_tests::measured::{Cage, Measured, corpus, corpus_files};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::iter;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Processor time that a refusal may take.
const TIME: Duration = Duration::from_secs(1);
/// Memory that a refusal may take, in bytes.
const MEMORY: u64 = 100 << 20;
/// What a user should have to read at most, in bytes.
const MESSAGE: usize = 64 << 10;

/// That the run was a refusal within the limits.
#[track_caller]
fn assert_refused(run: &Measured, what: &str) {
    assert_eq!(run.code, Some(3), "{what}: {run:?}");
    assert!(run.cpu < TIME, "{what} took {:?}", run.cpu);
    assert!(run.memory < MEMORY, "{what} took {} bytes", run.memory);
    let said = run.stdout.len() + run.stderr.len();
    assert!(0 < said && said < MESSAGE, "{what}: {said} bytes are said");
    let obeyed = |c: char| c.is_control() && c != '\n';
    assert!(
        !run.stdout.contains(obeyed) && !run.stderr.contains(obeyed),
        "{what} reaches the terminal: {run:?}"
    );
}

/// Line and column of the first error, after the refusal was checked.
#[track_caller]
fn refused_at(cage: &Cage, file: &Path) -> (u64, u64) {
    let what = file.display().to_string();
    let run = cage.run_within(TIME, ["--format", "json", "validate", file.to_str().expect("UTF-8")]);
    assert_refused(&run, &what);
    let text = cage.run_within(TIME, ["--format", "text", "validate", file.to_str().expect("UTF-8")]);
    assert_refused(&text, &format!("{what} as text"));
    let first = &run.json()["diagnostics"][0];
    assert!(first["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {first}");
    let number = |name: &str| first[name].as_u64().unwrap_or_else(|| panic!("{what}: {first}"));
    (number("line"), number("column"))
}

#[test]
fn every_file_of_the_corpus_is_refused_where_it_is_wrong() {
    let cage = Cage::new("corpus");
    let expected = fs::read_to_string(corpus().join("expected.txt")).expect("the list");
    let mut found = String::new();
    for folder in ["experiment", "topology"] {
        for file in corpus_files(folder) {
            let (line, column) = refused_at(&cage, &file);
            let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            found += &format!("{folder}/{name} {line}:{column}\n");
        }
    }
    cage.assert_empty();
    // One line a file, so that a difference is easily seen.
    let missing: Vec<_> =
        expected.lines().filter(|line| !found.lines().any(|other| other == *line)).collect();
    let new: Vec<_> = found.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty() && new.is_empty(), "expected.txt has {missing:#?}, but found is {new:#?}");
    assert!(found.lines().count() >= 200);
}

#[test]
fn what_is_refused_creates_nothing() {
    let cage = Cage::new("creates");
    for (folder, command, option) in [("topology", "up", "--name"), ("experiment", "run", "--out")] {
        // All have been refused by the same function in the test above.
        for file in corpus_files(folder).iter().step_by(10) {
            let (name, file) = (unique_name(), file.to_str().expect("UTF-8"));
            assert_refused(&cage.run([command, file, option, &name]), file);
            assert!(!Path::new("/run/samp-lab").join(name).exists(), "{file}");
        }
    }
    cage.assert_empty();
}

/// Topologies that are as large as a file may be, or larger.
#[test]
fn large_files_are_refused_in_time() {
    const FULL: usize = 1 << 20;
    let cage = Cage::new("large");
    let file = cage.path("large.yaml");
    let refused = |what: &str, parts: &mut dyn Iterator<Item = String>, end: &str| {
        // Not in memory: a child's use of it begins with its parent's.
        let mut writer = BufWriter::new(File::create(&file).expect("a file"));
        let mut left = FULL - end.len();
        for part in parts {
            let Some(rest) = left.checked_sub(part.len()) else { break };
            writer.write_all(part.as_bytes()).expect("written");
            left = rest;
        }
        writer.write_all(end.as_bytes()).expect("written");
        writer.into_inner().expect("written");
        for format in ["json", "text"] {
            let args = ["--format", format, "validate", file.to_str().expect("UTF-8")];
            assert_refused(&cage.run_within(TIME, args), &format!("{what} as {format}"));
        }
    };
    let repeated = |what: &str, head: &str, part: &str, end: &str| {
        refused(what, &mut iter::once(head.to_owned()).chain(iter::repeat(part.to_owned())), end);
    };
    let numbered = |what: &str, head: &str, part: &dyn Fn(usize) -> String, end: &str| {
        refused(what, &mut iter::once(head.to_owned()).chain((0..).map(part)), end);
    };
    const GRID: &str = "grid: { width: 100, height: 99, link: { one_way_delay: 1ms }, server_link: { one_way_delay: 1ms } }\n";

    numbered("more nodes than fit", "nodes:\n", &|i| format!("  r{i}: {{kind: router}}\n"), "");
    numbered("bad nodes", "nodes:\n", &|i| format!("  R{i}: {{kind: x}}\n"), "");
    for (what, part) in [
        ("brackets", "["),
        ("braces", "{"),
        ("mappings in flow", "{a: "),
        ("dashes", "- "),
        ("question marks", "? "),
        ("tags", "!"),
        ("anchors", "&a "),
        ("aliases", "*a "),
        ("documents", "--- {}\n"),
        ("comments", "#\n"),
        ("blank lines", "\n"),
        ("spaces", " "),
        ("tabs", "\t"),
        ("byte order marks", "\u{feff}"),
        ("zero bytes", "\0"),
        ("carriage returns", "\r"),
        ("letters", "x"),
        ("directives", "%a\n"),
        ("the same field", "nodes: {}\n"),
    ] {
        repeated(what, "", part, "");
    }
    numbered("indentation", "", &|i| format!("{}a:\n", " ".repeat(i)), "");
    repeated("lists", "links: [", "[],", "]");
    numbered("different anchors", "links: [", &|i| format!("&a{i} x,"), "]");
    repeated("one anchor's aliases", "links: [&a x,", "*a,", "]");
    repeated("a long text's aliases", &format!("name: &a {}\nlinks: [", "x".repeat(FULL / 2)), "*a,", "]");
    repeated(
        "a long list's aliases",
        &format!("links: &a [{}]\nnodes: [", "x,".repeat(FULL / 4)),
        "*a,",
        "]",
    );
    repeated("merge keys", "nodes: {", "<<: {},", "}");
    repeated("a node twice", "nodes: {", "a: {kind: router},", "}");
    repeated("a quoted text", "\"", "\\x41", "\"");
    repeated("an open quote", "\"", "x", "");
    repeated("a long kind", "nodes: {a: {kind: ", "x", "}}");
    repeated("a long delay", "links: [{between: [a, b], one_way_delay: ", "9", "ms}]");
    repeated("a long fraction", "links: [{between: [a, b], one_way_delay: 0.", "9", "ms}]");
    repeated("a long position", "nodes: {a: {kind: access_router, position: [1e", "9", ", 1]}}");
    repeated("a link with many ends", "links: [{one_way_delay: 1ms, between: [", "a,", "]}]");
    repeated("a block scalar", "name: |\n", "  x\n", "");
    repeated(
        "the same link",
        "nodes: {a: {kind: router}, b: {kind: router}}\nlinks:\n",
        "- {between: [a, b], one_way_delay: 1ms}\n",
        "",
    );
    numbered(
        "links to nowhere",
        &format!("{GRID}links:\n"),
        &|i| format!("- {{between: [ar-0-0, ar-9-{i}], one_way_delay: 1ms}}\n"),
        "",
    );
    repeated(
        "a long end",
        &format!("{GRID}links:\n- {{between: [ar-0-0, ar-"),
        "1",
        "], one_way_delay: 1ms}\n",
    );
    numbered(
        "mobile nodes nowhere",
        &format!("{GRID}nodes:\n"),
        &|i| format!("  m{i}: {{kind: mobile_node, start: ar-{i}}}\n"),
        "",
    );

    for (name, content) in [
        (
            "small",
            "grid: {width: 2, height: 1, link: {one_way_delay: 1ms}, server_link: {one_way_delay: 1ms}}\nmobile_nodes: {count: 4}\n",
        ),
        (
            "large",
            "grid: {width: 70, height: 70, domain: {width: 9, height: 9}, link: {one_way_delay: 1ms}, server_link: {one_way_delay: 1ms}}\nmobile_nodes: {count: 5000}\n",
        ),
    ] {
        fs::write(cage.path("topology.yaml"), content).expect("written");
        let experiment = |what: &str, part: &str, end: &str, head: &str| {
            repeated(
                &format!("{what} on a {name} topology"),
                &format!("topology: topology.yaml\ntimeline:\n{head}"),
                part,
                end,
            );
        };
        experiment("empty steps", "- {}\n", "", "");
        experiment("too many handoffs", "- handoff: {count: 99999, interval: 1us}\n", "", "");
        experiment("too many calls", "- call: {count: 2}\n- hang_up: all\n", "- wait: 0s\n", "");
        experiment("calls by name", "[mn3,mn4],", "]}\n- wait: 0s\n", "- call: {pairs: [");
        experiment("calls to nobody", "[mn1,mn-9],", "]}\n", "- call: {pairs: [");
        experiment("a long callee", "1", "]]}\n", "- call: {pairs: [[mn1, mn");
        experiment(
            "handoffs by name",
            "[mn1,ar-1-0],",
            "]}\n- wait: 0s\n",
            "- handoff: {interval: 1us, moves: [",
        );
    }

    // A million nodes, and a file that only claims to be large.
    let mut writer = BufWriter::new(File::create(&file).expect("a file"));
    writeln!(writer, "nodes:").expect("written");
    (0..1_000_000).for_each(|i| writeln!(writer, "  r{i}: {{ kind: router }}").expect("written"));
    drop(writer);
    assert_eq!(refused_at(&cage, &file), (0, 0));
    File::create(&file).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    assert_eq!(refused_at(&cage, &file), (0, 0));
    cage.assert_empty();
}

/// Files that are none, by themselves and as the topology of an experiment.
#[test]
fn what_is_no_regular_file_is_refused() {
    let cage = Cage::new("special");
    let at = |name: &str| cage.path(name);
    mkfifo(&at("fifo.yaml"), Mode::S_IRWXU).expect("a FIFO");
    fs::create_dir(at("directory.yaml")).expect("a directory");
    symlink(at("loop.yaml"), at("loop.yaml")).expect("a link");
    symlink(at("pong.yaml"), at("ping.yaml")).expect("a link");
    symlink(at("ping.yaml"), at("pong.yaml")).expect("a link");
    symlink(at("nowhere"), at("dangling.yaml")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.yaml")).expect("a socket");
    for target in [
        "/dev/zero",
        "/dev/tty",
        "/dev/stdin",
        "/proc/kmsg",
        "/proc/self/mem",
        "/proc/self/environ",
        "/proc/self/fd",
        "/",
    ] {
        let name = format!("link{}.yaml", target.replace('/', "-"));
        symlink(target, at(&name)).expect("a link");
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(at("")).expect("the cage").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some());
    assert_eq!(files.len(), 15);
    files.extend(
        [
            "/dev/zero",
            "/dev/tty",
            "/dev/full",
            "/proc/kmsg",
            "/",
            ".",
            "/nowhere/x.yaml",
            "/etc/passwd/x.yaml",
        ]
        .map(PathBuf::from),
    );
    files.push(at(&"x".repeat(300)));
    files.push(at(&"x/".repeat(3000)));
    files.push(at("\u{1b}[2Jnowhere\u{202e}.yaml"));
    let experiment = at("experiment.yaml");
    for file in files {
        let (line, _) = refused_at(&cage, &file);
        // Those in /proc without a size count as empty, and that has a position.
        assert!(line <= 1, "{}", file.display());
        let quoted = file.to_str().expect("UTF-8").replace('\u{1b}', "\\e");
        fs::write(&experiment, format!("topology: \"{quoted}\"\ntimeline:\n  - wait: 1s\n"))
            .expect("written");
        assert_eq!(refused_at(&cage, &experiment).0, 1, "{}", file.display());
    }
    cage.assert_empty();
}

/// What a file that was never meant for us says is not repeated.
#[test]
fn the_content_of_a_strange_file_is_not_told() {
    let cage = Cage::new("secret");
    fs::write(cage.path("secret"), "root:$6$hash:19000:0\n").expect("written");
    let experiment = cage.path("experiment.yaml");
    fs::write(&experiment, "topology: secret\ntimeline:\n  - wait: 1s\n").expect("written");
    for format in ["json", "text"] {
        let run = cage.run(["--format", format, "validate", experiment.to_str().expect("UTF-8")]);
        assert_refused(&run, format);
        assert!(!format!("{run:?}").contains("hash"), "{run:?}");
    }
}

#[test]
fn the_fuzz_targets_accept_the_corpus() {
    for file in corpus_files("topology").iter().chain(&corpus_files("experiment")) {
        let data = fs::read(file).expect("a file");
        fuzz::topology(&data);
        fuzz::experiment(&data);
    }
    for file in corpus_files("sip") {
        fuzz::sip(&fs::read(file).expect("a file"));
    }
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 6] = [
        ("sip", fuzz::server),
        ("server", fuzz::server),
        ("overlay", fuzz::overlay),
        ("control", fuzz::control),
        ("mobility", fuzz::mobility),
        ("trace", fuzz::trace),
    ];
    for (folder, target) in targets {
        for file in corpus_files(folder) {
            target(&fs::read(file).expect("a file"));
        }
    }
}

/// A topology file of a few nodes, most often one that is accepted.
fn small_topology() -> impl Strategy<Value = String> {
    let delay = prop_oneof![Just("0ms"), Just("500us"), Just("3.25ms"), Just("20ms")];
    let extra = prop_oneof![
        Just(""),
        Just(", loss: 0.1%"),
        Just(", rate: 10mbit, queue: 5"),
        Just(", duplicate: 1%, loss: gemodel 1% 30%"),
        Just(", reverse: { one_way_delay: 7ms }")
    ];
    let links = prop_oneof![Just("auto"), Just("netem"), Just("userspace")];
    let attach = prop_oneof![Just("auto"), Just("switch"), Just("move")];
    let routers = prop::collection::vec((any::<bool>(), 0usize..4, delay, extra), 1..5);
    let servers = prop::collection::vec(0usize..5, 1..4);
    let nodes = prop::collection::vec(0usize..5, 0..4);
    (routers, servers, nodes, links, attach, any::<u64>()).prop_map(
        |(routers, servers, nodes, links, attach, seed)| {
            let mut text =
                format!("seed: {seed}\nemulation: {{ links: {links}, attach: {attach} }}\nnodes:\n");
            let mut wires = String::from("links:\n");
            for (number, (access, before, delay, extra)) in routers.iter().enumerate() {
                let kind = if *access || number == 0 { "access_router" } else { "router" };
                text += &format!("  r{number}: {{ kind: {kind} }}\n");
                if number > 0 {
                    wires += &format!(
                        "  - {{ between: [r{}, r{number}], one_way_delay: {delay}{extra} }}\n",
                        before % number
                    );
                }
            }
            for (number, router) in servers.iter().enumerate() {
                text += &format!("  s{number}: {{ kind: sip_server }}\n");
                wires += &format!(
                    "  - {{ between: [r{}, s{number}], one_way_delay: 1ms }}\n",
                    router % routers.len()
                );
            }
            for (number, router) in nodes.iter().enumerate() {
                let access: Vec<_> = (0..routers.len()).filter(|&at| at == 0 || routers[at].0).collect();
                text += &format!(
                    "  mn{number}: {{ kind: mobile_node, start: r{} }}\n",
                    access[router % access.len()]
                );
            }
            text + &wires
        },
    )
}

/// A grid with numbers that are often too large or otherwise wrong.
fn grid() -> impl Strategy<Value = String> {
    let number = || prop_oneof![1u64..12, 0u64..200, any::<u64>()];
    (number(), number(), number(), number(), number()).prop_map(|(width, height, across, down, count)| {
        format!(
            "grid:\n  width: {width}\n  height: {height}\n  domain: {{ width: {across}, height: {down} }}\n  \
             link: {{ one_way_delay: 1ms }}\n  server_link: {{ one_way_delay: 1ms }}\nmobile_nodes: {{ count: {count} }}\n"
        )
    })
}

/// A text with a few bytes changed.
fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..3), 0..6);
    (text, changes).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (place, byte, how) in changes {
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.split_off(place.max(1))),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn accepted_topologies_have_a_plan(text in prop_oneof![small_topology(), grid()]) {
        fuzz::topology(text.as_bytes());
    }

    #[test]
    fn damaged_files_never_panic(bytes in damaged(prop_oneof![small_topology(), grid()])) {
        fuzz::topology(&bytes);
        fuzz::experiment(&bytes);
    }
}

#[test]
fn accepted_topologies_come_up_and_go() {
    // The same every time: what is looked for here is not found by luck.
    let mut runner = TestRunner::deterministic();
    let cage = Cage::new("accepted");
    let file = cage.path("accepted.yaml");
    for _ in 0..24 {
        let text = small_topology().new_tree(&mut runner).expect("a topology").current();
        fs::write(&file, &text).expect("written");
        let name = unique_name();
        let up = run(["--quiet", "up", file.to_str().expect("UTF-8"), "--name", &name]);
        let down = up.status.success().then(|| stdout(run(["down", &name])));
        assert!(
            down.is_some() || up.status.code() == Some(4),
            "{}\n{text}",
            String::from_utf8_lossy(&up.stderr)
        );
    }
}
