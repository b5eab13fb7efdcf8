//! The entries of a batch's two sections of data (`docs/encoding.md`, "Batch data").

use emr_core::{AccountIndex, GrantSlot, OutOfRange, RecordSlot};

use crate::{
    layout,
    operation::DirectoryCommitment,
    primitive::field::{self, Fr, NotCanonical},
    state::leaf::{LeafHash, Target, Tree},
};

/// Four elements.
pub(crate) type Words = [Fr; 4];

fn words_of(bytes: &[[u8; 32]; 4]) -> Result<Words, NotCanonical> {
    let [a, b, c, d] = bytes;
    Ok([field::from_bytes(a)?, field::from_bytes(b)?, field::from_bytes(c)?, field::from_bytes(d)?])
}

fn bytes_of(words: &Words) -> [[u8; 32]; 4] {
    words.each_ref().map(field::to_bytes)
}

/// An L1 operation, as the contract queued it. It may have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct D1Entry {
    /// Kind, account, role, status, organisation, tree, slot and a flag, packed ([`layout::L1_ENTRY`]).
    pub packed: Fr,
    /// The key's x coordinate.
    pub key_x: Fr,
    /// The key's y coordinate.
    pub key_y: Fr,
    /// The commitment to the encryption key, or to a key directory.
    pub opaque: Fr,
}

impl D1Entry {
    /// The words in the contract's order.
    pub(crate) fn words(&self) -> Words {
        [self.packed, self.key_x, self.key_y, self.opaque]
    }

    /// Reads the words as L1 holds them.
    ///
    /// # Errors
    /// [`NotCanonical`] if one of them is not below the field's modulus.
    pub fn from_bytes(bytes: &[[u8; 32]; 4]) -> Result<Self, NotCanonical> {
        let [packed, key_x, key_y, opaque] = words_of(bytes)?;
        Ok(Self { packed, key_x, key_y, opaque })
    }

    /// The words as L1 holds them.
    pub fn to_bytes(&self) -> [[u8; 32]; 4] {
        bytes_of(&self.words())
    }
}

/// What an L2 operation wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct D2Entry {
    /// Patient, tree and slot, packed ([`layout::PLACE`]). [`Self::target`] reads it.
    pub place: Fr,
    /// The leaf after the operation.
    pub leaf: LeafHash,
    /// The hash of the entry in the patient's audit chain.
    pub audit_entry: Fr,
    /// The patient's key directory after the operation.
    pub key_directory: DirectoryCommitment,
}

impl D2Entry {
    /// The `place` of a leaf.
    pub fn place_of(patient: AccountIndex, target: Target) -> Fr {
        layout::PLACE.pack([patient.get(), target.tree() as u64, target.slot()])
    }

    /// The patient and the leaf that was written. `None` if `place` names no leaf of a patient's subtree.
    pub fn target(&self) -> Option<(AccountIndex, Target)> {
        let [account, tree, slot] = layout::PLACE.unpack(&self.place)?;
        let account = AccountIndex::new(account).ok()?;
        let target: Result<Target, OutOfRange> = match tree {
            tree if tree == Tree::Grants as u64 => GrantSlot::new(slot).map(Target::Grant),
            tree if tree == Tree::Records as u64 => RecordSlot::new(slot).map(Target::Record),
            _ => return None,
        };
        target.ok().map(|target| (account, target))
    }

    /// The words in the contract's order.
    pub(crate) fn words(&self) -> Words {
        [self.place, self.leaf.element(), self.audit_entry, self.key_directory.element()]
    }

    /// Reads the words as L1 holds them.
    ///
    /// # Errors
    /// [`NotCanonical`] if one of them is not below the field's modulus.
    pub fn from_bytes(bytes: &[[u8; 32]; 4]) -> Result<Self, NotCanonical> {
        let [place, leaf, audit_entry, key_directory] = words_of(bytes)?;
        let (leaf, key_directory) = (LeafHash::from(leaf), DirectoryCommitment::from(key_directory));
        Ok(Self { place, leaf, audit_entry, key_directory })
    }

    /// The words as L1 holds them.
    pub fn to_bytes(&self) -> [[u8; 32]; 4] {
        bytes_of(&self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_the_order_of_their_words() -> Result<(), NotCanonical> {
        let bytes = [1, 2, 3, 4].map(|number| field::to_bytes(&Fr::from(number)));
        let d1 = D1Entry::from_bytes(&bytes)?;
        assert_eq!((d1.to_bytes(), d1.key_x, d1.opaque), (bytes, Fr::from(2), Fr::from(4)));
        let d2 = D2Entry::from_bytes(&bytes)?;
        assert_eq!((d2.to_bytes(), d2.audit_entry), (bytes, Fr::from(3)));
        for place in 0..4 {
            let mut beyond = bytes;
            beyond[place] = [0xff; 32];
            assert_eq!(
                (D1Entry::from_bytes(&beyond), D2Entry::from_bytes(&beyond)),
                (Err(NotCanonical), Err(NotCanonical))
            );
        }
        Ok(())
    }

    #[test]
    fn a_place_outside_every_subtree_is_no_target() {
        let entry = |place: u64| D2Entry {
            place: place.into(),
            leaf: LeafHash::EMPTY,
            audit_entry: Fr::zero(),
            key_directory: DirectoryCommitment::NONE,
        };
        let at = |account: u64, tree: u64, slot: u64| entry(account << 18 | tree << 16 | slot).target();
        assert!(at(4, Tree::Grants as u64, 3).is_some() && at(4, Tree::Records as u64, 3).is_some());
        assert_eq!(
            [at(0, 1, 3), at(4, 0, 3), at(4, 3, 3), at(4, 1, u64::from(u16::MAX)), at(1 << 24, 1, 3)],
            [None; 5]
        );
    }
}
