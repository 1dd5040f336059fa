//! Factors, cells and repetitions: what they become, and what is refused where.

use super::*;
use crate::diagnostic::render_all;
use crate::experiment::{Action, Relation, Statistic, Step};
use crate::metric::Metric;
use std::time::Duration;

const GRID: &str = "\
seed: 3
grid:
  width: 3
  height: 2
  link: { one_way_delay: 2ms }
  server_link: &server { one_way_delay: 1ms }
mobile_nodes: { count: 4 }
nodes: { core: { kind: router } }
links:
  - { between: [ar-0-0, core], one_way_delay: 1ms }
  - { between: [core, ar-2-1], one_way_delay: 1ms }
samp: { delta: 20ms }
";

fn parse(head: &str) -> Result<Campaign, Vec<Diagnostic>> {
    let text =
        format!("topology: grid.yaml\n{head}\ntimeline:\n  - handoff: {{ count: 3, interval: 200ms }}\n");
    let read = |path: &Path| Source::new(&path.display().to_string(), GRID);
    Campaign::parse(&Source::new("lab/test.yaml", &text).unwrap(), &read)
}

fn good(head: &str) -> Campaign {
    parse(head).unwrap_or_else(|errors| panic!("{}", render_all(&errors, false)))
}

/// Its runs' settings, cell by cell.
fn each<T>(campaign: &Campaign, get: impl Fn(&(Experiment, Topology)) -> T) -> Vec<T> {
    campaign.cells.iter().map(|cell| get(&campaign.run(cell, 0).unwrap())).collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_file_without_factors_is_one_run() {
    let campaign = good("");
    assert!(campaign.is_single());
    assert_eq!(campaign.cells, [Cell { levels: vec![], seed: 3, lasts: ms(600) }]);
    assert_eq!(campaign.run(&campaign.cells[0], 0).unwrap(), *campaign.first());
    assert_eq!(campaign.topologies().collect::<Vec<_>>(), [Path::new("lab/grid.yaml")]);
    assert!(!good("repetitions: 2").is_single());
    assert!(!good("factors: { seed: [1] }").is_single());
}

#[test]
fn what_is_set_is_in_the_place_of_what_the_files_say() {
    let (_, before) = good("").first().clone();
    let campaign = good(
        "set:
  samp.delta: 14ms
  samp.tier1.enabled: false
  media.payload_bytes: 40
  grid.link.one_way_delay: 0.5ms
  grid.width: 4
  links.core--ar-0-0.one_way_delay: 7ms
  links.1.loss: 1%
  nodes.extra: { kind: mobile_node, start: core2 }
  nodes.core2.kind: access_router
  links.0.between: [core, core2]
  timeline.0.handoff.interval: 30ms
  addressing.rs_delay: [0ms, 5ms]",
    );
    let (experiment, topology) = campaign.first();
    assert_eq!(before.samp.delta, ms(20));
    assert_eq!((topology.samp.delta, topology.samp.tier1.enabled), (ms(14), false));
    assert_eq!((topology.media.payload_bytes, topology.addressing.rs_delay), (40, [ms(0), ms(5)]));
    assert_eq!(topology.access_routers().count(), 9);
    let quality = |a: &str, b: &str| {
        let ends = [a, b].map(|name| topology.find(name).unwrap());
        topology.links.iter().find(|link| link.ends == ends).unwrap().quality[0]
    };
    assert_eq!(quality("ar-0-0", "ar-1-0").one_way_delay, Duration::from_micros(500));
    assert_eq!(quality("core", "core2").one_way_delay, ms(7));
    assert_eq!(quality("core", "ar-2-1").loss, "1%".parse().unwrap());
    let Step::Handoff { interval, .. } = experiment.timeline[0] else { panic!() };
    assert_eq!(interval, ms(30));
    assert_eq!((experiment.seed, topology.seed), (3, 3));
}

#[test]
fn factors_span_all_cells_or_those_that_are_listed() {
    let factors = "
factors:
  samp.delta: [10ms, 0x1ms, 30ms]
  hr:
    on: {}
    off: { samp.hierarchical_registration: false, seed: 9 }";
    let campaign = good(&factors.replace("0x1ms", "20ms"));
    let names: Vec<Vec<_>> = campaign.cells.iter().map(|cell| campaign.levels(cell).collect()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!(names[1], [("samp.delta", "10ms"), ("hr", "off")]);
    assert_eq!(
        each(&campaign, |(_, topology)| (topology.samp.delta, topology.samp.hierarchical_registration)),
        [10, 20, 30].map(|delta| [(ms(delta), true), (ms(delta), false)]).concat()
    );
    assert_eq!(each(&campaign, |(experiment, _)| experiment.seed), [3, 9, 3, 9, 3, 9]);
    assert_eq!(campaign.cells.iter().map(|cell| cell.seed).collect::<Vec<_>>(), [3, 9, 3, 9, 3, 9]);

    let cells = "\ncells: [{ hr: off, samp.delta: 30ms }, { hr: on, samp.delta: 10ms }]";
    let listed = good(&(factors.replace("0x1ms", "20ms") + cells));
    assert_eq!(each(&listed, |(_, topology)| topology.samp.delta), [ms(30), ms(10)]);
    let errors = parse(factors).err().unwrap();
    assert_eq!((errors[0].line, errors[0].column), (4, 22), "{}", errors[0]);
}

#[test]
fn repetitions_have_seeds_of_their_own_the_same_in_all_cells() {
    let runs = |campaign: &Campaign| -> Vec<_> {
        let of_cell = |cell| (0..3).map(|number| campaign.run(cell, number).unwrap()).collect::<Vec<_>>();
        campaign.cells.iter().map(of_cell).collect()
    };
    for (seed, first) in [("", 3), ("seed: 7", 7)] {
        let runs = runs(&good(&format!("{seed}\nrepetitions: 3\nfactors: {{ samp.delta: [10ms, 20ms] }}")));
        for cell in &runs {
            let seeds: Vec<_> =
                cell.iter().map(|(experiment, topology)| (experiment.seed, topology.seed)).collect();
            assert_eq!(seeds, [0, 1, 2].map(|number| (first + number, first + number)), "{seed}");
        }
        let moves = |number: usize| -> Vec<Vec<Action>> {
            runs.iter().map(|cell| cell[number].0.schedule(&cell[number].1)).collect()
        };
        assert_eq!(moves(1)[0], moves(1)[1]);
        assert_ne!(moves(1)[0], moves(2)[0]);
    }
}

#[test]
fn mistakes_are_told_where_they_are_written() {
    let many =
        format!("factors: {{ seed: [{}] }}", (0..101).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let table: &[(&str, &str)] = &[
        ("set: { samp.detla: 10ms }", "2:8 unknown field `detla`, expected"),
        ("set: { samp.delta: 10 }", "2:20 `10` has no unit"),
        ("set: { samp.delta.x: 10 }", "2:8 `samp.delta` has no parts"),
        ("set: { links.9.loss: 1% }", "2:8 there is no `9` in this list"),
        ("set: { links.core--ar-9.loss: 1% }", "2:8 there is no `core--ar-9` in this list"),
        ("set: { samp..delta: 1s }", "2:8 `samp..delta` is not a knob"),
        ("set: { samp: 1s }", "2:14 expected fields with values, found a single value"),
        ("set: { nodes.mn9: { kind: mobile_node, start: ar-9-9 } }", "2:47 there is no node `ar-9-9`"),
        ("set: { repetitions: 3 }", "2:8 `repetitions` is no knob"),
        ("set: { timeline.0.handoff.interval: 5 }", "2:37 `5` has no unit"),
        ("set: { topology: x.txt }", "2:18 `x.txt` is not a topology file"),
        ("set: [1]", "2:6 expected fields with values, found a list"),
        ("factors: { samp.delta: [] }", "2:12 a factor without levels"),
        (
            "factors: { samp.delta: 1s }",
            "2:12 invalid type: string \"1s\", expected a list of values, or names",
        ),
        ("factors: { samp.delta: [~] }", "2:25 a value is missing"),
        ("factors: { samp.delta: [10ms, 10ms] }", "2:12 two levels are `10ms`"),
        ("factors: { samp.delta: [10ms, 5] }", "2:31 `5` has no unit"),
        ("factors: { a=b: { x: {} } }", "2:12 `a=b` is no name"),
        ("factors: { a: { x: { samp.delta: 1m } } }", "2:34 "),
        ("factors: { hr: { on: {} } }\ncells: []", "3:8 there are no cells"),
        ("factors: { hr: { on: {} } }\ncells: [{ hr: off }]", "3:15 there is no level `off`"),
        ("factors: { hr: { on: {} } }\ncells: [{ rh: on }]", "3:11 there is no factor `rh`"),
        ("factors: { hr: { on: {} } }\ncells: [{}]", "3:9 this cell has no level of `hr`"),
        ("factors: { hr: { on: {} } }\ncells: [{ hr: on }, { hr: on }]", "3:21 this cell is listed twice"),
        ("repetitions: 0", "2:14 `0` is out of range"),
        ("repetitions: 1001", "2:14 `1001` is out of range"),
        (
            "repetitions: 101\nfactors: { seed: [0,1,2,3,4,5,6,7,8,9], x: { a: {}, b: {}, c: {}, d: {}, e: {}, \
          f: {}, g: {}, h: {}, i: {}, j: {} } }",
            "3:41 100 cells, each run 101 times",
        ),
        ("assert: [handoff.total.p95]", "2:10 `handoff.total.p95` compares nothing"),
        ("assert: [handoff.totl.p95 < 5ms]", "2:10 there is no metric `handoff.totl`"),
        ("assert: [handoff.totl < 5ms]", "2:10 there is no metric `handoff.totl`"),
        ("assert: [handoff.total < 5ms]", "2:10 `handoff.total` has several figures"),
        ("assert: [handoff.total.p9 < 5ms]", "2:10 there is no figure `p9`"),
        ("assert: [call.ser.p50 > 5%]", "2:10 `call.ser` is one figure"),
        ("assert: [handoff.total.p95 < 5]", "2:10 `5` has no unit"),
        ("assert: [call.ser < 5]", "2:10 `5` "),
        ("assert: [media.mos.p50 > NaN]", "2:10 `NaN` is not a number"),
        ("assert: [handoff.total.n > 5ms]", "2:10 `5ms` is not a number"),
        ("assert: [call.ser < 5% for hr]", "2:10 `hr` is no level of a factor"),
        ("assert: [call.ser < 5% for hr = on]", "2:10 there is no factor `hr`"),
        ("assert: [call.ser < 5% for hr = no]\nfactors: { hr: { on: {} } }", "2:10 there is no level `no`"),
        (&many, "2:12 more than 100 levels"),
    ];
    let told: Vec<_> = table
        .iter()
        .map(|(head, expected)| {
            let error = parse(head).err().unwrap_or_else(|| panic!("{head} is accepted")).swap_remove(0);
            assert!(error.render(false).contains("lab/test.yaml"), "{head}: {error}");
            (format!("{}:{} {}", error.line, error.column, error.message), *expected)
        })
        .filter(|(told, expected)| !told.starts_with(expected))
        .collect();
    assert!(told.is_empty(), "{told:#?}");
    // A mistake that is in the topology stays there, whatever is set.
    let read = |path: &Path| Source::new(&path.display().to_string(), &GRID.replace("2ms", "2"));
    let text = "topology: grid.yaml\nset: { samp.delta: 1s }\ntimeline: [{ wait: 1s }]\n";
    let errors = Campaign::parse(&Source::new("lab/test.yaml", text).unwrap(), &read).err().unwrap();
    assert_eq!((errors[0].path.as_str(), errors[0].line, errors[0].column), ("lab/grid.yaml", 5, 26));
}

#[test]
fn many_cells_of_a_large_topology_are_refused() {
    let levels = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let head =
        format!("set: {{ grid.width: 300, grid.height: 130 }}\nfactors: {{ samp.source_rate: [{levels}] }}");
    let errors = parse(&head.replace("[0,", "[")).err().unwrap();
    assert!(errors[0].message.starts_with("99 cells of 390"), "{}", errors[0]);
}

#[test]
fn assertions_say_what_is_compared_with_what_and_where() {
    let campaign = good(
        "factors: { hr: { on: {}, off: {} }, samp.delta: [10ms, 20ms] }
assert:
  - handoff.total.p95<50ms
  - call.ser >= 99% for hr = on and samp.delta = 10ms
  - handoff.total.n == 20
  - media.mos.p50 > 4.1",
    );
    let told: Vec<_> = campaign
        .assertions
        .iter()
        .map(|a| (a.metric, a.statistic, a.relation, a.limit, a.levels.len()))
        .collect();
    assert_eq!(
        told,
        [
            (Metric::HandoffTotal, Some(Statistic::P95), Relation::Less, 50.0, 0),
            (Metric::Ser, None, Relation::AtLeast, 99.0, 2),
            (Metric::HandoffTotal, Some(Statistic::N), Relation::Equal, 20.0, 0),
            (Metric::MediaMos, Some(Statistic::P50), Relation::Greater, 4.1, 0),
        ]
    );
    assert_eq!(campaign.assertions[1].levels[1], ("samp.delta".to_owned(), "10ms".to_owned()));
    for (relation, left, equal, right) in [
        (Relation::Less, true, false, false),
        (Relation::AtMost, true, true, false),
        (Relation::Greater, false, false, true),
        (Relation::AtLeast, false, true, true),
        (Relation::Equal, false, true, false),
    ] {
        assert_eq!([0.0, 1.0, 2.0].map(|number| relation.holds(number, 1.0)), [left, equal, right]);
    }
}
