//! Lookups: to the right owner, in few hops.

use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_lookup_finds_the_owner(
        numbers in prop::collection::btree_set(any::<u16>(), 1..20),
        virtual_nodes in 1..4usize,
        key in any::<[u8; 20]>(),
    ) {
        let ring = Ring::ideal(numbers, settings(virtual_nodes));
        let members = members_of(ring.servers.keys().copied(), virtual_nodes);
        let owner = members[owner_among(&members, OverlayId(key))];
        for &start in ring.servers.keys() {
            let found = ring.find(start, OverlayId(key)).map(|(owner, _)| owner);
            prop_assert_eq!(found, Some(owner), "from {:?}", start);
        }
    }
}

/// Hops are counted to the owner, that last one included: on average at most 1.1 × (½·log2 N + 1).
#[test]
fn lookups_take_about_half_the_logarithm() {
    for count in [8, 16, 32, 64, 128, 256, 512, 1024] {
        let ring = Ring::ideal(0..count, ChordSettings::default());
        let servers: Vec<_> = ring.servers.keys().copied().collect();
        let lookups = 2000;
        let hops: usize = (0..lookups)
            .map(|number| {
                let key = identifier_of(&format!("sip:mn{number}@samp.test"));
                ring.find(servers[number * 7 % servers.len()], key).expect("an owner").1
            })
            .sum();
        let (mean, bound) = (hops as f64 / lookups as f64, 1.1 * (0.5 * f64::from(count).log2() + 1.0));
        println!("{count} servers: {mean:.2} hops on average, at most {bound:.2} wanted");
        assert!(mean <= bound, "{count} servers: {mean} hops on average, more than {bound}");
    }
}

/// σ, the standard deviation of the keys per server, for 10,000 keys on 100 servers: what virtual nodes are for.
#[test]
fn virtual_nodes_even_out_the_load() {
    let deviation = |virtual_nodes| {
        let servers: Vec<_> = (0..100).map(address).collect();
        let ring = members_of(servers.iter().copied(), virtual_nodes);
        let mut load: BTreeMap<_, f64> = servers.into_iter().map(|server| (server, 0.0)).collect();
        for number in 0..10_000 {
            let owner = ring[owner_among(&ring, identifier_of(&format!("sip:mn{number}@samp.test")))];
            *load.get_mut(&owner.address).expect("a server") += 1.0;
        }
        let deviation = (load.values().map(|load| (load - 100.0).powi(2)).sum::<f64>() / 100.0).sqrt();
        println!("{virtual_nodes} virtual nodes: σ = {deviation:.1}");
        deviation
    };
    let deviations = [1, 4, 16, 64, 128].map(deviation);
    assert!(deviations.is_sorted_by(|few, many| few > many), "{deviations:?}");
    assert!(deviations[4] < 20.0, "{deviations:?}");
}
