//! The end of a patient's grants, through the L1 queue. It needs no node and no sequencer: anyone may settle an overdue
//! queue.

use emr_core::{AccountIndex, GrantSlot, Role, UnixTime};
use halo2curves::ff::Field;

use super::{AccountRule, EntryError, L1Rule, MedicalChange, MedicalRule, Part, Queued, account_of, fields_of};
use crate::{
    batch::D1Entry,
    operation::{DirectoryCommitment, Kind},
    primitive::field::Fr,
    state::leaf::{AuditEntry, AuditTarget, IdentityLeaf, LeafHash, Tree},
    statement::EntryFields,
};

/// The grants that a [`ForcedRevoke`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokedGrants {
    /// The grant in this slot. The slot may be empty.
    Slot(GrantSlot),
    /// Every grant.
    All,
}

/// Ends one grant or every grant of a patient, and may set a new key directory. It always takes effect on a patient.
///
/// An emptied slot is as if it was never written: the next grant in it has version 1 and 0 uses. Messages that were signed
/// for its earlier versions do not come back, because the entry begins a new epoch of the patient. For the same reason,
/// anyone who remembers versions of a slot must remember them together with the patient's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForcedRevoke {
    /// The patient.
    pub account: AccountIndex,
    /// The grants that end.
    pub grants: RevokedGrants,
    /// The new key directory. `None` if the present one stays.
    pub directory: Option<DirectoryCommitment>,
}

impl ForcedRevoke {
    /// The rules of this kind.
    pub const RULE: L1Rule = L1Rule {
        account: AccountRule::Patient,
        profile: Part::Stays,
        status: Part::Stays,
        keys: Part::Stays,
        medical: MedicalRule::GrantsEnd,
    };

    /// The entry in the patient's audit chain. Everything in it is public on L1, so it has no salt.
    pub fn audit_entry(&self, time: UnixTime) -> AuditEntry {
        AuditEntry {
            kind: Kind::ForcedRevoke,
            signer: self.account,
            target: match self.grants {
                RevokedGrants::Slot(slot) => AuditTarget::Grant(slot),
                RevokedGrants::All => AuditTarget::AllGrants,
            },
            purpose: None,
            time,
            new_leaf: LeafHash::EMPTY,
            salt: Fr::ZERO,
        }
    }

    /// Reads an entry of this kind. The caller checks that the result encodes to the same entry.
    pub(super) fn decode(
        [_, account, _, _, _, tree, slot, replaces]: [u64; 8],
        entry: &D1Entry,
    ) -> Result<Self, EntryError> {
        let malformed = EntryError::Fields(Kind::ForcedRevoke);
        let account = account_of(Kind::ForcedRevoke, account)?;
        let grants = match tree {
            0 => RevokedGrants::All,
            tree if tree == Tree::Grants as u64 => RevokedGrants::Slot(GrantSlot::new(slot).map_err(|_| malformed)?),
            _ => return Err(malformed),
        };
        Ok(Self { account, grants, directory: (replaces == 1).then_some(entry.opaque.into()) })
    }
}

impl Queued for ForcedRevoke {
    fn account(&self) -> AccountIndex {
        self.account
    }

    fn fields(&self) -> EntryFields {
        let (tree, slot) = match self.grants {
            RevokedGrants::Slot(slot) => (Tree::Grants as u64, slot.get()),
            RevokedGrants::All => (0, 0),
        };
        EntryFields {
            tree: tree.into(),
            slot: slot.into(),
            replace_directory: u64::from(self.directory.is_some()).into(),
            opaque: self.directory.map_or(Fr::ZERO, |directory| directory.element()),
            ..fields_of(Kind::ForcedRevoke, self.account)
        }
    }

    fn identity(&self, before: Option<&IdentityLeaf>) -> Option<IdentityLeaf> {
        before.filter(|before| before.role == Role::Patient)?.next_epoch()
    }

    fn medical(&self) -> MedicalChange {
        MedicalChange::GrantsEnd(*self)
    }
}
