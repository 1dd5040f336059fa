//! Experiment files: what is read, scheduled and refused.

mod flood;
mod period;

use super::*;
use crate::diagnostic::render_all;
use crate::paths::neighbouring_access_routers;
use crate::topology::{NodeKind, QualityChange, RateChange};
use std::collections::{BTreeMap, BTreeSet};

const GOOD: &str = "\
name: test
topology: grid.yaml
seed: 7
timeline:
  - call: { count: 1 }
  - handoff: { count: 3, interval: 200ms }
  - hang_up: all
";

/// 3 × 2 access routers, two servers, four mobile nodes.
const GRID: &str = "
grid:
  width: 3
  height: 2
  domain: { width: 2, height: 2 }
  link: { one_way_delay: 2ms }
  server_link: { one_way_delay: 1ms }
mobile_nodes: { count: 4 }
";

fn parse_here(text: &str) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    parse("lab/test.yaml", text, GRID).inspect(|(experiment, _)| {
        assert_eq!(experiment.topology, Path::new("lab/grid.yaml"));
    })
}

fn good(text: &str) -> (Experiment, Topology) {
    parse_here(text).unwrap_or_else(|errors| panic!("{}", render_all(&errors, false)))
}

fn with_timeline(steps: &str) -> String {
    format!("topology: grid.yaml\ntimeline:\n{steps}")
}

#[test]
fn the_shipped_experiment_is_good() {
    let path = format!("{}/../experiments/handoff.yaml", env!("CARGO_MANIFEST_DIR"));
    let (experiment, topology) = load(Path::new(&path)).unwrap();
    assert_eq!((experiment.name.as_str(), experiment.seed, topology.seed), ("handoff", 7, 7));
    assert_eq!(topology.name, "grid-small");

    let schedule = experiment.schedule(&topology);
    let count = |wanted: fn(&Action) -> bool| schedule.iter().filter(|action| wanted(action)).count();
    assert_eq!(count(|action| matches!(action, Action::Call { .. })), 4);
    assert_eq!(count(|action| matches!(action, Action::Handoff { .. })), 20);
    assert_eq!(count(|action| *action == Action::Wait(Duration::from_millis(200))), 20);
    assert_eq!(schedule.last(), Some(&Action::HangUpAll));
}

#[test]
fn a_schedule_follows_from_the_seed() {
    let (experiment, topology) = good(GOOD);
    assert_eq!(experiment.schedule(&topology), experiment.schedule(&topology));
    let others: BTreeSet<_> = (0..20)
        .map(|seed| format!("{:?}", Experiment { seed, ..experiment.clone() }.schedule(&topology)))
        .collect();
    assert!(others.len() > 15, "{}", others.len());
    // The choices of a step do not depend on the steps before it, but for where the nodes are.
    let (calmer, _) = good(&GOOD.replace("- call: { count: 1 }", "- call: { count: 2 }"));
    let moves = |experiment: &Experiment| -> Vec<_> {
        let schedule = experiment.schedule(&topology);
        schedule.into_iter().filter(|action| matches!(action, Action::Handoff { .. })).collect()
    };
    assert_eq!(moves(&calmer), moves(&experiment));
    // Without a seed of its own it has the topology's.
    assert_eq!(good(&GOOD.replace("seed: 7\n", "")).0.seed, 1);
}

#[test]
fn random_choices_keep_the_rules() {
    for seed in 0..50 {
        let (mut experiment, topology) = good(&with_timeline(
            "  - call: { count: 1 }\n  - call: { count: 1 }\n  - handoff: { count: 30, interval: 1ms }\n",
        ));
        experiment.seed = seed;
        let neighbours = neighbouring_access_routers(&topology);
        let mut places = BTreeMap::new();
        let mut callers = BTreeSet::new();
        for action in experiment.schedule(&topology) {
            match action {
                Action::Call { caller, callee } => {
                    assert!(callers.insert(caller) && callers.insert(callee), "in two calls");
                }
                Action::Handoff { mobile_node, access_router, .. } => {
                    let NodeKind::MobileNode { start, .. } = topology.node(mobile_node).kind else {
                        panic!("{mobile_node:?} moves")
                    };
                    let from = places.insert(mobile_node, access_router).unwrap_or(start);
                    assert!(neighbours[&from].contains(&access_router), "{from:?} to {access_router:?}");
                }
                _ => {}
            }
        }
        assert_eq!(callers.len(), 4);
    }
}

