//! The same without root: an ordinary user's process 1 in a user namespace of its own.

use samp_sys::process::spawn_pid1;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Nobody in particular: no files, no privileges.
const ORDINARY_USER: u32 = 65534;

/// This executable, wherever it lies: the path to it may be closed to other users.
const EXECUTABLE: &str = "/proc/self/exe";

#[test]
fn all_verbs_work_without_root() {
    let mut command = Command::new(EXECUTABLE);
    command.args(["--ignored", "--exact", "rootless::as_an_ordinary_user", "--nocapture"]);
    if nix::unistd::geteuid().is_root() {
        command.uid(ORDINARY_USER).gid(ORDINARY_USER);
    }
    let output = command.current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
}

/// Runs the other tests of this executable as process 1 of a new user namespace.
#[test]
#[ignore = "all_verbs_work_without_root runs it as an ordinary user"]
fn as_an_ordinary_user() {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let tests = [
        "addresses::",
        "frames::",
        "links::",
        "multicast::",
        "namespaces::",
        "netem::",
        "rootless::inside",
        "routes::",
        "taps::",
    ];
    let mut arguments: Vec<std::ffi::OsString> = tests.map(Into::into).to_vec();
    arguments.push("--include-ignored".into());
    arguments.push("--skip=rootless::as_".into());
    let output: [(i32, _); 2] = [(1, writer.as_fd()), (2, writer.as_fd())];
    let child = spawn_pid1(Path::new(EXECUTABLE), &arguments, &output, true).unwrap();
    drop(writer);
    let text = read_all(reader);
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.contains("rootless::inside_it_is_root_and_process_1 ... ok"), "{text}");
}

#[test]
#[ignore = "as_an_ordinary_user runs it in a user namespace"]
fn inside_it_is_root_and_process_1() {
    assert_eq!(std::process::id(), 1);
    assert!(nix::unistd::geteuid().is_root());
    assert_eq!(nix::unistd::getegid().as_raw(), 0);
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    assert_eq!(map.split_whitespace().last(), Some("1"), "only one user is mapped: {map}");
}

fn read_all(reader: OwnedFd) -> String {
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    text
}
