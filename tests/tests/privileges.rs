//! What an agent may do, and who may talk to a lab.

use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::geteuid;
use samp_tests::lab::{TemporaryFile, has_kernel_tunnels, run, stdout, unique_name};
use samp_tests::{Lab, samp_lab, topology};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Whose agents can be somebody else: `nobody`.
const NOBODY: u32 = 65534;
/// Who runs labs without root when these tests are root, and who may not touch them.
const ORDINARY_USERS: [u32; 2] = [64_124, 64_125];
/// CAP_NET_ADMIN in a mask of /proc.
const NET_ADMIN: u64 = 1 << 12;

/// samp-lab as a user with a runtime directory of its own.
struct User {
    id: u32,
    dir: PathBuf,
}

impl User {
    /// An ordinary user with a fresh runtime directory; it goes with the user.
    fn ordinary(id: u32) -> Self {
        let dir = std::env::temp_dir().join(unique_name());
        fs::create_dir(&dir).expect("a directory");
        chown(&dir, Some(id), Some(id)).expect("root may");
        Self { id, dir }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(samp_lab());
        command.uid(self.id).gid(self.id).env("XDG_RUNTIME_DIR", &self.dir).env("HOME", &self.dir);
        command.args(args).output().expect("samp-lab can be started")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A test that fails has told already.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The processes that a lab's supervisor has started, by their number inside the lab: what /proc says of each.
fn agents_of(supervisor: i64) -> HashMap<i64, HashMap<String, String>> {
    let mut agents = HashMap::new();
    for entry in fs::read_dir("/proc").expect("processes") {
        // It may end meanwhile.
        let Ok(status) = fs::read_to_string(entry.expect("a process").path().join("status")) else {
            continue;
        };
        let fields: HashMap<_, _> = status
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        if fields.get("PPid").is_some_and(|parent| *parent == supervisor.to_string()) {
            let inside =
                fields["NSpid"].split_whitespace().last().expect("a number").parse().expect("a number");
            agents.insert(inside, fields);
        }
    }
    agents
}

/// That the agents of a lab that is up are of the user `id`, and can do no more than they must: mobile nodes may change
/// addresses, and so may servers if their tunnels are the kernel's.
fn check_agents(status: &Value, id: u32) {
    let by_kernel = status["emulation"]["tunnels"] == "kernel";
    let agents = agents_of(status["supervisor_pid"].as_i64().expect("a number"));
    let mut checked = 0;
    for node in status["nodes"].as_array().expect("a list") {
        let (name, Some(pid)) = (node["name"].as_str().expect("a name"), node["pid"].as_i64()) else {
            continue;
        };
        let agent = &agents[&pid];
        let ids = format!("{id}\t{id}\t{id}\t{id}");
        assert_eq!((&agent["Uid"], &agent["Gid"]), (&ids, &ids), "{name}");
        assert_eq!(agent["NoNewPrivs"], "1", "{name}");
        let needed = if name.starts_with("mn") || by_kernel { NET_ADMIN } else { 0 };
        for (set, expected) in
            [("CapInh", 0), ("CapPrm", needed), ("CapEff", needed), ("CapBnd", 0), ("CapAmb", 0)]
        {
            let held = u64::from_str_radix(&agent[set], 16).expect("a mask");
            assert_eq!(held, expected, "{set} of {name}");
        }
        checked += 1;
    }
    assert_eq!(checked, 3, "a server and two mobile nodes in {status}");
}

fn line() -> String {
    topology("topologies/line.yaml").to_str().expect("UTF-8").to_owned()
}

#[test]
fn agents_can_do_no_more_than_they_must() {
    let lab = Lab::up(line(), &[]);
    let status = lab.json(&["inspect"]);
    let me = geteuid();
    check_agents(&status, if me.is_root() { NOBODY } else { me.as_raw() });
    // They do their work all the same, and can write their logs.
    lab.json(&["handoff", "mn1", "ar2"]);
    for node in ["s1", "mn1", "mn2"] {
        assert!(stdout(lab.run(&["logs", node])).contains("sockets are open"), "{node}");
    }
    lab.down();
}

/// A home agent and its mobile nodes.
fn check_agents_with_tunnels(tunnels: &str) {
    let knobs = format!("family: ipv6\nprotocol: mipv6\nemulation: {{ tunnels: {tunnels} }}");
    let line = fs::read_to_string(line()).expect("it is shipped");
    let lab = Lab::up(TemporaryFile::new(&format!("{knobs}\n{line}")).path(), &[]);
    let me = geteuid();
    check_agents(&lab.json(&["inspect"]), if me.is_root() { NOBODY } else { me.as_raw() });
    lab.down();
}

#[test]
fn home_agents_can_do_no_more_than_they_must() {
    check_agents_with_tunnels("agent");
}

#[test]
fn home_agents_with_the_kernels_tunnels_can_set_them_up() {
    if has_kernel_tunnels() {
        check_agents_with_tunnels("kernel");
    }
}

/// What of the tests below needs root: to be two ordinary users. Without root, or where user namespaces are forbidden,
/// there is none.
fn ordinary_lab() -> Option<(User, String)> {
    if !geteuid().is_root() {
        return None;
    }
    let (user, name) = (User::ordinary(ORDINARY_USERS[0]), unique_name());
    let up = user.run(&["--quiet", "up", &line(), "--name", &name]);
    if up.status.code() == Some(4) {
        println!("no labs without root here: {}", String::from_utf8_lossy(&up.stderr));
        return None;
    }
    stdout(up);
    Some((user, name))
}

#[test]
fn agents_without_root_can_do_no_more_than_they_must() {
    let Some((user, name)) = ordinary_lab() else { return };
    let status = stdout(user.run(&["--lab", &name, "--format", "json", "inspect"]));
    check_agents(&serde_json::from_str(&status).expect("JSON"), user.id);
    stdout(user.run(&["--lab", &name, "handoff", "mn1", "ar2"]));
    assert!(stdout(user.run(&["--lab", &name, "logs", "s1"])).contains("sockets are open"));
    stdout(user.run(&["down", &name]));
}

#[test]
fn another_user_is_refused() {
    let Some((user, name)) = ordinary_lab() else { return };
    let dir = user.dir.join("samp-lab").join(&name);
    let socket = dir.join("control.sock");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&dir)), (0o600, 0o700));
    // Even where the files are open to everybody.
    for path in [&user.dir, &user.dir.join("samp-lab"), &dir, &socket] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).expect("root may");
    }
    let stranger = User { id: ORDINARY_USERS[1], dir: user.dir.clone() };
    for command in [
        &["inspect"][..],
        &["handoff", "mn1", "ar2"],
        &["kill", "s1"],
        &["exec", "mn1", "--", "true"],
        &["down"],
    ] {
        let output = stranger.run(&[&["--lab", &name], command].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains("another user"), "{command:?}: {message}");
    }
    std::mem::forget(stranger);
    stdout(user.run(&["--lab", &name, "inspect"]));
    stdout(user.run(&["down", &name]));
}

