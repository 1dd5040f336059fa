//! SAMP in virtual time: discovery, registration, calls through both caches, handoffs, loss, crashes.

use samp_model::locator::Locator;
use samp_model::record::{CacheOutcome, RegistrationScope};
use samp_model::settings::Family;
use samp_model::ways::Ways;
use samp_model::{Event, NodeId, Topology, topology};
use samp_simulator::{Happened, Weather, World};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn grid_small() -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
    topology::load(&path).expect("the shipped topology is valid")
}

/// Says of each thing that happened whether with it `nodes` nodes are registered at home.
fn registered_at_home(nodes: usize) -> impl FnMut(&Happened) -> bool {
    let mut registered = BTreeSet::new();
    move |record| {
        if let Event::Registered { scope: RegistrationScope::Home, .. } = record.event {
            registered.insert(record.node);
        }
        registered.len() == nodes
    }
}

/// A world whose ring is ideal and whose mobile nodes are registered.
fn up(topology: Topology, seed: u64) -> World {
    let nodes = topology.mobile_nodes().count();
    let mut world = World::new(topology, seed);
    assert!(world.run_until_ring_is_ideal(30 * SECOND), "no ring");
    world.attach_all();
    assert!(world.run_until(30 * SECOND, registered_at_home(nodes)), "not registered");
    world
}

fn events(world: &World) -> impl Iterator<Item = &Event> {
    world.happened().iter().map(|record| &record.event)
}

fn outcome(world: &World, id: &str) -> Option<CacheOutcome> {
    events(world).find_map(|event| match event {
        Event::CallEstablished { call, cache, .. } if call == id => Some(*cache),
        _ => None,
    })
}

/// Calls, waits for the answer, hangs up; says what the caches did.
fn call(world: &mut World, caller: NodeId, callee: NodeId) -> CacheOutcome {
    let id = world.call(caller, callee);
    let over = |record: &Happened| match &record.event {
        Event::CallEstablished { call, .. } | Event::CallFailed { call, .. } => *call == id,
        _ => false,
    };
    assert!(world.run_until(60 * SECOND, over), "the call neither succeeded nor failed");
    let Some(outcome) = outcome(world, &id) else {
        panic!("the call failed: {:#?}", world.happened().last())
    };
    world.run_for(SECOND);
    world.hang_up(caller);
    world.run_for(SECOND);
    outcome
}

#[test]
fn the_ring_forms_and_everybody_registers() {
    let world = up(grid_small(), 1);
    let within_delta = events(&world).filter_map(|event| match event {
        Event::AnchorSelected { answers, within_delta, .. } => Some((*answers, *within_delta)),
        _ => None,
    });
    for (answers, within_delta) in within_delta {
        assert_eq!(answers, 4, "every server answers");
        assert!((1..=4).contains(&within_delta));
    }
}

#[test]
fn every_family_works() {
    let run = |family| {
        let mut topology = grid_small();
        topology.set_family(family).expect("room for a small grid");
        let mut world = up(topology, 4);
        let routers: Vec<_> = world.topology().access_routers().collect();
        let [a, b, ..] = world.topology().mobile_nodes().collect::<Vec<_>>()[..] else { panic!("two nodes") };
        assert_eq!(call(&mut world, a, b), CacheOutcome::Miss);
        world.attach(b, routers[5]);
        world.run_for(SECOND);
        assert_eq!(call(&mut world, a, b), CacheOutcome::Tier1StaleTier2Hit);
        let used = events(&world).filter_map(|event| match event {
            Event::AddressConfigured { address, .. } => Some(*address),
            Event::AnchorSelected { anchor, .. } => Some(*anchor),
            _ => None,
        });
        used.collect::<Vec<_>>()
    };
    assert!(run(Family::Ipv4).iter().all(|address| address.is_ipv4()));
    let ipv6 = run(Family::Ipv6);
    assert!(ipv6.iter().all(|address| address.is_ipv6()));
    assert_eq!(run(Family::Dual), ipv6, "in a dual lab SIP uses IPv6");
}

