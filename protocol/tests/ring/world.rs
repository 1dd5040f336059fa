//! SIP servers in virtual time, all the same distance from each other, and a client that registers.

use samp_model::settings::{ChordSettings, SampSettings};
use samp_model::{Event, Time};
use samp_protocol::overlay::Peer;
use samp_protocol::sip::{Message, Response, Transport, parse};
use samp_protocol::{Input, Node, Output, SampServer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Between any two nodes, each way.
pub(crate) const DELAY: Duration = Duration::from_millis(5);

pub(crate) fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 255, 0, number], 5060))
}

pub(crate) fn client() -> SocketAddr {
    SocketAddr::from(([10, 9, 0, 1], 5060))
}

pub(crate) fn chord(replicas: usize) -> ChordSettings {
    ChordSettings { replicas, ..ChordSettings::default() }
}

pub(crate) struct World {
    pub(crate) now: Time,
    settings: SampSettings,
    seed: u64,
    pub(crate) servers: BTreeMap<SocketAddr, SampServer>,
    in_flight: BTreeMap<(Time, u64), (SocketAddr, SocketAddr, Message)>,
    /// Messages so far, and those of the overlay's about records, by operation.
    pub(crate) sent: u64,
    pub(crate) operations: BTreeMap<String, u64>,
    /// Answers to the client, by Call-ID, and when they came.
    pub(crate) answers: BTreeMap<String, (Time, Response)>,
    pub(crate) events: Vec<Event>,
    /// Overlay requests of this operation are lost.
    pub(crate) lost: Option<&'static str>,
    /// Servers that leave the ring, or have left it.
    pub(crate) left: BTreeSet<SocketAddr>,
    /// Those that have said that they may be ended.
    pub(crate) gone: BTreeSet<SocketAddr>,
    /// Servers on one side of a network that is cut in two.
    pub(crate) cut_off: BTreeSet<SocketAddr>,
}

impl World {
    /// A ring of servers 1 to `count` that has come to rest.
    pub(crate) fn ring(count: u8, chord: ChordSettings, seed: u64) -> Self {
        let mut world = Self {
            now: Time::ZERO,
            settings: SampSettings { chord, ..SampSettings::default() },
            seed,
            servers: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            operations: BTreeMap::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            lost: None,
            left: BTreeSet::new(),
            gone: BTreeSet::new(),
            cut_off: BTreeSet::new(),
        };
        (1..=count).for_each(|number| world.start(number));
        world.run_for(Duration::from_secs(4));
        world
    }

    /// Starts a server; the first one starts the ring, the others join through it.
    pub(crate) fn start(&mut self, number: u8) {
        let address = server(number);
        let join = (number != 1).then(|| server(1));
        let seed = self.seed << 8 | u64::from(number);
        let node = SampServer::new(address, join, self.settings.clone(), None, seed, self.now);
        self.servers.insert(address, node);
        self.flush(address);
    }

    /// Lets a server leave.
    pub(crate) fn leave(&mut self, address: SocketAddr) {
        self.left.insert(address);
        self.servers.get_mut(&address).expect("it is there").handle_input(self.now, Input::Leave);
        self.flush(address);
    }

    /// All servers, in the order of the ring.
    pub(crate) fn order(&self) -> Vec<SocketAddr> {
        let mut peers: Vec<_> = self.servers.keys().map(|&address| Peer::at(address)).collect();
        peers.sort();
        peers.into_iter().map(|peer| peer.address).collect()
    }

    /// The client sends a REGISTER for `user` to a server: with this contact, or without any, as a query.
    pub(crate) fn register(&mut self, user: &str, to: SocketAddr, call: &str, contact: Option<&str>) {
        let contact = contact.map_or(String::new(), |contact| format!("Contact: <{contact}>\r\n"));
        let text = format!(
            "REGISTER sip:samp.test SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@samp.test>;tag=a\r\nTo: <sip:{user}@samp.test>\r\nCall-ID: {call}\r\n\
             CSeq: 1 REGISTER\r\n{contact}Content-Length: 0\r\n\r\n",
            client()
        );
        self.inject(client(), to, &text);
    }

