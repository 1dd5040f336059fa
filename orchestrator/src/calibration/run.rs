//! The calibration of a run: of its links before the first step, of its processes from then on.

use super::{Calibration, Waiting, starved};
use crate::client::ClientError;
use serde::Serialize;
use std::fmt;

/// Reasons that a run is told; all are in its calibration.
const TOLD: usize = 10;

/// What `calibration.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct RunCalibration {
    /// Before the first step.
    before: Calibration,
    /// How long processes waited for a processor from the first step to the last.
    waits: Vec<Waiting>,
    /// Why that is not known.
    unknown: Option<String>,
}

/// A calibration at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationSummary {
    /// Directions of links that were probed.
    pub directions: usize,
    /// Those of them that were out of tolerance.
    pub out_of_tolerance: usize,
    /// The farthest that a median was from what it should have been, and where.
    pub worst: Option<Worst>,
    /// Who waited longest for a processor during the run.
    pub longest_wait: Option<Waiting>,
}

/// A direction's median.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// Who sent the probes.
    pub from: String,
    /// Who received them.
    pub to: String,
    /// Measured less expected, in milliseconds.
    pub p50_off_ms: f64,
}

impl RunCalibration {
    /// Of a run that has come to its end.
    pub fn new(before: Calibration, waits: Result<Vec<Waiting>, ClientError>) -> Self {
        let (waits, unknown) = match waits {
            Ok(waits) => (waits, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Self { before, waits, unknown }
    }

    /// Why the run is not valid.
    pub fn invalid_because(&self) -> Vec<String> {
        let before = self.before.invalid_because.iter().map(|reason| format!("calibration: {reason}"));
        let during =
            starved(&self.waits, self.before.tolerance).map(|reason| format!("during the run {reason}"));
        let unknown =
            self.unknown.iter().map(|why| format!("nobody knows who waited for a processor: {why}"));
        let mut reasons: Vec<_> = unknown.chain(during).chain(before).collect();
        if let Some(more) = reasons.len().checked_sub(TOLD).filter(|&more| more > 0) {
            reasons.truncate(TOLD);
            reasons.push(format!("calibration: and for {more} more reasons"));
        }
        reasons
    }

    /// At a glance.
    pub fn summary(&self) -> CalibrationSummary {
        let directions = &self.before.directions;
        let worst = directions.iter().filter_map(|direction| {
            let p50_off_ms = direction.measured.p50_ms? - direction.expected.p50_ms?;
            Some(Worst { from: direction.from.clone(), to: direction.to.clone(), p50_off_ms })
        });
        CalibrationSummary {
            directions: directions.len(),
            out_of_tolerance: directions.iter().filter(|direction| !direction.faults.is_empty()).count(),
            worst: worst.max_by(|a, b| a.p50_off_ms.abs().total_cmp(&b.p50_off_ms.abs())),
            longest_wait: self.waits.first().cloned(),
        }
    }
}

impl fmt::Display for CalibrationSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "calibration: {} of {} directions out of tolerance",
            self.out_of_tolerance, self.directions
        )?;
        if let Some(Worst { from, to, p50_off_ms }) = &self.worst {
            write!(f, ", p50 {p50_off_ms:+.3} ms at most ({from} to {to})")?;
        }
        if let Some(Waiting { process, p99_ms, .. }) = &self.longest_wait {
            write!(f, "; longest waits for a processor: p99 {p99_ms:.3} ms ({process})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{Direction, Tolerance};
    use samp_model::control::Probes;
    use samp_model::settings::{AttachMode, EmulationSettings, LinkBackend};
    use samp_model::topology::LinkQuality;

    /// A direction without delay whose probes took so many milliseconds.
    fn direction(to: &str, millis: u64) -> Direction {
        let probes = Probes { sent: 20, one_way: vec![millis * 1_000_000; 20] };
        Direction::new(["link", "a", to], LinkQuality::IDEAL, &probes, Tolerance::default())
    }

    fn run(directions: Vec<Direction>, waits: Result<Vec<Waiting>, ClientError>) -> RunCalibration {
        let invalid_because = directions.iter().flat_map(|direction| direction.faults.clone()).collect();
        let (links, attach) = (LinkBackend::Userspace, AttachMode::Switch);
        let before = Calibration {
            lab: "lab".into(),
            emulation: EmulationSettings { links, attach, ..EmulationSettings::default() },
            tolerance: Tolerance::default(),
            valid: false,
            invalid_because,
            directions,
            skipped: Vec::new(),
            tunnels: Vec::new(),
            waits: Vec::new(),
        };
        RunCalibration::new(before, waits)
    }

    fn waiting(starved: bool) -> Waiting {
        Waiting { process: "mn1".into(), windows: 100, beyond: 50, p99_ms: 7.0, max_ms: 9.0, starved }
    }

    #[test]
    fn a_run_is_as_good_as_its_links_and_its_processors() {
        let good = run(vec![direction("b", 0)], Ok(vec![waiting(false)]));
        assert!(good.invalid_because().is_empty());
        let starved = run(vec![direction("b", 0)], Ok(vec![waiting(true)]));
        assert_eq!(
            starved.invalid_because(),
            ["during the run mn1 waited for a processor: p99 7.000 ms, more than 0.5 ms"]
        );
        let broken = ClientError::Unexpected { lab: "lab".into() };
        assert_eq!(run(Vec::new(), Err(broken)).invalid_because().len(), 1);
    }

    #[test]
    fn many_reasons_are_counted() {
        let many = run((0..30).map(|_| direction("b", 3)).collect(), Ok(Vec::new()));
        let reasons = many.invalid_because();
        assert_eq!(reasons.len(), 11);
        assert_eq!(reasons[10], "calibration: and for 50 more reasons");
    }

    #[test]
    fn the_summary_names_the_worst() {
        let summary = run(vec![direction("b", 0), direction("c", 3)], Ok(vec![waiting(false)])).summary();
        assert_eq!((summary.directions, summary.out_of_tolerance), (2, 1));
        assert_eq!(
            summary.to_string(),
            "calibration: 1 of 2 directions out of tolerance, p50 +3.000 ms at most (a to c); \
             longest waits for a processor: p99 7.000 ms (mn1)"
        );
    }
}
