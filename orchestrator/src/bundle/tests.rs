//! Bundles that are whole, and such that somebody has meddled with.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of a test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("samp-lab-bundle-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    /// A run's directory, and the file that it was made of.
    fn run(&self) -> PathBuf {
        let run = self.0.join("a-run");
        fs::create_dir_all(run.join("cells/001/1")).unwrap();
        let input = self.0.join("input.yaml");
        fs::write(&input, "abc").unwrap();
        let abc = "a9993e364706816aba3e25717850c26c9cd0d89d";
        let provenance = serde_json::json!({ "program": { "version": "0.1", "sha256": "of what ran" }, "inputs": [{ "path": input, "sha1": abc }] });
        fs::write(run.join("provenance.json"), provenance.to_string()).unwrap();
        fs::write(run.join("cells/001/1/records.jsonl"), "{}\n").unwrap();
        fs::write(run.join("report.html"), "made anew").unwrap();
        run
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Names and contents.
type Files<'a> = Vec<(&'a str, &'a [u8])>;

/// An archive of these files, whatever they are.
fn archive(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // As somebody writes them who means no good: unchecked.
        let bytes = &mut header.as_gnu_mut().unwrap().name;
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
}

#[test]
fn what_was_packed_comes_out_again() {
    let scratch = Scratch::new();
    let (run, bundle, out) = (scratch.run(), scratch.0.join("b.tar.gz"), scratch.0.join("out"));
    let packed = pack(&run, &bundle).unwrap();
    let paths: Vec<_> = packed.files.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["run/cells/001/1/records.jsonl", "run/provenance.json", "inputs/1-input.yaml"]);
    assert_eq!((packed.program.version.as_str(), packed.program.sha256.as_str()), ("0.1", "of what ran"));
    let unpacked = unpack(&bundle, &out).unwrap();
    assert_eq!(unpacked.manifest, packed);
    assert_eq!(fs::read_to_string(out.join("inputs/1-input.yaml")).unwrap(), "abc");
    assert_eq!(fs::read_to_string(unpacked.run.join("cells/001/1/records.jsonl")).unwrap(), "{}\n");
    assert!(matches!(pack(&run, &bundle), Err(BundleError::Io { attempt: "write", .. })), "it exists");
    assert!(bundle.exists());
}

#[test]
fn inputs_that_have_changed_are_left_out_and_named() {
    let scratch = Scratch::new();
    let run = scratch.run();
    fs::write(scratch.0.join("input.yaml"), "abd").unwrap();
    let packed = pack(&run, &scratch.0.join("b.tar.gz")).unwrap();
    assert_eq!(packed.changed_inputs, [scratch.0.join("input.yaml").display().to_string()]);
    assert!(packed.files.iter().all(|entry| entry.path.starts_with("run/")));
}

#[test]
fn what_somebody_has_meddled_with_is_refused() {
    let scratch = Scratch::new();
    let bundle = scratch.0.join("b.tar.gz");
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let manifest = |format: u32, files: &[(&str, u64, &str)]| {
        let files: Vec<_> = files
            .iter()
            .map(
                |(path, bytes, sha256)| serde_json::json!({ "path": path, "bytes": bytes, "sha256": sha256 }),
            )
            .collect();
        let program = serde_json::json!({ "version": "0", "sha256": "0" });
        let machine = serde_json::json!({ "kernel": "0", "cpus": 1, "processor": null, "memory_kib": null, "system": null });
        serde_json::json!({
            "format": format, "packed": "0", "program": program, "machine": machine, "changed_inputs": [], "files": files,
        })
        .to_string()
    };
    let listed = manifest(1, &[("run/a", 3, abc)]);
    let cases: [(&str, Files<'_>, &str); 9] = [
        ("nothing", vec![], "it is empty"),
        ("another archive", vec![("a", b"abc")], "does not begin with bundle.json"),
        ("no list", vec![("bundle.json", b"{}")], "missing field"),
        ("a later format", vec![("bundle.json", b"<format 9>")], "its format is 9"),
        (
            "a file more",
            vec![("bundle.json", b"<listed>"), ("run/a", b"abc"), ("run/b", b"abc")],
            "does not list run/b",
        ),
        ("a file less", vec![("bundle.json", b"<listed>")], "it lacks run/a"),
        ("another file", vec![("bundle.json", b"<listed>"), ("run/a", b"abd")], "is not what it was"),
        ("a longer file", vec![("bundle.json", b"<listed>"), ("run/a", b"abcd")], "cannot write"),
        ("a way out", vec![("bundle.json", b"<out>"), ("../../a", b"abc")], "does not list ../../a"),
    ];
    for (index, (what, files, wanted)) in cases.into_iter().enumerate() {
        let texts = [
            ("<format 9>", manifest(9, &[])),
            ("<listed>", listed.clone()),
            ("<out>", manifest(1, &[("../../a", 3, abc)])),
        ];
        let files: Files<'_> = files
            .into_iter()
            .map(|(name, content)| {
                let text = texts.iter().find(|(mark, _)| mark.as_bytes() == content);
                (name, text.map_or(content, |(_, text)| text.as_bytes()))
            })
            .collect();
        archive(&bundle, &files);
        let error = unpack(&bundle, &scratch.0.join(index.to_string())).unwrap_err().to_string();
        assert!(error.contains(wanted), "{what}: {error}");
    }
    assert!(!scratch.0.parent().unwrap().join("a").exists());
    fs::write(&bundle, "no archive").unwrap();
    assert!(unpack(&bundle, &scratch.0.join("none")).is_err());
}
