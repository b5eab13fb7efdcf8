// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {UnixTime} from "../Types.sol";
import {IGovernance} from "./IGovernance.sol";
import {Offices} from "./Offices.sol";

/// @title What enough guardians do together
/// @notice They halt settlement, end a halt, and cancel proposals. They change nothing else.
abstract contract Guardians is Offices {
    /// The name of the action `halt`. Immutable: for a constant the compiler makes a copy of `_agree`, and the creation code has a limit.
    bytes32 public immutable HALT = keccak256("HALT");
    /// The name of the action `resume`.
    bytes32 public immutable RESUME = keccak256("RESUME");
    /// The longest time between the first and the last agreement.
    uint256 public constant AGREEMENT_TIME = 3 days;

    mapping(bytes32 action => mapping(address guardian => UnixTime)) private _agreements;

    /// @inheritdoc IGovernance
    function halt() external {
        (, UnixTime until) = ROLLUP.lastHalt();
        if (_agree(HALT, UnixTime.unwrap(until))) ROLLUP.halt();
    }

    /// @inheritdoc IGovernance
    function resume() external {
        (UnixTime from,) = ROLLUP.lastHalt();
        if (_agree(RESUME, UnixTime.unwrap(from))) ROLLUP.resume();
    }

    /// @inheritdoc IGovernance
    function veto(bytes32 proposal) external {
        uint256 executable = getTimestamp(proposal);
        if (_agree(proposal, executable == 0 ? block.timestamp : 0)) this.cancel(proposal);
    }

    /// @dev Notes the caller's agreement. Returns whether enough guardians agreed within `AGREEMENT_TIME`, and after `since`: an agreement to an
    /// earlier halt does not count for the next one. An agreement counts for one action: what enough agreed to takes their agreements away.
    function _agree(bytes32 action, uint256 since) private onlyRole(GUARDIAN_ROLE) returns (bool enough) {
        mapping(address guardian => UnixTime) storage agreements = _agreements[action];
        agreements[msg.sender] = UnixTime.wrap(uint40(block.timestamp));
        emit Agreed(msg.sender, action);
        address[] memory all = getRoleMembers(GUARDIAN_ROLE);
        uint256 agreed;
        for (uint256 i = 0; i < all.length; ++i) {
            uint256 time = UnixTime.unwrap(agreements[all[i]]);
            if (time + AGREEMENT_TIME >= block.timestamp && time > since) ++agreed;
        }
        enough = agreed >= _threshold;
        for (uint256 i = 0; enough && i < all.length; ++i) agreements[all[i]] = UnixTime.wrap(0);
    }
}
