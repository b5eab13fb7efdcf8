//! Who owns an account on L1: the present owner hands it over, or guardians whom the owner chose recover it when the key is lost.

mod history;
mod refusal;
mod stored;
mod takeover;

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    sol_types::{SolEvent, SolValue},
};
use emr_core::{AccountIndex, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{
    bindings::EmrRollup,
    registry::number,
    revert::RollupError,
    rollup::Rollup,
    settlement_layer::decode,
    transaction::{L1Receipt, TRANSACTION_GAS_CAP},
};

pub use refusal::OwnershipRefusal;
pub use stored::{recovery_slot, waiting_recovery};
pub use takeover::{Approval, SignedTakeover, Takeover};

/// Those who can recover an account together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountGuardians {
    /// Their accounts, in ascending order.
    pub accounts: Vec<Address>,
    /// How many of them must agree.
    pub needed: u8,
}

/// The recovery of an account, as the contract holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The hash of the guardians; zero if there never were any.
    pub guardians: B256,
    /// How many of them must agree; 0 if there are none.
    pub needed: u8,
    /// Approvals count in one round only.
    pub round: u64,
    /// The recovery that waits: who becomes the owner, and from when on.
    pub pending: Option<(Address, UnixTime)>,
}

impl<P: Provider> Rollup<P> {
    /// The guardians and the pending recovery of an account.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn recovery_of(&self, account: AccountIndex) -> Result<Recovery, RollupError> {
        let found = self.contract().recoveryOf(number(account)).call().await?;
        let ripe_at = UnixTime::new(found.ripeAt.to()).map_err(|error| RollupError::Malformed(error.to_string()))?;
        Ok(Recovery {
            guardians: found.guardians,
            needed: found.needed,
            round: found.round.to(),
            pending: (!found.newOwner.is_zero()).then_some((found.newOwner, ripe_at)),
        })
    }

    /// The guardians of an account, as the contract's events name them and its storage confirms them.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or if its events do not name the guardians.
    pub async fn guardians_of(&self, account: AccountIndex) -> Result<AccountGuardians, RollupError> {
        let held = self.recovery_of(account).await?;
        if held.needed == 0 {
            return Ok(AccountGuardians::default());
        }
        let filter = self.events(EmrRollup::GuardiansChanged::SIGNATURE_HASH).topic1(U256::from(account.get()));
        for log in self.logs(filter, self.deployed_at()).await?.iter().rev() {
            let EmrRollup::GuardiansChanged { guardians, needed, .. } = decode(log)?;
            if keccak256(guardians.abi_encode_packed()) == held.guardians && needed == held.needed {
                return Ok(AccountGuardians { accounts: guardians, needed });
            }
        }
        Err(RollupError::Malformed(format!("the events do not name the guardians of account {account}")))
    }

    /// The address that registered an account, whoever owns it now.
    ///
    /// # Errors
    /// Returns [`RollupError`] if the node does not answer, or answers with an error.
    pub async fn registrant_of(&self, account: AccountIndex) -> Result<Option<Address>, RollupError> {
        let registrant = self.contract().registrantOf(number(account)).call().await?;
        Ok((!registrant.is_zero()).then_some(registrant))
    }

    /// Gives the sender's account these guardians. This cancels a recovery, also if they are the same as before. No guardians end recovery.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn set_guardians(&self, owner: Address, guardians: &AccountGuardians) -> Result<L1Receipt, RollupError> {
        let (accounts, needed) = (guardians.accounts.clone(), guardians.needed);
        let call = self.contract().setGuardians(owner, accounts, needed, U256::ZERO, Bytes::new());
        Ok(L1Receipt::of(&self.send(call).await?))
    }

    /// Gives the sender's account to the new owner, at once.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn hand_over(&self, signed: &SignedTakeover) -> Result<L1Receipt, RollupError> {
        let Takeover { owner, new_owner, deadline, .. } = signed.takeover;
        let deadline = U256::from(deadline.get());
        let call = self.contract().changeOwner(owner, new_owner, deadline, Bytes::new(), signed.change.clone());
        Ok(L1Receipt::of(&self.send(call).await?))
    }

    /// Begins the recovery of an account. Anyone can send it. Approvals of others than guardians are left out.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses, for example because too few guardians approved.
    pub async fn begin_recovery(
        &self,
        signed: &SignedTakeover,
        guardians: &AccountGuardians,
        approvals: &[Approval],
    ) -> Result<L1Receipt, RollupError> {
        let Takeover { account, new_owner, deadline, .. } = signed.takeover;
        let given: BTreeMap<_, _> = approvals
            .iter()
            .filter(|approval| approval.takeover == signed.takeover)
            .map(|approval| (approval.guardian, approval.signature.clone()))
            .collect();
        let of = |guardian: &Address| given.get(guardian).cloned().unwrap_or_default();
        let call = self.contract().beginRecovery(
            number(account),
            new_owner,
            guardians.accounts.clone(),
            U256::from(deadline.get()),
            signed.recovery.clone(),
            guardians.accounts.iter().map(of).collect(),
        );
        Ok(L1Receipt::of(&self.send_within(call, TRANSACTION_GAS_CAP).await?))
    }

    /// Gives an account to the new owner whom guardians named, once its delay is over. Anyone can send it.
    ///
    /// # Errors
    /// Returns [`RollupError::Reverted`] if the contract refuses.
    pub async fn finish_recovery(&self, account: AccountIndex) -> Result<L1Receipt, RollupError> {
        Ok(L1Receipt::of(&self.send(self.contract().finishRecovery(number(account))).await?))
    }
}
