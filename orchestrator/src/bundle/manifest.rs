//! What a bundle holds, and of which program and machine.

use crate::experiment::{Program, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The format of bundles that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// What `bundle.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The bundle's format.
    pub format: u32,
    /// When it was packed (RFC 3339).
    pub packed: String,
    /// What ran, which need not be what packs.
    pub program: Program,
    /// Where it was packed.
    pub machine: Machine,
    /// Files that the run was made of and that are not the same any more, so that they are left out.
    pub changed_inputs: Vec<String>,
    /// All files.
    pub files: Vec<Entry>,
}

/// A machine, as far as measurements depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// CPUs that samp-lab may use.
    pub cpus: usize,
    /// What they are, where the kernel says so.
    pub processor: Option<String>,
    /// Memory, in KiB, where the kernel says so.
    pub memory_kib: Option<u64>,
    /// The distribution, where there is one.
    pub system: Option<String>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the bundle.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Of these files, which this program made, here and now.
    ///
    /// # Errors
    /// The kernel does not say what it is.
    pub(super) fn new(program: Program, files: Vec<Entry>, changed_inputs: Vec<String>) -> io::Result<Self> {
        Ok(Self {
            format: FORMAT,
            packed: Timestamp::now().to_string(),
            program,
            machine: Machine::look()?,
            changed_inputs,
            files,
        })
    }
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// The kernel does not say what it is.
    pub fn look() -> io::Result<Self> {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal");
        Ok(Self {
            kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            processor: line("/proc/cpuinfo", "model name"),
            memory_kib: memory.and_then(|memory| memory.split_whitespace().next()?.parse().ok()),
            system: line("/etc/os-release", "PRETTY_NAME"),
        })
    }
}

impl Entry {
    /// A file, under this name.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of(file: &Path, path: String) -> io::Result<Self> {
        Ok(Self { path, bytes: fs::metadata(file)?.len(), sha256: hash(File::open(file)?)? })
    }
}

/// The SHA-256 of all that there is to read, in hexadecimal.
pub(super) fn hash(mut content: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut content, &mut hasher)?;
    Ok(hexadecimal(&hasher.finalize()))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
