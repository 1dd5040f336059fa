//! The user agent against messages of our own writing: what each state answers to what.

use super::*;
use crate::node::MediaCommand;
use crate::server::MAX_PATH;
use crate::sip::{Message, Transport, parse};
use samp_model::settings::Discover;

const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 7000 RTP/AVP 0\r\n";
const PEER: &str = "10.0.0.9:5060";

/// A mobile node with a care-of address, and its peer's view of it.
struct Bench {
    node: MobileNode,
    now: Time,
    events: Vec<Event>,
    media: Vec<MediaCommand>,
}

impl Bench {
    fn new(set: impl FnOnce(&mut SampSettings)) -> Self {
        let mut settings = SampSettings::default();
        set(&mut settings);
        let node = MobileNode::new("sip:mn1@samp.test".parse().unwrap(), None, settings, None, 1);
        let mut bench = Self { node, now: Time::ZERO, events: Vec::new(), media: Vec::new() };
        bench.input(Input::AddressConfigured { handoff: 0, address: "10.0.0.2".parse().unwrap() });
        // It has found an anchor.
        bench.node.stop_discovery();
        bench.node.anchor = Some(Anchor::new("172.16.0.1:5060".parse().unwrap()));
        bench
    }

    /// Gives it something, and returns what it sends.
    fn input(&mut self, input: Input) -> Vec<Message> {
        self.node.handle_input(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Message> {
        while let Some(output) = self.node.poll_event() {
            match output {
                Output::Record(event) => self.events.push(event),
                Output::Media(command) => self.media.push(command),
                other => panic!("a user agent wants {other:?}"),
            }
        }
        std::iter::from_fn(|| self.node.poll_transmit()).map(|sent| (*sent.message).clone()).collect()
    }

    fn hear(&mut self, text: &str) -> Vec<Message> {
        let message = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        let (from, to) = (PEER.parse().unwrap(), "10.0.0.2".parse().unwrap());
        self.input(Input::Message { from, to, transport: Transport::Udp, message, bytes: 0 })
    }

    fn after(&mut self, elapsed: Duration) -> Vec<Message> {
        let end = self.now + elapsed;
        let mut sent = Vec::new();
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            sent.extend(self.drain());
        }
        self.now = end;
        sent
    }

    /// Answers the latest of these requests that has this method.
    fn reply(
        &mut self,
        sent: &[Message],
        method: &Method,
        code: u16,
        fields: &str,
        body: &str,
    ) -> Vec<Message> {
        let request = sent.iter().rev().find_map(|message| match message {
            Message::Request(request) if request.method == *method => Some(request),
            _ => None,
        });
        let mut response = request.expect("a request").response(code, "peer");
        for line in fields.lines() {
            let (name, value) = line.split_once(": ").expect("a field");
            response.headers.set(name, value);
        }
        response.body = body.to_owned().into();
        let text = String::from_utf8(Message::Response(response).to_bytes()).unwrap();
        self.hear(&text)
    }
}

fn request(method: &str, branch: &str, to: &str, cseq: u32, fields: &str, body: &str) -> String {
    format!(
        "{method} sip:mn1@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\n\
         From: <sip:mn2@samp.test>;tag=theirs\r\nTo: <sip:mn1@samp.test>{to}\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:mn2@{PEER}>\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn invite(branch: &str, cseq: u32) -> String {
    request("INVITE", branch, "", cseq, "Content-Type: application/sdp\r\n", OFFER)
}

/// The statuses among these messages, with the methods that they answer.
fn statuses(sent: &[Message]) -> Vec<String> {
    let responses = sent.iter().filter_map(|message| match message {
        Message::Response(response) => {
            Some(format!("{} {}", response.status, response.headers.cseq_method.name()))
        }
        Message::Request(_) => None,
    });
    responses.collect()
}

/// The requests among these messages, with where they go.
fn requests(sent: &[Message]) -> Vec<String> {
    let requests = sent.iter().filter_map(|message| match message {
        Message::Request(request) => Some(format!("{} {}", request.method.name(), request.uri)),
        Message::Response(_) => None,
    });
    requests.collect()
}

fn field<'m>(sent: &'m [Message], name: &str) -> Option<&'m str> {
    sent.iter().find_map(|message| match message {
        Message::Response(response) => response.headers.get(name),
        Message::Request(request) => request.headers.get(name),
    })
}

