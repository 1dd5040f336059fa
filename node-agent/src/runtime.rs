//! The event loop's machinery.

use std::io;
use std::panic;
use tokio::runtime::{Builder, Runtime};

/// A runtime that drives everything from the calling thread.
///
/// # Errors
/// Descriptors or memory are short. For some of them tokio panics; here that is an error as any other.
pub fn start_runtime() -> io::Result<Runtime> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let built = panic::catch_unwind(|| Builder::new_current_thread().enable_all().build());
    panic::set_hook(hook);
    let short = || io::Error::new(io::ErrorKind::OutOfMemory, "descriptors or memory are short");
    built.unwrap_or_else(|_| Err(short()))
}
