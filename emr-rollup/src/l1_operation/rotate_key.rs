//! New keys of an account, through the L1 queue.

use emr_core::AccountIndex;

use super::{AccountRule, EntryError, L1Rule, MedicalChange, MedicalRule, Part, Queued, account_of, fields_of};
use crate::{
    batch::D1Entry,
    operation::Kind,
    primitive::{eddsa::PublicKey, field::Fr},
    state::leaf::IdentityLeaf,
    statement::EntryFields,
};

/// Replaces the rollup key and the encryption key of an account. As for a registration, only L1 checks that the key is in
/// the subgroup of prime order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateKey {
    /// The account.
    pub account: AccountIndex,
    /// The new rollup key.
    pub key: PublicKey,
    /// The commitment to the new RSA key.
    pub encryption: Fr,
}

impl RotateKey {
    /// The rules of this kind.
    pub const RULE: L1Rule = L1Rule {
        account: AccountRule::Registered,
        profile: Part::Stays,
        status: Part::Stays,
        keys: Part::Queued,
        medical: MedicalRule::Stays,
    };

    /// Reads an entry of this kind. The caller checks that the result encodes to the same entry.
    pub(super) fn decode([_, account, ..]: [u64; 8], entry: &D1Entry) -> Result<Self, EntryError> {
        let account = account_of(Kind::RotateKey, account)?;
        let key = PublicKey::from_coordinates(entry.key_x, entry.key_y)?;
        Ok(Self { account, key, encryption: entry.opaque })
    }
}

impl Queued for RotateKey {
    fn account(&self) -> AccountIndex {
        self.account
    }

    fn fields(&self) -> EntryFields {
        EntryFields {
            key_x: self.key.x(),
            key_y: self.key.y(),
            opaque: self.encryption,
            ..fields_of(Kind::RotateKey, self.account)
        }
    }

    fn identity(&self, before: Option<&IdentityLeaf>) -> Option<IdentityLeaf> {
        let next = before?.next_epoch()?;
        Some(IdentityLeaf { key: self.key, encryption: self.encryption, ..next })
    }

    fn medical(&self) -> MedicalChange {
        MedicalChange::Stays
    }
}
