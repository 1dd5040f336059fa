//! What holds for any order of messages and timers: nothing outlives its timers, the user hears at most one final
//! response (an INVITE's 2xx may come again), and nothing is kept in the end.

use super::tests::{PEER, TIMING, request};
use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A response to the client.
    Answer(u16),
    /// The request again, or its ACK.
    Again { ack: bool },
    /// The server's user answers.
    Respond(u16),
    /// The client's user gives up.
    Cancel,
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The transport fails for what was sent last.
    Break,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop_oneof![Just(100), Just(180), Just(200), Just(302), Just(486), Just(603)];
    let step = prop_oneof![
        status.clone().prop_map(Step::Answer),
        any::<bool>().prop_map(|ack| Step::Again { ack }),
        status.prop_map(Step::Respond),
        Just(Step::Cancel),
        (0_u64..40_000).prop_map(Step::Wait),
        Just(Step::Break),
    ];
    proptest::collection::vec(step, 0..20)
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Invite), Just(Method::Register), Just(Method::Bye)]
}

/// Lets timers fire up to `until`; returns what timed out.
fn pass(layer: &mut Transactions, until: Time) -> usize {
    let mut timed_out = 0;
    while let Some(next) = layer.poll_timeout().filter(|&next| next <= until) {
        timed_out += layer.handle_timeout(next).len();
    }
    timed_out
}

proptest! {
    #[test]
    fn a_client_ends_and_tells_one_final_outcome(steps in steps(), method in method(), tcp in any::<bool>()) {
        let mut layer = Transactions::new(TIMING);
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut now = Time::ZERO;
        let (peer, request) = (PEER.parse().unwrap(), request(method.clone()));
        let key = layer.send(now, request.clone(), Hop { address: peer, transport }, None);
        let (mut refusals, mut successes, mut failures) = (0, 0, 0);
        let mut last = None;
        for step in steps {
            while let Some(transmit) = layer.poll_transmit() {
                prop_assert_eq!(transmit.transport, transport);
                last = Some(transmit);
            }
            match step {
                Step::Answer(status) => {
                    let response = Message::Response(request.response(status, "t"));
                    if let Incoming::Response(_, response) = layer.receive(now, peer, response) {
                        match response.status {
                            ..=199 => {}
                            200..=299 => successes += 1,
                            300.. => refusals += 1,
                        }
                    }
                }
                Step::Cancel => {
                    layer.cancel(now, &key);
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    failures += pass(&mut layer, now);
                }
                Step::Break => {
                    if let Some(transmit) = &last {
                        failures += usize::from(layer.handle_transport_error(now, transmit) == Some(key));
                    }
                }
                Step::Again { .. } | Step::Respond(_) => {}
            }
        }
        // An INVITE that rings is its user's to end.
        layer.cancel(now, &key);
        failures += pass(&mut layer, now + Duration::from_secs(200));
        // A CANCEL of the test's own may time out beside the INVITE.
        let cancelled = usize::from(method == Method::Invite);
        prop_assert!(refusals <= 1 && (successes <= 1 || method == Method::Invite));
        prop_assert!(refusals == 0 || successes == 0, "a refusal and a success");
        prop_assert!(failures <= 1 + cancelled, "{} failures", failures);
        prop_assert_eq!((layer.len(), layer.by_name.len(), layer.poll_timeout()), (0, 0, None));
    }

    #[test]
    fn a_server_says_one_final_response_and_ends(steps in steps(), method in method(), tcp in any::<bool>()) {
        let mut layer = Transactions::new(TIMING);
        let mut now = Time::ZERO;
        let (peer, mut request) = (PEER.parse().unwrap(), request(method.clone()));
        request.headers.via[0].set_transport(if tcp { Transport::Tcp } else { Transport::Udp });
        let Incoming::Request(seen) = layer.receive(now, peer, Message::Request(request.clone())) else {
            panic!("a new request reaches the user")
        };
        let key = layer.accept(&seen).unwrap();
        let mut said = std::collections::BTreeSet::new();
        let mut last = None;
        for step in steps {
            match step {
                Step::Respond(status) => layer.respond(now, &key, seen.response(status, "t")),
                Step::Again { ack } => {
                    let mut again = request.clone();
                    if ack && method == Method::Invite {
                        (again.method, again.headers.cseq_method) = (Method::Ack, Method::Ack);
                    }
                    layer.receive(now, peer, Message::Request(again));
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    pass(&mut layer, now);
                }
                Step::Break => drop(last.as_ref().map(|it| layer.handle_transport_error(now, it))),
                Step::Answer(_) | Step::Cancel => {}
            }
            while let Some(transmit) = layer.poll_transmit() {
                if let Message::Response(response) = &*transmit.message && response.status >= 200 {
                    said.insert(response.status);
                }
                last = Some(transmit);
            }
        }
        layer.respond(now, &key, seen.response(486, "t"));
        pass(&mut layer, now + Duration::from_secs(200));
        prop_assert!(said.len() <= 1, "{:?}", said);
        prop_assert_eq!((layer.len(), layer.by_name.len(), layer.poll_timeout()), (0, 0, None));
    }
}
