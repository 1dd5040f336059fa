//! Servers with a CPU quota in virtual time.

use samp_model::control::{Request, Response};
use samp_model::record::RegistrationScope;
use samp_model::topology::{self, Topology};
use samp_model::{Event, Record, Time};
use samp_simulator::VirtualLab;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The small city with these knobs, in a lab that is up.
fn up(knobs: &str) -> VirtualLab {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
    let text = fs::read_to_string(path).expect("it is shipped");
    let topology: Topology = topology::parse("grid-small.yaml", &format!("{text}\n{knobs}\n"))
        .unwrap_or_else(|errors| panic!("{:?}", errors.first()));
    let mut lab = VirtualLab::new(topology).expect("nothing that the simulator lacks");
    lab.come_up().expect("a lab that comes up");
    lab.take_records();
    lab
}

/// Everybody moves at once, to and fro, so many times a second apart; then all is waited for.
fn everybody_moves(lab: &mut VirtualLab, times: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for time in 0..=times {
        for mobile_node in (1..=8).filter(|_| time < times) {
            let access_router = format!("ar-{}-{}", mobile_node % 4, 1 + time % 2);
            let request =
                Request::Handoff { mobile_node: format!("mn{mobile_node}"), access_router, gap: None };
            // Who begins there stays.
            let response = lab.ask(&request);
            assert!(matches!(response, Response::Handoff { .. } | Response::Error { .. }), "{response:?}");
        }
        let deadline = lab.now() + Duration::from_secs(if time < times { 1 } else { 40 });
        while lab.advance(deadline) {
            records.extend(lab.take_records());
        }
    }
    records
}

fn home_registrations(records: &[Record]) -> Vec<Duration> {
    let delays = records.iter().filter_map(|record| match record.event {
        Event::Registered { scope: RegistrationScope::Home, rrd, .. } => Some(rrd),
        _ => None,
    });
    delays.collect()
}

/// The last account of each server.
fn accounts(records: &[Record]) -> Vec<(Duration, Duration, u64, u64)> {
    ["s1", "s2", "s3", "s4"]
        .into_iter()
        .filter_map(|server| {
            records.iter().rev().find_map(|record| match record.event {
                Event::ServerCpu { used, throttled, periods_throttled, datagrams, .. }
                    if record.node == server =>
                {
                    Some((used, throttled, periods_throttled, datagrams?))
                }
                _ => None,
            })
        })
        .collect()
}

#[test]
fn as_much_time_as_is_needed_is_as_good_as_no_quota() {
    let free = home_registrations(&everybody_moves(&mut up("protocol: sip"), 4));
    let quota = "protocol: sip\nemulation: { server_cpu: 100%, server_work: 1us }";
    let bounded = home_registrations(&everybody_moves(&mut up(quota), 4));
    assert_eq!(free.len(), bounded.len());
    assert!(free.len() >= 24, "{}", free.len());
    for (free, bounded) in free.iter().zip(&bounded) {
        // Eight come at once, to one registrar.
        assert!((1..=8).contains(&(*bounded - *free).as_micros()), "{free:?} {bounded:?}");
    }
}

#[test]
fn a_server_that_has_used_up_its_quota_answers_in_the_next_period() {
    // 1 ms each 20 ms: of eight REGISTERs that come at once, two are answered in each period.
    let mut lab = up("protocol: sip\nemulation: { server_cpu: 5%, server_work: 500us }");
    let records = everybody_moves(&mut lab, 4);
    let delays = home_registrations(&records);
    let late = delays.iter().filter(|delay| **delay > Duration::from_millis(50)).count();
    assert!(late >= 4, "{delays:?}");
    assert!(delays.iter().all(|delay| *delay < Duration::from_millis(150)), "{delays:?}");
    let accounts = accounts(&records);
    let [(used, throttled, periods_throttled, datagrams)] = accounts[..] else { panic!("{accounts:?}") };
    assert_eq!(used, datagrams as u32 * Duration::from_micros(500), "all is admitted");
    assert!(periods_throttled >= 12 && throttled > Duration::from_millis(200), "{accounts:?}");
}

#[test]
fn a_registrar_that_cannot_keep_up_refuses_and_is_left_to_recover() {
    // Seven datagrams a second, for eight nodes that move each second.
    let mut lab = up("protocol: sip\nemulation: { server_cpu: 0.7%, server_work: 1ms }");
    let records = everybody_moves(&mut lab, 12);
    let failed = records.iter().filter(|record| matches!(record.event, Event::RegistrationFailed { .. }));
    assert!(failed.count() > 0);
    for number in 1..=8 {
        let mine = records.iter().rev().filter(|record| record.node == format!("mn{number}"));
        let mut ends = mine.filter_map(|record| match record.event {
            Event::Registered { .. } => Some(true),
            Event::RegistrationFailed { .. } => Some(false),
            _ => None,
        });
        assert_eq!(ends.next(), Some(true), "mn{number}, once nobody moves any more");
    }
    let accounts = accounts(&records);
    // Never more than its share, of the time since it was started.
    let [(used, ..)] = accounts[..] else { panic!("{accounts:?}") };
    assert!(
        used <= (lab.now() - Time::ZERO) * 7 / 1000 + Duration::from_millis(1),
        "{used:?} {:?}",
        lab.now()
    );
}

