//! The mobile node in virtual time: discovery, confirmation, probes, order of updates, leaving; calls that ring, that
//! meet a stale cache, and that move to another terminal.

use samp_model::record::CacheOutcome;
use samp_model::record::RegistrationScope::{Anchor, Home};
use samp_model::settings::{Confirm, Discover, Profile, SampSettings, Stale, UpdateOrder};
use samp_model::{Event, NodeId, Topology, topology};
use samp_simulator::{Happened, World};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The small grid with these settings.
fn grid(set: impl FnOnce(&mut SampSettings)) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
    let mut topology = topology::load(&path).expect("the shipped topology is valid");
    set(&mut topology.samp);
    topology
}

/// A world whose ring is ideal and whose mobile nodes are registered at home.
fn up(topology: Topology, seed: u64) -> World {
    let nodes = topology.mobile_nodes().count();
    let mut world = World::new(topology, seed);
    assert!(world.run_until_ring_is_ideal(30 * SECOND), "no ring");
    world.attach_all();
    let mut registered = BTreeSet::new();
    let all = |record: &Happened| {
        if let Event::Registered { scope: Home, .. } = record.event {
            registered.insert(record.node);
        }
        registered.len() == nodes
    };
    assert!(world.run_until(30 * SECOND, all), "not registered");
    world.run_for(SECOND);
    world
}

fn node(world: &World, name: &str) -> NodeId {
    world.topology().find(name).unwrap_or_else(|| panic!("no {name}"))
}

/// What a node recorded from this record on.
fn since<'w>(world: &'w World, first: usize, name: &str) -> Vec<&'w Happened> {
    let node = node(world, name);
    world.happened()[first..].iter().filter(|record| record.node == node).collect()
}

/// Who is the anchor of a node: the server that was chosen last.
fn anchor(world: &World, name: &str) -> NodeId {
    let node = node(world, name);
    let chosen = world.happened().iter().rev().find_map(|record| match record.event {
        Event::AnchorSelected { anchor, .. } if record.node == node => Some(anchor),
        _ => None,
    });
    let mut servers = world.topology().sip_servers();
    servers.find(|&id| world.topology().node(id).address() == chosen).expect("an anchor")
}

/// Whether a call from one to the other is answered.
fn can_call(world: &mut World, caller: &str, callee: &str) -> bool {
    let (from, to) = (node(world, caller), node(world, callee));
    let id = world.call(from, to);
    let mut established = false;
    let over = |record: &Happened| match &record.event {
        Event::CallEstablished { call, .. } if *call == id => {
            established = true;
            true
        }
        Event::CallFailed { call, .. } => *call == id,
        _ => false,
    };
    assert!(world.run_until(60 * SECOND, over), "neither established nor failed");
    world.run_for(SECOND);
    world.hang_up(from);
    world.run_for(SECOND);
    established
}

#[test]
fn a_crashed_anchor_is_noticed_and_replaced_within_the_stated_time() {
    for seed in 0..20 {
        let mut world = up(grid(|samp| samp.anchor_probe = 3 * SECOND), seed);
        let (victim, mn1) = (anchor(&world, "mn1"), node(&world, "mn1"));
        world.crash(victim);
        let before = world.happened().len();
        // A probe, its deadline, a discovery, and two registrations over a ring that may have to heal.
        let samp = &world.topology().samp;
        let noticed = samp.anchor_probe + samp.anchor_timeout;
        let bound = noticed + samp.delta + samp.chord.peer_timeout + 2 * SECOND;
        let failed = |record: &Happened| {
            record.node == mn1 && matches!(record.event, Event::RegistrationFailed { scope: Anchor, .. })
        };
        assert!(world.run_until(noticed, failed), "seed {seed}: not noticed");
        world.run_for(bound - noticed);
        let registered = |record: &&Happened| matches!(record.event, Event::Registered { scope: Home, .. });
        assert!(since(&world, before, "mn1").iter().any(registered), "seed {seed}: not repaired");
        assert_ne!(anchor(&world, "mn1"), victim);
        // Nobody has moved, and everybody can be called.
        assert!(can_call(&mut world, "mn5", "mn1"), "seed {seed}");
    }
}

