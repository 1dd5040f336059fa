//! A lab's namespaces, however many: a few keepers hold them, and whoever needs one opens it for a moment.

use samp_sys::keeper::{self, Keeper, Misses};
use samp_sys::namespace::Namespace;
use samp_sys::process::raise_nofile_limit;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Namespaces, by number.
pub(super) struct Namespaces {
    /// Shows the keepers.
    proc: File,
    keepers: Vec<Arc<Keeper>>,
    /// Each keeper but the last has so many.
    per_keeper: usize,
}

impl Namespaces {
    /// Creates `count` namespaces; what the multicast routers in them ask comes by keeper. `proc` is the root of a
    /// `/proc` that shows this process.
    ///
    /// # Errors
    /// As [`Keeper::start`].
    pub(super) fn create(proc: File, count: usize) -> io::Result<(Self, Vec<Misses>)> {
        let most = keeper::capacity(raise_nofile_limit()?);
        let keepers = count.div_ceil(most).max(1);
        let per_keeper = count.div_ceil(keepers);
        // The kernel makes them side by side.
        let started: Vec<_> = thread::scope(|scope| {
            let start = |first| Keeper::start(&proc, per_keeper.min(count - first));
            let starts: Vec<_> = (0..count)
                .step_by(per_keeper.max(1))
                .map(|first| thread::Builder::new().spawn_scoped(scope, move || start(first)))
                .collect();
            let join = |thread: io::Result<thread::ScopedJoinHandle<'_, io::Result<_>>>| {
                thread?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            starts.into_iter().map(join).collect::<io::Result<_>>()
        })?;
        let (keepers, misses) =
            started.into_iter().map(|(keeper, misses)| (Arc::new(keeper), misses)).unzip();
        Ok((Self { proc, keepers, per_keeper }, misses))
    }

    /// Opens namespace `number`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn open(&self, number: usize) -> io::Result<Namespace> {
        let (keeper, own) = self.place(number);
        self.keepers[keeper].open(&self.proc, own)
    }

    /// Where the host's `/proc` shows namespace `number`.
    pub(super) fn path(&self, number: usize) -> PathBuf {
        let (keeper, own) = self.place(number);
        PathBuf::from("/proc").join(self.keepers[keeper].path(own))
    }

    /// The keeper of namespace `number`, and what number the namespace has there.
    pub(super) fn place(&self, number: usize) -> (usize, usize) {
        (number / self.per_keeper, number % self.per_keeper)
    }

    /// The namespace that has number `own` at a keeper.
    pub(super) fn number(&self, keeper: usize, own: usize) -> usize {
        keeper * self.per_keeper + own
    }

    /// All keepers.
    pub(super) fn keepers(&self) -> &[Arc<Keeper>] {
        &self.keepers
    }
}
