//! A recovery that waits, as the contract's storage holds it: for clients that have it proved.

use alloy::{
    primitives::{Address, U256, keccak256},
    sol_types::SolValue,
};
use emr_core::{AccountIndex, UnixTime};

/// The slot of the mapping from accounts to their recoveries (`contracts/artifacts/storage-layout.json`, `_recoveries`).
const RECOVERIES_SLOT: u64 = 21;

/// The storage slot of the contract that says whether a recovery of an account waits. [`waiting_recovery`] reads its word.
pub fn recovery_slot(account: AccountIndex) -> U256 {
    let entry = keccak256((U256::from(account.get()), U256::from(RECOVERIES_SLOT)).abi_encode());
    // The first word of the entry is the hash of the guardians.
    U256::from_be_bytes(entry.0).wrapping_add(U256::ONE)
}

/// Who becomes the owner, and from when on anyone can finish it. `None` if no recovery waits.
///
/// From the least significant bit, the word holds: how many guardians must agree (8 bits), the round (48), the new owner (160), from when on (40).
pub fn waiting_recovery(word: U256) -> Option<(Address, UnixTime)> {
    let bytes: [u8; 32] = word.to_be_bytes();
    let new_owner = Address::from_slice(&bytes[5..25]);
    let mut from = [0; 8];
    from[3..].copy_from_slice(&bytes[..5]);
    // 40 bits are always a time.
    let from = UnixTime::new(u64::from_be_bytes(from)).ok()?;
    (!new_owner.is_zero()).then_some((new_owner, from))
}
