// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// BN254's scalar field, over which the circuit and Baby Jubjub are defined.
uint256 constant FIELD_MODULUS = 21888242871839275222246405745257275088548364400416034343698204186575808495617;

/// @title Polynomials over BN254's scalar field
library Field {
    /// @notice Evaluates `sum words[i] * point^i`, and says whether all words are canonical.
    /// @dev In assembly, because it processes every word of a batch. Each round of Horner's rule takes four words, and reduces their sum once.
    /// @param words Coefficients, the constant first. Their number must be a multiple of four.
    /// @param point The point, below the modulus.
    /// @return value The value. It has no meaning if a word is not canonical.
    /// @return canonical Whether every word is below the modulus.
    function evaluate(uint256[] calldata words, uint256 point)
        internal
        pure
        returns (uint256 value, bool canonical)
    {
        uint256 modulus = FIELD_MODULUS;
        assembly ("memory-safe") {
            let square := mulmod(point, point, modulus)
            let cube := mulmod(square, point, modulus)
            let fourth := mulmod(square, square, modulus)
            let start := words.offset
            canonical := 1
            for { let next := add(start, shl(5, words.length)) } gt(next, start) {} {
                next := sub(next, 0x80)
                let a := calldataload(next)
                let b := calldataload(add(next, 0x20))
                let c := calldataload(add(next, 0x40))
                let d := calldataload(add(next, 0x60))
                canonical := and(canonical, and(lt(a, modulus), lt(b, modulus)))
                canonical := and(canonical, and(lt(c, modulus), lt(d, modulus)))
                // A sum of five numbers below the modulus is below 2^256. Only `a` may be larger, and then the value has no meaning.
                value := add(
                    add(a, mulmod(b, point, modulus)),
                    add(add(mulmod(c, square, modulus), mulmod(d, cube, modulus)), mulmod(value, fourth, modulus))
                )
            }
            value := mod(value, modulus)
        }
    }

    /// @notice The first of the words that is not below the modulus. There must be one.
    function firstNotCanonical(uint256[] calldata words) internal pure returns (uint256) {
        uint256 i = 0;
        while (words[i] < FIELD_MODULUS) ++i;
        return words[i];
    }
}
