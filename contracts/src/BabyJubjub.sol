// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {FIELD_MODULUS} from "./Field.sol";

/// @title Baby Jubjub with circomlib's parameters
/// @notice The twisted Edwards curve `a x^2 + y^2 = 1 + d x^2 y^2` over BN254's scalar field. `a` is a square and `d` is not, so
/// doubling has no exceptional point. The order of its group is 8 times a prime.
library BabyJubjub {
    uint256 private constant A = 168700;
    uint256 private constant D = 168696;

    /// @notice Whether the canonical coordinates `x`, `y` satisfy the curve equation.
    function isOnCurve(uint256 x, uint256 y) internal pure returns (bool) {
        uint256 p = FIELD_MODULUS;
        uint256 xx = mulmod(x, x, p);
        uint256 yy = mulmod(y, y, p);
        uint256 left = addmod(mulmod(A, xx, p), yy, p);
        uint256 right = addmod(1, mulmod(D, mulmod(xx, yy, p), p), p);
        return left == right;
    }

    /// @notice Eight times a point of the curve, in canonical affine coordinates. The result is `(0, 1)` for a point of low order.
    /// @dev Three projective doublings and one inversion. Source: Bernstein, Birkner, Joye, Lange, Peters, "Twisted Edwards
    /// curves" (2008), dbl-2008-bbjlp. No denominator is 0 on the curve: `a x^2 + y^2` and `2 - a x^2 - y^2` could be 0 only if
    /// `d` were a square.
    function timesEight(uint256 x, uint256 y) internal view returns (uint256, uint256) {
        uint256 p = FIELD_MODULUS;
        uint256 z = 1;
        for (uint256 doubling = 0; doubling < 3; ++doubling) {
            uint256 sum = addmod(x, y, p);
            uint256 c = mulmod(x, x, p);
            uint256 d = mulmod(y, y, p);
            uint256 e = mulmod(A, c, p);
            uint256 f = addmod(e, d, p);
            uint256 h = mulmod(z, z, p);
            uint256 j = addmod(f, p - addmod(h, h, p), p);
            uint256 cross = addmod(mulmod(sum, sum, p), p - addmod(c, d, p), p);
            x = mulmod(cross, j, p);
            y = mulmod(f, addmod(e, p - d, p), p);
            z = mulmod(f, j, p);
        }
        uint256 inverse = Math.invModPrime(z, p);
        return (mulmod(x, inverse, p), mulmod(y, inverse, p));
    }
}
