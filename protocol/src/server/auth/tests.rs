//! Honest, spoofed and replayed REGISTERs at a ring of servers with `auth: digest`.

use super::*;
use crate::node::{Input, Node};
use crate::overlay::record::{Binding, Record, Version};
use crate::overlay::wire::{self, OverlayRequest};
use crate::sip::{Message, Method, Transport, Via, parse};
use samp_model::settings::SampSettings;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const KEY: &str = "ring";
const USER: &str = "sip:mn1@samp.test";
const DOMAIN: &str = "samp.test";

/// Servers 10.0.0.1 to 10.0.0.4, and everybody else.
struct World {
    now: Time,
    servers: Vec<SampServer>,
    /// What the servers sent to others.
    sent: Vec<(SocketAddr, Message)>,
    branches: u32,
}

fn at(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 5060)
}

impl World {
    fn new() -> Self {
        let first = at("10.0.0.1");
        let server = |number: u64| {
            let address = at(&format!("10.0.0.{number}"));
            let join = (address != first).then_some(first);
            SampServer::new(
                address,
                join,
                SampSettings::default(),
                Some(RingKey::new(KEY)),
                number,
                Time::ZERO,
            )
        };
        let servers = (1..=4).map(server).collect();
        let mut world = Self { now: Time::ZERO, servers, sent: Vec::new(), branches: 0 };
        world.run_for(Duration::from_secs(20));
        world
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.deliver();
            let next = self.servers.iter().filter_map(Node::poll_timeout).min();
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            self.servers.iter_mut().for_each(|server| server.handle_timeout(next));
        }
        self.now = end;
    }

    /// Passes messages on until there are none.
    fn deliver(&mut self) {
        loop {
            let mut under_way = Vec::new();
            for server in &mut self.servers {
                while let Some(transmit) = server.poll_transmit() {
                    under_way.push((server.me.address, transmit.destination, transmit.message));
                }
            }
            if under_way.is_empty() {
                return;
            }
            for (from, to, message) in under_way {
                if self.server(to).is_some() {
                    self.send(from, to, (*message).clone());
                } else {
                    self.sent.push((to, (*message).clone()));
                }
            }
        }
    }

    fn server(&mut self, address: SocketAddr) -> Option<&mut SampServer> {
        self.servers.iter_mut().find(|server| server.me.address == address)
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, message: Message) {
        // As it would look after the wire.
        let message = parse(&message.to_bytes()).expect("a message");
        let (now, ip) = (self.now, to.ip());
        let server = self.server(to).expect("a server");
        server
            .handle_input(now, Input::Message { from, to: ip, transport: Transport::Udp, message, bytes: 0 });
        while server.poll_event().is_some() {}
    }

    /// Sends a request under a branch of its own, and returns what comes back to its source.
    fn ask(&mut self, from: &str, to: SocketAddr, mut request: Request) -> Option<Response> {
        self.branches += 1;
        self.run_for(Duration::from_micros(10));
        let via = Via::new(at(from), &format!("z9hG4bK{}", self.branches));
        request.headers.via = vec![via];
        self.sent.clear();
        self.send(at(from), to, Message::Request(request));
        self.deliver();
        self.sent.drain(..).find_map(|(to, message)| match message {
            Message::Response(response) if to == at(from) => Some(response),
            _ => None,
        })
    }

    /// All bindings of all servers.
    fn bindings(&self) -> Vec<String> {
        let registrars = self.servers.iter().flat_map(|server| [&server.home, &server.anchored]);
        let bindings = registrars.flat_map(|registrar| registrar.all(self.now));
        bindings.map(|(user, binding)| format!("{user} {binding:?}")).collect()
    }

    /// Registers as an honest user agent does: challenged first. Returns the request that was accepted.
    fn register(&mut self, from: &str, anchor: SocketAddr, request: &Request, password: &str) -> Request {
        let challenge = self.ask(from, anchor, request.clone()).expect("an answer");
        assert_eq!(challenge.status, 401);
        let signed = signed(request, &nonce_of(&challenge), 1, password);
        let answer = self.ask(from, anchor, signed.clone()).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        signed
    }
}

