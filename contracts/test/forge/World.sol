// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IEmrRollup} from "../../src/IEmrRollup.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {StateRoot} from "../../src/Types.sol";
import {vm} from "./Vm.sol";

/// @title The rollup with what it inherits from OpenZeppelin
interface IRollup is IEmrRollup {
    function nonces(address owner) external view returns (uint256);
    function owner() external view returns (address);
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
    uint256 internal constant CIRCUIT_VERSION = 1;
    uint256 internal constant START = 1_800_000_000;

    /// A refusal without data, as an assembly `revert(0, 0)` or a call that ran out of gas gives it.
    bytes4 internal constant NO_REASON = 0xffffffff;
    /// The call was not refused.
    bytes4 internal constant DONE = 0;

    IRollup internal rollup;
    ISettlement.Size[] internal sizes;

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
            registrar: REGISTRAR,
            registrationFee: FEE
        });
        rollup = IRollup(_create(bytes.concat(vm.getCode("artifacts/EmrRollup.json"), abi.encode(parameters))));
        vm.deal(REGISTRAR, 1000 ether);
        vm.deal(STRANGER, 1000 ether);
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
        vm.prank(from, from);
        (bool done, bytes memory reason) = address(rollup).call{value: value}(data);
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
