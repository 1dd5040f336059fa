//! Descriptors in the runtime's reactor.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Makes the readiness of an owned descriptor known to the runtime.
///
/// # Errors
/// The descriptor cannot be waited for.
#[expect(
    deprecated,
    reason = "the replacement is unsafe because `AsRawFd` alone promises no open descriptor; `AsFd` does"
)]
pub(crate) fn watch<T: AsFd + AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, interest)
}
