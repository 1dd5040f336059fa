//! Every command on a lab, with the real program; as the tests' own user and, when that is root, as an ordinary one.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use samp_tests::lab::unique_name;
use samp_tests::{Events, samp_lab};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// An unprivileged uid that everybody has.
const NOBODY: u32 = 65534;
const LINE: &str = include_str!("../../topologies/line.yaml");
const LIMIT: Duration = Duration::from_secs(20);

/// Somebody who uses samp-lab in a directory of their own; dropping it ends all their labs of this name.
struct User {
    program: PathBuf,
    dir: PathBuf,
    lab: String,
    is_other: bool,
}

impl User {
    /// Runs a test for whoever runs the tests and, where that is root, for an ordinary user.
    fn each(test: impl Fn(&User)) {
        test(&User::new(false));
        if geteuid().is_root() {
            test(&User::new(true));
        }
    }

    fn new(is_other: bool) -> Self {
        let lab = unique_name();
        let dir = std::env::temp_dir().join(format!("samp-{lab}"));
        fs::create_dir(&dir).expect("a scratch directory");
        fs::write(dir.join("line.yaml"), LINE).expect("a topology");
        // Where the tests are built, others may not look.
        let mut program = samp_lab();
        if is_other {
            let copy = dir.join("program");
            fs::copy(&program, &copy).expect("a copy of the program");
            program = copy;
            chown(&dir, Some(NOBODY), Some(NOBODY)).expect("root may give it away");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("its own directory");
        Self { program, dir, lab, is_other }
    }

    /// A command of this user's, not of samp-lab.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let mut command = if self.is_other {
            let id = NOBODY.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
            command.env("XDG_RUNTIME_DIR", &self.dir).env("HOME", &self.dir);
            command
        } else {
            Command::new(program)
        };
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env("SAMP_LAB", &self.lab)
            .env("SHELL", "/bin/sh");
        command
    }

    fn samp_lab(&self, args: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command.args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.samp_lab(args).output().expect("samp-lab starts")
    }

    /// Standard output of a command that must end with this code.
    #[track_caller]
    fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let [out, err] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(output.status.code(), Some(code), "{args:?}:\n{out}{err}");
        out
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let out = self.expect(0, &[&["--format", "json"], args].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in:\n{out}"))
    }

    fn up(&self) {
        self.expect(0, &["-q", "up", "line.yaml", "--name", &self.lab]);
    }

    fn supervisor(&self) -> Option<Pid> {
        let labs: Value = serde_json::from_str(&self.expect(0, &["--format", "json", "ps"])).expect("JSON");
        let lab = labs.as_array().expect("a list").iter().find(|lab| lab["name"] == self.lab.as_str())?;
        Some(Pid::from_raw(lab["supervisor_pid"].as_i64().expect("a number") as i32))
    }

    fn edit(&self, from: &str, to: &str) {
        assert!(LINE.contains(from));
        fs::write(self.dir.join("line.yaml"), LINE.replace(from, to)).expect("an edited topology");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.run(&["down", &self.lab]);
        // It may hold what an assertion wants to be looked at.
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.dir).expect("the scratch directory");
        }
    }
}

#[track_caller]
fn ms(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no time"))
}

#[test]
fn up_again_changes_nothing_and_an_edited_file_is_a_conflict() {
    User::each(|user| {
        let first = user.json(&["-q", "up", "line.yaml", "--name", &user.lab]);
        assert_eq!(first["changed"], true);
        let supervisor = user.supervisor();
        let again = user.json(&["-q", "up", "line.yaml", "--name", &user.lab]);
        assert_eq!((&again["changed"], user.supervisor()), (&Value::from(false), supervisor));
        assert!(user.expect(0, &["up", "line.yaml", "--name", &user.lab]).contains("up already"));

        user.edit("one_way_delay: 5ms", "one_way_delay: 8ms");
        let refused = user.expect(5, &["--format", "json", "up", "line.yaml", "--name", &user.lab]);
        let refused: Value = serde_json::from_str(&refused).expect("JSON");
        let expected = serde_json::json!(["- links.ar1--ar2: 5ms", "+ links.ar1--ar2: 8ms"]);
        assert_eq!(refused["difference"], expected);
        assert!(refused["hint"].as_str().expect("a hint").contains("--recreate"));
        assert_eq!(user.supervisor(), supervisor, "the lab is still the old one");

        user.expect(0, &["-q", "up", "line.yaml", "--name", &user.lab, "--recreate"]);
        assert_ne!(user.supervisor(), supervisor);
        assert_eq!(user.json(&["link", "ar1--ar2"])[0]["there"]["one_way_delay"]["nanos"], 8_000_000);
    });
}

