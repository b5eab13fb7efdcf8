// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchNumber, QueueIndex, StateRoot, UnixTime} from "./Types.sol";

/// @title The state that light clients verify by EIP-1186 proofs
/// @notice This must be the first base of every contract that uses it, so that the slots never change. Slot 0 holds the state root.
/// Slot 1 holds, from the least significant bit, the time of the last batch (40 bits), the number of settled batches (64 bits), the
/// positions of the heads of the urgent and the ordinary queue (56 bits each), and the time from which strangers may settle the ordinary
/// queue (40 bits). Slot 2 holds the sequencer (160 bits) and the last halt (two times of 40 bits). Slot 3 holds how often the sizes changed
/// (64 bits), the circuit version (64), and what a settlement needs to know of all sizes.
abstract contract RollupState {
    struct Progress {
        UnixTime time;
        BatchNumber batches;
        QueueIndex urgentHead;
        QueueIndex ordinaryHead;
        // By L1's clock. `time` is the batch's own claim, up to an hour earlier.
        UnixTime strangersFrom;
    }

    struct Office {
        address sequencer;
        UnixTime haltedFrom;
        UnixTime haltedUntil;
    }

    struct SizeBounds {
        // How often the sizes changed since the deployment.
        uint64 revision;
        uint64 circuitVersion;
        // How many sizes there are.
        uint8 count;
        // The most queue entries that a batch of any size holds.
        uint48 largestL1;
        // The queue entries that a batch of every size holds.
        uint48 smallestL1;
    }

    StateRoot internal _stateRoot;
    Progress internal _progress;
    Office internal _office;
    SizeBounds internal _bounds;

    /// @dev The domain that signed operations and proofs are bound to: `keccak256(abi.encode(chain id, this)) >> 8`.
    function _domain() internal view returns (uint256) {
        return uint256(keccak256(abi.encode(block.chainid, address(this)))) >> 8;
    }
}