#[test]
fn a_home_agent_without_time_delays_what_it_tunnels() {
    let silence = |knobs: &str| {
        let mut lab = up(&format!("protocol: mipv6\nfamily: ipv6\n{knobs}"));
        let call = lab.ask(&Request::Call { caller: "mn1".into(), callee: "mn8".into() });
        assert!(matches!(call, Response::Call { .. }), "{call:?}");
        let deadline = lab.now() + Duration::from_secs(4);
        let mut records = Vec::new();
        while lab.advance(deadline) {
            records.extend(lab.take_records());
        }
        lab.ask(&Request::HangUp { call: None });
        let deadline = lab.now() + Duration::from_secs(20);
        while lab.advance(deadline) {
            records.extend(lab.take_records());
        }
        let longest = records.iter().filter_map(|record| match record.event {
            Event::MediaSummary { longest_silence, .. } => Some(longest_silence),
            _ => None,
        });
        longest.max().expect("the call has ended")
    };
    assert!(silence("") < Duration::from_millis(25));
    // 100 packets a second, each a tenth of a message: more than 1 ms each 50 ms does.
    let slow = silence("emulation: { server_cpu: 2%, server_work: 3ms }");
    assert!(slow > Duration::from_millis(45), "{slow:?}");
}

#[test]
fn a_paused_server_uses_nothing_and_a_killed_one_forgets_what_waited() {
    let mut lab = up("protocol: sip\nemulation: { server_cpu: 1%, server_work: 500us }");
    let ask = |lab: &mut VirtualLab, request| {
        let response = lab.ask(&request);
        assert!(matches!(response, Response::Done | Response::Handoff { .. }), "{response:?}");
    };
    let until = |lab: &mut VirtualLab, seconds| {
        let deadline = lab.now() + Duration::from_secs(seconds);
        let mut records = Vec::new();
        while lab.advance(deadline) {
            records.extend(lab.take_records());
        }
        records
    };
    let before = until(&mut lab, 2);
    ask(&mut lab, Request::Pause { node: "s1".into() });
    for (mobile_node, access_router) in [("mn1", "ar-3-3"), ("mn2", "ar-3-2")] {
        let gap = None;
        let request =
            Request::Handoff { mobile_node: mobile_node.into(), access_router: access_router.into(), gap };
        ask(&mut lab, request);
    }
    let paused = until(&mut lab, 2);
    assert_eq!(accounts(&before)[0].0, accounts(&paused)[0].0);
    assert!(home_registrations(&paused).is_empty());
    ask(&mut lab, Request::Resume { node: "s1".into() });
    assert_eq!(home_registrations(&until(&mut lab, 10)).len(), 2);
    ask(&mut lab, Request::Kill { node: "s1".into() });
    assert!(accounts(&until(&mut lab, 3)).is_empty());
}

#[test]
fn who_is_paused_and_resumed_within_a_period_loses_nothing_and_does_nothing_twice() {
    // What all eight send takes two seconds; in the middle of it the server is paused for a moment, again and again.
    let mut lab = up("protocol: sip\nemulation: { server_cpu: 2%, server_work: 5ms }");
    let mut records = Vec::new();
    for mobile_node in 1..=8 {
        let access_router = format!("ar-{}-3", mobile_node % 4);
        let request = Request::Handoff { mobile_node: format!("mn{mobile_node}"), access_router, gap: None };
        let response = lab.ask(&request);
        assert!(matches!(response, Response::Handoff { .. } | Response::Error { .. }), "{response:?}");
    }
    let begin = lab.now();
    for moment in 1..1000 {
        let deadline = begin + Duration::from_millis(7 * moment);
        while lab.advance(deadline) {
            records.extend(lab.take_records());
        }
        let request = match moment % 2 {
            1 => Request::Pause { node: "s1".into() },
            _ => Request::Resume { node: "s1".into() },
        };
        assert!(matches!(lab.ask(&request), Response::Done));
    }
    assert!(home_registrations(&records).len() >= 7, "{}", home_registrations(&records).len());
    let of_s1 = records.iter().filter_map(|record| match record.event {
        Event::ServerCpu { used, .. } => Some((record.at, used)),
        _ => None,
    });
    let of_s1: Vec<_> = of_s1.collect();
    // Two periods' time may be used at once; beyond that never more than its share.
    for pair in of_s1.windows(2) {
        let (passed, used) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!(used <= passed / 50 + Duration::from_millis(7), "{used:?} in {passed:?}");
    }
}
