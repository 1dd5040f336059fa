//! Agents with the protocol's own nodes: discovery, registration, a call, a handoff during it. Needs root.

mod common;

use common::{Agent, SERVER, World, care_of, link_up, mobile_config, server_config};
use samp_model::agent::ToAgent;
use samp_model::record::RegistrationScope;
use samp_model::{Event, Record};
use std::net::IpAddr;
use std::time::Duration;

const CALL: &str = "call-1";

#[test]
fn a_call_survives_a_handoff() {
    let world = World::new();
    let server = Agent::start(&world.server, &server_config(), samp_node::run);
    let mut mobiles =
        [0, 1].map(|mobile| Agent::start(&world.mobiles[mobile], &mobile_config(mobile), samp_node::run));
    let home = [care_of(0, 0), care_of(1, 0)].map(IpAddr::from);
    let moved = IpAddr::from(care_of(1, 1));

    for (mobile, agent) in mobiles.iter_mut().enumerate() {
        agent.send(&link_up(0, mobile, 0));
        agent.wait_for_event(&Event::LinkTriggered { handoff: 0 });
        agent.wait_for_event(&Event::AddressConfigured { handoff: 0, address: home[mobile] });
        let anchor = agent.wait_for("an anchor", |record| match record.event {
            Event::AnchorSelected { handoff: 0, anchor, .. } => Some(anchor),
            _ => None,
        });
        assert_eq!(anchor, IpAddr::from(SERVER));
        agent.wait_for("the home registration", |record| registered(record, 0, RegistrationScope::Home));
    }

    let [a, b] = &mut mobiles;
    a.send(&ToAgent::Call { callee: "sip:mn1@samp.test".into(), call: CALL.into() });
    a.wait_for("the call", |record| match &record.event {
        Event::CallEstablished { call, .. } if call == CALL => Some(()),
        _ => None,
    });
    b.wait_for_event(&Event::CallAccepted { call: CALL.into(), caller: "sip:mn0@samp.test".into() });
    a.wait_for("media at the caller", |record| media_received(record, home[1], home[0]));
    b.wait_for("media at the callee", |record| media_received(record, home[0], home[1]));

    b.send(&link_up(1, 1, 1));
    let configured = b.wait_for_event(&Event::AddressConfigured { handoff: 1, address: moved }).at;
    b.wait_for("the anchor registration", |record| registered(record, 1, RegistrationScope::Anchor));
    b.wait_for_event(&Event::UpdateAnswered { handoff: 1, call: CALL.into(), status: 200 });
    let retargeted = a.wait_for_event(&Event::MediaRetargeted { call: CALL.into(), to: moved }).at;
    let uplink = a.wait_for("media from the new address", |record| media_received(record, moved, home[0]));
    let downlink = b.wait_for("media at the new address", |record| media_received(record, home[0], moved));
    assert!(uplink.at > configured);
    assert!(downlink.at > retargeted && retargeted > configured);

    a.send(&ToAgent::HangUp { call: Some(CALL.into()) });
    for agent in [a, b] {
        agent.wait_for_event(&Event::CallEnded { call: CALL.into() });
        let (sent, received, silence) = agent.wait_for("a summary", |record| match record.event {
            Event::MediaSummary { sent, received, longest_silence, .. } => {
                Some((sent, received, longest_silence))
            }
            _ => None,
        });
        assert!(sent > 0 && received > 0 && silence > Duration::ZERO);
    }

    for agent in mobiles {
        agent.stop();
    }
    server.stop();
}

fn registered(record: &Record, of_handoff: u32, with: RegistrationScope) -> Option<()> {
    matches!(record.event, Event::Registered { handoff, scope, .. } if (handoff, scope) == (of_handoff, with))
        .then_some(())
}

fn media_received(record: &Record, source: IpAddr, own: IpAddr) -> Option<Record> {
    matches!(record.event, Event::MediaFirstReceived { from, at, .. } if (from, at) == (source, own))
        .then(|| record.clone())
}
