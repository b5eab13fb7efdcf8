//! The end of an account.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    signers::SignerSync,
    sol_types::SolStruct,
};
use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use crate::registration::RollupInstance;

mod eip712 {
    alloy::sol! {
        /// The message that an owner signs. The contract's `closeAccountFor` computes its hash again.
        struct AccountClosing {
            address owner;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

/// The end of an account, which its owner signed and anyone can relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedClosing {
    /// The rollup that it is for.
    pub instance: RollupInstance,
    /// The owner of the account.
    pub owner: Address,
    /// The last second at which the contract accepts it.
    pub deadline: UnixTime,
    /// 65 bytes `r || s || v` of an externally owned account, or a signature that an ERC-1271 wallet accepts.
    pub signature: Bytes,
}

impl SignedClosing {
    /// The hash that the owner signs (EIP-712). `nonce` is the owner's next one, [`Rollup::nonce_of`](crate::Rollup::nonce_of).
    pub fn signing_hash(instance: &RollupInstance, owner: Address, nonce: U256, deadline: UnixTime) -> B256 {
        let message = eip712::AccountClosing { owner, nonce, deadline: U256::from(deadline.get()) };
        message.eip712_signing_hash(&instance.eip712_domain())
    }

    /// Signs the end of the owner's account, with the key of that externally owned account. Anyone can relay the result until `deadline`.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn sign(
        instance: &RollupInstance,
        owner: Address,
        key: &impl SignerSync,
        nonce: U256,
        deadline: UnixTime,
    ) -> Result<Self, alloy::signers::Error> {
        let signature = key.sign_hash_sync(&Self::signing_hash(instance, owner, nonce, deadline))?;
        Ok(Self { instance: *instance, owner, deadline, signature: signature.as_bytes().into() })
    }
}
