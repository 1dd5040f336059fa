//! Tells the program which git revision it is built from, for the provenance of its measurements.

use std::path::Path;
use std::process::Command;

/// What belongs to the program; `git describe` looks at all of it.
const CRATES: [&str; 8] =
    ["model", "chart", "sys", "emulation", "protocol", "simulator", "node-agent", "orchestrator"];

fn main() {
    let of_git = [".git/HEAD", ".git/index", ".git/refs/heads"].map(|path| format!("../{path}"));
    let of_crates = CRATES.map(|name| format!("../{name}/src"));
    // A path that does not exist would count as changed, always.
    for path in of_git.iter().chain(&of_crates).filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    // Built outside of git, there is no revision to tell.
    let describe =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output();
    if let Ok(output) = describe
        && output.status.success()
    {
        let revision = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env=SAMP_LAB_REVISION={}", revision.trim());
    }
}
