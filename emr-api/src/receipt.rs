//! The node's promise. The hospital's Ethereum key signs that it acknowledged an operation, so anyone can check the promise.
//!
//! EIP-712, domain ("EMR Rollup", "1", chain, contract), `Receipt(bytes32 operation,uint64 acknowledged,uint64 settleBy)`.

use alloy::{
    primitives::{Address, B256, Signature},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use emr_chain::RollupInstance;
use emr_core::UnixTime;
use emr_rollup::operation::{Operation, OperationId};

use crate::Receipt;

mod eip712 {
    alloy::sol! {
        /// The message that the hospital signs.
        struct Receipt {
            bytes32 operation;
            uint64 acknowledged;
            uint64 settleBy;
        }
    }
}

/// Why a receipt is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The receipt is for another operation.
    #[error(
        "the node's receipt is for operation {actual}, not {expected}: submit again, to another node if this repeats"
    )]
    OtherOperation {
        /// The submitted operation.
        expected: OperationId,
        /// The operation in the receipt.
        actual: OperationId,
    },
    /// Its promise is too late to mean anything.
    #[error(
        "the node's receipt promises settlement by {settle_by}, which is later than it may be: submit to another node, and check this machine's clock"
    )]
    Promise {
        /// The promised time, in Unix seconds.
        settle_by: UnixTime,
    },
    /// The hospital did not sign it.
    #[error("the node's receipt is not signed by the hospital's owner {expected}: submit to another node")]
    Signature {
        /// The Ethereum address that must sign.
        expected: Address,
    },
}

/// The longest time in seconds that a hospital may take to settle or return an acknowledged operation. A patient's own Revokes are an
/// exception.
pub const SETTLE_WITHIN: u64 = 6 * 3600;
/// How far the node's clock, which follows L1's, may be ahead of this machine's, in seconds.
const CLOCK_TOLERANCE: u64 = 900;

/// The latest time that a receipt for an operation may promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longest {
    /// [`SETTLE_WITHIN`] after the acknowledgement.
    Ordinary,
    /// A patient's own Revoke always has a place, even if many wait. So its promise may be as late as its validity. Honest nodes apply it from
    /// the acknowledgement on.
    WhileValid(UnixTime),
}

impl Longest {
    /// The limit for an operation.
    pub fn of(operation: &Operation) -> Self {
        let own = operation.signer == operation.patient;
        if own && operation.action.rule().ends_rights {
            Self::WhileValid(operation.valid_until)
        } else {
            Self::Ordinary
        }
    }

    fn latest(self, acknowledged: UnixTime) -> UnixTime {
        match self {
            Self::Ordinary => acknowledged.saturating_add(SETTLE_WITHIN),
            Self::WhileValid(until) => until,
        }
    }
}

pub(crate) fn domain(instance: &RollupInstance) -> Eip712Domain {
    eip712_domain! {
        name: "EMR Rollup",
        version: "1",
        chain_id: instance.chain_id,
        verifying_contract: instance.contract,
    }
}

fn signing_hash(
    instance: &RollupInstance,
    operation: OperationId,
    acknowledged: UnixTime,
    settle_by: UnixTime,
) -> B256 {
    eip712::Receipt {
        operation: operation.as_bytes().into(),
        acknowledged: acknowledged.get(),
        settleBy: settle_by.get(),
    }
    .eip712_signing_hash(&domain(instance))
}

/// Signs the promise to settle an operation, or to return it.
///
/// # Errors
/// Returns [`alloy::signers::Error`] if the signer fails. A local key does not fail.
pub fn sign(
    instance: &RollupInstance,
    key: &PrivateKeySigner,
    operation: OperationId,
    acknowledged: UnixTime,
    settle_by: UnixTime,
) -> Result<Receipt, alloy::signers::Error> {
    let signature = key.sign_hash_sync(&signing_hash(instance, operation, acknowledged, settle_by))?;
    Ok(Receipt { operation, acknowledged, settle_by, signature: signature.as_bytes() })
}

