//! Network namespaces as descriptors: nothing is bound to a name, so nothing can be left behind.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

/// An open network namespace; the descriptor keeps it alive.
///
/// Clones share one descriptor, so they are cheap.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<OwnedFd>);

impl Namespace {
    /// A new, empty namespace (its `lo` is down). The calling thread stays where it is.
    ///
    /// # Errors
    /// The thread could not be started, or the caller lacks `CAP_SYS_ADMIN` in its user namespace.
    pub fn create() -> io::Result<Self> {
        on_fresh_thread(Self::unshare)?
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted, or no descriptor is left.
    pub fn current() -> io::Result<Self> {
        // Not /proc/self: that is the namespace of the thread-group leader.
        Ok(Self::from(OwnedFd::from(File::open("/proc/thread-self/ns/net")?)))
    }

    /// Moves the calling thread into this namespace, for good.
    ///
    /// # Errors
    /// The caller lacks `CAP_SYS_ADMIN` in the namespace's user namespace.
    pub fn enter(&self) -> io::Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }

    /// Runs `f` inside this namespace, on a fresh thread that is joined before the return.
    ///
    /// A panic of `f` goes on in the caller.
    ///
    /// # Errors
    /// The thread could not be started or could not enter the namespace; `f` has not run then.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_fresh_thread(|| {
            self.enter()?;
            Ok(f())
        })?
    }

    /// Whether both are the same namespace.
    ///
    /// # Errors
    /// A descriptor cannot be examined.
    pub fn is_same(&self, other: &Namespace) -> io::Result<bool> {
        let (a, b) = (nix::sys::stat::fstat(&self.0)?, nix::sys::stat::fstat(&other.0)?);
        Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Leaves the calling thread in a new namespace: only for threads that end right after.
    pub(crate) fn unshare() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Self::current()
    }
}

impl From<OwnedFd> for Namespace {
    /// Takes a descriptor of a network namespace, for example one that another process has sent.
    fn from(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A thread's namespace dies with the thread, so no other work ever runs in the wrong one.
fn on_fresh_thread<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("namespace".into()).spawn_scoped(scope, f)?;
        thread.join().map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
    })
}
