//! A run of samp-lab on input that may want to hang it or to eat the machine.

use crate::lab::samp_lab;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// After so long a run counts as hanging, however busy the machine.
const HANGS: Duration = Duration::from_secs(30);

/// How a run ended and what it took.
#[derive(Debug)]
pub struct Measured {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Processor time that it took.
    pub cpu: Duration,
    /// Bytes of memory that it, or the hungriest child of this process before, had at once.
    pub memory: u64,
}

impl Measured {
    /// The answer as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// A directory of its own, in which samp-lab runs one command after the other: what it leaves shows.
#[derive(Debug)]
pub struct Cage {
    root: PathBuf,
}

impl Cage {
    /// An empty directory.
    pub fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("samp-cage-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("inside")).expect("a directory");
        Self { root }
    }

    /// Where input may be put; not where samp-lab runs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Runs samp-lab in the cage; no other child of this process may be waited for meanwhile.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Measured {
        let [out, err] = ["out", "err"].map(|name| self.root.join(name));
        let before = processor_time();
        let mut child = Command::new(samp_lab())
            .args(args)
            .current_dir(self.inside())
            .env("XDG_RUNTIME_DIR", self.inside())
            .env("HOME", self.inside())
            .env("TMPDIR", self.inside())
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"))
            .spawn()
            .expect("samp-lab can be started");
        let deadline = Instant::now() + HANGS;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().expect("it can be killed");
                child.wait().expect("a child");
                panic!("samp-lab hangs");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let text = |path| String::from_utf8(fs::read(path).expect("output")).expect("UTF-8");
        let children = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
        Measured {
            code: status.code(),
            stdout: text(out),
            stderr: text(err),
            cpu: processor_time() - before,
            memory: children.max_rss() as u64 * 1024,
        }
    }

    /// Runs it, and twice more at most while it takes longer: on a busy machine even processor time grows.
    #[track_caller]
    pub fn run_within<S: AsRef<OsStr>>(
        &self,
        limit: Duration,
        args: impl IntoIterator<Item = S> + Clone,
    ) -> Measured {
        let mut run = self.run(args.clone());
        for _ in 0..2 {
            if run.cpu >= limit {
                run = self.run(args.clone());
            }
        }
        run
    }

    /// Nothing may have been created by any run.
    #[track_caller]
    pub fn assert_empty(&self) {
        let names: Vec<_> = fs::read_dir(self.inside())
            .expect("the cage")
            .map(|entry| entry.expect("a file").path())
            .collect();
        assert!(names.is_empty(), "created: {names:?}");
    }

    fn inside(&self) -> PathBuf {
        self.root.join("inside")
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // A test that fails has told already.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The folder of hostile files.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The files in one folder of the corpus, in order.
pub fn corpus_files(folder: &str) -> Vec<PathBuf> {
    let folder = corpus().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// Of all children that were waited for.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
    let duration = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    duration(usage.user_time()) + duration(usage.system_time())
}
