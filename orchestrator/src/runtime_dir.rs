//! A lab's directory on the host: control socket and logs, the only trace that a running lab leaves there.

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use samp_model::control::Request;
use samp_sys::cgroup;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Characters that a lab's name may have at most.
pub const MAX_NAME: usize = 32;

/// The directory of one lab, whether it exists or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir {
    path: PathBuf,
}

/// A runtime directory that is ours, with its control socket already listening.
///
/// From here on other `up`s of the same name see a live lab, until the listener is closed.
#[derive(Debug)]
pub struct Claim {
    /// The directory; fresh, with an empty `logs`.
    pub dir: RuntimeDir,
    /// The control socket, to be inherited by the supervisor.
    pub listener: UnixListener,
}

/// Why there is no runtime directory.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// The name cannot be a file name of its own.
    #[error("`{0}` cannot be a lab's name")]
    Name(String),
    /// The lab exists.
    #[error("a lab named `{0}` is already running")]
    Live(String),
    /// Something in the file system.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Somebody else's directory stands where ours should be.
    #[error("{} belongs to another user", .0.display())]
    Foreign(PathBuf),
}

impl RuntimeDirError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RuntimeDirError::Name(_) => Some(format!(
                "use 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`, not beginning with a dot"
            )),
            RuntimeDirError::Live(name) => Some(format!(
                "end it with `samp-lab down {name}`, or give this one another name with `--name`"
            )),
            RuntimeDirError::Foreign(_) => Some("set XDG_RUNTIME_DIR to a directory of your own".into()),
            RuntimeDirError::Io { .. } => None,
        }
    }
}