#[test]
fn the_same_seed_gives_the_same_records() {
    let run = |seed| {
        let mut world = up(grid_small(), seed);
        let nodes: Vec<_> = world.topology().mobile_nodes().collect();
        call(&mut world, nodes[0], nodes[1]);
        let records: Vec<_> = world.happened().iter().map(|happened| world.record(happened)).collect();
        serde_json::to_string(&records).unwrap()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn the_caches_are_used_and_found_out() {
    let mut world = up(grid_small(), 3);
    let routers: Vec<_> = world.topology().access_routers().collect();
    let [a, b, ..] = world.topology().mobile_nodes().collect::<Vec<_>>()[..] else { panic!("two nodes") };
    assert_eq!(call(&mut world, a, b), CacheOutcome::Miss);
    assert_eq!(call(&mut world, a, b), CacheOutcome::Tier1Hit);
    world.attach(b, routers[5]);
    world.run_for(SECOND);
    // A local move keeps the anchor, so only tier 1 is out of date.
    assert_eq!(call(&mut world, a, b), CacheOutcome::Tier1StaleTier2Hit);
    assert_eq!(call(&mut world, a, b), CacheOutcome::Tier1Hit);
}

#[test]
fn a_handoff_registers_with_the_anchor_only_and_tells_the_peer() {
    let mut world = up(grid_small(), 4);
    let routers: Vec<_> = world.topology().access_routers().collect();
    let nodes: Vec<_> = world.topology().mobile_nodes().collect();
    world.call(nodes[0], nodes[1]);
    world.run_for(SECOND);
    let before = world.happened().len();
    let handoff = world.attach(nodes[0], routers[6]);
    world.run_for(SECOND);
    let after = &world.happened()[before..];
    let registrations: Vec<_> = after
        .iter()
        .filter_map(|record| match record.event {
            Event::Registered { handoff: number, scope, .. } if number == handoff => Some(scope),
            _ => None,
        })
        .collect();
    assert_eq!(registrations, [RegistrationScope::Anchor]);
    let answered = |record: &Happened| matches!(record.event, Event::UpdateAnswered { status: 200, .. });
    assert_eq!(after.iter().filter(|record| answered(record)).count(), 1);
}

#[test]
fn without_hierarchical_registration_every_move_reaches_home() {
    let mut topology = grid_small();
    topology.samp.hierarchical_registration = false;
    let mut world = up(topology, 4);
    let router = world.topology().access_routers().nth(6).unwrap();
    let node = world.topology().mobile_nodes().next().unwrap();
    let handoff = world.attach(node, router);
    let home = |record: &Happened| matches!(record.event, Event::Registered { handoff: number, scope: RegistrationScope::Home, .. } if number == handoff);
    assert!(world.run_until(SECOND, home));
}

#[test]
fn redirect_servers_let_everybody_reach_everybody() {
    let mut topology = grid_small();
    topology.samp.mode = samp_model::settings::ServerMode::Redirect;
    let mut world = up(topology, 12);
    let routers: Vec<_> = world.topology().access_routers().collect();
    let nodes: Vec<_> = world.topology().mobile_nodes().collect();
    for &caller in &nodes {
        for &callee in nodes.iter().filter(|&&callee| callee != caller) {
            call(&mut world, caller, callee);
            assert_set_up_takes_its_links_time(&world, caller, callee);
        }
    }
    // Both caches hold what redirections taught them, and are found out.
    call(&mut world, nodes[0], nodes[1]);
    world.attach(nodes[1], routers[5]);
    world.run_for(SECOND);
    assert_eq!(call(&mut world, nodes[0], nodes[1]), CacheOutcome::Tier1StaleTier2Hit);
}

/// That the last call took what the links on its way take, redirected requests included: in virtual time nothing else
/// takes any.
#[track_caller]
fn assert_set_up_takes_its_links_time(world: &World, caller: NodeId, callee: NodeId) {
    let established = world.happened().iter().rev().find_map(|record| match &record.event {
        Event::CallEstablished { srd, path, redirected, .. } => {
            Some((*srd, path.clone(), redirected.clone()))
        }
        _ => None,
    });
    let (srd, path, mut ways) = established.expect("a call");
    let ends = [caller, callee].map(|node| world.address(node).expect("an address"));
    ways.push([&ends[..1], &path, &ends[1..]].concat());
    let legs = ways.iter().flat_map(|way| way.windows(2)).map(|leg| (leg[0], leg[1]));
    let (locator, mut known) = (Locator::new(world.topology()), Ways::new(world.topology()));
    let mut delay = |from, to| known.least_delay(world.topology(), &locator, from, to).expect("a way");
    let links: Duration = legs.map(|(from, to)| delay(from, to) + delay(to, from)).sum();
    assert_eq!(srd, links, "{ways:?}");
}

#[test]
fn both_ends_may_move_at_once() {
    let mut world = up(grid_small(), 8);
    let routers: Vec<_> = world.topology().access_routers().collect();
    let nodes: Vec<_> = world.topology().mobile_nodes().collect();
    world.call(nodes[0], nodes[1]);
    world.run_for(SECOND);
    let before = world.happened().len();
    world.attach(nodes[0], routers[9]);
    world.attach(nodes[1], routers[10]);
    world.run_for(20 * SECOND);
    let after = &world.happened()[before..];
    let answered: Vec<_> = after
        .iter()
        .filter(|record| matches!(record.event, Event::UpdateAnswered { status: 200, .. }))
        .map(|record| record.node)
        .collect();
    assert!(answered.contains(&nodes[0]) && answered.contains(&nodes[1]), "{answered:?}");
    assert!(!after.iter().any(|record| matches!(record.event, Event::CallEnded { .. })), "the call lives on");
}

#[test]
fn registration_and_calls_survive_loss() {
    for seed in 0..20 {
        let topology = grid_small();
        let nodes = topology.mobile_nodes().count();
        let mut world = World::new(topology, seed);
        world.set_weather(Weather { loss: 0.1, ..Weather::default() });
        assert!(world.run_until_ring_is_ideal(60 * SECOND), "seed {seed}: no ring");
        world.attach_all();
        assert!(world.run_until(120 * SECOND, registered_at_home(nodes)), "seed {seed}: not registered");
        let nodes: Vec<_> = world.topology().mobile_nodes().collect();
        call(&mut world, nodes[0], nodes[7]);
    }
}

#[test]
fn a_crashed_server_is_healed_around_and_its_bindings_live_on() {
    for victim in 0..4 {
        let mut world = up(grid_small(), 10 + victim as u64);
        let server = world.topology().sip_servers().nth(victim).unwrap();
        let name = world.topology().node(server).name.clone();
        world.crash(server);
        assert!(world.run_until_ring_is_ideal(10 * SECOND), "the ring does not heal without {name}");
        // Nodes whose anchor died find out at their next move; then everybody can reach everybody.
        let nodes: Vec<_> = world.topology().mobile_nodes().collect();
        let routers: Vec<_> = world.topology().access_routers().collect();
        for (index, &node) in nodes.iter().enumerate() {
            world.attach(node, routers[(3 * index + 1) % routers.len()]);
        }
        world.run_for(5 * SECOND);
        for &caller in &nodes {
            for &callee in nodes.iter().filter(|&&callee| callee != caller) {
                call(&mut world, caller, callee);
            }
        }
    }
}

#[test]
fn nodes_authenticate_and_move_with_credentials_that_nobody_asked_for() {
    let mut topology = grid_small();
    topology.samp.auth = samp_model::settings::Auth::Digest;
    let mut world = up(topology, 1);
    let refused = |world: &World| {
        events(world).filter(|event| matches!(event, Event::RegistrationFailed { .. })).count()
    };
    assert_eq!(refused(&world), 0);
    // Each node is challenged once; then it always has a nonce to use.
    let sent =
        |world: &World| events(world).filter(|event| matches!(event, Event::RegisterSent { .. })).count();
    let answered =
        |world: &World| events(world).filter(|event| matches!(event, Event::Registered { .. })).count();
    let nodes: Vec<_> = world.topology().mobile_nodes().collect();
    assert_eq!(sent(&world), answered(&world) + nodes.len());
    let routers: Vec<_> = world.topology().access_routers().collect();
    for (index, &node) in nodes.iter().enumerate() {
        world.attach(node, routers[(5 * index + 3) % routers.len()]);
        world.run_for(5 * SECOND);
    }
    assert_eq!((sent(&world), refused(&world)), (answered(&world) + nodes.len(), 0));
    assert_eq!(call(&mut world, nodes[0], nodes[1]), CacheOutcome::Miss);
}