#[test]
fn links_change_go_down_and_come_up() {
    User::each(|user| {
        user.up();
        let ping = |count: &str| {
            user.run(&[
                "exec",
                "ar1",
                "--",
                "ping",
                "-n",
                "-q",
                "-c",
                count,
                "-i",
                "0.05",
                "-W",
                "1",
                "172.16.0.2",
            ])
        };
        let median = || {
            let out = ping("9");
            let out = String::from_utf8_lossy(&out.stdout).into_owned();
            let smallest = out.split("= ").nth(1).and_then(|times| times.split('/').next());
            smallest.and_then(|time| time.parse::<f64>().ok()).unwrap_or_else(|| panic!("no times in {out}"))
        };
        assert!((10.0..30.0).contains(&median()));
        user.json(&["link", "ar2--ar1", "--delay", "20ms", "--one-way"]);
        let changed = user.json(&["link", "ar1--ar2", "--delay", "10ms", "--one-way"]);
        assert_eq!(changed[0]["link"], "ar1--ar2");
        assert_eq!(changed[0]["there"]["one_way_delay"]["nanos"], 10_000_000);
        assert_eq!(changed[0]["back"]["one_way_delay"]["nanos"], 20_000_000);
        assert!((30.0..60.0).contains(&median()));
        user.json(&[
            "link",
            "ar1--ar2",
            "--jitter",
            "2ms normal",
            "--loss",
            "gemodel 1% 30%",
            "--duplicate",
            "100%",
        ]);
        assert!(String::from_utf8_lossy(&ping("9").stdout).contains("duplicates"));
        user.json(&["link", "ar1--ar2", "--jitter", "0", "--loss", "0%", "--duplicate", "0%"]);

        assert_eq!(user.json(&["link", "ar1--ar2", "down"])[0]["up"], false);
        assert!(!ping("1").status.success());
        user.expect(5, &["link", "ar1--ar2", "down"]);
        assert_eq!(user.json(&["link", "ar1--ar2", "up"])[0]["up"], true);
        assert!(ping("1").status.success(), "and at once");
        let moved = user.json(&["handoff", "mn1", "ar2"]);
        assert_eq!(moved["missing"], serde_json::json!([]), "{moved:#}");

        // Two wired links and two radios.
        assert_eq!(user.json(&["link"]).as_array().map(Vec::len), Some(4));
        user.expect(1, &["link", "ar1--mn1", "--delay", "1ms"]);
        user.expect(1, &["link", "ar1--ar2", "--jitter", "30ms"]);
        user.expect(2, &["link", "ar1--ar2", "--delay", "1"]);
        user.expect(2, &["link", "ar1--ar2", "--loss", "gemodel 1%"]);
        user.expect(2, &["link", "ar1--ar2", "down", "--loss", "1%"]);
    });
}

#[test]
fn a_paused_agent_says_nothing_until_it_is_resumed() {
    User::each(|user| {
        user.up();
        user.json(&["pause", "s1"]);
        assert_eq!(user.json(&["inspect", "s1"])["agent"], "paused");
        let mut handoff = user.samp_lab(&["handoff", "mn1", "ar2"]);
        let handoff = handoff.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut events = Events::from(user.samp_lab(&["events", "-f"]));
        events.wait("a pause", |record| record["event"] == "paused");
        for _ in 0..2 {
            events.wait("a REGISTER that nobody answers", |record| {
                record["node"] == "mn1"
                    && record["event"] == "message_sent"
                    && record["summary"].as_str().is_some_and(|text| text.starts_with("REGISTER"))
            });
        }
        user.json(&["resume", "s1"]);
        assert_eq!(user.json(&["inspect", "s1"])["agent"], "running");
        let handoff = handoff.wait_with_output().expect("it ends");
        assert!(handoff.status.success(), "SIP sends again: {}", String::from_utf8_lossy(&handoff.stdout));
        user.expect(1, &["pause", "ar1"]);
    });
}

