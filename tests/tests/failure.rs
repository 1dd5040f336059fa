//! Failure at every step: a clear error, the right exit code, and nothing left.
//!
//! These tests compare the whole host, so nextest runs them alone (`.config/nextest.toml`).

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use samp_tests::faults::Faulty;
use samp_tests::lab::{run, unique_name};
use samp_tests::{Host, Lab, samp_lab, topology};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// So long the kernel may take to free what a lab had.
const LIMIT: Duration = Duration::from_secs(2);
/// Exit code when something runs out.
const EXHAUSTED: Option<i32> = Some(6);
/// Who runs labs without root when these tests are root.
const ORDINARY_USER: u32 = 64_123;

fn line() -> String {
    topology("topologies/line.yaml").to_str().expect("UTF-8").to_owned()
}

fn up(name: &str) -> Command {
    let mut command = Command::new(samp_lab());
    command.args(["--quiet", "up", &line(), "--name", name]).env_remove("LD_LIBRARY_PATH");
    command
}

/// What was said on standard error, which must be an error message, and nothing of Rust's.
#[track_caller]
fn error_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{text}");
    text
}

#[test]
fn an_error_at_any_operation_is_told_and_leaves_nothing() {
    let (mut tolerated, mut wrong) = (Vec::new(), Vec::new());
    // All of them take a few minutes; neighbours are much alike.
    let every = if std::env::var_os("SAMP_TEST_THOROUGH").is_some() { 1 } else { 4 };
    for at in (0..).step_by(every) {
        let name = unique_name();
        let before = Host::look();
        let faulty = Faulty::run(up(&name), at, Errno::ENOMEM);
        let succeeded = faulty.output.status.success();
        if succeeded {
            // The fault may have hit the answer to the first attempt; what counts is that the lab has ended.
            let downs = [run(["down", &name]), run(["down", &name])];
            if is_up(&name) {
                wrong.push(format!("{at}: a lab that is up cannot be ended: {downs:?}"));
                supervisor_of(&name).map(|pid| kill(pid, Signal::SIGKILL));
            }
        }
        before.wait_until_as_before(LIMIT);
        let output = faulty.output.clone();
        let (_, failed) = faulty.end();
        let Some(failed) = failed else {
            // Fewer calls were made than `at`.
            assert!(succeeded, "without a fault the lab comes up: {output:?}");
            println!("{at} calls can fail; these are not missed: {tolerated:?}");
            assert!(at > 100, "{at} calls cannot be all");
            assert!(wrong.is_empty(), "{wrong:#?}");
            return;
        };
        if succeeded {
            tolerated.push(failed);
            continue;
        }
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        // A file that cannot be read is invalid input, whatever the reason.
        let code = if failed.ends_with("line.yaml") { Some(3) } else { EXHAUSTED };
        if !message.starts_with("error: ") || message.contains("panicked") || output.status.code() != code {
            wrong.push(format!("{at}, {failed}: {}, {message}", output.status));
        }
        // What remains of a failed lab is its log, and nobody is in its way.
        run(["down", &name]);
    }
}

