//! Experiment files: what is read, scheduled and refused.

use super::*;
use crate::diagnostic::render_all;

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
fn grid(seed: Option<u64>) -> Result<Topology, Vec<Diagnostic>> {
    let text = "
grid:
  width: 3
  height: 2
  domain: { width: 2, height: 2 }
  link: { one_way_delay: 2ms }
  server_link: { one_way_delay: 1ms }
mobile_nodes: { count: 4 }
";
    let seed = seed.map_or(String::new(), |seed| format!("seed: {seed}"));
    topology::parse("lab/grid.yaml", &format!("{text}{seed}"))
}

fn parse_here(text: &str) -> Result<(Experiment, Topology), Vec<Diagnostic>> {
    parse("lab/test.yaml", text, |path, seed| {
        assert_eq!(path, Path::new("lab/grid.yaml"));
        grid(seed)
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
                Action::Handoff { mobile_node, access_router } => {
                    let NodeKind::MobileNode { start, .. } = topology.node(mobile_node).kind else {
                        panic!("{mobile_node:?} moves")
                    };
                    let from = places.insert(mobile_node, access_router).unwrap_or(start);
                    assert!(neighbours[&from].contains(&access_router), "{from:?} to {access_router:?}");
                }
                Action::Transfer { .. } | Action::Wait(_) | Action::HangUpAll => {}
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
    let schedule = experiment.schedule(&topology);
    assert_eq!(
        schedule[..9],
        [
            Action::Call { caller: mn1, callee: mn2 },
            Action::Call { caller: mn4, callee: mn3 },
            Action::Handoff { mobile_node: mn1, access_router: far },
            pause.clone(),
            // mn1 is there already.
            pause.clone(),
            Action::Handoff { mobile_node: mn2, access_router: near },
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
        ("hang_up: mn1", &["3:14 `mn1` is not something to hang up |  | write `all`"]),
        (
            "hangup: all",
            &[
                "3:5 unknown field `hangup`, expected `call`, `handoff`, `transfer`, `hang_up` or `wait` | unknown field | did you mean `hang_up`?",
            ],
        ),
        (
            "wait: 1s\n    hang_up: all",
            &[
                "3:5 a step does exactly one thing | in this step | begin each of `call`, `handoff`, `transfer`, `hang_up` and `wait` with a `-` of its own",
            ],
        ),
        (
            "{}",
            &[
                "3:5 a step does exactly one thing | in this step | begin each of `call`, `handoff`, `transfer`, `hang_up` and `wait` with a `-` of its own",
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
    let errors = parse("test.yaml", &text, |_, _| topology::parse("single.yaml", single)).unwrap_err();
    assert_eq!(errors[0].to_string(), "test.yaml:3:23: nobody can move in this topology");
}

#[test]
fn mistakes_in_the_topology_are_told_where_they_are() {
    let missing = parse("lab/test.yaml", GOOD, topology::load_seeded).unwrap_err();
    assert_eq!(
        missing[0].render(false).split(" (os error").next().unwrap(),
        "error: lab/grid.yaml: cannot read this file: No such file or directory"
    );
    assert_eq!((missing[0].line, missing[0].column), (2, 11));
    assert_eq!(missing[0].hint.as_deref(), Some("`topology` is a path from the directory of this file"));

    let bad = parse("lab/test.yaml", GOOD, |_, _| topology::parse("lab/grid.yaml", "gird: 1")).unwrap_err();
    assert_eq!((bad[0].path.as_str(), bad[0].line), ("lab/grid.yaml", 1));
}