#[test]
fn calls_and_handoffs_can_be_traced() {
    User::each(|user| {
        user.up();
        let call = user.json(&["call", "mn1", "mn2"])["call"].as_str().expect("a Call-ID").to_owned();
        // The call stands when both hear each other; the ACK may arrive a little later.
        let deadline = Instant::now() + LIMIT;
        let arrived = |ladder: &Value| {
            let rungs = ladder["rungs"].as_array().expect("rungs");
            rungs.iter().all(|rung| rung["what"] == "note" || rung["one_way_ms"].is_number())
        };
        let ladder = loop {
            let ladder = user.json(&["trace", &call]);
            if arrived(&ladder) {
                break ladder;
            }
            assert!(Instant::now() < deadline, "something is lost: {ladder:#}");
        };
        assert_eq!(ladder["nodes"], serde_json::json!(["mn1", "s1", "mn2"]));
        let rungs = ladder["rungs"].as_array().expect("rungs");
        let messages: Vec<_> = rungs.iter().filter(|rung| rung["what"] == "message").collect();
        let invite = messages.iter().find(|rung| rung["summary"] == "INVITE 1" && rung["from"] == "s1");
        let invite = invite.expect("the INVITE that the server passes on");
        assert_eq!(invite["to"], "mn2");
        // s1 – ar1 – ar2 – mn2: 0.5 + 5 + 1 ms.
        assert!((6.5..100.0).contains(&ms(&invite["one_way_ms"])), "{invite}");
        let text = user.expect(0, &["trace", &call]);
        assert!(text.contains("|-------->|") && text.contains("call established"), "{text}");

        user.json(&["handoff", "mn1", "ar2"]);
        let ladder = user.json(&["trace", "mn1"]);
        assert_eq!(user.json(&["trace", "mn1/1"]), ladder);
        let rungs = ladder["rungs"].as_array().expect("rungs");
        assert_eq!((&rungs[0]["what"], &rungs[0]["text"]), (&"note".into(), &"detached from ar1".into()));
        for summary in ["REGISTER", "INVITE 2", "200 INVITE 2"] {
            let found = rungs.iter().any(|rung| rung["summary"].as_str().unwrap_or("").starts_with(summary));
            assert!(found, "no {summary}: {ladder:#}");
        }
        assert!(user.json(&["trace", "mn2/0"])["rungs"].is_array());
        user.expect(1, &["trace", "no-such-call"]);
        user.expect(1, &["trace", "mn1/7"]);
        user.expect(2, &["trace", "mn1/x"]);
    });
}

#[test]
fn ring_events_and_graph_show_the_lab_as_it_is() {
    User::each(|user| {
        user.up();
        user.json(&["handoff", "mn1", "ar2"]);
        let ring = user.json(&["ring"]);
        assert_eq!((&ring[0]["server"], &ring[0]["home_bindings"]), (&"s1".into(), &2.into()));
        assert!(user.expect(0, &["ring"]).contains("predecessor"));

        let events = user.expect(0, &["events"]);
        let events: Vec<Value> =
            events.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!((&events[0]["event"], &events[0]["name"]), (&"state".into(), &user.lab.as_str().into()));
        assert!(events[1..].iter().any(|event| event["event"] == "message_sent" && event["node"] == "mn1"));

        assert!(user.expect(0, &["graph"]).contains("\"mn1\" -- \"ar2\" [style=dashed]"));
        assert!(user.expect(0, &["graph", &user.lab, "--output", "mermaid"]).starts_with("graph TD"));
        assert!(user.expect(0, &["graph", "line.yaml", "--output", "svg"]).starts_with("<svg"));
        assert!(user.expect(0, &["graph", "line.yaml"]).contains("\"mn1\" -- \"ar1\" [style=dashed]"));
        assert_eq!(user.json(&["graph", "--output", "svg"])["output"], "svg");

        // Its only server leaves the ring.
        user.expect(0, &["leave", "s1"]);
        let mut events = user.samp_lab(&["events", "-f"]).stdout(Stdio::piped()).spawn().expect("it starts");
        await_line(&mut events, |line| line.contains("ring_left"));
        events.kill().and_then(|()| events.wait()).expect("it ends");
        assert_eq!(user.json(&["ring"]).as_array().map(Vec::len), Some(0));
    });
}

