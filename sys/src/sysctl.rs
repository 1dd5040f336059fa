//! Kernel parameters of the calling thread's network namespace.

use std::{fs, io};

/// Writes `value` to `/proc/sys/PATH`, for example `net/ipv4/ip_forward`.
///
/// Files below `net/` belong to the calling thread's namespace, whichever `/proc` is mounted.
///
/// # Errors
/// The parameter does not exist, or refuses the value; the error's text names both.
pub fn write(path: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/{path}"), value).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot set sysctl {path} to {value}: {error}"))
    })
}
