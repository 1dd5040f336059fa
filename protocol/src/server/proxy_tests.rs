//! The proxy core against peers that are written down: forks, CANCEL, redirections, what is refused.

use super::SampServer;
use crate::node::{Input, Node, Transmit};
use crate::sip::{Message, Request, Response, Transport, parse};
use samp_model::Time;
use samp_model::settings::{SampSettings, ServerMode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const SERVER: &str = "10.0.0.1:5060";
const CALLER: &str = "10.0.1.2:5060";
const A: &str = "10.0.1.3:5060";
const B: &str = "10.0.1.4:5060";

/// A server that is a ring of its own, so anchor and home of everybody.
struct Bench {
    server: SampServer,
    now: Time,
}

/// What the server has sent: to whom, and what.
type Sent = Vec<(SocketAddr, Message)>;

impl Bench {
    fn new(mode: ServerMode) -> Self {
        let settings = SampSettings { mode, ..SampSettings::default() };
        let server = SampServer::new(SERVER.parse().unwrap(), None, settings, None, 1, Time::ZERO);
        Self { server, now: Time::ZERO }
    }

    /// With callee `b` registered at home with these contacts.
    fn with(mode: ServerMode, contacts: &[&str]) -> Self {
        let contacts: Vec<_> = contacts.iter().map(|&contact| (contact, "1")).collect();
        Self::with_preferences(mode, &contacts)
    }

    /// The same, each contact with its q.
    fn with_preferences(mode: ServerMode, contacts: &[(&str, &str)]) -> Self {
        let mut bench = Self::new(mode);
        for (index, (contact, q)) in contacts.iter().enumerate() {
            let register =
                text("REGISTER", "sip:samp.test", CALLER, &format!("z9hG4bKr{index}"), "sip:b@samp.test");
            let register = register.replace("Call-ID: c", &format!("Call-ID: r{index}"));
            bench.receive(
                CALLER,
                &register.replace("\r\n\r\n", &format!("\r\nContact: <sip:b@{contact}>;q={q}\r\n\r\n")),
            );
        }
        bench
    }

    fn receive(&mut self, from: &str, text: &str) -> Sent {
        let message = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        self.input(from, message)
    }

    fn input(&mut self, from: &str, message: Message) -> Sent {
        let (from, to) = (from.parse().unwrap(), "10.0.0.1".parse().unwrap());
        self.server.handle_input(
            self.now,
            Input::Message { from, to, transport: Transport::Udp, message, bytes: 0 },
        );
        self.sent()
    }

    fn sent(&mut self) -> Sent {
        while self.server.poll_event().is_some() {}
        let transmits = std::iter::from_fn(|| self.server.poll_transmit());
        transmits.map(|transmit| (transmit.destination, (*transmit.message).clone())).collect()
    }

    /// Lets time pass; returns what was sent on the way.
    fn wait(&mut self, seconds: u64) -> Sent {
        let (until, mut sent) = (self.now + Duration::from_secs(seconds), Vec::new());
        while let Some(next) = self.server.poll_timeout().filter(|&next| next <= until) {
            self.now = next;
            self.server.handle_timeout(next);
            sent.extend(self.sent());
        }
        self.now = until;
        sent
    }

    fn answer(&mut self, from: &str, request: &Request, code: u16) -> Sent {
        self.input(from, Message::Response(request.response(code, from)))
    }

    /// The transport could not send this request.
    fn fail(&mut self, request: &Request) -> Sent {
        let message = Arc::new(Message::Request(request.clone()));
        let destination = request.uri.socket_address().unwrap();
        let transmit = Transmit::new(destination, Transport::Udp, message);
        self.server.handle_input(self.now, Input::TransportError(transmit));
        self.sent()
    }

    fn invite(&mut self) -> Sent {
        self.receive(CALLER, &text("INVITE", "sip:b@samp.test", CALLER, "z9hG4bKi", "sip:b@samp.test"))
    }

    fn cancel(&mut self) -> Sent {
        self.receive(CALLER, &text("CANCEL", "sip:b@samp.test", CALLER, "z9hG4bKi", "sip:b@samp.test"))
    }
}

fn text(method: &str, uri: &str, via: &str, branch: &str, to: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch={branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@samp.test>;tag=f\r\nTo: <{to}>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
    )
}

/// Who got what, as `address METHOD` or `address status`; the ring's own talk left out.
fn summary(sent: &Sent) -> Vec<String> {
    let line = |(to, message): &(SocketAddr, Message)| match message {
        Message::Request(request) => format!("{to} {}", request.method.name()),
        Message::Response(response) => format!("{to} {}", response.status),
    };
    sent.iter().map(line).filter(|line| !line.ends_with("OVERLAY")).collect()
}

fn request_to<'a>(sent: &'a Sent, to: &str) -> &'a Request {
    let found = sent.iter().find_map(|(destination, message)| match message {
        Message::Request(request) if destination.to_string() == to => Some(request),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nothing was asked of {to}: {:?}", summary(sent)))
}

fn response_to_caller(sent: &Sent) -> &Response {
    let found = sent.iter().find_map(|(_, message)| match message {
        Message::Response(response) => Some(response),
        Message::Request(_) => None,
    });
    found.unwrap_or_else(|| panic!("no response: {:?}", summary(sent)))
}

#[test]
fn two_contacts_ring_and_the_first_answer_wins() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let sent = bench.invite();
    assert_eq!(summary(&sent).len(), 3, "100 and two INVITEs: {:?}", summary(&sent));
    let (to_a, to_b) = (request_to(&sent, A).clone(), request_to(&sent, B).clone());
    assert_eq!(to_a.headers.get("Max-Breadth"), Some("30"));
    assert_eq!(summary(&bench.answer(A, &to_a, 180)), [format!("{CALLER} 180")]);
    assert_eq!(summary(&bench.answer(B, &to_b, 180)), [format!("{CALLER} 180")]);
    let sent = bench.answer(A, &to_a, 200);
    assert_eq!(summary(&sent), [format!("{CALLER} 200"), format!("{B} CANCEL")]);
    // B was faster than its CANCEL: its 2xx is the caller's, too.
    assert_eq!(summary(&bench.answer(B, &to_b, 200)), [format!("{CALLER} 200")]);
    bench.wait(200);
    assert_eq!((bench.server.contexts.len(), bench.server.branches.len()), (0, 0));
}

