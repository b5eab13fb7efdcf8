//! Admission of an account through the L1 queue.

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role};
use halo2curves::ff::Field;

use crate::{
    batch::Words,
    layout,
    operation::Kind,
    primitive::{
        eddsa::{PublicKey, SignatureError},
        field::Fr,
    },
    state::leaf::{IdentityLeaf, index_or_zero},
    statement::EntryFields,
};

/// Words that are not a registration.
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

    /// The four words of D1.
    pub fn words(&self) -> Words {
        self.fields().words()
    }

    /// Reads the four words of D1.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn from_words(words: &Words) -> Result<Self, RegistrationError> {
        let [_, account, role, _, org, ..] = layout::L1_ENTRY.unpack(&words[0]).ok_or(RegistrationError::Fields)?;
        let account = AccountIndex::new(account).map_err(|_| RegistrationError::Fields)?;
        let role = u8::try_from(role).ok().and_then(Role::from_code).ok_or(RegistrationError::Fields)?;
        let org = AccountIndex::new(org).ok();
        let key = PublicKey::from_coordinates(words[1], words[2])?;
        let registration = Self { account, role, org, key, encryption: words[3] };
        if registration.words()[0] == words[0] { Ok(registration) } else { Err(RegistrationError::Fields) }
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
        fn words_round_trip(account in 1u64..1 << 24, org in 0u64..1 << 24, role in 1u8..4, seed: [u8; 32]) {
            let registration = Registration {
                account: AccountIndex::new(account)?,
                role: Role::from_code(role).unwrap_or(Role::Patient),
                org: AccountIndex::new(org).ok(),
                key: SigningKey::from_seed(&seed).public(),
                encryption: Fr::from(7),
            };
            let words = registration.words();
            prop_assert_eq!(Registration::from_words(&words), Ok(registration));
            for bit in [0, 18, 91] {
                let mut other = words;
                other[0] += Fr::from_u128(1 << bit);
                prop_assert!(Registration::from_words(&other).is_err());
            }
            prop_assert!(to_u64(&words[0]).is_none());
        }
    }
}
