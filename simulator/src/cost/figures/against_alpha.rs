//! The figures whose abscissa is α: which cells each needs, and what of them it shows.

use super::super::cell::{Cell, play};
use super::super::parameters::{Lifetime, Parameters, Reach};
use super::super::statistics::{Estimate, per};
use super::super::world::World;
use super::{Figure, Name, Series, Study, Ticker};
use crate::parallel::for_each;

/// How the world of a line differs from that of the study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    Plain,
    /// Cache lifetimes follow the callees' movement.
    Adaptive,
    /// The anchor is any server within the side of a domain; nobody calls.
    AnyNear,
}

impl Variant {
    fn of(self, parameters: &Parameters) -> Parameters {
        let parameters = parameters.clone();
        match self {
            Self::Plain => parameters,
            Self::Adaptive => Parameters { lifetime: Lifetime::Adaptive, ..parameters },
            Self::AnyNear => {
                let anchor_reach = Reach::Hops(parameters.domain.into());
                Parameters { anchor_reach, sessions: 0.0, ..parameters }
            }
        }
    }
}

/// A line against α.
struct Line(&'static str, Variant, fn(&Cell) -> f64);

/// What a figure against α shows.
pub(super) struct Plan {
    title: &'static str,
    y: &'static str,
    is_log: bool,
    lines: Vec<Line>,
}

/// What a figure shows; none for a figure that is not against α.
pub(super) fn plan(name: Name) -> Option<Plan> {
    use Variant::{Adaptive, AnyNear, Plain};
    const PACKET: &str = "hops of the first packet";
    let plan = |title, y, is_log, lines| Plan { title, y, is_log, lines };
    Some(match name {
        Name::Four => plan(
            "Mobile nodes per mobility agent",
            "standard deviation σ (nodes)",
            true,
            vec![
                Line("MIPv6", Plain, |cell| cell.sigma.mipv6),
                Line("HMIPv6", Plain, |cell| cell.sigma.hmipv6),
                Line("SAMP, home servers", Plain, |cell| cell.sigma.samp_home),
            ],
        ),
        Name::FiveA => plan(
            "Location registration",
            "hops per registration",
            false,
            vec![
                Line("MIPv6", Plain, |cell| per(cell.registrations.mipv6, cell.registrations.count)),
                Line("HMIPv6", Plain, |cell| per(cell.registrations.hmipv6, cell.registrations.count)),
                Line("SAMP without HR", Plain, |cell| per(cell.registrations.samp, cell.registrations.count)),
                Line("SAMP with HR", Plain, |cell| {
                    per(cell.registrations.samp_optimised, cell.registrations.count)
                }),
            ],
        ),
        Name::FiveB => plan(
            "First packet of a session",
            PACKET,
            false,
            vec![
                Line("MIPv6", Plain, |cell| per(cell.sessions.mipv6, cell.sessions.count)),
                Line("HMIPv6", Plain, |cell| per(cell.sessions.hmipv6, cell.sessions.count)),
                Line("SAMP without TTC", Plain, |cell| per(cell.sessions.samp, cell.sessions.count)),
                Line("SAMP with TTC", Plain, |cell| per(cell.sessions.samp_optimised, cell.sessions.count)),
            ],
        ),
        Name::Overlay => plan(
            "Hops on the ring, from server to server",
            "overlay hops",
            false,
            vec![
                Line("registration without HR", Plain, |cell| {
                    per(cell.registrations.overlay, cell.registrations.count)
                }),
                Line("registration with HR", Plain, |cell| {
                    per(cell.registrations.overlay_optimised, cell.registrations.count)
                }),
                Line("first packet without TTC", Plain, |cell| {
                    per(cell.sessions.overlay, cell.sessions.count)
                }),
                Line("first packet with TTC", Plain, |cell| {
                    per(cell.sessions.overlay_optimised, cell.sessions.count)
                }),
            ],
        ),
        Name::Table => plan(
            "Every server knows all others, instead of Chord",
            "hops",
            false,
            vec![
                Line("registration, Chord", Plain, |cell| {
                    per(cell.registrations.samp, cell.registrations.count)
                }),
                Line("registration, table", Plain, |cell| {
                    per(cell.registrations.samp_table, cell.registrations.count)
                }),
                Line("first packet, Chord", Plain, |cell| per(cell.sessions.samp, cell.sessions.count)),
                Line("first packet, table", Plain, |cell| per(cell.sessions.samp_table, cell.sessions.count)),
            ],
        ),
        Name::Anchors => plan(
            "Mobile nodes per anchor and per home server",
            "standard deviation σ (nodes)",
            true,
            vec![
                Line("SAMP, home servers", Plain, |cell| cell.sigma.samp_home),
                Line("SAMP, anchors: the domain's", Plain, |cell| cell.sigma.samp_anchor),
                Line("SAMP, anchors: any near", AnyNear, |cell| cell.sigma.samp_anchor),
                Line("HMIPv6, MAPs", Plain, |cell| cell.sigma.hmipv6),
            ],
        ),
        Name::Stale => plan(
            "Wrong entries among those that the caches use",
            "stale share (%)",
            false,
            vec![
                Line("tier 1, fixed lifetime", Plain, tier1_stale),
                Line("tier 1, adaptive lifetime", Adaptive, tier1_stale),
                Line("tier 2, fixed lifetime", Plain, tier2_stale),
                Line("tier 2, adaptive lifetime", Adaptive, tier2_stale),
            ],
        ),
        Name::Lifetime => plan(
            "First packet by the lifetime of cache entries",
            PACKET,
            false,
            vec![
                Line("no caches", Plain, |cell| per(cell.sessions.samp, cell.sessions.count)),
                Line("fixed lifetime", Plain, |cell| per(cell.sessions.samp_optimised, cell.sessions.count)),
                Line("adaptive lifetime", Adaptive, |cell| {
                    per(cell.sessions.samp_optimised, cell.sessions.count)
                }),
            ],
        ),
        _ => return None,
    })
}

fn tier1_stale(cell: &Cell) -> f64 {
    let outcomes = &cell.outcomes;
    100.0 * per(outcomes.tier1_stale, outcomes.tier1_stale + outcomes.tier1_hits)
}

fn tier2_stale(cell: &Cell) -> f64 {
    let outcomes = &cell.outcomes;
    100.0 * per(outcomes.tier2_stale, outcomes.tier2_stale + outcomes.tier2_hits)
}

/// How the worlds of these figures differ, each way once.
pub(super) fn variants(plans: &[Plan]) -> Vec<Variant> {
    let lines = plans.iter().flat_map(|plan| &plan.lines);
    let mut variants: Vec<_> = lines.map(|Line(_, variant, _)| *variant).collect();
    variants.sort();
    variants.dedup();
    variants
}

/// The cells of all variants, then seeds, then values of α.
pub(super) fn play_all(study: &Study, variants: &[Variant], ticker: &mut Ticker<'_>) -> Vec<Cell> {
    let alphas = study.alphas.len();
    let seeds = study.seeds.clone().count();
    let worker = || {
        // A worker's numbers ascend, so it builds each world once at most.
        let mut present: Option<(usize, World)> = None;
        move |number: u64| {
            let number = number as usize;
            let (place, alpha) = (number / alphas, study.alphas[number % alphas]);
            let world = present.take().filter(|(built, _)| *built == place).map(|(_, world)| world);
            let world = world.unwrap_or_else(|| {
                let seed = study.seeds.start + (place % seeds) as u64;
                World::new(&variants[place / seeds].of(&study.parameters), seed)
            });
            let cell = play(&world, alpha);
            present = Some((place, world));
            cell
        }
    };
    let mut cells = vec![Cell::default(); variants.len() * seeds * alphas];
    for_each(0..cells.len() as u64, study.jobs, worker, |number, cell| {
        cells[number as usize] = cell;
        ticker.tick();
    });
    cells
}

impl Plan {
    /// The figure, of the cells of these variants.
    pub(super) fn figure(self, study: &Study, name: Name, variants: &[Variant], cells: &[Cell]) -> Figure {
        let alphas = study.alphas.len();
        let seeds = study.seeds.clone().count();
        let series = |Line(name, variant, value): &Line| {
            let place = variants.iter().position(|other| other == variant).unwrap_or_default();
            let cells = &cells[place * seeds * alphas..][..seeds * alphas];
            let point = |(index, &alpha): (usize, &f64)| {
                let values: Vec<_> = cells.iter().skip(index).step_by(alphas).map(value).collect();
                Estimate::of(alpha, &values)
            };
            Series { name, points: study.alphas.iter().enumerate().map(point).collect() }
        };
        Figure {
            name: name.to_string(),
            title: self.title,
            x: "hotspot parameter α",
            y: self.y,
            is_log: self.is_log,
            is_log_x: false,
            series: self.lines.iter().map(series).collect(),
        }
    }
}