impl RuntimeDir {
    /// Where the labs of this user are: `/run/samp-lab` for root, else `samp-lab` in `$XDG_RUNTIME_DIR`, or
    /// `/tmp/samp-lab-UID` where that is not set.
    pub fn base() -> PathBuf {
        let user = geteuid();
        if user.is_root() {
            return PathBuf::from("/run/samp-lab");
        }
        match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("samp-lab"),
            _ => PathBuf::from(format!("/tmp/samp-lab-{user}")),
        }
    }

    /// The directory of the lab with this name; it need not exist.
    ///
    /// # Errors
    /// [`RuntimeDirError::Name`].
    pub fn of(name: &str) -> Result<Self, RuntimeDirError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(RuntimeDirError::Name(name.into()));
        }
        Ok(Self { path: Self::base().join(name) })
    }

    /// The runtime directory at this path, as [`RuntimeDir::path`] gave it.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directories of all labs of this user, live or dead, by name.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn list() -> Result<Vec<Self>, RuntimeDirError> {
        let base = Self::base();
        let entries = match fs::read_dir(&base) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("list", &base)(error)),
        };
        let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        Ok(names.iter().filter_map(|name| Self::of(name.to_str()?).ok()).collect())
    }

    /// The name of the lab.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// What the lab's control group is called, if it has one.
    pub fn group_name(&self) -> String {
        format!("samp-lab.{}", self.name())
    }

    /// Notes where the lab's control group is, before it is made: it goes with the directory.
    ///
    /// # Errors
    /// The link cannot be made.
    pub fn note_group(&self, group: &Path) -> io::Result<()> {
        symlink(group, self.group_link())
    }

    fn group_link(&self) -> PathBuf {
        self.path.join("cgroup")
    }

    /// What the lab is built from, for the supervisor.
    pub fn lab_file(&self) -> PathBuf {
        self.path.join("lab.json")
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The log of a node's agent.
    pub fn node_log(&self, node: &str) -> PathBuf {
        self.logs().join(format!("{node}.log"))
    }

    /// The log of a process with many agents; their own logs lead to it.
    pub fn process_log(&self, number: usize) -> PathBuf {
        self.path.join(format!("process-{number}.log"))
    }

    /// Where a program of the user's at a node works.
    pub fn work(&self, node: &str) -> PathBuf {
        self.path.join("work").join(node)
    }

    /// The supervisor's own log; outside of the logs' folder, where a node may have any name.
    pub fn supervisor_log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// Whether a supervisor holds the control socket, be it only as long as the kernel takes to end it.
    pub fn is_live(&self) -> bool {
        UnixStream::connect(self.control_socket()).is_ok()
    }

    /// Whether a lab answers at the control socket, or at least does not end while it is asked.
    ///
    /// A supervisor that was killed holds its socket for some more milliseconds, and then hangs up.
    fn answers(&self) -> bool {
        /// A lab that comes up answers once its network stands; it need not be waited for.
        const PATIENCE: Duration = Duration::from_secs(2);
        let Ok(mut stream) = UnixStream::connect(self.control_socket()) else { return false };
        let asked = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| serde_json::to_vec(&Request::Status).map_err(io::Error::from))
            .and_then(|request| stream.write_all(&request))
            .and_then(|()| stream.write_all(b"\n"))
            .and_then(|()| stream.read(&mut [0; 1]));
        match asked {
            Ok(read) => read > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Makes the directory ours: replaces what a dead lab has left, and listens on the control socket.
    ///
    /// # Errors
    /// [`RuntimeDirError::Live`] when a lab of this name runs or comes up.
    pub fn claim(&self) -> Result<Claim, RuntimeDirError> {
        let _lock = self.lock_base()?;
        if self.answers() {
            return Err(RuntimeDirError::Live(self.name().into()));
        }
        self.remove_all()?;
        self.create().inspect_err(|_| {
            // What cannot be removed either is replaced by the next lab of this name.
            let _ = self.remove_all();
            let _ = fs::remove_dir(self.base_path());
        })
    }

    fn create(&self) -> Result<Claim, RuntimeDirError> {
        for dir in [self.path.clone(), self.logs()] {
            DirBuilder::new().mode(0o700).create(&dir).map_err(io_error("create", &dir))?;
        }
        let socket = self.control_socket();
        // The directory is closed to others already, so the socket never has an open moment.
        let listener = UnixListener::bind(&socket).map_err(io_error("listen on", &socket))?;
        fs::set_permissions(&socket, Permissions::from_mode(0o600)).map_err(io_error("protect", &socket))?;
        Ok(Claim { dir: self.clone(), listener })
    }

    /// Removes the directory and everything in it, and the base directory with the last one. There need not be any.
    ///
    /// A lab does this while it still listens: until all is gone it counts as live, and nobody replaces it.
    ///
    /// # Errors
    /// [`RuntimeDirError::Io`].
    pub fn remove(&self) -> Result<(), RuntimeDirError> {
        let _lock = self.lock_base()?;
        self.remove_all()?;
        // Other labs keep it.
        let _ = fs::remove_dir(self.base_path());
        Ok(())
    }

    /// The directory, and the control group of a lab that has died.
    fn remove_all(&self) -> Result<(), RuntimeDirError> {
        let is_labs = |group: &PathBuf| group.file_name().is_some_and(|name| *name == *self.group_name());
        if let Some(group) = fs::read_link(self.group_link()).ok().filter(is_labs) {
            cgroup::remove(&group).map_err(io_error("remove", &group))?;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    fn base_path(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Creates the base directory and locks it: who claims or removes is alone.
    fn lock_base(&self) -> Result<Flock<File>, RuntimeDirError> {
        let base = self.base_path();
        loop {
            DirBuilder::new().mode(0o700).recursive(true).create(base).map_err(io_error("create", base))?;
            let file = match File::open(base) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(io_error("open", base))?,
            };
            let ours = file.metadata().map_err(io_error("examine", base))?;
            if ours.uid() != geteuid().as_raw() {
                return Err(RuntimeDirError::Foreign(base.into()));
            }
            let lock = Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, errno)| io_error("lock", base)(io::Error::from(errno)))?;
            // The last lab may have removed it meanwhile.
            if fs::metadata(base).is_ok_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino())) {
                return Ok(lock);
            }
        }
    }
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RuntimeDirError {
    let path = path.to_path_buf();
    move |source| RuntimeDirError::Io { attempt, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("samp-lab-test-{}-{test}", std::process::id()))
    }

    #[test]
    fn names_that_are_no_plain_file_names_are_refused() {
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "ä", &"x".repeat(MAX_NAME + 1)] {
            assert!(matches!(RuntimeDir::of(name), Err(RuntimeDirError::Name(_))), "{name:?}");
        }
        assert_eq!(RuntimeDir::of("grid-small").unwrap().name(), "grid-small");
    }

    #[test]
    fn a_live_lab_is_a_conflict_and_a_dead_one_is_replaced() {
        let base = scratch("claim");
        let dir = RuntimeDir::at(base.join("lab"));
        let claim = dir.claim().unwrap();
        assert!(dir.is_live());
        assert!(matches!(dir.claim(), Err(RuntimeDirError::Live(name)) if name == "lab"));
        assert_eq!(fs::metadata(dir.control_socket()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);

        fs::write(dir.node_log("n1"), "old").unwrap();
        drop(claim);
        assert!(!dir.is_live());
        let claim = dir.claim().unwrap();
        assert!(!dir.node_log("n1").exists());
        drop(claim);

        let other = RuntimeDir::at(base.join("other"));
        let _other = other.claim().unwrap();
        dir.remove().unwrap();
        assert!(!dir.path().exists() && other.is_live());
        other.remove().unwrap();
        assert!(!base.exists());
        other.remove().unwrap();
        assert!(!base.exists());
    }
}
