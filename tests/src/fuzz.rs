//! What the fuzz targets in `fuzz/` do with their bytes. The tests do the same with the committed corpus.

use samp_model::{experiment, topology};
use samp_protocol::sip;

/// Everything that may be done with a topology that is accepted, and the error messages of one that is not.
pub fn topology(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match topology::parse("topology.yaml", text) {
        Ok(topology) => plan(&topology),
        Err(errors) => errors.iter().for_each(|error| drop(error.render(true))),
    }
}

/// The same for an experiment on a fixed topology.
pub fn experiment(data: &[u8]) {
    const TOPOLOGY: &str = include_str!("../../topologies/line.yaml");
    let Ok(text) = std::str::from_utf8(data) else { return };
    let line = |_: &std::path::Path, _| topology::parse("line.yaml", TOPOLOGY);
    match experiment::parse("experiment.yaml", text, line) {
        Ok((experiment, topology)) => drop(experiment.schedule(&topology)),
        Err(errors) => errors.iter().for_each(|error| drop(error.render(true))),
    }
}

/// A datagram that a server or mobile node might get; what is understood survives being sent on.
///
/// # Panics
/// When it does not.
pub fn sip(data: &[u8]) {
    let Ok(message) = sip::parse(data) else { return };
    let bytes = message.to_bytes();
    let again = sip::parse(&bytes);
    assert!(again.is_ok(), "understood, but not when sent on: {:?}", String::from_utf8_lossy(&bytes));
}

/// The plan of an accepted topology, on machines with and without netem. Large ones take too long for a fuzzer.
fn plan(topology: &samp_model::Topology) {
    const LARGE: usize = 200;
    if topology.nodes.len() > LARGE {
        return;
    }
    for netem in [false, true] {
        let machine = samp_lab::plan::Machine { netem, ipv6: true, root: true, kernel: "6.1".into() };
        // Refusal is an answer, too: netem may be asked for.
        if let Ok(plan) = samp_lab::plan::Plan::new(topology, &machine) {
            assert!(plan.namespaces.len() >= topology.nodes.len(), "each node has a namespace");
        }
    }
}
