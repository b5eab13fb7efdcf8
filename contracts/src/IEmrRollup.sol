// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IQueue} from "./IQueue.sol";
import {IRegistry} from "./IRegistry.sol";
import {ISettlement} from "./ISettlement.sol";
import {StateRoot} from "./Types.sol";

/// @title The EMR rollup on L1
/// @notice Keeps a state root, the queue of L1 operations and the registry of participants.
interface IEmrRollup is ISettlement, IRegistry, IQueue {
    /// @notice What a deployment fixes.
    /// @param verifier The contract that checks proofs; must have code.
    /// @param circuitVersion The circuit version that it belongs to.
    /// @param maxL1 How many queue entries a batch holds, at least 1.
    /// @param maxL2 How many L2 operations a batch holds, at least 1.
    /// @param genesis State root of the empty state.
    /// @param sequencer Who settles.
    /// @param registrar Who admits doctors and hospitals.
    /// @param registrationFee What a registration costs, in wei.
    struct Parameters {
        address verifier;
        uint256 circuitVersion;
        uint256 maxL1;
        uint256 maxL2;
        StateRoot genesis;
        address sequencer;
        address registrar;
        uint256 registrationFee;
    }
}
