//! The paper's table 1 with numbers: every system's costs on the same world.

mod formulas;

use super::cell::deviation;
use super::drive::{Watch, drive};
use super::figures::Study;
use super::parameters::SigmaOver;
use super::statistics::{Estimate, per};
use super::world::World;
use crate::city::Position;
use crate::parallel::for_each;
use formulas::{Call, Home, Move, SYSTEMS};
use samp_model::Time;
use serde::Serialize;
use std::fmt::Write;

/// A system's costs, all of them means over the seeds; the estimates' `x` is α.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub system: &'static str,
    /// What the paper's table says of it: scalability, localised mobility management, signalling and data separated.
    pub paper: Option<[bool; 3]>,
    /// Hops of the messages of a registration.
    pub registration: Estimate,
    /// Hops of the first packet of a session.
    pub first_packet: Estimate,
    /// Hops of every further one.
    pub every_packet: Estimate,
    /// σ of nodes per element that holds locations, after the last move, if there is any.
    pub sigma_home: Option<Estimate>,
    /// σ of nodes per server that serves those near it, if it does.
    pub sigma_local: Option<Estimate>,
    /// Nodes that are without service when the worst one of all elements fails.
    pub without_service: Estimate,
}

/// The table at the middle one of the study's values of α.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table1 {
    /// α.
    pub alpha: f64,
    /// A row for each system.
    pub rows: Vec<Row>,
}

/// What one seed gives for one system.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    registration: f64,
    first_packet: f64,
    every_packet: f64,
    sigma_home: f64,
    sigma_local: f64,
    without_service: f64,
}

impl Table1 {
    /// Works the table out, and tells meanwhile how many worlds are done, and of how many.
    pub fn of(study: &Study, tell: &mut dyn FnMut(usize, usize)) -> Self {
        let alpha = study.middle();
        let seeds = study.seeds.clone().count();
        let mut costs = vec![[Costs::default(); SYSTEMS.len()]; seeds];
        let mut done = 0;
        let worker = || |seed| play(&World::new(&study.parameters, seed), alpha);
        for_each(study.seeds.clone(), study.jobs, worker, |seed, found| {
            costs[(seed - study.seeds.start) as usize] = found;
            done += 1;
            tell(done, seeds);
        });
        let row = |index: usize| {
            let system = &SYSTEMS[index];
            let estimate = |pick: fn(&Costs) -> f64| {
                Estimate::of(alpha, &costs.iter().map(|costs| pick(&costs[index])).collect::<Vec<_>>())
            };
            Row {
                system: system.name,
                paper: system.paper,
                registration: estimate(|costs| costs.registration),
                first_packet: estimate(|costs| costs.first_packet),
                every_packet: estimate(|costs| costs.every_packet),
                sigma_home: (system.home != Home::Nowhere).then(|| estimate(|costs| costs.sigma_home)),
                sigma_local: system.has_local.then(|| estimate(|costs| costs.sigma_local)),
                without_service: estimate(|costs| costs.without_service),
            }
        };
        Self { alpha, rows: (0..SYSTEMS.len()).map(row).collect() }
    }

    /// The table as comma-separated values, with seeds and parameters in the lines before.
    pub fn csv(&self, study: &Study) -> String {
        let mut text = format!("# table 1 at alpha={}\n{}", self.alpha, study.provenance());
        text += "system,cost,mean,low,high,min,max,n\n";
        for row in &self.rows {
            let costs = [
                ("registration", Some(row.registration)),
                ("first packet", Some(row.first_packet)),
                ("every packet", Some(row.every_packet)),
                ("sigma home", row.sigma_home),
                ("sigma local", row.sigma_local),
                ("without service", Some(row.without_service)),
            ];
            for (cost, estimate) in costs {
                if let Some(Estimate { mean, low, high, min, max, n, .. }) = estimate {
                    // Writing to a String cannot fail.
                    let _ = writeln!(
                        text,
                        "{},{cost},{mean:.4},{low:.4},{high:.4},{min:.4},{max:.4},{n}",
                        row.system
                    );
                }
            }
        }
        text
    }
}

