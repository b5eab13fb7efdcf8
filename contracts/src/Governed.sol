// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Governance} from "./governance/Governance.sol";
import {IGovernance} from "./governance/IGovernance.sol";
import {IGoverned} from "./governance/IGoverned.sol";
import {RollupState} from "./RollupState.sol";
import {UnixTime} from "./Types.sol";

/// @title The offices of the rollup, and halts
abstract contract Governed is IGoverned, RollupState {
    uint256 private constant HALT_TIME = 21 days;
    uint256 private constant BETWEEN_HALTS = 180 days;

    /// @inheritdoc IGoverned
    IGovernance public immutable governance;

    modifier onlyGovernance() {
        if (msg.sender != address(governance)) revert GovernanceRequired(msg.sender);
        _;
    }

    modifier onlyRegistrar() {
        if (!governance.isRegistrar(msg.sender)) revert NotRegistrar(msg.sender);
        _;
    }

    constructor(address sequencer_, IGovernance.Officers memory officers) {
        _office.sequencer = sequencer_;
        governance = new Governance(sequencer_, officers);
    }

    /// @inheritdoc IGoverned
    function halt() external onlyGovernance {
        uint256 from = UnixTime.unwrap(_office.haltedFrom);
        if (from != 0 && block.timestamp < from + BETWEEN_HALTS) revert HaltedBefore(from + BETWEEN_HALTS);
        UnixTime until = UnixTime.wrap(uint40(block.timestamp + HALT_TIME));
        (_office.haltedFrom, _office.haltedUntil) = (UnixTime.wrap(uint40(block.timestamp)), until);
        // A time that passed already stays passed.
        uint256 strangers = UnixTime.unwrap(_progress.strangersFrom);
        if (strangers >= block.timestamp) _progress.strangersFrom = UnixTime.wrap(uint40(strangers + HALT_TIME));
        emit Halted(until);
    }

    /// @inheritdoc IGoverned
    function resume() external onlyGovernance {
        uint256 until = UnixTime.unwrap(_office.haltedUntil);
        if (block.timestamp >= until) revert NotHalted();
        _office.haltedUntil = UnixTime.wrap(uint40(block.timestamp));
        uint256 strangers = UnixTime.unwrap(_progress.strangersFrom);
        if (strangers >= block.timestamp) {
            _progress.strangersFrom = UnixTime.wrap(uint40(strangers - (until - block.timestamp)));
        }
        emit Resumed();
    }

    /// @inheritdoc IGoverned
    function sequencer() external view returns (address) {
        return _office.sequencer;
    }

    /// @inheritdoc IGoverned
    function lastHalt() external view returns (UnixTime from, UnixTime until) {
        return (_office.haltedFrom, _office.haltedUntil);
    }

    /// @inheritdoc IGoverned
    function sizesRevision() external view returns (uint64) {
        return _bounds.revision;
    }

    function _requireNoHalt(Office memory office) internal view {
        uint256 until = UnixTime.unwrap(office.haltedUntil);
        if (block.timestamp < until) revert SettlementHalted(until);
    }

    /// @dev When a time of `age` seconds has passed since `start`. Deadlines stand still during a halt. Only the last halt counts: between two of
    /// them is more time than an entry waits.
    function _deadline(Office memory office, uint256 start, uint256 age) internal pure returns (uint256 end) {
        end = start + age;
        uint256 from = UnixTime.unwrap(office.haltedFrom);
        uint256 until = UnixTime.unwrap(office.haltedUntil);
        if (start < until && from <= end) end += until - (start > from ? start : from);
    }
}
