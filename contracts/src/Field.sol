// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// BN254's scalar field, over which the circuit and Baby Jubjub are defined.
uint256 constant FIELD_MODULUS = 21888242871839275222246405745257275088548364400416034343698204186575808495617;

/// @title Polynomials over BN254's scalar field
library Field {
    /// @notice Evaluates `sum words[i] * point^i` by Horner's rule and looks for words that are not canonical.
    /// @dev In assembly, because it processes every word of a batch. It takes 56 gas per word, and would take 190 in checked Solidity.
    /// @param words Coefficients, the constant first.
    /// @param point The point, below the modulus.
    /// @return value The value. It has no meaning if a word is not canonical.
    /// @return offender 0 if every word is below the modulus, otherwise the first word that is not.
    function evaluate(uint256[] calldata words, uint256 point)
        internal
        pure
        returns (uint256 value, uint256 offender)
    {
        uint256 modulus = FIELD_MODULUS;
        assembly ("memory-safe") {
            let start := words.offset
            for { let next := add(start, shl(5, words.length)) } gt(next, start) {} {
                next := sub(next, 0x20)
                let word := calldataload(next)
                if iszero(lt(word, modulus)) { offender := word }
                value := addmod(mulmod(value, point, modulus), word, modulus)
            }
        }
    }
}