#[test]
fn listed_steps_are_done_as_listed() {
    let (experiment, topology) = good(&with_timeline(
        "  - call: { pairs: [[mn1, mn2], [mn4, mn3]] }
  - handoff:
      interval: 10ms
      gap: 5ms
      moves:
        - [mn1, ar-2-1]
        - [mn1, ar-2-1]
        - [mn2, ar-0-0]
  - wait: 1s
  - hang_up: all
  - call: { count: 2 }
",
    ));
    let [mn1, mn2, mn3, mn4] = ["mn1", "mn2", "mn3", "mn4"].map(|name| topology.find(name).unwrap());
    let [near, far] = ["ar-0-0", "ar-2-1"].map(|name| topology.find(name).unwrap());
    let pause = Action::Wait(Duration::from_millis(10));
    let gap = Some(Duration::from_millis(5));
    let schedule = experiment.schedule(&topology);
    assert_eq!(
        schedule[..9],
        [
            Action::Call { caller: mn1, callee: mn2 },
            Action::Call { caller: mn4, callee: mn3 },
            Action::Handoff { mobile_node: mn1, access_router: far, gap },
            pause.clone(),
            // mn1 is there already.
            pause.clone(),
            Action::Handoff { mobile_node: mn2, access_router: near, gap },
            pause,
            Action::Wait(Duration::from_secs(1)),
            Action::HangUpAll,
        ]
    );
    assert_eq!(schedule.len(), 11);
}

#[test]
fn mistakes_are_told_with_their_place() {
    // (step, all that is said about it, as `line:column message | label | hint`)
    let table: &[(&str, &[&str])] = &[
        (
            "call: { count: 3 }",
            &[
                "3:20 3 calls need 6 mobile nodes, and 4 are free |  | the topology has 4 mobile nodes; `- hang_up: all` frees them",
            ],
        ),
        (
            "call: { pairs: [[mn1, mn2]] }\n  - call: { count: 2 }",
            &[
                "4:20 2 calls need 4 mobile nodes, and 2 are free |  | the topology has 4 mobile nodes; `- hang_up: all` frees them",
            ],
        ),
        ("call: { count: 0 }", &["3:20 `0` is out of range |  | write a whole number from 1 to 5000"]),
        (
            "call: { count: 1, pairs: [[mn1, mn2]] }",
            &[
                "3:5 `call` takes either a count or a list |  | write `count: 4` for random ones, or `pairs: [[mn1, mn2]]`",
            ],
        ),
        ("call: { pairs: [[mn1]] }", &["3:22 expected a pair |  | write `[mn1, mn2]`"]),
        (
            "call: { pairs: [[mn1, mn1]] }",
            &["3:22 `mn1` calls itself | the same node twice | a call is between two mobile nodes"],
        ),
        (
            "call: { pairs: [[mn1, mn7], [s1, bob]] }",
            &[
                "3:27 the topology has no mobile node `mn7` | no such mobile node | there are `mn1` to `mn4`",
                "3:34 `s1` is no mobile node | no such mobile node | there are `mn1` to `mn4`",
                "3:38 the topology has no mobile node `bob` | no such mobile node | there are `mn1` to `mn4`",
            ],
        ),
        (
            "handoff: { moves: [[mn1, ar-0-7], [mn1, s1]], interval: 0 }",
            &[
                "3:30 the topology has no access router `ar-0-7` | no such access router | there are `ar-0-0` to `ar-2-1`",
                "3:45 `s1` is no access router | no such access router | there are `ar-0-0` to `ar-2-1`",
                "3:61 `0` has no unit |  | write a time as 2ms, 500us or 1s",
            ],
        ),
        (
            "handoff: { count: 3 }",
            &["3:16 missing field `interval` | `interval` belongs beside this | add `interval: 200ms`"],
        ),
        (
            "handoff: { interval: 1s }",
            &[
                "3:5 `handoff` takes either a count or a list |  | write `count: 20` for random ones, or `moves: [[mn1, ar2]]`",
            ],
        ),
        (
            "transfer: [mn1, mn1]",
            &[
                "3:16 `mn1` has its call already | the same node twice | a call moves from one mobile node to another",
            ],
        ),
        ("hang_up: mn1", &["3:14 `mn1` is not something that can be named here |  | write `all`"]),
        (
            "hangup: all",
            &[
                "3:5 unknown field `hangup`, expected `call`, `handoff`, `transfer`, `hang_up`, `wait`, `await`, `link`, `partition`, `heal`, `kill`, `pause`, `resume`, `flood` or `period` | unknown field | did you mean `hang_up`?",
            ],
        ),
        (
            "await: { until: everybody_happy, timeout: 0s }",
            &[
                "3:21 `everybody_happy` is not something that can be awaited |  | write `all_registered`, `ring_stable` or `calls_established`",
                "3:47 `0s` is out of range for a time |  | a time is at least 1us and at most 86400s",
            ],
        ),
        (
            "wait: 1s\n    hang_up: all",
            &[
                "3:5 a step does exactly one thing | in this step | begin each thing to do with a `-` of its own",
            ],
        ),
        (
            "{}",
            &[
                "3:5 a step does exactly one thing | in this step | begin each thing to do with a `-` of its own",
            ],
        ),
    ];
    for (step, expected) in table {
        let errors = parse_here(&with_timeline(&format!("  - {step}\n"))).expect_err(step);
        let told: Vec<_> = errors
            .iter()
            .map(|error| {
                let hint = error.hint.as_deref().unwrap_or_default();
                format!("{}:{} {} | {} | {hint}", error.line, error.column, error.message, error.label)
            })
            .collect();
        assert_eq!(told, *expected, "{step}");
    }
}

