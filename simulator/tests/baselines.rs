//! Mobile IPv6, HMIPv6 and SIP mobility on the topology, with the calls, media and movements that SAMP has.

use samp_model::control::{Request, Response};
use samp_model::record::RegistrationScope;
use samp_model::topology::{self, Topology};
use samp_model::{Event, Record};
use samp_simulator::VirtualLab;
use std::path::Path;
use std::time::Duration;

const MIPV6: &str = "protocol: mipv6";
const OPTIMISED: &str = "protocol: mipv6\nmobility: { route_optimization: true }";
const HMIPV6: &str = "protocol: hmipv6";
const OPTIMISED_HMIPV6: &str = "protocol: hmipv6\nmobility: { route_optimization: true, ha: dynamic }";
const SIP: &str = "protocol: sip";
const ALL: [&str; 5] = [MIPV6, OPTIMISED, HMIPV6, OPTIMISED_HMIPV6, SIP];
/// Where mn1 walks, in a call with mn8 in the opposite corner.
const WALK: [&str; 6] = ["ar-1-0", "ar-2-0", "ar-2-1", "ar-1-1", "ar-1-2", "ar-0-2"];

/// The shipped city in IPv6, with these knobs and this loss on the radio links.
fn city(knobs: &str, loss: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/grid-small.yaml");
    let shipped = std::fs::read_to_string(path).expect("the shipped topology");
    assert!(shipped.contains("loss: 0%"));
    let text =
        format!("family: ipv6\n{knobs}\n{}", shipped.replacen("loss: 0%", &format!("loss: {loss}"), 1));
    topology::parse("city.yaml", &text).expect("a valid topology")
}

struct Bench {
    lab: VirtualLab,
    records: Vec<Record>,
}

impl Bench {
    fn up(topology: Topology) -> Self {
        let mut lab = VirtualLab::new(topology).expect("nothing that the simulator lacks");
        lab.come_up().expect("a lab that comes up");
        Self { records: lab.take_records(), lab }
    }

    fn run(&mut self, ms: u64) {
        let deadline = self.lab.now() + Duration::from_millis(ms);
        while self.lab.advance(deadline) {
            self.records.extend(self.lab.take_records());
        }
    }

    fn ask(&mut self, request: Request) -> Response {
        match self.lab.ask(&request) {
            Response::Error { message, .. } => panic!("{message}"),
            other => other,
        }
    }

    fn call(&mut self, caller: &str, callee: &str) {
        self.ask(Request::Call { caller: caller.into(), callee: callee.into() });
        self.run(3_000);
    }

    fn moves(&mut self, node: &str, to: &str) {
        let (mobile_node, access_router) = (node.into(), to.into());
        self.ask(Request::Handoff { mobile_node, access_router, gap: None });
    }

    /// How many records of a node there are since one of them.
    fn count(&self, since: usize, node: &str, wanted: impl Fn(&Event) -> bool) -> usize {
        let of_node = self.records[since..].iter().filter(|record| record.node == node);
        of_node.filter(|record| wanted(&record.event)).count()
    }
}

fn is_registered(event: &Event) -> bool {
    matches!(event, Event::Registered { .. })
}

fn is_registered_at_home(event: &Event) -> bool {
    matches!(event, Event::Registered { scope: RegistrationScope::Home, .. })
}

fn is_heard(event: &Event) -> bool {
    matches!(event, Event::MediaFirstReceived { .. })
}

#[test]
fn handoffs_in_calls_come_to_their_end_with_every_protocol() {
    for knobs in ALL {
        let mut bench = Bench::up(city(knobs, "0%"));
        bench.call("mn1", "mn8");
        for place in WALK {
            let since = bench.records.len();
            bench.moves("mn1", place);
            bench.run(3_000);
            let count = |node, wanted: fn(&Event) -> bool| bench.count(since, node, wanted);
            assert!(count("mn1", is_registered) >= 1, "{knobs}: registered at {place}");
            assert_eq!(count("mn1", is_heard), 1, "{knobs}: mn1 hears at {place}");
            assert_eq!(count("mn8", is_heard), 1, "{knobs}: mn8 hears of {place}");
        }
        let since = bench.records.len();
        bench.ask(Request::HangUp { call: None });
        bench.run(2_000);
        for node in ["mn1", "mn8"] {
            let lost = bench.records[since..].iter().find_map(|record| match record.event {
                Event::MediaSummary { lost, received, .. } if record.node == node => Some((lost, received)),
                _ => None,
            });
            let (lost, received) = lost.expect("a call that has ended");
            // Duplicate address detection at another MAP costs a second, three times; 3.5 packets without.
            assert!(received > 600 && lost < 200, "{knobs}: {node} lost {lost} of {received}");
        }
    }
}

#[test]
fn only_another_map_is_told_of_at_home() {
    let mut bench = Bench::up(city(HMIPV6, "0%"));
    // Both ends of the walk are in the domain of s1; the third place is s2's.
    for (place, told) in [("ar-1-0", 0), ("ar-1-1", 0), ("ar-2-1", 1), ("ar-3-1", 0), ("ar-1-1", 1)] {
        let since = bench.records.len();
        bench.moves("mn1", place);
        bench.run(3_000);
        assert_eq!(bench.count(since, "mn1", is_registered_at_home), told, "{place}");
        assert_eq!(bench.count(since, "mn1", is_registered), 1 + told, "{place}");
    }
}

