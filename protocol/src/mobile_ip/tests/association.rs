//! Updates that show of whom they are (RFC 4285). The authenticators here were worked out by Python's `hmac` module.

use super::super::agent::Agent;
use super::super::association::Association;
use super::super::message::{Acknowledgement, Message, Update, status};
use super::super::{Forwarding, Packet};
use super::{AGENT, CARE_OF, HOME, HOME_SUBNET, at, outputs, packets};
use crate::RingKey;
use crate::node::{Input, Node, Output};
use samp_model::agent::MobilityAgent;
use samp_model::settings::TunnelBackend;
use std::net::Ipv6Addr;
use std::time::Duration;

const SECRET: &str = "the agents' own";
const OTHER_HOME: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 9, 0, 0, 0, 3);

fn agent(secret: Option<&str>) -> Agent {
    agent_that_checks(Duration::ZERO, secret)
}

/// One that checks new addresses for so long.
fn agent_that_checks(dad: Duration, secret: Option<&str>) -> Agent {
    Agent::new(
        MobilityAgent {
            address: AGENT,
            home_subnet: Some(HOME_SUBNET),
            map: Some(AGENT),
            dad,
            tunnels: TunnelBackend::Agent,
        },
        secret,
    )
}

/// What the mobile node of this name shares with the agent about this home address.
fn association(name: &str, home: Ipv6Addr) -> Association {
    Association::new(name, &RingKey::new(SECRET).mobility_secret(name, home))
}

fn update(sequence: u16, lifetime: u16) -> Packet {
    let update = Update {
        sequence,
        acknowledge: true,
        home_registration: true,
        lifetime,
        care_of: Some(CARE_OF),
        ..Update::default()
    };
    let mut packet = Packet::new(CARE_OF, AGENT, Message::Update(update));
    packet.home = Some(HOME);
    packet
}

fn signed(by: &Association, sequence: u16, lifetime: u16) -> Packet {
    let mut packet = update(sequence, lifetime);
    by.sign(CARE_OF, HOME, &mut packet.message);
    packet
}

/// The answer of an agent, if there is one.
fn answer(agent: &mut Agent, packet: Packet) -> Option<Packet> {
    agent.handle_input(at(0), Input::Packet(Box::new(packet)));
    packets(agent).pop()
}

fn status_of(answer: &Packet) -> u8 {
    let Message::Acknowledgement(acknowledgement) = &answer.message else { panic!("{answer:?}") };
    acknowledgement.status
}

#[test]
fn updates_and_answers_have_the_bytes_of_the_rfcs() {
    let association = Association::new("mn1", "secret");
    let identifier = [8, 4, 1, b'm', b'n', b'1'];
    let shown = [9, 17, 1, 0, 0, 1, 0];
    let pad_to_its_place = [1, 5, 0, 0, 0, 0, 0];
    let accepted = Acknowledgement { sequence: 7, lifetime: 150, refresh: Some(75), ..Default::default() };
    for (mut message, expected) in [
        (
            update(7, 150).message,
            vec![
                &[59, 7, 5, 0, 0, 0, 0, 7, 0xc0, 0, 0, 150, 1, 0, 3, 16][..],
                &CARE_OF.octets(),
                &identifier,
                &pad_to_its_place,
                &shown,
                &[18, 62, 208, 110, 111, 156, 240, 240, 102, 73, 3, 129],
            ],
        ),
        (
            Message::Acknowledgement(accepted),
            vec![
                &[59, 5, 6, 0, 0, 0, 0, 0, 0, 7, 0, 150, 2, 2, 0, 75],
                &identifier,
                &pad_to_its_place,
                &shown,
                &[216, 59, 184, 2, 83, 152, 119, 198, 100, 37, 229, 203],
            ],
        ),
    ] {
        association.sign(CARE_OF, HOME, &mut message);
        assert_eq!(super::bytes_of(&message), expected.concat());
        assert!(association.verifies(CARE_OF, HOME, &message));
        for [care_of, home] in [[AGENT, HOME], [CARE_OF, AGENT]] {
            assert!(!association.verifies(care_of, home, &message));
        }
        assert!(!Association::new("mn1", "another").verifies(CARE_OF, HOME, &message));
        assert!(!Association::new("mn2", "secret").verifies(CARE_OF, HOME, &message));
    }
}

