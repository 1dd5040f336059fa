//! One world at one α: every node moves, registers and sets up sessions, and all systems are charged for the same.

use super::caches::{Caches, Found, Outcomes, Wasted};
use super::drive::{Watch, drive};
use super::overlay::Route;
use super::parameters::{Counted, HomeUpdate, Reach, SigmaOver, SigmaWhen};
use super::world::World;
use crate::city::Position;
use rand::RngExt;
use rand_pcg::Pcg64;
use samp_model::Time;
use samp_model::random::generator;

/// Hops of a kind of message in each system: sums over all registrations or sessions of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hops {
    /// How many there were.
    pub count: u64,
    /// Mobile IPv6.
    pub mipv6: u64,
    /// Hierarchical Mobile IPv6.
    pub hmipv6: u64,
    /// SAMP without the optimisation: hierarchical registration, or caching.
    pub samp: u64,
    /// The same with a full membership table in the place of the ring.
    pub samp_table: u64,
    /// SAMP with the optimisation.
    pub samp_optimised: u64,
    /// Hops from server to server, without the optimisation.
    pub overlay: u64,
    /// Hops from server to server, with the optimisation.
    pub overlay_optimised: u64,
}

/// Deviations of the numbers of mobile nodes per agent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sigma {
    /// Per home agent.
    pub mipv6: f64,
    /// Per MAP.
    pub hmipv6: f64,
    /// Per home server.
    pub samp_home: f64,
    /// Per anchor.
    pub samp_anchor: f64,
}

/// What is measured of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Hops of registrations, one for each step that was made.
    pub registrations: Hops,
    /// Steps that led into another domain.
    pub crossings: u64,
    /// Steps with which the anchor changed.
    pub anchor_changes: u64,
    /// Hops of first packets, one for each session.
    pub sessions: Hops,
    /// What the caches had for them.
    pub outcomes: Outcomes,
    /// How unevenly nodes are spread over agents.
    pub sigma: Sigma,
}

/// Plays a world at one α.
pub fn play(world: &World, alpha: f64) -> Cell {
    let mut state = State::new(world);
    drive(world, alpha, &mut state);
    let parameters = &world.parameters;
    let servers = world.placement.servers.len();
    let slots = if parameters.sigma_over == SigmaOver::Slots { servers } else { 1 };
    state.cell.sigma = Sigma {
        mipv6: deviation(&[parameters.nodes], slots),
        samp_home: deviation(&world.overlay.loads(), servers),
        ..state.cell.sigma
    };
    Cell { outcomes: state.caches.outcomes, ..state.cell }
}

/// The population deviation of these loads, and of none at the slots that are left.
pub(super) fn deviation(loads: &[u32], slots: usize) -> f64 {
    let (sum, squares) = loads.iter().fold((0_u64, 0_u64), |(sum, squares), &load| {
        let load = u64::from(load);
        (sum + load, squares + load * load)
    });
    let slots = slots as u64;
    // Exact until the root: n·Σx² − (Σx)².
    ((slots * squares - sum * sum) as f64).sqrt() / slots as f64
}

/// Where everybody is, and what has been counted.
pub(super) struct State<'a> {
    world: &'a World,
    pub(super) anchors: Vec<u16>,
    on_map: Vec<u32>,
    on_anchor: Vec<u32>,
    caches: Caches,
    choices: Pcg64,
    pub(super) cell: Cell,
}

