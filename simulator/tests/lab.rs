//! A simulated lab is asked what a real one is asked, and writes what a real one writes.

use samp_model::control::{LinkChange, LinkName, Request, Response};
use samp_model::flood::{Flood, FloodRequest};
use samp_model::topology::{self, Loss, QualityChange, Topology};
use samp_model::{Event, Record, Time};
use samp_simulator::{Hindrance, VirtualLab};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Over the radio link and back.
const ROUND_TRIP: Duration = Duration::from_millis(2);

fn grid_small() -> Topology {
    with_knobs("")
}

/// The shipped topology with these knobs, which it leaves out.
fn with_knobs(knobs: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
    let text = fs::read_to_string(path).expect("it is shipped");
    topology::parse("grid-small.yaml", &format!("{text}\n{knobs}\n"))
        .unwrap_or_else(|errors| panic!("{:?}", errors.first()))
}

fn up(topology: Topology) -> VirtualLab {
    let mut lab = VirtualLab::new(topology).expect("nothing that the simulator lacks");
    lab.come_up().expect("a lab that comes up");
    lab.take_records();
    lab
}

/// All that happens in this time.
fn run(lab: &mut VirtualLab, seconds: u64) -> Vec<Record> {
    let deadline = lab.now() + Duration::from_secs(seconds);
    let mut records = Vec::new();
    while lab.advance(deadline) {
        records.extend(lab.take_records());
    }
    records
}

fn call(lab: &mut VirtualLab, caller: &str, callee: &str) -> String {
    match lab.ask(&Request::Call { caller: caller.into(), callee: callee.into() }) {
        Response::Call { call } => call,
        other => panic!("{other:?}"),
    }
}

fn move_to(mobile_node: &str, access_router: &str, gap: Duration) -> Request {
    Request::Handoff { mobile_node: mobile_node.into(), access_router: access_router.into(), gap: Some(gap) }
}

fn refusal(response: Response) -> String {
    match response {
        Response::Error { message, .. } => message,
        other => panic!("{other:?} is no refusal"),
    }
}

fn heard(records: &[Record], node: &str) -> usize {
    let heard = |record: &&Record| matches!(record.event, Event::MediaFirstReceived { .. });
    records.iter().filter(|record| record.node == node).filter(heard).count()
}

#[test]
fn a_call_has_media_and_a_handoff_takes_it_along() {
    let mut lab = up(grid_small());
    let id = call(&mut lab, "mn1", "mn5");
    let records = run(&mut lab, 2);
    assert!(heard(&records, "mn1") == 1 && heard(&records, "mn5") == 1, "{records:#?}");
    assert!(matches!(lab.ask(&move_to("mn1", "ar-2-3", Duration::ZERO)), Response::Handoff { handoff: 1 }));
    let records = run(&mut lab, 2);
    let is = |wanted: fn(&Event) -> bool| records.iter().any(|record| wanted(&record.event));
    assert!(is(|event| matches!(event, Event::Detached { handoff: 1, .. })));
    assert!(is(|event| matches!(event, Event::Attached { handoff: 1, .. })));
    assert!(is(|event| matches!(event, Event::UpdateAnswered { handoff: 1, status: 200, .. })));
    assert!(heard(&records, "mn1") == 1 && heard(&records, "mn5") == 1);
    assert_eq!(lab.ask(&Request::HangUp { call: Some(id) }), Response::Done);
    let ended = run(&mut lab, 2);
    let summaries: Vec<_> = ended
        .iter()
        .filter_map(|record| match record.event {
            Event::MediaSummary { received, lost, .. } => Some((received, lost)),
            _ => None,
        })
        .collect();
    // A packet every 20 ms for 4 s, at both ends; the handoff costs a few.
    assert_eq!(summaries.len(), 2);
    assert!(summaries.iter().all(|&(received, lost)| received > 180 && lost < 10), "{summaries:?}");
}

#[test]
fn in_a_gap_nobody_is_reached_and_what_is_on_the_air_is_lost() {
    let mut lab = up(grid_small());
    call(&mut lab, "mn1", "mn5");
    run(&mut lab, 2);
    let gap = Duration::from_millis(300);
    assert!(matches!(lab.ask(&move_to("mn1", "ar-2-3", gap)), Response::Handoff { handoff: 1 }));
    assert!(refusal(lab.ask(&move_to("mn1", "ar-0-0", gap))).contains("in the middle of a handoff"));
    let records = run(&mut lab, 2);
    let at =
        |wanted: fn(&Event) -> bool| records.iter().find(|record| wanted(&record.event)).expect("it is").at;
    let left = at(|event| matches!(event, Event::Detached { .. }));
    let came = at(|event| matches!(event, Event::Attached { .. }));
    assert_eq!(came - left, gap);
    let silence = records.iter().find_map(|record| match record.event {
        Event::MediaFirstReceived { silence, .. } if record.node == "mn5" => Some(silence),
        _ => None,
    });
    assert!(silence.expect("media again") >= gap);
}

