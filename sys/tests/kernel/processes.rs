//! Processes in namespaces: process 1, what it gets, and what it leaves behind.

use crate::{Node, eventually, wait_readable};
use nix::sys::signal::Signal;
use samp_sys::namespace::Namespace;
use samp_sys::netlink::{Netlink, VethEnd};
use samp_sys::process::{Isolated, Place, spawn_in, spawn_pid1};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

const SHELL: &str = "/bin/sh";
const NAMESPACES: [&str; 5] = ["pid", "mnt", "net", "ipc", "uts"];

fn script(text: &str) -> [OsString; 2] {
    ["-c".into(), text.into()]
}

fn spawn(text: &str, inherit: &[(RawFd, BorrowedFd<'_>)]) -> Isolated {
    spawn_pid1(Path::new(SHELL), &script(text), inherit, false).unwrap()
}

/// Runs a script to its end and returns what it wrote to its standard output.
fn output(text: &str) -> String {
    let (reader, writer) = pipe();
    let child = spawn(text, &[(1, writer.as_fd())]);
    drop(writer);
    let text = read_all(reader);
    assert!(child.wait().unwrap().success());
    text
}

fn place(network: &Namespace) -> Place<'_> {
    Place { network, directory: Path::new("/"), group: None }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}

fn read_all(reader: OwnedFd) -> String {
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    text
}

fn namespace_of(process: &str, kind: &str) -> std::io::Result<String> {
    Ok(fs::read_link(format!("/proc/{process}/ns/{kind}"))?.to_string_lossy().into_owned())
}

#[test]
fn it_is_process_1_of_new_namespaces_in_a_session_of_its_own() {
    let links: String = NAMESPACES.map(|kind| format!("readlink /proc/self/ns/{kind}; ")).concat();
    let text = output(&format!("echo $$; pwd; {links} cut -d' ' -f6 /proc/self/stat"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1", "/"]);
    for (kind, inside) in NAMESPACES.iter().zip(&lines[2..]) {
        assert!(inside.starts_with(kind), "{text}");
        assert_ne!(*inside, namespace_of("self", kind).unwrap());
    }
    let session: i32 = lines[7].parse().unwrap();
    assert_ne!(session, nix::unistd::getsid(None).unwrap().as_raw());
}

#[test]
fn it_gets_the_descriptors_given_and_no_others() {
    // Not close-on-exec, so only the spawn keeps it out.
    let leak = nix::unistd::dup(File::open("/dev/null").unwrap()).unwrap();
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (stdout_reader, stdout) = pipe();
    let (stderr_reader, stderr) = pipe();
    let (seven_reader, seven) = pipe();
    let text = format!(
        "echo out; echo err >&2; echo seven >&7; cat; readlink /proc/self/fd/0;
         for fd in 3 4 5 6 8 9 {}; do [ -e /proc/self/fd/$fd ] && echo leaked $fd; done; exit 3",
        leak.as_raw_fd()
    );
    let child = spawn(&text, &[(7, seven.as_fd()), (1, stdout.as_fd()), (2, stderr.as_fd())]);
    drop((stdout, stderr, seven));
    assert_eq!(read_all(stdout_reader), "out\n/dev/null\n");
    assert_eq!(read_all(stderr_reader), "err\n");
    assert_eq!(read_all(seven_reader), "seven\n");
    wait_readable(&child.pidfd);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn descriptors_may_change_places() {
    let ((first_reader, first), (second_reader, second)) = (pipe(), pipe());
    // Each one's target is the other's number here.
    let (first_number, second_number) = (first.as_raw_fd(), second.as_raw_fd());
    let text = format!(
        "[ $(readlink /proc/self/fd/{first_number}) = pipe:[{}] ] && [ $(readlink /proc/self/fd/{second_number}) = pipe:[{}] ]",
        inode(&second),
        inode(&first),
    );
    let child = spawn(&text, &[(first_number, second.as_fd()), (second_number, first.as_fd())]);
    assert!(child.wait().unwrap().success());
    drop((first_reader, second_reader));
}

fn inode(fd: &OwnedFd) -> u64 {
    nix::sys::stat::fstat(fd).unwrap().st_ino
}

#[test]
fn killing_it_leaves_nothing() {
    let (reader, writer) = pipe();
    let child = spawn("sleep 1000 & sleep 1000 & echo ready; wait", &[(1, writer.as_fd())]);
    drop(writer);
    let mut line = String::new();
    let mut reader = BufReader::new(File::from(reader));
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    // A link into its network namespace, whose other end is here.
    let mut here = Node::new();
    let inside = Namespace::from(OwnedFd::from(File::open(format!("/proc/{}/ns/net", child.pid)).unwrap()));
    here.configure(|batch| {
        batch.add_veth(
            VethEnd { name: "outside", ..VethEnd::default() },
            VethEnd { name: "inside", namespace: Some(&inside), ..VethEnd::default() },
        );
    });
    assert!(Netlink::open_in(&inside).unwrap().link_index("inside").unwrap().is_some());
    drop(inside);
    let pid_namespace = namespace_of(&child.pid.to_string(), "pid").unwrap();
    assert_eq!(processes_in(&pid_namespace), 3);

    assert!(child.try_wait().unwrap().is_none());
    child.signal(Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    assert_eq!(processes_in(&pid_namespace), 0);
    assert_eq!(reader.read_line(&mut line).unwrap(), 0, "its descriptors are closed");
    eventually("its network namespace is gone", || here.netlink.link_index("outside").unwrap().is_none());
    assert!(child.signal(Signal::SIGKILL).is_err());
    assert!(child.wait().is_err());
}

fn processes_in(pid_namespace: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| namespace_of(name, "pid").is_ok_and(|namespace| namespace == pid_namespace)).count()
}

#[test]
fn what_cannot_be_executed_is_an_error_and_leaves_no_process() {
    let missing = Path::new("/no/such/program");
    for error in [
        spawn_pid1(missing, &[], &[], false).unwrap_err(),
        spawn_pid1(missing, &[], &[], true).unwrap_err(),
        spawn_in(place(&Namespace::create().unwrap()), missing, &[], &[]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot execute /no/such/program"), "{error}");
    }
    let null = File::open("/dev/null").unwrap();
    for wrong in [vec![(-1, null.as_fd())], vec![(5, null.as_fd()), (5, null.as_fd())]] {
        let error = spawn_pid1(Path::new(SHELL), &[], &wrong, false).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    assert!(spawn_pid1(Path::new(SHELL), &["zero\0byte".into()], &[], false).is_err());
}

#[test]
fn a_process_can_be_put_into_a_namespace() {
    let namespace = Namespace::create().unwrap();
    let inside = namespace.run(|| namespace_of("thread-self", "net").unwrap()).unwrap();
    let (reader, writer) = pipe();
    let text = script("readlink /proc/self/ns/net; readlink /proc/self/ns/pid");
    let child = spawn_in(place(&namespace), Path::new(SHELL), &text, &[(1, writer.as_fd())]).unwrap();
    drop(writer);
    assert_eq!(read_all(reader), format!("{inside}\n{}\n", namespace_of("self", "pid").unwrap()));
    assert!(child.wait().unwrap().success());
}

#[test]
fn privileges_and_limits_of_the_calling_process() {
    let limit = samp_sys::process::raise_nofile_limit().unwrap();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some(limit.to_string().as_str()));

    // Both are attributes of the thread (and what it starts): this one ends with the test.
    samp_sys::process::die_with_parent().unwrap();
    assert_eq!(nix::sys::prctl::get_pdeathsig().unwrap(), Some(Signal::SIGKILL));
    nix::sys::prctl::set_pdeathsig(None).unwrap();
    samp_sys::process::set_no_new_privs().unwrap();
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(status.contains("NoNewPrivs:\t1"));
}
