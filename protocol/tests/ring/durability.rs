//! Acknowledged bindings outlive their servers.

use crate::world::{DELAY, World, chord, server};
use samp_model::Event;
use samp_model::settings::{ChordSettings, Durability};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const USERS: usize = 16;

fn user(number: usize) -> String {
    format!("mn{number}")
}

fn contact(number: usize) -> String {
    format!("sip:mn{number}@10.255.0.9;gr=samp.test")
}

/// A ring with so many users registered, by way of different servers.
fn registered(count: u8, chord: ChordSettings, seed: u64) -> World {
    let mut world = World::ring(count, chord, seed);
    let order = world.order();
    // All at once, so that the last 200 has only just been sent at the end.
    for number in 0..USERS {
        let at = order[number % order.len()];
        world.register(&user(number), at, &format!("register-{number}"), Some(&contact(number)));
    }
    (0..USERS).for_each(|number| assert_eq!(world.answer(&format!("register-{number}")).0, 200));
    world
}

/// Every user is found, and every server that has not left finds.
fn check_all(world: &mut World, what: &str) {
    let mut order = world.order();
    order.retain(|address| !world.left.contains(address));
    for number in 0..USERS.max(order.len()) {
        let (number, at) = (number % USERS, order[number * 7 % order.len()]);
        assert_eq!(
            world.lookup(&user(number), at),
            Some(contact(number)),
            "{what}: mn{number} asked at {at}"
        );
    }
}

/// r = 3: any two servers side by side of 16 die right after the last 200, and nothing that was acknowledged is lost;
/// three stabilisation periods later every lookup is answered.
fn two_adjacent_servers_die_right_after_a_200(seed: u64) {
    for first in 0..16 {
        let mut world = registered(16, chord(3), seed);
        let order = world.order();
        world.servers.remove(&order[first]);
        world.servers.remove(&order[(first + 1) % 16]);
        world.run_for(3 * SECOND);
        check_all(&mut world, &format!("seed {seed}, {first} and the next are dead"));
    }
}

#[test]
fn two_adjacent_servers_die_right_after_a_200_seed_1() {
    two_adjacent_servers_die_right_after_a_200(1);
}

#[test]
fn two_adjacent_servers_die_right_after_a_200_seed_2() {
    two_adjacent_servers_die_right_after_a_200(2);
}

/// Copies are made anew: servers may die two by two until three are left.
#[test]
fn bindings_outlive_any_number_of_servers_when_they_die_slowly() {
    let mut world = registered(9, chord(3), 4);
    while world.servers.len() > 3 {
        let order = world.order();
        order[..2].iter().for_each(|victim| drop(world.servers.remove(victim)));
        world.run_for(5 * SECOND);
        let left = world.servers.len();
        check_all(&mut world, &format!("{left} servers are left"));
        (0..USERS).for_each(|number| assert_eq!(world.holders(&user(number)), 3, "mn{number}"));
    }
}

/// Servers that join are given what is theirs, and until then nobody is told that a user is unknown.
#[test]
fn lookups_and_writes_go_on_while_servers_join() {
    for replicas in [1, 2, 3] {
        let mut world = registered(4, chord(replicas), 5);
        for newcomer in 5..=12 {
            world.start(newcomer);
            for number in 0..USERS {
                world.run_for(DELAY * 2);
                let at = server(1 + number as u8 % 4);
                assert_eq!(
                    world.lookup(&user(number), at),
                    Some(contact(number)),
                    "mn{number}, {newcomer} joins"
                );
                let call = format!("again-{newcomer}-{number}");
                world.register(&user(number), at, &call, Some(&contact(number)));
                assert_eq!(world.answer(&call).0, 200, "mn{number}, {newcomer} joins");
            }
        }
        world.run_for(5 * SECOND);
        check_all(&mut world, &format!("r = {replicas}"));
    }
}

/// Two halves of a ring, each with writes of its own: united, they know both, and of two writes the later counts.
#[test]
fn a_parted_ring_unites_with_all_bindings() {
    let mut world = registered(8, chord(2), 6);
    let order = world.order();
    world.cut_off = order.iter().copied().step_by(2).collect();
    world.run_for(10 * SECOND);
    for (index, &at) in order[..4].iter().enumerate() {
        let call = format!("parted-{index}");
        world.register(&format!("new{index}"), at, &call, Some(&contact(index)));
        assert_eq!(world.answer(&call).0, 200, "each half goes on");
    }
    world.cut_off.clear();
    world.run_for(40 * SECOND);
    check_all(&mut world, "united");
    for index in 0..4 {
        for at in world.order() {
            assert_eq!(world.lookup(&format!("new{index}"), at), Some(contact(index)), "new{index} at {at}");
        }
    }
}

