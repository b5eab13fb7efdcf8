// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Bond} from "./Bond.sol";
import {Guardians} from "./Guardians.sol";
import {Offices} from "./Offices.sol";
import {Succession} from "./Succession.sol";

/// @title Who holds the offices of a rollup, and what they change
/// @notice Created by the rollup's constructor.
contract Governance is Guardians, Bond {
    constructor(address sequencer, Officers memory officers)
        Offices(officers)
        Succession(sequencer)
        Bond(officers.forfeit)
    {}
}