#[test]
fn a_contact_of_lower_q_waits_until_the_others_have_ended() {
    const C: &str = "10.0.1.5:5060";
    for mode in [ServerMode::Proxy, ServerMode::Redirect] {
        let mut bench = Bench::with_preferences(mode, &[(C, "0.5"), (A, "0.8"), (B, "0.8")]);
        let first = bench.invite();
        let expected = [format!("{CALLER} 100"), format!("{B} INVITE"), format!("{A} INVITE")];
        assert_eq!(summary(&first), expected, "{mode:?}");
        assert_eq!(request_to(&first, A).headers.get("Max-Breadth"), Some("30"));
        let refused = bench.answer(A, request_to(&first, A), 486);
        assert_eq!(summary(&refused), [format!("{A} ACK")], "B still rings");
        let second = bench.answer(B, request_to(&first, B), 480);
        assert_eq!(summary(&second), [format!("{B} ACK"), format!("{C} INVITE")]);
        let accepted = bench.answer(C, request_to(&second, C), 200);
        assert_eq!(summary(&accepted), [format!("{CALLER} 200")]);
    }
}

#[test]
fn an_answer_leaves_contacts_of_lower_q_alone() {
    let mut bench = Bench::with_preferences(ServerMode::Proxy, &[(A, "1"), (B, "0.1")]);
    let first = bench.invite();
    bench.answer(A, request_to(&first, A), 200);
    assert!(!summary(&bench.wait(200)).contains(&format!("{B} INVITE")));
}

#[test]
fn the_best_refusal_waits_for_the_last_branch() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let sent = bench.invite();
    let (to_a, to_b) = (request_to(&sent, A).clone(), request_to(&sent, B).clone());
    assert_eq!(summary(&bench.answer(A, &to_a, 486)), [format!("{A} ACK")]);
    let sent = bench.answer(B, &to_b, 500);
    assert_eq!(summary(&sent), [format!("{B} ACK"), format!("{CALLER} 486")]);
    bench.wait(200);
    assert_eq!(bench.server.census(bench.now).transactions, 0);
}

