//! Packs a run's directory.

use super::manifest::{Entry, Manifest};
use super::{BundleError, INPUTS, MANIFEST, MAX_BYTES, MAX_FILES, RUN, failed};
use crate::experiment::{Input, Program};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What is taken from `provenance.json`.
#[derive(Deserialize)]
struct Whence {
    program: Program,
    inputs: Vec<Recorded>,
}

/// A file that a run was made of.
#[derive(Deserialize)]
struct Recorded {
    path: PathBuf,
    sha1: String,
}

/// Packs a directory of `run` or `sim` into a file that does not exist yet.
///
/// # Errors
/// A file cannot be read or written, or there is too much.
pub fn pack(directory: &Path, bundle: &Path) -> Result<Manifest, BundleError> {
    let provenance = directory.join("provenance.json");
    let read = fs::read(&provenance).and_then(|text| Ok(serde_json::from_slice::<Whence>(&text)?));
    let Whence { program, inputs: recorded } = read.map_err(failed("read", &provenance))?;
    let mut files = Vec::new();
    list(directory, RUN, &mut files)?;
    let mut changed = Vec::new();
    for (index, input) in recorded.iter().enumerate() {
        // What has changed since is no input of this run.
        if Input::read(&input.path).is_ok_and(|now| now.sha1 == input.sha1) {
            let name = input.path.file_name().unwrap_or_default().to_string_lossy();
            files.push((input.path.clone(), format!("{INPUTS}/{}-{name}", index + 1)));
        } else {
            changed.push(input.path.display().to_string());
        }
    }
    let entry =
        |(file, path): &(PathBuf, String)| Entry::of(file, path.clone()).map_err(failed("read", file));
    let entries: Vec<_> = files.iter().map(entry).collect::<Result<_, _>>()?;
    if entries.iter().map(|entry| entry.bytes).sum::<u64>() > MAX_BYTES {
        return Err(BundleError::NoBundle(format!("more than {} GiB do not fit one", MAX_BYTES >> 30)));
    }
    let manifest = Manifest::new(program, entries, changed).map_err(failed("describe", "this machine"))?;
    let written = File::create_new(bundle).and_then(|file| write(BufWriter::new(file), &manifest, &files));
    if let Err(source) = written {
        // Half a bundle is none; that it was there before is another's.
        if source.kind() != std::io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(bundle);
        }
        return Err(failed("write", bundle)(source));
    }
    Ok(manifest)
}

fn write(file: impl Write, manifest: &Manifest, files: &[(PathBuf, String)]) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    // Neither owners nor times: the same files make the same archive, but for when and where.
    archive.mode(tar::HeaderMode::Deterministic);
    let text = serde_json::to_vec_pretty(manifest)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, MANIFEST, &text[..])?;
    for (file, path) in files {
        archive.append_path_with_name(file, path)?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// All regular files below a directory, in the order of their names; a page is made anew.
fn list(directory: &Path, name: &str, files: &mut Vec<(PathBuf, String)>) -> Result<(), BundleError> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(failed("list", directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(failed("look at", &path))?;
        let Ok(file_name) = entry.file_name().into_string() else { continue };
        let inner = format!("{name}/{file_name}");
        if kind.is_dir() {
            list(&path, &inner, files)?;
        } else if kind.is_file() && file_name != "report.html" {
            files.push((path, inner));
        }
        if files.len() > MAX_FILES {
            return Err(BundleError::NoBundle(format!("more than {MAX_FILES} files do not fit one")));
        }
    }
    Ok(())
}
