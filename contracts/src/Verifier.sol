// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FIELD_MODULUS} from "./Field.sol";

/// @title Verifier of halo2 proofs (KZG on BN254, SHPLONK openings, Keccak transcript)
/// @notice One code for every circuit. What belongs to one circuit is its key, the data of another contract
/// (`docs/contracts.md`, "The verifier"). The raw calldata are the public inputs and the proof, and nothing else. The
/// call returns nothing if the proof is valid, and reverts otherwise.
/// @dev The idea to store the key in a separate contract comes from halo2-solidity-verifier
/// (privacy-scaling-explorations, licence MIT OR Apache-2.0).
///
/// Memory, in bytes. The header of the key names the places after the key.
///
/// ```text
/// 0x000  a sum of points (64), a point and its scalar (96); or the input of a pairing or of an inversion
/// 0x200  the key; its header is at 0x220, the points of G2 at 0x240
///        the calldata
///        the challenges
///        the results of the program; before it starts, what the transcript hashes
///        the products of an inversion
/// ```
contract Verifier {
    /// @notice The contract whose code is a zero byte and the key.
    /// @dev The calldata of a proof never begin with this function's selector: it is greater than the first four bytes of the
    /// modulus, and the first word of a proof's calldata is a public input.
    address public immutable key;

    /// The modulus r of the scalar field. It is no constant, because the compiler would copy a constant from the code
    /// at every use, for 30 gas.
    uint256 private immutable _modulus = FIELD_MODULUS;

    /// @notice The address holds no key of the format that this code reads.
    error NotAKey(address key);

    /// @param key_ The contract with the key.
    constructor(address key_) {
        uint256 size = key_.code.length;
        bytes32 start;
        bytes32 header;
        assembly ("memory-safe") {
            extcodecopy(key_, 0, 0, 0x20)
            start := mload(0)
            extcodecopy(key_, 0, 0x21, 0x20)
            header := mload(0)
        }
        if (size < 0x200 || size % 32 != 1 || start[0] != 0 || bytes2(header) != 0xe101) revert NotAKey(key_);
        key = key_;
    }

    fallback() external {
        address key_ = key;
        uint256 r = _modulus;
        assembly {
            /// A number of the header
            function field(word, i) -> value {
                value := and(shr(sub(240, shl(4, i)), word), 0xffff)
            }
            /// The value whose address is in a word, this many bits from its end
            function at(word, bits) -> value {
                value := mload(and(shr(bits, word), 0xffff))
            }
            /// 1 if all words from `from` to `end` are below the modulus. At least four words
            function canonical(from, end, modulus) -> valid {
                valid := 1
                for { let last := sub(end, 0x80) } iszero(gt(from, last)) { from := add(from, 0x80) } {
                    let first := and(lt(mload(from), modulus), lt(mload(add(from, 0x20)), modulus))
                    let second := and(lt(mload(add(from, 0x40)), modulus), lt(mload(add(from, 0x60)), modulus))
                    valid := and(valid, and(first, second))
                }
                for {} lt(from, end) { from := add(from, 0x20) } { valid := and(valid, lt(mload(from), modulus)) }
            }

            // The size is that of the code as it is now. A size that was stored at deployment would hide that the code
            // was another one then. Without code, the copy runs out of gas
            extcodecopy(key_, 0x200, 1, sub(extcodesize(key_), 1))
            let header := mload(0x220)
            let data := field(header, 5)
            if iszero(eq(calldatasize(), field(header, 1))) { revert(0, 0) }
            calldatacopy(data, 0, calldatasize())

            // Public inputs and evaluations are canonical. The precompiles check the points.
            let ok := canonical(data, add(data, field(header, 2)), r)
            ok := and(ok, canonical(add(data, field(header, 3)), add(data, field(header, 4)), r))
            if iszero(ok) { revert(0, 0) }

            // The transcript: each round hashes the last hash and the next part of the calldata
            {
                let buffer := field(header, 7)
                let challenge := field(header, 6)
                let part := 0
                mstore(buffer, mload(0x200))
                let end := field(header, 9)
                for { let round := field(header, 8) } lt(round, end) { round := add(round, 4) } {
                    let length := shr(240, mload(round))
                    calldatacopy(add(buffer, 0x20), part, length)
                    part := add(part, length)
                    length := add(length, 0x20)
                    for { let left := and(shr(224, mload(round)), 0xffff) } left { left := sub(left, 1) } {
                        // After a hash without new calldata comes a byte 1
                        if eq(length, 0x20) {
                            mstore8(add(buffer, 0x20), 1)
                            length := 0x21
                        }
                        let hash := keccak256(buffer, length)
                        mstore(buffer, hash)
                        mstore(challenge, mod(hash, r))
                        challenge := add(challenge, 0x20)
                        length := 0x20
                    }
                }
            }

            // The program: runs of words, each with instructions of one kind. Results go to `to`, one after the other.
            // The steps are written out, because a loop costs gas for each step. The places in a word are those of
            // `Kind` in program.rs
            {
                let word := field(header, 12)
                let to := field(header, 7)
                for { let run := field(header, 10) } lt(run, field(header, 11)) { run := add(run, 2) } {
                    let kind := shr(240, mload(run))
                    let end := add(word, shl(5, and(kind, 0xfff)))
                    kind := shr(12, kind)
                    switch kind
                    case 0 {
                        // a·b + c, five times
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            mstore(to, addmod(mulmod(mload(shr(240, w)), at(w, 224), r), at(w, 208), r))
                            mstore(add(to, 0x20), addmod(mulmod(at(w, 192), at(w, 176), r), at(w, 160), r))
                            mstore(add(to, 0x40), addmod(mulmod(at(w, 144), at(w, 128), r), at(w, 112), r))
                            mstore(add(to, 0x60), addmod(mulmod(at(w, 96), at(w, 80), r), at(w, 64), r))
                            mstore(add(to, 0x80), addmod(mulmod(at(w, 48), at(w, 32), r), at(w, 16), r))
                            to := add(to, 0xa0)
                        }
                    }
                    case 1 {
                        // a·b + c·d + e·f + g, twice
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            let sum := addmod(mulmod(mload(shr(240, w)), at(w, 224), r), at(w, 144), r)
                            sum := addmod(mulmod(at(w, 208), at(w, 192), r), sum, r)
                            mstore(to, addmod(mulmod(at(w, 176), at(w, 160), r), sum, r))
                            sum := addmod(mulmod(at(w, 128), at(w, 112), r), at(w, 32), r)
                            sum := addmod(mulmod(at(w, 96), at(w, 80), r), sum, r)
                            mstore(add(to, 0x20), addmod(mulmod(at(w, 64), at(w, 48), r), sum, r))
                            to := add(to, 0x40)
                        }
                    }
                    case 2 {
                        // a·b, eight times
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            mstore(to, mulmod(mload(shr(240, w)), at(w, 224), r))
                            mstore(add(to, 0x20), mulmod(at(w, 208), at(w, 192), r))
                            mstore(add(to, 0x40), mulmod(at(w, 176), at(w, 160), r))
                            mstore(add(to, 0x60), mulmod(at(w, 144), at(w, 128), r))
                            mstore(add(to, 0x80), mulmod(at(w, 112), at(w, 96), r))
                            mstore(add(to, 0xa0), mulmod(at(w, 80), at(w, 64), r))
                            mstore(add(to, 0xc0), mulmod(at(w, 48), at(w, 32), r))
                            mstore(add(to, 0xe0), mulmod(at(w, 16), at(w, 0), r))
                            to := add(to, 0x100)
                        }
                    }
                    case 3 {
                        // The value at x of a polynomial with 15 coefficients, by Horner's rule
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            let x := mload(shr(240, w))
                            let value := at(w, 224)
                            value := addmod(mulmod(value, x, r), at(w, 208), r)
                            value := addmod(mulmod(value, x, r), at(w, 192), r)
                            value := addmod(mulmod(value, x, r), at(w, 176), r)
                            value := addmod(mulmod(value, x, r), at(w, 160), r)
                            value := addmod(mulmod(value, x, r), at(w, 144), r)
                            value := addmod(mulmod(value, x, r), at(w, 128), r)
                            value := addmod(mulmod(value, x, r), at(w, 112), r)
                            value := addmod(mulmod(value, x, r), at(w, 96), r)
                            value := addmod(mulmod(value, x, r), at(w, 80), r)
                            value := addmod(mulmod(value, x, r), at(w, 64), r)
                            value := addmod(mulmod(value, x, r), at(w, 48), r)
                            value := addmod(mulmod(value, x, r), at(w, 32), r)
                            value := addmod(mulmod(value, x, r), at(w, 16), r)
                            mstore(to, addmod(mulmod(value, x, r), at(w, 0), r))
                            to := add(to, 0x20)
                        }
                    }
                    case 4 {
                        // a^5, five times
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            let a := mload(shr(240, w))
                            let square := mulmod(a, a, r)
                            mstore(to, mulmod(a, mulmod(square, square, r), r))
                            a := at(w, 224)
                            square := mulmod(a, a, r)
                            mstore(add(to, 0x20), mulmod(a, mulmod(square, square, r), r))
                            a := at(w, 208)
                            square := mulmod(a, a, r)
                            mstore(add(to, 0x40), mulmod(a, mulmod(square, square, r), r))
                            a := at(w, 192)
                            square := mulmod(a, a, r)
                            mstore(add(to, 0x60), mulmod(a, mulmod(square, square, r), r))
                            a := at(w, 176)
                            square := mulmod(a, a, r)
                            mstore(add(to, 0x80), mulmod(a, mulmod(square, square, r), r))
                            to := add(to, 0xa0)
                        }
                    }
                    case 5 {
                        // a·b^i for i from 1 to 4n
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            let value := mload(shr(240, w))
                            let b := at(w, 224)
                            let last := add(to, shl(7, and(shr(208, w), 0xffff)))
                            for {} lt(to, last) { to := add(to, 0x80) } {
                                value := mulmod(value, b, r)
                                mstore(to, value)
                                value := mulmod(value, b, r)
                                mstore(add(to, 0x20), value)
                                value := mulmod(value, b, r)
                                mstore(add(to, 0x40), value)
                                value := mulmod(value, b, r)
                                mstore(add(to, 0x60), value)
                            }
                        }
                    }
                    case 6 {
                        // a · (c_1·b + d_1) · .. · (c_7·b + d_7)
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            let value := mload(shr(240, w))
                            let b := at(w, 224)
                            value := mulmod(value, addmod(mulmod(at(w, 208), b, r), at(w, 192), r), r)
                            value := mulmod(value, addmod(mulmod(at(w, 176), b, r), at(w, 160), r), r)
                            value := mulmod(value, addmod(mulmod(at(w, 144), b, r), at(w, 128), r), r)
                            value := mulmod(value, addmod(mulmod(at(w, 112), b, r), at(w, 96), r), r)
                            value := mulmod(value, addmod(mulmod(at(w, 80), b, r), at(w, 64), r), r)
                            value := mulmod(value, addmod(mulmod(at(w, 48), b, r), at(w, 32), r), r)
                            mstore(to, mulmod(value, addmod(mulmod(at(w, 16), b, r), at(w, 0), r), r))
                            to := add(to, 0x20)
                        }
                    }
                    case 7 {
                        // a^(2^n)
                        for {} lt(word, end) { word := add(word, 0x20) } {
                            let w := mload(word)
                            let value := mload(shr(240, w))
                            for { let left := and(shr(224, w), 0xffff) } left { left := sub(left, 1) } {
                                value := mulmod(value, value, r)
                            }
                            mstore(to, value)
                            to := add(to, 0x20)
                        }
                    }
                    default {
                        // The inverses of 3n + 1 words, in their places (Montgomery's trick)
                        let first := shr(240, mload(word))
                        let last := add(first, mul(0x60, and(shr(224, mload(word)), 0xffff)))
                        word := end
                        let products := field(header, 15)
                        let product := mload(first)
                        for { let place := first } lt(place, last) {} {
                            mstore(products, product)
                            product := mulmod(product, mload(add(place, 0x20)), r)
                            mstore(add(products, 0x20), product)
                            product := mulmod(product, mload(add(place, 0x40)), r)
                            mstore(add(products, 0x40), product)
                            place := add(place, 0x60)
                            product := mulmod(product, mload(place), r)
                            products := add(products, 0x60)
                        }
                        if iszero(product) { revert(0, 0) }
                        // product^(r - 2) mod r
                        mstore(0, 0x20)
                        mstore(0x20, 0x20)
                        mstore(0x40, 0x20)
                        mstore(0x60, product)
                        mstore(0x80, sub(r, 2))
                        mstore(0xa0, r)
                        if iszero(staticcall(gas(), 5, 0, 0xc0, 0, 0x20)) { revert(0, 0) }
                        let inverse := mload(0)
                        for { let place := last } lt(first, place) {} {
                            let value := mload(place)
                            mstore(place, mulmod(inverse, mload(sub(products, 0x20)), r))
                            inverse := mulmod(inverse, value, r)
                            place := sub(place, 0x20)
                            value := mload(place)
                            mstore(place, mulmod(inverse, mload(sub(products, 0x40)), r))
                            inverse := mulmod(inverse, value, r)
                            place := sub(place, 0x20)
                            products := sub(products, 0x60)
                            value := mload(place)
                            mstore(place, mulmod(inverse, mload(products), r))
                            inverse := mulmod(inverse, value, r)
                            place := sub(place, 0x20)
                        }
                        mstore(first, inverse)
                    }
                }
            }

            // The sum of the points times their scalars. The first point's scalar is 1
            {
                let term := field(header, 13)
                mcopy(0, shr(240, mload(term)), 0x40)
                term := add(term, 2)
                for { let end := field(header, 14) } lt(term, end) { term := add(term, 4) } {
                    let w := mload(term)
                    mcopy(0x40, shr(240, w), 0x40)
                    mstore(0x80, at(w, 224))
                    ok := and(ok, staticcall(gas(), 7, 0x40, 0x60, 0x40, 0x40))
                    ok := and(ok, staticcall(gas(), 6, 0, 0x80, 0, 0x40))
                }
            }

            // e(sum, [1]_2) · e(last point of the proof, -[s]_2) = 1
            mcopy(0x40, 0x240, 0x80)
            mcopy(0xc0, sub(add(data, calldatasize()), 0x40), 0x40)
            mcopy(0x100, 0x2c0, 0x80)
            ok := and(ok, staticcall(gas(), 8, 0, 0x180, 0, 0x20))
            if iszero(and(ok, eq(mload(0), 1))) { revert(0, 0) }
        }
    }
}
