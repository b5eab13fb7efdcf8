//! Admission of an account through the L1 queue.

use emr_core::{AccountEpoch, AccountIndex, AccountStatus, Role};

use super::{AccountRule, EntryError, L1Rule, MedicalChange, MedicalRule, Part, Queued, account_of, fields_of};
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
    pub const RULE: L1Rule = L1Rule {
        account: AccountRule::Fresh,
        profile: Part::Queued,
        status: Part::Queued,
        keys: Part::Queued,
        medical: MedicalRule::EmptyForPatient,
    };

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
        let account = account_of(Kind::Register, account)?;
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
            role: u64::from(self.role.code()).into(),
            status: u64::from(AccountStatus::Active.code()).into(),
            org: index_or_zero(self.org).into(),
            key_x: self.key.x(),
            key_y: self.key.y(),
            opaque: self.encryption,
            ..fields_of(Kind::Register, self.account)
        }
    }

    fn identity(&self, before: Option<&IdentityLeaf>) -> Option<IdentityLeaf> {
        before.is_none().then(|| Self::identity(self))
    }

    fn medical(&self) -> MedicalChange {
        match self.role {
            Role::Patient => MedicalChange::Begins,
            Role::Doctor | Role::Hospital => MedicalChange::Stays,
        }
    }
}
