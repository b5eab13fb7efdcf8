// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Governed} from "./Governed.sol";
import {IEmrRollup} from "./IEmrRollup.sol";
import {Ownership} from "./Ownership.sol";
import {Registry} from "./Registry.sol";
import {RollupState} from "./RollupState.sol";
import {Settlement} from "./Settlement.sol";

/// @title The EMR rollup on L1
/// @notice `RollupState` comes before every other base with storage, so that the state root keeps slot 0.
contract EmrRollup is IEmrRollup, RollupState, Settlement, Ownership {
    constructor(Parameters memory parameters)
        Governed(parameters.sequencer, parameters.officers)
        Settlement(parameters.sizes, parameters.circuitVersion, parameters.genesis)
        Registry(parameters.registrationFee)
    {}
}
