//! Which snapshots are kept.

use std::collections::BTreeSet;

/// Depths of a reorganisation for which there is a snapshot below, in blocks of L1. Ethereum finalises 64 blocks, if its validators agree: about 13
/// minutes. The others are half a day and nine days, for faults of the network.
const DEPTHS: [u64; 3] = [64, 4096, 65_536];

/// Chooses from the blocks of the snapshots, newest first. Of each depth it keeps the newest that is at least so deep, and the oldest that is not:
/// that one takes its place when it is deep enough. In addition it keeps the two newest, so eight at most.
///
/// The oldest one is at most twice the greatest depth below the newest, and the distance between two snapshots.
pub(super) fn kept(newest_first: &[u64]) -> BTreeSet<usize> {
    let newest = newest_first.first().copied().unwrap_or_default();
    let is_deep = |block: &u64, depth| newest.saturating_sub(*block) >= depth;
    let mut kept: BTreeSet<usize> = (0..newest_first.len().min(2)).collect();
    for depth in DEPTHS {
        kept.extend(newest_first.iter().position(|block| is_deep(block, depth)));
        kept.extend(newest_first.iter().rposition(|block| !is_deep(block, depth)));
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes snapshots with these distances. Returns the blocks of those that are kept after each one, newest first.
    fn run(distances: &[u64]) -> Vec<Vec<u64>> {
        let (mut blocks, mut block, mut all) = (Vec::new(), 0, Vec::new());
        for distance in distances {
            block += distance;
            blocks.insert(0, block);
            let kept = kept(&blocks);
            blocks = kept.into_iter().map(|place| blocks[place]).collect();
            all.push(blocks.clone());
        }
        all
    }

    proptest! {
        /// However long the node ran, there is a snapshot below each depth, and not far below it.
        #[test]
        fn there_is_one_below_each_depth(distances in prop::collection::vec(1_u64..400, 1..1500)) {
            let (mut first, mut longest) = (None, 0);
            for (blocks, distance) in run(&distances).into_iter().zip(distances) {
                longest = longest.max(distance);
                prop_assert!(blocks.len() <= 2 + 2 * DEPTHS.len());
                let (newest, oldest) = (blocks[0], blocks[blocks.len() - 1]);
                let first = *first.get_or_insert(newest);
                for depth in DEPTHS.into_iter().filter(|depth| newest - first >= *depth) {
                    let below = blocks.iter().find(|block| newest - **block >= depth);
                    let below = newest - below.expect("one is deep enough");
                    prop_assert!(below <= 2 * depth + longest, "{below} for {depth}");
                }
                prop_assert!(newest - oldest <= 2 * DEPTHS[2] + longest);
            }
        }
    }

    #[test]
    fn the_two_newest_stay() {
        assert_eq!(kept(&[]), BTreeSet::new());
        assert_eq!(kept(&[9]), [0].into());
        assert_eq!(kept(&[9, 8, 7, 6]), [0, 1, 3].into());
        assert_eq!(run(&[1; 100]).pop(), Some(vec![100, 99, 63, 1]));
    }
}
