//! The mobile node: its bindings at agents and at peers.

use super::super::{
    Acknowledgement, Agent, Association, Forwarding, Host, HostSettings, Message, Packet, status,
};
use super::{AGENT, CARE_OF, HOME, HOME_SUBNET, at, forwardings, outputs, packets};
use crate::MobileNode;
use crate::node::{Input, Node, Output};
use samp_model::agent::MobilityAgent;
use samp_model::record::RegistrationScope;
use samp_model::settings::{SampSettings, TunnelBackend};
use samp_model::{Event, Time};
use std::net::Ipv6Addr;
use std::time::Duration;

const MAPS: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0, 0, 8, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 10, 0, 0, 0, 1)];
const REGIONAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 8, 0, 0, 0, 2);
const NEXT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 2);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, 3);
const PEERS_CARE_OF: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 3);

fn host(home: Ipv6Addr, hierarchical: bool) -> Host {
    host_with(home, hierarchical, None)
}

fn host_with(home: Ipv6Addr, hierarchical: bool, association: Option<Association>) -> Host {
    let settings = HostSettings {
        home,
        home_agent: AGENT,
        hierarchical,
        route_optimization: true,
        lifetime: Duration::from_secs(600),
        association,
    };
    let user = format!("sip:mn@[{home}]").parse().expect("a URI");
    let user_agent = MobileNode::stationary(user, SampSettings::default(), home.into(), 1);
    Host::new(user_agent, settings, 1)
}

fn moves(host: &mut Host, now: u64, handoff: u32, address: Ipv6Addr) {
    host.handle_input(at(now), Input::AddressConfigured { handoff, address: address.into() });
}

/// Sequence number and lifetime of an update.
fn number(packet: &Packet) -> (u16, u16) {
    let Message::Update(update) = &packet.message else { panic!("no update: {packet:?}") };
    (update.sequence, update.lifetime)
}

fn accept(update: &Packet, lifetime: u16) -> Packet {
    answer(update, Acknowledgement { sequence: number(update).0, lifetime, ..Acknowledgement::default() })
}

fn answer(update: &Packet, acknowledgement: Acknowledgement) -> Packet {
    let message = Message::Acknowledgement(acknowledgement);
    let mut answer = Packet::new(update.destination, update.source, message);
    answer.routed_home = update.home;
    answer
}

fn hear(host: &mut Host, now: u64, packet: Packet) {
    host.handle_input(at(now), Input::Packet(Box::new(packet)));
}

