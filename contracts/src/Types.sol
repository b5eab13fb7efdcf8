// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Position of an account in the identity and medical trees: 24 bits, 0 is never assigned.
type AccountIndex is uint24;

/// Root of the state tree: a canonical element of BN254's scalar field.
type StateRoot is uint256;

/// Number of a settled batch; the first has number 1.
type BatchNumber is uint64;

/// Position of an entry in the L1 queue, counted from 0 since the contract's deployment.
type QueueIndex is uint64;

/// Seconds since 1970-01-01T00:00:00Z, 40 bits.
type UnixTime is uint40;

/// The role of an account. The numbers are the codes of packed fields. `None` is not a role.
enum Role {
    None,
    Patient,
    Doctor,
    Hospital
}

/// Whether an account waits for admission, is suspended, or is admitted.
enum Standing {
    // Not registered.
    None,
    // A doctor or hospital that waits for a registrar.
    Pending,
    // Suspended by the registrar before its admission.
    Suspended,
    // Its Register entry is in the queue or settled.
    Admitted
}

using {nextAccount, sameAccount as ==} for AccountIndex global;
using {sameRoot as ==} for StateRoot global;

function nextAccount(AccountIndex account) pure returns (AccountIndex) {
    return AccountIndex.wrap(AccountIndex.unwrap(account) + 1);
}

function sameAccount(AccountIndex a, AccountIndex b) pure returns (bool) {
    return AccountIndex.unwrap(a) == AccountIndex.unwrap(b);
}

function sameRoot(StateRoot a, StateRoot b) pure returns (bool) {
    return StateRoot.unwrap(a) == StateRoot.unwrap(b);
}
