//! Processes in namespaces of their own, and small rights and limits of the calling process.
#![allow(unsafe_code)]

use crate::namespace::Namespace;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::{iter, ptr};

/// A child process that was started in namespaces. Dropping this neither ends nor reaps it.
#[derive(Debug)]
pub struct Isolated {
    /// Its process id, as the caller sees it.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// Executes `program` as process 1 of new PID, mount, network, IPC and UTS namespaces; when `rootless`, also
/// of a new user namespace that maps root to the caller.
///
/// `program` gets `args` after its own path, the caller's environment, a session of its own, `/` as its
/// directory, default signal handling, and of the caller's descriptors only those of `inherit`, each under
/// the number given with it. Of 0, 1 and 2, those not given are `/dev/null`. It outlives the caller; when it
/// ends, the kernel kills all processes of its PID namespace.
///
/// Mounts are copied and still propagate: making them private is its own first task.
///
/// # Errors
/// The namespaces are not permitted (`EPERM`), a limit is reached, or `program` cannot be executed. No
/// process is left then.
pub fn spawn_pid1(
    program: &Path,
    args: &[OsString],
    inherit: &[(RawFd, BorrowedFd<'_>)],
    rootless: bool,
) -> io::Result<Isolated> {
    let namespaces = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | if rootless { libc::CLONE_NEWUSER } else { 0 };
    Spawn::new(Path::new("/"), program, args, inherit)?.start(namespaces, None, rootless)
}

/// Where a process begins, besides its executable.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its network namespace.
    pub network: &'a Namespace,
    /// Its working directory.
    pub directory: &'a Path,
    /// Its control group, by [`CpuGroups::entrance`](crate::cgroup::CpuGroups::entrance); none is the caller's.
    pub group: Option<BorrowedFd<'a>>,
}

/// Executes `program` at `place`; all else is as in [`spawn_pid1`], without any new namespace.
///
/// # Errors
/// Namespace or group may not be entered, a limit is reached, or `program` cannot be executed. No process is left then.
pub fn spawn_in(
    place: Place<'_>,
    program: &Path,
    args: &[OsString],
    inherit: &[(RawFd, BorrowedFd<'_>)],
) -> io::Result<Isolated> {
    Spawn::new(place.directory, program, args, inherit)?.start(0, Some(place), false)
}

/// Neither this process nor its children can gain privileges by `execve` any more.
///
/// # Errors
/// None on the kernels that samp-lab runs on.
pub fn set_no_new_privs() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

/// The kernel kills this process when the *thread* that started it ends, so that thread must be a lasting one.
///
/// # Errors
/// None on the kernels that samp-lab runs on.
pub fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)
}

/// Raises the limit of open descriptors as far as it goes without privilege, and returns it.
///
/// # Errors
/// None on the kernels that samp-lab runs on.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// A descriptor that is readable when the process with this number has ended.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let descriptor = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just opened it and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) })
}

impl Isolated {
    /// Sends a signal; nothing happens to an unrelated process should this one have ended.
    ///
    /// # Errors
    /// `ESRCH` when it has ended and was reaped.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let no_info = ptr::null::<libc::siginfo_t>();
        // SAFETY: the kernel accepts a null siginfo and then fills in its own.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal as libc::c_int,
                no_info,
                0,
            )
        };
        Errno::result(result)?;
        Ok(())
    }

    /// Waits until it has ended, and reaps it.
    ///
    /// # Errors
    /// It was reaped before.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.reap(WaitPidFlag::WEXITED)? {
                return Ok(status);
            }
        }
    }

    /// Reaps it if it has ended.
    ///
    /// # Errors
    /// It was reaped before.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)
    }

    fn reap(&self, flags: WaitPidFlag) -> io::Result<Option<ExitStatus>> {
        match waitid(Id::PIDFd(self.pidfd.as_fd()), flags) {
            // The inverse of WEXITSTATUS and WTERMSIG.
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(ExitStatus::from_raw((code & 0xff) << 8))),
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                Ok(Some(ExitStatus::from_raw(signal as i32 | if core { 0x80 } else { 0 })))
            }
            Ok(_) | Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// All that the child needs, allocated before it exists: after the clone of a process with several threads
/// only async-signal-safe calls are allowed.
struct Spawn {
    directory: CString,
    program: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
    /// Target numbers in ascending order, each with a copy that lies above all targets.
    descriptors: Vec<(RawFd, OwnedFd)>,
    /// The lowest number above all targets.
    above: RawFd,
    /// All numbers between and above the targets.
    gaps: Vec<(libc::c_uint, libc::c_uint)>,
}