    /// Lets a message of anybody's arrive at a server.
    pub(crate) fn inject(&mut self, from: SocketAddr, to: SocketAddr, text: &str) {
        let message = parse(text.as_bytes()).expect(text);
        self.sent += 1;
        self.in_flight.insert((self.now + DELAY, self.sent), (from, to, message));
    }

    /// Lets time pass until the client has the answer to this call; its status, and the delay.
    pub(crate) fn answer(&mut self, call: &str) -> (u16, Duration) {
        let began = self.now;
        while !self.answers.contains_key(call) && self.now - began < Duration::from_secs(10) {
            self.step();
        }
        let (at, response) = self.answers.get(call).expect("an answer within 10 s");
        (response.status, *at - began)
    }

    /// The contact that the ring has for this user, asked at that server; none when the question is not answered.
    pub(crate) fn lookup(&mut self, user: &str, at: SocketAddr) -> Option<String> {
        let call = format!("lookup-{}", self.sent);
        self.register(user, at, &call, None);
        let end = self.now + 20 * DELAY;
        while self.now < end && !self.answers.contains_key(&call) {
            self.step();
        }
        let (_, response) = self.answers.get(&call)?;
        let contact = response.headers.contact_address()?;
        Some(contact.uri.to_string())
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.next().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    /// How many servers hold a binding of this user.
    pub(crate) fn holders(&self, user: &str) -> usize {
        let name = format!("sip:{user}@samp.test");
        self.servers.values().filter(|server| server.census(self.now).home.contains(&name)).count()
    }

    fn next(&self) -> Option<Time> {
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        self.servers.values().filter_map(|server| server.poll_timeout()).chain(arrival).min()
    }

    fn step(&mut self) {
        let Some(next) = self.next() else { return };
        self.now = self.now.max(next);
        let due = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now);
        if let Some(entry) = due {
            let (from, to, message) = entry.remove();
            self.deliver(from, to, message);
            return;
        }
        let due =
            self.servers.iter().find(|(_, server)| server.poll_timeout().is_some_and(|at| at <= self.now));
        if let Some(address) = due.map(|(&address, _)| address) {
            self.servers.get_mut(&address).expect("it is there").handle_timeout(self.now);
            self.flush(address);
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, message: Message) {
        if to == client() {
            if let Message::Response(response) = message {
                self.answers.insert(response.headers.call_id.clone(), (self.now, response));
            }
            return;
        }
        if from != client() && self.cut_off.contains(&from) != self.cut_off.contains(&to) {
            return;
        }
        if let Some(server) = self.servers.get_mut(&to) {
            server.handle_input(
                self.now,
                Input::Message { from, to: to.ip(), transport: Transport::Udp, message, bytes: 0 },
            );
            self.flush(to);
        }
    }

    fn flush(&mut self, address: SocketAddr) {
        let server = self.servers.get_mut(&address).expect("it is there");
        while let Some(output) = server.poll_event() {
            match output {
                Output::Record(event) => self.events.push(event),
                Output::Left => assert!(self.gone.insert(address), "{address} has left twice"),
                Output::Media(_) | Output::Packet(_) | Output::Forwarding(_) => {}
            }
        }
        while let Some(transmit) = server.poll_transmit() {
            let bytes = transmit.message.to_bytes();
            assert!(bytes.len() <= 1300, "{} bytes over UDP", bytes.len());
            let message = parse(&bytes).expect("what a node sends, a node can read");
            if let Message::Request(request) = &message
                && let Some(operation) = request.headers.get("Overlay-Operation")
            {
                *self.operations.entry(operation.to_owned()).or_default() += 1;
                if self.lost == Some(operation) {
                    continue;
                }
            }
            self.sent += 1;
            self.in_flight.insert((self.now + DELAY, self.sent), (address, transmit.destination, message));
        }
    }
}
