//! Admission of an account through the L1 queue.

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role};
use halo2curves::ff::Field;

use super::{AccountRule, EntryError, IdentityRule, L1Rule, MedicalRule, Queued};
use crate::{
    batch::D1Entry,
    operation::Kind,
    primitive::{eddsa::PublicKey, field::Fr},
    state::leaf::{IdentityLeaf, index_or_zero},
    statement::EntryFields,
};

/// An accepted registration, as the contract queued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The index that the contract assigned.
    pub account: AccountIndex,
    /// The account's role.
    pub role: Role,
    /// The hospital that the account belongs to.
    pub org: Option<AccountIndex>,
    /// The account's rollup key.
    pub key: PublicKey,
    /// The commitment to the account's RSA key.
    pub encryption: Fr,
}

impl Register {
    /// The rules of this kind.
    pub const RULE: L1Rule =
        L1Rule { account: AccountRule::Fresh, identity: IdentityRule::AsQueued, medical: MedicalRule::EmptyForPatient };

    /// The identity leaf that the registration creates.
    pub fn identity(&self) -> IdentityLeaf {
        IdentityLeaf {
            role: self.role,
            status: AccountStatus::Active,
            org: self.org,
            epoch: AccountEpoch::FIRST,
            key: self.key,
            encryption: self.encryption,
        }
    }

    /// Reads an entry of this kind. The caller checks that the result encodes to the same entry.
    pub(super) fn decode([_, account, role, _, org, ..]: [u64; 8], entry: &D1Entry) -> Result<Self, EntryError> {
        let malformed = EntryError::Fields(Kind::Register);
        let account = AccountIndex::new(account).map_err(|_| malformed)?;
        let role = u8::try_from(role).ok().and_then(Role::from_code).ok_or(malformed)?;
        let org = AccountIndex::new(org).ok();
        let key = PublicKey::from_coordinates(entry.key_x, entry.key_y)?;
        Ok(Self { account, role, org, key, encryption: entry.opaque })
    }
}

impl Queued for Register {
    fn account(&self) -> AccountIndex {
        self.account
    }

    fn fields(&self) -> EntryFields {
        EntryFields {
            kind: u64::from(Kind::Register.code()).into(),
            account: self.account.get().into(),
            role: u64::from(self.role.code()).into(),
            status: u64::from(AccountStatus::Active.code()).into(),
            org: index_or_zero(self.org).into(),
            tree: Fr::ZERO,
            slot: Fr::ZERO,
            replace_directory: Fr::ZERO,
            key_x: self.key.x(),
            key_y: self.key.y(),
            opaque: self.encryption,
        }
    }

    fn identity(&self) -> IdentityLeaf {
        Self::identity(self)
    }
}

#[cfg(test)]
mod tests {
    use halo2curves::ff::PrimeField;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        l1_operation::L1Operation,
        primitive::{eddsa::SigningKey, field::to_u64},
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn entries_round_trip(account in 1u64..1 << 24, org in 0u64..1 << 24, role in 1u8..4, seed: [u8; 32]) {
            let registration = Register {
                account: AccountIndex::new(account)?,
                role: Role::from_code(role).unwrap_or(Role::Patient),
                org: AccountIndex::new(org).ok(),
                key: SigningKey::from_seed(&seed).public(),
                encryption: Fr::from(7),
            };
            let operation = L1Operation::from(registration);
            let entry = operation.entry();
            prop_assert_eq!(L1Operation::from_entry(&entry), Ok(operation));
            // A lower bit, a slot, a status, another kind.
            for bit in [0, 18, 43, 87] {
                let mut other = entry;
                other.packed += Fr::from_u128(1 << bit);
                prop_assert!(L1Operation::from_entry(&other).is_err());
            }
            prop_assert!(to_u64(&entry.packed).is_none());
        }
    }
}
