//! A simulated lab is asked what a real one is asked, and writes what a real one writes.

use samp_model::control::{LinkChange, LinkName, Request, Response};
use samp_model::settings::AddressMethod;
use samp_model::topology::{self, Loss, QualityChange, Topology};
use samp_model::{Event, Record};
use samp_simulator::{Hindrance, VirtualLab};
use std::path::Path;
use std::time::Duration;

fn grid_small() -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
    topology::load(&path).expect("the shipped topology is valid")
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
    assert!(refusal(lab.ask(&move_to("mn1", "ar-0-0", gap))).contains("gap"));
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

#[test]
fn what_there_is_no_simulation_of_is_said() {
    let mut topology = grid_small();
    topology.addressing.address = AddressMethod::Dhcp;
    assert_eq!(VirtualLab::new(topology).err(), Some(Hindrance::Addresses));
    let mut topology = grid_small();
    topology.emulation.make_before_break = Duration::from_millis(50);
    assert_eq!(VirtualLab::new(topology).err(), Some(Hindrance::Attachment("make_before_break")));
    let mut topology = grid_small();
    topology.emulation.server_cpu = std::num::NonZeroU16::new(50);
    assert_eq!(VirtualLab::new(topology).err(), Some(Hindrance::CpuQuota));
}
