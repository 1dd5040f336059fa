//! `calibrate`: whether a lab's links do what they were told.

use super::super::{Exit, Failure, Progress, Terminal};
use crate::calibration::{Calibration, Tolerance, calibrate as probe, describe};
use crate::client::Client;

/// Probes a lab's links and shows what it found.
pub(super) fn calibrate(terminal: &Terminal, client: &Client, tolerance: Tolerance) -> Result<Exit, Failure> {
    let calibration = with_progress(terminal, client, tolerance)?;
    terminal.show(&calibration, describe)?;
    Ok(if calibration.valid { Exit::Success } else { Exit::InvalidMeasurement })
}

/// Probes a lab's links, and tells how far it is.
pub(super) fn with_progress(
    terminal: &Terminal,
    client: &Client,
    tolerance: Tolerance,
) -> Result<Calibration, Failure> {
    let bar = terminal.bar(0);
    bar.set_message("links probed");
    let calibration = probe(client, tolerance, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if terminal.progress == Progress::Lines {
            terminal.note(format!("probing links: {done} of {total}"));
        }
    });
    bar.finish_and_clear();
    Ok(calibration?)
}
