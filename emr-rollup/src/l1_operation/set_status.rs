//! A new status of an account, through the L1 queue.

use emr_core::{AccountIndex, AccountStatus};

use super::{AccountRule, EntryError, L1Rule, MedicalChange, MedicalRule, Part, Queued, account_of, fields_of};
use crate::{batch::D1Entry, operation::Kind, state::leaf::IdentityLeaf, statement::EntryFields};

/// Suspends an account, closes it, or makes it active again. Who may do this to which account is the contract's to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetStatus {
    /// The account.
    pub account: AccountIndex,
    /// The status after.
    pub status: AccountStatus,
}

impl SetStatus {
    /// The rules of this kind.
    pub const RULE: L1Rule = L1Rule {
        account: AccountRule::Registered,
        profile: Part::Stays,
        status: Part::Queued,
        keys: Part::Stays,
        medical: MedicalRule::Stays,
    };

    /// Reads an entry of this kind. The caller checks that the result encodes to the same entry.
    pub(super) fn decode([_, account, _, status, ..]: [u64; 8], _: &D1Entry) -> Result<Self, EntryError> {
        let account = account_of(Kind::SetStatus, account)?;
        let status = u8::try_from(status).ok().and_then(AccountStatus::from_code);
        Ok(Self { account, status: status.ok_or(EntryError::Fields(Kind::SetStatus))? })
    }
}

impl Queued for SetStatus {
    fn account(&self) -> AccountIndex {
        self.account
    }

    fn fields(&self) -> EntryFields {
        EntryFields { status: u64::from(self.status.code()).into(), ..fields_of(Kind::SetStatus, self.account) }
    }

    fn identity(&self, before: Option<&IdentityLeaf>) -> Option<IdentityLeaf> {
        let next = before?.next_epoch()?;
        Some(IdentityLeaf { status: self.status, ..next })
    }

    fn medical(&self) -> MedicalChange {
        MedicalChange::Stays
    }
}