#[test]
fn an_empty_timeline_is_a_mistake() {
    let errors = parse_here("topology: grid.yaml\ntimeline: []\n").unwrap_err();
    assert_eq!((errors[0].line, errors[0].column), (2, 11));
    assert_eq!(errors[0].message, "the timeline is empty");
}

#[test]
fn who_cannot_move_is_told() {
    let single = "nodes:\n  ar1: { kind: access_router }\n  s1: { kind: sip_server }
  mn1: { kind: mobile_node, start: ar1 }
links: [{ between: [ar1, s1], one_way_delay: 1ms }]\n";
    let text = with_timeline("  - handoff: { count: 1, interval: 1s }\n");
    let errors = parse("test.yaml", &text, single).unwrap_err();
    assert_eq!(errors[0].to_string(), "test.yaml:3:23: nobody can move in this topology");
}

#[test]
fn mistakes_in_the_topology_are_told_where_they_are() {
    let good = Source::new("lab/test.yaml", GOOD).unwrap();
    let missing = Campaign::parse(&good, &Source::read).err().unwrap();
    assert_eq!(
        missing[0].render(false).split(" (os error").next().unwrap(),
        "error: lab/grid.yaml: cannot read this file: No such file or directory"
    );
    assert_eq!((missing[0].line, missing[0].column), (2, 11));
    assert_eq!(missing[0].hint.as_deref(), Some("`topology` is a path from the directory of this file"));

    let bad = parse("lab/test.yaml", GOOD, "gird: 1").unwrap_err();
    assert_eq!((bad[0].path.as_str(), bad[0].line), ("lab/grid.yaml", 1));
}

