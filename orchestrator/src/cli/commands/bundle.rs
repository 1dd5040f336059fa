//! `bundle`: a run in one file.

use super::super::{Bundle, Exit, Failure, Terminal};
use crate::bundle::{BundleError, Manifest, pack};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// A bundle that was written.
#[derive(Serialize)]
struct Packed<'a> {
    bundle: &'a Path,
    #[serde(flatten)]
    manifest: Manifest,
}

/// Packs a run's directory.
pub(super) fn bundle(terminal: &Terminal, options: &Bundle) -> Result<Exit, Failure> {
    let beside = || {
        let mut name = options.directory.components().as_path().as_os_str().to_owned();
        name.push(".tar.gz");
        PathBuf::from(name)
    };
    let bundle = options.out.clone().unwrap_or_else(beside);
    let manifest = pack(&options.directory, &bundle)?;
    let packed = Packed { bundle: &bundle, manifest };
    terminal.show(&packed, |packed| {
        let Manifest { files, changed_inputs, .. } = &packed.manifest;
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let mut text = format!("packed {} files, {} KiB\n", files.len(), bytes.div_ceil(1024));
        for input in changed_inputs {
            text += &format!("left out, as it has changed since the run or is not there: {input}\n");
        }
        text + &format!("wrote {}\n", packed.bundle.display())
    })?;
    Ok(Exit::Success)
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        let exit = match &error {
            BundleError::NoBundle(_) => Exit::InvalidInput,
            BundleError::Io { source, .. } => match source.kind() {
                io::ErrorKind::AlreadyExists => Exit::Conflict,
                io::ErrorKind::NotFound
                | io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof => Exit::InvalidInput,
                _ => return Self::from_system(&error),
            },
        };
        Self::from_error(exit, &error)
    }
}
