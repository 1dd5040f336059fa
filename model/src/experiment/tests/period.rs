//! Periods: who walks and calls when, and what is refused.

use super::*;

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