fn request(registrar: &str, user: &str, cseq: u32, contact: &str) -> Request {
    let text = format!(
        "REGISTER sip:{registrar} SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9\r\nMax-Forwards: 70\r\n\
         From: <{user}>;tag=a\r\nTo: <{user}>\r\nCall-ID: c\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: {contact}\r\n\r\n"
    );
    let Message::Request(request) = parse(text.as_bytes()).expect(&text) else { panic!("a request") };
    request
}

fn nonce_of(response: &Response) -> String {
    let challenge = response.headers.get("WWW-Authenticate").expect("a challenge");
    Challenge::read(challenge).expect("a challenge").nonce
}

fn signed(request: &Request, nonce: &str, count: u32, password: &str) -> Request {
    let realm = realm(request);
    let username = username(&request.headers.from.uri.address_of_record()).to_owned();
    let secret = Algorithm::Sha256.secret(&username, &realm, password);
    let mut credentials = Credentials {
        username,
        realm,
        nonce: nonce.to_owned(),
        uri: request.uri.to_string(),
        algorithm: Algorithm::Sha256,
        cnonce: "c".to_owned(),
        count,
        response: String::new(),
    };
    credentials.response = credentials.expected("REGISTER", &secret);
    let mut request = request.clone();
    request.headers.set("Authorization", credentials.to_string());
    request
}

fn password_of(user: &str) -> String {
    RingKey::new(KEY).password(&SampSettings::default(), user)
}

fn with_contact(request: &Request, cseq: u32, contact: &str) -> Request {
    let other = self::request("x", USER, cseq, contact);
    let mut request = request.clone();
    request.headers.contact = other.headers.contact;
    request.headers.cseq = cseq;
    request
}

const EVIL: &str = "<sip:evil@10.66.6.6>";

#[test]
fn ten_thousand_spoofed_and_replayed_requests_change_no_binding() {
    let mut world = World::new();
    let (mine, anchor) = ("10.1.0.2", at("10.0.0.2"));
    let password = password_of(USER);
    let local = request("10.0.0.2", USER, 1, "<sip:mn1@10.1.0.2>");
    let over = request(DOMAIN, USER, 2, "<sip:mn1@10.0.0.2;gr=samp.test>");
    let captured =
        [world.register(mine, anchor, &local, &password), world.register(mine, anchor, &over, &password)];
    let before = world.bindings();
    // At the anchor, and at the home server and its replica.
    assert_eq!(before.len(), 3, "{before:#?}");
    let mut sent = 0;
    let mut attack = |world: &mut World, from: &str, to: SocketAddr, request: Request, before: &[String]| {
        let answer = world.ask(from, to, request.clone());
        sent += 1;
        assert!(answer.as_ref().is_none_or(|answer| answer.status != 200), "{request:?} {answer:?}");
        if sent % 100 == 0 {
            assert_eq!(world.bindings(), before, "{request:?}");
        }
    };
    let source = |number: u32| format!("10.66.{}.{}", number / 250, 1 + number % 250);
    let server = |number: u32| at(&format!("10.0.0.{}", 1 + number % 4));
    let registrar = |number: u32| [DOMAIN.to_owned(), server(number).ip().to_string()];

    for number in 0..1000 {
        // From a wrong source, without credentials.
        for registrar in registrar(number) {
            attack(&mut world, &source(number), server(number), request(&registrar, USER, 99, EVIL), &before);
        }
        // With a nonce that the victim was given, and a wrong password.
        for registrar in registrar(number) {
            let request = request(&registrar, USER, 99, EVIL);
            let challenge = world.ask(&source(number), server(number), request.clone()).expect("a challenge");
            let guess = signed(&request, &nonce_of(&challenge), 1, &format!("guess {number}"));
            attack(&mut world, &source(number), server(number), guess, &before);
        }
        // What was accepted once, again, as it is and with what its digest does not cover changed.
        for captured in &captured {
            attack(&mut world, &source(number), anchor, captured.clone(), &before);
            attack(&mut world, &source(number), anchor, with_contact(captured, 99, EVIL), &before);
        }
        // For another user, with credentials of one's own.
        let mut third_party = request(DOMAIN, USER, 99, EVIL);
        third_party.headers.from = request(DOMAIN, "sip:mn2@samp.test", 1, EVIL).headers.from;
        let challenge = world.ask(&source(number), anchor, request(DOMAIN, "sip:mn2@samp.test", 1, EVIL));
        let nonce = nonce_of(&challenge.expect("a challenge"));
        let own = signed(&third_party, &nonce, 1, &password_of("sip:mn2@samp.test"));
        attack(&mut world, &source(number), anchor, own, &before);
    }
    assert_eq!(world.bindings(), before);

    // The user leaves; what was captured brings nothing back, before and after the nonce's lifetime.
    for (cseq, request) in [(3, local), (4, over)] {
        let nonce = nonce_of(&world.ask(mine, anchor, request.clone()).expect("a challenge"));
        let mut removal = with_contact(&request, cseq, "*");
        removal.headers.expires = Some(0);
        let removal = signed(&removal, &nonce, 1, &password);
        assert_eq!(world.ask(mine, anchor, removal).expect("an answer").status, 200);
    }
    assert_eq!(world.bindings(), Vec::<String>::new());
    for number in 0..500 {
        if number == 250 {
            world.run_for(2 * NONCE_LIFETIME);
        }
        for captured in &captured {
            attack(&mut world, mine, anchor, captured.clone(), &[]);
            attack(&mut world, mine, anchor, with_contact(captured, 99, EVIL), &[]);
        }
    }
    assert_eq!(world.bindings(), Vec::<String>::new());
    assert!(sent >= 10_000, "{sent}");
}

