//! New keys of an account.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    signers::SignerSync,
    sol_types::SolStruct,
};
use emr_core::UnixTime;
use serde::{Deserialize, Serialize};

use crate::registration::{Registration, RollupInstance};

mod eip712 {
    alloy::sol! {
        /// The message that an owner signs. The contract's `rotateKeysFor` computes its hash again.
        struct KeyRotation {
            address owner;
            uint256 qx;
            uint256 qy;
            uint256 encryptionCommitment;
            bytes32 kemHash;
            bytes rsaModulus;
            bytes rsaSignature;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

/// New keys of an account, which their owner signed and anyone can relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRotation {
    /// The rollup that it is for.
    pub instance: RollupInstance,
    /// The new keys, with the account's role and organisation.
    pub registration: Registration,
    /// The owner of the account.
    pub owner: Address,
    /// The last second at which the contract accepts it.
    pub deadline: UnixTime,
    /// 65 bytes `r || s || v` of an externally owned account, or a signature that an ERC-1271 wallet accepts.
    pub signature: Bytes,
}

impl Registration {
    /// The hash that the owner signs (EIP-712) to give the account these keys. `nonce` is the owner's next one,
    /// [`Rollup::nonce_of`](crate::Rollup::nonce_of).
    pub fn rotation_hash(&self, instance: &RollupInstance, owner: Address, nonce: U256, deadline: UnixTime) -> B256 {
        let keys = self.to_abi();
        let message = eip712::KeyRotation {
            owner,
            qx: keys.qx,
            qy: keys.qy,
            encryptionCommitment: keys.encryptionCommitment,
            kemHash: keys.kemHash,
            rsaModulus: keys.rsaModulus,
            rsaSignature: keys.rsaSignature,
            nonce,
            deadline: U256::from(deadline.get()),
        };
        message.eip712_signing_hash(&instance.eip712_domain())
    }

    /// Signs these keys as the new ones of the owner's account, with the key of that externally owned account. Anyone can relay the result until
    /// `deadline`.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn sign_rotation(
        self,
        instance: &RollupInstance,
        owner: Address,
        key: &impl SignerSync,
        nonce: U256,
        deadline: UnixTime,
    ) -> Result<SignedRotation, alloy::signers::Error> {
        let signature = key.sign_hash_sync(&self.rotation_hash(instance, owner, nonce, deadline))?;
        Ok(SignedRotation {
            instance: *instance,
            registration: self,
            owner,
            deadline,
            signature: signature.as_bytes().into(),
        })
    }
}
