//! Calibration: whether a lab's links do what they were told, and whether its processes got processors in time.
//!
//! Probes are timed by one clock, from just before they are sent until the receiving kernel takes them in, so whatever
//! makes the delay is measured with all that the kernel adds, but not how long a reader waits for a processor.

mod chance;
mod direction;
mod expected;
mod run;
mod text;
mod tunnels;
mod waits;

pub(crate) use self::chance::at_least;
pub use self::direction::{Direction, Figures};
pub use self::run::{CalibrationSummary, RunCalibration};
pub use self::text::describe;
pub use self::tunnels::Tunnel;
pub use self::waits::{WaitWatch, Waiting};

use crate::client::{Client, ClientError};
use crate::report::Delta;
use samp_model::Topology;
use samp_model::control::{LabStatus, LinkId, LinkProbes, LinkStatus, PROBED_AT_ONCE, Probed};
use samp_model::settings::EmulationSettings;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::time::Duration;

/// What may be off before a measurement is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// How far the median of one-way delays may be from what is configured, and a distribution from its own.
    pub delay: Duration,
    /// What the 99th percentile of waits for a processor may be.
    pub cpu_wait: Duration,
}

/// What the probes say.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Calibration {
    /// The lab's name.
    pub lab: String,
    /// Its backends.
    pub emulation: EmulationSettings,
    /// What was allowed.
    pub tolerance: Tolerance,
    /// Whether nothing is beyond that.
    pub valid: bool,
    /// What is.
    pub invalid_because: Vec<String>,
    /// Each direction of each link.
    pub directions: Vec<Direction>,
    /// Links that could not be judged, and why.
    pub skipped: Vec<Skipped>,
    /// What tunnels cost, with Mobile IPv6; nothing of it makes a calibration invalid.
    pub tunnels: Vec<Tunnel>,
    /// How long processes waited for a processor meanwhile.
    pub waits: Vec<Waiting>,
}

/// A link that could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// The link, as commands name it.
    pub link: String,
    /// Why.
    pub because: &'static str,
}

impl Default for Tolerance {
    fn default() -> Self {
        let limit = Duration::from_micros(500);
        Self { delay: limit, cpu_wait: limit }
    }
}

impl Tolerance {
    /// How far the 99th percentile of one-way delays may be from what is configured: four times as far as the median.
    pub fn p99(self) -> Duration {
        self.delay.saturating_mul(4)
    }
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = |duration| Delta::from(duration).as_millis();
        let mut fields = serializer.serialize_struct("Tolerance", 3)?;
        fields.serialize_field("p50_ms", &millis(self.delay))?;
        fields.serialize_field("p99_ms", &millis(self.p99()))?;
        fields.serialize_field("cpu_wait_p99_ms", &millis(self.cpu_wait))?;
        fields.end()
    }
}

/// Probes all links of a lab; `progress` is told how many are done, of how many.
///
/// # Errors
/// The lab cannot be asked, or cannot probe.
pub fn calibrate(
    client: &Client,
    tolerance: Tolerance,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Calibration, ClientError> {
    let before = client.status()?;
    let watch = WaitWatch::start(client, tolerance.cpu_wait);
    let total = before.links.len();
    let mut probes = Vec::new();
    for first in (0..total).step_by(PROBED_AT_ONCE) {
        progress(first, total);
        probes.extend(client.probe(first)?);
    }
    progress(total, total);
    let tunnels = match before.topology.mobility.protocol.is_mobile_ip() {
        true => tunnels::tunnels(&before, &client.probe_tunnels()?),
        false => Vec::new(),
    };
    let waits = watch.stop()?;
    let calibration = Calibration::new(&before, &client.status()?, probes, waits, tolerance);
    Ok(Calibration { tunnels, ..calibration })
}

impl Calibration {
    fn new(
        before: &LabStatus,
        after: &LabStatus,
        probes: Vec<LinkProbes>,
        waits: Vec<Waiting>,
        tolerance: Tolerance,
    ) -> Self {
        let (mut directions, mut skipped) = (Vec::new(), Vec::new());
        for (number, probes) in probes.into_iter().enumerate() {
            match judge(before, after, number, &probes, tolerance) {
                Ok(both) => directions.extend(both),
                Err(because) => skipped.push(Skipped { link: probes.link.name(&before.topology), because }),
            }
        }
        let faults = directions.iter().flat_map(|direction| {
            let Direction { from, to, .. } = direction;
            direction.faults.iter().map(move |fault| format!("link from {from} to {to}: {fault}"))
        });
        let invalid_because: Vec<_> = faults.chain(starved(&waits, tolerance)).collect();
        Self {
            lab: before.name.clone(),
            emulation: before.emulation,
            tolerance,
            valid: invalid_because.is_empty(),
            invalid_because,
            directions,
            skipped,
            tunnels: Vec::new(),
            waits,
        }
    }
}

/// That processes waited for too long.
fn starved(waits: &[Waiting], tolerance: Tolerance) -> impl Iterator<Item = String> {
    let limit = Delta::from(tolerance.cpu_wait).as_millis();
    waits.iter().filter(|waiting| waiting.starved).map(move |Waiting { process, p99_ms, .. }| {
        format!("{process} waited for a processor: p99 {p99_ms:.3} ms, more than {limit} ms")
    })
}

/// Both directions of a link, or why they tell nothing.
fn judge(
    before: &LabStatus,
    after: &LabStatus,
    number: usize,
    probes: &LinkProbes,
    tolerance: Tolerance,
) -> Result<[Direction; 2], &'static str> {
    let Some(Probed { ends, directions }) = &probes.probed else {
        return Err(match probes.link {
            LinkId::Wired(_) => "it is down",
            LinkId::Radio(_) => "it is attached to no access router",
        });
    };
    let state = |status: &LabStatus| -> Option<(LinkStatus, Option<String>)> {
        let attached_to = match probes.link {
            LinkId::Wired(_) => None,
            LinkId::Radio(node) => status.nodes.get(node.0)?.attached_to.clone(),
        };
        Some((*status.links.get(number)?, attached_to))
    };
    if state(before) != state(after) {
        return Err("it has changed meanwhile");
    }
    let name = |topology: &'_ Topology, end: usize| topology.node(ends[end]).name.clone();
    let link = probes.link.name(&before.topology);
    let [a, b] = [0, 1].map(|end| name(&before.topology, end));
    let names = [[&link, &a, &b], [&link, &b, &a]].map(|names| names.map(String::as_str));
    Ok([0, 1].map(|way| Direction::new(names[way], probes.quality[way], &directions[way], tolerance)))
}
