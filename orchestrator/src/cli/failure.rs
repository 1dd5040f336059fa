//! Errors as the user sees them: what is wrong, what to do about it, and the exit code.

use super::exit::Exit;
use crate::cause::{cause_of, chain};
use crate::client::{ClientError, WatchError};
use crate::experiment::{RunDirError, RunError};
use crate::lab::supervisor::LaunchError;
use crate::plan::PlanError;
use crate::runtime_dir::RuntimeDirError;
use samp_model::Diagnostic;
use serde::Serialize;
use std::error::Error;
use std::io;

/// Why a command failed.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The exit code.
    #[serde(skip)]
    pub exit: Exit,
    /// What is wrong, causes included.
    #[serde(rename = "error")]
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What is wrong where in the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// What is different from what there is, a line for each thing: `-` for what there is, `+` for what was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<String>,
}

impl Failure {
    /// A failure that ends with this code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, message, hint: None, diagnostics: Vec::new(), difference: Vec::new() }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// From an error and its causes.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, chain(error))
    }

    /// From an error that the operating system may be the cause of: permissions and exhaustion have their own codes.
    pub fn from_system(error: &(dyn Error + 'static)) -> Self {
        Self::from_error(system_exit(error), error)
    }

    /// From an I/O error in doing something.
    pub fn io(attempt: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::new(system_exit(error), format!("cannot {attempt}: {error}"))
    }

    /// From errors in input files.
    pub fn invalid(diagnostics: Vec<Diagnostic>) -> Self {
        let message = match &diagnostics[..] {
            [one] => one.message.clone(),
            many => format!("{} errors in the input", many.len()),
        };
        Self { diagnostics, ..Self::new(Exit::InvalidInput, message) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::from_system(&error);
        match error {
            ClientError::Connect { .. } => failure.hint("`samp-lab ps` tells which labs run".to_owned()),
            ClientError::Refused { hint, cause, .. } => Self { exit: cause.into(), ..failure }.hint(hint),
            // A lab that does not answer in time is no lack of anything.
            ClientError::Broken { .. } | ClientError::Unexpected { .. } => {
                Self { exit: Exit::Failed, ..failure }
            }
        }
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Client(error) => error.into(),
            WatchError::Interrupted => Self::new(Exit::Interrupted, "interrupted"),
            WatchError::Ended => Self::new(Exit::Failed, "the lab has ended"),
            WatchError::Sink(_) => Self::from_system(&error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Client(error) => error.into(),
            RunError::Watch(error) => error.into(),
            RunError::Unexpected => Self::from_system(&error),
        }
    }
}

impl From<RunDirError> for Failure {
    fn from(error: RunDirError) -> Self {
        match error {
            RunDirError::Exists(_) => Self::from_error(Exit::Conflict, &error)
                .hint("results are never overwritten: name another directory with `--out`".to_owned()),
            RunDirError::Io { .. } => Self::from_system(&error),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let exit = match error {
            PlanError::NoNetem | PlanError::NoIpv6 | PlanError::NoCpuQuota | PlanError::NoTunnels => {
                Exit::Missing
            }
            _ => Exit::InvalidInput,
        };
        let hint = error.hint();
        Self::from_error(exit, &error).hint(hint)
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        let hint = error.hint();
        Self::from_system(&error).hint(hint)
    }
}

impl From<RuntimeDirError> for Failure {
    fn from(error: RuntimeDirError) -> Self {
        let exit = match &error {
            RuntimeDirError::Name(_) => Exit::Usage,
            RuntimeDirError::Live(_) => Exit::Conflict,
            RuntimeDirError::Foreign(_) => Exit::Missing,
            RuntimeDirError::Io { .. } => system_exit(&error),
        };
        let hint = error.hint();
        Self::from_error(exit, &error).hint(hint)
    }
}

/// The exit code for an error, by the error number at the bottom of its causes.
fn system_exit(error: &(dyn Error + 'static)) -> Exit {
    cause_of(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_and_choose_the_exit_code() {
        let error = RuntimeDirError::Io {
            attempt: "create",
            path: "/run/samp-lab".into(),
            source: io::Error::from_raw_os_error(nix::libc::EACCES),
        };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Missing);
        assert_eq!(failure.message, "cannot create /run/samp-lab: Permission denied (os error 13)");
        let full = io::Error::from_raw_os_error(nix::libc::EMFILE);
        assert_eq!(Failure::io("open a file", &full).exit, Exit::Exhausted);
    }

    #[test]
    fn as_json_it_names_error_hint_and_diagnostics() {
        let failure = Failure::new(Exit::Conflict, "two labs run").hint("say which".to_owned());
        assert_eq!(
            serde_json::to_value(failure).unwrap(),
            serde_json::json!({ "error": "two labs run", "hint": "say which" })
        );
        let failure = Failure::invalid(vec![Diagnostic::whole_file("a.yaml", "no such file")]);
        let value = serde_json::to_value(failure).unwrap();
        assert_eq!(value["error"], "no such file");
        assert_eq!(value["diagnostics"][0]["path"], "a.yaml");
    }
}
