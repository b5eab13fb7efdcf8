// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Stand-in for the verifier in unit tests of the settlement contract
/// @notice Checks no proof. It accepts exactly one calldata, whose hash the test announced, so a test says beforehand
/// which instances and proof the contract must hand to its verifier, byte for byte. Never deployed outside those tests.
contract ExpectingVerifier {
    bytes32 private _expected;

    /// @notice Announces the hash of the only calldata that is accepted.
    function expect(bytes32 calldataHash) external {
        _expected = calldataHash;
    }

    fallback() external {
        require(keccak256(msg.data) == _expected, "other instances or proof");
    }
}
