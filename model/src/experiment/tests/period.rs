//! Periods: who walks and calls when, and what is refused.

use super::*;
use proptest::prelude::*;

/// A period of ten seconds with this in it.
fn with_period(what: &str) -> String {
    with_timeline(&format!("  - period: {{ lasts: 10s, {what} }}\n"))
}

/// What a period does, with its times.
fn timed(text: &str) -> Vec<(Duration, Action)> {
    let (experiment, topology) = good(text);
    let schedule = experiment.schedule(&topology);
    assert_eq!((schedule.first(), schedule.last()), (Some(&Action::Begin), Some(&Action::End)));
    let mut now = Duration::ZERO;
    let mut timed = Vec::new();
    for action in &schedule[1..schedule.len() - 1] {
        match action {
            Action::At(at) => {
                assert!(*at > now && *at <= Duration::from_secs(10), "{schedule:?}");
                now = *at;
            }
            action => timed.push((now, action.clone())),
        }
    }
    assert_eq!(now, Duration::from_secs(10), "the period lasts as long as it lasts");
    timed
}

#[test]
fn everybody_walks_in_steps_of_their_own() {
    let (_, topology) = good(GOOD);
    let neighbours = neighbouring_access_routers(&topology);
    let mut places: BTreeMap<_, _> = topology
        .nodes()
        .filter_map(|(id, node)| match node.kind {
            NodeKind::MobileNode { start, .. } => Some((id, start)),
            _ => None,
        })
        .collect();
    let mut times: BTreeMap<NodeId, Vec<Duration>> = BTreeMap::new();
    for (at, action) in timed(&with_period("walk: { interval: 2s, gap: 5ms }")) {
        let Action::Handoff { mobile_node, access_router, gap } = action else { panic!("{action:?}") };
        assert_eq!(gap, Some(Duration::from_millis(5)));
        let from = places.insert(mobile_node, access_router).expect("a mobile node");
        assert!(neighbours[&from].contains(&access_router));
        times.entry(mobile_node).or_default().push(at);
    }
    assert_eq!(times.len(), 4);
    for times in times.values() {
        assert!(times[0] < Duration::from_secs(2) && times.len() == 5, "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_secs(2)), "{times:?}");
    }
    let firsts: BTreeSet<_> = times.values().map(|times| times[0]).collect();
    assert_eq!(firsts.len(), 4, "they do not move in step");
}

#[test]
fn a_hotspot_draws_everybody_and_keeps_them() {
    let (_, topology) = good(GOOD);
    let hotspot = topology.find("ar-2-1").expect("it is there");
    let steps = timed(&with_period("walk: { interval: 1s, hotspot: ar-2-1, alpha: 100% }"));
    let mut last = BTreeMap::new();
    for (_, action) in &steps {
        let Action::Handoff { mobile_node, access_router, .. } = action else { panic!("{action:?}") };
        last.insert(*mobile_node, *access_router);
    }
    assert!(last.values().all(|&at| at == hotspot), "{steps:?}");
    // Three steps at most, from corner to corner, for each of them.
    assert!((4..=12).contains(&steps.len()), "{steps:?}");
    // Half of the steps lead there: more than half of what is left is spent there.
    let half = timed(&with_period("walk: { interval: 1ms, hotspot: ar-2-1, alpha: 50% }"));
    let (mut at_hotspot, mut since) = (Duration::ZERO, BTreeMap::new());
    for (at, action) in &half {
        let Action::Handoff { mobile_node, access_router, .. } = action else { panic!("{action:?}") };
        if *access_router == hotspot {
            since.insert(*mobile_node, *at);
        } else if let Some(since) = since.remove(mobile_node) {
            at_hotspot += *at - since;
        }
    }
    // By the chain's balance: 0.49 of the time, of four nodes in ten seconds.
    let share = at_hotspot.as_secs_f64() / 40.0;
    assert!((0.35..0.65).contains(&share), "{share}");
}

#[test]
fn calls_arrive_and_end_at_random_and_nobody_is_in_two() {
    let steps = timed(&with_period("calls: { interval: 50ms, lasts: 20ms }"));
    let mut busy: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let (mut calls, mut talked, mut since) = (0, Duration::ZERO, BTreeMap::new());
    for (at, action) in &steps {
        match action {
            Action::Call { caller, callee } => {
                assert!(caller != callee && !busy.contains_key(caller), "{steps:?}");
                assert!(
                    !busy.contains_key(callee) && !busy.values().any(|peer| peer == caller || peer == callee)
                );
                busy.insert(*caller, *callee);
                since.insert(*caller, *at);
                calls += 1;
            }
            Action::HangUp(caller) => {
                assert!(busy.remove(caller).is_some());
                talked += *at - since[caller];
            }
            action => panic!("{action:?}"),
        }
    }
    // 800 attempts, of which a part finds somebody busy.
    assert!((200..800).contains(&calls), "{calls}");
    // As good as exponential: the mean of those that were not cut off.
    let mean = talked.as_secs_f64() / f64::from(calls);
    assert!((0.016..0.024).contains(&mean), "{mean}");
    let pairs = timed(&with_period("calls: { interval: 50ms, lasts: 20ms, pairs: [[mn2, mn4]] }"));
    let (_, topology) = good(GOOD);
    let [mn2, mn4] = ["mn2", "mn4"].map(|name| topology.find(name).expect("it is there"));
    assert!(
        pairs.len() > 50
            && pairs.iter().all(|(_, action)| {
                [Action::Call { caller: mn2, callee: mn4 }, Action::HangUp(mn2)].contains(action)
            })
    );
}

#[test]
fn other_things_happen_at_their_times() {
    let text =
        with_period("at: [{ after: 7s, kill: mn1 }, { every: 4s, pause: s1 }], walk: { interval: 1s }");
    let (_, topology) = good(GOOD);
    let [mn1, s1] = ["mn1", "s1"].map(|name| topology.find(name).expect("it is there"));
    let steps = timed(&text);
    let when = |wanted: Action| -> Vec<u64> {
        steps.iter().filter(|(_, action)| *action == wanted).map(|(at, _)| at.as_secs()).collect()
    };
    assert_eq!((when(Action::Kill(mn1)), when(Action::Pause(s1))), (vec![7], vec![0, 4, 8]));
    // The dead do not walk.
    assert!(steps.iter().all(|(at, action)| {
        !matches!(action, Action::Handoff { mobile_node, .. } if *mobile_node == mn1) || at.as_secs() < 7
    }));
}

#[test]
fn periods_that_cannot_be_are_refused() {
    for (what, expected) in [
        ("walk: { interval: 1s, alpha: 30% }", "there is no hotspot"),
        ("walk: { interval: 1s, hotspot: ar-0-0 }", "nobody is drawn to this hotspot"),
        ("walk: { interval: 1s, hotspot: s1, alpha: 30% }", "`s1` is no access router"),
        ("calls: { interval: 1s, lasts: 1s, pairs: [[mn1, mn1]] }", "`mn1` calls itself"),
        ("at: [{ after: 10s, kill: s1 }]", "this comes when the period is over"),
        ("at: [{ every: 1us, kill: s1 }]", "this happens too often"),
        ("at: [{ every: 1s, partition: { nodes: [ar-0-0] } }]", "a partition happens once"),
        ("at: [{ after: 1s }]", "exactly one thing happens at a time"),
        ("at: [{ kill: s1, pause: s1 }]", "exactly one thing happens at a time"),
    ] {
        let told = parse_here(&with_period(what)).expect_err(what);
        assert!(matches!(&told[..], [only] if only.message == expected), "{what}: {told:?}");
    }
    let told = parse_here(&with_timeline("  - period: { lasts: 10s }\n")).expect_err("nothing in it");
    assert_eq!(told[0].message, "nothing happens in this period");
    let much = "  - period: { lasts: 86400s, walk: { interval: 1ms } }\n";
    let told = parse_here(&with_timeline(much)).expect_err("too much");
    assert!(told[0].message.starts_with("up to here there are"), "{told:?}");
}

/// An experiment whose trace this is.
fn with_trace(trace: &str) -> Result<Campaign, Vec<Diagnostic>> {
    let text = with_period("trace: far/walk.csv");
    let read = |path: &Path| {
        let text = if path.ends_with("lab/far/walk.csv") { trace } else { GRID };
        Source::new(&path.display().to_string(), text)
    };
    Campaign::parse(&Source::new("lab/test.yaml", &text).unwrap(), &read)
}

/// Says what is wrong with an experiment whose trace this is, as `line:column message`.
fn told_of_trace(trace: &str) -> Vec<String> {
    let errors = with_trace(trace).err().unwrap_or_default();
    errors
        .iter()
        .map(|error| format!("{}:{}:{} {}", error.path, error.line, error.column, error.message))
        .collect()
}

#[test]
fn a_trace_says_who_moves_when() {
    let (_, topology) = good(GOOD);
    let id = |name: &str| topology.find(name).unwrap();
    let (mut experiment, _) = good(&with_period("trace: walk.csv"));
    let moves =
        [(0, "mn2", "ar-0-1"), (2500, "mn1", "ar-2-1"), (2500, "mn1", "ar-2-1"), (9000, "mn2", "ar-0-0")];
    let timed_move = |&(after, node, to): &(u64, &str, &str)| TimedMove {
        after: Duration::from_millis(after),
        mobile_node: id(node),
        access_router: id(to),
    };
    let Step::Period(period) = &mut experiment.timeline[0] else { panic!("a period") };
    assert_eq!(period.movement, Some(Movement::Trace(Vec::new())));
    period.movement = Some(Movement::Trace(moves.iter().map(timed_move).collect()));
    period.happens.push(Happening {
        after: Duration::from_secs(8),
        every: None,
        action: Action::Kill(id("mn2")),
    });
    let schedule = experiment.schedule(&topology);
    let handoffs: Vec<_> =
        schedule.iter().filter(|action| matches!(action, Action::Handoff { .. })).collect();
    let handoff = |node, to| Action::Handoff { mobile_node: id(node), access_router: id(to), gap: None };
    // Who is there already stays, and the dead do not move.
    assert_eq!(handoffs, [&handoff("mn2", "ar-0-1"), &handoff("mn1", "ar-2-1")]);
    assert_eq!(schedule[1], handoff("mn2", "ar-0-1"), "at once");
    assert_eq!(schedule[2], Action::At(Duration::from_millis(2500)));
}

#[test]
fn what_is_wrong_in_a_trace_is_told_with_its_place_there() {
    let good = "time,node,access_router\r\n0,mn1,ar-1-0\n2.25, mn2 ,ar-0-0\n\n9.999999999,mn1,ar-0-0";
    assert_eq!(told_of_trace(good), [""; 0]);
    for (line, expected) in [
        ("1,mn1", "4:1 expected three fields"),
        ("1,mn1,ar-0-0,ar-0-0", "4:1 expected three fields"),
        ("soon,mn1,ar-0-0", "4:1 `soon` is no time"),
        ("-1,mn1,ar-0-0", "4:1 `-1` is no time"),
        ("1e3,mn1,ar-0-0", "4:1 `1e3` is no time"),
        ("NaN,mn1,ar-0-0", "4:1 `NaN` is no time"),
        ("3,mn9,ar-0-0", "4:3 the topology has no mobile node `mn9`"),
        ("3,s1,ar-0-0", "4:3 `s1` is no mobile node"),
        ("3,\"mn1\",ar-0-0", "4:3 the topology has no mobile node `\\\"mn1\\\"`"),
        ("3,mn1, ar-9-9", "4:8 the topology has no access router `ar-9-9`"),
        ("10,mn1,ar-0-0", "4:1 this comes when the period is over"),
        ("1,mn1,ar-0-0", "4:1 this comes before the line above it"),
    ] {
        let trace = format!("time,node,access_router\n0.5,mn1,ar-1-0\n2,mn2,ar-1-0\n{line}\n");
        assert_eq!(told_of_trace(&trace), [format!("lab/far/walk.csv:{expected}")], "{line}");
    }
    for trace in ["", "mn1,ar-0-0\n", "node,time,access_router\n1,mn1,ar-0-0"] {
        assert_eq!(told_of_trace(trace), ["lab/far/walk.csv:1:1 this is no trace of movements"], "{trace}");
    }
    let many = format!("time,node,access_router\n{}", "1,nobody,ar-0-0\n".repeat(1_000));
    assert_eq!(told_of_trace(&many).len(), 21, "twenty, and how many more");
}

#[test]
fn a_trace_is_a_csv_file_that_can_be_read() {
    for (name, message) in [
        ("/etc/passwd", "`/etc/passwd` is not a trace file"),
        ("walk.yaml", "`walk.yaml` is not a trace file"),
    ] {
        let told = parse_here(&with_period(&format!("trace: {name}"))).expect_err(name);
        assert_eq!((told.len(), told[0].message.as_str()), (1, message));
    }
    let read = |path: &Path| match path.extension() {
        Some(csv) if csv == "csv" => Source::read(path),
        _ => Source::new(&path.display().to_string(), GRID),
    };
    let source = Source::new("lab/test.yaml", &with_period("trace: nowhere.csv")).unwrap();
    let told = Campaign::parse(&source, &read).err().expect("there is none");
    assert!(told[0].message.starts_with("lab/nowhere.csv: cannot read this file"), "{told:?}");
    assert_eq!((told[0].line, told[0].column), (3, 34));
}

#[test]
fn nodes_find_their_way_over_the_map() {
    let (_, topology) = good(GOOD);
    let text = with_period("waypoint: { speed: 40m/s, pause: 500ms, hysteresis: 20, gap: 5ms }");
    let steps = timed(&text);
    assert_eq!(steps, timed(&text), "the seed decides");
    let mut last: BTreeMap<NodeId, Duration> = BTreeMap::new();
    for (at, action) in &steps {
        let Action::Handoff { mobile_node, gap, .. } = action else { panic!("{action:?}") };
        assert_eq!(*gap, Some(Duration::from_millis(5)));
        // To come 20 m nearer to the next one again, one has to go 20 m.
        let before = last.insert(*mobile_node, *at);
        assert!(before.is_none_or(|before| *at - before >= Duration::from_millis(500)), "{steps:?}");
    }
    assert_eq!(last.len(), 4, "400 m each, where two access routers are 100 m from each other");
    let others = timed(&text.replace("timeline", "seed: 2\ntimeline"));
    assert_ne!(steps, others);
    // A larger hysteresis means fewer handoffs.
    let lazy = timed(&text.replace("hysteresis: 20", "hysteresis: 90"));
    assert!(lazy.len() < steps.len(), "{} {}", lazy.len(), steps.len());
    assert!(topology.access_routers().count() == 6);
}

#[test]
fn movements_that_cannot_be_are_refused() {
    for (what, expected) in [
        ("walk: { interval: 1s }, trace: walk.csv", "nodes move in one way in a period"),
        ("walk: { interval: 1s }, waypoint: { speed: 1m/s }", "nodes move in one way in a period"),
        ("waypoint: { speed: 1m/s }, trace: walk.csv", "nodes move in one way in a period"),
        ("waypoint: { speed: 0m/s }", "`0m/s` is out of range for a speed"),
        ("waypoint: { speed: 1m/s, hysteresis: -1 }", "a hysteresis is at least 0"),
        ("waypoint: { speed: 1m/s, hysteresis: .nan }", "`.nan` is not a distance"),
    ] {
        let told = parse_here(&with_period(what)).expect_err(what);
        assert!(matches!(&told[..], [only] if only.message == expected), "{what}: {told:?}");
    }
    let long = "  - period: { lasts: 86400s, waypoint: { speed: 1m/s } }\n".repeat(2);
    let told = parse_here(&with_timeline(&long)).expect_err("too much");
    assert!(told[0].message.starts_with("up to here there are"), "{told:?}");
    let placeless = "nodes: { ar1: { kind: access_router, position: [0, 0] }, ar2: { kind: access_router },
  s1: { kind: sip_server }, mn1: { kind: mobile_node, start: ar1 } }
links: [{ between: [ar1, s1], one_way_delay: 1ms }, { between: [ar1, ar2], one_way_delay: 1ms }]\n";
    let told = parse("test.yaml", &with_period("waypoint: { speed: 1m/s }"), placeless).unwrap_err();
    assert_eq!(told[0].message, "`ar2` is nowhere on the map");
}