#[test]
fn calls_over_a_server_that_has_just_crashed_take_the_new_way() {
    let mut lost = 0;
    for seed in 0..12 {
        let mut world = up(grid(|_| {}), seed);
        let victim = world.topology().sip_servers().nth(seed as usize % 4).expect("a server");
        let names: Vec<_> = (1..=8).map(|number| format!("mn{number}")).collect();
        let alive: Vec<_> = names.iter().filter(|name| anchor(&world, name) != victim).collect();
        let first = world.happened().len();
        world.crash(victim);
        for pair in alive.chunks_exact(2) {
            let (caller, callee) = (node(&world, pair[0]), node(&world, pair[1]));
            world.call(caller, callee);
        }
        world.run_for(15 * SECOND);
        let dead = world.topology().node(victim).address().expect("an address");
        let count =
            |is: &dyn Fn(&Event) -> bool| world.happened()[first..].iter().filter(|it| is(&it.event)).count();
        let established = count(&|event| matches!(event, Event::CallEstablished { .. }));
        assert_eq!(established, alive.len() / 2, "seed {seed}");
        lost += count(&|event| matches!(event, Event::InviteForwarded { to, .. } if *to == dead));
    }
    assert!(lost > 0, "no call was ever sent to a dead server");
}

#[test]
fn probes_that_change_nothing_are_not_told_of() {
    let mut world = up(grid(|samp| samp.anchor_probe = 3 * SECOND), 1);
    let before = world.happened().len();
    world.run_for(20 * SECOND);
    let quiet = since(&world, before, "mn1")
        .iter()
        .all(|record| !matches!(record.event, Event::RegisterSent { .. } | Event::RegistrationFailed { .. }));
    assert!(quiet);
}

#[test]
fn an_ack_confirms_the_anchor_and_saves_a_round_trip() {
    let registered_after = |confirm| {
        let mut world = up(grid(|samp| samp.confirm = confirm), 2);
        assert!(can_call(&mut world, "mn5", "mn1"), "the binding is committed");
        let at = |wanted: fn(&Event) -> bool| {
            let of_node = since(&world, 0, "mn1");
            of_node.into_iter().find(|record| wanted(&record.event)).map(|record| record.at)
        };
        let confirmed = at(|event| matches!(event, Event::AnchorConfirmed { .. }));
        assert_eq!(confirmed.is_some(), confirm == Confirm::Paper);
        let chosen = at(|event| matches!(event, Event::AnchorSelected { .. })).expect("chosen");
        at(|event| matches!(event, Event::RegisterSent { scope: Home, .. })).expect("registers") - chosen
    };
    assert_eq!(registered_after(Confirm::Paper), Duration::ZERO);
    assert!(registered_after(Confirm::Standard) > Duration::ZERO);
}

#[test]
fn servers_that_were_not_chosen_forget_the_node() {
    let mut world = up(grid(|samp| samp.confirm = Confirm::Paper), 3);
    world.run_for(20 * SECOND);
    let held = world.happened().iter().fold(std::collections::BTreeMap::new(), |mut held, record| {
        if let Event::BindingsChanged { anchor, .. } = record.event {
            held.insert(record.node, anchor);
        }
        held
    });
    assert_eq!(held.values().sum::<u32>(), 8, "each node has one anchor: {held:?}");
}