/// Reads lines until one fits.
fn await_line(child: &mut Child, fits: impl Fn(&str) -> bool) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    lines.find_map(|line| line.ok().filter(|line| fits(line))).expect("such a line comes")
}

#[track_caller]
fn await_end(mut child: Child) {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().expect("a status").is_none() {
        assert!(Instant::now() < deadline, "it follows a lab that has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(child.wait().expect("a status").success());
}

#[test]
fn following_goes_on_until_the_lab_ends() {
    User::each(|user| {
        user.up();
        let follow = |args: &[&str]| user.samp_lab(args).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut events = follow(&["events", "-f"]);
        await_line(&mut events, |line| line.contains("\"event\":\"state\""));
        let mut logs = follow(&["--format", "json", "logs", "mn1", "-f"]);
        await_line(&mut logs, |line| line.contains("sockets are open"));
        user.json(&["handoff", "mn1", "ar2"]);
        await_line(&mut events, |line| line.contains("detached") && line.contains("mn1"));
        // A crash is an end, too.
        kill(user.supervisor().expect("it runs"), Signal::SIGKILL).expect("killed");
        await_end(events);
        await_end(logs);
        user.expect(0, &["down", &user.lab]);
        user.expect(1, &["down", &user.lab]);
    });
}

#[test]
fn nodes_can_be_entered_with_and_without_samp_lab() {
    User::each(|user| {
        user.up();
        for node in ["mn1", "ar1"] {
            let inside = user.expect(0, &["exec", node, "--", "readlink", "/proc/self/ns/net"]);
            let nsenter = user.json(&["inspect", node])["nsenter"].as_str().expect("a line").to_owned();
            assert!(user.expect(0, &["inspect", node]).contains(&nsenter));
            let script = format!("{nsenter} readlink /proc/self/ns/net");
            let entered = user.command("/bin/sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&entered.stdout), inside, "{script}: {entered:?}");

            let mut shell = user.samp_lab(&["shell", node]);
            let mut shell =
                shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell inside");
            let script = b"hostname; readlink /proc/self/ns/net; exit 7\n";
            shell.stdin.take().expect("piped").write_all(script).expect("it reads");
            let shell = shell.wait_with_output().expect("it ends");
            assert_eq!(shell.status.code(), Some(7));
            assert_eq!(String::from_utf8_lossy(&shell.stdout), format!("{node}\n{inside}"));
        }
    });
}

#[test]
fn a_shell_at_a_terminal_has_job_control() {
    User::each(|user| {
        user.up();
        let command = format!("{} shell mn1", user.program.display());
        let mut script = user.command("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("script(1)");
        // In the foreground: not stopped at its first read. With jobs, whose numbers it tells.
        let input = b"sleep 60 &\njobs\nkill %1\nexit 7\n";
        script.stdin.take().expect("piped").write_all(input).expect("it reads");
        let end = script.wait_with_output().expect("it ends");
        let shown = String::from_utf8_lossy(&end.stdout);
        assert_eq!(end.status.code(), Some(7), "{shown}");
        assert!(shown.contains("Running") && !shown.contains("can't access tty"), "{shown}");
    });
}

#[test]
fn down_needs_no_file_and_no_living_lab() {
    User::each(|user| {
        user.up();
        fs::remove_file(user.dir.join("line.yaml")).expect("the topology");
        kill(user.supervisor().expect("it runs"), Signal::SIGKILL).expect("killed");
        user.expect(0, &["down", &user.lab]);
        user.expect(1, &["down", &user.lab]);
    });
}

#[test]
fn down_all_ends_the_living_and_the_dead() {
    // Root's labs are those of other tests, too.
    if !geteuid().is_root() {
        return;
    }
    let user = User::new(true);
    user.up();
    let second = format!("{}-b", user.lab);
    user.expect(0, &["-q", "up", "line.yaml", "--name", &second]);
    kill(user.supervisor().expect("it runs"), Signal::SIGKILL).expect("killed");
    assert_eq!(user.json(&["-q", "down", "--all"])["down"], serde_json::json!([user.lab, second]));
    assert_eq!(user.json(&["ps"]), serde_json::json!([]));
    assert_eq!(user.json(&["-q", "down", "--all"])["down"], serde_json::json!([]));
}

#[test]
fn a_signal_ends_up_with_its_lab_or_not_at_all() {
    User::each(|user| {
        user.up();
        let started = Instant::now();
        user.expect(0, &["down", &user.lab]);
        user.up();
        let usual = started.elapsed();
        user.expect(0, &["down", &user.lab]);
        let mut interrupted = 0;
        for round in 0..24 {
            let mut up = user.samp_lab(&["-q", "up", "line.yaml", "--name", &user.lab]);
            let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            // Most of all around the moment when the lab has come up.
            std::thread::sleep(usual.mul_f64(0.2 + 0.05 * f64::from(round)));
            // `setpriv` has become samp-lab. Who has ended already is a zombie.
            kill(Pid::from_raw(up.id() as i32), Signal::SIGINT).expect("a process or a zombie");
            match up.wait().expect("a status").code() {
                Some(0) => user.expect(0, &["-q", "down", &user.lab]),
                Some(130) => {
                    interrupted += 1;
                    user.expect(1, &["down", &user.lab])
                }
                // Before it has caught the signal.
                None => user.expect(1, &["down", &user.lab]),
                other => panic!("round {round}: {other:?}"),
            };
        }
        assert!(interrupted > 0, "at least one must hit a lab that comes up");
    });
}

#[test]
fn exhaustion_is_6_and_an_invalid_measurement_7() {
    User::each(|user| {
        let limited =
            format!("ulimit -n 16; exec {} -q up line.yaml --name {}", user.program.display(), user.lab);
        let limited = user.command("/bin/sh").args(["-c", &limited]).output().expect("a shell");
        assert_eq!(limited.status.code(), Some(6), "{}", String::from_utf8_lossy(&limited.stderr));
        user.run(&["down", &user.lab]);

        let experiment = "topology: line.yaml\ntimeline:\n  - wait: 3s\n";
        fs::write(user.dir.join("killed.yaml"), experiment).expect("an experiment");
        let mut run = user.samp_lab(&["run", "killed.yaml", "--out", "out", "--format", "json"]);
        let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(run.stderr.take().expect("piped")).lines();
        let begins = lines.any(|line| line.is_ok_and(|line| line.contains("carrying out")));
        assert!(begins, "the schedule begins");
        let lab = format!("killed-{}", run.id());
        user.expect(0, &["--lab", &lab, "kill", "mn1"]);
        drop(lines);
        let end = run.wait_with_output().expect("it ends");
        assert_eq!(end.status.code(), Some(7));
        let summary: Value = serde_json::from_slice(&end.stdout).expect("JSON");
        assert!(summary["invalid_because"][0].as_str().expect("a reason").contains("mn1"), "{summary:#}");
    });
}

#[test]
fn a_missing_privilege_is_4() {
    if !geteuid().is_root() {
        return;
    }
    let user = User::new(true);
    let denied =
        user.samp_lab(&["up", "line.yaml"]).env("XDG_RUNTIME_DIR", "/root").output().expect("it starts");
    assert_eq!(denied.status.code(), Some(4), "{}", String::from_utf8_lossy(&denied.stderr));
}

#[test]
fn every_option_can_be_set_in_the_environment() {
    User::each(|user| {
        let mut up = user.samp_lab(&["up", "line.yaml"]);
        up.env("SAMP_LAB_NAME", &user.lab).env("SAMP_LAB_FORMAT", "json").env("SAMP_LAB_QUIET", "1");
        let up =
            up.env("SAMP_LAB_LINKS", "userspace").env("SAMP_LAB_ATTACH", "move").output().expect("it starts");
        let (out, err) = (String::from_utf8_lossy(&up.stdout), String::from_utf8_lossy(&up.stderr));
        assert_eq!((up.status.code(), err.as_ref()), (Some(0), ""), "{out}");
        let up: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((&up["lab"], &up["emulation"]["attach"]), (&user.lab.as_str().into(), &"move".into()));
    });
}
