//! Whether the accounts of an operation still have the owners that they had when it was signed.
//!
//! L1 gives out account indices in order. A reorganisation can undo registrations, and an index can then get another
//! owner. A record, a grant or a request that was signed for the earlier owner must not reach the later one.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use emr_core::AccountIndex;

use crate::{
    client::Client,
    error::ClientError,
    profile::{InEpoch, OwnedAccount, outbox::Entry},
    verify::card::CheckedCard,
};

/// A card's account under its owner.
pub(crate) const fn owned(card: &CheckedCard) -> OwnedAccount {
    OwnedAccount { account: card.account(), owner: card.ethereum() }
}

/// A card's account under its owner, in its epoch.
pub(crate) const fn in_epoch(card: &CheckedCard) -> InEpoch {
    (owned(card), card.epoch())
}

/// Who owns the accounts of an operation now, compared with the time of signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owning {
    /// The same owners.
    Same,
    /// This account has another owner.
    Other(AccountIndex),
    /// One of the accounts has no owner at the moment.
    Nobody,
}

/// The owners that L1 names. Each account is asked for once.
#[derive(Debug, Default)]
pub(crate) struct Owners(BTreeMap<AccountIndex, Option<Address>>);

impl Owners {
    /// Compares an operation's accounts with L1.
    ///
    /// # Errors
    /// [`ClientError`] if L1 cannot be asked.
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