/// The far corner of the grid, and how far from each server it is, is the same for every seed.
fn waits_for_delta(discover: Discover) -> usize {
    let mut waits = 0;
    for seed in 0..10 {
        let mut world = up(
            grid(|samp| {
                samp.discover = discover;
                samp.delta = Duration::from_millis(14);
            }),
            seed,
        );
        let mobile_node = node(&world, "mn1");
        let routers: Vec<_> = world.topology().access_routers().collect();
        for step in [1, 2, 3, 7, 11, 15, 14, 13, 12, 8, 4, 0] {
            let before = world.happened().len();
            let handoff = world.attach(mobile_node, routers[step]);
            world.run_for(SECOND);
            let after = since(&world, before, "mn1");
            waits +=
                after.iter().filter(|record| matches!(record.event, Event::DiscoveryStarted { .. })).count();
            let registered = |record: &&Happened| matches!(record.event, Event::Registered { handoff: number, .. } if number == handoff);
            assert!(after.iter().any(registered));
        }
        assert!(can_call(&mut world, "mn5", "mn1"), "seed {seed}");
    }
    waits
}

#[test]
fn who_looks_ahead_seldom_waits_for_delta() {
    let (reactive, ahead) = (waits_for_delta(Discover::Reactive), waits_for_delta(Discover::Ahead));
    assert!(reactive > 20, "{reactive}");
    assert!(3 * ahead < reactive, "{ahead} waits instead of {reactive}");
}

#[test]
fn peers_are_told_at_once_or_after_the_registration() {
    for order in [UpdateOrder::Parallel, UpdateOrder::Serial] {
        let mut world = up(grid(|samp| samp.update_order = order), 4);
        let (a, b) = (node(&world, "mn1"), node(&world, "mn2"));
        world.call(a, b);
        world.run_for(SECOND);
        let before = world.happened().len();
        let router = world.topology().access_routers().nth(6).expect("a router");
        world.attach(a, router);
        world.run_for(SECOND);
        let after = since(&world, before, "mn1");
        let at = |wanted: fn(&Event) -> bool| {
            after.iter().find(|record| wanted(&record.event)).expect("it happens").at
        };
        let told = at(|event| matches!(event, Event::UpdateSent { .. }));
        let registered = at(|event| matches!(event, Event::Registered { scope: Anchor, .. }));
        assert!(after.iter().any(|record| matches!(record.event, Event::UpdateAnswered { status: 200, .. })));
        match order {
            UpdateOrder::Parallel => {
                assert_eq!(told, at(|event| matches!(event, Event::RegisterSent { .. })))
            }
            UpdateOrder::Serial => assert_eq!(told, registered),
        }
    }
}

#[test]
fn who_leaves_is_forgotten_and_may_come_back() {
    let mut world = up(grid(|samp| samp.tier1.enabled = false), 5);
    let (leaver, router) = (node(&world, "mn1"), world.topology().access_routers().nth(6).expect("a router"));
    let before = world.happened().len();
    world.deregister(leaver);
    world.run_for(SECOND);
    let forgotten: Vec<_> = since(&world, before, "mn1")
        .iter()
        .filter_map(|record| match record.event {
            Event::Deregistered { scope, .. } => Some(scope),
            _ => None,
        })
        .collect();
    assert!(forgotten.contains(&Anchor) && forgotten.contains(&Home), "{forgotten:?}");
    world.run_for(60 * SECOND);
    assert!(!can_call(&mut world, "mn5", "mn1"), "nobody is there");
    world.attach(leaver, router);
    world.run_for(SECOND);
    assert!(can_call(&mut world, "mn5", "mn1"));
}

#[test]
fn both_profiles_work() {
    for profile in [Profile::Paper, Profile::Recommended] {
        for seed in 0..5 {
            let mut world = up(grid(|samp| *samp = SampSettings::of_profile(profile)), seed);
            let routers: Vec<_> = world.topology().access_routers().collect();
            let mobile_nodes: Vec<_> = world.topology().mobile_nodes().collect();
            for (index, &mobile_node) in mobile_nodes.iter().enumerate() {
                world.attach(mobile_node, routers[(5 * index + 2) % routers.len()]);
                world.run_for(SECOND);
            }
            assert!(can_call(&mut world, "mn1", "mn8"), "{profile:?}, seed {seed}");
        }
    }
}

