//! The figures: which cells each needs, and what of them it shows.

use super::cell::{Cell, play};
use super::chart::chart;
use super::parameters::{Lifetime, Parameters, Reach};
use super::statistics::{Estimate, per};
use super::world::World;
use crate::choice::choice;
use crate::parallel::for_each;
use serde::Serialize;
use std::fmt::Write;
use std::ops::Range;

choice! {
    /// A figure.
    Name {
        /// The paper's figure 4.
        Four = "4",
        /// The paper's figure 5a.
        FiveA = "5a",
        /// The paper's figure 5b.
        FiveB = "5b",
        /// Hops from server to server.
        Overlay = "overlay",
        /// What a full membership table does instead of the ring.
        Table = "table",
        /// Load per anchor.
        Anchors = "anchors",
        /// How often the caches are wrong.
        Stale = "stale",
        /// Fixed against adaptive lifetimes of cache entries.
        Lifetime = "lifetime",
    }
}

/// Over what a figure is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// The world, as [checked](Parameters::check).
    pub parameters: Parameters,
    /// The values of α, ascending, from 0 to 1; at least one.
    pub alphas: Vec<f64>,
    /// One world for each; at least one.
    pub seeds: Range<u64>,
    /// Threads.
    pub jobs: usize,
}

/// A line of a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// What it shows.
    pub name: &'static str,
    /// Its points, by ascending x.
    pub points: Vec<Estimate>,
}

/// A figure, ready to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as in `figures --figure NAME`.
    pub name: String,
    /// What it is about.
    pub title: &'static str,
    /// The abscissa.
    pub x: &'static str,
    /// The ordinate, with its unit.
    pub y: &'static str,
    /// Whether the ordinate is logarithmic.
    pub is_log: bool,
    /// Whether the abscissa is.
    pub is_log_x: bool,
    /// Its lines.
    pub series: Vec<Series>,
}

/// How the world of a line differs from that of the study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
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
struct Plan {
    title: &'static str,
    y: &'static str,
    is_log: bool,
    lines: Vec<Line>,
}