#[test]
fn the_network_changes_and_nodes_fail() {
    let (experiment, topology) = good(&with_timeline(
        "  - link: { between: [ar-0-0, ar-1-0], one_way_delay: 9ms, loss: 1% }
  - link: { between: [ar-1-0, ar-0-0], one_way: true, rate: 1mbit, queue: 5 }
  - link: { between: [ar-0-0, ar-1-0], rate: none }
  - link: { between: [ar-0-0, ar-1-0], state: down }
  - link: { radio: mn1, one_way_delay: 3ms }
  - partition: { nodes: [ar-0-0, ar-0-1] }
  - partition: { nodes: [ar-0-0], from: [ar-1-0] }
  - heal: all
  - kill: s1
  - pause: s2
  - resume: s2
",
    ));
    let id = |name: &str| topology.find(name).unwrap();
    let (corner, east) = (id("ar-0-0"), id("ar-1-0"));
    let schedule = experiment.schedule(&topology);
    let delay = QualityChange {
        one_way_delay: Some(Duration::from_millis(9)),
        loss: "1%".parse().ok(),
        ..QualityChange::default()
    };
    let link = LinkId::Wired([corner, east]);
    let quality = |changes| LinkChange::Quality(Box::new(changes));
    assert_eq!(schedule[0], Action::Link { link, change: quality([delay, delay]) });
    // Written the other way round than the topology has it.
    let rate =
        QualityChange { rate: Some(RateChange::To(1_000_000)), queue: Some(5), ..QualityChange::default() };
    assert_eq!(schedule[1], Action::Link { link, change: quality([QualityChange::default(), rate]) });
    let no_rate = QualityChange { rate: Some(RateChange::None), ..QualityChange::default() };
    assert_eq!(schedule[2], Action::Link { link, change: quality([no_rate, no_rate]) });
    assert_eq!(schedule[3], Action::Link { link, change: LinkChange::Down });
    assert!(matches!(schedule[4], Action::Link { link: LinkId::Radio(node), .. } if node == id("mn1")));
    assert_eq!(schedule[5], Action::Partition { nodes: vec![corner, id("ar-0-1")], from: Vec::new() });
    assert_eq!(schedule[6], Action::Partition { nodes: vec![corner], from: vec![east] });
    let (s1, s2) = (id("s1"), id("s2"));
    assert_eq!(schedule[7..], [Action::Heal, Action::Kill(s1), Action::Pause(s2), Action::Resume(s2)]);
}

#[test]
fn nonsense_about_links_is_refused() {
    for (step, message) in [
        ("link: { between: [ar-0-0, ar-2-1], loss: 1% }", "there is no wired link"),
        ("link: { between: [ar-0-0, ar-1-0], radio: mn1, loss: 1% }", "takes one link"),
        ("link: { loss: 1% }", "takes one link"),
        ("link: { between: [ar-0-0, ar-1-0] }", "nothing changes"),
        ("link: { between: [ar-0-0, ar-1-0], jitter: 9ms }", "the jitter is larger"),
        ("link: { between: [ar-0-0, ar-1-0], queue: 5 }", "nothing waits"),
        ("link: { between: [ar-0-0, ar-1-0], state: down, loss: 1% }", "alone"),
        ("link: { radio: mn1, state: down }", "a whole wired link"),
        ("partition: { nodes: [mn1] }", "is no router or SIP server"),
        ("partition: { nodes: [] }", "no link joins"),
        ("partition: { nodes: [ar-0-0], from: [ar-2-1] }", "no link joins"),
        ("kill: ar-0-0", "is no node where something runs"),
        ("pause: nobody", "has no node where something runs"),
    ] {
        let errors = parse_here(&with_timeline(&format!("  - {step}\n"))).unwrap_err();
        let text = render_all(&errors, false);
        assert!(text.contains(message), "{step}: {text}");
    }
}

#[test]
fn who_was_killed_is_not_chosen_to_move() {
    let (experiment, topology) =
        good(&with_timeline("  - kill: mn1\n  - handoff: { count: 40, interval: 1ms }\n"));
    let mn1 = topology.find("mn1").unwrap();
    let moves =
        |action: &Action| matches!(action, Action::Handoff { mobile_node, .. } if *mobile_node == mn1);
    assert!(!experiment.schedule(&topology).iter().any(moves));
}

#[test]
fn what_is_captured_is_named() {
    let with = |capture: &str| GOOD.replace("seed: 7\n", &format!("seed: 7\ncapture: {capture}\n"));
    let (experiment, topology) = good(&with("[mn1, ar-0-0--ar-0-1, ar-0-0]"));
    let names: Vec<_> = experiment.capture.iter().map(|place| &topology.node(place.node).name).collect();
    assert_eq!(names, ["ar-0-0", "ar-0-1", "mn1"]);
    assert_eq!(good(&with("[all]")).0.capture.len(), topology.nodes.len());
    assert!(good(GOOD).0.capture.is_empty());

    let errors = parse_here(&with("[mn1, mn9, mn1--ar-0-0]")).unwrap_err();
    let said: Vec<_> =
        errors.iter().map(|error| (error.line, error.column, error.message.as_str())).collect();
    let expected = [(4, 16, "there is no node `mn9`"), (4, 21, "there is no wired link `mn1--ar-0-0`")];
    assert_eq!(said, expected);
}