#[test]
fn lost_messages_are_sent_again_and_a_run_repeats_to_the_byte() {
    for knobs in ALL {
        let play = || {
            let mut bench = Bench::up(city(knobs, "10%"));
            bench.call("mn1", "mn8");
            for place in WALK {
                bench.moves("mn1", place);
                bench.run(9_000);
            }
            bench.run(70_000);
            bench
        };
        let bench = play();
        let last = bench.records.iter().rposition(|record| matches!(record.event, Event::Attached { .. }));
        let last = last.expect("it has moved");
        assert!(bench.count(last, "mn1", is_registered) >= 1, "{knobs}");
        assert_eq!(bench.count(last, "mn8", is_heard), 1, "{knobs}: the call is alive");
        assert_eq!(bench.records, play().records, "{knobs}");
    }
}

#[test]
fn media_needs_the_home_agent_unless_routes_are_optimised() {
    for (knobs, survives) in [(MIPV6, false), (OPTIMISED, true), (HMIPV6, false), (SIP, true)] {
        let mut bench = Bench::up(city(knobs, "0%"));
        bench.call("mn1", "mn8");
        let received = |bench: &mut Bench| {
            let since = bench.records.len();
            bench.ask(Request::Kill { node: "s1".into() });
            bench.run(10_000);
            bench.ask(Request::HangUp { call: None });
            bench.run(40_000);
            let summaries = bench.records[since..].iter().filter_map(|record| match record.event {
                Event::MediaSummary { longest_silence, .. } => Some(longest_silence),
                _ => None,
            });
            summaries.max().expect("a call that has ended")
        };
        let silence = received(&mut bench);
        assert_eq!(silence < Duration::from_secs(1), survives, "{knobs}: {silence:?}");
    }
}

/// The first call is over when its binding would have been refreshed, and the second one finds the binding good still, so
/// that only who uses it knows that it is needed.
#[test]
fn a_binding_in_use_is_asked_for_before_it_ends() {
    let mut bench = Bench::up(city(&format!("{OPTIMISED}\nsamp: {{ records: messages }}"), "0%"));
    bench.call("mn1", "mn8");
    bench.ask(Request::HangUp { call: None });
    bench.run(300_000);
    let since = bench.records.len();
    bench.call("mn1", "mn8");
    bench.run(80_000);
    let sends = |bench: &Bench, what: &str| {
        let is = |event: &Event| matches!(event, Event::MessageSent { summary, .. } if summary == what);
        ["mn1", "mn8"].map(|node| bench.count(since, node, is))
    };
    assert_eq!(sends(&bench, "BRR"), [0; 2]);
    bench.run(40_000);
    assert_eq!(sends(&bench, "BRR"), [1; 2], "each end asks the other one, once, as it is answered");
    assert_eq!(sends(&bench, "HoTI"), [1; 2]);
    // Without a binding media would need the home agent.
    bench.ask(Request::Kill { node: "s1".into() });
    bench.run(60_000);
    let since = bench.records.len();
    bench.ask(Request::HangUp { call: None });
    bench.run(40_000);
    let silences = bench.records[since..].iter().filter_map(|record| match record.event {
        Event::MediaSummary { longest_silence, .. } => Some(longest_silence),
        _ => None,
    });
    let longest = silences.max().expect("a call that has ended");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[test]
fn an_agent_that_goes_on_is_told_what_it_has_missed() {
    for knobs in [MIPV6, HMIPV6, SIP] {
        let mut bench = Bench::up(city(knobs, "0%"));
        bench.moves("mn1", "ar-1-0");
        bench.run(3_000);
        bench.ask(Request::Pause { node: "s1".into() });
        let since = bench.records.len();
        bench.moves("mn1", "ar-1-1");
        bench.run(20_000);
        assert_eq!(bench.count(since, "mn1", is_registered), 0, "{knobs}");
        bench.ask(Request::Resume { node: "s1".into() });
        bench.run(40_000);
        assert_eq!(bench.count(since, "mn1", is_registered), 1, "{knobs}");
    }
}

#[test]
fn who_leaves_is_forgotten_and_comes_back() {
    for knobs in ALL {
        let mut bench = Bench::up(city(knobs, "0%"));
        let since = bench.records.len();
        bench.ask(Request::Deregister { mobile_node: "mn1".into() });
        bench.run(3_000);
        let is_gone = |event: &Event| matches!(event, Event::Deregistered { .. });
        assert!(bench.count(since, "mn1", is_gone) >= 1, "{knobs}");
        let since = bench.records.len();
        bench.moves("mn1", "ar-1-0");
        bench.run(4_000);
        assert_eq!(bench.count(since, "mn1", is_registered_at_home), 1, "{knobs}");
        bench.call("mn8", "mn1");
        assert_eq!(bench.count(since, "mn8", is_heard), 1, "{knobs}");
    }
}
