// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IQueue} from "./IQueue.sol";
import {IRegistry} from "./IRegistry.sol";
import {ISettlement} from "./ISettlement.sol";
import {StateRoot} from "./Types.sol";

/// @title The EMR rollup on L1
/// @notice Keeps a state root, the queue of L1 operations and the registry of participants.
interface IEmrRollup is ISettlement, IRegistry, IQueue {
    /// @notice The parameters of a deployment.
    /// @param verifier The contract that verifies proofs; must have code.
    /// @param circuitVersion The circuit version that it belongs to.
    /// @param maxL1 How many queue entries a batch holds, at least 1.
    /// @param maxL2 How many L2 operations a batch holds, at least 1.
    /// @param genesis State root of the empty state.
    /// @param sequencer The account that settles batches.
    /// @param registrar The account that admits doctors and hospitals.
    /// @param registrationFee The fee of a registration, in wei.
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