/// Where the child failed; [`Spawn::start`] puts it into words.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Stage {
    EnterGroup,
    EnterNetwork,
    NewSession,
    PlaceDescriptors,
    CloseDescriptors,
    ChangeDirectory,
    Execute,
}

impl Spawn {
    fn new(
        directory: &Path,
        program: &Path,
        args: &[OsString],
        inherit: &[(RawFd, BorrowedFd<'_>)],
    ) -> io::Result<Self> {
        let directory = c_string(directory.as_os_str().to_owned())?;
        // The child changes its directory before it executes the program.
        let program = c_string(std::path::absolute(program)?.into_os_string())?;
        let arguments = args.iter().cloned().map(c_string);
        let argv = iter::once(Ok(program.clone())).chain(arguments).collect::<io::Result<_>>()?;
        let environment = std::env::vars_os()
            .map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                c_string(variable)
            })
            .collect::<io::Result<_>>()?;

        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let mut wanted: Vec<(RawFd, BorrowedFd<'_>)> = inherit.to_vec();
        for standard in 0..=2 {
            if !inherit.iter().any(|(target, _)| *target == standard) {
                wanted.push((standard, null.as_fd()));
            }
        }
        wanted.sort_by_key(|(target, _)| *target);
        if wanted[0].0 < 0 || wanted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(invalid("descriptor numbers for a new process must be positive and differ"));
        }
        let above = wanted[wanted.len() - 1].0.saturating_add(1);
        let descriptors = wanted
            .iter()
            .map(|(target, source)| Ok((*target, copy_above(above, source.as_fd())?)))
            .collect::<io::Result<_>>()?;
        let gaps = wanted
            .windows(2)
            .map(|pair| (pair[0].0 as libc::c_uint + 1, pair[1].0 as libc::c_uint - 1))
            .filter(|(first, last)| first <= last)
            .chain([(above as libc::c_uint, libc::c_uint::MAX)])
            .collect();
        Ok(Self { directory, program, argv, environment, descriptors, above, gaps })
    }

    fn start(&self, namespaces: libc::c_int, place: Option<Place<'_>>, map: bool) -> io::Result<Isolated> {
        let argv = pointers(&self.argv);
        let environment = pointers(&self.environment);
        // Closed by a successful execve; on failure it carries the stage and the error number.
        let (failure_reader, failure_writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let failure_writer = {
            let low = failure_writer;
            copy_above(self.above, low.as_fd())?
        };
        // The child goes on when a byte arrives, and ends when none can arrive any more.
        let mapped = map.then(|| nix::unistd::pipe2(OFlag::O_CLOEXEC)).transpose()?;

        let mut pidfd: RawFd = -1;
        // SAFETY: all fields are integers, for which zero is valid.
        let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
        arguments.flags = (namespaces | libc::CLONE_PIDFD) as u64 | CLONE_CLEAR_SIGHAND;
        arguments.pidfd = (&raw mut pidfd).addr() as u64;
        arguments.exit_signal = libc::SIGCHLD as u64;
        // SAFETY: `arguments` outlives the call and has the size given. Without CLONE_VM the child has a copy
        // of the memory, as after fork; until execve or _exit it only makes async-signal-safe calls.
        let pid =
            unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
        if pid == 0 {
            // SAFETY: this is the child of a fork-like clone. The arrays end with null and their strings live.
            unsafe {
                if let Some((reader, writer)) = &mapped {
                    await_mapping(reader.as_raw_fd(), writer.as_raw_fd());
                }
                let (stage, errno) = self.become_program(place, &argv, &environment);
                let report = [stage as i32, errno];
                libc::write(failure_writer.as_raw_fd(), report.as_ptr().cast(), size_of_val(&report));
                libc::_exit(127);
            }
        }
        let program = self.program.to_string_lossy();
        let pid = Errno::result(pid)
            .map_err(|errno| attempted(format!("cannot start {program} in new namespaces"), errno.into()))?;
        // SAFETY: clone3 succeeded, so the kernel has opened the descriptor, and nothing else knows it.
        let child = Isolated { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } };
        drop(failure_writer);

        if let Some((reader, writer)) = mapped {
            drop(reader);
            if let Err(error) = map_root(child.pid).and_then(|()| File::from(writer).write_all(&[0])) {
                child.signal(Signal::SIGKILL)?;
                child.wait()?;
                return Err(attempted(format!("cannot map root in the user namespace of {program}"), error));
            }
        }

        let mut report = Vec::new();
        File::from(failure_reader).read_to_end(&mut report)?;
        let ([stage, errno], []) = report.as_chunks() else { return Ok(child) };
        child.wait()?;
        let [stage, errno] = [*stage, *errno].map(i32::from_ne_bytes);
        let error = io::Error::from_raw_os_error(errno);
        Err(attempted(format!("cannot {} {program}", stage_text(stage)), error))
    }

