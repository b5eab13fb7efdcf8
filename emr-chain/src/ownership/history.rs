//! Who owned an account before: for a registrar who has an older card of it.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
    sol_types::SolEvent,
};
use emr_core::AccountIndex;

use crate::{
    bindings::EmrRollup,
    registry::{index, number},
    revert::RollupError,
    rollup::Rollup,
    settlement_layer::decode,
};

impl<P: Provider> Rollup<P> {
    /// All owners of an account in order, from the one who registered it to the present one. Empty if the index is not assigned.
    ///
    /// The contract's events tell the owners between. Its storage confirms who was first and who is last, and that there were not fewer
    /// changes. So nobody is made an owner of an account that always had one. Of other accounts, a node can still name false owners between.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or if its events contradict the contract's storage.
    pub async fn owners_of(&self, account: AccountIndex) -> Result<Vec<Address>, RollupError> {
        let (Some(registrant), Some(found)) = (self.registrant_of(account).await?, self.account(account).await?) else {
            return Ok(Vec::new());
        };
        let mut owners = vec![registrant];
        let filter = self.events(EmrRollup::OwnerChanged::SIGNATURE_HASH).topic1(U256::from(account.get()));
        for log in self.logs(filter, self.deployed_at()).await? {
            let EmrRollup::OwnerChanged { account: of, owner, newOwner: next } = decode(&log)?;
            if of != number(account) || owners.last() != Some(&owner) {
                return Err(contradiction(account));
            }
            owners.push(next);
        }
        // Each change of the owner begins another round.
        let changes = owners.len() as u64 - 1;
        if owners.last() != Some(&found.owner) || changes > self.recovery_of(account).await?.round {
            return Err(contradiction(account));
        }
        Ok(owners)
    }

    /// The accounts that an address owned and that went to another one. It may have got one of them back. Confirmed like
    /// [`Self::owners_of`]; a node that leaves events out hides accounts.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or if its events contradict each other or the contract's storage.
    pub async fn accounts_given_away_by(&self, owner: Address) -> Result<BTreeSet<AccountIndex>, RollupError> {
        let filter = self.events(EmrRollup::OwnerChanged::SIGNATURE_HASH).topic2(owner);
        let mut accounts = BTreeSet::new();
        for log in self.logs(filter, self.deployed_at()).await? {
            let event: EmrRollup::OwnerChanged = decode(&log)?;
            accounts.extend(index(event.account)?);
        }
        for account in &accounts {
            if !self.owners_of(*account).await?.contains(&owner) {
                return Err(contradiction(*account));
            }
        }
        Ok(accounts)
    }
}

fn contradiction(account: AccountIndex) -> RollupError {
    RollupError::Malformed(format!("the events do not lead to the present owner of account {account}"))
}