/// The one packet that there is.
fn one(node: &mut impl Node) -> Packet {
    let mut all = packets(node);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn updates_are_sent_again_as_the_rfc_says() {
    let mut host = host(HOME, false);
    moves(&mut host, 0, 0, CARE_OF);
    let first = one(&mut host);
    assert_eq!([first.source, first.destination], [CARE_OF, AGENT]);
    assert_eq!((first.home, number(&first)), (Some(HOME), (1, 150)));
    let mut now = 0;
    // The first one waits 1.5 s, as the agent may check the address; then twice as long each time, up to 32 s.
    for (number_of, wait) in (2..).zip([1_500, 3_000, 6_000, 12_000, 24_000, 32_000, 32_000]) {
        now += wait;
        assert_eq!(host.poll_timeout(), Some(at(now)));
        host.handle_timeout(at(now));
        assert_eq!(number(&one(&mut host)).0, number_of);
    }
    // An answer to an earlier one is none to the last.
    hear(&mut host, now, accept(&first, 150));
    assert!(host.poll_timeout() < Some(at(now + 33_000)));
    assert_eq!(forwardings(&mut host), []);
}

#[test]
fn a_binding_is_refreshed_halfway_and_a_move_does_not_wait() {
    let mut host = host(HOME, false);
    moves(&mut host, 0, 0, CARE_OF);
    let first = one(&mut host);
    hear(&mut host, 50, accept(&first, 150));
    let told = outputs(&mut host);
    let registered = Event::Registered {
        handoff: 0,
        scope: RegistrationScope::Home,
        rrd: Duration::from_millis(50),
        path: vec![AGENT.into()],
    };
    assert!(told.contains(&Output::Record(registered)));
    assert!(told.contains(&Output::Forwarding(Forwarding::From(HOME, Some([CARE_OF, AGENT])))));
    let half = 50 + 300_000;
    assert_eq!(host.poll_timeout(), Some(at(half)));
    host.handle_timeout(at(half));
    let refresh = outputs(&mut host);
    assert!(!refresh.iter().any(|output| matches!(output, Output::Record(_))), "nobody is told of it");
    assert_eq!(host.poll_timeout(), Some(at(half + 1_000)), "a known address has no need of a check");
    moves(&mut host, half + 100, 1, NEXT);
    let outputs = outputs(&mut host);
    let place = |wanted: &dyn Fn(&Output) -> bool| outputs.iter().position(wanted).expect("it is there");
    let sent = place(&|output| matches!(output, Output::Packet(_)));
    let moved = Output::Forwarding(Forwarding::From(HOME, Some([NEXT, AGENT])));
    assert!(sent < place(&|output| *output == moved), "the tunnel follows the update");
}

#[test]
fn refusals_are_heeded() {
    let mut host = host(HOME, false);
    moves(&mut host, 0, 0, CARE_OF);
    let first = one(&mut host);
    let out_of_window =
        Acknowledgement { status: status::SEQUENCE_OUT_OF_WINDOW, sequence: 900, ..Default::default() };
    hear(&mut host, 10, answer(&first, out_of_window));
    let second = one(&mut host);
    assert_eq!(number(&second).0, 901);
    let refused = Acknowledgement { status: status::DUPLICATE_ADDRESS, sequence: 901, ..Default::default() };
    let mut forged = answer(&second, refused.clone());
    forged.source = PEER;
    hear(&mut host, 20, forged);
    assert_eq!(outputs(&mut host), []);
    hear(&mut host, 20, answer(&second, refused));
    let failed = Event::RegistrationFailed { handoff: 0, scope: RegistrationScope::Home, status: 134 };
    assert_eq!(outputs(&mut host), [Output::Record(failed)]);
    assert_eq!(host.poll_timeout(), Some(at(32_020)));
}

#[test]
fn an_answer_has_to_show_that_it_is_the_home_agents() {
    let association = Association::new("mn", "secret");
    let mut host = host_with(HOME, true, Some(association.clone()));
    host.handle_input(at(0), Input::MapAdvertised(Some(MAPS[0])));
    moves(&mut host, 0, 0, CARE_OF);
    let to_map = one(&mut host);
    assert_eq!(to_map.message.authentication(), None, "the RFC is for home agents");
    hear(&mut host, 10, accept(&to_map, 150));
    let update = one(&mut host);
    assert!(association.verifies(REGIONAL, HOME, &update.message));
    let mut forged = accept(&update, 150);
    hear(&mut host, 20, forged.clone());
    Association::new("mn", "guessed").sign(REGIONAL, HOME, &mut forged.message);
    hear(&mut host, 20, forged);
    assert_eq!(outputs(&mut host), []);
    let mut answer = accept(&update, 150);
    association.sign(REGIONAL, HOME, &mut answer.message);
    hear(&mut host, 30, answer);
    let is_registered = |output: &Output| matches!(output, Output::Record(Event::Registered { .. }));
    assert!(outputs(&mut host).iter().any(is_registered));
}

#[test]
fn a_hierarchical_node_tells_its_home_agent_of_another_map_only() {
    let mut host = host(HOME, true);
    host.handle_input(at(0), Input::MapAdvertised(Some(MAPS[0])));
    moves(&mut host, 0, 0, CARE_OF);
    let to_map = one(&mut host);
    assert_eq!([to_map.source, to_map.destination], [CARE_OF, MAPS[0]]);
    assert_eq!(to_map.home, Some(REGIONAL), "the MAP's subnet, the home address's interface identifier");
    hear(&mut host, 10, accept(&to_map, 150));
    let home = one(&mut host);
    assert_eq!([home.source, home.destination, home.home.unwrap()], [REGIONAL, AGENT, HOME]);
    hear(&mut host, 30, accept(&home, 150));
    let told = outputs(&mut host);
    let path = vec![MAPS[0].into(), AGENT.into()];
    let rrd = Duration::from_millis(20);
    let registered = Event::Registered { handoff: 0, scope: RegistrationScope::Home, rrd, path };
    assert!(told.contains(&Output::Record(registered)));

    moves(&mut host, 100, 1, NEXT);
    let local = one(&mut host);
    assert_eq!([local.source, local.destination], [NEXT, MAPS[0]]);
    hear(&mut host, 110, accept(&local, 150));
    assert_eq!(packets(&mut host), [], "the home agent need not know");

    host.handle_input(at(200), Input::MapAdvertised(Some(MAPS[1])));
    moves(&mut host, 200, 2, CARE_OF);
    let outputs = outputs(&mut host);
    assert!(outputs.contains(&Output::Forwarding(Forwarding::From(REGIONAL, None))));
    let other = outputs.into_iter().find_map(|output| match output {
        Output::Packet(packet) => Some(*packet),
        _ => None,
    });
    assert_eq!(other.expect("an update").destination, MAPS[1]);
    assert_eq!(host.poll_timeout(), Some(at(1_700)), "the address is new there");

    host.handle_input(at(300), Input::MapAdvertised(Some(MAPS[0])));
    moves(&mut host, 300, 3, NEXT);
    let back = one(&mut host);
    assert_eq!((back.destination, number(&back).0), (MAPS[0], 3), "it may have the old binding still");
    assert_eq!(host.poll_timeout(), Some(at(1_300)));
}

/// A mobile node that is registered and has a call with another one.
fn optimising() -> [Host; 2] {
    let mut hosts = [host(HOME, false), host(PEER, false)];
    for (host, care_of) in hosts.iter_mut().zip([CARE_OF, PEERS_CARE_OF]) {
        moves(host, 0, 0, care_of);
        let update = one(host);
        hear(host, 0, accept(&update, 150));
        outputs(host);
    }
    hosts[0].begin_with(at(0), PEER, "call");
    hosts
}

/// Carries packets between the two until there are none, as if agents were nowhere. What else the first one wants is
/// returned.
fn converse([one, other]: &mut [Host; 2], now: u64) -> Vec<Output> {
    let mut rest = Vec::new();
    loop {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for output in outputs(one) {
            match output {
                Output::Packet(packet) if packet.destination == PEER => there.push(*packet),
                output => rest.push(output),
            }
        }
        there.into_iter().for_each(|packet| hear(other, now, packet));
        for output in outputs(other) {
            if let Output::Packet(packet) = output {
                back.push(*packet);
            }
        }
        if back.is_empty() {
            return rest;
        }
        back.into_iter().for_each(|packet| hear(one, now, packet));
    }
}

#[test]
fn a_peer_is_told_after_both_addresses_are_proved() {
    let mut hosts = optimising();
    let rest = converse(&mut hosts, 5);
    assert_eq!(rest, [Output::Forwarding(Forwarding::Direct(PEER, Some(CARE_OF)))]);
    assert_eq!(hosts[1].census(at(5)).records, 1);
    // After a move the home token is still good, so that only the care-of address is tested.
    moves(&mut hosts[0], 1_000, 1, NEXT);
    let tests: Vec<_> = outputs(&mut hosts[0]);
    let tests: Vec<_> = tests
        .into_iter()
        .filter_map(|output| match output {
            Output::Packet(packet) if packet.destination == PEER => Some(*packet),
            _ => None,
        })
        .collect();
    assert!(matches!(&tests[..], [Packet { message: Message::CareOfTestInit { .. }, source: NEXT, .. }]));
    hear(&mut hosts[1], 1_000, tests[0].clone());
    let answer = one(&mut hosts[1]);
    hear(&mut hosts[0], 1_000, answer);
    let rest = converse(&mut hosts, 1_010);
    let answered = Event::UpdateAnswered { handoff: 1, call: "call".to_owned(), status: 200 };
    assert!(rest.contains(&Output::Record(answered)));
    assert!(rest.contains(&Output::Forwarding(Forwarding::Direct(PEER, Some(NEXT)))));
}

#[test]
fn a_forged_update_is_not_answered_and_lost_tests_are_sent_again() {
    let mut hosts = optimising();
    let tests = packets(&mut hosts[0]);
    assert_eq!(tests.len(), 2);
    hosts[0].handle_timeout(at(1_000));
    let again = packets(&mut hosts[0]);
    assert_eq!(again, tests, "the same cookies");
    again.into_iter().for_each(|packet| hear(&mut hosts[1], 1_000, packet));
    let answers = packets(&mut hosts[1]);
    answers.into_iter().for_each(|packet| hear(&mut hosts[0], 1_000, packet));
    let update = one(&mut hosts[0]);
    let mut forged = update.clone();
    forged.source = NEXT;
    hear(&mut hosts[1], 1_001, forged);
    assert_eq!(outputs(&mut hosts[1]), []);
    hear(&mut hosts[1], 1_002, update.clone());
    assert!(outputs(&mut hosts[1]).contains(&Output::Forwarding(Forwarding::Reach(HOME, Some(CARE_OF)))));
    // Once more: its number is known, and it is told which.
    hear(&mut hosts[1], 1_003, update);
    let Message::Acknowledgement(refused) = one(&mut hosts[1]).message else { panic!("no answer") };
    assert_eq!((refused.status, refused.sequence), (status::SEQUENCE_OUT_OF_WINDOW, 1));
}

#[test]
fn a_peer_that_knows_nothing_is_told_anew() {
    let mut hosts = optimising();
    converse(&mut hosts, 5);
    hosts[1].handle_input(at(10), Input::UnknownBinding { home: HOME, care_of: CARE_OF });
    hosts[1].handle_input(at(11), Input::UnknownBinding { home: HOME, care_of: CARE_OF });
    let error = one(&mut hosts[1]);
    assert_eq!(error.message, Message::Error { status: status::UNKNOWN_BINDING, home: HOME });
    hear(&mut hosts[0], 20, error);
    let rest = converse(&mut hosts, 20);
    assert_eq!(
        rest,
        [Forwarding::Direct(PEER, None), Forwarding::Direct(PEER, Some(CARE_OF))].map(Output::Forwarding)
    );
}

/// Lets the second node sleep until it wants to know of use, and tells it of some. What it says then is returned.
fn used(hosts: &mut [Host; 2], ms: u64) -> Vec<Output> {
    hosts[1].handle_timeout(at(ms - 1));
    assert!(
        !outputs(&mut hosts[1]).contains(&Output::Forwarding(Forwarding::Watch(HOME))),
        "not before {ms}"
    );
    hosts[1].handle_timeout(at(ms));
    assert!(outputs(&mut hosts[1]).contains(&Output::Forwarding(Forwarding::Watch(HOME))), "at {ms}");
    hosts[1].handle_input(at(ms), Input::InUse(HOME));
    outputs(&mut hosts[1])
}

#[test]
fn a_binding_that_is_used_is_asked_for_before_it_ends() {
    let mut hosts = optimising();
    converse(&mut hosts, 0);
    hosts[0].end_with("call");
    let request = Packet::new(PEER, HOME, Message::RefreshRequest);
    let asked = [Output::Packet(Box::new(request.clone()))];
    // The binding lasts 420 s.
    for ms in [388_000, 389_000, 391_000, 395_000, 403_000] {
        assert_eq!(used(&mut hosts, ms), asked);
    }
    hosts[1].handle_timeout(at(419_999));
    hosts[1].handle_input(at(419_999), Input::InUse(HOME));
    let is_request = |packet: &Packet| packet.message == Message::RefreshRequest;
    assert!(!packets(&mut hosts[1]).iter().any(is_request), "that was often enough");
    // No call needs it, but the peer does.
    hosts[0].handle_timeout(at(403_000));
    outputs(&mut hosts[0]);
    hear(&mut hosts[0], 403_000, request);
    converse(&mut hosts, 403_000);
    assert_eq!(used(&mut hosts, 403_000 + 388_000), asked, "it lasts 420 s again");
    let mut unused = optimising();
    converse(&mut unused, 0);
    unused[1].handle_timeout(at(388_000));
    assert!(!packets(&mut unused[1]).iter().any(is_request));
    unused[1].handle_timeout(at(420_000));
    assert!(outputs(&mut unused[1]).contains(&Output::Forwarding(Forwarding::Reach(HOME, None))));
}

/// Whatever comes in whatever order, nothing fails, grows without bound, or wakes for ever.
#[test]
fn strange_packets_are_survived() {
    let mut hosts = optimising();
    let mut agent = Agent::new(
        MobilityAgent {
            address: AGENT,
            home_subnet: Some(HOME_SUBNET),
            map: None,
            dad: Duration::from_secs(1),
            tunnels: TunnelBackend::Agent,
        },
        None,
    );
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for step in 0..2_000 {
        let now = at(step * 10);
        let message = super::any_message();
        let message = proptest::strategy::Strategy::new_tree(&message, &mut runner).expect("a message");
        let message = proptest::strategy::ValueTree::current(&message);
        for source in [AGENT, PEER, CARE_OF] {
            let mut packet = Packet::new(source, HOME, message.clone());
            (packet.home, packet.routed_home) = (Some(PEER), Some(HOME));
            let nodes: [&mut dyn Node; 2] = [&mut hosts[0], &mut agent];
            for node in nodes {
                node.handle_input(now, Input::Packet(Box::new(packet.clone())));
                let mut steps = 0;
                while node.poll_timeout().is_some_and(|due| due <= now) {
                    node.handle_timeout(now);
                    steps += 1;
                    assert!(steps < 100, "it never sleeps");
                }
                let said = std::iter::from_fn(|| node.poll_event()).take(100).count();
                assert!(said < 100);
            }
        }
    }
    assert!(agent.census(Time::ZERO).records <= 1);
}