/// Calls, and says when it was established after it was begun, and what the caches did.
fn established(world: &mut World, caller: &str, callee: &str) -> (Duration, CacheOutcome) {
    let before = world.happened().len();
    assert!(can_call(world, caller, callee));
    let found = since(world, before, caller).into_iter().find_map(|record| match record.event {
        Event::CallEstablished { srd, cache, .. } => Some((srd, cache)),
        _ => None,
    });
    found.expect("established")
}

#[test]
fn a_stale_entry_costs_its_deadline_or_nothing() {
    let stale = |how| {
        let mut world = up(grid(|samp| samp.stale = how), 3);
        let (callee, router) =
            (node(&world, "mn2"), world.topology().access_routers().nth(5).expect("a router"));
        let first = established(&mut world, "mn1", "mn2");
        assert_eq!(first.1, CacheOutcome::Miss);
        let right = established(&mut world, "mn1", "mn2");
        world.attach(callee, router);
        world.run_for(SECOND);
        (right, established(&mut world, "mn1", "mn2"))
    };
    let deadline = SampSettings::default().stale_deadline;
    let (right, wrong) = stale(Stale::Sequential);
    assert_eq!((right.1, wrong.1), (CacheOutcome::Tier1Hit, CacheOutcome::Tier1StaleTier2Hit));
    assert!(wrong.0 > deadline, "{wrong:?}");
    let (right, wrong) = stale(Stale::Parallel);
    assert_eq!((right.1, wrong.1), (CacheOutcome::Tier1Hit, CacheOutcome::Tier1StaleTier2Hit));
    assert!(wrong.0 < deadline, "{wrong:?}");
}

#[test]
fn both_ends_may_move_at_once_in_any_order() {
    for seed in 0..12 {
        let mut world = up(
            grid(|samp| {
                samp.update_order = if seed % 2 == 0 { UpdateOrder::Parallel } else { UpdateOrder::Serial };
                samp.stale = if seed % 3 == 0 { Stale::Parallel } else { Stale::Sequential };
            }),
            seed,
        );
        let routers: Vec<_> = world.topology().access_routers().collect();
        let (a, b) = (node(&world, "mn1"), node(&world, "mn2"));
        world.call(a, b);
        world.run_for(SECOND);
        let before = world.happened().len();
        let (first, second) = if seed < 6 { (a, b) } else { (b, a) };
        world.attach(first, routers[9]);
        world.run_for(Duration::from_millis(seed));
        world.attach(second, routers[10]);
        world.run_for(20 * SECOND);
        for name in ["mn1", "mn2"] {
            let after = since(&world, before, name);
            let ended = |record: &&&Happened| matches!(record.event, Event::CallEnded { .. });
            assert!(after.iter().find(ended).is_none(), "seed {seed}: the call of {name} ended");
        }
        let answered = world.happened()[before..]
            .iter()
            .filter(|record| matches!(record.event, Event::UpdateAnswered { status: 200, .. }))
            .count();
        assert!(answered >= 2, "seed {seed}: {answered}");
    }
}

#[test]
fn a_call_rings_and_the_caller_may_give_up() {
    let ring = 2 * SECOND;
    let mut world = up(grid(|samp| samp.ring = ring), 6);
    let (srd, _) = established(&mut world, "mn1", "mn2");
    assert!(srd < SECOND, "it ends when the callee rings: {srd:?}");
    // Straight to the callee, and through the servers.
    for (caller, callee) in [("mn1", "mn2"), ("mn3", "mn4")] {
        let (from, to) = (node(&world, caller), node(&world, callee));
        let before = world.happened().len();
        let id = world.call(from, to);
        world.run_for(SECOND);
        world.hang_up(from);
        world.run_for(10 * SECOND);
        let failed = since(&world, before, caller)
            .iter()
            .any(|record| matches!(&record.event, Event::CallFailed { call, status: 487 } if *call == id));
        let cancelled = since(&world, before, callee)
            .iter()
            .any(|record| matches!(&record.event, Event::CallCancelled { call } if *call == id));
        assert!(failed && cancelled, "{caller} {callee}: {failed} {cancelled}");
    }
}