/// All systems' costs in one world.
fn play(world: &World, alpha: f64) -> [Costs; SYSTEMS.len()] {
    let mut sums = Sums {
        world,
        places: world.placement.nodes.clone(),
        moves: 0,
        calls: 0,
        hops: [[0; 3]; SYSTEMS.len()],
    };
    drive(world, alpha, &mut sums);
    let domains: Vec<_> = sums.places.iter().map(|&place| world.grid.domain_of(place)).collect();
    let homes: Vec<_> = (0..domains.len()).map(|node| usize::from(world.overlay.home(node))).collect();
    let servers = world.placement.servers.len();
    let count = |served: &[usize]| {
        let mut loads = vec![0; servers];
        served.iter().for_each(|&server| loads[server] += 1);
        loads
    };
    let [on_home, on_domain] = [count(&homes), count(&domains)];
    let nodes = world.parameters.nodes;
    std::array::from_fn(|index| {
        let system = &SYSTEMS[index];
        let [registration, first_packet, every_packet] = sums.hops[index];
        let slots = if world.parameters.sigma_over == SigmaOver::Slots { servers } else { 1 };
        let lost_with = |server: usize| {
            let by_key = system.home == Home::ByKey;
            let is_lost = |(home, domain): (&usize, &usize)| {
                by_key && *home == server || system.has_local && *domain == server
            };
            homes.iter().zip(&domains).filter(|&pair| is_lost(pair)).count()
        };
        let without_service = match system.home == Home::One || system.has_single_point {
            true => nodes as usize,
            false => (0..servers).map(lost_with).max().unwrap_or(0),
        };
        Costs {
            registration: per(registration, sums.moves),
            first_packet: per(first_packet, sums.calls),
            every_packet: per(every_packet, sums.calls),
            sigma_home: match system.home {
                Home::One => deviation(&[nodes], slots),
                Home::ByKey => deviation(&on_home, servers),
                Home::Nowhere => 0.0,
            },
            sigma_local: deviation(&on_domain, servers),
            without_service: without_service as f64,
        }
    })
}

/// Hops of registrations, first packets and all others, by system.
struct Sums<'a> {
    world: &'a World,
    places: Vec<Position>,
    moves: u64,
    calls: u64,
    hops: [[u64; 3]; SYSTEMS.len()],
}