/// The tag that the node has given to the call, as a To parameter.
fn tag(sent: &[Message]) -> String {
    let tag = sent.iter().find_map(|message| match message {
        Message::Response(response) => response.headers.to.tag(),
        Message::Request(_) => None,
    });
    format!(";tag={}", tag.expect("a tag"))
}

#[test]
fn what_is_not_in_any_dialog() {
    let table = [
        (request("OPTIONS", "1", "", 1, "", ""), "200 OPTIONS", Some(("Allow", ALLOW))),
        (request("MESSAGE", "1", "", 1, "", ""), "405 MESSAGE", Some(("Allow", ALLOW))),
        (
            request("INVITE", "1", "", 1, "Require: replaces, 100rel, timer\r\n", ""),
            "420 INVITE",
            Some(("Unsupported", "100rel, timer")),
        ),
        (request("BYE", "1", ";tag=x", 1, "", ""), "481 BYE", None),
        (request("UPDATE", "1", ";tag=x", 1, "", ""), "481 UPDATE", None),
        (request("INVITE", "1", ";tag=x", 1, "", ""), "481 INVITE", None),
        (request("CANCEL", "1", "", 1, "", ""), "481 CANCEL", None),
        (request("NOTIFY", "1", ";tag=x", 1, "", ""), "481 NOTIFY", None),
        (request("REFER", "1", "", 1, "", ""), "400 REFER", None),
        (request("INVITE", "1", "", 1, "Replaces: x;to-tag=1;from-tag=2\r\n", ""), "481 INVITE", None),
        (request("INVITE", "1", "", 1, "Replaces: x\r\n", ""), "400 INVITE", None),
        (request("INVITE", "1", "", 1, "", "m=audio 1 RTP/AVP 8\r\n"), "488 INVITE", None),
        (
            request("INVITE", "1", "", 1, "", "").replace("sip:mn1@10.0.0.2:5060", "sip:mn3@10.0.0.2"),
            "404 INVITE",
            None,
        ),
        (
            request("INVITE", "1", "", 1, "", "").replace("Contact: <sip:mn2@10.0.0.9:5060>\r\n", ""),
            "400 INVITE",
            None,
        ),
    ];
    for (text, status, expected) in table {
        let sent = Bench::new(|_| {}).hear(&text);
        assert_eq!(statuses(&sent), [status], "{text}");
        if let Some((name, value)) = expected {
            assert_eq!(field(&sent, name), Some(value), "{text}");
        }
    }
}

#[test]
fn a_call_is_answered_changed_and_ended() {
    let mut bench = Bench::new(|_| {});
    let sent = bench.hear(&invite("1", 1));
    assert_eq!(statuses(&sent), ["200 INVITE"]);
    let tag = tag(&sent);
    // (request, answer)
    let table = [
        (invite("2", 1), "482 INVITE", "a merged request"),
        (request("INVITE", "3", &tag, 1, "", OFFER), "500 INVITE", "an old CSeq"),
        (request("INVITE", "4", &tag, 2, "", "m=audio 1 RTP/AVP 8\r\n"), "488 INVITE", "no stream to take"),
        (request("INVITE", "5", &tag, 3, "", OFFER), "200 INVITE", "re-INVITE"),
        (request("UPDATE", "6", &tag, 4, "", ""), "200 UPDATE", "a new Contact"),
        (request("UPDATE", "7", &tag, 5, "", OFFER), "200 UPDATE", "a new offer"),
        (request("CANCEL", "1", "", 1, "", ""), "200 CANCEL", "too late to change anything"),
        (request("BYE", "8", ";tag=other", 6, "", ""), "481 BYE", "not this dialog"),
        (request("BYE", "9", &tag, 7, "", ""), "200 BYE", "the end"),
        (request("BYE", "a", &tag, 8, "", ""), "481 BYE", "after the end"),
    ];
    for (text, status, why) in table {
        assert_eq!(statuses(&bench.hear(&text)), [status], "{why}");
    }
    assert!(matches!(bench.media.first(), Some(MediaCommand::Start { .. })));
    assert!(matches!(bench.media.last(), Some(MediaCommand::Stop { .. })));
}

