//! The driver around a scripted node, in real namespaces: addresses, SIP in and out, timers, media. Needs root.

mod common;

use common::{Agent, GROUP, SERVER, World, care_of, hiring, link_up, mobile_config, server_config};
use samp_model::agent::ToAgent;
use samp_model::{Event, Time};
use samp_protocol::sip::{self, Message, Transport};
use samp_protocol::{Input, MediaCommand, Node, Output, RTP_PORT, Transmit};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Tells everything that it hears; multicasts a question when it has an address, answers questions, and tells when
/// 30 ms have passed since its last address or call.
#[derive(Default)]
struct Scripted {
    outputs: VecDeque<Output>,
    transmits: VecDeque<Transmit>,
    timeout: Option<Time>,
    /// With a message, it is busy until the test has been here twice.
    busy: Option<Arc<Barrier>>,
}

/// Time between two media packets.
const INTERVAL: Duration = Duration::from_millis(20);

const QUESTION: &str = "OPTIONS sip:samp.test SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.1.0.2:5060;branch=z9hG4bK1\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:mn0@samp.test>;tag=1\r\n\
    To: <sip:samp.test>\r\n\
    Call-ID: question\r\n\
    CSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

impl Scripted {
    fn record(&mut self, event: Event) {
        self.outputs.push_back(Output::Record(event));
    }

    fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }
}

