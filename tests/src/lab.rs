//! A lab under test, driven by the real command line, and a file for it.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, id};
use std::sync::atomic::{AtomicUsize, Ordering};

static LABS: AtomicUsize = AtomicUsize::new(0);

/// A lab that runs; dropping it ends it.
#[derive(Debug)]
pub struct Lab {
    name: String,
}

/// The command line's binary, built beside the tests.
pub fn samp_lab() -> PathBuf {
    beside_the_tests("samp-lab")
}

/// A program of this workspace, which `cargo build --workspace` puts beside the tests' own directory.
pub fn beside_the_tests(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let path = test.parent().and_then(Path::parent).expect("target/PROFILE/deps").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

/// A shipped topology or experiment, as `topologies/line.yaml`.
pub fn topology(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A lab name that no other test uses.
pub fn unique_name() -> String {
    format!("test-{}-{}", id(), LABS.fetch_add(1, Ordering::Relaxed))
}

/// Runs samp-lab with these arguments.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(samp_lab()).args(args).output().expect("samp-lab can be started")
}

/// The standard output of a run that must succeed.
#[track_caller]
pub fn stdout(output: Output) -> String {
    assert!(
        output.status.success(),
        "samp-lab failed with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A topology file of this test process's own, removed when it is dropped.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// A file with this text; its own name is one that a lab can have.
    pub fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.yaml", unique_name()));
        fs::write(&path, text).expect("a temporary file");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // It may stay where it is; what is checked are labs.
        let _ = fs::remove_file(&self.0);
    }
}

impl Lab {
    /// Brings up a topology file, with further arguments for `up`.
    #[track_caller]
    pub fn up(file: impl AsRef<Path>, args: &[&str]) -> Self {
        let name = unique_name();
        let mut command = vec!["--quiet", "up", file.as_ref().to_str().expect("UTF-8"), "--name", &name];
        command.extend(args);
        stdout(run(command));
        Self { name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a sub-command on this lab.
    pub fn run(&self, args: &[&str]) -> Output {
        run(["--lab", &self.name, "--format", "json"].iter().chain(args))
    }

    /// The answer to a sub-command that must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = stdout(self.run(args));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
    }

    /// The standard output of a program that runs inside a node and must succeed.
    #[track_caller]
    pub fn exec(&self, node: &str, command: &[&str]) -> String {
        stdout(run(["--lab", &self.name, "exec", node, "--"].iter().chain(command)))
    }

    /// The supervisor's process id.
    pub fn supervisor(&self) -> i32 {
        let labs: Value = serde_json::from_str(&stdout(run(["--format", "json", "ps"]))).expect("JSON");
        let lab = labs.as_array().expect("a list").iter().find(|lab| lab["name"] == self.name.as_str());
        lab.expect("the lab is listed")["supervisor_pid"].as_i64().expect("a number") as i32
    }

    /// Ends the lab, which must succeed.
    #[track_caller]
    pub fn down(self) {
        stdout(run(["down", &self.name]));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // After `down` there is nothing left, and the command says so; a test that fails must not leave its lab.
        run(["down", &self.name]);
    }
}

/// Whether the kernel can do the tunnels of Mobile IPv6; if not, that is said by who is asked for it. With
/// `SAMP_TEST_TUNNELS` it has to.
///
/// # Panics
/// Something else is said, or it has to and cannot.
#[track_caller]
pub fn has_kernel_tunnels() -> bool {
    let knobs = "family: ipv6\nprotocol: mipv6\nemulation: { tunnels: kernel }";
    let line = fs::read_to_string(topology("topologies/line.yaml")).expect("it is shipped");
    let file = TemporaryFile::new(&format!("{knobs}\n{line}"));
    let plan = run(["plan".as_ref(), file.path().as_os_str()]);
    if !plan.status.success() {
        let said = String::from_utf8_lossy(&plan.stderr);
        assert!(plan.status.code() == Some(4) && said.contains("no ip6tnl"), "{said}");
        assert!(std::env::var_os("SAMP_TEST_TUNNELS").is_none(), "{said}");
        eprintln!("SKIPPED: this kernel has no ip6tnl");
    }
    plan.status.success()
}
