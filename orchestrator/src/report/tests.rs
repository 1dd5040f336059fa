//! Reports over record sets that were made by hand.

mod signalling;

use super::*;
use samp_model::Event;
use samp_model::record::{CacheOutcome, RegistrationScope};
use samp_model::settings::{
    AddressSettings, EmulationSettings, Family, MediaSettings, MobilitySettings, SampSettings,
};
use samp_model::topology::{AccessNetwork, Link, LinkQuality, Node, NodeKind, Radio, Subnet};
use samp_model::{NodeId, Time};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const SERVER: IpAddr = ip(10, 255, 1, 1);

const fn ip(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// ar1 – ar2 – sip1, 2 ms a wired link, 1 ms a radio link; mn1 and mn2 begin at ar1, mn3 at ar2.
fn line() -> Topology {
    let quality = |delay| LinkQuality { one_way_delay: ms(delay), ..LinkQuality::IDEAL };
    let router = |n: u8| Node {
        name: format!("ar{n}"),
        kind: NodeKind::Router {
            addresses: vec![ip(10, 255, 0, n)],
            access: Some(AccessNetwork {
                subnets: vec![Subnet { prefix: ip(10, n, 0, 0), prefix_len: 24 }],
                position: None,
            }),
        },
        program: None,
    };
    let mobile = |n: u32, start| Node {
        name: format!("mn{n}"),
        kind: NodeKind::MobileNode {
            address_of_record: format!("sip:mn{n}@samp.test"),
            start: NodeId(start),
            host: n + 1,
            radio: Box::new(Radio { up: quality(1), down: quality(1) }),
        },
        program: None,
    };
    let sip1 =
        Node { name: "sip1".into(), kind: NodeKind::SipServer { addresses: vec![SERVER] }, program: None };
    let link = |a, b| Link { ends: [NodeId(a), NodeId(b)], quality: [quality(2); 2] };
    Topology {
        name: "line".into(),
        seed: 1,
        family: Family::Ipv4,
        nodes: vec![router(1), router(2), sip1, mobile(1, 0), mobile(2, 0), mobile(3, 1)],
        links: vec![link(0, 1), link(1, 2)],
        mobility: MobilitySettings::default(),
        samp: SampSettings::default(),
        media: MediaSettings::default(),
        addressing: AddressSettings::default(),
        emulation: EmulationSettings::default(),
    }
}

/// The address of mobile node `n` behind access router `ar`.
fn care_of(n: u8, ar: u8) -> IpAddr {
    ip(10, ar, 0, n + 1)
}

fn at(us: u64, node: &str, event: Event) -> Record {
    Record { at: Time::from_nanos(us * 1000), node: node.into(), event }
}

/// A call is up from 2 ms after `us` on; both ends hear each other 20 ms later.
fn call(us: u64, id: &str, [caller, callee]: [&str; 2], [from, to]: [IpAddr; 2]) -> Vec<Record> {
    let call = || id.to_owned();
    let heard = |from, at| Event::MediaFirstReceived { call: call(), from, at, silence: ms(0), lost: 0 };
    vec![
        at(us, caller, Event::CallStarted { call: call(), callee: format!("sip:{callee}@samp.test") }),
        at(
            us + 1000,
            callee,
            Event::CallAccepted { call: call(), caller: format!("sip:{caller}@samp.test") },
        ),
        at(
            us + 2000,
            caller,
            Event::CallEstablished {
                call: call(),
                srd: ms(2),
                cache: CacheOutcome::Tier1Hit,
                path: Vec::new(),
                redirected: Vec::new(),
            },
        ),
        at(us + 22_000, caller, heard(to, from)),
        at(us + 22_000, callee, heard(from, to)),
    ]
}

/// mn1 moves from ar1 to ar2 and keeps its anchor.
fn move_of_mn1(us: u64) -> Vec<Record> {
    let handoff = 1;
    let address = care_of(1, 2);
    let scope = RegistrationScope::Anchor;
    vec![
        at(us, "mn1", Event::Detached { handoff, access_router: "ar1".into(), gap: Duration::ZERO }),
        at(
            us + 50,
            "mn1",
            Event::Attached {
                handoff,
                access_router: "ar2".into(),
                attach_cost: Duration::from_micros(40),
                frames_dropped: 1,
            },
        ),
        at(us + 150, "mn1", Event::LinkTriggered { handoff }),
        at(us + 200, "mn1", Event::AddressConfigured { handoff, address }),
        at(us + 200, "mn1", Event::RegisterSent { handoff, scope }),
        at(
            us + 6400,
            "mn1",
            Event::Registered { handoff, scope, rrd: Duration::from_micros(6200), path: vec![SERVER] },
        ),
    ]
}

/// What that move does to a call with a peer at `peer_at`.
fn update_of(us: u64, id: &str, peer: &str, peer_at: IpAddr, answered_after: u64) -> Vec<Record> {
    let handoff = 1;
    let call = || id.to_owned();
    let new = care_of(1, 2);
    let heard = |from, at, lost| Event::MediaFirstReceived { call: call(), from, at, silence: ms(40), lost };
    vec![
        at(us + 300, "mn1", Event::UpdateSent { handoff, call: call() }),
        at(us + 4000, "mn1", Event::MediaFirstSent { call: call(), to: peer_at }),
        at(us + 4400, peer, Event::MediaRetargeted { call: call(), to: new }),
        at(us + 8100, peer, heard(new, peer_at, 1)),
        at(us + 9000, peer, Event::MediaFirstSent { call: call(), to: new }),
        at(us + 13_100, "mn1", heard(peer_at, new, 2)),
        at(us + answered_after, "mn1", Event::UpdateAnswered { handoff, call: call(), status: 200 }),
    ]
}

/// mn1 in a call with mn2 (at ar1) moves from ar1 to ar2.
fn one_call() -> Vec<Record> {
    let mut records = call(0, "c1", ["mn1", "mn2"], [care_of(1, 1), care_of(2, 1)]);
    records.extend(move_of_mn1(100_000));
    records.extend(update_of(100_000, "c1", "mn2", care_of(2, 1), 8500));
    records
}

fn only_handoff(records: &[Record]) -> Handoff {
    let Handoffs(mut handoffs) = Handoffs::assemble(&line(), records);
    assert_eq!(handoffs.len(), 1);
    handoffs.remove(0)
}

fn micros(path: &CriticalPath) -> Vec<(&'static str, u128)> {
    path.segments().iter().map(|segment| (segment.name, segment.took.as_micros())).collect()
}

#[test]
fn segments_tile_the_total_of_each_direction() {
    let handoff = only_handoff(&one_call());
    assert!(handoff.is_complete(), "{:?}", handoff.missing);
    let [call] = &handoff.calls[..] else { panic!("one call") };
    let down = call.downlink.path.as_ref().unwrap();
    assert_eq!(
        micros(down),
        [
            ("l2", 10),
            ("attach_cost", 40),
            ("movement_detection", 100),
            ("address", 50),
            ("update_dispatch", 100),
            ("update_transit", 4100),
            ("packetisation", 4600),
            ("media_transit", 4100),
        ]
    );
    assert_eq!(down.total(), Duration::from_micros(13_100));
    // Radio, one wired link, radio: 4 ms each way.
    assert_eq!(down.floor(), Some(ms(8)));
    assert_eq!(down.overhead(), Some(Delta(5_100_000)));

    let up = call.uplink.path.as_ref().unwrap();
    assert_eq!(up.total(), Duration::from_micros(8100));
    assert_eq!(micros(up)[4..], [("packetisation", 3800), ("media_transit", 4100)]);
    assert_eq!(up.floor(), Some(ms(4)));

    let registration = handoff.registration.as_ref().unwrap();
    assert_eq!(registration.total(), Duration::from_micros(6400));
    assert_eq!(micros(registration)[4..], [("registration_anchor", 6200)]);
    // Radio and one wired link, there and back.
    assert_eq!(registration.floor(), Some(ms(6)));

    assert_eq!((call.downlink.media_gap, call.downlink.packets_lost), (Some(ms(40)), Some(2)));
    assert_eq!(call.uplink.packets_lost, Some(1));
}

#[test]
fn phases_may_overlap_and_begin_at_the_detachment() {
    let handoff = only_handoff(&one_call());
    let phase = |name| handoff.phases.iter().find(|phase| phase.name == name).unwrap();
    let (registration, update) = (phase("registration_anchor"), phase("session_update"));
    assert_eq!(registration.start, Duration::from_micros(200));
    assert_eq!(update.took, Duration::from_micros(8200));
    assert!(update.start < registration.start + registration.took);
    assert_eq!(handoff.attach_cost, Duration::from_micros(40));
}

#[test]
fn order_of_the_records_does_not_matter() {
    let mut records = one_call();
    let expected = serde_json::to_value(Handoffs::assemble(&line(), &records)).unwrap();
    records.reverse();
    // Events of one instant at one node keep their order: the address comes before the REGISTER.
    records.sort_by_key(|record| !matches!(record.event, Event::AddressConfigured { .. }));
    assert_eq!(serde_json::to_value(Handoffs::assemble(&line(), &records)).unwrap(), expected);
}

#[test]
fn a_missing_milestone_is_told_and_keeps_the_tiling() {
    let mut records = one_call();
    records.retain(|record| !matches!(&record.event, Event::MediaRetargeted { .. }));
    let handoff = only_handoff(&records);
    assert!(handoff.is_complete(), "a milestone in between is not needed for the end");
    let down = handoff.calls[0].downlink.path.as_ref().unwrap();
    assert_eq!(micros(down)[5..], [("packetisation", 8700), ("media_transit", 4100)]);
    assert_eq!((down.total(), down.floor()), (Duration::from_micros(13_100), Some(ms(8))));

    records.retain(|record| match &record.event {
        Event::UpdateAnswered { .. } | Event::Registered { .. } => false,
        Event::MediaFirstReceived { at, .. } => record.node != "mn1" || *at != care_of(1, 2),
        _ => true,
    });
    let handoff = only_handoff(&records);
    assert_eq!(handoff.missing, ["registration", "session update by mn2", "media from mn2"]);
    assert!(handoff.registration.is_none() && handoff.calls[0].downlink.path.is_none());
    assert!(handoff.calls[0].uplink.path.is_some());
}

#[test]
fn each_call_of_a_node_has_its_own_paths() {
    let mut records = one_call();
    records.extend(call(30_000, "c2", ["mn3", "mn1"], [care_of(3, 2), care_of(1, 1)]));
    records.extend(update_of(100_010, "c2", "mn3", care_of(3, 2), 2600));
    let handoff = only_handoff(&records);
    assert!(handoff.is_complete(), "{:?}", handoff.missing);
    let peers: Vec<_> = handoff.calls.iter().map(|call| call.peer.as_str()).collect();
    assert_eq!(peers, ["mn2", "mn3"]);
    let totals: Vec<_> =
        handoff.calls.iter().map(|call| call.downlink.path.as_ref().unwrap().total().as_micros()).collect();
    assert_eq!(totals, [13_100, 13_110]);
    // Now behind the same access router: two radio links each way.
    assert_eq!(handoff.calls[1].downlink.path.as_ref().unwrap().floor(), Some(ms(4)));
    let summary = Report::assemble(&line(), &records).summary();
    assert_eq!(summary.handoffs.paths[0].total.n, 2);
    assert_eq!(summary.handoffs.media[0].packets_lost_total, 4);
}

#[test]
fn media_to_the_old_address_does_not_count() {
    let mut records = one_call();
    let late = Event::MediaFirstReceived {
        call: "c1".into(),
        from: care_of(2, 1),
        at: care_of(1, 1),
        silence: ms(0),
        lost: 0,
    };
    records.push(at(100_500, "mn1", late));
    let handoff = only_handoff(&records);
    assert_eq!(handoff.calls[0].downlink.path.as_ref().unwrap().total(), Duration::from_micros(13_100));
}

#[test]
fn calls_that_are_over_or_end_meanwhile_are_not_waited_for() {
    let ended = |us| at(us, "mn2", Event::CallEnded { call: "c1".into() });
    let mut records = call(0, "c1", ["mn1", "mn2"], [care_of(1, 1), care_of(2, 1)]);
    records.extend(move_of_mn1(100_000));
    assert!(!only_handoff(&records).is_complete());
    let with = |record| records.iter().cloned().chain([record]).collect::<Vec<_>>();
    let before = only_handoff(&with(ended(90_000)));
    assert!(before.is_complete() && before.calls.is_empty());
    let meanwhile = only_handoff(&with(ended(101_000)));
    assert!(meanwhile.is_complete() && meanwhile.calls.len() == 1);
}

#[test]
fn a_new_anchor_adds_discovery_the_wait_for_delta_and_the_home_registration() {
    let (handoff, us) = (1, 100_000);
    let mut records = move_of_mn1(us);
    records.retain(|record| !matches!(record.event, Event::RegisterSent { .. } | Event::Registered { .. }));
    let (anchor, home) = (RegistrationScope::Anchor, RegistrationScope::Home);
    let selected = Event::AnchorSelected {
        handoff,
        anchor: SERVER,
        response_time: Duration::from_micros(6100),
        answers: 1,
        within_delta: 1,
    };
    let registered = |scope| Event::Registered { handoff, scope, rrd: ms(7), path: vec![SERVER] };
    records.extend([
        at(us + 200, "mn1", Event::DiscoveryStarted { handoff }),
        at(us + 40_200, "mn1", selected),
        at(us + 40_200, "mn1", Event::RegisterSent { handoff, scope: anchor }),
        at(us + 47_200, "mn1", registered(anchor)),
    ]);
    assert_eq!(only_handoff(&records).missing, ["home registration"]);
    records.extend([
        at(us + 47_300, "mn1", Event::RegisterSent { handoff, scope: home }),
        at(us + 54_300, "mn1", registered(home)),
    ]);
    let handoff = only_handoff(&records);
    assert!(handoff.is_complete() && !handoff.anchor_kept);
    let path = handoff.registration.as_ref().unwrap();
    assert_eq!(
        micros(path)[4..],
        [
            ("anchor_discovery", 6100),
            ("delta_wait", 33_900),
            ("registration_anchor", 7000),
            ("dispatch", 100),
            ("registration_home", 7000),
        ]
    );
    assert_eq!(path.total(), Duration::from_micros(54_300));
    assert_eq!(path.floor(), Some(ms(18)));
    let discovery = handoff.phases.iter().find(|phase| phase.name == "anchor_discovery").unwrap();
    assert_eq!(discovery.took, ms(40), "the phase includes the wait");
}

/// mn1 moves; its anchor answers only after δ. Registration events other than that are the test's.
fn late_answer(us: u64) -> Vec<Record> {
    let mut records = move_of_mn1(us);
    for record in &mut records {
        if let Event::Registered { rrd, .. } = &mut record.event {
            *rrd = ms(50);
            record.at = Time::from_nanos((us + 50_200) * 1000);
        }
    }
    records
}

#[test]
fn an_anchor_that_answers_late_is_followed_by_a_discovery() {
    let (handoff, us) = (1, 100_000);
    let mut records = late_answer(us);
    // The discovery's record may come a moment later: it is waited for.
    assert_eq!(only_handoff(&records).missing, ["anchor discovery"]);
    records.push(at(us + 50_200, "mn1", Event::DiscoveryStarted { handoff }));
    assert_eq!(only_handoff(&records).missing, ["anchor discovery"]);
    let selected = |anchor| Event::AnchorSelected {
        handoff,
        anchor,
        response_time: ms(30),
        answers: 2,
        within_delta: 1,
    };
    let mut same = records.clone();
    same.push(at(us + 90_200, "mn1", selected(SERVER)));
    let kept = only_handoff(&same);
    assert!(kept.is_complete() && kept.anchor_kept, "the choice may fall on the anchor that there is");
    assert_eq!(kept.registration.unwrap().total(), Duration::from_micros(90_200));

    records.push(at(us + 90_200, "mn1", selected(ip(10, 255, 1, 2))));
    let other = only_handoff(&records);
    assert!(!other.anchor_kept);
    assert_eq!(other.missing, ["registration"]);
}

#[test]
fn a_refresh_is_no_part_of_the_handoff() {
    let mut records = one_call();
    let expected = only_handoff(&records).registration.unwrap();
    let scope = RegistrationScope::Anchor;
    records.push(at(300_000_000, "mn1", Event::RegisterSent { handoff: 1, scope }));
    let handoff = only_handoff(&records);
    assert!(handoff.is_complete(), "{:?}", handoff.missing);
    assert_eq!(handoff.registration.unwrap(), expected);
}

#[test]
fn a_call_that_an_update_has_ended_is_told() {
    let mut records = one_call();
    records.retain(|record| record.at < Time::from_nanos(100_301_000));
    let status = 481;
    records.push(at(105_000, "mn1", Event::UpdateAnswered { handoff: 1, call: "c1".into(), status }));
    records.push(at(105_000, "mn1", Event::CallEnded { call: "c1".into() }));
    assert_eq!(only_handoff(&records).missing, ["registration", "session update (answered 481 by mn2)"]);
}

#[test]
fn registrations_and_calls_have_floors_and_failures_of_their_own() {
    let scope = RegistrationScope::Home;
    let configured = |node, address| at(0, node, Event::AddressConfigured { handoff: 0, address });
    let mut records = vec![
        configured("mn1", care_of(1, 1)),
        configured("mn2", care_of(2, 1)),
        at(10, "mn1", Event::Registered { handoff: 0, scope, rrd: ms(12), path: vec![SERVER] }),
        at(20, "mn2", Event::RegistrationFailed { handoff: 0, scope, status: 503 }),
        at(30, "mn2", Event::CallStarted { call: "c9".into(), callee: "sip:x@samp.test".into() }),
        at(5030, "mn2", Event::CallFailed { call: "c9".into(), status: 404 }),
    ];
    records.extend(call(50, "c1", ["mn1", "mn2"], [care_of(1, 1), care_of(2, 1)]));
    let report = Report::assemble(&line(), &records);
    // Radio 1 and two wired links of 2 ms each, both ways.
    assert_eq!(report.registrations[0].floor(), Some(ms(10)));
    assert_eq!(report.registrations[0].overhead(), Some(Delta(2_000_000)));
    let summary = report.summary();
    let [home] = &summary.registrations[..] else { panic!("home only") };
    assert_eq!((home.failed, home.rrd.unwrap().n), (1, 1));
    assert_eq!((summary.calls.attempts, summary.calls.established), (2, 1));
    assert_eq!(summary.calls.ser, Some(0.5));
    assert_eq!(summary.calls.failed_by_status.get(&404), Some(&1));
    assert_eq!(summary.calls.failed_srd.unwrap().p50, Delta(5_000_000));
    let [hit] = &summary.calls.by_cache[..] else { panic!("one outcome") };
    // Straight through one access router: two radio links, there and back.
    assert_eq!(hit.floor.unwrap().p50, Delta(4_000_000));
    let mut text = String::new();
    write_summary(&mut text, &summary).unwrap();
    assert!(text.contains("tier1_hit") && text.contains("1 failed with status 404"), "{text}");
}

#[test]
fn a_redirected_call_has_the_way_to_who_redirected_it_in_its_floor() {
    let ends = [care_of(1, 1), care_of(2, 1)];
    let mut records = vec![
        at(0, "mn1", Event::AddressConfigured { handoff: 0, address: ends[0] }),
        at(0, "mn2", Event::AddressConfigured { handoff: 0, address: ends[1] }),
    ];
    records.extend(call(50, "c1", ["mn1", "mn2"], ends));
    for record in &mut records {
        if let Event::CallEstablished { redirected, .. } = &mut record.event {
            redirected.push(vec![ends[0], SERVER]);
        }
    }
    let report = Report::assemble(&line(), &records);
    let CallOutcome::Established { floor, .. } = report.calls[0].outcome else { panic!("established") };
    // Straight through one access router, 4 ms; before, over a radio and two wired links and back, 10 ms.
    assert_eq!(floor, Some(ms(14)));
}

#[test]
fn a_waterfall_names_every_phase_and_total() {
    let handoff = only_handoff(&one_call());
    let text = waterfall(&handoff, Style { unicode: false, width: 100 });
    for wanted in [
        "handoff 1 of mn1: ar1 to ar2, care-of address 10.2.0.2, anchor kept",
        "session_update mn2",
        "total downlink mn2",
        "cost 0.040 ms; 1 frame on the radio link dropped",
        "downlink, media from mn2; media gap 40.000 ms, 2 packets lost",
        "13.100",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    assert!(text.is_ascii());
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}

#[test]
fn durations_in_json_are_milliseconds() {
    let value = serde_json::to_value(only_handoff(&one_call())).unwrap();
    assert_eq!(value["attach_cost_ms"], 0.04);
    let downlink = &value["calls"][0]["downlink"];
    assert_eq!(downlink["path"]["total_ms"], 13.1);
    assert_eq!(downlink["media_gap_ms"], 40.0);
    let sum: f64 = downlink["path"]["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["duration_ms"].as_f64().unwrap())
        .sum();
    assert!((sum - 13.1).abs() < 1e-9);
}

#[test]
fn what_was_done_to_the_lab_is_named_and_floors_follow_the_links() {
    let scope = RegistrationScope::Anchor;
    let quality = |delay| LinkQuality { one_way_delay: ms(delay), ..LinkQuality::IDEAL };
    let changed = |peer: Option<&str>, delay| Event::LinkChanged {
        peer: peer.map(str::to_owned),
        up: true,
        quality: Box::new([quality(delay), quality(9)]),
    };
    let mut records = vec![
        at(1000, "mn1", Event::AddressConfigured { handoff: 0, address: care_of(1, 1) }),
        at(3000, "mn1", changed(None, 0)),
        at(2000, "ar1", changed(Some("ar2"), 1)),
        at(4000, "ar2", changed(Some("sip1"), 8)),
        at(9000, "mn1", Event::Registered { handoff: 0, scope, rrd: ms(20), path: vec![SERVER] }),
        at(9500, "sip1", Event::Killed),
        at(9600, "ar1", Event::Partitioned { nodes: vec!["ar1".into()], from: Vec::new(), links: 1 }),
        at(9700, "ar1", Event::Healed { links: 1 }),
    ];
    let report = Report::assemble(&line(), &records);
    // Each way as fast as it ever was: radio 0 and 1, ar1 to ar2 1 and 2, ar2 to sip1 2 and 2.
    assert_eq!(report.registrations[0].floor(), Some(ms(8)));
    let mut text = String::new();
    write_summary(&mut text, &report.summary()).unwrap();
    for wanted in [
        "1.000  ar1: link to ar2 up: 1ms; back 9ms",
        "2.000  mn1: radio link up: 0; back 9ms",
        "8.500  sip1: killed",
        "8.600  ar1: partition: ar1 cut off from all others, 1 link down",
        "8.700  ar1: partitions healed, 1 link up",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    // A trace shows what happened meanwhile.
    records.extend(call(8000, "c1", ["mn1", "mn2"], [care_of(1, 1), care_of(2, 1)]));
    let ladder = Ladders::new(&line(), &records).draw(&Traced::Call("c1".into())).unwrap();
    assert!(ladder.draw(Style::default()).contains("sip1: killed"));
}
