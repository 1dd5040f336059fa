//! A server crashes for good, and nobody moves: once those whose anchor it was are registered anew, no call is lost.

use samp_model::record::RegistrationScope;
use samp_model::{Event, NodeId, topology};
use samp_simulator::{Happened, World};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 40;

/// Follows each node's anchor, and whether its home server knows it.
#[derive(Default)]
struct Anchors(BTreeMap<NodeId, (IpAddr, bool)>);

impl Anchors {
    fn note(&mut self, record: &Happened) {
        match record.event {
            Event::AnchorSelected { anchor, .. } => drop(self.0.insert(record.node, (anchor, false))),
            Event::Registered { scope: RegistrationScope::Home, .. } => {
                self.0.entry(record.node).and_modify(|(_, is_known)| *is_known = true);
            }
            _ => {}
        }
    }

    /// Whether home servers know the anchors of so many nodes, and none is `dead`.
    fn are_known(&self, nodes: usize, dead: Option<IpAddr>) -> bool {
        let is_good = |(anchor, is_known): &(IpAddr, bool)| *is_known && Some(*anchor) != dead;
        self.0.values().filter(|anchor| is_good(anchor)).count() == nodes
    }
}

/// Calls and waits for the answer; the status if it is a refusal.
fn call(world: &mut World, caller: NodeId, callee: NodeId) -> Result<(), u16> {
    let id = world.call(caller, callee);
    let mut outcome = Ok(());
    let is_decided = world.run_until(60 * SECOND, |record| match &record.event {
        Event::CallEstablished { call, .. } if *call == id => true,
        Event::CallFailed { call, status } if *call == id => {
            outcome = Err(*status);
            true
        }
        _ => false,
    });
    assert!(is_decided, "{id} is neither established nor failed");
    world.hang_up(caller);
    world.run_for(SECOND / 10);
    outcome
}

#[test]
fn everybody_can_call_everybody_once_the_dead_anchor_is_replaced() {
    let mut concerned = 0;
    for seed in 0..SEEDS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
        let mut topology = topology::load(&path).expect("the shipped topology is valid");
        topology.samp.anchor_probe = 2 * SECOND;
        let nodes: Vec<_> = topology.mobile_nodes().collect();
        let mut world = World::new(topology, seed);
        assert!(world.run_until_ring_is_ideal(30 * SECOND), "no ring");
        world.attach_all();
        let up = |dead| {
            let mut anchors = Anchors::default();
            move |record: &Happened| {
                anchors.note(record);
                anchors.are_known(8, dead)
            }
        };
        assert!(world.run_until(30 * SECOND, up(None)), "seed {seed}: not registered");
        // Anywhere within a few periods of probes and of the ring's upkeep.
        world.run_for(Duration::from_millis(seed * 1_637 % 7_000));

        let victim = world.topology().sip_servers().nth(seed as usize % 4).expect("a server");
        let dead = world.topology().node(victim).address();
        world.crash(victim);
        concerned += world
            .happened()
            .iter()
            .filter_map(|record| match record.event {
                Event::AnchorSelected { anchor, .. } if Some(anchor) == dead => Some(record.node),
                _ => None,
            })
            .collect::<BTreeSet<_>>()
            .len();
        assert!(world.run_until(30 * SECOND, up(dead)), "seed {seed}: still registered with a dead anchor");
        for &caller in &nodes {
            for &callee in nodes.iter().filter(|&&callee| callee != caller) {
                let name = |node| &world.topology().node(node).name;
                let who = format!("seed {seed}: {} calls {}", name(caller), name(callee));
                assert_eq!(call(&mut world, caller, callee), Ok(()), "{who}");
            }
        }
    }
    assert!(concerned > 0, "nobody had a dead anchor");
}
