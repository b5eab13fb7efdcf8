//! Admission of an account through the L1 queue.

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role};
use halo2curves::ff::Field;

use crate::{
    batch::D1Entry,
    layout,
    operation::Kind,
    primitive::{
        eddsa::{PublicKey, SignatureError},
        field::Fr,
    },
    state::leaf::{IdentityLeaf, index_or_zero},
    statement::EntryFields,
};

/// An entry that is not a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A field has a value that the contract never queues.
    #[error("the packed fields are not those of a registration")]
    Fields,
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

/// An account as the contract queued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The index that the contract assigned.
    pub account: AccountIndex,
    /// What it is.
    pub role: Role,
    /// The hospital it belongs to.
    pub org: Option<AccountIndex>,
    /// Its rollup key.
    pub key: PublicKey,
    /// Commitment to its RSA key.
    pub encryption: Fr,
}

impl Registration {
    /// The identity leaf it creates.
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

    /// The entry's fields.
    pub fn fields(&self) -> EntryFields {
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

    /// Its entry of D1.
    pub fn entry(&self) -> D1Entry {
        self.fields().entry()
    }

    /// Reads an entry of D1.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn from_entry(entry: &D1Entry) -> Result<Self, RegistrationError> {
        let [_, account, role, _, org, ..] = layout::L1_ENTRY.unpack(&entry.packed).ok_or(RegistrationError::Fields)?;
        let account = AccountIndex::new(account).map_err(|_| RegistrationError::Fields)?;
        let role = u8::try_from(role).ok().and_then(Role::from_code).ok_or(RegistrationError::Fields)?;
        let org = AccountIndex::new(org).ok();
        let key = PublicKey::from_coordinates(entry.key_x, entry.key_y)?;
        let registration = Self { account, role, org, key, encryption: entry.opaque };
        if registration.entry().packed == entry.packed { Ok(registration) } else { Err(RegistrationError::Fields) }
    }
}

#[cfg(test)]
mod tests {
    use halo2curves::ff::PrimeField;
    use proptest::prelude::*;

    use super::*;
    use crate::primitive::{eddsa::SigningKey, field::to_u64};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn entries_round_trip(account in 1u64..1 << 24, org in 0u64..1 << 24, role in 1u8..4, seed: [u8; 32]) {
            let registration = Registration {
                account: AccountIndex::new(account)?,
                role: Role::from_code(role).unwrap_or(Role::Patient),
                org: AccountIndex::new(org).ok(),
                key: SigningKey::from_seed(&seed).public(),
                encryption: Fr::from(7),
            };
            let entry = registration.entry();
            prop_assert_eq!(Registration::from_entry(&entry), Ok(registration));
            for bit in [0, 18, 91] {
                let mut other = entry;
                other.packed += Fr::from_u128(1 << bit);
                prop_assert!(Registration::from_entry(&other).is_err());
            }
            prop_assert!(to_u64(&entry.packed).is_none());
        }
    }
}
