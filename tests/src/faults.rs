//! Errors injected into the system calls of samp-lab, from outside: nothing in the product knows of it.
//!
//! A seccomp filter hands the interesting calls of the command and of all that it starts to a thread of the test, which
//! lets them pass, but for one that fails (seccomp_unotify(2)).
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::gettid;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// The calls that may fail: those that take something from the system, or tell it something.
const CALLS: [(libc::c_long, &str); 25] = [
    (libc::SYS_openat, "openat"),
    (libc::SYS_socket, "socket"),
    (libc::SYS_socketpair, "socketpair"),
    (libc::SYS_bind, "bind"),
    (libc::SYS_listen, "listen"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_setsockopt, "setsockopt"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_pipe2, "pipe2"),
    (libc::SYS_dup3, "dup3"),
    (libc::SYS_epoll_create1, "epoll_create1"),
    (libc::SYS_epoll_ctl, "epoll_ctl"),
    (libc::SYS_eventfd2, "eventfd2"),
    (libc::SYS_timerfd_create, "timerfd_create"),
    (libc::SYS_setsid, "setsid"),
    (libc::SYS_setresuid, "setresuid"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
];

/// What came of a run with a fault.
#[derive(Debug)]
pub struct Faulty {
    /// How the command ended; what it started may still run.
    pub output: Output,
    /// Ends with the last process that the command has started.
    watcher: JoinHandle<(usize, Option<String>)>,
}

impl Faulty {
    /// Runs samp-lab so that the call number `at`, counted from 0 over all its processes, fails with `errno`.
    pub fn run(mut command: Command, at: usize, errno: Errno) -> Self {
        let (sender, receiver) = mpsc::channel();
        // The filter is this thread's and its children's; it cannot be taken off.
        let runner = thread::spawn(move || {
            let listener = install_filter().expect("seccomp filters can be installed");
            sender.send((listener, gettid().as_raw())).expect("the test waits");
            command.output().expect("samp-lab can be started")
        });
        let (listener, runner_id) = receiver.recv().expect("the filter");
        let watcher = thread::spawn(move || watch(&listener, runner_id, at, errno));
        Self { output: runner.join().expect("no panic"), watcher }
    }

    /// How many calls there were, and which one failed; waits until all processes have ended.
    pub fn end(self) -> (usize, Option<String>) {
        self.watcher.join().expect("no panic")
    }
}

mod request {
    use nix::libc;

    nix::ioctl_readwrite!(receive, b'!', 0, libc::seccomp_notif);
    nix::ioctl_readwrite!(send, b'!', 1, libc::seccomp_notif_resp);
}

/// Has the interesting calls of this thread and its future children told to the descriptor that is returned.
fn install_filter() -> io::Result<OwnedFd> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (left, (number, _)) in (1..=CALLS.len()).rev().zip(CALLS) {
        // To the last statement if it is this call.
        let jump = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32);
        filter.push(libc::sock_filter { jt: left as u8, ..jump });
    }
    filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs()?;
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program and its statements live through the call, which copies them.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) })?;
    // SAFETY: the kernel has just opened it, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Answers until nobody is left who could ask.
fn watch(listener: &OwnedFd, runner: i32, at: usize, errno: Errno) -> (usize, Option<String>) {
    let (mut count, mut failed) = (0, None);
    loop {
        let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result.expect("poll"),
        };
        if ready[0].revents().is_none_or(|events| !events.contains(PollFlags::POLLIN)) {
            return (count, failed);
        }
        // SAFETY: all fields are integers, for which zero is valid; the kernel wants them to be zero.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is a listener, and the structure is the one of this request.
        if unsafe { request::receive(listener.as_raw_fd(), &raw mut call) }.is_err() {
            // Who asked was killed meanwhile.
            continue;
        }
        let mut answer = libc::seccomp_notif_resp {
            id: call.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        if let Some(what) = counted(&call, runner) {
            if count == at {
                answer.flags = 0;
                answer.error = -(errno as i32);
                failed = Some(what);
            }
            count += 1;
        }
        // SAFETY: as above. It fails when who asked was killed meanwhile.
        let _ = unsafe { request::send(listener.as_raw_fd(), &raw mut answer) };
    }
}

/// What is called, if samp-lab itself calls it: not what is about to become samp-lab, nor its loader.
fn counted(call: &libc::seccomp_notif, runner: i32) -> Option<String> {
    let pid = call.pid as i32;
    if pid == runner {
        return None;
    }
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    if program.file_name()? != "samp-lab" {
        return None;
    }
    let (_, name) = CALLS.iter().find(|(number, _)| *number == libc::c_long::from(call.data.nr))?;
    if *name == "flock" && call.data.args[1] & libc::LOCK_UN as u64 != 0 {
        // To give something back does not fail.
        return None;
    }
    if *name != "openat" {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let role = words.split(|&byte| byte == 0).nth(1).unwrap_or_default();
        return Some(format!("{name} in {}", String::from_utf8_lossy(role)));
    }
    let mut path = [0; 256];
    let length = File::open(format!("/proc/{pid}/mem")).ok()?.read_at(&mut path, call.data.args[1]).ok()?;
    let path = path[..length].split(|&byte| byte == 0).next()?;
    let path = String::from_utf8_lossy(path);
    // What the C library and Rust's runtime look at by themselves.
    let foreign = ["/lib", "/usr", "/etc", "/proc/self/maps", "/proc/self/cgroup", "/sys/fs/cgroup"];
    (!foreign.iter().any(|start| path.starts_with(start))).then(|| format!("openat {path}"))
}
