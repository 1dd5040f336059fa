//! The fewest prefixes that lead every number one of the ways it may take.
//!
//! This is Optimal Route Table Construction (Draves, King, Venkatachary and Zill, 1999), begun with a set of ways for
//! each number in the place of one: all first hops of its shortest paths. What it needs not decide, as the ways to
//! numbers that nobody has, takes whichever way saves a prefix.

/// A set of first hops: bit n stands for the neighbour number n.
pub(super) type Ways = u32;
/// The number may be led anywhere, or nowhere.
pub(super) const ANY: Ways = Ways::MAX;
/// No prefix may cover the number.
pub(super) const NO_ROUTE: Ways = 0;

/// The numbers from `first` on, as many as 2 to the power `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) first: u32,
    pub(super) bits: u32,
    /// The neighbour.
    pub(super) way: u32,
}

/// A binary trie over numbers; node n's halves are nodes 2n and 2n + 1, the root is node 1. It is there to be used again.
#[derive(Debug, Default)]
pub(super) struct Trie {
    bits: u32,
    /// What a prefix here may choose among so that the prefixes below are fewest.
    choices: Vec<Ways>,
    /// The ways that all numbers below may take.
    common: Vec<Ways>,
}

impl Trie {
    /// The fewest blocks, the longest prefix of which counts, for numbers of so many bits with these ways; others may go
    /// anywhere.
    pub(super) fn aggregate(&mut self, bits: u32, ways: impl Iterator<Item = (u32, Ways)>) -> Vec<Block> {
        self.bits = bits;
        let leaves = 1 << bits;
        for values in [&mut self.choices, &mut self.common] {
            values.clear();
            values.resize(2 * leaves, ANY);
        }
        for (number, ways) in ways {
            self.choices[leaves + number as usize] = ways;
            self.common[leaves + number as usize] = ways;
        }
        for level in (0..bits).rev() {
            let first = 1 << level;
            fold(&mut self.choices[first..4 * first], |a, b| match a & b {
                _ if a == NO_ROUTE || b == NO_ROUTE => NO_ROUTE,
                0 => a | b,
                both => both,
            });
            fold(&mut self.common[first..4 * first], |a, b| a & b);
        }
        let mut blocks = Vec::new();
        self.choose(1, bits, NO_ROUTE, &mut blocks);
        blocks
    }

    /// The blocks for node `node` with `bits` bits below it, where `inherited` is the way of the shorter prefixes.
    fn choose(&self, node: usize, bits: u32, inherited: Ways, blocks: &mut Vec<Block>) {
        let (choice, common) = (self.choices[node], self.common[node]);
        if common & inherited != 0 || common == ANY {
            return;
        }
        let mut way = inherited;
        if choice != NO_ROUTE && choice & inherited == 0 {
            let first = ((node << bits) - (1 << self.bits)) as u32;
            let lowest = choice.trailing_zeros();
            blocks.push(Block { first, bits, way: lowest });
            way = 1 << lowest;
        }
        if bits > 0 {
            self.choose(2 * node, bits - 1, way, blocks);
            self.choose(2 * node + 1, bits - 1, way, blocks);
        }
    }
}

/// Fills the first third, a level of the trie, from the rest, the level below.
fn fold(levels: &mut [Ways], merge: impl Fn(Ways, Ways) -> Ways) {
    let (level, below) = levels.split_at_mut(levels.len() / 3);
    for (node, halves) in level.iter_mut().zip(below.as_chunks().0) {
        let &[a, b] = halves;
        *node = merge(a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aggregate(bits: u32, ways: &[Ways]) -> Vec<Block> {
        Trie::default().aggregate(bits, (0..).zip(ways.iter().copied()))
    }

    /// The kernel's choice: the longest prefix that contains the number.
    fn lookup(blocks: &[Block], number: u32) -> Option<u32> {
        let contains = |block: &&Block| block.first >> block.bits == number >> block.bits;
        blocks.iter().filter(contains).min_by_key(|block| block.bits).map(|block| block.way)
    }

    #[test]
    fn one_prefix_leads_all_but_exceptions() {
        let block = |first, bits, way| Block { first, bits, way };
        let mut ways = [1; 8];
        assert_eq!(aggregate(3, &ways), [block(0, 3, 0)]);
        ways[5] = 2;
        assert_eq!(aggregate(3, &ways), [block(0, 3, 0), block(5, 0, 1)]);
        ways[4] = ANY;
        assert_eq!(aggregate(3, &ways), [block(0, 3, 0), block(4, 1, 1)]);
        assert_eq!(aggregate(3, &[ANY; 8]), []);
        assert_eq!(aggregate(0, &[4]), [block(0, 0, 2)]);
    }

    #[test]
    fn a_free_choice_saves_a_prefix() {
        assert_eq!(aggregate(2, &[0b011, 0b110, 0b010, 0b010]), [Block { first: 0, bits: 2, way: 1 }]);
    }

    #[test]
    fn nothing_covers_a_number_without_route() {
        let blocks = aggregate(2, &[1, NO_ROUTE, 1, 1]);
        assert_eq!(blocks, [Block { first: 0, bits: 0, way: 0 }, Block { first: 2, bits: 1, way: 0 }]);
    }

    /// The fewest prefixes, by trying: for every node of the trie, with every way from above.
    fn fewest(ways: &[Ways], inherited: Option<u32>) -> usize {
        let below = |way: Option<u32>| match ways {
            [one] => usize::from(*one != ANY && way.is_none_or(|way| one & (1 << way) == 0)) * 1000,
            _ => {
                let (low, high) = ways.split_at(ways.len() / 2);
                fewest(low, way) + fewest(high, way)
            }
        };
        (0..3).map(|way| 1 + below(Some(way))).chain([below(inherited)]).min().unwrap()
    }

    proptest! {
        #[test]
        fn every_number_goes_a_way_it_may_and_no_fewer_prefixes_do(
            ways in prop::collection::vec(prop_oneof![6 => 1u32..8, 1 => Just(ANY)], 16)
        ) {
            let blocks = aggregate(4, &ways);
            for (number, ways) in (0..).zip(&ways) {
                match lookup(&blocks, number) {
                    Some(way) => prop_assert!(ways & (1 << way) != 0, "{number} goes {way} in {blocks:?}"),
                    None => prop_assert_eq!(*ways, ANY),
                }
            }
            prop_assert_eq!(blocks.len(), fewest(&ways, None));
        }
    }
}
