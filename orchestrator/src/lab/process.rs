//! One process of the lab's, an agent or a program of the user's: its state, how it is stopped, how it ended.

use super::agents::send;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use samp_model::agent::ToAgent;
use samp_model::control::AgentState;
use samp_sys::process::Isolated;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixDatagram;

/// A process with a log.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) isolated: Arc<Isolated>,
    /// The control socket of an agent that shares its process with others, so that signals are not for it.
    pub(super) shared: Option<Arc<UnixDatagram>>,
    pub(super) state: AgentState,
    pub(super) log: PathBuf,
}

/// What a dead process is told.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignalError {
    #[error("it is dead")]
    Dead,
    #[error("the kernel refuses")]
    Refused(#[source] io::Error),
}

/// A child that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) pid: i32,
    pub(super) how: String,
    /// None when a signal ended it.
    pub(super) code: Option<i32>,
}

impl Ended {
    /// The state of whoever was in it. One that has done its work is not dead: nothing is wrong.
    pub(super) fn state(&self) -> AgentState {
        if self.code == Some(0) { AgentState::Done } else { AgentState::Dead }
    }
}

impl Process {
    /// Kills it as a crash would; an agent that shares its process loses all its sockets at once.
    pub(super) fn kill(&mut self) -> Result<(), SignalError> {
        if self.state.has_ended() {
            return Err(SignalError::Dead);
        }
        match &self.shared {
            None => self.isolated.signal(Signal::SIGKILL),
            Some(socket) => socket.shutdown(Shutdown::Both),
        }
        .map_err(SignalError::Refused)?;
        self.state = AgentState::Dead;
        Ok(())
    }

    /// Stops it, or lets it go on.
    pub(super) fn pause(&mut self, pause: bool) -> Result<(), SignalError> {
        let (signal, message, state) = match (self.state, pause) {
            (state, _) if state.has_ended() => return Err(SignalError::Dead),
            (AgentState::Paused, true) | (AgentState::Starting | AgentState::Running, false) => return Ok(()),
            (_, true) => (Signal::SIGSTOP, ToAgent::Pause, AgentState::Paused),
            (_, false) => (Signal::SIGCONT, ToAgent::Resume, AgentState::Running),
        };
        match &self.shared {
            None => self.isolated.signal(signal),
            Some(socket) => send(socket, &message),
        }
        .map_err(SignalError::Refused)?;
        self.state = state;
        Ok(())
    }
}

/// Reaps whoever has ended, as process 1 also strangers that `exec` left behind.
pub(super) fn reap() -> Vec<Ended> {
    let mut ended = Vec::new();
    loop {
        let (pid, how, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, format!("ended with exit code {code}"), Some(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("was ended by {signal}"), None),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot reap child processes");
                return ended;
            }
        };
        ended.push(Ended { pid: pid.as_raw(), how, code });
    }
}

/// The last line of a log that says something.
pub(super) fn last_words(log: &Path) -> Option<String> {
    const TAIL: u64 = 4096;
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
