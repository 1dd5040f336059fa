//! Worlds held against what can be worked out by hand.

use super::cell::deviation;
use super::statistics::per;
use super::*;
use crate::city::{Borders, Placement, Spot};

fn small() -> Parameters {
    Parameters { size: 30, domain: 5, nodes: 300, moves: 40, ..Parameters::default() }
}

fn study(jobs: usize) -> Study {
    let parameters = Parameters { sessions: 0.5, ..small() };
    Study { parameters, alphas: vec![0.0, 0.5, 1.0], seeds: 3..6, jobs }
}

/// Asserts that the mean of what seeds have given is the expected one, within 4 standard errors of it.
#[track_caller]
fn agrees(values: &[f64], expected: f64) {
    let Estimate { mean, .. } = Estimate::of(0.0, values);
    let n = values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let error = (variance / n).sqrt();
    assert!((mean - expected).abs() <= 4.0 * error, "{mean} ± {error} instead of {expected}");
}

/// Without borders that choose, every place stays as likely as every other, and every link is passed equally often: of
/// the 29 links of a row, 5 lead into another domain.
#[test]
fn a_random_walk_changes_domains_as_often_as_links_do() {
    let parameters = Parameters { borders: Borders::Stay, sessions: 0.0, ..small() };
    let cells: Vec<_> = (0..60).map(|seed| play(&World::new(&parameters, seed), 0.0)).collect();
    let rates: Vec<_> = cells.iter().map(|cell| per(cell.crossings, cell.registrations.count)).collect();
    agrees(&rates, 5.0 / 29.0);
    // A step is not made when it leads out: at 4 · 30 of 900 places one of four does.
    let made: Vec<_> = cells.iter().map(|cell| cell.registrations.count as f64 / (300.0 * 40.0)).collect();
    agrees(&made, 1.0 - 4.0 * 30.0 / 900.0 / 4.0);
}

/// Of a uniform place, x and y have the mean (n − 1) / 2, and two of them differ by (n² − 1) / 3n on average.
#[test]
fn mean_distances_without_a_hotspot() {
    let corner = Parameters {
        domain: 50,
        nodes: 100,
        borders: Borders::Stay,
        home_agent: Spot::Corner,
        ..Parameters::default()
    };
    let cells: Vec<_> = (0..80).map(|seed| play(&World::new(&corner, seed), 0.0)).collect();
    let of = |pick: fn(&Cell) -> f64| cells.iter().map(pick).collect::<Vec<_>>();
    agrees(&of(|cell| per(cell.registrations.mipv6, cell.registrations.count)), 149.0);
    agrees(&of(|cell| per(cell.sessions.mipv6, cell.sessions.count)), 2.0 * 149.0);
    let grid = corner.grid();
    let distances: Vec<_> = (0..80)
        .map(|seed| {
            let placement = Placement::draw(&grid, corner.spots(), 100, seed);
            let pairs = placement.nodes.chunks_exact(2);
            pairs.map(|pair| f64::from(grid.distance(pair[0], pair[1]))).sum::<f64>() / 50.0
        })
        .collect();
    agrees(&distances, 2.0 * (150.0 * 150.0 - 1.0) / (3.0 * 150.0));
}

#[test]
fn sigma_in_closed_form() {
    // One slot of n takes all: N / n · √(n − 1).
    for (nodes, slots) in [(10_000, 100), (300, 36), (7, 1)] {
        let closed = f64::from(nodes) / slots as f64 * (slots as f64 - 1.0).sqrt();
        assert!((deviation(&[nodes], slots) - closed).abs() < 1e-9);
    }
    assert_eq!(deviation(&[5; 8], 8), 0.0);
    assert_eq!(deviation(&[1, 3], 2), 1.0);
    for alpha in [0.0, 1.0] {
        let cell = play(&World::new(&small(), 1), alpha);
        assert!((cell.sigma.mipv6 - 300.0 / 36.0 * 35.0_f64.sqrt()).abs() < 1e-9);
    }
    let agents = Parameters { sigma_over: SigmaOver::Agents, ..small() };
    assert_eq!(play(&World::new(&agents, 1), 0.0).sigma.mipv6, 0.0);
}

/// Without a hotspot the number of nodes in a domain is binomial: σ² = N p (1 − p).
#[test]
fn domains_fill_binomially_without_a_hotspot() {
    let parameters = Parameters { borders: Borders::Torus, sessions: 0.0, ..small() };
    let variances = |when| {
        let parameters = Parameters { sigma_when: when, ..parameters.clone() };
        let sigma = |seed| play(&World::new(&parameters, seed), 0.0).sigma;
        (0..40).map(|seed| sigma(seed).hmipv6.powi(2)).collect::<Vec<_>>()
    };
    agrees(&variances(SigmaWhen::End), 300.0 / 36.0 * 35.0 / 36.0);
    // A mean of deviations is a little less than the root of a mean of variances, and varies less.
    let mean = Estimate::of(0.0, &variances(SigmaWhen::Mean)).mean;
    assert!((7.0..8.2).contains(&mean), "{mean}");
}

