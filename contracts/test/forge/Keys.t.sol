// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "../../src/IRegistry.sol";
import {QueueIndex, QueueName, Role} from "../../src/Types.sol";
import {Owners} from "./Owners.sol";
import {FIELD, between, vm} from "./Vm.sol";

/// @title The rollup keys that follow from submitted points
/// @notice Points are added here by the affine addition law, and not by projective doubling as in the contract.
contract KeysTest is Owners {
    address private constant OWNER = address(0x0a11ce);

    // A point of order 8. It generates all points of low order.
    uint256 private constant LOW_X = 0x999e47227c47e8829b0d14b251feed7582d0f5357b304b06d4014ae6ab39f1e;
    uint256 private constant LOW_Y = 0xaabb7211172d31463c1127d4ba6942cb791c56d8234b5a0abfd1e81afd0d677;

    function setUp() external {
        _deploy(_threeSizes());
        vm.deal(OWNER, 1 ether);
    }

    /// forge-config: default.fuzz.runs = 24
    /// @dev The key is eight times the point, whatever point of low order is added to it. So it has prime order.
    function test_a_key_is_eight_times_the_point(uint256 factor, uint256 low) external {
        (uint256 x, uint256 y) = _times(between(factor, 1, 2 ** 250), Q1X, Q1Y);
        (uint256 ax, uint256 ay) = _times(8, x, y);
        (uint256 lowX, uint256 lowY) = _times(low % 8, LOW_X, LOW_Y);
        (x, y) = _add(x, y, lowX, lowY);
        _expect(DONE, _submit(x, y), "registered");
        IRegistry.Keys memory keys = _keys(OWNER, Role.Patient, false);
        (keys.ax, keys.ay) = (ax, ay);
        (bytes27 queued,) = rollup.queueEntry(QueueName.Ordinary, QueueIndex.wrap(0));
        bytes32 expected = keccak256(abi.encode(_registerEntry(1, Role.Patient, 0, keys)));
        vm.assertEq(bytes32(queued), expected >> 40 << 40, "the queued words");
    }

    /// @dev All eight points of low order are refused.
    function test_points_of_low_order_are_refused() external {
        for (uint256 i = 0; i < 8; ++i) {
            (uint256 x, uint256 y) = _times(i, LOW_X, LOW_Y);
            _expect(IRegistry.PointOfLowOrder.selector, _submit(x, y), "low order");
        }
        (uint256 x8, uint256 y8) = _times(8, LOW_X, LOW_Y);
        vm.assertTrue(x8 == 0 && y8 == 1, "eight times it is the neutral element");
    }

    /// @dev Nearly no two coordinates are a point.
    function test_other_coordinates_are_refused(uint256 x, uint256 y) external {
        (x, y) = (x % FIELD, y % FIELD);
        if (_onCurve(x, y)) return;
        _expect(IRegistry.PointNotOnCurve.selector, _submit(x, y), "not on the curve");
    }

    /// @dev Coordinates have one encoding.
    function test_coordinates_are_canonical(bool abscissa, uint256 twice) external {
        uint256 more = FIELD * (1 + twice % 4);
        (uint256 x, uint256 y) = abscissa ? (Q1X + more, Q1Y) : (Q1X, Q1Y + more);
        _expect(IRegistry.CoordinateNotCanonical.selector, _submit(x, y), "not canonical");
    }

    function _submit(uint256 x, uint256 y) private returns (bytes4) {
        IRegistry.Registration memory registration = _registration(OWNER, Role.Patient, false);
        (registration.qx, registration.qy) = (x, y);
        return _send(OWNER, FEE, abi.encodeCall(IRegistry.register, (registration)));
    }

    function _onCurve(uint256 x, uint256 y) private pure returns (bool) {
        (uint256 xx, uint256 yy) = (mulmod(x, x, FIELD), mulmod(y, y, FIELD));
        uint256 right = addmod(1, mulmod(168696, mulmod(xx, yy, FIELD), FIELD), FIELD);
        return addmod(mulmod(168700, xx, FIELD), yy, FIELD) == right;
    }

    function _times(uint256 factor, uint256 x, uint256 y) private view returns (uint256 rx, uint256 ry) {
        (rx, ry) = (0, 1);
        for (; factor != 0; factor >>= 1) {
            if (factor & 1 == 1) (rx, ry) = _add(rx, ry, x, y);
            (x, y) = _add(x, y, x, y);
        }
    }

    /// @dev `x = (x1 y2 + y1 x2) / (1 + d x1 x2 y1 y2)`, `y = (y1 y2 - a x1 x2) / (1 - d x1 x2 y1 y2)`.
    function _add(uint256 x1, uint256 y1, uint256 x2, uint256 y2) private view returns (uint256 x, uint256 y) {
        (uint256 xx, uint256 yy) = (mulmod(x1, x2, FIELD), mulmod(y1, y2, FIELD));
        uint256 dxy = mulmod(168696, mulmod(xx, yy, FIELD), FIELD);
        x = addmod(mulmod(x1, y2, FIELD), mulmod(y1, x2, FIELD), FIELD);
        x = mulmod(x, _inverse(addmod(1, dxy, FIELD)), FIELD);
        y = addmod(yy, FIELD - mulmod(168700, xx, FIELD), FIELD);
        y = mulmod(y, _inverse(addmod(1, FIELD - dxy, FIELD)), FIELD);
    }

    /// @dev By Fermat's little theorem.
    function _inverse(uint256 value) private view returns (uint256) {
        (, bytes memory inverse) = address(5).staticcall(abi.encode(32, 32, 32, value, FIELD - 2, FIELD));
        return abi.decode(inverse, (uint256));
    }
}
