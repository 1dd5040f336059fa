//! Overlay messages from those who are no servers, or lie, change nothing that they should not.

use crate::world::{World, chord, client, server};
use samp_protocol::overlay::{Peer, identifier_of};
use std::net::SocketAddr;
use std::time::Duration;

fn overlay(from: SocketAddr, fields: &str, body: &str) -> String {
    format!(
        "OVERLAY sip:10.255.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKevil\r\nMax-Forwards: 70\r\n\
         From: <sip:{from}>;tag=a\r\nTo: <sip:10.255.0.1>\r\nCall-ID: evil\r\nCSeq: 1 OVERLAY\r\n{fields}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answered(world: &mut World, from: SocketAddr, to: SocketAddr, text: &str) -> Option<u16> {
    world.answers.remove("evil");
    world.inject(from, to, text);
    world.run_for(Duration::from_millis(50));
    world.answers.get("evil").map(|(_, response)| response.status)
}

#[test]
fn malformed_and_misdirected_messages_are_refused() {
    let mut world = World::ring(4, chord(2), 1);
    let to = server(1);
    let me = format!("Overlay-Peer: {}\r\n", client());
    let key = identifier_of("x");
    for (fields, body, status) in [
        ("Overlay-Operation: ping\r\n".to_owned(), String::new(), 400),
        (format!("{me}Overlay-Operation: dance\r\n"), String::new(), 400),
        (format!("Overlay-Peer: {}/999\r\nOverlay-Operation: ping\r\n", client()), String::new(), 400),
        (format!("{me}Overlay-Operation: neighbours\r\n"), String::new(), 400),
        (format!("{me}Overlay-Operation: find\r\nOverlay-Route: zz\r\n"), String::new(), 400),
        (format!("{me}Overlay-Operation: store\r\n"), "binding x\n".to_owned(), 400),
        (format!("{me}Overlay-Operation: compare\r\n"), format!("{key}-{key}\n").repeat(1000), 400),
        (format!("{me}Overlay-Operation: fetch\r\n"), format!("{key}\n").repeat(1000), 400),
        // Another's name.
        (format!("Overlay-Peer: {}\r\nOverlay-Operation: ping\r\n", server(2)), String::new(), 403),
        (
            format!("Overlay-Peer: {}\r\nOverlay-To: {to}\r\nOverlay-Operation: notify\r\n", server(2)),
            String::new(),
            403,
        ),
        // A member that is not here.
        (format!("{me}Overlay-To: {}\r\nOverlay-Operation: neighbours\r\n", server(2)), String::new(), 503),
        (format!("{me}Overlay-To: {to}/7\r\nOverlay-Operation: notify\r\n"), String::new(), 503),
    ] {
        let text = overlay(client(), &fields, &body);
        assert_eq!(answered(&mut world, client(), to, &text), Some(status), "{fields}{body:.60}");
    }
}

/// The records of others can neither be replaced nor invented by a server that is not their owner.
#[test]
fn nobody_else_s_binding_is_overwritten() {
    let mut world = World::ring(8, chord(2), 2);
    world.register("mn1", server(1), "register", Some("sip:mn1@10.255.0.1;gr=samp.test"));
    assert_eq!(world.answer("register").0, 200);
    let key = identifier_of("sip:mn1@samp.test");
    let order = world.order();
    let owner = order.iter().position(|&address| key <= Peer::at(address).id).unwrap_or(0);
    let record = "record sip:mn1@samp.test 999999.1 0.0 600000\nbinding sip:evil@10.6.6.6 - c 1 600000\n";
    // A server of the ring that is neither the owner nor the owner's, tells the owner's replica and all others.
    let liar = order[(owner + 4) % 8];
    let fields = format!("Overlay-Peer: {liar}\r\nOverlay-Operation: store\r\n");
    for &to in order.iter().filter(|to| **to != order[owner]) {
        world.inject(liar, to, &overlay(liar, &fields, record).replace("evil;", &format!("evil{to};")));
    }
    world.run_for(Duration::from_secs(20));
    for at in order {
        let found = world.lookup("mn1", at);
        assert_eq!(found.as_deref(), Some("sip:mn1@10.255.0.1;gr=samp.test"), "asked at {at}");
    }
}
