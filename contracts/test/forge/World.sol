// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IEmrRollup} from "../../src/IEmrRollup.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {StateRoot} from "../../src/Types.sol";
import {vm} from "./Vm.sol";

/// @title The rollup with what it inherits from OpenZeppelin
interface IRollup is IEmrRollup {
    function nonces(address owner) external view returns (uint256);
}

/// @title The governance with what it inherits from OpenZeppelin
interface IOffices is IGovernance {
    function schedule(
        address target,
        uint256 value,
        bytes calldata data,
        bytes32 predecessor,
        bytes32 salt,
        uint256 delay
    ) external;
    function scheduleBatch(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata payloads,
        bytes32 predecessor,
        bytes32 salt,
        uint256 delay
    ) external;
    function execute(address target, uint256 value, bytes calldata data, bytes32 predecessor, bytes32 salt)
        external
        payable;
    function executeBatch(
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata payloads,
        bytes32 predecessor,
        bytes32 salt
    ) external payable;
    function cancel(bytes32 id) external;
    function updateDelay(uint256 newDelay) external;
    function getMinDelay() external view returns (uint256);
    function isOperationPending(bytes32 id) external view returns (bool);
    function isOperationDone(bytes32 id) external view returns (bool);
    function hashOperation(address target, uint256 value, bytes calldata data, bytes32 predecessor, bytes32 salt)
        external
        pure
        returns (bytes32);
    function grantRole(bytes32 role, address account) external;
    function revokeRole(bytes32 role, address account) external;
    function renounceRole(bytes32 role, address account) external;
    function hasRole(bytes32 role, address account) external view returns (bool);
}

interface IExpectingVerifier {
    function expect(bytes32 calldataHash) external;
}

/// @title A rollup from the creation code that is shipped, with verifiers that accept only what a test announced
abstract contract World {
    address internal constant SEQUENCER = address(0x5e90e9ce5);
    address internal constant REGISTRAR = address(0x5e915752a5);
    address internal constant STRANGER = address(0x572a96e5);
    uint256 internal constant FEE = 0.01 ether;
    uint256 internal constant GENESIS = 42;
    uint64 internal constant CIRCUIT_VERSION = 1;
    uint96 internal constant FORFEIT = 0.1 ether;
    uint16 internal constant THRESHOLD = 2;
    uint256 internal constant START = 1_800_000_000;
    /// How long a proposal waits.
    uint256 internal constant DELAY = 14 days;

    /// A refusal without data, as an assembly `revert(0, 0)` or a call that ran out of gas gives it.
    bytes4 internal constant NO_REASON = 0xffffffff;
    /// The call was not refused.
    bytes4 internal constant DONE = 0;

    bytes4 internal constant UNAUTHORIZED = bytes4(keccak256("AccessControlUnauthorizedAccount(address,bytes32)"));
    bytes4 internal constant WRONG_STATE = bytes4(keccak256("TimelockUnexpectedOperationState(bytes32,bytes32)"));

    IRollup internal rollup;
    IOffices internal governance;
    ISettlement.Size[] internal sizes;
    uint256 internal circuitVersion = CIRCUIT_VERSION;

    /// @dev Deploys a rollup with these sizes: queue entries and operations of each.
    function _deploy(uint48[2][] memory slots) internal {
        _deploy(slots, SEQUENCER);
    }

    function _deploy(uint48[2][] memory slots, address sequencer) internal {
        vm.warp(START);
        bytes memory verifier = vm.getCode("test/artifacts/ExpectingVerifier.json");
        for (uint256 i = 0; i < slots.length; ++i) {
            sizes.push(ISettlement.Size({verifier: _create(verifier), maxL1: slots[i][0], maxL2: slots[i][1]}));
        }
        IEmrRollup.Parameters memory parameters = IEmrRollup.Parameters({
            sizes: sizes,
            circuitVersion: CIRCUIT_VERSION,
            genesis: StateRoot.wrap(GENESIS),
            sequencer: sequencer,
            officers: _officers(),
            registrationFee: FEE
        });
        rollup = IRollup(_create(bytes.concat(vm.getCode("artifacts/EmrRollup.json"), abi.encode(parameters))));
        governance = IOffices(address(rollup.governance()));
        vm.deal(REGISTRAR, 1000 ether);
        vm.deal(STRANGER, 1000 ether);
    }

    /// @dev One registrar, and three guardians of whom two must agree.
    function _officers() internal view virtual returns (IGovernance.Officers memory officers) {
        officers.registrars = new address[](1);
        officers.registrars[0] = REGISTRAR;
        officers.guardians = new address[](3);
        for (uint256 i = 0; i < 3; ++i) officers.guardians[i] = _guardian(i);
        (officers.threshold, officers.forfeit) = (THRESHOLD, FORFEIT);
    }

    function _guardian(uint256 i) internal pure returns (address) {
        return address(uint160(0x90a7d1a0 + i));
    }

    function _threeSizes() internal pure returns (uint48[2][] memory slots) {
        slots = new uint48[2][](3);
        (slots[0], slots[1], slots[2]) = ([uint48(8), 24], [uint48(2), 3], [uint48(40), 0]);
    }

    function _largestL1() internal view returns (uint256 largest) {
        for (uint256 i = 0; i < sizes.length; ++i) if (sizes[i].maxL1 > largest) largest = sizes[i].maxL1;
    }

    function _smallestL1() internal view returns (uint256 smallest) {
        smallest = type(uint256).max;
        for (uint256 i = 0; i < sizes.length; ++i) if (sizes[i].maxL1 < smallest) smallest = sizes[i].maxL1;
    }

    /// @dev Sends a transaction to the rollup. Returns the selector of the error, or `DONE`.
    function _send(address from, uint256 value, bytes memory data) internal returns (bytes4) {
        return _sendTo(address(rollup), from, value, data);
    }

    /// @dev The same to its governance.
    function _govern(address from, uint256 value, bytes memory data) internal returns (bytes4) {
        return _sendTo(address(governance), from, value, data);
    }

    function _sendTo(address to, address from, uint256 value, bytes memory data) internal returns (bytes4) {
        vm.prank(from, from);
        (bool done, bytes memory reason) = to.call{value: value}(data);
        if (done) return DONE;
        return reason.length < 4 ? NO_REASON : bytes4(reason);
    }

    function _expect(bytes4 expected, bytes4 got, string memory what) internal pure {
        vm.assertEq(bytes32(got), bytes32(expected), what);
    }

    function _create(bytes memory code) internal returns (address created) {
        assembly ("memory-safe") {
            created := create(0, add(code, 0x20), mload(code))
        }
        vm.assertTrue(created != address(0), "a contract was not created");
    }
}