impl Name {
    fn plan(self) -> Plan {
        use Variant::{Adaptive, AnyNear, Plain};
        const PACKET: &str = "hops of the first packet";
        let plan = |title, y, is_log, lines| Plan { title, y, is_log, lines };
        match self {
            Self::Four => plan(
                "Mobile nodes per mobility agent",
                "standard deviation σ (nodes)",
                true,
                vec![
                    Line("MIPv6", Plain, |cell| cell.sigma.mipv6),
                    Line("HMIPv6", Plain, |cell| cell.sigma.hmipv6),
                    Line("SAMP, home servers", Plain, |cell| cell.sigma.samp_home),
                ],
            ),
            Self::FiveA => plan(
                "Location registration",
                "hops per registration",
                false,
                vec![
                    Line("MIPv6", Plain, |cell| per(cell.registrations.mipv6, cell.registrations.count)),
                    Line("HMIPv6", Plain, |cell| per(cell.registrations.hmipv6, cell.registrations.count)),
                    Line("SAMP without HR", Plain, |cell| {
                        per(cell.registrations.samp, cell.registrations.count)
                    }),
                    Line("SAMP with HR", Plain, |cell| {
                        per(cell.registrations.samp_optimised, cell.registrations.count)
                    }),
                ],
            ),
            Self::FiveB => plan(
                "First packet of a session",
                PACKET,
                false,
                vec![
                    Line("MIPv6", Plain, |cell| per(cell.sessions.mipv6, cell.sessions.count)),
                    Line("HMIPv6", Plain, |cell| per(cell.sessions.hmipv6, cell.sessions.count)),
                    Line("SAMP without TTC", Plain, |cell| per(cell.sessions.samp, cell.sessions.count)),
                    Line("SAMP with TTC", Plain, |cell| {
                        per(cell.sessions.samp_optimised, cell.sessions.count)
                    }),
                ],
            ),
            Self::Overlay => plan(
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
            Self::Table => plan(
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
                    Line("first packet, table", Plain, |cell| {
                        per(cell.sessions.samp_table, cell.sessions.count)
                    }),
                ],
            ),
            Self::Anchors => plan(
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
            Self::Stale => plan(
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
            Self::Lifetime => plan(
                "First packet by the lifetime of cache entries",
                PACKET,
                false,
                vec![
                    Line("no caches", Plain, |cell| per(cell.sessions.samp, cell.sessions.count)),
                    Line("fixed lifetime", Plain, |cell| {
                        per(cell.sessions.samp_optimised, cell.sessions.count)
                    }),
                    Line("adaptive lifetime", Adaptive, |cell| {
                        per(cell.sessions.samp_optimised, cell.sessions.count)
                    }),
                ],
            ),
        }
    }
}

fn tier1_stale(cell: &Cell) -> f64 {
    let outcomes = &cell.outcomes;
    100.0 * per(outcomes.tier1_stale, outcomes.tier1_stale + outcomes.tier1_hits)
}

fn tier2_stale(cell: &Cell) -> f64 {
    let outcomes = &cell.outcomes;
    100.0 * per(outcomes.tier2_stale, outcomes.tier2_stale + outcomes.tier2_hits)
}

/// Makes these figures, and tells meanwhile how many cells are done, and of how many.
pub fn draw(study: &Study, names: &[Name], mut tell: impl FnMut(usize, usize)) -> Vec<Figure> {
    let plans: Vec<_> = names.iter().map(|name| (*name, name.plan())).collect();
    let mut variants: Vec<_> =
        plans.iter().flat_map(|(_, plan)| plan.lines.iter().map(|Line(_, variant, _)| *variant)).collect();
    variants.sort();
    variants.dedup();
    let cells = play_all(study, &variants, &mut tell);
    let figure = |(name, plan): (Name, Plan)| Figure {
        name: name.to_string(),
        title: plan.title,
        x: "hotspot parameter α",
        y: plan.y,
        is_log: plan.is_log,
        is_log_x: false,
        series: plan.lines.iter().map(|line| series(study, &variants, &cells, line)).collect(),
    };
    plans.into_iter().map(figure).collect()
}

/// The cells of all variants, then seeds, then values of α.
fn play_all(study: &Study, variants: &[Variant], tell: &mut dyn FnMut(usize, usize)) -> Vec<Cell> {
    let alphas = study.alphas.len();
    let seeds = study.seeds.clone().count();
    let total = variants.len() * seeds * alphas;
    let worker = || {
        // A worker's numbers ascend, so it builds each world once at most.
        let mut present: Option<(usize, World)> = None;
        move |number: u64| {
            let number = number as usize;
            let (place, alpha) = (number / alphas, study.alphas[number % alphas]);
            if present.as_ref().is_none_or(|(built, _)| *built != place) {
                let parameters = variants[place / seeds].of(&study.parameters);
                let seed = study.seeds.start + (place % seeds) as u64;
                present = Some((place, World::new(&parameters, seed)));
            }
            present.as_ref().map(|(_, world)| play(world, alpha)).unwrap_or_default()
        }
    };
    let mut cells = vec![Cell::default(); total];
    let mut done = 0;
    for_each(0..total as u64, study.jobs, worker, |number, cell| {
        cells[number as usize] = cell;
        done += 1;
        tell(done, total);
    });
    cells
}

fn series(study: &Study, variants: &[Variant], cells: &[Cell], Line(name, variant, value): &Line) -> Series {
    let alphas = study.alphas.len();
    let seeds = study.seeds.clone().count();
    let first = variants.iter().position(|other| other == variant).unwrap_or_default() * seeds * alphas;
    let point = |(index, &alpha): (usize, &f64)| {
        let values: Vec<_> = (0..seeds).map(|seed| value(&cells[first + seed * alphas + index])).collect();
        Estimate::of(alpha, &values)
    };
    Series { name, points: study.alphas.iter().enumerate().map(point).collect() }
}

impl Figure {
    /// The figure as a picture.
    pub fn svg(&self) -> String {
        chart(self)
    }

    /// The figure as comma-separated values, with seeds and parameters in the lines before.
    pub fn csv(&self, study: &Study) -> String {
        let mut text = format!("# figure {}: {}; {} against {}\n", self.name, self.title, self.y, self.x);
        let Range { start, end } = study.seeds;
        text += &format!("# seeds {start} to {}\n", end - 1);
        for parameter in study.parameters.list() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# {}={}", parameter.name, parameter.value);
        }
        text += "series,x,mean,low,high,min,max,n\n";
        for series in &self.series {
            for Estimate { x, mean, low, high, min, max, n } in &series.points {
                let _ = writeln!(
                    text,
                    "\"{}\",{x},{mean:.4},{low:.4},{high:.4},{min:.4},{max:.4},{n}",
                    series.name
                );
            }
        }
        text
    }
}