#[test]
fn links_change_break_and_heal() {
    let mut lab = VirtualLab::new(grid_small()).expect("nothing that the simulator lacks");
    lab.expect_link_changes();
    lab.come_up().expect("a lab that comes up");
    let silence = QualityChange { loss: Some(Loss::Random(1.0)), ..QualityChange::default() };
    let change = LinkChange::Quality(Box::new([silence, QualityChange::default()]));
    let radio = |change| Request::Link { link: LinkName::Radio("mn1".into()), change };
    assert_eq!(lab.ask(&radio(change)), Response::Done);
    lab.take_records();
    let id = call(&mut lab, "mn1", "mn5");
    let records = run(&mut lab, 40);
    let failed =
        |record: &Record| matches!(&record.event, Event::CallFailed { call, status: 408 } if *call == id);
    assert!(records.iter().any(failed), "nobody hears who only loses");
    let heard = QualityChange { loss: Some(Loss::Random(0.0)), ..QualityChange::default() };
    assert_eq!(lab.ask(&radio(LinkChange::Quality(Box::new([heard, heard])))), Response::Done);
    assert!(refusal(lab.ask(&radio(LinkChange::Down))).contains("cannot be taken down"));

    let partition = Request::Partition { nodes: vec!["ar-0-0".into(), "ar-0-1".into()], from: Vec::new() };
    assert_eq!(lab.ask(&partition), Response::Done);
    assert!(refusal(lab.ask(&partition)).contains("no link that is up"));
    let records = run(&mut lab, 1);
    assert!(records.iter().any(|record| matches!(record.event, Event::Partitioned { links: 4.., .. })));
    assert_eq!(lab.ask(&Request::Heal), Response::Done);
    assert!(refusal(lab.ask(&Request::Heal)).contains("no partition"));
    run(&mut lab, 60);
    let id = call(&mut lab, "mn1", "mn5");
    let records = run(&mut lab, 5);
    let established =
        |record: &Record| matches!(&record.event, Event::CallEstablished { call, .. } if *call == id);
    assert!(records.iter().any(established), "after the partition all is as before");
}

#[test]
fn who_is_dead_or_not_there_is_not_asked() {
    let mut lab = up(grid_small());
    assert_eq!(lab.ask(&Request::Kill { node: "mn1".into() }), Response::Done);
    for (request, why) in [
        (move_to("mn1", "ar-0-0", Duration::ZERO), "dead"),
        (move_to("mn2", "mn3", Duration::ZERO), "not an access router"),
        (move_to("mn99", "ar-0-0", Duration::ZERO), "mn99"),
        (Request::Call { caller: "mn2".into(), callee: "mn2".into() }, "itself"),
        (Request::HangUp { call: Some("call-9".into()) }, "no call"),
        (Request::Status, "nothing of that kind"),
    ] {
        let refused = refusal(lab.ask(&request));
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn the_same_lab_writes_the_same_records() {
    let play = || {
        let mut lab = up(grid_small());
        call(&mut lab, "mn1", "mn5");
        lab.ask(&move_to("mn5", "ar-0-0", Duration::from_millis(7)));
        run(&mut lab, 3)
    };
    assert_eq!(play(), play());
}

/// What happens in the first handoff with a call going on, in a lab with these knobs.
fn hand_over(knobs: &str) -> Vec<Record> {
    let mut lab = up(with_knobs(knobs));
    call(&mut lab, "mn1", "mn5");
    run(&mut lab, 2);
    let handoff = Request::Handoff { mobile_node: "mn1".into(), access_router: "ar-2-3".into(), gap: None };
    assert_eq!(lab.ask(&handoff), Response::Handoff { handoff: 1 });
    let records = run(&mut lab, 20);
    assert!(heard(&records, "mn1") >= 1 && heard(&records, "mn5") >= 1, "media again: {records:#?}");
    records
}

/// When this happened at mn1.
#[track_caller]
fn at(records: &[Record], wanted: impl Fn(&Event) -> bool) -> Time {
    let mut found = records.iter().filter(|record| record.node == "mn1" && wanted(&record.event));
    found.next().unwrap_or_else(|| panic!("it has not happened: {records:#?}")).at
}

fn is_attached(event: &Event) -> bool {
    matches!(event, Event::Attached { .. })
}

fn is_configured(event: &Event) -> bool {
    matches!(event, Event::AddressConfigured { .. })
}

/// From attachment to address by DHCP, and how many messages it took.
fn by_dhcp(knobs: &str) -> (Duration, usize) {
    let records = hand_over(&format!("addressing: {{ address: dhcp, {knobs} }}"));
    let messages =
        |record: &&Record| matches!(record.event, Event::DhcpSent { .. } | Event::DhcpReceived { .. });
    (at(&records, is_configured) - at(&records, is_attached), records.iter().filter(messages).count())
}

#[test]
fn dhcp_takes_its_messages_and_waits() {
    assert_eq!(by_dhcp("profile: fast"), (ROUND_TRIP, 2), "rapid commit");
    assert_eq!(by_dhcp("profile: fast, rapid_commit: false"), (2 * ROUND_TRIP, 4));
    let (took, messages) = by_dhcp("profile: rfc");
    assert!(took >= Duration::from_secs(1) && messages >= 4, "{took:?}, {messages}");
}

/// What happens with SLAAC.
fn by_slaac(dad: &str, trigger: &str) -> Vec<Record> {
    hand_over(&format!(
        "family: ipv6\naddressing: {{ address: slaac, profile: fast, dad: {dad} }}\nemulation: {{ trigger: {trigger} }}"
    ))
}

#[test]
fn slaac_takes_its_messages_and_the_check() {
    let records = by_slaac("off", "link");
    let attached = at(&records, is_attached);
    assert_eq!(at(&records, |event| matches!(event, Event::RouterSolicited { .. })), attached);
    assert_eq!(at(&records, is_configured) - attached, ROUND_TRIP);

    let records = by_slaac("optimistic", "link");
    let checked = |event: &Event| matches!(event, Event::AddressChecked { unique: true, .. });
    assert_eq!(at(&records, checked) - at(&records, is_configured), Duration::from_secs(1));

    let records = by_slaac("on", "link");
    let advertised = at(&records, |event| matches!(event, Event::RouterAdvertised { .. }));
    assert_eq!(at(&records, checked), at(&records, is_configured));
    let check = at(&records, checked) - advertised;
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&check), "{check:?}");
}