#[test]
fn some_things_wait_for_a_state() {
    let (_, topology) = good(GOOD);
    let [mn1, s1] = ["mn1", "s1"].map(|name| topology.find(name).expect("it is there"));
    let steps = timed(&with_period(
        "at: [{ after: 2s, when: ring_stable, pause: s1 }, { when: all_registered, kill: mn1 }], walk: { interval: 1s }",
    ));
    let when = |condition, action| Action::When { condition, action: Box::new(action) };
    let mut waiting = steps.iter().filter(|(_, action)| matches!(action, Action::When { .. }));
    assert_eq!(waiting.next(), Some(&(Duration::ZERO, when(Condition::AllRegistered, Action::Kill(mn1)))));
    assert_eq!(
        waiting.next(),
        Some(&(Duration::from_secs(2), when(Condition::RingStable, Action::Pause(s1))))
    );
    assert_eq!(waiting.next(), None);
    // Who may be killed at any moment does not walk.
    assert!(
        !steps.iter().any(|(_, action)| {
            matches!(action, Action::Handoff { mobile_node, .. } if *mobile_node == mn1)
        })
    );
    for (what, expected) in [
        ("at: [{ when: happy, kill: s1 }]", "`happy` is not something that can be awaited"),
        ("at: [{ when: ring_stable }]", "exactly one thing happens at a time"),
        ("at: [{ when: ring_stable, every: 1s, kill: s1 }]", "what waits for a state happens once"),
        (
            "at: [{ when: ring_stable, handoff: [mn1, ar-0-0] }], walk: { interval: 1s }",
            "nodes that move by themselves wait for no state",
        ),
    ] {
        let told = parse_here(&with_period(what)).expect_err(what);
        assert!(matches!(&told[..], [only] if only.message == expected), "{what}: {told:?}");
    }
}

