//! `doctor`: can labs run here, and what to do where they cannot?

use super::super::terminal::print;
use super::super::{Exit, Failure, Terminal};
use crate::doctor::{self, Check, Verdict};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Serialize)]
struct Findings {
    ready: bool,
    checks: Vec<Check>,
}

/// Checks the machine.
pub(super) fn doctor(terminal: &Terminal) -> Result<Exit, Failure> {
    let checks = doctor::examine();
    let ready = checks.iter().all(|check| check.verdict < Verdict::Missing);
    terminal.show(&Findings { ready, checks }, describe)?;
    Ok(if ready { Exit::Success } else { Exit::Missing })
}

/// Prints what was found inside fresh namespaces, for [`doctor`].
pub(super) fn probe() -> ExitCode {
    let printed = serde_json::to_string(&doctor::probe()).map_err(Into::into).and_then(|json| print(&json));
    if printed.is_ok() { Exit::Success.into() } else { Exit::Failed.into() }
}

fn describe(findings: &Findings) -> String {
    let width = findings.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in &findings.checks {
        let verdict = match check.verdict {
            Verdict::Good => "ok",
            Verdict::Lacking => "note",
            Verdict::Missing => "MISSING",
        };
        text += &format!("{verdict:8} {:width$}  {}\n", check.name, check.found);
        if let Some(remedy) = &check.remedy {
            text += &format!("{:9}{:width$}  remedy: {remedy}\n", "", "");
        }
    }
    text + if findings.ready { "labs can run here\n" } else { "labs cannot run here\n" }
}
