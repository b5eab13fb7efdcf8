// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountIndex, Role, STATUS_ACTIVE} from "./Types.sol";

/// @title The four words of a queue entry
/// @notice `pack(kind 8, account 24, role 8, status 8, org 24, tree 2, slot 16, replace_directory 1)`, A.x, A.y, opaque. All other fields of
/// a kind are 0. All words are canonical: the packed word has 91 bits, coordinates come reduced from `BabyJubjub.timesEight`, and the
/// callers check that opaque values are below 2^248. So no entry can make a settlement revert.
library Entry {
    uint256 private constant KIND_REGISTER = 16;
    uint256 private constant KIND_SET_STATUS = 17;
    uint256 private constant KIND_ROTATE_KEY = 18;
    uint256 private constant KIND_FORCED_REVOKE = 19;
    uint256 private constant TREE_GRANTS = 1;

    /// @notice Admits an account.
    function register(AccountIndex account, Role role, AccountIndex org, uint256 ax, uint256 ay, uint256 commitment)
        internal
        pure
        returns (uint256[4] memory)
    {
        uint256 packed = _head(KIND_REGISTER, account);
        packed |= uint256(role) << 51;
        packed |= STATUS_ACTIVE << 43;
        packed |= uint256(AccountIndex.unwrap(org)) << 19;
        return [packed, ax, ay, commitment];
    }

    /// @notice Sets an account's status.
    function setStatus(AccountIndex account, uint256 status) internal pure returns (uint256[4] memory) {
        return [_head(KIND_SET_STATUS, account) | status << 43, 0, 0, 0];
    }

    /// @notice Gives an account new keys.
    function rotateKey(AccountIndex account, uint256 ax, uint256 ay, uint256 commitment)
        internal
        pure
        returns (uint256[4] memory)
    {
        return [_head(KIND_ROTATE_KEY, account), ax, ay, commitment];
    }

    /// @notice Ends the grant in one slot of a patient.
    function revokeSlot(AccountIndex account, uint16 slot, bool replaceDirectory, uint256 directory)
        internal
        pure
        returns (uint256[4] memory)
    {
        uint256 packed = _head(KIND_FORCED_REVOKE, account) | TREE_GRANTS << 17 | uint256(slot) << 1;
        return [packed | (replaceDirectory ? 1 : 0), 0, 0, directory];
    }

    /// @notice Ends all grants of a patient.
    function revokeAll(AccountIndex account, bool replaceDirectory, uint256 directory)
        internal
        pure
        returns (uint256[4] memory)
    {
        return [_head(KIND_FORCED_REVOKE, account) | (replaceDirectory ? 1 : 0), 0, 0, directory];
    }

    /// @notice Whether an entry admits an account.
    function isRegistration(uint256[4] memory words) internal pure returns (bool) {
        return words[0] >> 83 == KIND_REGISTER;
    }

    /// @notice Which change of an account an entry is, 0 to 3: status, keys, all grants, one grant. An account can have only one of each waiting.
    function variety(uint256[4] memory words) internal pure returns (uint256) {
        return (words[0] >> 83) - KIND_SET_STATUS + (words[0] >> 17 & TREE_GRANTS);
    }

    function _head(uint256 kind, AccountIndex account) private pure returns (uint256) {
        return kind << 83 | uint256(AccountIndex.unwrap(account)) << 59;
    }
}