    /// The child's way from the clone to the program; returns only where it failed, with the error number.
    ///
    /// # Safety
    /// To be called in a fresh child process only; `argv` and `environment` are arrays of C strings that end
    /// with a null pointer.
    unsafe fn become_program(
        &self,
        place: Option<Place<'_>>,
        argv: &[*const libc::c_char],
        environment: &[*const libc::c_char],
    ) -> (Stage, i32) {
        // SAFETY: plain system calls on integers and on memory that was prepared before the clone; this
        // process has one thread and is to be replaced, so its descriptors belong to nobody else.
        unsafe {
            let mut no_signals: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut no_signals);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const no_signals, ptr::null_mut());
            // Rust's runtime ignores it, and what is ignored stays so in the new program.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if let Some(Place { network, group, .. }) = place {
                if let Some(group) = group
                    && libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) != 1
                {
                    return (Stage::EnterGroup, Errno::last_raw());
                }
                if libc::setns(network.as_fd().as_raw_fd(), libc::CLONE_NEWNET) != 0 {
                    return (Stage::EnterNetwork, Errno::last_raw());
                }
            }
            if libc::setsid() < 0 {
                return (Stage::NewSession, Errno::last_raw());
            }
            for (target, copy) in &self.descriptors {
                if libc::dup2(copy.as_raw_fd(), *target) < 0 {
                    return (Stage::PlaceDescriptors, Errno::last_raw());
                }
            }
            for (first, last) in &self.gaps {
                if libc::syscall(libc::SYS_close_range, *first, *last, CLOSE_RANGE_CLOEXEC) != 0 {
                    return (Stage::CloseDescriptors, Errno::last_raw());
                }
            }
            if libc::chdir(self.directory.as_ptr()) != 0 {
                return (Stage::ChangeDirectory, Errno::last_raw());
            }
            libc::execve(self.program.as_ptr(), argv.as_ptr(), environment.as_ptr());
            (Stage::Execute, Errno::last_raw())
        }
    }
}

/// linux/sched.h: signals that have a handler in the parent get their default action in the child.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
/// linux/close_range.h: to be closed by execve, so that a failure of it can still be told.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Waits in the child until the parent has mapped its user.
///
/// # Safety
/// To be called in a fresh child process only, whose copy of `writer` nobody else uses.
unsafe fn await_mapping(reader: RawFd, writer: RawFd) {
    let mut byte = 0u8;
    // SAFETY: plain system calls; `byte` is writable for the one byte that is asked for.
    unsafe {
        libc::close(writer);
        if libc::read(reader, (&raw mut byte).cast(), 1) != 1 {
            libc::_exit(127);
        }
    }
}

/// Lets the caller be root in the user namespace of its child.
fn map_root(pid: i32) -> io::Result<()> {
    // Without this, an unprivileged process may not set a group map (user_namespaces(7)).
    fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    fs::write(format!("/proc/{pid}/uid_map"), format!("0 {} 1", nix::unistd::geteuid()))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("0 {} 1", nix::unistd::getegid()))
}

/// An error of the system, which stays its source, with what was attempted.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}: {source}")]
struct Attempted {
    attempt: String,
    source: io::Error,
}

fn attempted(attempt: String, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Attempted { attempt, source })
}

fn stage_text(stage: i32) -> &'static str {
    const STAGES: [(Stage, &str); 7] = [
        (Stage::EnterGroup, "enter the control group for"),
        (Stage::EnterNetwork, "enter the network namespace for"),
        (Stage::NewSession, "start a session for"),
        (Stage::PlaceDescriptors, "pass descriptors to"),
        (Stage::CloseDescriptors, "close the other descriptors for"),
        (Stage::ChangeDirectory, "change the directory for"),
        (Stage::Execute, "execute"),
    ];
    STAGES.iter().find(|(known, _)| *known as i32 == stage).map_or("start", |(_, text)| text)
}

fn copy_above(lowest: RawFd, source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let copy = fcntl(source, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just made this copy and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn c_string(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(|_| invalid("a zero byte in the arguments of a new process"))
}

/// The strings as C takes them: an array that ends with a null pointer.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