#[test]
fn an_unacknowledged_answer_is_repeated_until_its_ack() {
    let mut bench = Bench::new(|_| {});
    let sent = bench.hear(&invite("1", 1));
    let tag = tag(&sent);
    assert_eq!(statuses(&bench.after(Duration::from_millis(1_600))), ["200 INVITE", "200 INVITE"]);
    bench.hear(&request("ACK", "2", &tag, 1, "", ""));
    assert!(statuses(&bench.after(Duration::from_secs(5))).is_empty());
    // Another one, that nobody acknowledges, ends with BYE.
    let sent = bench.hear(&invite("3", 1).replace("Call-ID: c", "Call-ID: d"));
    assert_eq!(statuses(&sent), ["200 INVITE"]);
    let sent = bench.after(Duration::from_secs(40));
    assert!(
        requests(&sent).iter().any(|request| request.starts_with("BYE sip:mn2@")),
        "{:?}",
        requests(&sent)
    );
}

#[test]
fn a_callee_that_hangs_up_before_the_ack_waits_for_it() {
    let mut bench = Bench::new(|_| {});
    let tag = tag(&bench.hear(&invite("1", 1)));
    assert!(bench.input(Input::HangUp { call: None }).is_empty());
    // The caller may not have heard the answer: it goes out again.
    assert_eq!(statuses(&bench.after(Duration::from_millis(500))), ["200 INVITE"]);
    let sent = bench.hear(&request("ACK", "2", &tag, 1, "", ""));
    assert!(requests(&sent)[0].starts_with("BYE sip:mn2@"), "{:?}", requests(&sent));
    assert!(bench.node.calls.is_empty());
}

#[test]
fn an_invite_without_an_offer_gets_one() {
    let mut bench = Bench::new(|_| {});
    let sent = bench.hear(&request("INVITE", "1", "", 1, "", ""));
    let Some(Message::Response(response)) = sent.first() else { panic!("{sent:?}") };
    assert!(MediaDescription::from_sdp(&response.body).is_some());
    assert!(bench.media.is_empty());
    bench.hear(&request("ACK", "2", &tag(&sent), 1, "Content-Type: application/sdp\r\n", OFFER));
    assert!(matches!(bench.media[..], [MediaCommand::Start { .. }]));
}

#[test]
fn a_callee_rings_answers_or_is_cancelled() {
    let ring = Duration::from_secs(2);
    let mut bench = Bench::new(|settings| settings.ring = ring);
    assert_eq!(statuses(&bench.hear(&invite("1", 1))), ["180 INVITE"]);
    assert_eq!(statuses(&bench.hear(&request("CANCEL", "1", "", 1, "", ""))), ["200 CANCEL", "487 INVITE"]);
    assert!(matches!(bench.events.last(), Some(Event::CallCancelled { .. })));
    assert!(bench.media.is_empty());
    bench.hear(&request("ACK", "1", "", 1, "", ""));

    assert_eq!(statuses(&bench.hear(&invite("2", 2))), ["180 INVITE"]);
    // A caller that has moved begins anew.
    assert_eq!(statuses(&bench.hear(&invite("3", 3))), ["487 INVITE", "180 INVITE"]);
    assert!(statuses(&bench.after(ring)).contains(&"200 INVITE".to_owned()));
    // Here it has been answered elsewhere.
    let tag = {
        let call = bench.node.calls.get("c").expect("a call");
        format!(";tag={}", call.local_tag)
    };
    let elsewhere = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n";
    assert_eq!(statuses(&bench.hear(&request("BYE", "4", &tag, 4, elsewhere, ""))), ["200 BYE"]);
    assert!(matches!(bench.events.last(), Some(Event::CallCancelled { .. })));
}

#[test]
fn a_hostile_number_of_calls_is_refused() {
    let mut bench = Bench::new(|_| {});
    let mut last = Vec::new();
    for number in 0..=answer::MAX_CALLS {
        last =
            bench.hear(&invite(&number.to_string(), 1).replace("Call-ID: c", &format!("Call-ID: {number}")));
    }
    assert_eq!(statuses(&last), ["486 INVITE"]);
    assert_eq!(bench.node.calls.len(), answer::MAX_CALLS);
}

fn call(bench: &mut Bench) -> Vec<Message> {
    bench.input(Input::Call { callee: "sip:mn2@samp.test".into(), call: "c".into() })
}

