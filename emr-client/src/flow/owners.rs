//! Whether the accounts of an operation still belong to whom they belonged when it was signed.
//!
//! L1 gives out account indices in order. A reorganisation takes registrations back, and an index can get another owner. What was signed for the
//! predecessor must not reach the successor: not a record, not a grant, not a request.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use emr_core::AccountIndex;

use crate::{client::Client, error::ClientError, profile::outbox::Entry};

/// Who owns the accounts of an operation now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owning {
    /// Those who did when it was signed.
    Same,
    /// Somebody else owns this one.
    Other(AccountIndex),
    /// One of them has no owner at the moment.
    Nobody,
}

/// The owners that L1 names, each account asked for once.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<AccountIndex, Option<Address>>);

impl Owners {
    /// Compares an operation's accounts with L1.
    ///
    /// # Errors
    /// If L1 cannot be asked.
    pub(crate) async fn of(&mut self, client: &Client, entry: &Entry) -> Result<Owning, ClientError> {
        let (operation, parties) = (entry.draft().submission.signed.operation, entry.draft().parties);
        let mut owning = Owning::Same;
        for (account, owner) in [(operation.signer, parties.signer), (operation.patient, parties.patient)] {
            match self.now(client, account).await? {
                Some(now) if now == owner => {}
                Some(_) => return Ok(Owning::Other(account)),
                None => owning = Owning::Nobody,
            }
        }
        Ok(owning)
    }

    async fn now(&mut self, client: &Client, account: AccountIndex) -> Result<Option<Address>, ClientError> {
        if let Some(known) = self.0.get(&account) {
            return Ok(*known);
        }
        let owner = client.rollup.account(account).await?.map(|account| account.owner);
        self.0.insert(account, owner);
        Ok(owner)
    }
}