#[test]
fn a_forged_verifier_opens_no_door() {
    let mut world = World::new();
    let (from, anchor) = ("10.66.6.6", at("10.0.0.2"));
    let request = request("10.0.0.2", USER, 1, EVIL);
    let nonce = nonce_of(&world.ask(from, anchor, request.clone()).expect("a challenge"));
    let known = "known";
    let mut guess = signed(&request, &nonce, 1, known);
    guess.headers.via = vec![Via::new(at(from), "z9hG4bKforged")];
    world.send(at(from), anchor, Message::Request(guess.clone()));
    let forged = Verifier::new(world.now, |algorithm| algorithm.secret("mn1", "10.0.0.2", known));
    let other_ring = forged.seal(&RingKey::new("other"), USER, "10.0.0.2");
    let elsewhere = forged.seal(&RingKey::new(KEY), USER, "10.0.0.3");
    let waiting = &world.server(anchor).unwrap().auth.as_ref().unwrap().waiting;
    assert_eq!(waiting.len(), 1, "the home server is asked");
    // Even who guesses the transaction has no key.
    let transmit = world.server(anchor).unwrap().poll_transmit().expect("the question");
    let Message::Request(question) = (*transmit.message).clone() else { panic!("a request") };
    for verifier in [other_ring, elsewhere, String::new()] {
        let mut answer = question.response(200, "t");
        answer.headers.set(VERIFIER, verifier);
        world.send(at("10.0.0.1"), anchor, Message::Response(answer));
    }
    world.deliver();
    assert_eq!(world.bindings(), Vec::<String>::new());
    assert!(world.sent.iter().all(|(_, message)| match message {
        Message::Response(response) => response.status != 200,
        Message::Request(_) => true,
    }));
}