#[test]
fn an_advertisement_tells_of_a_new_link() {
    let records = by_slaac("off", "ra");
    let told = at(&records, |event| matches!(event, Event::LinkTriggered { handoff: 1 }));
    let waited = told - at(&records, is_attached);
    assert!(waited > Duration::ZERO && waited <= Duration::from_millis(71), "{waited:?}");
    assert_eq!(at(&records, is_configured), told);
    let solicited = |record: &Record| matches!(record.event, Event::RouterSolicited { .. });
    assert!(!records.iter().any(solicited), "who hears need not ask");
}

#[test]
fn an_advertisement_tells_of_the_mobility_anchor_point() {
    let records = hand_over(
        "family: ipv6\nprotocol: hmipv6\naddressing: { address: slaac, profile: fast, dad: off }\nemulation: { trigger: ra }",
    );
    let registered = |event: &Event| matches!(event, Event::Registered { handoff: 1, .. });
    assert!(at(&records, registered) > at(&records, is_configured));
}

#[test]
fn make_before_break_loses_nothing() {
    let hold = Duration::from_millis(100);
    let records = hand_over("emulation: { make_before_break: 100ms }");
    let released =
        at(&records, |event| matches!(event, Event::Released { handoff: 1, frames_dropped: 0, .. }));
    assert_eq!(released - at(&records, is_attached), hold);
    assert!(!records.iter().any(|record| matches!(record.event, Event::Detached { .. })));
    let lost: u64 = records
        .iter()
        .map(|record| match record.event {
            Event::MediaFirstReceived { lost, .. } => lost,
            _ => 0,
        })
        .sum();
    assert_eq!(lost, 0, "{records:#?}");
}

#[test]
fn a_handoff_is_announced() {
    let ahead = Duration::from_millis(30);
    let records = hand_over("emulation: { going_down: 30ms }");
    let told = at(&records, |event| matches!(event, Event::LinkGoingDown { handoff: 1, .. }));
    assert_eq!(at(&records, |event| matches!(event, Event::Detached { handoff: 1, .. })) - told, ahead);
}

#[test]
fn what_there_is_no_simulation_of_is_said() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/kamailio.yaml");
    let text = fs::read_to_string(path).expect("it is shipped");
    let topology = topology::parse("kamailio.yaml", &text).expect("it is valid");
    assert_eq!(VirtualLab::new(topology).err(), Some(Hindrance::Program("kamailio".into())));
}

