//! The transaction state machines, state by state, as RFC 3261 §17 and RFC 6026 draw them.

use super::*;
use crate::sip::{Headers, Host, NameAddr, Uri, Via};

const T1: Duration = Duration::from_millis(500);
const T4: Duration = Duration::from_secs(5);
pub(super) const TIMING: Timing = Timing { t1: T1, t2: Duration::from_secs(4), t4: T4 };
pub(super) const PEER: &str = "10.0.0.9:5060";

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

pub(crate) fn request(method: Method) -> Request {
    let uri = Uri::new(Some("b"), Host::Name("samp.test".to_owned()));
    Request {
        headers: Headers {
            via: vec![Via::new("10.0.0.1:5060".parse().unwrap(), "z9hG4bKx")],
            from: NameAddr::new(uri.clone()).with("tag", Some("f".to_owned())),
            to: NameAddr::new(uri.clone()),
            call_id: "c".to_owned(),
            cseq: 7,
            cseq_method: method.clone(),
            max_forwards: Some(70),
            route: Vec::new(),
            contact: Vec::new(),
            expires: None,
            other: Vec::new(),
        },
        method,
        uri,
        body: bytes::Bytes::new(),
    }
}

/// What the layer has sent since the last look: methods and status codes.
fn sent(layer: &mut Transactions) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(transmit) = layer.poll_transmit() {
        sent.push(match &*transmit.message {
            Message::Request(request) => request.method.name().to_owned(),
            Message::Response(response) => response.status.to_string(),
        });
    }
    sent
}

fn client(method: Method) -> (Transactions, ClientKey, Request) {
    let mut layer = Transactions::new(TIMING);
    let request = request(method.clone());
    let key = layer.send(at(0), request.clone(), PEER.parse::<SocketAddr>().unwrap(), None);
    assert_eq!(sent(&mut layer), [method.name()]);
    (layer, key, request)
}

/// Gives the client a response; says whether the user saw it.
fn answer(layer: &mut Transactions, now: Time, request: &Request, status: u16) -> bool {
    let response = Message::Response(request.response(status, "t"));
    matches!(layer.receive(now, PEER.parse().unwrap(), response), Incoming::Response(..))
}

/// The instants, in milliseconds, at which the layer sends something, until nothing is left to wait for.
fn instants(layer: &mut Transactions) -> (Vec<u64>, Vec<TransactionEvent>) {
    let (mut instants, mut events) = (Vec::new(), Vec::new());
    while let Some(next) = layer.poll_timeout() {
        events.extend(layer.handle_timeout(next));
        instants.extend(sent(layer).iter().map(|_| next.as_nanos() / 1_000_000));
    }
    (instants, events)
}

