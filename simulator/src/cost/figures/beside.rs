//! The figures whose abscissa is not α.

use super::super::cell::{deviation, play};
use super::super::overlay::{addresses, key_of};
use super::super::parameters::Parameters;
use super::super::statistics::{Estimate, per};
use super::super::world::World;
use super::{Figure, Name, Series, Study, Ticker};
use crate::parallel::for_each;
use rand::RngExt;
use samp_model::random::generator;
use samp_protocol::overlay::IdealRing;

/// Sessions per move.
const RATES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];
/// How many of the nodes take part there: caches of many do what caches of some do.
const PART: u32 = 4;
/// Virtual nodes of a server.
const VIRTUAL_NODES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Servers of rings that are built.
const SERVERS: [f64; 5] = [4.0, 16.0, 64.0, 256.0, 1024.0];
/// Servers of rings that are too large to be built; each is four times as large as the one before.
const LARGER: [f64; 5] = [4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
/// Lookups on each.
const LOOKUPS: usize = 2000;
/// How long a server stays, in seconds.
const STAYS: [(&str, f64); 3] = [
    ("full table, for 1 hour", 3600.0),
    ("full table, for 1 day", 86_400.0),
    ("full table, for 30 days", 30.0 * 86_400.0),
];

/// At how many places of its abscissa a figure is worked out; 0 for a figure against α.
pub(super) fn places(name: Name) -> usize {
    match name {
        Name::Sessions => RATES.len(),
        Name::VirtualNodes => VIRTUAL_NODES.len(),
        Name::Membership => SERVERS.len(),
        _ => 0,
    }
}

/// The figure, unless it is against α.
pub(super) fn draw(study: &Study, name: Name, ticker: &mut Ticker<'_>) -> Option<Figure> {
    match name {
        Name::Sessions => Some(sessions(study, ticker)),
        Name::VirtualNodes => Some(virtual_nodes(study, ticker)),
        Name::Membership => Some(membership(study, ticker)),
        _ => None,
    }
}

/// The first packet by how often somebody calls, at the middle one of the values of α.
fn sessions(study: &Study, ticker: &mut Ticker<'_>) -> Figure {
    let alpha = study.middle();
    let nodes = (study.parameters.nodes / PART).max(2);
    let [hmipv6, samp, cached] = over_seeds(study, &RATES, ticker, |sessions, seed| {
        let parameters = Parameters { nodes, sessions, ..study.parameters.clone() };
        let hops = play(&World::new(&parameters, seed), alpha).sessions;
        [hops.hmipv6, hops.samp, hops.samp_optimised].map(|sum| per(sum, hops.count))
    });
    Figure {
        name: Name::Sessions.to_string(),
        title: "First packet by how often nodes call",
        x: "sessions of a node per move",
        y: "hops of the first packet",
        is_log: false,
        is_log_x: true,
        series: vec![
            Series { name: "HMIPv6", points: hmipv6 },
            Series { name: "SAMP without TTC", points: samp },
            Series { name: "SAMP with TTC", points: cached },
        ],
    }
}

/// σ of nodes per home server by the number of virtual nodes.
fn virtual_nodes(study: &Study, ticker: &mut Ticker<'_>) -> Figure {
    let servers = study.parameters.grid().domains();
    let nodes = study.parameters.nodes;
    let [homes] = over_seeds(study, &VIRTUAL_NODES, ticker, |virtual_nodes, seed| {
        let parameters = Parameters { virtual_nodes: virtual_nodes as usize, ..study.parameters.clone() };
        let ring = IdealRing::new(&addresses(servers, seed), &parameters.chord());
        let mut load = vec![0; servers];
        (0..nodes as usize).for_each(|node| load[ring.server_of(ring.owner(key_of(node)))] += 1);
        [deviation(&load, servers)]
    });
    let share = 1.0 / servers as f64;
    let even = (f64::from(nodes) * share * (1.0 - share)).sqrt();
    let seeds = study.seeds.clone().count();
    Figure {
        name: Name::VirtualNodes.to_string(),
        title: "Mobile nodes per home server",
        x: "virtual nodes of a server",
        y: "standard deviation σ (nodes)",
        is_log: true,
        is_log_x: true,
        series: vec![
            Series { name: "SAMP, home servers", points: homes },
            Series { name: "each node anywhere", points: constant(&VIRTUAL_NODES, even, seeds) },
        ],
    }
}

/// Messages of a server by the number of servers, on a ring and with a full membership table.
///
/// On the ring a server passes lookups on, asks every peer in its tables for a sign of life in every period, and looks
/// one finger up. With a table each lookup is one message, the L next servers are asked for a sign of life, and every
/// server hears of every server that comes or goes. What joining costs on the ring is left out, to its advantage.
fn membership(study: &Study, ticker: &mut Ticker<'_>) -> Figure {
    let parameters = &study.parameters;
    let settings = parameters.chord();
    let [hops, peers] = over_seeds(study, &SERVERS, ticker, |count, seed| {
        let count = count as usize;
        let ring = IdealRing::new(&addresses(count, seed), &settings);
        let mut random = generator(seed, "lookups");
        let way = |node| ring.way(random.random_range(0..count), ring.owner(key_of(node))).len();
        let hops = (0..LOOKUPS).map(way).sum::<usize>();
        let peers = (0..count).map(|server| ring.peers_of(server)).sum::<usize>();
        [per(hops as u64, LOOKUPS as u64), per(peers as u64, count as u64)]
    });
    let period = settings.stabilize_period.as_secs_f64();
    let lookups = lookups(parameters);
    let on_ring = |hops: f64, peers: f64| lookups * hops + (peers + hops) / period;
    let seeds = study.seeds.clone().count();
    let measured: Vec<_> =
        hops.iter().zip(&peers).map(|(hops, peers)| combine(hops, peers, on_ring)).collect();
    // Four times the servers: one hop more on average, and two fingers.
    let further = LARGER.iter().enumerate().map(|(index, &count)| {
        let steps = index as f64 + 1.0;
        let [hops, peers] = [&hops, &peers].map(|points| points.last().map_or(0.0, |point| point.mean));
        Estimate::of(count, &vec![on_ring(hops + steps, peers + 2.0 * steps); seeds])
    });
    let further: Vec<_> = measured.last().copied().into_iter().chain(further).collect();
    let by_table = |(name, stay): (&'static str, f64)| {
        let all = SERVERS.iter().chain(&LARGER);
        let points = all.map(|&count| {
            let watched = (parameters.successors as f64).min(count - 1.0);
            let messages = lookups * (1.0 - 1.0 / count) + watched / period + 2.0 * count / stay;
            Estimate::of(count, &vec![messages; seeds])
        });
        Series { name, points: points.collect() }
    };
    let ring = [
        Series { name: "Chord", points: measured },
        Series { name: "Chord, by ½ log₂ N further", points: further },
    ];
    Figure {
        name: Name::Membership.to_string(),
        title: "Messages between servers that stay for a while",
        x: "servers",
        y: "messages of a server per second",
        is_log: true,
        is_log_x: true,
        series: ring.into_iter().chain(STAYS.map(by_table)).collect(),
    }
}

/// Lookups that a server begins in a second without a hotspot: sessions of its nodes, and those that change domains.
fn lookups(parameters: &Parameters) -> f64 {
    let servers = parameters.grid().domains() as f64;
    let links = f64::from(parameters.size - 1);
    let between_domains = f64::from(parameters.size.div_ceil(parameters.domain) - 1);
    let per_move = parameters.sessions + between_domains / links;
    f64::from(parameters.nodes) / servers * per_move / f64::from(parameters.move_interval)
}

/// The same at every place.
fn constant(places: &[f64], value: f64, seeds: usize) -> Vec<Estimate> {
    places.iter().map(|&x| Estimate::of(x, &vec![value; seeds])).collect()
}

/// A value that follows from two, and rises with both.
fn combine(one: &Estimate, other: &Estimate, value: impl Fn(f64, f64) -> f64) -> Estimate {
    Estimate {
        x: one.x,
        mean: value(one.mean, other.mean),
        low: value(one.low, other.low),
        high: value(one.high, other.high),
        min: value(one.min, other.min),
        max: value(one.max, other.max),
        n: one.n,
    }
}

/// Values at each place, over all seeds.
fn over_seeds<const K: usize>(
    study: &Study,
    places: &[f64],
    ticker: &mut Ticker<'_>,
    value: impl Fn(f64, u64) -> [f64; K] + Sync,
) -> [Vec<Estimate>; K] {
    let seeds = study.seeds.clone().count();
    let mut values = vec![[0.0; K]; places.len() * seeds];
    let worker = || {
        |number: u64| {
            let number = number as usize;
            value(places[number / seeds], study.seeds.start + (number % seeds) as u64)
        }
    };
    for_each(0..values.len() as u64, study.jobs, worker, |number, found| {
        values[number as usize] = found;
        ticker.tick();
    });
    std::array::from_fn(|index| {
        let at = |(place, &x): (usize, &f64)| {
            let values: Vec<_> = values[place * seeds..][..seeds].iter().map(|found| found[index]).collect();
            Estimate::of(x, &values)
        };
        places.iter().enumerate().map(at).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_begins_as_many_lookups_as_its_nodes_have_reasons() {
        // 100 nodes a server, 0.02 sessions and 9 / 149 changes of the domain with every move, every 30 s.
        let expected = 100.0 * (0.02 + 9.0 / 149.0) / 30.0;
        assert!((lookups(&Parameters::default()) - expected).abs() < 1e-12);
    }
}