impl Watch for Sums<'_> {
    fn step(&mut self, node: usize, from: Position, to: Position) {
        self.places[node] = to;
        self.moves += 1;
        let peer = self.places[self.world.contacts(node)[0] as usize];
        let step = Move { world: self.world, node, from, to, peer };
        for (hops, system) in self.hops.iter_mut().zip(&SYSTEMS) {
            hops[0] += u64::from((system.registration)(&step));
        }
    }

    fn call(&mut self, _: Time, _: usize, callee: usize, [from, to]: [Position; 2]) {
        self.calls += 1;
        let call = Call { world: self.world, callee, from, to };
        for (hops, system) in self.hops.iter_mut().zip(&SYSTEMS) {
            hops[1] += u64::from((system.first_packet)(&call));
            hops[2] += u64::from((system.every_packet)(&call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Parameters, cell};
    use super::*;
    use crate::city::Spot;

    /// Four domains of 2 × 2 with their servers at (0, 0), (2, 0), (0, 2) and (2, 2), and the home agent at (0, 0). On a
    /// ring of four everybody knows everybody, so C is the distance to the owner.
    fn world() -> World {
        let parameters = Parameters {
            size: 4,
            domain: 2,
            nodes: 50,
            servers: Spot::Corner,
            home_agent: Spot::Corner,
            ..Parameters::default()
        };
        World::new(&parameters, 1)
    }

    /// (system, a registration in another domain and one in the same, a first packet, every further one)
    const BY_HAND: [(&str, [u32; 4]); 9] = [
        ("MIPv4 with FAs", [3, 4, 8, 8]),
        ("MIPv6", [3, 4, 8, 4]),
        ("HMIPv6", [4, 2, 8, 6]),
        ("SAMP", [4, 2, 8, 4]),
        ("ROAM", [3, 2, 6, 6]),
        ("EMIPv6", [7, 9, 10, 4]),
        ("Wrap", [3, 2, 8, 8]),
        ("DHARMA", [3, 2, 6, 6]),
        ("DNSP2P", [3, 2, 16, 6]),
    ];

    #[test]
    fn every_formula_by_hand() {
        let world = world();
        let at = |x, y| Position { x, y };
        // Somebody whose home server is that at (2, 2).
        let node = (0..50).find(|&node| world.overlay.home(node) == 3).unwrap();
        let peer = at(0, 3);
        let steps = [(at(1, 0), at(2, 1)), (at(2, 1), at(3, 1))].map(|(from, to)| Move {
            world: &world,
            node,
            from,
            to,
            peer,
        });
        let call = Call { world: &world, callee: node, from: at(1, 3), to: at(3, 1) };
        for (system, (name, expected)) in SYSTEMS.iter().zip(BY_HAND) {
            let [there, here] = steps.each_ref().map(|step| (system.registration)(step));
            let found = [there, here, (system.first_packet)(&call), (system.every_packet)(&call)];
            assert_eq!((system.name, found), (name, expected));
        }
    }

    #[test]
    fn a_pointer_is_met_where_two_ways_to_the_root_cross() {
        let world = World::new(&Parameters { nodes: 200, ..Parameters::default() }, 1);
        let mut shorter = 0;
        for node in 0..200 {
            let (from, to) = ((node % 100) as u16, (node * 7 % 100) as u16);
            let (distance, met) = world.until_met(from, to, node);
            let holders: Vec<_> =
                std::iter::once(to).chain(world.overlay.way(to, node).iter().copied()).collect();
            assert!(holders.contains(&met));
            let whole = world.overlay.route(from, node).distance;
            assert!(distance <= whole);
            shorter += usize::from(distance < whole);
            assert_eq!(world.until_met(from, from, node), (0, from));
        }
        assert!(shorter > 20, "{shorter}");
    }

    #[test]
    fn the_table_agrees_with_the_figures_and_with_itself() {
        let parameters =
            Parameters { size: 30, domain: 5, nodes: 300, moves: 40, sessions: 0.5, ..Parameters::default() };
        let study = Study { parameters, alphas: vec![0.3], seeds: 5..8, jobs: 2 };
        let table = Table1::of(&study, &mut |_, _| {});
        assert_eq!(table, Table1::of(&Study { jobs: 1, ..study.clone() }, &mut |_, _| {}));
        assert_eq!((table.alpha, table.rows.len()), (0.3, SYSTEMS.len()));
        let row = |name: &str| table.rows.iter().find(|row| row.system == name).unwrap();
        let cells: Vec<_> =
            (5..8).map(|seed| cell::play(&World::new(&study.parameters, seed), 0.3)).collect();
        let mean =
            |pick: fn(&cell::Cell) -> f64| Estimate::of(0.3, &cells.iter().map(pick).collect::<Vec<_>>());
        let registrations = [
            ("MIPv6", mean(|cell| per(cell.registrations.mipv6, cell.registrations.count))),
            ("HMIPv6", mean(|cell| per(cell.registrations.hmipv6, cell.registrations.count))),
            ("SAMP", mean(|cell| per(cell.registrations.samp_optimised, cell.registrations.count))),
        ];
        for (name, expected) in registrations {
            assert_eq!(row(name).registration, expected);
        }
        let packets = [
            ("MIPv6", mean(|cell| per(cell.sessions.mipv6, cell.sessions.count))),
            ("HMIPv6", mean(|cell| per(cell.sessions.hmipv6, cell.sessions.count))),
            ("SAMP", mean(|cell| per(cell.sessions.samp, cell.sessions.count))),
        ];
        for (name, expected) in packets {
            assert_eq!(row(name).first_packet, expected);
        }
        assert_eq!(row("SAMP").sigma_home, Some(mean(|cell| cell.sigma.samp_home)));
        assert_eq!(row("HMIPv6").sigma_local, Some(mean(|cell| cell.sigma.hmipv6)));
        for (name, all) in [("MIPv4 with FAs", true), ("HMIPv6", true), ("DNSP2P", true), ("SAMP", false)] {
            assert_eq!(row(name).without_service.mean == 300.0, all, "{name}");
        }
        assert!(row("SAMP").without_service.mean >= row("EMIPv6").without_service.mean);
        let csv = table.csv(&study);
        assert!(csv.contains("# seeds 5 to 7\n") && csv.contains("\nDHARMA,registration,"), "{csv}");
        assert!(!csv.contains("DHARMA,sigma home"));
    }
}