proptest! {
    #[test]
    fn a_trace_is_taken_to_the_nanosecond(
        moves in prop::collection::vec((0u64..10_000_000_000, 1..=4u8, 0..3u8, 0..2u8), 0..20),
        spaces in "[ \t]{0,2}",
        end in "\r?\n",
    ) {
        let (_, topology) = good(GOOD);
        let mut moves = moves;
        moves.sort();
        let line = |&(at, node, x, y): &(u64, u8, u8, u8)| {
            let (seconds, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
            format!("{seconds}.{nanos:09}{spaces},{spaces}mn{node},ar-{x}-{y}{spaces}{end}")
        };
        let lines: String = moves.iter().map(line).collect();
        let campaign = with_trace(&format!("time,node,access_router{end}{lines}")).expect("a trace");
        let Step::Period(period) = &campaign.first().0.timeline[0] else { panic!("a period") };
        let expected = moves.iter().map(|&(at, node, x, y)| TimedMove {
            after: Duration::from_nanos(at),
            mobile_node: topology.find(&format!("mn{node}")).unwrap(),
            access_router: topology.find(&format!("ar-{x}-{y}")).unwrap(),
        });
        prop_assert_eq!(&period.movement, &Some(Movement::Trace(expected.collect())));
    }

    #[test]
    fn whatever_a_trace_says_it_is_in_order_or_its_place_is_told(
        rows in prop::collection::vec("[0-9]{0,3}(\\.[0-9]{0,10})?,?(mn[0-9]|\\PC{0,8})?,?(ar-[0-3]-[0-2])?(\\PC{0,8})?", 0..12),
    ) {
        let text = format!("time,node,access_router\n{}", rows.join("\n"));
        match with_trace(&text) {
            Ok(campaign) => {
                let Step::Period(period) = &campaign.first().0.timeline[0] else { panic!("a period") };
                let Some(Movement::Trace(moves)) = &period.movement else { panic!("a trace") };
                prop_assert!(moves.is_sorted_by_key(|one| one.after));
                prop_assert!(moves.iter().all(|one| one.after < period.lasts));
            }
            Err(errors) => for error in errors {
                let line = text.split('\n').nth(error.line.saturating_sub(1));
                let columns = line.map_or(0, |line| line.chars().count());
                prop_assert!(error.line == 0 || (1..=columns + 1).contains(&error.column), "{:?}", error);
            }
        }
    }
}
