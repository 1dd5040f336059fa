//! Errors with their causes: in one line, and what kind of failure it is by the error numbers at the bottom.

use nix::errno::Errno;
use samp_model::control::Cause;
use std::error::Error;
use std::io;

/// The first of the error and its causes that says.
pub(crate) fn cause_of(error: &(dyn Error + 'static)) -> Cause {
    let mut here = Some(error);
    while let Some(error) = here {
        let cause = if let Some(errno) = error.downcast_ref::<Errno>() {
            cause_of_io(&io::Error::from(*errno))
        } else {
            error.downcast_ref::<io::Error>().map_or(Cause::Other, cause_of_io)
        };
        if cause != Cause::Other {
            return cause;
        }
        here = error.source();
    }
    Cause::Other
}

/// An error and its causes, in one line; a cause that the text before it quotes already is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

fn cause_of_io(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::PermissionDenied => return Cause::Missing,
        io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            return Cause::Exhausted;
        }
        _ => {}
    }
    match error.raw_os_error().map(Errno::from_raw) {
        // The last is said of processes and threads beyond the limit.
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::EAGAIN) => Cause::Exhausted,
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_error_number_counts() {
        for (errno, cause) in [
            (Errno::EACCES, Cause::Missing),
            (Errno::EPERM, Cause::Missing),
            (Errno::EMFILE, Cause::Exhausted),
            (Errno::EAGAIN, Cause::Exhausted),
            (Errno::ENOSPC, Cause::Exhausted),
            (Errno::ENOMEM, Cause::Exhausted),
            (Errno::EINVAL, Cause::Other),
        ] {
            assert_eq!(cause_of(&errno), cause, "{errno}");
            let error = anyhow::Error::from(io::Error::from(errno)).context("above").context("further above");
            assert_eq!(cause_of(error.as_ref()), cause, "{errno}");
        }
    }
}
