//! `exec` and `shell`: a command or a shell inside a node, with its exit code.

use super::super::{Exit, Failure};
use crate::client::Client;
use crate::lab::programs::SEARCH_PATH;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, getpgrp, sethostname, tcsetpgrp};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};

/// What a shell returns for a command that it cannot find, and for one that it cannot execute.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// The hidden sub-command that [`foreground`] is.
const FOREGROUND_COMMAND: &str = "__foreground";

/// Runs a command inside a node; its exit code, or 128 and the number of the signal that ended it.
///
/// This process must have one thread only: a process with more cannot enter a user namespace.
pub(super) fn exec(
    client: &Client,
    node: &str,
    program: &OsStr,
    args: &[OsString],
) -> Result<ExitCode, Failure> {
    enter_node(client, node)?;
    let mut command = Command::new(program);
    command.args(args);
    run(command)
}

/// Opens the user's shell inside a node; at a terminal, the shell gets it, with all its job control.
pub(super) fn shell(client: &Client, node: &str) -> Result<ExitCode, Failure> {
    let program = env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    // /proc is another one inside.
    let own = env::current_exe().map_err(|error| Failure::io("find this executable", &error))?;
    let terminal = io::stdin();
    enter_node(client, node)?;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWUTS).and_then(|()| sethostname(node)) {
        tracing::info!(%error, "the prompt shows the lab's hostname");
    }
    if !terminal.is_terminal() {
        return run(Command::new(program));
    }
    let mut command = Command::new(own);
    command.arg(FOREGROUND_COMMAND).arg(program).process_group(0);
    let code = run(command);
    // Whoever is in the background is stopped when it takes the terminal, unless it blocks the signal.
    let back = block(&[Signal::SIGTTOU]).and_then(|_| Ok(tcsetpgrp(&terminal, getpgrp())?));
    if let Err(error) = back {
        tracing::info!(%error, "cannot take the terminal back");
    }
    code
}

/// Takes the terminal for this process's group, then becomes a program; the shell's half of [`shell`].
pub(super) fn foreground(program: &OsStr) -> Result<ExitCode, Failure> {
    let taken = block(&[Signal::SIGTTOU]).and_then(|signals| {
        tcsetpgrp(io::stdin(), getpgrp())?;
        Ok(signals.thread_unblock()?)
    });
    taken.map_err(|error| Failure::io("take the terminal", &error))?;
    let error = Command::new(program).exec();
    Ok(not_started(program, &error))
}

fn enter_node(client: &Client, node: &str) -> Result<(), Failure> {
    let namespaces = client.enter(node)?;
    enter(&namespaces).map_err(|error| Failure::io(format_args!("enter the namespaces of {node}"), &error))
}

fn run(mut command: Command) -> Result<ExitCode, Failure> {
    if env::var_os("PATH").is_none() {
        command.env("PATH", SEARCH_PATH);
    }
    // A terminal's signals go to the command, too; this process has to wait for its end.
    let signals = block_signals().map_err(|error| Failure::io("block signals", &error))?;
    match command.spawn() {
        Ok(child) => {
            let status =
                wait(child, &signals).map_err(|error| Failure::io("wait for the command", &error))?;
            Ok(ExitCode::from(exit_code(status)))
        }
        Err(error) => Ok(not_started(command.get_program(), &error)),
    }
}

fn not_started(program: &OsStr, error: &io::Error) -> ExitCode {
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    eprintln!("samp-lab: {}: {error}", program.to_string_lossy());
    ExitCode::from(code)
}

/// Enters the namespaces, given in the order of [`Request::Enter`](samp_model::control::Request::Enter).
///
/// The PID namespace is the children's only.
fn enter(namespaces: &[OwnedFd]) -> io::Result<()> {
    let [network, user, mounts, processes] = namespaces else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the lab gave other namespaces than expected",
        ));
    };
    let directory = env::current_dir();
    // A lab of root's has the user namespace that we are in, which cannot be entered again.
    if !is_own_user_namespace(user)? {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
    }
    setns(mounts, CloneFlags::CLONE_NEWNS)?;
    setns(processes, CloneFlags::CLONE_NEWPID)?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    // /sys shows the network of whoever mounted it.
    unshare(CloneFlags::CLONE_NEWNS)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(error) = mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>) {
        tracing::warn!(%error, "cannot mount /sys: it shows the devices of another network namespace");
    }
    // Entering a mount namespace leads to its root.
    if let Ok(directory) = directory
        && let Err(error) = env::set_current_dir(&directory)
    {
        tracing::warn!(%error, directory = %directory.display(), "cannot stay in the directory");
    }
    Ok(())
}

fn is_own_user_namespace(user: &OwnedFd) -> io::Result<bool> {
    let own = fstat(File::open("/proc/self/ns/user")?.as_fd())?;
    let theirs = fstat(user)?;
    Ok((own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino))
}

/// Holds back the signals that [`wait`] looks at. A command that is spawned later has none blocked.
fn block_signals() -> io::Result<SigSet> {
    block(&[Signal::SIGCHLD, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP])
}

fn block(signals: &[Signal]) -> io::Result<SigSet> {
    let signals: SigSet = signals.iter().copied().collect();
    signals.thread_block()?;
    Ok(signals)
}

/// Waits for the command's end and passes on what was sent to this process only.
fn wait(mut child: Child, signals: &SigSet) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // Ctrl-C and Ctrl-\ have reached the command from the terminal.
        let signal = signals.wait()?;
        if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
            match kill(pid, signal) {
                // It has ended meanwhile.
                Err(Errno::ESRCH) | Ok(()) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failed as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(42 << 8)), 42);
        assert_eq!(exit_code(ExitStatus::from_raw(Signal::SIGKILL as i32)), 137);
    }

    #[test]
    fn only_complete_sets_of_namespaces_are_entered() {
        assert_eq!(enter(&[]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
