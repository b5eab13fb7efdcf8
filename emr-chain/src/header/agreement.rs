//! When several Ethereum nodes agree. Pure.

use std::collections::BTreeMap;

use crate::proof::VerifiedHeader;

/// How many blocks below the lowest node the blocks are compared last. The newest blocks can differ for some seconds on
/// honest nodes, because the chain forks there; Ethereum's forks are rarely longer than two blocks.
const BELOW_FORKS: u64 = 4;

/// How many blocks apart nodes are that are not behind.
const LEVEL: u64 = 8;

/// The heights at which `agree` nodes can agree, in the order in which to compare them. `heads` are the heights of the nodes.
///
/// The highest comes first. So a node that is behind, or claims it, holds nobody back, and a node that claims to be far
/// ahead counts only at heights which others reach too.
pub(super) fn heights(mut heads: Vec<u64>, agree: usize) -> Vec<u64> {
    heads.sort_unstable_by(|left, right| right.cmp(left));
    let mut heights = heads.split_off(agree.saturating_sub(1).min(heads.len()));
    if let Some(lowest) = heights.last() {
        heights.push(lowest.saturating_sub(BELOW_FORKS));
    }
    heights.dedup();
    heights
}

/// Whether `agree` nodes are at this height or a few blocks above it, so that no node that is behind decided it. `heads`
/// are the heights of the nodes.
pub(super) fn is_level(heads: impl Iterator<Item = u64>, height: u64, agree: usize) -> bool {
    let level = heads.filter(|head| (height..=height.saturating_add(LEVEL)).contains(head));
    level.count() >= agree
}

/// The header that at least `agree` nodes give, and these nodes.
///
/// `agree` is more than half of all nodes, so there is at most one.
pub(super) fn same(given: &BTreeMap<usize, VerifiedHeader>, agree: usize) -> Option<(VerifiedHeader, Vec<usize>)> {
    given.values().find_map(|header| {
        let alike = given.iter().filter(|(_, other)| other.hash() == header.hash());
        let nodes: Vec<usize> = alike.map(|(node, _)| *node).collect();
        (nodes.len() >= agree).then_some((*header, nodes))
    })
}

#[cfg(test)]
mod tests {
    use alloy::consensus::Header;

    use super::*;
    use crate::proof::verify_header;

    #[test]
    fn nodes_are_compared_as_high_as_enough_of_them_reach() {
        // A node that lies about its height, far up or far down, changes nothing.
        for liar in [u64::MAX, 7, 0] {
            assert_eq!(heights(vec![100, liar, 100], 2)[0], 100, "{liar}");
        }
        assert_eq!(heights(vec![99, 101, 100], 2), [100, 99, 95]);
        assert_eq!(heights(vec![100, 100], 2), [100, 96]);
        assert_eq!(heights(vec![1, 2], 2), [1, 0]);
        assert_eq!(heights(vec![100], 2), [] as [u64; 0]);
        assert_eq!(heights(vec![], 1), [] as [u64; 0]);
    }

    #[test]
    fn a_node_that_is_behind_does_not_decide_alone_with_one_other() {
        assert!(is_level([100, 101].into_iter(), 100, 2));
        assert!(is_level([100, u64::MAX, 108].into_iter(), 100, 2));
        assert!(!is_level([100, 109].into_iter(), 100, 2));
        assert!(!is_level([99, 100].into_iter(), 100, 2));
    }

    #[test]
    fn the_same_number_is_not_the_same_block() -> Result<(), Box<dyn std::error::Error>> {
        let block = |gas_limit| -> Result<_, crate::proof::ProofError> {
            let header = Header { number: 5, gas_limit, ..Header::default() };
            verify_header(&header, header.hash_slow())
        };
        let (one, other) = (block(1)?, block(2)?);
        assert_eq!(same(&BTreeMap::from([(0, one), (1, other)]), 2), None);
        assert_eq!(same(&BTreeMap::from([(0, one)]), 2), None);
        let two = same(&BTreeMap::from([(0, other), (1, one), (2, one)]), 2);
        assert_eq!(two, Some((one, vec![1, 2])));
        Ok(())
    }
}
