//! Which blocks lie under pinned roots. Roots share what they have in common: thousands of versions of a record link to the same attachment.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use cid::Cid;

/// The blocks under the pinned roots, by the number of references to each: links of other kept blocks, and a pin. One entry for each block, and one
/// for each link, however many roots there are. Links have no cycles, so a count of zero means that no root is above the block.
#[derive(Debug, Default)]
pub(super) struct Kept {
    roots: BTreeSet<Cid>,
    references: BTreeMap<Cid, u64>,
    /// The different links of each kept block that has some.
    links: BTreeMap<Cid, Box<[Cid]>>,
}

impl Kept {
    /// Follows the pins. `links_of` reads the links of a block, and is called once for each block while that is kept.
    ///
    /// # Errors
    /// The error of `links_of`. Then nothing is known, and the next call reads all of it.
    pub(super) fn follow<E>(
        &mut self,
        pinned: BTreeSet<Cid>,
        mut links_of: impl FnMut(&Cid) -> Result<Vec<Cid>, E>,
    ) -> Result<(), E> {
        // New roots first: what they share with roots that are gone is not read again.
        let new: Vec<Cid> = pinned.difference(&self.roots).copied().collect();
        for root in new {
            let mut waiting = vec![root];
            while let Some(cid) = waiting.pop() {
                let references = self.references.entry(cid).or_default();
                *references += 1;
                if *references > 1 {
                    continue;
                }
                let links: BTreeSet<Cid> = match links_of(&cid) {
                    Ok(links) => links.into_iter().collect(),
                    Err(error) => {
                        *self = Self::default();
                        return Err(error);
                    }
                };
                if !links.is_empty() {
                    waiting.extend(&links);
                    self.links.insert(cid, links.into_iter().collect());
                }
            }
        }
        let mut released: Vec<Cid> = self.roots.difference(&pinned).copied().collect();
        while let Some(cid) = released.pop() {
            let Entry::Occupied(mut references) = self.references.entry(cid) else { continue };
            *references.get_mut() -= 1;
            if *references.get() == 0 {
                references.remove();
                released.extend(self.links.remove(&cid).iter().flatten());
            }
        }
        self.roots = pinned;
        Ok(())
    }

    /// Whether a block is a pinned root or lies under one.
    pub(super) fn contains(&self, cid: &Cid) -> bool {
        self.references.contains_key(cid)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use emr_core::cid::{Codec, cid_of};

    use super::*;

    fn block(name: String) -> Cid {
        cid_of(Codec::DagCbor, name.as_bytes())
    }

    impl Kept {
        /// How many CIDs it holds.
        fn size(&self) -> usize {
            self.roots.len() + self.references.len() + self.links.values().map(|links| 1 + links.len()).sum::<usize>()
        }
    }

    /// 2,000 versions of a record keep one attachment of 16,000 chunks. A list for each root would hold 32 million CIDs.
    #[test]
    fn roots_share_what_they_have_in_common() -> Result<(), Infallible> {
        let chunks: Vec<Cid> = (0..16_000).map(|number| block(format!("chunk {number}"))).collect();
        let manifest = block("manifest".to_owned());
        let roots: BTreeSet<Cid> = (0..2000).map(|number| block(format!("root {number}"))).collect();
        let mut reads = 0;
        let mut links_of = |cid: &Cid| -> Result<Vec<Cid>, Infallible> {
            reads += 1;
            Ok(if roots.contains(cid) {
                vec![manifest, manifest]
            } else if *cid == manifest {
                chunks.clone()
            } else {
                Vec::new()
            })
        };
        let mut kept = Kept::default();
        kept.follow(roots.clone(), &mut links_of)?;
        assert!(kept.size() <= 5 * roots.len() + 3 * chunks.len(), "{} CIDs", kept.size());
        assert!(roots.iter().chain(&chunks).chain([&manifest]).all(|cid| kept.contains(cid)));
        // One root that is left keeps all of it, and nothing is read again.
        let last: BTreeSet<Cid> = roots.iter().take(1).copied().collect();
        kept.follow(last.clone(), &mut links_of)?;
        assert!(chunks.iter().all(|cid| kept.contains(cid)));
        assert_eq!(roots.iter().filter(|cid| kept.contains(cid)).count(), 1);
        // Another root takes its place.
        let next: BTreeSet<Cid> = roots.iter().skip(1).take(1).copied().collect();
        kept.follow(next, &mut links_of)?;
        assert!(chunks.iter().all(|cid| kept.contains(cid)) && !last.iter().any(|cid| kept.contains(cid)));
        kept.follow(BTreeSet::new(), &mut links_of)?;
        assert_eq!(kept.size(), 0);
        assert_eq!(reads, roots.len() + 1 + chunks.len() + 1, "each once, and and the second root once more");
        Ok(())
    }

    /// A block that cannot be read: nothing is half known after it.
    #[test]
    fn a_failed_read_is_made_good() {
        let (root, leaf) = (block("root".to_owned()), block("leaf".to_owned()));
        let mut kept = Kept::default();
        let failing = |cid: &Cid| if *cid == root { Ok(vec![leaf]) } else { Err("unreadable") };
        assert_eq!(kept.follow(BTreeSet::from([root]), failing), Err("unreadable"));
        assert_eq!(kept.size(), 0);
        let read = |cid: &Cid| Ok::<_, &str>(if *cid == root { vec![leaf] } else { Vec::new() });
        assert_eq!(kept.follow(BTreeSet::from([root]), read), Ok(()));
        assert!(kept.contains(&root) && kept.contains(&leaf));
        assert_eq!(kept.follow(BTreeSet::new(), read), Ok(()));
        assert_eq!(kept.size(), 0);
    }
}
