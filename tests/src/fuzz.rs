//! What the fuzz targets in `fuzz/` do with their bytes. The tests do the same with the committed corpus.

use samp_model::settings::SampSettings;
use samp_model::{Time, agent, control, experiment, topology};
use samp_protocol::mobile_ip::{Datagram, Packet};
use samp_protocol::sip::{self, Transport};
use samp_protocol::{Input, Node, RingKey, SampServer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Everything that may be done with a topology that is accepted, and the error messages of one that is not.
pub fn topology(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match topology::parse("topology.yaml", text) {
        Ok(topology) => plan(&topology),
        Err(errors) => errors.iter().for_each(|error| drop(error.render(true))),
    }
}

/// The same for an experiment on a fixed topology.
pub fn experiment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    experiment_with(text, "time,node,access_router");
}

/// The same for a trace, in a fixed experiment.
pub fn trace(data: &[u8]) {
    const EXPERIMENT: &str = "topology: line.yaml\ntimeline:\n- period: { lasts: 60s, trace: trace.csv }\n";
    let Ok(text) = std::str::from_utf8(data) else { return };
    experiment_with(EXPERIMENT, text);
}

fn experiment_with(experiment: &str, trace: &str) {
    const TOPOLOGY: &str = include_str!("../../topologies/line.yaml");
    match experiment::parse_with_trace("experiment.yaml", experiment, TOPOLOGY, trace) {
        Ok((experiment, topology)) => drop(experiment.schedule(&topology)),
        Err(errors) => errors.iter().for_each(|error| drop(error.render(true))),
    }
}

/// A datagram that a server or mobile node might get; what is understood survives being sent on.
///
/// # Panics
/// When it does not.
pub fn sip(data: &[u8]) {
    let Ok(message) = sip::parse(data) else {
        if let Some(refusal) = sip::refusal(data, ([10, 9, 9, 9], 5070).into()) {
            assert!(sip::parse(&refusal.message.to_bytes()).is_ok(), "the refusal is no SIP message");
        }
        return;
    };
    let bytes = message.to_bytes();
    let again = sip::parse(&bytes);
    assert!(again.is_ok(), "understood, but not when sent on: {:?}", String::from_utf8_lossy(&bytes));
}

/// Datagrams that reach a server one after the other, with a line `%` between, with and without authentication: it
/// neither fails nor keeps or sends more than they justify, and comes to rest.
///
/// # Panics
/// When it does not.
pub fn server(data: &[u8]) {
    for key in [None, Some(RingKey::new("fuzz"))] {
        let mut fuzzed = FuzzedServer::new(key);
        for datagram in data.split_inclusive(|&byte| byte == b'%') {
            let datagram = datagram.strip_suffix(b"%").unwrap_or(datagram);
            fuzzed.receive(datagram.strip_prefix(b"\n").unwrap_or(datagram));
        }
        fuzzed.rest();
    }
}

/// What a member of the ring might say: `data` is the body of each overlay message, behind a line with the message's
/// operation.
///
/// # Panics
/// When the server fails, or does not come to rest.
pub fn overlay(data: &[u8]) {
    let (operation, body) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut fuzzed = FuzzedServer::new(None);
    for (number, status) in ["OVERLAY sip:10.0.0.1 SIP/2.0", "SIP/2.0 200 OK"].iter().enumerate() {
        let mut datagram = format!(
            "{status}\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK{number}\r\nMax-Forwards: 9\r\n\
             From: <sip:10.0.0.2>;tag=a\r\nTo: <sip:10.0.0.1>\r\nCall-ID: c\r\nCSeq: 1 OVERLAY\r\n\
             Overlay-Peer: 10.0.0.2:5060\r\nOverlay-Operation: "
        )
        .into_bytes();
        datagram.extend_from_slice(operation);
        datagram.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
        datagram.extend_from_slice(body);
        fuzzed.receive(&datagram);
    }
    fuzzed.rest();
}

