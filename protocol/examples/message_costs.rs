//! What a SIP message costs without any socket, in nanoseconds of one core:
//!
//! ```text
//! cargo run --release -p samp-protocol --example message_costs
//! ```
//! Reading and writing one message, and a REGISTER and a call through a server that is alone on its ring. Each figure
//! is the least of several rounds, so that what else the machine does stays out.

use samp_model::Time;
use samp_model::settings::SampSettings;
use samp_protocol::sip::{self, Message, Transport};
use samp_protocol::{Input, Node, SampServer};
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 7;
/// Addresses-of-record that register, again and again.
const NODES: u32 = 1000;
/// Between two messages: a server at 50,000 messages a second.
const PACE: Duration = Duration::from_micros(20);

fn main() {
    let server: SocketAddr = "10.0.0.1:5060".parse().expect("an address");
    let register = register(1, 1);
    let invite = invite(1, 1);
    for (name, text) in [("REGISTER", &register), ("INVITE", &invite)] {
        let message = sip::parse(text.as_bytes()).expect("a message");
        let read = least(100_000, || drop(black_box(sip::parse(black_box(text.as_bytes())))));
        let written = least(100_000, || drop(black_box(black_box(&message).to_bytes())));
        println!("{name}: read {read:.0} ns, written {written:.0} ns, {} bytes", text.len());
    }

    let mut lab = Lab::new(server);
    let mut number = 0;
    let registered = least(20 * NODES, || {
        number += 1;
        lab.hear(&self::register(number % NODES, number));
        assert_eq!(lab.sent.len(), 1, "one answer");
    });
    println!("REGISTER from bytes to bytes: {registered:.0} ns");

    let call = least(5000, || {
        number += 1;
        lab.hear(&self::invite(number % NODES, number));
        let forwarded = lab.sent.pop().expect("the INVITE, after 100");
        for (status, phrase) in [(180, "Ringing"), (200, "OK")] {
            lab.hear(&answer(&forwarded, status, phrase));
            assert!(!lab.sent.is_empty(), "passed back");
        }
    });
    println!("INVITE, 180 and 200 from bytes to bytes: {call:.0} ns");
}

/// A server, and what it sent last.
struct Lab {
    server: SampServer,
    now: Time,
    sent: Vec<Arc<[u8]>>,
}

impl Lab {
    fn new(address: SocketAddr) -> Self {
        let server = SampServer::new(address, None, SampSettings::default(), None, 1, Time::ZERO);
        Self { server, now: Time::ZERO, sent: Vec::new() }
    }

    fn hear(&mut self, text: &str) {
        self.now += PACE;
        if self.server.poll_timeout().is_some_and(|due| due <= self.now) {
            self.server.handle_timeout(self.now);
        }
        let from = SocketAddr::new(IpAddr::from([10, 0, 0, 2]), 5060);
        let message = sip::parse(text.as_bytes()).expect("a message");
        let to = IpAddr::from([10, 0, 0, 1]);
        self.server.handle_input(
            self.now,
            Input::Message { from, to, transport: Transport::Udp, message, bytes: 0 },
        );
        while self.server.poll_event().is_some() {}
        self.sent.clear();
        while let Some(transmit) = self.server.poll_transmit() {
            self.sent.push(transmit.to_bytes());
        }
    }
}

fn register(node: u32, number: u32) -> String {
    format!(
        "REGISTER sip:samp.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKr{number};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:b{node}@samp.test>;tag=f{number}\r\n\
         To: <sip:b{node}@samp.test>\r\n\
         Call-ID: r{node}@10.0.0.2\r\n\
         CSeq: {number} REGISTER\r\n\
         Contact: <sip:b{node}@10.0.0.2:5060>\r\n\
         Expires: 3600\r\n\
         User-Agent: bench\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn invite(node: u32, number: u32) -> String {
    let sdp =
        "v=0\r\no=- 0 0 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";
    format!(
        "INVITE sip:b{node}@samp.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKi{number};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:caller@samp.test>;tag=f{number}\r\n\
         To: <sip:b{node}@samp.test>\r\n\
         Call-ID: i{number}@10.0.0.2\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:caller@10.0.0.2:5060>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

/// What the callee answers to the INVITE that reached it.
fn answer(invite: &[u8], status: u16, phrase: &str) -> String {
    let Message::Request(invite) = sip::parse(invite).expect("a message") else { panic!("a request") };
    let mut response = invite.response(status, "callee");
    phrase.clone_into(&mut response.reason);
    String::from_utf8(Message::Response(response).to_bytes()).expect("text")
}

/// Nanoseconds that one call takes in the best of the rounds.
fn least(calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let begin = Instant::now();
        for _ in 0..calls {
            call();
        }
        begin.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
