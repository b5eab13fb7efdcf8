// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Stand-in for the verifier in unit tests of the settlement contract
/// @notice It checks no proof. It accepts only the calldata whose hash the test announced. So a test fixes beforehand, byte for byte,
/// which public inputs and proof the contract must pass to its verifier. Never deployed outside these tests.
contract ExpectingVerifier {
    bytes32 private _expected;

    /// @notice Announces the hash of the only calldata that is accepted.
    function expect(bytes32 calldataHash) external {
        _expected = calldataHash;
    }

    fallback() external {
        require(keccak256(msg.data) == _expected, "other public inputs or proof");
    }
}