/// A datagram with a Mobility Header: what is understood survives being sent on. Or one in a tunnel, or with home addresses:
/// what is in it is no longer than it was.
///
/// # Panics
/// When it does not.
pub fn mobility(data: &[u8]) {
    if let Some(packet) = Packet::decode(data) {
        assert_eq!(Packet::decode(&packet.encode()), Some(packet));
    }
    if let Some((outer, inner)) = Datagram::of_frame(data).and_then(|datagram| datagram.unwrap()) {
        assert!(inner.bytes().len() + outer.bytes <= data.len());
        assert!(inner.wrap(&outer).is_some());
    }
}

/// A packet of one of the control sockets: what is understood is written as it was read, and a configuration makes a
/// node or is refused.
///
/// # Panics
/// When it does not.
pub fn control(data: &[u8]) {
    fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
        let packet: T = serde_json::from_slice(data).ok()?;
        let written = serde_json::to_vec(&packet).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&written).ok().as_ref(), Some(&packet));
        Some(packet)
    }
    survives::<control::Request>(data);
    survives::<agent::ToAgent>(data);
    survives::<agent::FromAgent>(data);
    if let Some(config) = survives::<agent::AgentConfig>(data) {
        // An address-of-record that is none is refused.
        let _ = samp_protocol::build(&config, Time::ZERO);
    }
}

/// A server, and its clock.
struct FuzzedServer {
    server: SampServer,
    now: Time,
    received: usize,
}

impl FuzzedServer {
    fn new(key: Option<RingKey>) -> Self {
        let address = ([10, 0, 0, 1], 5060).into();
        let server = SampServer::new(address, None, SampSettings::default(), key, 1, Time::ZERO);
        Self { server, now: Time::ZERO, received: 0 }
    }

    fn receive(&mut self, datagram: &[u8]) {
        let Ok(message) = sip::parse(datagram) else { return };
        self.received += 1;
        self.now += Duration::from_millis(1);
        let from = ([10, 0, 0, 2], 5060).into();
        let to = [10, 0, 0, 1].into();
        self.server.handle_input(
            self.now,
            Input::Message { from, to, transport: Transport::Udp, message, bytes: 0 },
        );
        self.empty();
    }

    /// Takes out what the server has for others.
    fn empty(&mut self) {
        /// Messages and events that one input may cause.
        const MOST: usize = 1000;
        let sent = std::iter::from_fn(|| self.server.poll_transmit()).take(MOST).count();
        let told = std::iter::from_fn(|| self.server.poll_event()).take(MOST).count();
        assert!(sent < MOST && told < MOST, "{sent} messages, {told} events");
    }

    /// A minute and a half later nothing is left but what is kept on purpose.
    fn rest(&mut self) {
        let end = self.now + Duration::from_secs(90);
        let mut steps = 0;
        while let Some(next) = self.server.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
            self.empty();
            steps += 1;
            assert!(steps < 10_000 * (1 + self.received), "it never sleeps");
        }
        let census = self.server.census(end);
        // The ring's own questions to peers that were made up go on.
        assert!(census.transactions <= 64 + self.received, "{census:?}");
    }
}

/// The plan of an accepted topology, on machines with and without netem. Large ones take too long for a fuzzer.
fn plan(topology: &samp_model::Topology) {
    const LARGE: usize = 200;
    if topology.nodes.len() > LARGE {
        return;
    }
    for netem in [false, true] {
        let machine = samp_lab::plan::Machine {
            tunnels: netem,
            netem,
            bpf: netem,
            cpu_quota: netem,
            ipv6: true,
            root: true,
            kernel: "6.1".into(),
        };
        // Refusal is an answer, too: netem may be asked for.
        if let Ok(plan) = samp_lab::plan::Plan::new(topology, &machine) {
            assert!(plan.namespaces.len() >= topology.nodes.len(), "each node has a namespace");
        }
    }
}
