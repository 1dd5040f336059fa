//! Fewer routes that say the same.

use super::Route;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Merges two halves of a prefix that go the same way, again and again. No destination goes another way than before,
/// and none that had no route gets one.
pub(super) fn aggregate(routes: Vec<Route>) -> Vec<Route> {
    let (v4, v6): (Vec<Route>, Vec<Route>) =
        routes.into_iter().partition(|route| route.destination.is_ipv4());
    let mut aggregated = merge::<32>(v4);
    aggregated.extend(merge::<128>(v6));
    aggregated
}

/// The same for addresses of so many bits.
fn merge<const BITS: u8>(routes: Vec<Route>) -> Vec<Route> {
    let mut by_length: Vec<BTreeMap<u128, Route>> = (0..=BITS).map(|_| BTreeMap::new()).collect();
    for route in routes {
        by_length[usize::from(route.prefix_len)].insert(bits(route.destination), route);
    }
    for length in (1..=BITS).rev() {
        let half = 1u128 << (BITS - length);
        let (shorter, longer) = by_length.split_at_mut(usize::from(length));
        let (wider, halves) = (&mut shorter[usize::from(length) - 1], &mut longer[0]);
        let lower: Vec<u128> = halves.keys().copied().filter(|prefix| prefix & half == 0).collect();
        for prefix in lower {
            let same_way = |a: &Route, b: &Route| (a.via, a.index, a.source) == (b.via, b.index, b.source);
            let merges = !wider.contains_key(&prefix)
                && halves.get(&(prefix | half)).is_some_and(|upper| same_way(&halves[&prefix], upper));
            if merges && let Some(route) = halves.remove(&prefix) {
                halves.remove(&(prefix | half));
                wider.insert(prefix, Route { prefix_len: length - 1, ..route });
            }
        }
    }
    by_length.into_iter().flat_map(BTreeMap::into_values).collect()
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(Ipv4Addr::to_bits(address)),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(destination: u32, prefix_len: u8, hop: u8) -> Route {
        Route {
            destination: Ipv4Addr::from_bits(destination).into(),
            prefix_len,
            via: [172, 16, 0, hop].into(),
            index: u32::from(hop),
            source: [172, 16, 1, 1].into(),
        }
    }

    /// The kernel's choice: the longest prefix that contains the address.
    fn lookup(routes: &[Route], address: u32) -> Option<u32> {
        let contains = |route: &&Route| {
            let shift = 32 - u32::from(route.prefix_len);
            (bits(route.destination) as u32 ^ address).checked_shr(shift).unwrap_or(0) == 0
        };
        routes.iter().filter(contains).max_by_key(|route| route.prefix_len).map(|route| route.index)
    }

    #[test]
    fn a_row_of_networks_becomes_few_routes() {
        let row: Vec<_> = (0..8).map(|n| route(0x0a00_0000 | n << 8, 24, 1)).collect();
        let merged = aggregate(row);
        assert_eq!(merged.len(), 1);
        assert_eq!((merged[0].destination, merged[0].prefix_len), ([10, 0, 0, 0].into(), 21));
        assert_eq!(aggregate(vec![route(0, 32, 1), route(1, 32, 2)]).len(), 2, "two ways stay two");
        assert_eq!(aggregate(vec![route(1, 32, 1), route(2, 32, 1)]).len(), 2, "not halves of one prefix");
    }

    proptest! {
        #[test]
        fn every_address_goes_where_it_went(hops in prop::collection::vec(0u8..3, 1..200)) {
            // Some of 256 hosts and of 64 networks have routes, by one of two ways.
            let routes: Vec<_> = hops
                .iter()
                .enumerate()
                .filter(|(_, hop)| **hop > 0)
                .map(|(n, &hop)| if n % 2 == 0 { route(n as u32, 32, hop) } else { route(0x100 * n as u32, 24, hop) })
                .collect();
            let merged = aggregate(routes.clone());
            prop_assert!(merged.len() <= routes.len());
            for n in 0..=hops.len() as u32 {
                for address in [n, 0x100 * n, 0x100 * n + 0xff] {
                    prop_assert_eq!(lookup(&merged, address), lookup(&routes, address), "{:#x}", address);
                }
            }
        }
    }
}