#[test]
fn redirections_are_followed_by_their_q_and_never_twice() {
    let mut bench = Bench::new(|_| {});
    let sent = call(&mut bench);
    assert_eq!(requests(&sent), ["INVITE sip:mn2@samp.test"]);
    let redirect = |bench: &mut Bench, sent: &[Message], contacts: &str| {
        let request = sent.iter().rev().find_map(|message| match message {
            Message::Request(request) if request.method == Method::Invite => Some(request.clone()),
            _ => None,
        });
        let response = Message::Response(request.expect("an INVITE").response(302, "peer"));
        let text = String::from_utf8(response.to_bytes()).unwrap();
        bench.hear(&text.replace("Content-Length", &format!("Contact: {contacts}\r\nContent-Length")))
    };
    let contacts = "<sip:mn2@10.0.0.7>;q=0.2, <sip:mn2@10.0.0.8>;q=0.9, <sip:mn2@samp.test>";
    let sent = redirect(&mut bench, &sent, contacts);
    assert_eq!(requests(&sent), ["ACK sip:mn2@samp.test", "INVITE sip:mn2@10.0.0.8"]);
    // The next one points at both again, and at a new one with less.
    let sent =
        redirect(&mut bench, &sent, "<sip:mn2@10.0.0.8>, <sip:mn2@10.0.0.6>;q=0.1, <sip:mn2@10.0.0.7>");
    assert_eq!(requests(&sent)[1], "INVITE sip:mn2@10.0.0.6");
    let sent = bench.reply(&sent, &Method::Invite, 404, "", "");
    assert_eq!(requests(&sent)[1], "INVITE sip:mn2@10.0.0.7");
    let sent = bench.reply(&sent, &Method::Invite, 480, "", "");
    assert_eq!(requests(&sent).len(), 1, "only the ACK: {:?}", requests(&sent));
    assert!(matches!(bench.events.last(), Some(Event::CallFailed { status: 480, .. })));
}

#[test]
fn ways_that_others_make_up_have_an_end() {
    let mut bench = Bench::new(|_| {});
    let mut sent = call(&mut bench);
    let ways = vec![vec!["10.0.0.1"; 100].join(" "); 5].join(", ");
    let made_up = format!("SAMP-Path: {}\r\nSAMP-Redirected: {ways}", vec!["10.0.0.1"; 200].join(", "));
    for number in 1..8 {
        let contact = format!("Contact: <sip:mn2@10.0.0.{number}>\r\n{made_up}");
        sent = bench.reply(&sent, &Method::Invite, 302, &contact, "");
    }
    bench.reply(&sent, &Method::Invite, 200, &format!("Contact: <sip:mn2@{PEER}>\r\n{made_up}"), OFFER);
    let established = bench.events.iter().find_map(|event| match event {
        Event::CallEstablished { path, redirected, .. } => Some((path.len(), redirected)),
        _ => None,
    });
    let (path, redirected) = established.expect("a call");
    assert_eq!(path, 200);
    let servers: usize = redirected.iter().map(Vec::len).sum();
    assert!((100..=MAX_PATH).contains(&servers), "{servers}");
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut bench = Bench::new(|_| {});
    let sent = call(&mut bench);
    assert!(bench.input(Input::HangUp { call: None }).is_empty());
    let cancel = bench.reply(&sent, &Method::Invite, 100, "", "");
    assert_eq!(requests(&cancel), ["CANCEL sip:mn2@samp.test"]);
    bench.reply(&sent, &Method::Invite, 487, "", "");
    assert!(matches!(bench.events.last(), Some(Event::CallFailed { status: 487, .. })));
    // An answer that crosses the CANCEL is acknowledged and ended.
    let sent = call(&mut bench);
    bench.reply(&sent, &Method::Invite, 180, "", "");
    bench.input(Input::HangUp { call: None });
    let answer = bench.reply(&sent, &Method::Invite, 200, &format!("Contact: <sip:mn2@{PEER}>"), OFFER);
    assert_eq!(requests(&answer), [format!("ACK sip:mn2@{PEER}"), format!("BYE sip:mn2@{PEER}")]);
    assert!(matches!(bench.events.last(), Some(Event::CallFailed { status: 487, .. })));
    // Nobody ever says anything: it ends all the same.
    call(&mut bench);
    bench.input(Input::HangUp { call: None });
    bench.after(Duration::from_secs(40));
    assert!(bench.node.calls.is_empty() && bench.node.call_requests.is_empty());
}

