//! Home agent and mobility anchor point.

use super::super::{Acknowledgement, Agent, Forwarding, Message, Packet, Update, status};
use super::{AGENT, CARE_OF, HOME, HOME_SUBNET, at, forwardings, packets};
use crate::node::{Input, Node};
use samp_model::agent::MobilityAgent;
use samp_model::settings::TunnelBackend;
use std::net::Ipv6Addr;
use std::time::Duration;

const MAP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 8, 0, 0, 0, 1);
const REGIONAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 8, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 3, 0, 0, 0, 2);

fn agent(dad: Duration) -> Agent {
    Agent::new(
        MobilityAgent {
            address: AGENT,
            home_subnet: Some(HOME_SUBNET),
            map: Some(MAP),
            dad,
            tunnels: TunnelBackend::Agent,
        },
        None,
    )
}

fn update(sequence: u16) -> Update {
    Update { sequence, acknowledge: true, home_registration: true, lifetime: 150, ..Update::default() }
}

fn packet(home: Ipv6Addr, update: Update) -> Packet {
    let mut packet = Packet::new(CARE_OF, AGENT, Message::Update(update));
    packet.home = Some(home);
    packet
}

/// Status, sequence number and lifetime of each answer.
fn answers(agent: &mut Agent, now: u64, packet: Packet) -> Vec<(u8, u16, u16)> {
    agent.handle_input(at(now), Input::Packet(Box::new(packet)));
    let answers = packets(agent).into_iter().map(|answer| {
        assert_eq!([answer.source, answer.destination], [AGENT, CARE_OF]);
        match answer.message {
            Message::Acknowledgement(Acknowledgement { status, sequence, lifetime, .. }) => {
                (status, sequence, lifetime)
            }
            other => panic!("{other:?}"),
        }
    });
    answers.collect()
}

#[test]
fn updates_are_accepted_or_refused_as_the_rfc_says() {
    let mut agent = agent(Duration::ZERO);
    for (what, home, update, expected) in [
        ("the first", HOME, update(7), (status::ACCEPTED, 7, 150)),
        ("the next", HOME, update(8), (status::ACCEPTED, 8, 150)),
        ("again", HOME, update(8), (status::SEQUENCE_OUT_OF_WINDOW, 8, 0)),
        ("behind", HOME, update(0xfff0), (status::SEQUENCE_OUT_OF_WINDOW, 8, 0)),
        ("another subnet's", OTHER, update(1), (status::NOT_HOME_SUBNET, 1, 0)),
        ("to a correspondent", HOME, Update { home_registration: false, ..update(9) }, (131, 9, 0)),
        ("for long", HOME, Update { lifetime: u16::MAX, ..update(10) }, (status::ACCEPTED, 10, 21_600)),
        ("removal", HOME, Update { lifetime: 0, ..update(11) }, (status::ACCEPTED, 11, 0)),
        ("removed again", HOME, Update { lifetime: 0, ..update(12) }, (status::NOT_HOME_AGENT, 12, 0)),
    ] {
        assert_eq!(answers(&mut agent, 0, packet(home, update)), [expected], "{what}");
    }
    let silent = Update { acknowledge: false, ..update(13) };
    assert_eq!(answers(&mut agent, 0, packet(HOME, silent)), []);
    assert_eq!(agent.census(at(0)).records, 1);
}

#[test]
fn what_is_bound_is_tunnelled_to_until_its_lifetime_ends() {
    let mut agent = agent(Duration::ZERO);
    let bound = Update { care_of: Some(OTHER), ..update(1) };
    agent.handle_input(at(0), Input::Packet(Box::new(packet(HOME, bound))));
    assert_eq!(forwardings(&mut agent), [Forwarding::To(HOME, Some([AGENT, OTHER]))], "the alternate one");
    let mut to_map =
        packet(REGIONAL, Update { home_registration: false, map_registration: true, ..update(1) });
    to_map.destination = MAP;
    agent.handle_input(at(0), Input::Packet(Box::new(to_map)));
    assert_eq!(forwardings(&mut agent), [Forwarding::To(REGIONAL, Some([MAP, CARE_OF]))]);
    assert_eq!(agent.poll_timeout(), Some(at(600_000)));
    agent.handle_timeout(at(599_999));
    assert_eq!(forwardings(&mut agent), []);
    agent.handle_timeout(at(600_000));
    let released = forwardings(&mut agent);
    assert!(
        released.contains(&Forwarding::To(HOME, None)) && released.contains(&Forwarding::To(REGIONAL, None))
    );
    assert_eq!(agent.census(at(600_000)).records, 0);
}

#[test]
fn a_new_address_is_checked_first() {
    let second = Duration::from_secs(1);
    let mut agent = agent(second);
    assert_eq!(answers(&mut agent, 0, packet(HOME, update(1))), []);
    // Sent again meanwhile: the answer is to the last.
    assert_eq!(answers(&mut agent, 900, packet(HOME, update(2))), []);
    assert_eq!(agent.poll_timeout(), Some(at(1_000)));
    agent.handle_timeout(at(1_000));
    let answer = packets(&mut agent).pop().expect("an answer");
    assert_eq!(answer.routed_home, Some(HOME));
    let expected =
        Acknowledgement { sequence: 2, lifetime: 150, refresh: Some(75), ..Acknowledgement::default() };
    assert_eq!(answer.message, Message::Acknowledgement(expected));
    assert_eq!(answers(&mut agent, 2_000, packet(HOME, update(3))), [(0, 3, 150)], "it is known now");

    let mut other = self::agent(second);
    assert_eq!(answers(&mut other, 0, packet(HOME, update(1))), []);
    other.handle_input(at(500), Input::DuplicateAddress(HOME));
    let Message::Acknowledgement(refused) = packets(&mut other).pop().expect("an answer").message else {
        panic!("no acknowledgement")
    };
    assert_eq!(refused.status, status::DUPLICATE_ADDRESS);
    assert_eq!(other.poll_timeout(), None);
}