#[test]
fn an_unanswered_invite_doubles_its_interval_until_timer_b() {
    let (mut layer, key, _) = client(Method::Invite);
    let (instants, events) = instants(&mut layer);
    assert_eq!(instants, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(events, [TransactionEvent::TimedOut(key)]);
}

#[test]
fn another_unanswered_request_stays_at_t2_until_timer_f() {
    let (mut layer, key, _) = client(Method::Register);
    let (instants, events) = instants(&mut layer);
    assert_eq!(instants, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(events, [TransactionEvent::TimedOut(key)]);
}

#[test]
fn a_provisional_response_stops_an_invite_but_only_slows_another_request() {
    let (mut layer, _, request) = client(Method::Invite);
    assert!(answer(&mut layer, at(100), &request, 180));
    assert_eq!(instants(&mut layer), (vec![], vec![]));

    let (mut layer, key, request) = client(Method::Register);
    assert!(answer(&mut layer, at(100), &request, 100));
    let (instants, events) = instants(&mut layer);
    assert_eq!(instants[..3], [500, 4_500, 8_500]);
    assert_eq!(events, [TransactionEvent::TimedOut(key)]);
}

#[test]
fn a_refused_invite_is_acknowledged_each_time_but_told_once() {
    let (mut layer, _, request) = client(Method::Invite);
    assert!(answer(&mut layer, at(100), &request, 486));
    assert!(!answer(&mut layer, at(600), &request, 486));
    assert_eq!(sent(&mut layer), ["ACK", "ACK"]);
    assert_eq!(instants(&mut layer), (vec![], vec![]), "no more retransmissions, no timeout");
}

#[test]
fn every_2xx_to_an_invite_reaches_the_user() {
    let (mut layer, _, request) = client(Method::Invite);
    assert!(answer(&mut layer, at(100), &request, 200));
    assert!(answer(&mut layer, at(600), &request, 200));
    assert!(!answer(&mut layer, at(700), &request, 486), "after a 2xx a refusal means nothing");
    assert_eq!(sent(&mut layer), Vec::<String>::new(), "its ACK is the user's");
    assert_eq!(layer.poll_timeout(), Some(at(100) + 64 * T1), "timer M");
}

#[test]
fn another_request_is_told_once() {
    let (mut layer, _, request) = client(Method::Bye);
    assert!(answer(&mut layer, at(100), &request, 200));
    assert!(!answer(&mut layer, at(200), &request, 200));
    assert_eq!(layer.poll_timeout(), Some(at(100) + T4), "timer K");
    layer.handle_timeout(at(10_000));
    let response = Message::Response(request.response(200, "t"));
    assert!(matches!(layer.receive(at(10_001), PEER.parse().unwrap(), response), Incoming::Stray(_)));
}

#[test]
fn a_forgotten_transaction_is_silent() {
    let (mut layer, key, _) = client(Method::Invite);
    layer.forget(&key);
    assert_eq!(instants(&mut layer), (vec![], vec![]));
}

fn server(method: Method) -> (Transactions, ServerKey, Request) {
    let mut layer = Transactions::new(TIMING);
    let request = request(method);
    let Incoming::Request(seen) =
        layer.receive(at(0), PEER.parse().unwrap(), Message::Request(request.clone()))
    else {
        panic!("a new request reaches the user")
    };
    let key = layer.accept(&seen).unwrap();
    (layer, key, seen)
}

/// Gives the server a request again, or its ACK; says whether the user saw it.
fn again(layer: &mut Transactions, now: Time, request: &Request, method: Method) -> bool {
    let mut request = request.clone();
    request.headers.cseq_method = method.clone();
    request.method = method;
    matches!(layer.receive(now, PEER.parse().unwrap(), Message::Request(request)), Incoming::Request(_))
}

#[test]
fn a_retransmitted_request_gets_the_last_response_again() {
    for method in [Method::Invite, Method::Register] {
        let (mut layer, key, request) = server(method.clone());
        assert!(!again(&mut layer, at(10), &request, method.clone()));
        assert_eq!(sent(&mut layer), Vec::<String>::new(), "nothing has been said yet");
        layer.respond(at(20), &key, request.response(180, "t"));
        assert!(!again(&mut layer, at(30), &request, method.clone()));
        layer.respond(at(40), &key, request.response(404, "t"));
        assert!(!again(&mut layer, at(50), &request, method));
        assert_eq!(sent(&mut layer), ["180", "180", "404", "404"]);
    }
}

#[test]
fn a_response_goes_out_again_byte_for_byte() {
    let (mut layer, key, request) = server(Method::Register);
    layer.respond(at(0), &key, request.response(200, "t"));
    again(&mut layer, at(10), &request, Method::Register);
    let (first, second) = (layer.poll_transmit().unwrap(), layer.poll_transmit().unwrap());
    assert_eq!(first.message.to_bytes()[..], first.to_bytes()[..]);
    assert_eq!(first.to_bytes(), second.to_bytes());
    assert_eq!((first.message, first.destination), (second.message, second.destination));
}

#[test]
fn a_refusal_of_an_invite_is_repeated_until_its_ack() {
    let (mut layer, key, request) = server(Method::Invite);
    layer.respond(at(0), &key, request.response(486, "t"));
    sent(&mut layer);
    layer.handle_timeout(at(500));
    layer.handle_timeout(at(1_500));
    assert_eq!(sent(&mut layer), ["486", "486"], "timer G");
    assert!(!again(&mut layer, at(1_600), &request, Method::Ack));
    assert_eq!(layer.poll_timeout(), Some(at(1_600) + T4), "timer I");
    assert_eq!(instants(&mut layer), (vec![], vec![]));
    assert_eq!(layer.len(), 0);
}

#[test]
fn a_refusal_that_nobody_acknowledges_ends_with_timer_h() {
    let (mut layer, key, request) = server(Method::Invite);
    layer.respond(at(0), &key, request.response(486, "t"));
    sent(&mut layer);
    let (instants, _) = instants(&mut layer);
    assert_eq!(instants, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(layer.len(), 0);
}

#[test]
fn the_ack_of_a_2xx_and_the_repetition_of_the_2xx_are_the_users() {
    let (mut layer, key, request) = server(Method::Invite);
    layer.respond(at(0), &key, request.response(200, "t"));
    layer.respond(at(500), &key, request.response(200, "t"));
    assert_eq!(sent(&mut layer), ["200", "200"]);
    assert!(!again(&mut layer, at(600), &request, Method::Invite), "absorbed");
    assert!(again(&mut layer, at(700), &request, Method::Ack));
    assert_eq!(layer.poll_timeout(), Some(at(0) + 64 * T1), "timer L");
}

#[test]
fn a_cancel_finds_its_invite() {
    let (mut layer, key, request) = server(Method::Invite);
    assert!(again(&mut layer, at(10), &request, Method::Cancel), "a transaction of its own");
    let mut cancel = request.clone();
    cancel.method = Method::Cancel;
    assert_eq!(layer.cancelled_by(&cancel), Some(key));
}
