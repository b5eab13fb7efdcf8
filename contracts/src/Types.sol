// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Position of an account in the identity and medical trees: 24 bits, 0 is never assigned.
type AccountIndex is uint24;

/// Root of the state tree: a canonical element of BN254's scalar field.
type StateRoot is uint256;

/// Number of a settled batch; the first has number 1.
type BatchNumber is uint64;

/// Position of an entry in one of the two queues, counted from 0 since the contract's deployment. 56 bits.
type QueueIndex is uint56;

/// Seconds since 1970-01-01T00:00:00Z, 40 bits.
type UnixTime is uint40;

/// The role of an account. The numbers are the codes of packed fields. `None` is not a role.
enum Role {
    None,
    Patient,
    Doctor,
    Hospital
}

/// The queues of L1 operations. A batch takes entries of the urgent queue first.
enum QueueName {
    // What ends or changes the rights of an account: ForcedRevoke, SetStatus, RotateKey.
    Urgent,
    // Registrations.
    Ordinary
}

/// How an account stands. What the state says follows when the entries of the account are settled.
enum Standing {
    // Not registered.
    None,
    // A doctor or hospital that waits for a registrar.
    Pending,
    // Held back by the registrar before its admission.
    Withheld,
    // Its Register entry is queued or settled.
    Admitted,
    // Suspended by the registrar after its admission.
    Suspended,
    // Closed by its owner, permanently.
    Closed
}

// Codes of the account status in the state.
uint256 constant STATUS_ACTIVE = 1;
uint256 constant STATUS_SUSPENDED = 2;
uint256 constant STATUS_CLOSED = 3;

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
