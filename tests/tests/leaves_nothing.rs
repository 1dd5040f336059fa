//! Labs leave nothing behind: after `down`, after `kill -9` at any moment, after Ctrl-C.
//!
//! These tests compare the whole host, so nextest runs them alone (`.config/nextest.toml`).

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use samp_tests::lab::{run, stdout, unique_name};
use samp_tests::{Events, Host, Lab, samp_lab, topology};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(2);

fn start_up(file: &str, name: &str) -> Child {
    Command::new(samp_lab())
        .args(["up", topology(file).to_str().expect("UTF-8"), "--name", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("samp-lab can be started")
}

#[test]
fn down_leaves_the_host_as_it_was() {
    for file in ["topologies/line.yaml", "topologies/grid-small.yaml"] {
        let before = Host::look();
        let lab = Lab::up(topology(file), &[]);
        let during = Host::look();
        assert_eq!(before.links, during.links, "nothing is created in the host's network namespace");
        assert_eq!(before.mounts, during.mounts, "nor in its mount namespace");
        assert!(during.namespaces.len() > before.namespaces.len(), "the lab has namespaces of its own");
        lab.down();
        before.wait_until_as_before(LIMIT);
    }
}

#[test]
fn kill_9_at_any_moment_leaves_nothing() {
    let mut random = Pcg64::seed_from_u64(9);
    let started = Instant::now();
    Lab::up(topology("topologies/line.yaml"), &[]).down();
    let usual = started.elapsed();
    let (mut while_starting, mut while_up) = (0, 0);
    for round in 0..20 {
        let before = Host::look();
        let name = unique_name();
        let mut up = start_up("topologies/line.yaml", &name);
        std::thread::sleep(usual.mul_f64(random.random_range(0.0..1.2)));
        // The supervisor is the child of `up`, or, once that has ended, of init; its command line names the lab.
        match supervisor_of(&name) {
            Some(pid) => kill(pid, Signal::SIGKILL).expect("it can be killed"),
            None => kill(Pid::from_raw(up.id() as i32), Signal::SIGKILL).unwrap_or(()),
        }
        if up.wait().expect("up ends").success() {
            while_up += 1
        } else {
            while_starting += 1
        }
        before.wait_until_as_before(LIMIT);
        // And the name is free again.
        let again = run([
            "--quiet",
            "up",
            topology("topologies/line.yaml").to_str().expect("UTF-8"),
            "--name",
            &name,
        ]);
        assert!(again.status.success(), "round {round}: {}", String::from_utf8_lossy(&again.stderr));
        stdout(run(["down", &name]));
        before.wait_until_as_before(LIMIT);
    }
    println!("killed {while_starting} times while starting, {while_up} times when up");
    assert!(while_starting > 0, "at least one kill must hit a lab that is coming up");
}

#[test]
fn ctrl_c_during_up_leaves_nothing() {
    let mut random = Pcg64::seed_from_u64(3);
    let mut interrupted = 0;
    for _ in 0..10 {
        let before = Host::look();
        let name = unique_name();
        let mut up = start_up("topologies/grid-small.yaml", &name);
        std::thread::sleep(Duration::from_millis(random.random_range(5..250)));
        kill(Pid::from_raw(up.id() as i32), Signal::SIGINT).expect("up is still there, or a zombie");
        let status = up.wait().expect("up ends");
        if status.success() {
            stdout(run(["down", &name]));
        } else {
            interrupted += 1;
            assert!(!run(["down", &name]).status.success(), "not even a directory of it is left");
        }
        before.wait_until_as_before(LIMIT);
    }
    assert!(interrupted > 0, "at least one interrupt must hit a lab that is coming up");
}

#[test]
fn kill_9_during_a_flood_leaves_nothing() {
    let before = Host::look();
    let lab = Lab::up(topology("topologies/line.yaml"), &[]);
    let mut flood = Command::new(samp_lab())
        .args(["--lab", lab.name(), "flood", "s1", "--from", "ar2", "--rate", "1000/s", "--for", "600s"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("samp-lab can be started");
    Events::of(&lab).wait("a flood", |record| record["event"] == "flood_began");
    kill(Pid::from_raw(lab.supervisor()), Signal::SIGKILL).expect("it can be killed");
    assert!(!flood.wait().expect("it ends").success(), "the lab has ended before the flood");
    before.wait_until_as_before(LIMIT);
    lab.down();
}

/// The lab's process 1, as the host sees it.
fn supervisor_of(name: &str) -> Option<Pid> {
    let processes = std::fs::read_dir("/proc").expect("processes");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut ours = pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        command.contains("__supervisor") && command.trim_end().ends_with(&format!("/{name}"))
    });
    ours.next().map(Pid::from_raw)
}
