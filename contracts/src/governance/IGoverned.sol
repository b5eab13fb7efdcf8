// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "./IGovernance.sol";
import {ISettlement} from "../ISettlement.sol";
import {UnixTime} from "../Types.sol";

/// @title What governance changes in the rollup
interface IGoverned {
    /// @notice Settlement was halted until this time.
    event Halted(UnixTime until);
    /// @notice The halt ended early.
    event Resumed();
    /// @notice The account that settles batches changed.
    event SequencerChanged(address indexed before, address indexed now_);
    /// @notice The sizes changed. From 1 on.
    event SizesChanged(uint64 revision);
    /// @notice The registration fee changed.
    event RegistrationFeeChanged(uint256 fee);

    /// @notice A parameter of the contract is out of range.
    error InvalidParameter(string name);
    /// @notice Only the rollup's governance does this.
    error GovernanceRequired(address caller);
    /// @notice Only a registrar does this.
    error NotRegistrar(address caller);
    /// @notice Nothing is settled until this time.
    error SettlementHalted(uint256 until);
    /// @notice The next halt can begin from this time on.
    error HaltedBefore(uint256 from);
    /// @notice Settlement is not halted.
    error NotHalted();

    /// @notice The contract that says who holds the offices.
    function governance() external view returns (IGovernance);

    /// @notice The account that settles batches.
    function sequencer() external view returns (address);

    /// @notice The last halt: no settlement from the first time to before the second. Zeros if there was none.
    function lastHalt() external view returns (UnixTime from, UnixTime until);

    /// @notice How often the sizes changed. Light clients prove that it is 0: the sizes are those of the deployment.
    function sizesRevision() external view returns (uint64);

    /// @notice When an urgent entry that was appended at a time is overdue. A halt does not count.
    function overdueAt(UnixTime appended) external view returns (uint256);

    /// @notice Halts settlement for 21 days: once in 180 days. Governance only.
    function halt() external;

    /// @notice Ends a halt. Governance only.
    function resume() external;

    /// @notice Changes the sequencer. The one before gets the fees collected so far as credit. Governance only.
    function setSequencer(address sequencer) external;

    /// @notice Replaces the sizes. The largest batch never holds fewer queue entries than at the deployment. Governance only.
    function setSizes(uint64 circuitVersion, ISettlement.Size[] calldata sizes) external;

    /// @notice Changes the registration fee. Governance only.
    function setRegistrationFee(uint256 fee) external;
}
