//! The node's promise, which anybody can hold it to: the hospital's Ethereum key signs what it acknowledged.
//!
//! EIP-712, domain ("EMR Rollup", "1", chain, contract), `Receipt(bytes32 operation,uint64 acknowledged,uint64 settleBy)`.

use alloy::{
    primitives::{Address, B256, Signature},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use emr_chain::RollupInstance;
use emr_core::UnixTime;

use crate::api;

mod eip712 {
    alloy::sol! {
        /// What the hospital signs.
        struct Receipt {
            bytes32 operation;
            uint64 acknowledged;
            uint64 settleBy;
        }
    }
}

/// Why a receipt promises nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It is for something else.
    #[error(
        "the node's receipt is for operation {actual}, not {expected}: submit again, to another node if this repeats"
    )]
    OtherOperation {
        /// What was submitted.
        expected: String,
        /// What the receipt names.
        actual: String,
    },
    /// Not a signature of the hospital.
    #[error("the node's receipt is not signed by the hospital's owner {expected}: submit to another node")]
    Signature {
        /// The Ethereum address that has to sign.
        expected: Address,
    },
}

fn domain(instance: &RollupInstance) -> Eip712Domain {
    eip712_domain! {
        name: "EMR Rollup",
        version: "1",
        chain_id: instance.chain_id,
        verifying_contract: instance.contract,
    }
}

fn signing_hash(instance: &RollupInstance, operation: [u8; 32], acknowledged: UnixTime, settle_by: UnixTime) -> B256 {
    eip712::Receipt { operation: operation.into(), acknowledged: acknowledged.get(), settleBy: settle_by.get() }
        .eip712_signing_hash(&domain(instance))
}

/// Signs the promise to settle an operation, or to return it.
///
/// # Errors
/// [`alloy::signers::Error`] if the signer fails, which a local key does not.
pub fn sign(
    instance: &RollupInstance,
    key: &PrivateKeySigner,
    operation: [u8; 32],
    acknowledged: UnixTime,
    settle_by: UnixTime,
) -> Result<api::Receipt, alloy::signers::Error> {
    let signature = key.sign_hash_sync(&signing_hash(instance, operation, acknowledged, settle_by))?;
    Ok(api::Receipt {
        operation: hex::encode(operation),
        acknowledged,
        settle_by,
        signature: hex::encode(signature.as_bytes()),
    })
}

/// Checks that `hospital` promised to settle this very operation, or to return it.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify(
    receipt: &api::Receipt,
    instance: &RollupInstance,
    hospital: Address,
    operation: [u8; 32],
) -> Result<(), ReceiptError> {
    let expected = hex::encode(operation);
    if receipt.operation.trim_start_matches("0x") != expected {
        return Err(ReceiptError::OtherOperation { expected, actual: receipt.operation.chars().take(80).collect() });
    }
    let hash = signing_hash(instance, operation, receipt.acknowledged, receipt.settle_by);
    let signer = hex::decode(receipt.signature.trim_start_matches("0x"))
        .ok()
        .and_then(|bytes| Signature::from_raw(&bytes).ok())
        .and_then(|signature| signature.recover_address_from_prehash(&hash).ok());
    if signer == Some(hospital) { Ok(()) } else { Err(ReceiptError::Signature { expected: hospital }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_holds_for_one_operation_signer_and_contract() -> Result<(), Box<dyn std::error::Error>> {
        let instance = RollupInstance { chain_id: 31337, contract: Address::repeat_byte(1) };
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(7))?;
        let times = (UnixTime::new(100)?, UnixTime::new(200)?);
        let receipt = sign(&instance, &key, [3; 32], times.0, times.1)?;
        assert_eq!(verify(&receipt, &instance, key.address(), [3; 32]), Ok(()));

        assert!(matches!(
            verify(&receipt, &instance, key.address(), [4; 32]),
            Err(ReceiptError::OtherOperation { .. })
        ));
        let forged = Err(ReceiptError::Signature { expected: key.address() });
        let later = api::Receipt { settle_by: UnixTime::new(201)?, ..receipt.clone() };
        assert_eq!(verify(&later, &instance, key.address(), [3; 32]), forged);
        let elsewhere = RollupInstance { chain_id: 1, ..instance };
        assert_eq!(verify(&receipt, &elsewhere, key.address(), [3; 32]), forged);
        assert!(verify(&receipt, &instance, Address::ZERO, [3; 32]).is_err());
        for signature in ["", "00", &"ff".repeat(65), "zz"] {
            let broken = api::Receipt { signature: signature.to_owned(), ..receipt.clone() };
            assert_eq!(verify(&broken, &instance, key.address(), [3; 32]), forged);
        }
        Ok(())
    }
}