#[test]
fn a_stranger_to_the_ring_stores_nothing() {
    let mut world = World::new();
    for number in 0..500 {
        let server = world.servers[number % 4].me;
        let peer = world.servers[(number + 1) % 4].me;
        let record = Record {
            address_of_record: USER.to_owned(),
            version: Version { epoch: u64::MAX, counter: number as u64 },
            proof: Proof::default(),
            bindings: vec![Binding {
                contact: "sip:evil@10.66.6.6".parse().unwrap(),
                q: None,
                call_id: "c".to_owned(),
                cseq: 1,
                expires_at: world.now + Duration::from_secs(3600),
            }],
            keep_until: world.now + Duration::from_secs(3600),
        };
        let what = OverlayRequest::Store(vec![record]);
        let request = wire::request(peer, server.address, format!("c{number}"), "t".into(), world.now, &what);
        // From an address of its own, and from a member's.
        for from in ["10.66.6.6".parse::<IpAddr>().unwrap(), peer.address.ip()] {
            world.ask(&from.to_string(), server.address, request.clone());
        }
    }
    assert_eq!(world.bindings(), Vec::<String>::new());
}

#[test]
fn an_anchor_that_knows_its_user_decides_alone() {
    let mut world = World::new();
    let (mine, anchor, password) = ("10.1.0.2", at("10.0.0.2"), password_of(USER));
    let request = request("10.0.0.2", USER, 1, "<sip:mn1@10.1.0.2>");
    world.register(mine, anchor, &request, &password);
    // All others are gone.
    world.servers.retain(|server| server.me.address == anchor);
    let moved = with_contact(&request, 2, "<sip:mn1@10.1.7.2>");
    world.register("10.1.7.2", anchor, &moved, &password);
    assert_eq!(world.bindings().len(), 2);
}

#[test]
fn each_refusal_has_its_status() {
    let mut world = World::new();
    let (mine, anchor, password) = ("10.1.0.2", at("10.0.0.2"), password_of(USER));
    let honest = request(DOMAIN, USER, 1, "<sip:mn1@10.1.0.2>");
    let challenge = world.ask(mine, anchor, honest.clone()).expect("a challenge");
    let offered: Vec<_> =
        challenge.headers.other.iter().filter_map(|(_, value)| Challenge::read(value)).collect();
    assert_eq!(offered.iter().map(|one| one.algorithm).collect::<Vec<_>>(), Algorithm::ALL);
    let nonce = nonce_of(&challenge);
    let good = signed(&honest, &nonce, 1, &password);
    let status = |world: &mut World, request: Request| {
        let answer = world.ask(mine, anchor, request).expect("an answer");
        let stale = answer.headers.get("WWW-Authenticate").and_then(Challenge::read).map(|one| one.stale);
        (answer.status, stale)
    };
    let edited = |from: &str, to: &str| {
        let mut request = good.clone();
        let value = request.headers.get("Authorization").expect("credentials").replacen(from, to, 1);
        request.headers.set("Authorization", value);
        request
    };
    let mut third_party = good.clone();
    third_party.headers.from = request(DOMAIN, "sip:mn2@samp.test", 1, EVIL).headers.from;
    assert_eq!(status(&mut world, third_party), (403, None), "From is another");
    assert_eq!(status(&mut world, edited("mn1", "mn2")), (403, None), "credentials of another");
    assert_eq!(
        status(&mut world, edited("uri=\"sip:samp", "uri=\"sip:other")),
        (400, None),
        "of another request"
    );
    assert_eq!(
        status(&mut world, edited("qop=auth", "qop=none")),
        (401, Some(false)),
        "no qop that was offered"
    );
    assert_eq!(status(&mut world, edited("response=\"", "response=\"0")), (401, Some(false)), "wrong");
    assert_eq!(
        status(&mut world, signed(&honest, "00", 1, &password)),
        (401, Some(true)),
        "no nonce of the ring's"
    );
    assert_eq!(status(&mut world, good.clone()), (200, None));
    assert_eq!(status(&mut world, good.clone()), (401, Some(true)), "used up");
    let again = with_contact(&honest, 2, "<sip:mn1@10.1.0.2>");
    assert_eq!(status(&mut world, signed(&again, &nonce, 2, &password)), (200, None), "the next count");
    world.run_for(NONCE_LIFETIME + Duration::from_secs(1));
    let late = with_contact(&honest, 3, "<sip:mn1@10.1.0.2>");
    assert_eq!(status(&mut world, signed(&late, &nonce, 3, &password)), (401, Some(true)), "too old");
    assert_eq!(honest.method, Method::Register);
}