#[test]
fn a_call_of_which_nothing_more_is_heard_is_given_up() {
    let mut bench = Bench::new(|_| {});
    let (t1, stale) = (bench.node.settings.t1, bench.node.settings.stale_deadline);
    let tries = 2 * (stale + 64 * t1);
    // The anchor takes the call on, and dies.
    let sent = call(&mut bench);
    bench.reply(&sent, &Method::Invite, 100, "", "");
    let moment = Duration::from_millis(1);
    assert!(!requests(&bench.after(tries - moment)).contains(&"CANCEL sip:mn2@samp.test".to_owned()));
    assert_eq!(bench.node.calls.len(), 1);
    assert!(requests(&bench.after(moment)).contains(&"CANCEL sip:mn2@samp.test".to_owned()));
    bench.after(64 * t1);
    let failed = bench.events.iter().any(|event| matches!(event, Event::CallFailed { status: 408, .. }));
    assert!(failed && bench.node.calls.is_empty(), "{:?}", bench.events);

    // One that rings has more time.
    let sent = call(&mut bench);
    bench.reply(&sent, &Method::Invite, 180, "", "");
    bench.after(2 * tries);
    assert_eq!(bench.node.calls.len(), 1);
    bench.after(Duration::from_secs(180));
    assert!(bench.node.calls.is_empty());
}

#[test]
fn a_stale_entry_is_used_one_after_the_other_or_both_at_once() {
    let known = |bench: &mut Bench| {
        let uri = format!("sip:mn2@{PEER}").parse().unwrap();
        bench.node.tier1.learn(bench.now, "sip:mn2@samp.test", uri, crate::cache::Learned::Found);
    };
    let cached = format!("INVITE sip:mn2@{PEER}");
    let mut bench = Bench::new(|_| {});
    known(&mut bench);
    assert_eq!(requests(&call(&mut bench)), [cached.as_str()]);
    assert_eq!(requests(&bench.after(Duration::from_millis(200))), ["INVITE sip:mn2@samp.test"]);

    let mut bench = Bench::new(|settings| settings.stale = samp_model::settings::Stale::Parallel);
    known(&mut bench);
    let sent = call(&mut bench);
    assert_eq!(requests(&sent), [cached.as_str(), "INVITE sip:mn2@samp.test"]);
    // The one through the anchor came second, and is merged; the first one is answered.
    bench.reply(&sent, &Method::Invite, 482, "", "");
    bench.reply(&sent[..1], &Method::Invite, 200, &format!("Contact: <sip:mn2@{PEER}>"), OFFER);
    let outcome = bench.events.iter().find_map(|event| match event {
        Event::CallEstablished { cache, .. } => Some(*cache),
        _ => None,
    });
    assert_eq!(outcome, Some(samp_model::record::CacheOutcome::Tier1Hit));
}

#[test]
fn of_two_answers_the_second_is_turned_away() {
    let mut bench = Bench::new(|_| {});
    let sent = call(&mut bench);
    let contact = format!("Contact: <sip:mn2@{PEER}>");
    assert_eq!(
        requests(&bench.reply(&sent, &Method::Invite, 200, &contact, OFFER)),
        [format!("ACK sip:mn2@{PEER}")]
    );
    let Some(Message::Request(invite)) = sent.last() else { panic!("an INVITE") };
    let mut other = invite.response(200, "another");
    other.headers.set("Contact", "<sip:mn2@10.0.0.8>");
    let text = String::from_utf8(Message::Response(other).to_bytes()).unwrap();
    let turned_away = bench.hear(&text);
    assert_eq!(requests(&turned_away), ["ACK sip:mn2@10.0.0.8", "BYE sip:mn2@10.0.0.8"]);
    assert!(field(&turned_away[1..], "Reason").is_some_and(|reason| reason.contains("cause=200")));
    assert!(bench.node.calls["c"].is_established());
}

#[test]
fn a_refused_change_leaves_the_call_and_an_unknown_one_ends_it() {
    for (code, lives) in [(488, true), (500, true), (491, true), (481, false), (408, false)] {
        let mut bench = Bench::new(|_| {});
        let sent = call(&mut bench);
        bench.reply(&sent, &Method::Invite, 200, &format!("Contact: <sip:mn2@{PEER}>"), OFFER);
        let sent = bench.input(Input::AddressConfigured { handoff: 1, address: "10.0.1.2".parse().unwrap() });
        assert!(requests(&sent).contains(&format!("INVITE sip:mn2@{PEER}")), "{:?}", requests(&sent));
        bench.reply(&sent, &Method::Invite, code, "", "");
        assert_eq!(bench.node.calls.contains_key("c"), lives, "{code}");
    }
}