impl<'a> State<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        let servers = world.placement.servers.len();
        let mut state = Self {
            world,
            anchors: Vec::with_capacity(world.placement.nodes.len()),
            on_map: vec![0; servers],
            on_anchor: vec![0; servers],
            caches: Caches::new(&world.parameters, servers),
            choices: generator(world.seed, "anchors"),
            cell: Cell::default(),
        };
        for &place in &world.placement.nodes {
            let anchor = state.choose_anchor(place, None);
            state.anchors.push(anchor);
            state.on_map[world.grid.domain_of(place)] += 1;
            state.on_anchor[usize::from(anchor)] += 1;
        }
        state
    }

    fn server(&self, number: u16) -> Position {
        self.world.place_of(number)
    }

    /// The anchor of a node at this place, which has been `present` until now.
    fn choose_anchor(&mut self, place: Position, present: Option<u16>) -> u16 {
        let World { grid, placement, .. } = self.world;
        let Reach::Hops(reach) = self.world.parameters.anchor_reach else {
            return grid.domain_of(place) as u16;
        };
        let distance = |server: u16| grid.distance(place, placement.servers[usize::from(server)]);
        if let Some(present) = present.filter(|&present| distance(present) <= reach) {
            return present;
        }
        let all = 0..placement.servers.len() as u16;
        let near: Vec<u16> = all.clone().filter(|&server| distance(server) <= reach).collect();
        match near[..] {
            [] => all.min_by_key(|&server| distance(server)).expect("there is a server"),
            _ => near[self.choices.random_range(0..near.len())],
        }
    }

    /// What a lookup costs a server that knows all others.
    fn table(&self, from: u16, home: u16) -> Route {
        let is_counted = from != home && self.world.parameters.owner_hop == Counted::Yes;
        match is_counted {
            true => {
                let distance = self.world.grid.distance(self.server(from), self.server(home));
                Route { overlay_hops: 1, distance }
            }
            false => Route::default(),
        }
    }

    /// Gives a node an anchor. Says whether it is another one.
    pub(super) fn change_anchor(&mut self, node: usize, anchor: u16) -> bool {
        let old = std::mem::replace(&mut self.anchors[node], anchor);
        if old != anchor {
            self.on_anchor[usize::from(old)] -= 1;
            self.on_anchor[usize::from(anchor)] += 1;
            self.cell.anchor_changes += 1;
        }
        old != anchor
    }

    /// A node that moves has this anchor then.
    pub(super) fn register(&mut self, node: usize, from: Position, to: Position, anchor: u16) {
        let World { grid, placement, overlay, parameters, .. } = self.world;
        let [old_map, map] = [from, to].map(|place| grid.domain_of(place) as u16);
        let (changes_map, changes_anchor) = (old_map != map, self.change_anchor(node, anchor));
        if changes_map {
            self.on_map[usize::from(old_map)] -= 1;
            self.on_map[usize::from(map)] += 1;
            self.cell.crossings += 1;
        }

        // How often the way to MAP or anchor counts when home has to know, too.
        let twice = if parameters.home_update == HomeUpdate::Separate { 2 } else { 1 };
        let to_map = grid.distance(to, self.server(map));
        let to_anchor = grid.distance(to, self.server(anchor));
        let hmipv6 = match changes_map {
            true => twice * to_map + grid.distance(self.server(map), placement.home_agent),
            false => to_map,
        };
        let route = overlay.route(anchor, node);
        let table = self.table(anchor, overlay.home(node));
        let hops = &mut self.cell.registrations;
        hops.count += 1;
        hops.mipv6 += u64::from(grid.distance(to, placement.home_agent));
        hops.hmipv6 += u64::from(hmipv6);
        hops.samp += u64::from(twice * to_anchor + route.distance);
        hops.samp_table += u64::from(twice * to_anchor + table.distance);
        hops.overlay += u64::from(route.overlay_hops);
        if changes_anchor {
            hops.samp_optimised += u64::from(twice * to_anchor + route.distance);
            hops.overlay_optimised += u64::from(route.overlay_hops);
        } else {
            hops.samp_optimised += u64::from(to_anchor);
        }
    }
}

impl Watch for State<'_> {
    /// Every system registers the node.
    fn step(&mut self, node: usize, from: Position, to: Position) {
        let anchor = self.choose_anchor(to, Some(self.anchors[node]));
        self.register(node, from, to, anchor);
    }

    /// Every system carries the first packet.
    fn call(&mut self, now: Time, caller: usize, callee: usize, [from, to]: [Position; 2]) {
        let World { grid, placement, overlay, parameters, .. } = self.world;
        let [own, anchor] = [self.anchors[caller], self.anchors[callee]];
        let [own_place, anchor_place] = [self.server(own), self.server(anchor)];
        let home = overlay.home(callee);
        let home_agent = grid.distance(from, placement.home_agent);
        let map = placement.servers[grid.domain_of(to)];
        let to_own = grid.distance(from, own_place);
        let down = grid.distance(anchor_place, to);
        let from_home = grid.distance(self.server(home), anchor_place) + down;
        let route = overlay.route(own, callee);

        let mut wasted = 0;
        let found = self.caches.look_up(now, (caller as u32, own), (callee as u32, to, anchor), |leg| {
            wasted += match leg {
                Wasted::CareOfAddress(place) => grid.distance(from, place),
                Wasted::Anchor(server) => grid.distance(own_place, placement.servers[usize::from(server)]),
            }
        });
        if parameters.stale_legs == Counted::No {
            wasted = 0;
        }
        let table = self.table(own, home);
        let hops = &mut self.cell.sessions;
        let optimised = match found {
            Found::Callee => grid.distance(from, to),
            Found::Anchor => to_own + grid.distance(own_place, anchor_place) + down,
            Found::Nothing => {
                hops.overlay_optimised += u64::from(route.overlay_hops);
                to_own + route.distance + from_home
            }
        };
        hops.count += 1;
        hops.mipv6 += u64::from(home_agent + grid.distance(placement.home_agent, to));
        let by_map = grid.distance(placement.home_agent, map) + grid.distance(map, to);
        hops.hmipv6 += u64::from(home_agent + by_map);
        hops.samp += u64::from(to_own + route.distance + from_home);
        hops.samp_table += u64::from(to_own + table.distance + from_home);
        hops.samp_optimised += u64::from(wasted + optimised);
        hops.overlay += u64::from(route.overlay_hops);
    }

    fn end_round(&mut self, is_last: bool) {
        let parameters = &self.world.parameters;
        let share = match parameters.sigma_when {
            SigmaWhen::End if is_last => 1.0,
            SigmaWhen::End => return,
            SigmaWhen::Mean => 1.0 / f64::from(parameters.moves),
        };
        let [on_map, on_anchor] =
            [&self.on_map, &self.on_anchor].map(|loads| share * deviation(loads, loads.len()));
        self.cell.sigma.hmipv6 += on_map;
        self.cell.sigma.samp_anchor += on_anchor;
    }
}