#[test]
fn a_live_call_moves_to_another_terminal() {
    for seed in 0..10 {
        let mut world = up(grid(|_| {}), seed);
        let [a, b, c] = ["mn1", "mn2", "mn3"].map(|name| node(&world, name));
        let old = world.call(a, b);
        world.run_for(SECOND);
        let before = world.happened().len();
        world.transfer(a, &old, c);
        world.run_for(2 * SECOND);
        let new = since(&world, before, "mn2").into_iter().find_map(|record| match &record.event {
            Event::CallReplaced { call, by } if *call == old => Some(by.clone()),
            _ => None,
        });
        let new = new.unwrap_or_else(|| panic!("seed {seed}: not replaced"));
        let established = since(&world, before, "mn3")
            .iter()
            .any(|record| matches!(&record.event, Event::CallEstablished { call, .. } if *call == new));
        let ended = since(&world, before, "mn1")
            .iter()
            .any(|record| matches!(&record.event, Event::CallEnded { call } if *call == old));
        assert!(established && ended, "seed {seed}: {established} {ended}");
        // It goes on, whoever moves.
        let before = world.happened().len();
        let router = world.topology().access_routers().nth(9).expect("a router");
        world.attach(c, router);
        world.run_for(5 * SECOND);
        let updated = since(&world, before, "mn3")
            .iter()
            .any(|record| matches!(record.event, Event::UpdateAnswered { status: 200, .. }));
        assert!(updated, "seed {seed}");
        // A call that is not there cannot be moved.
        world.transfer(a, &old, c);
        let refused = |record: &Happened| matches!(record.event, Event::TransferFailed { status: 481, .. });
        assert!(world.run_until(SECOND, refused));
    }
}

/// Two terminals of one user, and two other nodes, on a grid of four domains.
const TERMINALS: &str = "
grid:
  width: 4
  height: 4
  domain: { width: 2, height: 2 }
  link: { one_way_delay: 2ms }
  server_link: { one_way_delay: 500us }
nodes:
  phone: { kind: mobile_node, start: ar-0-0, user: alice }
  tablet: { kind: mobile_node, start: ar-0-0, user: alice }
  bob: { kind: mobile_node, start: ar-3-0 }
samp: { delta: 8ms, replicas: 1, tier1: { enabled: false }, tier2: { enabled: false } }
";

/// How many bindings all home servers hold together.
fn bindings_at_home(world: &World) -> u32 {
    let mut held = std::collections::BTreeMap::new();
    for record in world.happened() {
        if let Event::BindingsChanged { home, .. } = record.event {
            held.insert(record.node, home);
        }
    }
    held.values().sum()
}

#[test]
fn terminals_of_one_user_do_not_remove_each_others_bindings() {
    let mut world = up(topology::parse("terminals.yaml", TERMINALS).expect("valid"), 1);
    assert_eq!(anchor(&world, "phone"), anchor(&world, "tablet"), "both begin at the same anchor");
    assert_eq!(bindings_at_home(&world), 3);
    let (phone, far) = (node(&world, "phone"), node(&world, "ar-2-2"));
    world.attach(phone, far);
    world.run_for(5 * SECOND);
    assert_ne!(anchor(&world, "phone"), anchor(&world, "tablet"));
    assert_eq!(bindings_at_home(&world), 3, "the tablet's is still there");
    assert!(can_call(&mut world, "bob", "tablet"));
    // Who leaves takes nothing with it but its own.
    world.deregister(phone);
    world.run_for(SECOND);
    assert_eq!(bindings_at_home(&world), 2);
    assert!(can_call(&mut world, "bob", "tablet"));
}