#[test]
fn a_global_refusal_ends_the_other_branches() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let sent = bench.invite();
    let (to_a, to_b) = (request_to(&sent, A).clone(), request_to(&sent, B).clone());
    bench.answer(B, &to_b, 180);
    assert_eq!(summary(&bench.answer(A, &to_a, 603)), [format!("{A} ACK"), format!("{B} CANCEL")]);
    let sent = bench.answer(B, &to_b, 487);
    assert_eq!(summary(&sent), [format!("{B} ACK"), format!("{CALLER} 603")]);
}

#[test]
fn cancel_reaches_all_branches_that_may_be_cancelled() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let sent = bench.invite();
    let (to_a, to_b) = (request_to(&sent, A).clone(), request_to(&sent, B).clone());
    bench.answer(A, &to_a, 180);
    assert_eq!(summary(&bench.cancel()), [format!("{CALLER} 200"), format!("{A} CANCEL")]);
    // RFC 3261 §9.1: not before a provisional response.
    assert_eq!(summary(&bench.answer(B, &to_b, 180)), [format!("{B} CANCEL"), format!("{CALLER} 180")]);
    bench.answer(A, &to_a, 487);
    assert!(summary(&bench.answer(B, &to_b, 487)).contains(&format!("{CALLER} 487")));
}

#[test]
fn a_callee_that_rings_for_ever_is_cancelled_by_timer_c() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A]);
    let sent = bench.invite();
    let to_a = request_to(&sent, A).clone();
    bench.answer(A, &to_a, 180);
    let sent = summary(&bench.wait(180));
    assert!(!sent.contains(&format!("{A} CANCEL")), "not before three minutes: {sent:?}");
    assert!(summary(&bench.wait(2)).contains(&format!("{A} CANCEL")));
    assert!(summary(&bench.wait(33)).contains(&format!("{CALLER} 408")), "no answer to the CANCEL either");
    bench.wait(100);
    assert_eq!(bench.server.census(bench.now).transactions, 0);
}

#[test]
fn a_non_invite_that_forks_gets_100_late_and_never_408() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let message = text("MESSAGE", "sip:b@samp.test", CALLER, "z9hG4bKm", "sip:b@samp.test");
    let sent = bench.receive(CALLER, &message);
    assert_eq!(summary(&sent).len(), 2, "no 100: {:?}", summary(&sent));
    let to_caller = |sent: Sent| -> Vec<_> {
        summary(&sent).into_iter().filter(|line| line.starts_with(CALLER)).collect()
    };
    assert_eq!(to_caller(bench.wait(3)), Vec::<String>::new());
    assert_eq!(to_caller(bench.wait(1)), [format!("{CALLER} 100")]);
    assert_eq!(to_caller(bench.wait(100)), Vec::<String>::new(), "RFC 4320 §4.2");
    assert_eq!(bench.server.census(bench.now).transactions, 0);
}

#[test]
fn one_contact_needs_no_state() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A]);
    bench.wait(40);
    let message = text("UPDATE", "sip:b@samp.test", CALLER, "z9hG4bKm", "sip:b@samp.test");
    assert_eq!(summary(&bench.receive(CALLER, &message)), [format!("{A} UPDATE")]);
    assert_eq!(bench.server.census(bench.now).transactions, 0);
}