/// A quiet ring compares, and transfers nothing.
#[test]
fn comparing_is_cheap_when_nothing_differs() {
    let mut world = registered(8, chord(3), 7);
    world.run_for(15 * SECOND);
    world.operations.clear();
    world.run_for(20 * SECOND);
    let count = |operation: &str| world.operations.get(operation).copied().unwrap_or(0);
    assert_eq!((count("store"), count("fetch"), count("list")), (0, 0, 0));
    assert_eq!(count("compare"), 8 * 2 * 2, "each owner with two replicas, every ten periods");
}

/// Replicas that are alive but do not get to store: the write is refused, or accepted and noted.
#[test]
fn a_write_without_its_copies_is_refused_or_noted() {
    for (durability, status) in [(Durability::Strict, 503), (Durability::Degraded, 200)] {
        let mut world = World::ring(16, ChordSettings { durability, ..chord(3) }, 8);
        world.lost = Some("store");
        world.register("mn1", server(1), "write", Some(&contact(1)));
        let (code, delay) = world.answer("write");
        assert_eq!(code, status, "{durability:?}");
        assert!(delay <= 4 * SECOND, "{delay:?}");
        let (_, response) = &world.answers["write"];
        assert_eq!(response.headers.get("Retry-After").is_some(), status == 503);
        let noted = world.events.iter().any(|event| {
            matches!(event, Event::WriteDegraded { copies: 1, wanted: 3, address_of_record } if address_of_record == "sip:mn1@samp.test")
        });
        assert_eq!(noted, durability == Durability::Degraded);
    }
}

/// The price of copies: the delay of a registration at its home server, against r.
#[test]
fn a_copy_costs_one_round_trip_however_many_there_are() {
    for replicas in 1..=4 {
        let mut world = World::ring(16, chord(replicas), 9);
        let order = world.order();
        let mut delays = Vec::new();
        for number in 0..64 {
            let call = format!("register-{number}");
            world.register(&user(number), order[number % 16], &call, Some(&contact(0)));
            let (status, delay) = world.answer(&call);
            assert_eq!(status, 200);
            delays.push(delay);
        }
        let mean = delays.iter().sum::<Duration>() / 64;
        println!("r = {replicas}: {:.1} ms on average", mean.as_secs_f64() * 1e3);
        // There and back over the ring, and one round trip more for the copies.
        let fastest = delays.iter().min().copied().unwrap_or_default();
        assert_eq!(fastest, if replicas == 1 { 2 * DELAY } else { 4 * DELAY }, "at the home server itself");
    }
}

/// A server that leaves takes nothing along, with r = 1 either, and is missed by nobody, then or when it is
/// switched off.
#[test]
fn leaving_servers_hand_their_bindings_over() {
    for (replicas, virtual_nodes) in [(1, 1), (2, 1), (3, 4)] {
        let mut world = registered(6, ChordSettings { virtual_nodes, ..chord(replicas) }, 10);
        while world.servers.len() > 1 {
            let leaver = world.order()[0];
            world.leave(leaver);
            world.run_for(SECOND / 2);
            let left = world.events.iter().filter(|event| matches!(event, Event::RingLeft { .. })).count();
            assert_eq!(left, virtual_nodes, "{leaver} has left");
            // It is asked what it does not take any more, and then it is gone.
            world.register("late", leaver, &format!("late-{leaver}"), Some(&contact(0)));
            assert_eq!(world.answer(&format!("late-{leaver}")).0, 503);
            let what = format!("r = {replicas}, {virtual_nodes} virtual nodes, {leaver} has left");
            check_all(&mut world, &what);
            world.run_for(2 * SECOND);
            assert!(world.gone.contains(&leaver), "{leaver} may be ended");
            world.servers.remove(&leaver);
            world.events.clear();
            check_all(&mut world, &what);
            world.run_for(3 * SECOND);
            let failed = world.events.iter().any(|event| matches!(event, Event::PeerFailed { .. }));
            assert!(!failed, "somebody still looked for {leaver}");
        }
    }
}

/// With virtual nodes, copies are on distinct servers: two die, nothing is lost.
#[test]
fn virtual_nodes_have_their_copies_on_distinct_servers() {
    for first in 0..8 {
        let mut world = registered(8, ChordSettings { virtual_nodes: 4, ..chord(3) }, 11);
        (0..USERS).for_each(|number| assert_eq!(world.holders(&user(number)), 3, "mn{number}"));
        let servers = world.order();
        world.servers.remove(&servers[first]);
        world.servers.remove(&servers[(first + 1) % 8]);
        world.run_for(3 * SECOND);
        check_all(&mut world, &format!("{first} and the next are dead"));
    }
}
