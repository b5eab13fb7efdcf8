//! What a new owner and those who agree sign (EIP-712).

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U24},
    signers::SignerSync,
    sol_types::SolStruct,
};
use emr_core::{AccountIndex, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{registration::RollupInstance, registry::number};

mod eip712 {
    alloy::sol! {
        /// What the present owner and the new one sign. The contract's `changeOwner` computes its hash again.
        struct OwnerChange {
            uint24 account;
            address owner;
            address newOwner;
            uint256 nonce;
            uint256 deadline;
        }

        /// What guardians and the new owner sign. The contract's `beginRecovery` computes its hash again.
        struct Recovery {
            uint24 account;
            address newOwner;
            uint256 round;
            uint256 deadline;
        }
    }
}

/// What the new owner of an account asks: that its present owner hands it over, or that its guardians recover it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Takeover {
    /// The rollup that it is for.
    pub instance: RollupInstance,
    /// The account.
    pub account: AccountIndex,
    /// Its present owner.
    pub owner: Address,
    /// The new owner.
    pub new_owner: Address,
    /// The present owner's next nonce. With another one, the owner's agreement is void.
    pub nonce: U256,
    /// The round of the account's recovery. In another one, the guardians' agreement is void.
    pub round: u64,
    /// The last second at which the contract accepts it.
    pub deadline: UnixTime,
}

impl Takeover {
    /// The hash that the present owner and the new one sign.
    pub fn change_hash(&self) -> B256 {
        let Self { account, owner, new_owner, nonce, .. } = *self;
        let (account, deadline): (U24, _) = (number(account), U256::from(self.deadline.get()));
        let message = eip712::OwnerChange { account, owner, newOwner: new_owner, nonce, deadline };
        message.eip712_signing_hash(&self.instance.eip712_domain())
    }

    /// The hash that guardians and the new owner sign.
    pub fn recovery_hash(&self) -> B256 {
        let Self { account, new_owner, round, .. } = *self;
        let (round, deadline) = (U256::from(round), U256::from(self.deadline.get()));
        let message = eip712::Recovery { account: number(account), newOwner: new_owner, round, deadline };
        message.eip712_signing_hash(&self.instance.eip712_domain())
    }

    /// Signs as the new owner, with the key of that externally owned account.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn sign(self, key: &impl SignerSync) -> Result<SignedTakeover, alloy::signers::Error> {
        let change = key.sign_hash_sync(&self.change_hash())?.as_bytes().into();
        let recovery = key.sign_hash_sync(&self.recovery_hash())?.as_bytes().into();
        Ok(SignedTakeover { takeover: self, change, recovery })
    }

    /// Agrees as a guardian, with the key of that externally owned account.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn approve(&self, guardian: Address, key: &impl SignerSync) -> Result<Approval, alloy::signers::Error> {
        let signature = key.sign_hash_sync(&self.recovery_hash())?.as_bytes().into();
        Ok(Approval { takeover: self.clone(), guardian, signature })
    }
}

/// A takeover that the new owner signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTakeover {
    /// What is asked.
    pub takeover: Takeover,
    /// The new owner's signature for the case that the present owner agrees: 65 bytes `r || s || v`, or what an ERC-1271 wallet accepts.
    pub change: Bytes,
    /// The same for the case that guardians agree.
    pub recovery: Bytes,
}

/// A guardian's agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What it is for.
    pub takeover: Takeover,
    /// The guardian.
    pub guardian: Address,
    /// 65 bytes `r || s || v`, or what an ERC-1271 wallet accepts.
    pub signature: Bytes,
}