#[test]
fn all_terminals_of_a_user_ring_and_the_first_answer_wins() {
    for ring in [Duration::ZERO, SECOND] {
        for seed in 0..8 {
            let text = TERMINALS.replace("tier1: { enabled: false }, tier2: { enabled: false } ", "");
            let text = text.replace(
                "tablet: { kind: mobile_node, start: ar-0-0,",
                "tablet: { kind: mobile_node, start: ar-2-2,",
            );
            let mut topology = topology::parse("terminals.yaml", &text).expect("valid");
            topology.samp.ring = ring;
            let mut world = up(topology, seed);
            assert_ne!(anchor(&world, "phone"), anchor(&world, "tablet"));
            let (bob, phone) = (node(&world, "bob"), node(&world, "phone"));
            // The second call rings both as well, whatever the caches have learnt.
            for _ in 0..2 {
                let before = world.happened().len();
                let id = world.call(bob, phone);
                world.run_for(10 * SECOND);
                let count = |name: &str, wanted: fn(&Event) -> bool| {
                    since(&world, before, name).iter().filter(|record| wanted(&record.event)).count()
                };
                let mut winners = 0;
                for terminal in ["phone", "tablet"] {
                    let cancelled = count(terminal, |event| matches!(event, Event::CallCancelled { .. }));
                    let accepted = count(terminal, |event| matches!(event, Event::CallAccepted { .. }));
                    let rang = count(terminal, |event| matches!(event, Event::CallRinging { .. }));
                    assert!(rang + accepted > 0, "seed {seed}: {terminal} hears of the call");
                    winners += usize::from(accepted == 1 && cancelled == 0);
                    assert_eq!(
                        cancelled + usize::from(accepted == 1 && cancelled == 0),
                        1,
                        "seed {seed}: {terminal}"
                    );
                }
                assert_eq!(winners, 1, "seed {seed}, ring {ring:?}");
                let established =
                    |event: &Event| matches!(event, Event::CallEstablished { call, .. } if *call == id);
                assert_eq!(
                    since(&world, before, "bob").iter().filter(|record| established(&record.event)).count(),
                    1
                );
                world.hang_up(bob);
                world.run_for(2 * SECOND);
            }
        }
    }
}

#[test]
fn a_move_before_the_home_server_has_answered_loses_no_registration() {
    let mut world = World::new(grid(|samp| samp.confirm = Confirm::Paper), 6);
    assert!(world.run_until_ring_is_ideal(30 * SECOND), "no ring");
    world.attach_all();
    let (mn1, router) = (node(&world, "mn1"), world.topology().access_routers().nth(1).expect("a router"));
    let asks_home = |record: &Happened| {
        record.node == mn1 && matches!(record.event, Event::RegisterSent { scope: Home, .. })
    };
    assert!(world.run_until(SECOND, asks_home));
    world.attach(mn1, router);
    world.run_for(5 * SECOND);
    assert!(can_call(&mut world, "mn5", "mn1"));
}

#[test]
fn a_crashed_anchor_is_noticed_while_the_home_server_is_asked_by_way_of_it() {
    let mut world =
        up(grid(|samp| (samp.anchor_probe, samp.registration_lifetime) = (10 * SECOND, 12 * SECOND)), 7);
    let (victim, mn1) = (anchor(&world, "mn1"), node(&world, "mn1"));
    world.crash(victim);
    // The refresh of the home registration comes before the probe.
    let refreshes = |record: &Happened| {
        record.node == mn1 && matches!(record.event, Event::RegisterSent { scope: Home, .. })
    };
    let before = world.happened().len();
    let mut skipped = before;
    assert!(world.run_until(10 * SECOND, |record| {
        skipped = skipped.saturating_sub(1);
        skipped == 0 && refreshes(record)
    }));
    world.run_for(15 * SECOND);
    assert_ne!(anchor(&world, "mn1"), victim);
    assert!(can_call(&mut world, "mn5", "mn1"));
}