#[test]
fn a_redirect_server_says_where_to_go_and_the_callers_anchor_goes_there() {
    // What comes over the ring is redirected.
    let mut bench = Bench::with(ServerMode::Redirect, &[A, B]);
    let invite = text("INVITE", "sip:b@samp.test", CALLER, "z9hG4bKi", "sip:b@samp.test");
    let key = crate::overlay::identifier_of("sip:b@samp.test");
    let over_the_ring = invite.replace("\r\n\r\n", &format!("\r\nOverlay-Route: {key}\r\n\r\n"));
    let sent = bench.receive(CALLER, &over_the_ring);
    assert_eq!(summary(&sent), [format!("{CALLER} 302")]);
    assert_eq!(response_to_caller(&sent).headers.contact.len(), 2);

    // Its own caller's request is not: and what the callee's side redirects is followed, the preferred one first, never
    // twice to the same place.
    let mut bench = Bench::with(ServerMode::Redirect, &[A]);
    let sent = bench.invite();
    let to_a = request_to(&sent, A).clone();
    let mut moved = to_a.response(302, "t");
    let contacts = format!(
        "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nFrom: <sip:x>;tag=1\r\nTo: <sip:x>\r\n\
         Call-ID: x\r\nCSeq: 1 OPTIONS\r\nContact: <sip:b@{A}>, <sip:b@{B}>;q=0.5\r\n\r\n"
    );
    let Message::Request(carrier) = parse(contacts.as_bytes()).unwrap() else { panic!("a request") };
    moved.headers.contact = carrier.headers.contact;
    let sent = bench.input(A, Message::Response(moved.clone()));
    assert_eq!(summary(&sent), [format!("{A} ACK"), format!("{B} INVITE")]);
    let to_b = request_to(&sent, B).clone();
    moved.headers.via = to_b.headers.via.clone();
    let sent = bench.input(B, Message::Response(moved));
    assert_eq!(summary(&sent), [format!("{B} ACK"), format!("{CALLER} 302")], "nothing new to try");
}

#[test]
fn what_a_proxy_refuses() {
    let invite = text("INVITE", "sip:b@samp.test", CALLER, "z9hG4bKi", "sip:b@samp.test");
    let with = |field: &str| invite.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
    let own = text("MESSAGE", "sip:10.0.0.1", CALLER, "z9hG4bKm", "sip:10.0.0.1");
    let unknown = text("MESSAGE", "sip:b@10.0.0.1", CALLER, "z9hG4bKn", "sip:b@10.0.0.1");
    for (message, code) in [
        (with("Proxy-Require: wonders"), 420),
        (with("Max-Breadth: 0"), 440),
        (invite.replace("Max-Forwards: 70", "Max-Forwards: 0"), 483),
        (own, 405),
        (unknown, 404),
    ] {
        let mut bench = Bench::with(ServerMode::Proxy, &[A]);
        let sent = bench.receive(CALLER, &message);
        assert_eq!(summary(&sent), [format!("{CALLER} {code}")], "{message}");
    }
}

#[test]
fn a_request_that_comes_back_unchanged_loops() {
    let mut bench = Bench::with(ServerMode::Proxy, &[SERVER.replace(":5060", ":5061").as_str()]);
    bench.wait(40);
    let message = text("MESSAGE", "sip:b@samp.test", CALLER, "z9hG4bKm", "sip:b@samp.test");
    let sent = bench.receive(CALLER, &message);
    let mut looped = request_to(&sent, "10.0.0.1:5061").clone();
    looped.uri = "sip:b@samp.test".parse().unwrap();
    let sent = bench.input("10.0.0.9:5060", Message::Request(looped));
    assert_eq!(response_to_caller(&sent).status, 482);
}

#[test]
fn a_branch_that_cannot_be_reached_ends_at_once() {
    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let forked = bench.invite();
    assert_eq!(summary(&bench.fail(request_to(&forked, A))), Vec::<String>::new());
    let refused = bench.answer(B, request_to(&forked, B), 486);
    assert_eq!(response_to_caller_of(&refused), 486, "what B says is better than no way to A");

    let mut bench = Bench::with(ServerMode::Proxy, &[A, B]);
    let forked = bench.invite();
    bench.fail(request_to(&forked, A));
    let failed = bench.fail(request_to(&forked, B));
    assert_eq!(response_to_caller_of(&failed), 500, "503 is not passed on");
}

/// The status of the final response to the caller.
fn response_to_caller_of(sent: &Sent) -> u16 {
    let to_caller = |to: &SocketAddr| to.to_string() == CALLER;
    let statuses = sent.iter().filter(|(to, _)| to_caller(to)).filter_map(|(_, message)| match message {
        Message::Response(response) => Some(response.status),
        Message::Request(_) => None,
    });
    statuses.last().unwrap_or_else(|| panic!("no response: {:?}", summary(sent)))
}