impl Node for Scripted {
    fn handle_input(&mut self, now: Time, input: Input) {
        match input {
            Input::LinkGoingDown { handoff, access_router } => {
                self.record(Event::LinkGoingDown { handoff, access_router });
            }
            Input::LinkTrigger { handoff } => self.record(Event::LinkTriggered { handoff }),
            Input::AddressConfigured { handoff, address } => {
                self.record(Event::AddressConfigured { handoff, address });
                let question = Arc::new(sip::parse(QUESTION.as_bytes()).expect("a message"));
                let transmit = Transmit::new((GROUP, 5060).into(), Transport::Udp, question);
                self.transmits.push_back(Transmit { ttl: Some(3), ..transmit });
                self.timeout = Some(now + Duration::from_millis(30));
            }
            Input::Message { from, to, transport, message, .. } => {
                self.record(heard(from, to));
                if let Some(busy) = &self.busy {
                    busy.wait();
                    busy.wait();
                }
                if let Message::Request(request) = message {
                    let message = Arc::new(Message::Response(request.response(200, "2")));
                    self.transmits.push_back(Transmit::new(from, transport, message));
                }
            }
            // The callee's name is its address here, and each node sends the stream named after itself.
            Input::Call { callee, call } => {
                let remote = SocketAddr::new(callee.parse().expect("an address"), RTP_PORT);
                let (ssrc_send, ssrc_receive) = if call == "a" { (1, 2) } else { (2, 1) };
                self.timeout = Some(now + Duration::from_millis(30));
                self.media(MediaCommand::Start { call, remote, ssrc_send, ssrc_receive });
            }
            Input::Lag(_) => {}
            Input::HangUp { call: Some(call) } => match call.split_once(' ') {
                None => self.media(MediaCommand::Stop { call }),
                Some((call, remote)) => {
                    let remote = SocketAddr::new(remote.parse().expect("an address"), RTP_PORT);
                    self.media(MediaCommand::Retarget { call: call.into(), remote });
                }
            },
            Input::Deregister => self.record(Event::CallEnded { call: "deregister".into() }),
            Input::HangUp { call: None }
            | Input::Transfer { .. }
            | Input::Leave
            | Input::TransportError(_)
            | Input::Packet(_)
            | Input::MapAdvertised(_)
            | Input::DuplicateAddress(_)
            | Input::UnknownBinding { .. }
            | Input::InUse(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        assert!(self.timeout.take().is_some_and(|timeout| timeout <= now));
        self.record(Event::CallEnded { call: "timeout".into() });
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timeout
    }

    fn poll_event(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// How a scripted node records a datagram.
fn heard(from: SocketAddr, to: IpAddr) -> Event {
    Event::InviteForwarded { call: from.to_string(), to }
}

fn start_mobile(world: &World, mobile: usize) -> Agent {
    Agent::start(&world.mobiles[mobile], &mobile_config(mobile), |hiring| {
        samp_node::run_nodes(hiring, |_, _| Ok(Box::<Scripted>::default()))
    })
}

fn start_server(world: &World) -> Agent {
    Agent::start(&world.server, &server_config(), |hiring| {
        samp_node::run_nodes(hiring, |_, _| Ok(Box::<Scripted>::default()))
    })
}

/// A server that [`Scripted::busy`] lets wait.
fn start_busy_server(world: &World) -> (Agent, Arc<Barrier>) {
    let busy = Arc::new(Barrier::new(2));
    let of_node = Some(Arc::clone(&busy));
    let server = Agent::start(&world.server, &server_config(), |hiring| {
        samp_node::run_nodes(hiring, move |_, _| {
            Ok(Box::new(Scripted { busy: of_node.clone(), ..Scripted::default() }))
        })
    });
    (server, busy)
}

/// A socket in the server's namespace, and its address.
fn peer_of_server(world: &World) -> (UdpSocket, SocketAddr) {
    let bind = || UdpSocket::bind((SERVER, 0)).expect("a socket");
    let socket = world.server.run(bind).expect("enter the namespace");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn call(agent: &Agent, callee: IpAddr, call: &str) {
    agent.send(&ToAgent::Call { callee: callee.to_string(), call: call.into() });
}

fn hang_up(agent: &Agent, call: &str) {
    agent.send(&ToAgent::HangUp { call: Some(call.into()) });
}

#[test]
fn a_link_trigger_configures_the_address_and_discovery_reaches_the_server() {
    let world = World::new();
    let mut server = start_server(&world);
    let mut mobile = start_mobile(&world, 0);

    for (handoff, place) in [(0, 0), (1, 1), (2, 0)] {
        let address = care_of(0, place);
        mobile.send(&link_up(handoff, 0, place));
        let triggered = mobile.wait_for_event(&Event::LinkTriggered { handoff });
        let configured =
            mobile.wait_for_event(&Event::AddressConfigured { handoff, address: address.into() });
        assert!(configured.at > triggered.at, "the instants are those of the two inputs");
        assert_eq!(configured.node, "mn0");
        // The question went to the group, from the new address; the answer came from the address on `lo`.
        server.wait_for_event(&heard((address, 5060).into(), GROUP.into()));
        mobile.wait_for_event(&heard((SERVER, 5060).into(), address.into()));
        let ended = mobile.wait_for_event(&Event::CallEnded { call: "timeout".into() });
        assert!(ended.at - configured.at >= Duration::from_millis(30));
    }

    mobile.stop();
    server.stop();
}

#[test]
fn what_a_node_was_told_before_a_message_was_sent_it_does_before_it_hears_it() {
    let world = World::new();
    let (mut server, busy) = start_busy_server(&world);
    let (peer, from) = peer_of_server(&world);
    let ask = || peer.send_to(QUESTION.as_bytes(), (SERVER, 5060)).expect("sent");
    let [heard, told] = [heard(from, SERVER.into()), Event::CallEnded { call: "deregister".into() }];
    let next = |server: &mut Agent| {
        server.wait_for("the next of both", |record| {
            [&heard, &told].contains(&&record.event).then(|| record.event.clone())
        })
    };
    for _ in 0..5 {
        ask();
        busy.wait();
        server.send(&ToAgent::Deregister);
        ask();
        for _ in 0..3 {
            busy.wait();
        }
        assert_eq!([(); 3].map(|()| next(&mut server)), [&heard, &told, &heard].map(Clone::clone));

        // Who is told to pause is paused when the message comes.
        ask();
        busy.wait();
        [ToAgent::Pause, ToAgent::Resume, ToAgent::Deregister, ToAgent::Pause]
            .iter()
            .for_each(|packet| server.send(packet));
        ask();
        busy.wait();
        assert_eq!([(); 2].map(|()| next(&mut server)), [&heard, &told].map(Clone::clone));
        server.send(&ToAgent::Deregister);
        server.send(&ToAgent::Resume);
        for _ in 0..2 {
            busy.wait();
        }
        assert_eq!([(); 2].map(|()| next(&mut server)), [&heard, &told].map(Clone::clone));
    }
    server.stop();
}

#[test]
fn what_is_no_sip_is_survived() {
    let world = World::new();
    let mut server = start_server(&world);
    let mut mobile = start_mobile(&world, 0);
    mobile.send(&link_up(0, 0, 0));
    mobile.wait_for_event(&heard((SERVER, 5060).into(), care_of(0, 0).into()));

    let from = world.mobiles[0]
        .run(|| {
            let socket = UdpSocket::bind((care_of(0, 0), 0)).expect("a socket");
            for datagram in [&b""[..], b"\0\xff", b"OPTIONS", &[b'x'; 4000], QUESTION.as_bytes()] {
                socket.send_to(datagram, (SERVER, 5060)).expect("sent");
            }
            socket.local_addr().expect("an address")
        })
        .expect("enter the namespace");
    server.wait_for_event(&heard(from, SERVER.into()));

    mobile.stop();
    server.stop();
}

#[test]
fn over_tcp_messages_come_in_pieces_and_answers_go_back_on_the_connection() {
    let world = World::new();
    let mut server = start_server(&world);
    let mut mobile = start_mobile(&world, 0);
    mobile.send(&link_up(0, 0, 0));
    mobile.wait_for_event(&heard((SERVER, 5060).into(), care_of(0, 0).into()));

    let question = QUESTION.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let (from, answers) = world.mobiles[0]
        .run(|| {
            let mut stream = TcpStream::connect((SERVER, 5060)).expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
            // One message and a half, then the rest.
            let both = question.repeat(2);
            let (first, rest) = both.as_bytes().split_at(question.len() * 3 / 2);
            stream.write_all(first).expect("sent");
            stream.write_all(rest).expect("sent");
            let mut answers = vec![0; 4 * question.len()];
            let mut length = 0;
            while String::from_utf8_lossy(&answers[..length]).matches("SIP/2.0 200 OK").count() < 2 {
                length += stream.read(&mut answers[length..]).expect("an answer");
            }
            // What cannot be cut into messages ends the connection.
            stream.write_all(b"OPTIONS sip:a SIP/2.0\r\n\r\n").expect("sent");
            let mut left = Vec::new();
            stream.read_to_end(&mut left).expect("the end");
            (stream.local_addr().expect("an address"), answers)
        })
        .expect("enter the namespace");
    assert!(String::from_utf8_lossy(&answers).starts_with("SIP/2.0 200 OK"));
    server.wait_for_event(&heard(from, SERVER.into()));
    server.wait_for_event(&heard(from, SERVER.into()));

    mobile.stop();
    server.stop();
}

#[test]
fn media_flow_both_ways_and_a_move_is_a_measured_silence() {
    let world = World::new();
    let mut mobiles = [start_mobile(&world, 0), start_mobile(&world, 1)];
    let home = [care_of(0, 0), care_of(1, 0)].map(IpAddr::from);
    let moved = IpAddr::from(care_of(1, 1));
    for (mobile, agent) in mobiles.iter_mut().enumerate() {
        agent.send(&link_up(0, mobile, 0));
        agent.wait_for_event(&Event::AddressConfigured { handoff: 0, address: home[mobile] });
    }
    let [a, b] = &mut mobiles;
    call(a, home[1], "a");
    call(b, home[0], "b");
    let first = |call: &str, from, at| Event::MediaFirstReceived {
        call: call.into(),
        from,
        at,
        silence: Duration::ZERO,
        lost: 0,
    };
    a.wait_for_event(&Event::MediaRetargeted { call: "a".into(), to: home[1] });
    a.wait_for_event(&Event::MediaFirstSent { call: "a".into(), to: home[1] });
    b.wait_for_event(&first("b", home[0], home[1]));
    a.wait_for_event(&first("a", home[1], home[0]));

    // B moves. A hears it from its new address, but B hears nothing until A is told.
    b.send(&link_up(1, 1, 1));
    let configured = b.wait_for_event(&Event::AddressConfigured { handoff: 1, address: moved });
    let (heard_at, uplink_silence) = a.wait_for("media from the new address", |record| match record.event {
        Event::MediaFirstReceived { from, at, silence, .. } if (from, at) == (moved, home[0]) => {
            Some((record.at, silence))
        }
        _ => None,
    });
    assert!(heard_at > configured.at);
    assert!(uplink_silence > Duration::ZERO);
    b.wait_for("30 ms", |record| {
        let is_later = matches!(record.event, Event::CallEnded { .. }) && record.at > configured.at;
        is_later.then_some(())
    });
    hang_up(a, &format!("a {moved}"));
    a.wait_for_event(&Event::MediaRetargeted { call: "a".into(), to: moved });
    a.wait_for_event(&Event::MediaFirstSent { call: "a".into(), to: moved });
    let (silence, missing) = b.wait_for("media at the new address", |record| match record.event {
        Event::MediaFirstReceived { from, at, silence, lost, .. } if (from, at) == (home[0], moved) => {
            Some((silence, lost))
        }
        _ => None,
    });
    assert!(missing >= 1, "B was away for 30 ms and more, a packet leaves every 20 ms");
    // The missing packets fill the silence; its start may be late by an interval on a busy machine.
    assert!(
        silence + INTERVAL >= INTERVAL * u32::try_from(missing).expect("few"),
        "{missing} in {silence:?}"
    );

    hang_up(b, "b");
    let (received, lost, longest) = b.wait_for("a summary", |record| match record.event {
        Event::MediaSummary { received, lost, longest_silence, .. } => {
            Some((received, lost, longest_silence))
        }
        _ => None,
    });
    assert!(received >= 2);
    assert!(lost >= missing);
    assert!(longest >= silence);

    for agent in mobiles {
        agent.stop();
    }
}

#[test]
fn a_node_without_an_address_keeps_counting_its_packets() {
    let world = World::new();
    let mut mobile = start_mobile(&world, 0);
    call(&mobile, care_of(1, 0).into(), "a");
    mobile.wait_for_event(&Event::MediaRetargeted { call: "a".into(), to: care_of(1, 0).into() });
    mobile.wait_for_event(&Event::CallEnded { call: "timeout".into() });
    mobile.send(&link_up(0, 0, 0));
    mobile.wait_for_event(&Event::MediaFirstSent { call: "a".into(), to: care_of(1, 0).into() });
    mobile.send(&link_up(1, 0, 1));
    mobile.wait_for_event(&Event::CallEnded { call: "timeout".into() });
    hang_up(&mobile, "a");
    let sent = mobile.wait_for("a summary", |record| match record.event {
        Event::MediaSummary { sent, received: 0, .. } => Some(sent),
        _ => None,
    });
    assert!(sent >= 2, "{sent}: at least one before the node had an address, and one after");
    mobile.stop();
}

#[test]
fn an_agent_without_its_interface_says_so() {
    let world = World::new();
    let (control, remote) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let config = serde_json::to_vec(&mobile_config(0)).expect("JSON");
    std::io::Write::write_all(&mut &control, &config).expect("sent");
    let hired = hiring(remote.into(), &world.server);
    let run = || samp_node::run_nodes(hired, |_, _| Ok(Box::<Scripted>::default()));
    let error = std::thread::spawn(run).join().expect("no panic").expect_err("no radio0 here");
    assert!(format!("{error:#}").contains("mn0"), "{error:#}");
}