/// What came of a flood of s1: sent, how answered, and unanswered.
fn end_of_flood(records: &[Record]) -> (u64, Vec<(u16, u64)>, u64) {
    let end = |record: &Record| match &record.event {
        Event::FloodEnded { to, sent, answers, unanswered, .. } => {
            assert_eq!((to.as_str(), record.node.as_str()), ("s1", "ar-3-3"));
            Some((*sent, answers.iter().map(|it| (it.status, it.count)).collect(), *unanswered))
        }
        _ => None,
    };
    records.iter().find_map(end).expect("an end of the flood")
}

/// A flood of two seconds.
fn flood(request: FloodRequest, rate: u32) -> Request {
    let flood = Flood { request, rate, lasts: Duration::from_secs(2) };
    Request::Flood { to: "s1".into(), from: "ar-3-3".into(), flood }
}

#[test]
fn a_flood_is_answered_and_the_others_go_on() {
    for (request, rate, status) in [
        (FloodRequest::Register, 500, 200),
        (FloodRequest::Options, 2_000, 200),
        (FloodRequest::Invite, 200, 404),
    ] {
        let mut lab = up(grid_small());
        assert_eq!(lab.ask(&flood(request, rate)), Response::Flood { flood: 1 });
        let id = call(&mut lab, "mn1", "mn5");
        let records = run(&mut lab, 4);
        assert_eq!(end_of_flood(&records), (2 * u64::from(rate), vec![(status, 2 * u64::from(rate))], 0));
        assert!(heard(&records, "mn1") == 1 && heard(&records, "mn5") == 1, "{request:?}");
        let bindings = records.iter().filter_map(|record| match record.event {
            Event::BindingsChanged { anchor, .. } if record.node == "s1" => Some(anchor),
            _ => None,
        });
        let most = bindings.max().unwrap_or(0);
        assert_eq!(most >= 1_000, request == FloodRequest::Register, "{most} bindings");
        // Of messages only those of the lab's own users are told.
        let of_others = |record: &&Record| match &record.event {
            Event::MessageSent { call, .. } | Event::MessageReceived { call, .. } => *call != id,
            Event::InviteForwarded { call, .. } => *call != id,
            _ => false,
        };
        let told: Vec<_> = records.iter().filter(of_others).collect();
        assert!(told.len() < 100, "{request:?}: {told:#?}");
    }
}

#[test]
fn a_flood_meets_limits_losses_and_crashes() {
    let refused = |records: &[Record]| {
        let (sent, answers, unanswered) = end_of_flood(records);
        assert_eq!((sent, unanswered), (1_000, 0));
        answers.iter().find(|(status, _)| *status == 503).map_or(0, |(_, count)| *count)
    };
    let mut full = up(with_knobs("samp: { max_transactions: 300 }"));
    full.ask(&flood(FloodRequest::Register, 500));
    assert!((600..1_000).contains(&refused(&run(&mut full, 5))));

    let mut lossy = up(grid_small());
    let loss = QualityChange { loss: Some(Loss::Random(0.5)), ..QualityChange::default() };
    let change = LinkChange::Quality(Box::new([QualityChange::default(), loss]));
    let link = LinkName::Wired(["ar-0-0".into(), "s1".into()]);
    assert_eq!(lossy.ask(&Request::Link { link, change }), Response::Done);
    lossy.ask(&flood(FloodRequest::Options, 500));
    let (sent, _, unanswered) = end_of_flood(&run(&mut lossy, 5));
    assert!(sent == 1_000 && (400..600).contains(&unanswered), "{unanswered} of {sent}");

    let mut dead = up(grid_small());
    dead.ask(&flood(FloodRequest::Options, 500));
    let mut records = run(&mut dead, 1);
    assert_eq!(dead.ask(&Request::Kill { node: "s1".into() }), Response::Done);
    records.extend(run(&mut dead, 5));
    let (_, answers, unanswered) = end_of_flood(&records);
    assert!(
        answers[0].1 + unanswered == 1_000 && (490..=520).contains(&unanswered),
        "{answers:?} {unanswered}"
    );
}

#[test]
fn a_flood_that_cannot_be_is_refused() {
    let mut lab = up(grid_small());
    let flood = |to: &str, from: &str, rate| Request::Flood {
        to: to.into(),
        from: from.into(),
        flood: Flood { request: FloodRequest::Register, rate, lasts: Duration::from_secs(1) },
    };
    for (request, why) in [
        (flood("s1", "s1", 1), "cannot flood itself"),
        (flood("ar-0-0", "s1", 1), "not a SIP server"),
        (flood("s1", "mn1", 1), "not a router or SIP server"),
        (flood("s1", "ar-0-0", 0), "out of range"),
        (flood("s1", "ar-0-0", u32::MAX), "out of range"),
    ] {
        let refused = refusal(lab.ask(&request));
        assert!(refused.contains(why), "{refused}");
    }
}
