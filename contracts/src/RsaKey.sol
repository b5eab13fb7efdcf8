// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {RSA} from "@openzeppelin/contracts/utils/cryptography/RSA.sol";

/// @title RSA public keys with exponent 65537
/// @notice Checks, commits to, and verifies the proof of possession of a doctor's or hospital's key.
library RsaKey {
    bytes internal constant EXPONENT = hex"010001";
    uint256 internal constant MIN_BYTES = 256;
    uint256 internal constant MAX_BYTES = 512;

    /// @notice Whether `modulus` is big-endian, of 256 to 512 bytes, odd, and has its top bit set.
    function isWellFormed(bytes memory modulus) internal pure returns (bool) {
        uint256 length = modulus.length;
        if (length < MIN_BYTES || length > MAX_BYTES) return false;
        return modulus[0] >= 0x80 && uint8(modulus[length - 1]) & 1 == 1;
    }

    /// @notice The one-element commitment to the key and to a second one, below 2^248:
    /// `sha256(uint16 length of e || e || uint16 length of n || n || kemHash) >> 8`.
    function commitment(bytes memory modulus, bytes32 kemHash) internal pure returns (uint256) {
        bytes32 digest =
            sha256(abi.encodePacked(uint16(EXPONENT.length), EXPONENT, uint16(modulus.length), modulus, kemHash));
        return uint256(digest) >> 8;
    }

    /// @notice Whether `signature` is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2) under `modulus` over `message`.
    function verifies(bytes memory modulus, bytes memory message, bytes memory signature)
        internal
        view
        returns (bool)
    {
        return RSA.pkcs1Sha256(message, signature, EXPONENT, modulus);
    }
}
