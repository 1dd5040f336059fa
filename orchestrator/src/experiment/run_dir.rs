//! A run's directory: `NAME.partial` while it is being written, `NAME` when it is whole.

use super::provenance::Timestamp;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Directories of one second are numbered so far.
const MOST_OF_A_SECOND: u32 = 1000;

/// The directory of a run.
#[derive(Debug)]
pub struct RunDir {
    partial: PathBuf,
    path: PathBuf,
}

/// Why a run's results cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// Results are never overwritten.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
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
}

impl RunDir {
    /// The directory `path`, which must not exist.
    ///
    /// # Errors
    /// [`RunDirError::Exists`], also for what an interrupted run has left at its partial name.
    pub fn create(path: &Path) -> Result<Self, RunDirError> {
        if path.symlink_metadata().is_ok() {
            return Err(RunDirError::Exists(path.into()));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(error("create", parent))?;
        }
        let partial = partial(path);
        match fs::create_dir(&partial) {
            Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {
                Err(RunDirError::Exists(partial))
            }
            Err(problem) => Err(error("create", &partial)(problem)),
            Ok(()) => Ok(Self { partial, path: path.into() }),
        }
    }

    /// The directory `path`, which must not exist; what an interrupted run has left at its partial name is removed.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn create_anew(path: &Path) -> Result<Self, RunDirError> {
        let partial = partial(path);
        match fs::remove_dir_all(&partial) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                Err(error("remove", &partial)(problem))
            }
            _ => Self::create(path),
        }
    }

    /// A fresh directory `runs/NAME-YYYYMMDD-HHMMSS`, with a number behind when it is not the first of its second.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn fresh(runs: &Path, name: &str, now: Timestamp) -> Result<Self, RunDirError> {
        let stem = format!("{name}-{}", now.compact());
        let mut last = RunDirError::Exists(runs.join(&stem));
        for number in 1..=MOST_OF_A_SECOND {
            let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            match Self::create(&runs.join(name)) {
                Err(exists @ RunDirError::Exists(_)) => last = exists,
                result => return result,
            }
        }
        Err(last)
    }

    /// Where the results are now.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Opens a file that is written line by line.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn lines(&self, name: &str) -> Result<BufWriter<File>, RunDirError> {
        let path = self.partial.join(name);
        Ok(BufWriter::new(File::create_new(&path).map_err(error("create", &path))?))
    }

    /// Writes a file as JSON.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn write_json(&self, name: &str, content: &impl Serialize) -> Result<(), RunDirError> {
        let path = self.partial.join(name);
        let mut json =
            serde_json::to_vec_pretty(content).map_err(|problem| error("write", &path)(problem.into()))?;
        json.push(b'\n');
        let mut file = File::create(&path).map_err(error("create", &path))?;
        file.write_all(&json).map_err(error("write", &path))
    }

    /// Gives the directory, now whole, its proper name, and returns that.
    ///
    /// # Errors
    /// Any of [`RunDirError`].
    pub fn finish(self) -> Result<PathBuf, RunDirError> {
        if self.path.symlink_metadata().is_ok() {
            return Err(RunDirError::Exists(self.path));
        }
        fs::rename(&self.partial, &self.path).map_err(error("name", &self.path))?;
        Ok(self.path)
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

fn error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_path_buf();
    move |source| RunDirError::Io { attempt, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("samp-lab-run-{}-{test}", std::process::id()))
    }

    #[test]
    fn a_directory_is_partial_until_it_is_whole() {
        let base = scratch("whole");
        let run = RunDir::create(&base.join("a/out")).unwrap();
        writeln!(run.lines("records.jsonl").unwrap(), "{{}}").unwrap();
        run.write_json("summary.json", &[1]).unwrap();
        assert!(base.join("a/out.partial/records.jsonl").exists() && !base.join("a/out").exists());
        assert_eq!(run.finish().unwrap(), base.join("a/out"));
        assert_eq!(fs::read_to_string(base.join("a/out/summary.json")).unwrap(), "[\n  1\n]\n");
        assert!(!base.join("a/out.partial").exists());
        assert!(matches!(RunDir::create(&base.join("a/out")), Err(RunDirError::Exists(_))));
        RunDir::create(&base.join("b")).unwrap().lines("records.jsonl").unwrap();
        assert!(matches!(RunDir::create(&base.join("b")), Err(RunDirError::Exists(_))));
        let anew = RunDir::create_anew(&base.join("b")).unwrap();
        assert!(!anew.partial().join("records.jsonl").exists());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn directories_of_one_second_are_numbered() {
        let base = scratch("fresh");
        let now = Timestamp::from_unix(0);
        let names: Vec<_> = (0..2)
            .map(|_| RunDir::fresh(&base, "handoff", now).unwrap().finish().unwrap())
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["handoff-19700101-000000", "handoff-19700101-000000-2"]);
        fs::remove_dir_all(base).unwrap();
    }
}
