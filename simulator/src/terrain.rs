//! Where a scenario takes place: the topology and the knobs that a seed draws.

use rand::RngExt;
use rand_pcg::Pcg64;
use samp_model::random::generator;
use samp_model::settings::{
    AnchorSelect, Auth, CacheSettings, ChordSettings, Confirm, Discover, Durability, Family, Profile,
    Records, SampSettings, ServerMode, Stale, UpdateOrder,
};
use samp_model::{Topology, topology};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Servers at most.
const SERVERS: usize = 16;
/// Mobile nodes at most.
const MOBILE_NODES: usize = 30;

/// The topology of a seed, with its knobs.
pub(crate) fn draw(seed: u64) -> Topology {
    let random = &mut generator(seed, "topology");
    let text = if random.random_bool(0.5) { grid(random) } else { tree(random) };
    let mut topology = topology::parse("drawn.yaml", &text).expect("a valid topology");
    let families = [Family::Ipv4, Family::Ipv6, Family::Dual];
    topology.set_family(pick(random, &families)).expect("room for a small topology");
    topology.samp = knobs(&mut generator(seed, "knobs"));
    topology
}

/// Small worlds are quick and find most; large ones are rare.
fn few(random: &mut Pcg64, most: usize) -> usize {
    let most = random.random_range(1..=most);
    random.random_range(1..=most)
}

fn pick<T: Copy>(random: &mut Pcg64, choices: &[T]) -> T {
    choices[random.random_range(0..choices.len())]
}

fn millis(random: &mut Pcg64, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..=to))
}

fn seconds(random: &mut Pcg64, from: u64, to: u64) -> Duration {
    Duration::from_secs(random.random_range(from..=to))
}

/// Access routers side by side.
fn grid(random: &mut Pcg64) -> String {
    let (width, height): (usize, usize) = (random.random_range(1..=5), random.random_range(1..=4));
    let (domain_width, domain_height) = (random.random_range(1..=width), random.random_range(1..=height));
    // A narrow domain in a wide grid would be more servers than are wanted.
    let many = width.div_ceil(domain_width) * height.div_ceil(domain_height) > SERVERS;
    let (domain_width, domain_height) = if many { (2, 2) } else { (domain_width, domain_height) };
    let (link, server_link) = (random.random_range(200..8_000), random.random_range(100..2_000));
    format!(
        "grid: {{ width: {width}, height: {height}, domain: {{ width: {domain_width}, height: {domain_height} }}, \
         link: {{ one_way_delay: {link}us }}, server_link: {{ one_way_delay: {server_link}us }} }}\n\
         mobile_nodes: {{ count: {}, start: random }}\n{}",
        mobile_nodes(random),
        radio(random)
    )
}

/// A random tree of access routers, with servers anywhere.
fn tree(random: &mut Pcg64) -> String {
    let (routers, servers) = (random.random_range(1..=12), few(random, SERVERS));
    let (mut nodes, mut links) = (String::new(), String::new());
    let mut link = |random: &mut Pcg64, from: String, to: String| {
        let [there, back] = [(); 2].map(|()| random.random_range(100..15_000));
        writeln!(
            links,
            "  - {{ between: [{from}, {to}], one_way_delay: {there}us, reverse: {{ one_way_delay: {back}us }} }}"
        )
    };
    for router in 0..routers {
        nodes.push_str(&format!("  ar{router}: {{ kind: access_router }}\n"));
        if router > 0 {
            let parent = random.random_range(0..router);
            link(random, format!("ar{router}"), format!("ar{parent}")).expect("room in memory");
        }
    }
    for server in 1..=servers {
        nodes.push_str(&format!("  s{server}: {{ kind: sip_server }}\n"));
        let router = random.random_range(0..routers);
        link(random, format!("s{server}"), format!("ar{router}")).expect("room in memory");
    }
    let (count, radio) = (mobile_nodes(random), radio(random));
    format!("nodes:\n{nodes}links:\n{links}mobile_nodes: {{ count: {count}, start: random }}\n{radio}")
}

/// At least two, as nobody calls himself.
fn mobile_nodes(random: &mut Pcg64) -> usize {
    1 + few(random, MOBILE_NODES - 1)
}

fn radio(random: &mut Pcg64) -> String {
    format!("radio: {{ one_way_delay: {}us }}\n", random.random_range(200..5_000))
}

/// All knobs, each named, so that a new one has to be thought of here.
fn knobs(random: &mut Pcg64) -> SampSettings {
    let replicas = random.random_range(1..=4);
    let delta = millis(random, 10, 80);
    let usual = SampSettings::default();
    SampSettings {
        profile: Profile::Recommended,
        delta,
        discovery_deadline: delta * random.random_range(2..=6),
        anchor_select: pick(random, &[AnchorSelect::Random, AnchorSelect::Fastest]),
        confirm: pick(random, &[Confirm::Standard, Confirm::Paper]),
        discover: pick(random, &[Discover::Reactive, Discover::Ahead]),
        anchor_probe: seconds(random, 2, 15),
        update_order: pick(random, &[UpdateOrder::Parallel, UpdateOrder::Serial]),
        hierarchical_registration: random.random_bool(0.8),
        tier1: cache(random),
        tier2: cache(random),
        stale: pick(random, &[Stale::Sequential, Stale::Parallel]),
        stale_deadline: millis(random, 50, 500),
        ring: if random.random_bool(0.7) { Duration::ZERO } else { millis(random, 1, 3_000) },
        anchor_timeout: millis(random, 500, 2_000),
        registration_lifetime: seconds(random, 30, 120),
        min_expires: seconds(random, 10, 60),
        auth: pick(random, &[Auth::Off, Auth::Off, Auth::Digest, Auth::DigestMd5]),
        passwords: BTreeMap::new(),
        records: Records::Milestones,
        mode: pick(random, &[ServerMode::Proxy, ServerMode::Proxy, ServerMode::Redirect]),
        t1: millis(random, 100, 500),
        t2: seconds(random, 1, 4),
        t4: seconds(random, 1, 5),
        chord: ChordSettings {
            // Killing r − 1 neighbours, and one where r is 1, must leave a successor.
            successors: random.random_range(replicas.max(2)..=5),
            stabilize_period: millis(random, 500, 2_000),
            peer_timeout: millis(random, 500, 2_000),
            replicas,
            durability: pick(random, &[Durability::Strict, Durability::Strict, Durability::Degraded]),
            virtual_nodes: if random.random_bool(0.8) { 1 } else { random.random_range(2..=4) },
        },
        // The kernel does what these say.
        multicast_ttl: usual.multicast_ttl,
        discovery_group6: usual.discovery_group6,
        // Worlds are not overloaded, and have no clock but one.
        overload_lag: usual.overload_lag,
        max_transactions: usual.max_transactions,
        source_rate: usual.source_rate,
    }
}

fn cache(random: &mut Pcg64) -> CacheSettings {
    CacheSettings {
        enabled: random.random_bool(0.8),
        lifetime: seconds(random, 5, 60),
        adaptive: random.random_bool(0.5),
        size: random.random_range(1..=64),
    }
}
