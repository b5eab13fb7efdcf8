//! Who owns an account on L1. Somebody who lost their keys, or has a new device, asks with a new identity to take the account over. Either the
//! present owner hands it over at once, or enough of the guardians whom the owner named agree; then the owner has seven days to cancel. The account's
//! keys stay those of before until the new owner gives it theirs ([`L1Client::rotate`]).

use alloy::{
    primitives::{Address, B256, Signature},
    providers::DynProvider,
};
use emr_chain::{AccountGuardians, Approval, L1Receipt, Rollup, RollupInstance, SignedTakeover, Takeover};
use emr_core::{AccountIndex, Role, UnixTime};

use crate::{
    error::ClientError,
    keys::{self, HashSigner, KeyError},
    l1_client::L1Client,
};

/// How long a request to take an account over is valid, in seconds: guardians may be on holiday.
const TAKEOVER_VALIDITY: u64 = 30 * 24 * 3600;

/// Why an account's owner does not change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnershipError {
    /// There is no such account.
    #[error("there is no account {0} on L1: check the number, which the account's card tells")]
    NoAccount(AccountIndex),
    /// The identity has an account.
    #[error(
        "this identity owns account {0} already: take another account over with a new identity (`init` in another --data-dir)"
    )]
    OwnsAnAccount(AccountIndex),
    /// The account has another role.
    #[error("account {0} is a {1}'s: take it over with an identity of that role (`emr-{1} init`)")]
    AnotherRole(AccountIndex, Role),
    /// The request is for another account.
    #[error("the request is for account {asked}, and you named {named}: do not agree to it")]
    OtherAccount {
        /// The account in the request.
        asked: AccountIndex,
        /// The account that the caller expects.
        named: AccountIndex,
    },
    /// A guardian is named twice.
    #[error("{0} is named twice: name each guardian once")]
    Twice(Address),
    /// An agreement is not signed by its guardian.
    #[error("the agreement of {0} is not signed by them: leave that file out")]
    NotTheirs(Address),
    /// The contract does not hold what the receipt says.
    #[error(
        "the contract does not hold what the Ethereum node says it did: use another Ethereum node, and look with `owner show`"
    )]
    NotDone,
    /// The request is for another rollup.
    #[error("the request is for contract {} on chain {}: it is not for this rollup", .0.contract, .0.chain_id)]
    OtherRollup(RollupInstance),
    /// The request is not signed by the one whom it names as the new owner.
    #[error("the request is not signed by {0}, whom it names as the new owner: do not agree to it")]
    Forged(Address),
    /// The address that the person told is not that of the request.
    #[error(
        "the request makes {asked} the new owner, and you named {named}: somebody may have exchanged the request; do not agree to it"
    )]
    OtherPerson {
        /// The new owner in the request.
        asked: Address,
        /// The new owner whom the caller expects.
        named: Address,
    },
    /// Something changed since the request was made.
    #[error(
        "the account's owner, its guardians or a recovery changed since this request was made, or it is too old: make it again"
    )]
    Void,
    /// The identity does not own the account.
    #[error("this identity does not own account {0}: only its owner can do this")]
    NotOwner(AccountIndex),
    /// The identity is no guardian of the account.
    #[error("{1} is no guardian of account {0}: only those whom the owner named can agree")]
    NotGuardian(AccountIndex, Address),
    /// The account has no guardians.
    #[error("account {0} has no guardians: without its owner's key nobody can take it over")]
    NoGuardians(AccountIndex),
    /// No recovery waits.
    #[error("no recovery of account {0} waits")]
    NoRecovery(AccountIndex),
    /// Too few guardians agreed.
    #[error("{needed} guardians must agree, and these files have the agreement of {given}: collect more")]
    Approvals {
        /// How many must.
        needed: u8,
        /// How many did.
        given: usize,
    },
}

/// An account's ownership, as L1 tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The account.
    pub account: AccountIndex,
    /// The present owner.
    pub owner: Address,
    /// Who registered it.
    pub registrant: Address,
    /// Those who can recover it.
    pub guardians: AccountGuardians,
    /// The recovery that waits: the new owner, and from when on it can be finished.
    pub recovery: Option<(Address, UnixTime)>,
}

/// Who agrees to a takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreeing {
    Owner,
    Guardians,
}

fn signed_by(signature: &[u8], hash: &B256, signer: Address) -> bool {
    let signature = Signature::from_raw(signature);
    signature.is_ok_and(|signature| signature.recover_address_from_prehash(hash).is_ok_and(|found| found == signer))
}

/// Who owns an account, and who can recover it. Anyone can ask.
///
/// # Errors
/// [`OwnershipError::NoAccount`]. [`ClientError`] if L1 cannot be asked.
pub async fn ownership(rollup: &Rollup<DynProvider>, account: AccountIndex) -> Result<Ownership, ClientError> {
    let missing = || OwnershipError::NoAccount(account);
    let owner = rollup.account(account).await?.ok_or_else(missing)?.owner;
    let registrant = rollup.registrant_of(account).await?.ok_or_else(missing)?;
    let guardians = rollup.guardians_of(account).await?;
    let recovery = rollup.recovery_of(account).await?.pending;
    Ok(Ownership { account, owner, registrant, guardians, recovery })
}

