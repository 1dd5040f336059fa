//! Unpacks a bundle that anybody may have made: nothing is written outside of its directory, nothing that it does not list.

use super::manifest::{Entry, FORMAT, Manifest, hexadecimal};
use super::{BundleError, MANIFEST, MAX_BYTES, MAX_FILES, MAX_MANIFEST, RUN, failed};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

/// An unpacked bundle.
#[derive(Debug)]
pub struct Unpacked {
    /// What it holds.
    pub manifest: Manifest,
    /// Where the run is.
    pub run: PathBuf,
}

/// Unpacks a bundle into a directory that does not exist yet.
///
/// # Errors
/// It is no bundle, a file is not what the bundle says, or nothing can be written.
pub fn unpack(bundle: &Path, directory: &Path) -> Result<Unpacked, BundleError> {
    let file = File::open(bundle).map_err(failed("read", bundle))?;
    fs::create_dir(directory).map_err(failed("create", directory))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    let mut entries = archive.entries().map_err(failed("read", bundle))?;
    let first = entries.next().ok_or_else(|| BundleError::NoBundle("it is empty".into()))?;
    let manifest = read_manifest(first.map_err(failed("read", bundle))?)?;
    let mut missing: BTreeMap<&str, &Entry> =
        manifest.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    for entry in entries {
        let mut entry = entry.map_err(failed("read", bundle))?;
        let path = entry.path().map_err(failed("read", bundle))?.into_owned();
        let listed = path.to_str().and_then(|path| missing.remove(path));
        let Some(listed) = listed.filter(|_| entry.header().entry_type().is_file() && is_plain(&path)) else {
            return Err(BundleError::NoBundle(format!("it does not list {}", path.display())));
        };
        let target = directory.join(&path);
        let parent = target.parent().unwrap_or(directory);
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        let hash = copy(&mut entry, listed.bytes, &target).map_err(failed("write", &target))?;
        if hash != listed.sha256 {
            return Err(BundleError::NoBundle(format!("{} is not what it was", path.display())));
        }
    }
    if let Some(path) = missing.keys().next() {
        return Err(BundleError::NoBundle(format!("it lacks {path}")));
    }
    Ok(Unpacked { run: directory.join(RUN), manifest })
}

fn read_manifest(entry: tar::Entry<'_, impl Read>) -> Result<Manifest, BundleError> {
    let no_bundle = |why: &str| BundleError::NoBundle(why.to_owned());
    if entry.path().ok().as_deref() != Some(Path::new(MANIFEST)) {
        return Err(no_bundle("it does not begin with bundle.json"));
    }
    let mut text = Vec::new();
    entry.take(MAX_MANIFEST).read_to_end(&mut text).map_err(failed("read", MANIFEST))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| BundleError::NoBundle(format!("{MANIFEST}: {error}")))?;
    let bytes = manifest.files.iter().try_fold(0_u64, |sum, entry| sum.checked_add(entry.bytes));
    match manifest.format {
        FORMAT if manifest.files.len() > MAX_FILES => Err(no_bundle("it has too many files")),
        FORMAT if bytes.is_none_or(|bytes| bytes > MAX_BYTES) => Err(no_bundle("it is too large")),
        FORMAT => Ok(manifest),
        other => {
            Err(BundleError::NoBundle(format!("its format is {other}, and this program reads {FORMAT}")))
        }
    }
}

/// Whether a path leads nowhere but down.
fn is_plain(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_)))
}

/// Copies so many bytes, no more and no less, and returns their SHA-256.
fn copy(content: &mut impl Read, bytes: u64, target: &Path) -> io::Result<String> {
    let mut file = File::create_new(target)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut left = bytes;
    loop {
        let n = content.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        left =
            left.checked_sub(n as u64).ok_or_else(|| io::Error::other("it is larger than it should be"))?;
        hasher.update(&buffer[..n]);
        file.write_all(&buffer[..n])?;
    }
    Ok(hexadecimal(&hasher.finalize()))
}