/// Where labs of this user are.
fn control_socket(lab: &Lab) -> PathBuf {
    let base = if geteuid().is_root() {
        PathBuf::from("/run/samp-lab")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
            || format!("/tmp/samp-lab-{}", geteuid()).into(),
            |dir| Path::new(&dir).join("samp-lab"),
        )
    };
    base.join(lab.name()).join("control.sock")
}

#[test]
fn a_lab_survives_its_clients() {
    let lab = Lab::up(line(), &[]);
    let path = control_socket(&lab);
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let connect = || {
        let stream = UnixStream::connect(&path).expect("the lab listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream
    };
    let answers = || lab.json(&["inspect"]);

    let deep = "[".repeat(60_000);
    for request in [
        "\n",
        "garbage\n",
        "{}\n",
        "null\n",
        "\"dance\"\n",
        "{\"handoff\": {\"mobile_node\": \"mn1\"}}\n",
        "{\"handoff\": {\"mobile_node\": 1, \"access_router\": []}}\n",
        "{\"kill\": {\"node\": \"../../s1\"}}\n",
        "{\"enter\": {\"node\": \"\\u0000\"}}\n",
        "{\"call\": {\"caller\": \"mn1\", \"callee\": \"mn2\\r\\nVia: x\"}}\n",
        "{\"kill\": {\"node\": 1e999}}\n",
        &format!("{deep}\n"),
        &format!("\"{}\"\n", "x".repeat(60_000)),
    ] {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).expect("an answer");
        assert!(answer.starts_with("{\"error\""), "{request:.40}: {answer}");
    }
    for bytes in [&b"\xff\xfe\0\0\n"[..], b"\0\n"] {
        let mut stream = connect();
        stream.write_all(bytes).expect("written");
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).expect("an answer");
        assert!(answer.starts_with("{\"error\""), "{answer}");
    }
    answers();

    // A line without an end: the lab hangs up long before it is all there.
    let mut stream = connect();
    let written = (0..1000).try_for_each(|_| stream.write_all(&[b'x'; 64 << 10]));
    assert!(written.is_err(), "64 MiB are not taken in");
    answers();

    // Half a request, and then nothing, or the end.
    let mut half = connect();
    half.write_all(b"{\"kill\": {\"node\":").expect("written");
    shutdown(half.as_raw_fd(), Shutdown::Write).expect("shut down");
    half.read_to_end(&mut Vec::new()).expect("the lab hangs up");
    drop(connect());

    // Many clients that say nothing, one letter, or ask and never read: the next one has its turn all the same.
    let mut idle: Vec<_> = (0..400).map_while(|_| UnixStream::connect(&path).ok()).collect();
    for (number, stream) in idle.iter_mut().enumerate() {
        let request: &[u8] = match number % 3 {
            0 => b"",
            1 => b"{",
            _ => b"\"status\"\n",
        };
        // The lab may have hung up on it already.
        let _ = stream.write_all(request);
    }
    answers();
    let mut slow = connect();
    slow.write_all(b"\"sta").expect("written");
    assert_eq!(slow.read(&mut [0; 64]).expect("the lab hangs up"), 0);
    drop(idle);
    answers();
    assert_eq!(run(["--lab", lab.name(), "handoff", "mn1", "ar2"]).status.code(), Some(0));
    lab.down();
}
