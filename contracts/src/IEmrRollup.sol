// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "./governance/IGovernance.sol";
import {IGoverned} from "./governance/IGoverned.sol";
import {IAccountChanges} from "./IAccountChanges.sol";
import {IOwnership} from "./IOwnership.sol";
import {IQueue} from "./IQueue.sol";
import {IRegistry} from "./IRegistry.sol";
import {ISettlement} from "./ISettlement.sol";
import {StateRoot} from "./Types.sol";

/// @title The EMR rollup on L1
/// @notice Keeps a state root, the queues of L1 operations and the registry of participants.
interface IEmrRollup is ISettlement, IOwnership, IAccountChanges, IRegistry, IQueue, IGoverned {
    /// @notice The parameters of a deployment.
    /// @param sizes The sizes in which batches are proved: 1 to 8. Each verifier must have code, each size must take queue entries, and one
    /// must take L2 operations.
    /// @param circuitVersion The circuit version that they belong to.
    /// @param genesis State root of the empty state.
    /// @param sequencer The account that settles batches.
    /// @param officers Registrars, guardians, and what overdue entries get of the bond.
    /// @param registrationFee The fee of a registration, in wei.
    struct Parameters {
        Size[] sizes;
        uint64 circuitVersion;
        StateRoot genesis;
        address sequencer;
        IGovernance.Officers officers;
        uint256 registrationFee;
    }
}
