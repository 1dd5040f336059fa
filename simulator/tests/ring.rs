//! The Chord ring at several sizes: it forms, routes in few hops, and heals when members crash.

use samp_model::record::RegistrationScope;
use samp_model::{Event, Topology, topology};
use samp_simulator::World;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A grid of access routers, every one with a server of its own.
fn servers(width: usize, height: usize) -> Topology {
    let text = format!(
        "grid: {{ width: {width}, height: {height}, domain: {{ width: 1, height: 1 }}, link: {{ one_way_delay: 1ms }}, server_link: {{ one_way_delay: 1ms }} }}\n\
         mobile_nodes: {{ count: 40, start: spread }}\n"
    );
    topology::parse("generated.yaml", &text).expect("a valid grid")
}

#[test]
fn rings_of_any_size_form() {
    for (width, height) in [(1, 1), (2, 1), (3, 1), (5, 1), (4, 4)] {
        let topology = servers(width, height);
        let count = width * height;
        let mut world = World::new(topology, 1);
        assert!(world.run_until_ring_is_ideal(60 * SECOND), "{count} servers form no ring");
        // And it stays as it is.
        let before = world.happened().len();
        world.run_for(10 * SECOND);
        assert_eq!(world.happened().len(), before, "{count} servers do not come to rest");
    }
}

/// With fingers that the protocol itself has found; up to 1,024 servers are in `protocol/src/overlay/tests/lookups.rs`.
#[test]
fn lookups_take_about_half_the_logarithm() {
    let topology = servers(6, 4);
    let mut world = World::new(topology, 2);
    assert!(world.run_until_ring_is_ideal(60 * SECOND), "no ring");
    // Time for the fingers: one is looked up each period, of about log2(N / L) different ones.
    world.run_for(10 * SECOND);
    world.attach_all();
    world.run_for(10 * SECOND);
    let hops: Vec<f64> = world
        .happened()
        .iter()
        .filter_map(|record| match &record.event {
            // The anchor comes first in the path; each further server is one hop, the owner included.
            Event::Registered { scope: RegistrationScope::Home, path, .. } => Some(path.len() as f64 - 1.0),
            _ => None,
        })
        .collect();
    assert_eq!(hops.len(), 40);
    let mean = hops.iter().sum::<f64>() / hops.len() as f64;
    assert!(mean <= 1.1 * (0.5 * 24_f64.log2() + 1.0), "{mean} hops on average");
}

#[test]
fn adjacent_crashes_heal_while_a_successor_is_left() {
    let topology = servers(4, 4);
    let mut world = World::new(topology, 3);
    assert!(world.run_until_ring_is_ideal(60 * SECOND), "no ring");
    // Three neighbours on the ring: the servers sorted by identifier.
    let mut by_id: Vec<_> = world
        .happened()
        .iter()
        .filter_map(|record| match &record.event {
            Event::RingChanged { id, .. } => Some((*id, record.node)),
            _ => None,
        })
        .collect();
    by_id.sort();
    by_id.dedup();
    for &(_, server) in &by_id[4..7] {
        world.crash(server);
    }
    assert!(world.run_until_ring_is_ideal(30 * SECOND), "the ring does not heal");
}
