//! A calibration as text.

use super::{Calibration, Direction, Figures, Tunnel, Waiting};
use crate::report::{Delta, table, word};

/// Each direction of each link, then what is wrong.
pub fn describe(calibration: &Calibration) -> String {
    let Calibration { lab, emulation, tolerance, directions, skipped, tunnels, waits, .. } = calibration;
    let millis = |duration| Delta::from(duration).as_millis();
    let mut text = format!(
        "lab {lab}: links {}; p50 within {} ms of what is configured, p99 within {} ms\n\n",
        word(&emulation.links),
        millis(tolerance.delay),
        millis(tolerance.p99()),
    );
    let header = [
        "from",
        "to",
        "configured",
        "probes",
        "lost",
        "should be",
        "p50 ms",
        "should be",
        "p99 ms",
        "should be",
    ];
    text += &table(&header, directions.iter().map(row));
    for link in skipped {
        text += &format!("{}: not probed, {}\n", link.link, link.because);
    }
    if !tunnels.is_empty() {
        let header = ["from", "to", "passes", "probes", "lost", "p50 ms", "p99 ms", "links ms", "cost ms"];
        let rows = table(&header, tunnels.iter().map(tunnel_row));
        text += &format!(
            "\ntunnels: from home address to home agent and back; cost is p50 less the links\n{rows}"
        );
    }
    if let Some(worst) = waits.first() {
        let Waiting { process, windows, beyond, p99_ms, .. } = worst;
        let limit = millis(tolerance.cpu_wait);
        text += &format!(
            "\nwaits for a processor: {process} longest, p99 {p99_ms:.3} ms, \
             above {limit} ms in {beyond} of {windows} windows\n"
        );
    }
    for reason in &calibration.invalid_because {
        text += &format!("INVALID: {reason}\n");
    }
    text
}

fn time(time: Option<f64>) -> String {
    time.map_or("-".to_owned(), |time| format!("{time:.3}"))
}

fn tunnel_row(tunnel: &Tunnel) -> Vec<String> {
    let Tunnel { from, to, passes, probes, lost, p50_ms, p99_ms, links_ms, cost_ms } = tunnel;
    let mut row = vec![from.clone(), to.clone(), passes.to_string(), probes.to_string(), lost.to_string()];
    row.extend([p50_ms, p99_ms, links_ms, cost_ms].map(|figure| time(*figure)));
    row
}

fn row(direction: &Direction) -> Vec<String> {
    let Direction { from, to, configured, expected, measured, probes, lost, .. } = direction;
    let Figures { p50_ms, p99_ms, .. } = *measured;
    vec![
        from.clone(),
        to.clone(),
        configured.to_string(),
        probes.to_string(),
        lost.to_string(),
        format!("{:.1} %", 100.0 * expected.loss),
        time(p50_ms),
        time(expected.p50_ms),
        time(p99_ms),
        time(expected.p99_ms),
    ]
}
