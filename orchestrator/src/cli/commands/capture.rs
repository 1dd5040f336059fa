//! `capture`: what passes interfaces of a lab, into a file or a pipe.

use super::super::typed::Capture;
use super::super::{Exit, Failure, Terminal};
use crate::capture::{Captured, Limits, Taps};
use crate::client::Client;
use crate::experiment::Interrupt;
use samp_model::capture;
use samp_sys::process::{pidfd, raise_nofile_limit};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

/// Captures until Ctrl-C, a limit, the end of the lab, or until nobody reads any more: all good ends.
pub(super) fn capture(terminal: &Terminal, client: &Client, wanted: &Capture) -> Result<Exit, Failure> {
    let file = wanted.write.as_ref().filter(|path| path.as_os_str() != "-");
    if file.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "a capture is not for a terminal")
            .hint("name a file with `-w FILE`, or pipe it: `| tshark -r -`".to_owned()));
    }
    let failed = |error: &io::Error| Failure::io("prepare the capture", error);
    let interrupt = Interrupt::catch(Exit::Interrupted as i32).map_err(|error| failed(&error))?;
    raise_nofile_limit().map_err(|error| failed(&error))?;
    let status = client.status()?;
    let mut places = BTreeSet::new();
    for subject in &wanted.subjects {
        let named = capture::places(&status.topology, subject);
        places.extend(named.map_err(|error| Failure::new(Exit::Failed, error.message).hint(error.hint))?);
    }
    let lab_ends = pidfd(status.supervisor_pid).map_err(|error| failed(&error))?;
    let (interrupted, end) = io::pipe().map_err(|error| failed(&error))?;
    let taps = Taps::open(client, &status.topology, &capture::without_repetition(places))?;
    let ends = [interrupted.as_fd(), lab_ends.as_fd()];
    let limits = Limits { frames: wanted.count, duration: wanted.duration };

    interrupt.close(end);
    terminal.note(format!("capturing at {} interfaces", taps.count()));
    let captured = match file {
        Some(path) => File::create(path)
            .and_then(|out| taps.write(out, limits, &ends))
            .map_err(|error| Failure::io(format_args!("write {}", path.display()), &error))?,
        None => taps
            .write(io::stdout(), limits, &ends)
            .map_err(|error| Failure::io("write to standard output", &error))?,
    };
    if file.is_some() {
        terminal.show(&captured, describe)?;
    } else {
        terminal.note(describe(&captured).trim_end());
    }
    if captured.dropped > 0 {
        tracing::warn!(dropped = captured.dropped, "the capture is not complete");
    }
    Ok(Exit::Success)
}

fn describe(captured: &Captured) -> String {
    let Captured { frames, dropped, .. } = captured;
    format!("{frames} frames captured, {dropped} dropped by the kernel\n")
}