#[test]
fn home_agents_believe_whom_they_know() {
    let right = association("mn1", HOME);
    let mut other_index = signed(&right, 1, 150);
    let mut shown = other_index.message.authentication().cloned().expect("it is signed");
    shown.spi += 1;
    other_index.message.set_authentication(Some(shown));
    let failed = Some(status::AUTHENTICATION_FAILED);
    for (what, packet, expected) in [
        ("unsigned", update(1, 150), None),
        ("by another association", other_index, None),
        ("by another key", signed(&Association::new("mn1", "guessed"), 1, 150), failed),
        ("by somebody with a key", signed(&association("mn2", OTHER_HOME), 1, 150), failed),
        ("right", signed(&right, 1, 150), Some(0)),
    ] {
        let mut agent = agent(Some(SECRET));
        let answer = answer(&mut agent, packet);
        assert_eq!(answer.as_ref().map(status_of), expected, "{what}");
        assert_eq!(agent.census(at(0)).records, usize::from(expected == Some(0)), "{what}");
    }
    assert_eq!(answer(&mut agent(None), signed(&right, 1, 150)), None, "who has no key can check none");
    // A mobility anchor point has none either: the RFC is for home agents.
    let mut to_map = update(1, 150);
    to_map.home = Some("fd00::2".parse().expect("an address"));
    if let Message::Update(update) = &mut to_map.message {
        (update.home_registration, update.map_registration) = (false, true);
    }
    // Whatever it carries, it is not signed: nobody has proved anything.
    let mut signed_to_map = to_map.clone();
    Association::new("mn1", "guessed").sign(CARE_OF, HOME, &mut signed_to_map.message);
    for packet in [to_map, signed_to_map] {
        let answer = answer(&mut agent(Some(SECRET)), packet).expect("an answer");
        assert_eq!((status_of(&answer), answer.message.authentication()), (0, None));
    }
}

#[test]
fn what_is_old_replaces_nothing_while_an_address_is_checked() {
    let mut agent = agent_that_checks(Duration::from_secs(1), Some(SECRET));
    let mine = association("mn1", HOME);
    let mut elsewhere = update(2, 150);
    elsewhere.source = "2001:db8:2::9".parse().expect("an address");
    if let Message::Update(update) = &mut elsewhere.message {
        update.care_of = Some(elsewhere.source);
    }
    mine.sign(elsewhere.source, HOME, &mut elsewhere.message);
    for packet in [signed(&mine, 1, 150), elsewhere.clone(), signed(&mine, 1, 150), elsewhere.clone()] {
        assert_eq!(answer(&mut agent, packet), None, "the address is being checked");
    }
    agent.handle_timeout(at(1000));
    let bound = outputs(&mut agent).into_iter().find_map(|output| match output {
        Output::Forwarding(Forwarding::To(home, tunnel)) => Some((home, tunnel)),
        _ => None,
    });
    assert_eq!(bound, Some((HOME, Some([AGENT, elsewhere.source]))));
}

#[test]
fn answers_are_signed_and_a_replay_is_refused_even_after_the_binding() {
    let mine = association("mn1", HOME);
    let mut agent = agent(Some(SECRET));
    let old = signed(&mine, 1, 150);
    for (packet, expected) in [
        (old.clone(), status::ACCEPTED),
        (old.clone(), status::SEQUENCE_OUT_OF_WINDOW),
        (signed(&mine, 2, 0), status::ACCEPTED),
        (old, status::SEQUENCE_OUT_OF_WINDOW),
        (signed(&Association::new("mn1", "guessed"), 3, 150), status::AUTHENTICATION_FAILED),
        (signed(&mine, 3, 150), status::ACCEPTED),
    ] {
        let answer = answer(&mut agent, packet).expect("an answer");
        assert_eq!(status_of(&answer), expected);
        let is_proved = expected != status::AUTHENTICATION_FAILED;
        assert_eq!(mine.verifies(CARE_OF, HOME, &answer.message), is_proved, "{expected}");
    }
}

/// Each bit of a good update, one after the other, with a checksum that fits.
#[test]
fn no_bit_of_an_update_can_be_changed() {
    let bytes = signed(&association("mn1", HOME), 1, 150).encode();
    let (checksum, home, header) = (64 + 4, 48, 64);
    let places = (8..40).chain(home..home + 16).chain(header..bytes.len());
    for bit in places.filter(|at| !(checksum..checksum + 2).contains(at)).flat_map(|at| at * 8..at * 8 + 8) {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let address = |at: usize| Ipv6Addr::from(*bytes[at..].first_chunk::<16>().expect("long enough"));
        let ends = [address(home), address(24)];
        bytes[checksum..checksum + 2].fill(0);
        let sum = super::super::checksum::checksum(ends[0], ends[1], 135, &bytes[header..]);
        bytes[checksum..checksum + 2].copy_from_slice(&sum.to_be_bytes());
        let mut agent = agent(Some(SECRET));
        if let Some(packet) = Packet::decode(&bytes).filter(|packet| packet.destination == AGENT) {
            // Where it comes from is not what is bound.
            let is_bound = packet.source != CARE_OF;
            agent.handle_input(at(0), Input::Packet(Box::new(packet)));
            let bound = outputs(&mut agent).into_iter().find_map(|output| match output {
                Output::Forwarding(Forwarding::To(home, tunnel)) => Some((home, tunnel)),
                _ => None,
            });
            let expected = is_bound.then_some((HOME, Some([AGENT, CARE_OF])));
            assert_eq!(bound, expected, "bit {} of byte {}", bit % 8, bit / 8);
        }
    }
}
