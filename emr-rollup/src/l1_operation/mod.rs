//! Operations that come through the queue on L1. They have no rollup signature, because the contract checked them. They are total: an entry
//! that cannot take effect is consumed and changes nothing. Each kind has one file with its data, its row in the table of rules, its fields in
//! D1, and the leaves that it writes.

mod forced_revoke;
mod register;
mod rotate_key;
mod rule;
mod set_status;

use emr_core::AccountIndex;

pub use self::{
    forced_revoke::{ForcedRevoke, RevokedGrants},
    register::Register,
    rotate_key::RotateKey,
    rule::{AccountRule, L1Rule, MedicalRule, Part},
    set_status::SetStatus,
};
use crate::{
    batch::D1Entry, layout, operation::Kind, primitive::eddsa::SignatureError, state::leaf::IdentityLeaf,
    statement::EntryFields,
};

/// Why an entry is not an L1 operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// No kind of L1 operation has this code.
    #[error("the entry has the kind {0}, which no L1 operation has")]
    Kind(u64),
    /// A field has a value that the contract never queues.
    #[error("the packed fields are not those of a {0}")]
    Fields(Kind),
    /// The key is not a valid public key.
    #[error(transparent)]
    Key(#[from] SignatureError),
}

/// Makes [`L1Operation`] and its dispatch from the list of kinds.
macro_rules! l1_operations {
    ($($(#[$meta:meta])* $kind:ident,)+) => {
        /// An entry of the L1 queue.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum L1Operation {
            $($(#[$meta])* $kind($kind),)+
        }

        impl L1Operation {
            /// The operation's kind.
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            /// The rules of this kind.
            pub const fn rule(&self) -> &'static L1Rule {
                match self {
                    $(Self::$kind(_) => &$kind::RULE,)+
                }
            }

            fn queued(&self) -> &dyn Queued {
                match self {
                    $(Self::$kind(operation) => operation,)+
                }
            }

            fn decode(entry: &D1Entry) -> Result<Self, EntryError> {
                let fields = layout::L1_ENTRY.unpack(&entry.packed).ok_or(EntryError::Kind(u64::MAX))?;
                match fields[0] {
                    $(code if code == Kind::$kind.code() as u64 => $kind::decode(fields, entry).map(Self::$kind),)+
                    code => Err(EntryError::Kind(code)),
                }
            }
        }

        $(impl From<$kind> for L1Operation {
            fn from(operation: $kind) -> Self {
                Self::$kind(operation)
            }
        })+
    };
}

l1_operations! {
    /// Admits an account.
    Register,
    /// Sets an account's status.
    SetStatus,
    /// Gives an account new keys.
    RotateKey,
    /// Ends a patient's grants.
    ForcedRevoke,
}

/// What every kind of L1 operation provides.
trait Queued {
    fn account(&self) -> AccountIndex;
    fn fields(&self) -> EntryFields;
    /// The identity leaf after it. `None` if it has no effect.
    fn identity(&self, before: Option<&IdentityLeaf>) -> Option<IdentityLeaf>;
    fn medical(&self) -> MedicalChange;
}

/// What an operation that takes effect does to the account's medical leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MedicalChange {
    /// Nothing changes. An account without a medical leaf gets none.
    Stays,
    /// It begins, over an empty subtree.
    Begins,
    /// Grants end.
    GrantsEnd(ForcedRevoke),
}

impl L1Operation {
    /// The account that the entry changes.
    pub fn account(&self) -> AccountIndex {
        self.queued().account()
    }

    /// The entry's fields.
    pub fn fields(&self) -> EntryFields {
        self.queued().fields()
    }

    /// The operation's entry of D1.
    pub fn entry(&self) -> D1Entry {
        self.fields().entry()
    }

    /// The identity leaf after the operation, on an account with this leaf before. `None` if the operation has no effect.
    pub fn identity(&self, before: Option<&IdentityLeaf>) -> Option<IdentityLeaf> {
        self.queued().identity(before)
    }

    /// What the operation does to the medical leaf, if it takes effect.
    pub(crate) fn medical(&self) -> MedicalChange {
        self.queued().medical()
    }

    /// Reads an entry of D1.
    ///
    /// # Errors
    /// [`EntryError`] if the contract would not queue this entry for any kind.
    pub fn from_entry(entry: &D1Entry) -> Result<Self, EntryError> {
        let operation = Self::decode(entry)?;
        if operation.entry() == *entry { Ok(operation) } else { Err(EntryError::Fields(operation.kind())) }
    }
}

/// The fields of an entry of this kind for an account. All others are 0.
fn fields_of(kind: Kind, account: AccountIndex) -> EntryFields {
    EntryFields { kind: u64::from(kind.code()).into(), account: account.get().into(), ..EntryFields::default() }
}

/// An account index in an entry.
fn account_of(kind: Kind, index: u64) -> Result<AccountIndex, EntryError> {
    AccountIndex::new(index).map_err(|_| EntryError::Fields(kind))
}

#[cfg(test)]
mod tests {
    use emr_core::{AccountStatus, GrantSlot, Role};
    use halo2curves::ff::{Field, PrimeField};
    use proptest::prelude::*;

    use super::*;
    use crate::primitive::{
        eddsa::SigningKey,
        field::{Fr, to_u64},
    };

    pub(super) fn any_operation() -> impl Strategy<Value = L1Operation> {
        let account = (1u64..1 << 24).prop_map(|index| AccountIndex::new(index).expect("an account"));
        let key = any::<[u8; 32]>().prop_map(|seed| SigningKey::from_seed(&seed).public());
        let opaque = any::<u64>().prop_map(Fr::from);
        let role = prop::sample::select(Role::ALL);
        let status = prop::sample::select(AccountStatus::ALL);
        let org = prop::option::of(account.clone());
        let slot = (0..=GrantSlot::MAX).prop_map(|slot| RevokedGrants::Slot(GrantSlot::new(slot).expect("a slot")));
        let grants = prop_oneof![slot, Just(RevokedGrants::All)];
        let directory = prop::option::of(opaque.clone().prop_map(Into::into));
        prop_oneof![
            (account.clone(), role, org, key.clone(), opaque.clone()).prop_map(
                |(account, role, org, key, encryption)| Register { account, role, org, key, encryption }.into()
            ),
            (account.clone(), status).prop_map(|(account, status)| SetStatus { account, status }.into()),
            (account.clone(), key, opaque).prop_map(|(account, key, encryption)| RotateKey {
                account,
                key,
                encryption
            }
            .into()),
            (account, grants, directory).prop_map(|(account, grants, directory)| ForcedRevoke {
                account,
                grants,
                directory
            }
            .into()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every operation has one entry, and a field that its kind does not have must be 0.
        #[test]
        fn entries_round_trip_and_have_one_form(operation in any_operation()) {
            let entry = operation.entry();
            prop_assert_eq!(L1Operation::from_entry(&entry), Ok(operation.clone()));
            prop_assert!(to_u64(&entry.packed).is_none());
            // Kind, role, status, organisation, tree, slot, replace_directory. The account may be any.
            let fields = operation.fields().packed_fields();
            for (i, unit) in (0..8).map(|i| (i, layout::L1_ENTRY.unit(i))).filter(|(i, _)| *i != 1) {
                if fields[i] == Fr::ZERO {
                    let other = D1Entry { packed: entry.packed + unit, ..entry };
                    let read = L1Operation::from_entry(&other);
                    // Some fields that are 0 here may have another value.
                    let same = read.as_ref().is_ok_and(|read| *read == operation || read.entry() != other);
                    prop_assert!(!same, "field {}: {:?}", i, read);
                }
            }
            for bit in [91, 100, 247] {
                let other = D1Entry { packed: entry.packed + Fr::from_u128(2).pow([bit]), ..entry };
                prop_assert!(L1Operation::from_entry(&other).is_err());
            }
            let other = D1Entry { key_x: entry.key_x + Fr::ONE, ..entry };
            prop_assert!(L1Operation::from_entry(&other).is_err(), "another key, or a key where none is queued");
        }
    }

    #[test]
    fn an_entry_with_a_field_of_another_kind_is_refused() {
        let account = AccountIndex::new(5).expect("an account");
        let status: L1Operation = SetStatus { account, status: AccountStatus::Suspended }.into();
        let one = GrantSlot::new(64).expect("a slot");
        let revoke = |grants, directory| L1Operation::from(ForcedRevoke { account, grants, directory });
        let slot = revoke(RevokedGrants::Slot(one), None);
        let all = revoke(RevokedGrants::All, None);
        let replaced = revoke(RevokedGrants::All, Some(Fr::from(9).into()));
        let changed = |operation: &L1Operation, change: fn(&mut EntryFields)| {
            let mut fields = operation.fields();
            change(&mut fields);
            L1Operation::from_entry(&fields.entry())
        };
        type Change = fn(&mut EntryFields);
        let refused: [(&L1Operation, Change); 14] = [
            (&status, |fields| fields.status = Fr::ZERO),
            (&status, |fields| fields.status = Fr::from(4)),
            (&status, |fields| fields.role = Fr::ONE),
            (&status, |fields| fields.org = Fr::ONE),
            (&status, |fields| fields.opaque = Fr::ONE),
            (&status, |fields| fields.account = Fr::ZERO),
            (&status, |fields| fields.kind = Fr::from(20)),
            (&slot, |fields| fields.slot = Fr::from(1024)),
            (&slot, |fields| fields.tree = Fr::ZERO),
            (&slot, |fields| fields.tree = Fr::from(2)),
            (&slot, |fields| fields.tree = Fr::from(3)),
            (&all, |fields| fields.slot = Fr::ONE),
            (&all, |fields| fields.opaque = Fr::ONE),
            (&replaced, |fields| fields.replace_directory = Fr::ZERO),
        ];
        for (i, (operation, change)) in refused.into_iter().enumerate() {
            assert!(changed(operation, change).is_err(), "case {i}");
        }
    }
}