impl L1Client {
    /// Who owns an account, who can recover it, and whether a recovery waits.
    ///
    /// # Errors
    /// [`OwnershipError::NoAccount`]. [`ClientError`] if L1 cannot be asked.
    pub async fn ownership(&self, account: AccountIndex) -> Result<Ownership, ClientError> {
        ownership(&self.rollup, account).await
    }

    /// Names those who can recover this account together; none ends recovery. It cancels a recovery that waits.
    ///
    /// # Errors
    /// [`ClientError::NoEther`]. [`ClientError`] if the identity has no account, or if L1 cannot be asked or refuses.
    pub async fn set_guardians(&self, mut guardians: AccountGuardians) -> Result<L1Receipt, ClientError> {
        let account = self.own_account()?;
        guardians.accounts.sort_unstable();
        if let Some(twice) = guardians.accounts.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(OwnershipError::Twice(twice[0]).into());
        }
        self.require_ether().await?;
        let receipt = self.rollup.set_guardians(self.ethereum_address(), &guardians).await?;
        // A receipt is one Ethereum node's word. What the contract holds is asked again.
        let held = self.rollup.recovery_of(account).await?;
        if held.pending.is_some() || self.rollup.guardians_of(account).await? != guardians {
            return Err(OwnershipError::NotDone.into());
        }
        Ok(receipt)
    }

    /// Asks to take an account over, as its new owner.
    ///
    /// # Errors
    /// [`OwnershipError`] if there is no such account, or if this identity owns one. [`ClientError`] if L1 cannot be asked or the keys refuse.
    pub async fn request_takeover(&self, account: AccountIndex) -> Result<SignedTakeover, ClientError> {
        if let Some(own) = self.account() {
            return Err(OwnershipError::OwnsAnAccount(own).into());
        }
        let found = self.rollup.account(account).await?.ok_or(OwnershipError::NoAccount(account))?;
        if found.role != self.keys.role() {
            return Err(OwnershipError::AnotherRole(account, found.role).into());
        }
        let takeover = Takeover {
            instance: *self.rollup.instance(),
            account,
            owner: found.owner,
            new_owner: self.ethereum_address(),
            nonce: self.rollup.nonce_of(found.owner).await?,
            round: self.rollup.recovery_of(account).await?.round,
            deadline: UnixTime::now().saturating_add(TAKEOVER_VALIDITY),
        };
        let signed = keys::with(&self.keys, move |keys| {
            takeover.sign(&HashSigner(keys)).map_err(|error| KeyError::Refused(error.to_string()))
        });
        Ok(signed.await?)
    }

    /// Agrees, as a guardian, that an account goes to the one who asks. `named` are the account and the new owner's address as that person told
    /// them: a request that somebody exchanged on its way names others.
    ///
    /// # Errors
    /// [`OwnershipError`] if the request is not that person's, is void, or if this identity is no guardian. [`ClientError`] if L1 cannot be asked
    /// or the keys refuse.
    pub async fn approve_takeover(
        &self,
        signed: &SignedTakeover,
        (account, person): (AccountIndex, Address),
    ) -> Result<Approval, ClientError> {
        if signed.takeover.account != account {
            return Err(OwnershipError::OtherAccount { asked: signed.takeover.account, named: account }.into());
        }
        self.expect_valid(signed, person, Agreeing::Guardians).await?;
        let (takeover, own) = (signed.takeover.clone(), self.ethereum_address());
        if !self.rollup.guardians_of(takeover.account).await?.accounts.contains(&own) {
            return Err(OwnershipError::NotGuardian(takeover.account, own).into());
        }
        let approved = keys::with(&self.keys, move |keys| {
            takeover.approve(own, &HashSigner(keys)).map_err(|error| KeyError::Refused(error.to_string()))
        });
        Ok(approved.await?)
    }

    /// Gives this identity's account to the one who asks, at once and for ever.
    ///
    /// # Errors
    /// [`OwnershipError`] if the request is not that person's, is void, or if this identity does not own the account. [`ClientError::NoEther`].
    /// [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn hand_over(&self, signed: &SignedTakeover, person: Address) -> Result<L1Receipt, ClientError> {
        self.expect_valid(signed, person, Agreeing::Owner).await?;
        if self.account() != Some(signed.takeover.account) {
            return Err(OwnershipError::NotOwner(signed.takeover.account).into());
        }
        self.require_ether().await?;
        let receipt = self.rollup.hand_over(signed).await?;
        self.expect_owner(signed.takeover.account, person).await?;
        Ok(receipt)
    }

    /// Begins the recovery to which guardians agreed. Returns from when on it can be finished.
    ///
    /// # Errors
    /// [`OwnershipError`] if the request is void, or if too few guardians agreed. [`ClientError::NoEther`]. [`ClientError`] if L1 cannot be asked
    /// or refuses.
    pub async fn begin_recovery(
        &self,
        signed: &SignedTakeover,
        approvals: &[Approval],
    ) -> Result<(L1Receipt, UnixTime), ClientError> {
        let Takeover { account, new_owner, .. } = signed.takeover;
        self.expect_valid(signed, new_owner, Agreeing::Guardians).await?;
        let guardians = self.rollup.guardians_of(account).await?;
        if guardians.needed == 0 {
            return Err(OwnershipError::NoGuardians(account).into());
        }
        let counts = |approval: &&Approval| {
            approval.takeover == signed.takeover && guardians.accounts.contains(&approval.guardian)
        };
        let mut given: Vec<_> = approvals.iter().filter(counts).map(|approval| approval.guardian).collect();
        given.sort_unstable();
        given.dedup();
        for approval in approvals.iter().filter(counts) {
            // The contract would refuse all of them.
            let theirs = signed_by(&approval.signature, &approval.takeover.recovery_hash(), approval.guardian);
            if !theirs && !self.is_contract(approval.guardian).await? {
                return Err(OwnershipError::NotTheirs(approval.guardian).into());
            }
        }
        if given.len() < usize::from(guardians.needed) {
            return Err(OwnershipError::Approvals { needed: guardians.needed, given: given.len() }.into());
        }
        self.require_ether().await?;
        let receipt = self.rollup.begin_recovery(signed, &guardians, approvals).await?;
        match self.rollup.recovery_of(account).await?.pending {
            Some((pending, ripe_at)) if pending == new_owner => Ok((receipt, ripe_at)),
            _ => Err(OwnershipError::NotDone.into()),
        }
    }

    /// Gives an account to the one whom guardians agreed on, once the seven days are over.
    ///
    /// # Errors
    /// [`ClientError::NoEther`]. [`ClientError`] if L1 cannot be asked or refuses.
    pub async fn finish_recovery(&self, account: AccountIndex) -> Result<L1Receipt, ClientError> {
        self.require_ether().await?;
        let pending = self.rollup.recovery_of(account).await?.pending;
        let (new_owner, _) = pending.ok_or(OwnershipError::NoRecovery(account))?;
        let receipt = self.rollup.finish_recovery(account).await?;
        self.expect_owner(account, new_owner).await?;
        Ok(receipt)
    }

    /// Cancels the recovery of this identity's account. Returns the guardians that it has from now on: none if this identity was the only one
    /// before it became the owner.
    ///
    /// # Errors
    /// [`OwnershipError::NoRecovery`]. [`ClientError::NoEther`]. [`ClientError`] if the identity has no account, or if L1 cannot be asked or refuses.
    pub async fn cancel_recovery(&self) -> Result<(L1Receipt, AccountGuardians), ClientError> {
        let account = self.own_account()?;
        if self.rollup.recovery_of(account).await?.pending.is_none() {
            return Err(OwnershipError::NoRecovery(account).into());
        }
        // The same guardians once more begin another round, in which the approvals of before are void. A new owner may have been one of them.
        let mut guardians = self.rollup.guardians_of(account).await?;
        guardians.accounts.retain(|guardian| *guardian != self.ethereum_address());
        guardians.needed = guardians.needed.min(u8::try_from(guardians.accounts.len()).unwrap_or(u8::MAX));
        let receipt = self.set_guardians(guardians.clone()).await?;
        Ok((receipt, guardians))
    }

    async fn is_contract(&self, address: Address) -> Result<bool, ClientError> {
        Ok(self.rollup.has_code(address).await?)
    }

    /// A receipt is one Ethereum node's word, so what the contract holds is asked again.
    async fn expect_owner(&self, account: AccountIndex, owner: Address) -> Result<(), ClientError> {
        let now = self.rollup.account(account).await?.map(|account| account.owner);
        if now == Some(owner) { Ok(()) } else { Err(OwnershipError::NotDone.into()) }
    }

    /// Checks that a request is that person's, and that nothing has made it void.
    async fn expect_valid(&self, signed: &SignedTakeover, person: Address, who: Agreeing) -> Result<(), ClientError> {
        let takeover = &signed.takeover;
        let Takeover { account, owner, new_owner, nonce, round, deadline, .. } = takeover.clone();
        if takeover.instance != *self.rollup.instance() {
            return Err(OwnershipError::OtherRollup(takeover.instance).into());
        }
        if new_owner != person {
            return Err(OwnershipError::OtherPerson { asked: new_owner, named: person }.into());
        }
        // A contract says itself on L1 whether it signed.
        let both = signed_by(&signed.change, &takeover.change_hash(), new_owner)
            && signed_by(&signed.recovery, &takeover.recovery_hash(), new_owner);
        if !both && !self.is_contract(new_owner).await? {
            return Err(OwnershipError::Forged(new_owner).into());
        }
        let found = self.rollup.account(account).await?.ok_or(OwnershipError::NoAccount(account))?;
        // Whatever the owner signs makes the next nonce. What guardians agree to does not depend on it.
        let is_void = match who {
            Agreeing::Owner => self.rollup.nonce_of(owner).await? != nonce,
            Agreeing::Guardians => self.rollup.recovery_of(account).await?.round != round,
        };
        if is_void || found.owner != owner || deadline < UnixTime::now() {
            return Err(OwnershipError::Void.into());
        }
        Ok(())
    }
}
