// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {AccessControlEnumerable} from "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IEmrRollup} from "../IEmrRollup.sol";
import {ISettlement} from "../ISettlement.sol";
import {IGovernance} from "./IGovernance.sol";

/// @title Registrars, who propose; guardians; and the timelock that carries proposals out
abstract contract Offices is IGovernance, TimelockController, AccessControlEnumerable {
    /// The shortest time between a proposal and its execution.
    uint256 internal constant SHORTEST_DELAY = 14 days;
    /// The longest one. A delay without a bound would end all changes.
    uint256 internal constant LONGEST_DELAY = 90 days;
    /// How long an operation that waited long enough can be executed. Otherwise a stranger could carry out what everybody forgot, such as a change
    /// to sizes that were replaced meanwhile.
    uint256 internal constant EXECUTION_TIME = 30 days;
    bytes32 internal constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");

    IEmrRollup internal immutable ROLLUP;
    uint16 internal _threshold;
    mapping(bytes32 proposal => address) private _proposers;
    mapping(bytes32 proposal => uint256) private _proposedAt;
    mapping(address registrar => uint256) private _dismissedAt;

    modifier onlyRollup() {
        if (msg.sender != address(ROLLUP)) revert RollupRequired(msg.sender);
        _;
    }

    modifier onlyTimelock() {
        if (msg.sender != address(this)) revert TimelockRequired(msg.sender);
        _;
    }

    /// The executor role is open: anyone carries out what waited. Nobody but this contract cancels, after `withdrawProposal` and `veto`.
    constructor(Officers memory officers) TimelockController(SHORTEST_DELAY, new address[](0), _anyone(), address(0)) {
        ROLLUP = IEmrRollup(msg.sender);
        _grantRole(CANCELLER_ROLE, address(this));
        for (uint256 i = 0; i < officers.registrars.length; ++i) _grantRole(PROPOSER_ROLE, officers.registrars[i]);
        for (uint256 i = 0; i < officers.guardians.length; ++i) _grantRole(GUARDIAN_ROLE, officers.guardians[i]);
        if (getRoleMemberCount(PROPOSER_ROLE) == 0) revert RegistrarRequired();
        _setThreshold(officers.threshold);
    }

    /// @notice Refuses ether: bonds come through `depositBond`.
    receive() external payable override {
        revert NotThroughTimelock(msg.sender, msg.value);
    }

    /// @inheritdoc IGovernance
    function withdrawProposal(bytes32 proposal) external {
        if (_proposers[proposal] != msg.sender) revert NotProposer(msg.sender);
        this.cancel(proposal);
    }

    /// @inheritdoc IGovernance
    function changeSizes(uint64 circuitVersion, ISettlement.Size[] calldata sizes) external onlyTimelock {
        ROLLUP.setSizes(circuitVersion, sizes);
    }

    /// @inheritdoc IGovernance
    function changeRegistrationFee(uint256 fee) external onlyTimelock {
        ROLLUP.setRegistrationFee(fee);
    }

    /// @inheritdoc IGovernance
    function changeThreshold(uint16 threshold) external onlyTimelock {
        _setThreshold(threshold);
    }

    /// @notice Schedules a call of this contract. Registrars only.
    function schedule(
        address target,
        uint256 value,
        bytes calldata data,
        bytes32 predecessor,
        bytes32 salt,
        uint256 delay
    ) public override {
        super.schedule(target, value, data, predecessor, salt, delay);
        _noteProposal(hashOperation(target, value, data, predecessor, salt), delay);
    }

    /// @notice Schedules several calls of this contract, which happen together. Registrars only.
    function scheduleBatch(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata payloads,
        bytes32 predecessor,
        bytes32 salt,
        uint256 delay
    ) public override {
        super.scheduleBatch(targets, values, payloads, predecessor, salt, delay);
        _noteProposal(hashOperationBatch(targets, values, payloads, predecessor, salt), delay);
    }

    /// @notice Changes the delay of later proposals: 14 to 90 days. Through the timelock.
    function updateDelay(uint256 newDelay) public override {
        if (newDelay < SHORTEST_DELAY || newDelay > LONGEST_DELAY) {
            revert DelayOutOfRange(newDelay, SHORTEST_DELAY, LONGEST_DELAY);
        }
        super.updateDelay(newDelay);
    }

    /// @notice How far an operation is. One that was not executed within 30 days has lapsed: it is as if nobody had proposed it. So is what a
    /// registrar proposed before they were dismissed: otherwise they would propose their own return.
    function getOperationState(bytes32 id) public view override returns (OperationState state) {
        state = super.getOperationState(id);
        if (state != OperationState.Waiting && state != OperationState.Ready) return state;
        uint256 dismissedAt = _dismissedAt[_proposers[id]];
        // In the second of the dismissal, the operation that dismisses its own proposer is still carried out.
        bool dismissed = dismissedAt >= _proposedAt[id] && dismissedAt < block.timestamp;
        bool late = state == OperationState.Ready && block.timestamp > getTimestamp(id) + EXECUTION_TIME;
        if (dismissed || late) state = OperationState.Unset;
    }

    /// @inheritdoc IGovernance
    function isRegistrar(address account) external view returns (bool) {
        return hasRole(PROPOSER_ROLE, account);
    }

    /// @inheritdoc IGovernance
    function registrars() external view returns (address[] memory) {
        return getRoleMembers(PROPOSER_ROLE);
    }

    /// @inheritdoc IGovernance
    function guardians() external view returns (address[] memory all, uint16 threshold) {
        return (getRoleMembers(GUARDIAN_ROLE), _threshold);
    }

    /// @inheritdoc AccessControlEnumerable
    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(TimelockController, AccessControlEnumerable)
        returns (bool)
    {
        return super.supportsInterface(interfaceId);
    }

    /// @dev Registrars must not reach the bonds, nor the rollup other than through the functions of this contract.
    function _execute(address target, uint256 value, bytes calldata data) internal override {
        if (target != address(this) || value != 0) revert NotThroughTimelock(target, value);
        // Ether that comes with the execution would stay here for ever.
        if (msg.value != 0) revert NotThroughTimelock(target, msg.value);
        super._execute(target, value, data);
    }

    /// @dev Only registrars and guardians come and go. Otherwise an operation could give somebody a way around the timelock, or take the guardians'
    /// veto away. Nobody holds the key of the zero address, so it would be no officer.
    function _grantRole(bytes32 role, address account)
        internal
        override(AccessControl, AccessControlEnumerable)
        returns (bool)
    {
        // The constructor of the timelock gives out the others.
        if (address(this).code.length != 0) _requireOffice(role);
        if (role == PROPOSER_ROLE && account == address(0)) revert RegistrarRequired();
        if (role == GUARDIAN_ROLE && account == address(0)) revert FixedRole(role);
        return super._grantRole(role, account);
    }

    /// @dev Keeps one registrar, and as many guardians as must agree.
    function _revokeRole(bytes32 role, address account)
        internal
        override(AccessControl, AccessControlEnumerable)
        returns (bool revoked)
    {
        _requireOffice(role);
        revoked = super._revokeRole(role, account);
        if (role == PROPOSER_ROLE && revoked) _dismissedAt[account] = block.timestamp;
        if (role == PROPOSER_ROLE && getRoleMemberCount(role) == 0) revert RegistrarRequired();
        if (role == GUARDIAN_ROLE) _requireThreshold(_threshold);
    }

    function _requireOffice(bytes32 role) private pure {
        if (role != PROPOSER_ROLE && role != GUARDIAN_ROLE) revert FixedRole(role);
    }

    /// @dev A delay without a bound would outlast the registrar's office.
    function _noteProposal(bytes32 id, uint256 delay) private {
        if (delay > LONGEST_DELAY) revert DelayOutOfRange(delay, SHORTEST_DELAY, LONGEST_DELAY);
        _proposers[id] = msg.sender;
        _proposedAt[id] = block.timestamp;
    }

    function _setThreshold(uint16 threshold) private {
        _requireThreshold(threshold);
        _threshold = threshold;
        emit ThresholdChanged(threshold);
    }

    function _requireThreshold(uint256 threshold) private view {
        uint256 all = getRoleMemberCount(GUARDIAN_ROLE);
        if (threshold > all || (threshold == 0 && all != 0)) revert InvalidThreshold(threshold, all);
    }

    function _anyone() private pure returns (address[] memory executors) {
        executors = new address[](1);
    }
}
