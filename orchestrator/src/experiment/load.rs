//! How busy the machine is.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;

/// The share of time, in percent, in which some process may wait for a processor.
const BUSY: f64 = 20.0;

/// How busy the machine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Load {
    /// Processes that run or want to: averages of 1, 5 and 15 minutes.
    pub load_average: Option<[f64; 3]>,
    /// Pressure-stall information of `cpu`, `io` and `memory`, as the kernel writes it; kernels may lack it.
    pub pressure: BTreeMap<&'static str, Vec<String>>,
}

impl Load {
    /// As it is now.
    pub fn now() -> Self {
        let average = fs::read_to_string("/proc/loadavg").ok().and_then(|text| {
            let mut numbers = text.split_whitespace().map(str::parse);
            Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
        });
        let pressure = ["cpu", "io", "memory"].into_iter().filter_map(|resource| {
            let text = fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
            Some((resource, text.lines().map(str::to_owned).collect()))
        });
        Self { load_average: average, pressure: pressure.collect() }
    }

    /// Why the machine, with so many processors, is too busy for measurements to be trusted; none when it is not.
    ///
    /// Pressure-stall information says it best: it is about waiting for a processor, which is what makes measurements wrong, and
    /// about the last ten seconds. A kernel without it has the load average, which lags by a minute and counts who waits
    /// for a disk, too.
    pub fn busy(&self, cpus: usize) -> Option<String> {
        if let Some(share) = self.pressure.get("cpu").and_then(|lines| some_avg10(lines)) {
            return (share > BUSY).then(|| {
                format!("in {share:.0} % of the last ten seconds some process waited for a processor")
            });
        }
        let [load, ..] = self.load_average?;
        (load > cpus as f64).then(|| format!("the load average is {load}, with {cpus} processors"))
    }
}

/// The share of the last ten seconds in which some process waited, in percent.
fn some_avg10(lines: &[String]) -> Option<f64> {
    let some = lines.iter().find_map(|line| line.strip_prefix("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(average: f64, pressure: &[&str]) -> Load {
        let lines: Vec<_> = pressure.iter().map(|&line| line.to_owned()).collect();
        let pressure = (!lines.is_empty()).then_some(("cpu", lines)).into_iter().collect();
        Load { load_average: Some([average, 0.0, 0.0]), pressure }
    }

    #[test]
    fn pressure_counts_and_load_where_there_is_none() {
        let calm = "some avg10=3.20 avg60=68.70 avg300=25.70 total=18381147555";
        let busy = "some avg10=87.49 avg60=1.00 avg300=0.00 total=18381147555";
        let full = "full avg10=99.00 avg60=0.00 avg300=0.00 total=0";
        assert_eq!(load(9.0, &[full, calm]).busy(2), None);
        let waits = "in 87 % of the last ten seconds some process waited for a processor";
        assert_eq!(load(0.0, &[busy, full]).busy(2).as_deref(), Some(waits));
        assert_eq!(load(1.9, &[]).busy(2), None);
        assert_eq!(load(2.5, &[]).busy(2).as_deref(), Some("the load average is 2.5, with 2 processors"));
        assert_eq!(load(2.5, &["nonsense"]).busy(4), None);
        assert_eq!(Load::default().busy(1), None);
    }
}
