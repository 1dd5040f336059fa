//! CPU quotas of SIP servers: each in a control group of its own, which goes when the lab does, however it ends.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use samp_sys::cgroup::{CpuController, remove};
use samp_tests::lab::{run, stdout, unique_name};
use samp_tests::{Lab, TemporaryFile, samp_lab, topology};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

/// Who runs labs without root when these tests are root.
const ORDINARY_USER: u32 = 64_126;

/// The small grid with so much of a processor for each server, in a file of its own.
fn file(share: &str) -> TemporaryFile {
    let grid = fs::read_to_string(topology("topologies/grid-small.yaml")).expect("the grid");
    TemporaryFile::new(&format!("{grid}\nemulation: {{ server_cpu: {share}, nodes_per_process: 8 }}\n"))
}

/// Where a lab's group is, if this user can have any.
fn group(lab: &str) -> Option<PathBuf> {
    match CpuController::find(geteuid().is_root()) {
        Ok(controller) => Some(controller.path(&format!("samp-lab.{lab}"))),
        Err(error) => {
            println!("no quotas here: {error}");
            None
        }
    }
}

#[test]
fn each_server_is_held_to_its_quota_and_tells_what_it_has_had() {
    let Some(none) = group("none") else { return };
    // Even to start takes more than the millisecond of a period.
    let lab = Lab::up(file("10%").path(), &[]);
    let group = none.with_file_name(format!("samp-lab.{}", lab.name()));
    for server in ["s1", "s2", "s3", "s4"] {
        let inside = fs::read_to_string(group.join(format!("node-{server}/cgroup.procs")));
        assert_eq!(inside.expect("its group").lines().count(), 1, "{server}");
    }
    let process = |node: &str| lab.json(&["inspect", node])["pid"].as_i64().expect("a process");
    assert_ne!(process("s1"), process("s2"));
    assert_eq!(process("mn1"), process("mn2"), "others share one as before");

    lab.json(&["handoff", "mn1", "ar-3-3"]);
    let call = lab.json(&["call", "mn1", "mn8"]);
    assert_eq!(call["outcome"], "established", "{call:#}");
    let mut follow = Command::new(samp_lab())
        .args(["--lab", lab.name(), "events", "-f"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("samp-lab can be started");
    let events = serde_json::Deserializer::from_reader(follow.stdout.take().expect("a pipe"));
    let mut servers: BTreeMap<String, Value> = BTreeMap::new();
    for event in events.into_iter::<Value>() {
        let event = event.expect("JSON");
        if event["event"] == "server_cpu" {
            servers.insert(event["node"].as_str().expect("a name").to_owned(), event);
        }
        if servers.len() == 4 {
            break;
        }
    }
    follow.kill().expect("it runs");
    follow.wait().expect("it ends");
    for (server, cpu) in &servers {
        let figure = |name: &str| cpu[name].as_u64().expect("a number");
        assert!(figure("used") > 0, "{server}: {cpu}");
        assert!((1..=figure("periods")).contains(&figure("periods_throttled")), "{server}: {cpu}");
    }
    // One that goes to sleep in the system call in which its quota ran out has lost no time by it.
    assert!(servers.values().any(|cpu| cpu["throttled"].as_u64() > Some(0)), "{servers:?}");
    lab.down();
    assert!(!group.exists());
}

#[test]
fn what_a_killed_lab_has_left_of_groups_goes_with_its_directory() {
    let Some(_) = group("none") else { return };
    let (file, name) = (file("50%"), unique_name());
    let path = file.path().to_str().expect("UTF-8");
    let group = group(&name).expect("as before");
    let up = || stdout(run(["--quiet", "up", path, "--name", &name]));
    let supervisor = || {
        let labs: Value = serde_json::from_str(&stdout(run(["--format", "json", "ps"]))).expect("JSON");
        let lab = labs.as_array().expect("a list").iter().find(|lab| lab["name"] == *name).expect("the lab");
        Pid::from_raw(lab["supervisor_pid"].as_i64().expect("a number") as i32)
    };
    up();
    kill(supervisor(), Signal::SIGKILL).expect("it runs");
    // The next one of this name takes its place.
    up();
    assert!(group.join("node-s1").exists());
    kill(supervisor(), Signal::SIGKILL).expect("it runs");
    stdout(run(["down", &name]));
    assert!(!group.exists());
}

#[test]
fn without_a_cgroup_of_ones_own_a_quota_is_refused_and_with_one_it_is_kept() {
    if !geteuid().is_root() {
        return println!("only root can be an ordinary user");
    }
    let Some(delegated) = group("delegated") else { return };
    let delegated = delegated.with_file_name(format!("samp-{}", unique_name()));
    let (file, name, dir) = (file("50%"), unique_name(), std::env::temp_dir().join(unique_name()));
    let own = |path: &PathBuf| chown(path, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("root may");
    fs::create_dir(&dir).expect("a directory");
    own(&dir);
    // In a cgroup that is somebody else's, or in its own.
    let as_user = |group: Option<&PathBuf>, args: &[&str]| {
        let enter = r#"[ -z "$1" ] || echo 0 >"$1/cgroup.procs"; shift; user=$1; shift
                       exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@""#;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", enter, "sh"]).arg(group.map_or(PathBuf::new(), Clone::clone));
        command.arg(ORDINARY_USER.to_string()).arg(samp_lab()).args(args);
        command.env("XDG_RUNTIME_DIR", &dir).env("HOME", &dir).output().expect("a shell")
    };
    let up = ["--quiet", "up", file.path().to_str().expect("UTF-8"), "--name", &name];
    let refused = as_user(None, &up);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{text}");
    assert!(text.contains("`server_cpu`") && text.contains("Delegate=yes"), "{text}");
    assert!(String::from_utf8_lossy(&as_user(None, &["doctor"]).stdout).contains("CPU quotas"));

    let inner = delegated.join("own");
    fs::create_dir(&delegated).expect("root may");
    // In cgroup v2 it has to be handed down.
    let subtree = delegated.with_file_name("cgroup.subtree_control");
    if subtree.exists() {
        fs::write(subtree, "+cpu").expect("root may");
    }
    fs::create_dir(&inner).expect("root may");
    for group in [&delegated, &inner] {
        own(group);
        for entry in fs::read_dir(group).expect("files") {
            own(&entry.expect("a file").path());
        }
    }
    let brought_up = as_user(Some(&inner), &up);
    let no_namespaces = String::from_utf8_lossy(&brought_up.stderr).contains("namespaces");
    if brought_up.status.code() != Some(4) || !no_namespaces {
        stdout(brought_up);
        // Groups are its own's children in v1, and its siblings in v2.
        let made = [&inner, &delegated].map(|group| group.join(format!("samp-lab.{name}/node-s1")));
        assert!(made.iter().any(|group| group.exists()), "{made:?}");
        stdout(as_user(Some(&inner), &["down", &name]));
        assert!(!made.iter().any(|group| group.parent().expect("its lab's").exists()), "{made:?}");
    }
    // It waits for the kernel, which has just ended who was in it.
    remove(&delegated).expect("it is empty");
    fs::remove_dir_all(&dir).expect("it is ours");
}