/// Checks that `hospital` promised to settle or return exactly this operation, and no later than allowed.
///
/// # Errors
/// Returns [`ReceiptError`] if the receipt is for another operation, promises a later time, or has a wrong signature.
pub fn verify(
    receipt: &Receipt,
    instance: &RollupInstance,
    hospital: Address,
    operation: OperationId,
    longest: Longest,
    now: UnixTime,
) -> Result<(), ReceiptError> {
    if receipt.operation != operation {
        return Err(ReceiptError::OtherOperation { expected: operation, actual: receipt.operation });
    }
    let latest = longest.latest(receipt.acknowledged);
    if receipt.acknowledged > now.saturating_add(CLOCK_TOLERANCE) || receipt.settle_by > latest {
        return Err(ReceiptError::Promise { settle_by: receipt.settle_by });
    }
    let hash = signing_hash(instance, operation, receipt.acknowledged, receipt.settle_by);
    let signer = Signature::from_raw(&receipt.signature)
        .ok()
        .and_then(|signature| signature.recover_address_from_prehash(&hash).ok());
    if signer == Some(hospital) { Ok(()) } else { Err(ReceiptError::Signature { expected: hospital }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: OperationId = OperationId::from_bytes([3; 32]);

    #[test]
    fn a_receipt_is_valid_for_one_operation_signer_and_contract() -> Result<(), Box<dyn std::error::Error>> {
        let instance = RollupInstance { chain_id: 31337, contract: Address::repeat_byte(1) };
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(7))?;
        let times = (UnixTime::new(100)?, UnixTime::new(200)?);
        let now = UnixTime::new(150)?;
        let receipt = sign(&instance, &key, THREE, times.0, times.1)?;
        assert_eq!(verify(&receipt, &instance, key.address(), THREE, Longest::Ordinary, now), Ok(()));

        assert!(matches!(
            verify(&receipt, &instance, key.address(), OperationId::from_bytes([4; 32]), Longest::Ordinary, now),
            Err(ReceiptError::OtherOperation { .. })
        ));
        let forged = Err(ReceiptError::Signature { expected: key.address() });
        let later = Receipt { settle_by: UnixTime::new(201)?, ..receipt.clone() };
        assert_eq!(verify(&later, &instance, key.address(), THREE, Longest::Ordinary, now), forged);
        let elsewhere = RollupInstance { chain_id: 1, ..instance };
        assert_eq!(verify(&receipt, &elsewhere, key.address(), THREE, Longest::Ordinary, now), forged);
        assert!(verify(&receipt, &instance, Address::ZERO, THREE, Longest::Ordinary, now).is_err());
        for signature in [[0; 65], [0xff; 65]] {
            let broken = Receipt { signature, ..receipt.clone() };
            assert_eq!(verify(&broken, &instance, key.address(), THREE, Longest::Ordinary, now), forged);
        }
        Ok(())
    }

    #[test]
    fn a_promise_that_cannot_be_broken_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let instance = RollupInstance { chain_id: 31337, contract: Address::repeat_byte(1) };
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(7))?;
        let now = UnixTime::new(1_000_000)?;
        let check = |acknowledged: u64, settle_by: u64| -> Result<bool, Box<dyn std::error::Error>> {
            let receipt = sign(&instance, &key, THREE, UnixTime::new(acknowledged)?, UnixTime::new(settle_by)?)?;
            Ok(verify(&receipt, &instance, key.address(), THREE, Longest::Ordinary, now).is_ok())
        };
        assert!(check(1_000_000, 1_000_000 + SETTLE_WITHIN)? && check(1_000_900, 1_000_900)? && check(5, 7)?);
        for (acknowledged, settle_by) in [
            (1_000_000, 1_000_001 + SETTLE_WITHIN),
            (1_000_000, UnixTime::MAX),
            (1_000_901, 1_000_902),
            (UnixTime::MAX, UnixTime::MAX),
        ] {
            assert!(!check(acknowledged, settle_by)?, "{acknowledged} {settle_by}");
        }
        // The promise for a patient's own Revoke may be as late as its validity, but not later.
        let days = UnixTime::new(1_000_000 + 6 * 24 * 3600)?;
        for (settle_by, holds) in [(days, true), (days.saturating_add(1), false)] {
            let receipt = sign(&instance, &key, THREE, now, settle_by)?;
            let checked = verify(&receipt, &instance, key.address(), THREE, Longest::WhileValid(days), now);
            assert_eq!(checked.is_ok(), holds);
        }
        Ok(())
    }
}