#[test]
fn a_terminal_takes_a_call_over_and_tells_who_asked() {
    let mut bench = Bench::new(|_| {});
    let refer_to = "Refer-To: <sip:mn3@samp.test?Replaces=old%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n";
    let sent = bench.hear(&request("REFER", "1", "", 1, refer_to, ""));
    assert_eq!(statuses(&sent), ["202 REFER"]);
    assert_eq!(requests(&sent), [format!("NOTIFY sip:mn2@{PEER}"), "INVITE sip:mn3@samp.test".to_owned()]);
    assert_eq!(field(&sent[1..], "Replaces").or(field(&sent, "Replaces")), Some("old;to-tag=1;from-tag=2"));
    let sent = bench.reply(&sent, &Method::Invite, 200, &format!("Contact: <sip:mn3@{PEER}>"), OFFER);
    let notified = sent.iter().find_map(|message| match message {
        Message::Request(request) if request.method == Method::Notify => Some(request.body.clone()),
        _ => None,
    });
    assert_eq!(notified.as_deref(), Some(&b"SIP/2.0 200 OK\r\n"[..]));
}

#[test]
fn who_answers_before_the_link_goes_down_is_a_candidate_after() {
    let going_down = || Input::LinkGoingDown { handoff: 1, access_router: "ar2".to_owned() };
    let moved = || Input::AddressConfigured { handoff: 1, address: "10.0.1.2".parse().unwrap() };
    for (discover, looks) in [(Discover::Ahead, true), (Discover::Reactive, false)] {
        let mut bench = Bench::new(|settings| settings.discover = discover);
        let sent = bench.input(going_down());
        let told = Event::LinkGoingDown { handoff: 1, access_router: "ar2".to_owned() };
        assert_eq!(bench.events.last(), Some(&told));
        assert_eq!(requests(&sent).len(), usize::from(looks), "{discover:?}");
        if looks {
            // The handoff comes long before the end of the discovery.
            bench.after(Duration::from_millis(10));
            bench.reply(&sent, &Method::Register, 200, "", "");
            assert!(bench.node.candidates.is_empty());
        }
        bench.input(moved());
        assert_eq!(bench.node.candidates.len(), usize::from(looks), "{discover:?}");
    }
    // Nobody has answered: what was known before is better than nothing.
    let mut bench = Bench::new(|settings| settings.discover = Discover::Ahead);
    let sent = bench.input(going_down());
    bench.reply(&sent, &Method::Register, 200, "", "");
    bench.after(Duration::from_secs(1));
    assert_eq!(bench.node.candidates.len(), 1);
    bench.input(going_down());
    bench.input(moved());
    assert_eq!(bench.node.candidates.len(), 1);
}

#[test]
fn who_comes_back_to_an_anchor_has_its_old_contact_removed() {
    let mut bench = Bench::new(|_| {});
    let [first, second] = ["172.16.0.1:5060", "172.16.0.2:5060"].map(|anchor| anchor.parse().unwrap());
    bench.node.anchor = None;
    let mut contacts_at = |anchor: SocketAddr, handoff: u32| {
        let address = IpAddr::from([10, 0, handoff as u8, 2]);
        bench.node.adopt_anchor(bench.now, anchor);
        let sent = bench.input(Input::AddressConfigured { handoff, address });
        let Some(Message::Request(register)) = sent.first() else { panic!("{sent:?}") };
        let contacts = register.headers.contact.iter().map(|contact| match contact {
            Contact::Address(address) => address.to_string(),
            Contact::All => "*".to_owned(),
        });
        contacts.collect::<Vec<_>>()
    };
    assert_eq!(contacts_at(first, 1), ["<sip:mn1@10.0.1.2:5060>"]);
    assert_eq!(contacts_at(second, 2), ["<sip:mn1@10.0.2.2:5060>"]);
    assert_eq!(contacts_at(first, 3), ["<sip:mn1@10.0.3.2:5060>", "<sip:mn1@10.0.1.2:5060>;expires=0"]);
}
