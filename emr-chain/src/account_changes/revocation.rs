//! Grants that end on L1.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    signers::SignerSync,
    sol_types::SolStruct,
};
use emr_core::{GrantSlot, Opaque, UnixTime};
use serde::{Deserialize, Serialize};

use crate::{bindings::IAccountChanges, registration::RollupInstance};

mod eip712 {
    alloy::sol! {
        /// The message that a patient signs. The contract's `forceRevokeFor` computes its hash again.
        struct ForcedRevoke {
            address owner;
            bool all;
            uint16 slot;
            bool replaceDirectory;
            uint256 directory;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

/// The grants of a patient that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The slot of the grant that ends; `None` for all grants.
    pub slot: Option<GrantSlot>,
    /// The commitment to the new key directory; `None` if the present one stays.
    pub directory: Option<Opaque>,
}

impl Revocation {
    /// For [`Self::directory`]: the patient has no key directory any more, and begins a new one.
    pub const NO_DIRECTORY: Opaque = Opaque::ZERO;

    pub(super) fn to_abi(self) -> IAccountChanges::Revocation {
        IAccountChanges::Revocation {
            all: self.slot.is_none(),
            slot: self.slot.map_or(0, |slot| slot.get() as u16),
            replaceDirectory: self.directory.is_some(),
            directory: self.directory.map_or(U256::ZERO, |it| U256::from_be_bytes(it.to_be_bytes32())),
        }
    }

    /// The hash that the owner signs (EIP-712). `nonce` is the owner's next one,
    /// [`Rollup::nonce_of`](crate::Rollup::nonce_of).
    pub fn signing_hash(&self, instance: &RollupInstance, owner: Address, nonce: U256, deadline: UnixTime) -> B256 {
        let IAccountChanges::Revocation { all, slot, replaceDirectory, directory } = self.to_abi();
        let deadline = U256::from(deadline.get());
        let message = eip712::ForcedRevoke { owner, all, slot, replaceDirectory, directory, nonce, deadline };
        message.eip712_signing_hash(&instance.eip712_domain())
    }

    /// Signs as the owner, with the key of that externally owned account. Anyone can relay the result until `deadline`.
    ///
    /// # Errors
    /// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
    pub fn sign(
        self,
        instance: &RollupInstance,
        owner: Address,
        key: &impl SignerSync,
        nonce: U256,
        deadline: UnixTime,
    ) -> Result<SignedRevocation, alloy::signers::Error> {
        let signature = key.sign_hash_sync(&self.signing_hash(instance, owner, nonce, deadline))?;
        Ok(SignedRevocation {
            instance: *instance,
            revocation: self,
            owner,
            deadline,
            signature: signature.as_bytes().into(),
        })
    }
}

/// A revocation that the patient signed and anyone can relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRevocation {
    /// The rollup that it is for.
    pub instance: RollupInstance,
    /// The revocation.
    pub revocation: Revocation,
    /// The owner of the patient's account.
    pub owner: Address,
    /// The last second at which the contract accepts it.
    pub deadline: UnixTime,
    /// 65 bytes `r || s || v` of an externally owned account, or a signature that an ERC-1271 wallet accepts.
    pub signature: Bytes,
}