/// A command in a mount namespace where `/run` is a small file system; with what is left there after the command's own
/// messages.
fn with_run_of(options: &str, command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer.arg("--mount");
    if !geteuid().is_root() {
        outer.args(["--user", "--map-root-user"]);
    }
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs /run && \"$@\"; code=$?; find /run -mindepth 1 >&2; exit $code"
    );
    outer.args(["sh", "-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    outer
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    // No room for the lab's description; then for its directory, the logs' folder, the socket, the description, the log.
    let options =
        ["size=4k", "nr_inodes=1", "nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "nr_inodes=5", "nr_inodes=6"];
    for options in options {
        let before = Host::look();
        let name = unique_name();
        let mut command = Command::new(samp_lab());
        let file = topology("topologies/grid-small.yaml");
        command.arg("--quiet").arg("up").arg(file).args(["--name", &name]);
        let output = with_run_of(options, &command).output().expect("unshare can be started");
        let message = error_of(&output);
        assert_eq!(output.status.code(), EXHAUSTED, "{options}: {message}");
        assert!(message.contains("No space left"), "{options}: {message}");
        assert!(!message.contains("\n/run/"), "{options} leaves a file: {message}");
        before.wait_until_as_before(LIMIT);
    }
}

#[test]
fn a_lab_needs_no_room_for_its_logs() {
    let before = Host::look();
    let name = unique_name();
    // Enough for the description of the lab, and for one or two logs.
    let mut command = with_run_of("size=16k", &up(&name));
    let output = command.env("SAMP_LAB_LOG", "trace").output().expect("unshare can be started");
    assert!(output.status.success(), "{}", error_of(&output));
    // It cannot be reached from outside of that mount namespace.
    kill(supervisor_of(&name).expect("it runs"), Signal::SIGKILL).expect("it can be killed");
    before.wait_until_as_before(LIMIT);
}

#[test]
fn too_few_descriptors_are_told_and_leave_nothing() {
    for limit in [4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40] {
        let before = Host::look();
        let name = unique_name();
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nofile={limit}"))
            .args(["--", samp_lab().to_str().expect("UTF-8")])
            .args(up(&name).get_args());
        let output = command.output().expect("prlimit can be started");
        if output.status.success() {
            assert!(run(["down", &name]).status.success());
        } else {
            let message = error_of(&output);
            assert_eq!(output.status.code(), EXHAUSTED, "{limit}: {message}");
            run(["down", &name]);
        }
        assert!(limit >= 16 || !output.status.success(), "a lab cannot do with {limit} descriptors");
        before.wait_until_as_before(LIMIT);
    }
}

#[test]
fn too_few_processes_are_told_and_leave_nothing() {
    let before = Host::look();
    let name = unique_name();
    let dir = std::env::temp_dir().join(&name);
    fs::create_dir(&dir).expect("a directory");
    for limit in 1..4 {
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nproc={limit}"))
            .args(["--", samp_lab().to_str().expect("UTF-8")])
            .args(up(&name).get_args());
        command.env("XDG_RUNTIME_DIR", &dir);
        if geteuid().is_root() {
            chown(&dir, Some(ORDINARY_USER), Some(ORDINARY_USER)).expect("root may");
            command.uid(ORDINARY_USER).gid(ORDINARY_USER);
        }
        let output = command.output().expect("prlimit can be started");
        let message = error_of(&output);
        let forbidden = output.status.code() == Some(4) && limit > 1;
        assert!(output.status.code() == EXHAUSTED || forbidden, "{limit}: {message}");
        before.wait_until_as_before(LIMIT);
    }
    fs::remove_dir_all(&dir).expect("it is there");
}

#[test]
fn kill_9_at_hundreds_of_moments_leaves_nothing() {
    // Without root it is the same code; what differs is what the kernel has to free.
    let moments = if geteuid().is_root() { 200 } else { 50 };
    let mut random = Pcg64::seed_from_u64(9);
    let started = Instant::now();
    Lab::up(line(), &[]).down();
    let usual = started.elapsed();
    let (mut while_starting, mut while_up) = (0, 0);
    let name = unique_name();
    for _ in 0..moments {
        let before = Host::look();
        let mut child =
            up(&name).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("samp-lab can be started");
        std::thread::sleep(usual.mul_f64(random.random_range(0.0..1.1)));
        let command = Pid::from_raw(child.id() as i32);
        // Once the lab is up, the command that started it is of no importance.
        match supervisor_of(&name) {
            Some(supervisor) if random.random() => {
                kill(supervisor, Signal::SIGKILL).expect("it is there, or a zombie");
            }
            _ => kill(command, Signal::SIGKILL).expect("it is there, or a zombie"),
        }
        let has_come_up = child.wait().expect("a child").success() || is_up(&name);
        if has_come_up {
            while_up += 1;
            if let Some(supervisor) = supervisor_of(&name) {
                kill(supervisor, Signal::SIGKILL).expect("it is there, or a zombie");
            }
        } else {
            while_starting += 1;
        }
        before.wait_until_as_before(LIMIT);
        // The next round takes the same name, which is free again.
    }
    run(["down", &name]);
    println!("killed {while_starting} times while starting, {while_up} times when up");
    assert!(
        while_starting >= moments / 4 && while_up >= moments / 40,
        "{while_starting} while starting, {while_up} when up"
    );
}

/// Whether a lab of this name has come up and lives.
fn is_up(name: &str) -> bool {
    let status = run(["--lab", name, "--format", "json", "inspect"]);
    let status = serde_json::from_slice::<serde_json::Value>(&status.stdout).unwrap_or_default();
    status["is_up"] == true
}

/// The lab's process 1, as the host sees it.
fn supervisor_of(name: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").expect("processes");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut ours = pids.filter(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        command.contains("__supervisor") && command.trim_end().ends_with(&format!("/{name}"))
    });
    ours.next().map(Pid::from_raw)
}