/// Where one server has everything, in the middle, with the home agent beside it, all systems are one.
#[test]
fn with_one_domain_all_systems_cost_the_same() {
    let parameters = Parameters {
        size: 9,
        domain: 9,
        nodes: 50,
        home_agent: Spot::Centre,
        tier1_lifetime: 0,
        tier2_lifetime: 0,
        home_update: HomeUpdate::Carried,
        sessions: 1.0,
        ..Parameters::default()
    };
    let cell = play(&World::new(&parameters, 1), 0.3);
    for Hops { mipv6, hmipv6, samp, samp_table, samp_optimised, .. } in [cell.registrations, cell.sessions] {
        assert!(mipv6 > 0);
        assert_eq!([hmipv6, samp, samp_table, samp_optimised], [mipv6; 4]);
    }
    assert_eq!((cell.crossings, cell.anchor_changes), (0, 0));
    // Two messages without hierarchical registration.
    let separate = Parameters { home_update: HomeUpdate::Separate, ..parameters };
    let twice = play(&World::new(&separate, 1), 0.3).registrations;
    assert_eq!((twice.samp, twice.samp_optimised), (2 * twice.mipv6, twice.mipv6));
}

#[test]
fn at_the_hotspot_everybody_stays_and_caches_are_right() {
    let parameters = Parameters { moves: 200, sessions: 1.0, tier1_lifetime: 1_000_000, ..small() };
    let [cell, drifting] = [1.0, 0.0].map(|alpha| play(&World::new(&parameters, 1), alpha));
    // Nobody is farther away than 58 hops, and each makes just those that it is.
    assert!(cell.registrations.count <= 58 * 300);
    assert!((cell.sigma.hmipv6 - cell.sigma.mipv6).abs() < 1e-9, "all in one domain");
    let outcomes = cell.outcomes;
    assert!(outcomes.tier1_hits > 5 * outcomes.tier1_stale, "{outcomes:?}");
    assert!(drifting.outcomes.tier1_stale > drifting.outcomes.tier1_hits);
    let total = outcomes.tier1_hits + outcomes.tier2_hits + outcomes.tier2_stale + outcomes.misses;
    assert_eq!(total, cell.sessions.count);
}

#[test]
fn an_anchor_is_kept_while_it_is_near() {
    let near = Parameters { anchor_reach: Reach::Hops(12), ..small() };
    let [domain, near] = [small(), near].map(|parameters| play(&World::new(&parameters, 2), 0.0));
    assert_eq!(domain.anchor_changes, domain.crossings);
    assert_eq!(near.crossings, domain.crossings);
    assert!(near.anchor_changes < domain.anchor_changes);
    // Nobody near: the nearest, which is the domain's.
    let none = Parameters { anchor_reach: Reach::Hops(0), ..small() };
    let none = play(&World::new(&none, 2), 0.0);
    assert_eq!(none.sigma.samp_anchor, none.sigma.hmipv6);
}

#[test]
fn figures_do_not_depend_on_the_number_of_threads() {
    let made = |jobs| {
        let study = study(jobs);
        let mut last = (0, 0);
        let names = [Name::Four, Name::FiveA, Name::FiveB, Name::Stale, Name::Anchors, Name::Sessions];
        let figures = figures::draw(&study, &names, &mut |done, total| last = (done, total));
        assert_eq!(last.0, last.1, "all is told");
        figures.iter().flat_map(|figure| [figure.svg(), figure.csv(&study)]).collect::<Vec<_>>()
    };
    let alone = made(1);
    assert_eq!(alone, made(2));
    assert_eq!(alone, made(7));
}

#[test]
fn figures_are_well_formed_and_complete() {
    let study = study(2);
    let figures = figures::draw(&study, Name::ALL, &mut |_, _| {});
    assert_eq!(figures.len(), Name::ALL.len());
    for (figure, name) in figures.iter().zip(Name::ALL) {
        assert_eq!(figure.name, name.to_string());
        let svg = figure.svg();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let texts: Vec<_> = document.descendants().filter_map(|node| node.text()).collect();
        assert!(texts.contains(&figure.title) && texts.contains(&figure.x) && texts.contains(&figure.y));
        let csv = figure.csv(&study);
        let rows: Vec<_> = csv.lines().filter(|line| !line.starts_with('#')).skip(1).collect();
        for series in &figure.series {
            assert!(texts.contains(&series.name), "{name}: the legend has no {}", series.name);
            assert!(!series.points.is_empty() && series.points.is_sorted_by(|one, next| one.x < next.x));
            for point in &series.points {
                assert!(point.min <= point.mean && point.mean <= point.max && point.low.is_finite());
                assert_eq!(point.n, 3);
                let row = format!("\"{}\",{},{:.4},", series.name, point.x, point.mean);
                assert_eq!(rows.iter().filter(|line| line.starts_with(&row)).count(), 1, "{name}: {row}");
            }
        }
        assert_eq!(rows.len(), figure.series.iter().map(|series| series.points.len()).sum::<usize>());
        for parameter in study.parameters.list() {
            assert!(csv.contains(&format!("# {}={}\n", parameter.name, parameter.value)));
        }
    }
}
