// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountChanges} from "./AccountChanges.sol";
import {IOwnership} from "./IOwnership.sol";
import {AccountIndex, Standing, UnixTime} from "./Types.sol";

/// @title Who owns an account: change by the owner, and recovery by guardians
abstract contract Ownership is IOwnership, AccountChanges {
    bytes32 private constant OWNER_CHANGE_TYPEHASH =
        keccak256("OwnerChange(uint24 account,address owner,address newOwner,uint256 nonce,uint256 deadline)");
    bytes32 private constant GUARDIANS_CHANGE_TYPEHASH = keccak256(
        "GuardiansChange(address owner,address[] guardians,uint8 needed,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant RECOVERY_TYPEHASH =
        keccak256("Recovery(uint24 account,address newOwner,uint256 round,uint256 deadline)");

    /// @inheritdoc IOwnership
    uint256 public constant RECOVERY_DELAY = 7 days;

    uint256 private constant MOST_GUARDIANS = 16;

    /// Who registered an account whose owner changed.
    mapping(AccountIndex account => address) private _registrants;
    mapping(AccountIndex account => Recovery) private _recoveries;

    /// @inheritdoc IOwnership
    function changeOwner(
        address owner,
        address newOwner,
        uint256 deadline,
        bytes calldata ownerSignature,
        bytes calldata newOwnerSignature
    ) external {
        AccountIndex account = _admittedAccountOf(owner);
        bytes32 structHash =
            keccak256(abi.encode(OWNER_CHANGE_TYPEHASH, account, owner, newOwner, nonces(owner), deadline));
        _requireAgreed(owner, structHash, deadline, ownerSignature);
        _requireAgreed(newOwner, structHash, deadline, newOwnerSignature);
        _changeOwner(account, newOwner);
        // A thief of the key may have named them.
        _recoveries[account].needed = 0;
    }

    /// @inheritdoc IOwnership
    function setGuardians(
        address owner,
        address[] calldata guardians,
        uint8 needed,
        uint256 deadline,
        bytes calldata signature
    ) external {
        AccountIndex account = _admittedAccountOf(owner);
        bytes32 hash = _hash(guardians);
        bytes32 structHash = keccak256(
            abi.encode(GUARDIANS_CHANGE_TYPEHASH, owner, hash, needed, _useNonce(owner), deadline)
        );
        _requireAgreed(owner, structHash, deadline, signature);

        uint256 count = guardians.length;
        if (count > MOST_GUARDIANS || needed > count || (needed == 0) != (count == 0)) revert InvalidGuardians();
        address last;
        for (uint256 i = 0; i < count; ++i) {
            address guardian = guardians[i];
            if (guardian <= last || guardian == owner) revert InvalidGuardians();
            last = guardian;
        }
        Recovery storage recovery = _nextRound(account);
        (recovery.guardians, recovery.needed) = (hash, needed);
        emit GuardiansChanged(account, guardians, needed);
    }

    /// @inheritdoc IOwnership
    /// @dev A recovery that waits stops no other one: its new owner may have lost the key, or registered. And where guardians are divided, enough
    /// on both sides, nobody gets the account while they are, instead of whoever was first. The delay always begins again.
    function beginRecovery(
        AccountIndex account,
        address newOwner,
        address[] calldata guardians,
        uint256 deadline,
        bytes calldata newOwnerSignature,
        bytes[] calldata approvals
    ) external {
        Recovery storage recovery = _recoveries[account];
        uint256 needed = recovery.needed;
        if (needed == 0 || _hash(guardians) != recovery.guardians || approvals.length != guardians.length) {
            revert OtherGuardians(account);
        }
        _requireFree(newOwner, account);
        bytes32 structHash = keccak256(abi.encode(RECOVERY_TYPEHASH, account, newOwner, recovery.round, deadline));
        _requireAgreed(newOwner, structHash, deadline, newOwnerSignature);
        uint256 given;
        for (uint256 i = 0; i < guardians.length; ++i) {
            (address guardian, bytes calldata approval) = (guardians[i], approvals[i]);
            // Who is left out is not asked: a guardian's contract could revert, or burn the gas.
            if (approval.length == 0 && guardian != msg.sender) continue;
            _requireAgreed(guardian, structHash, deadline, approval);
            ++given;
        }
        if (given < needed) revert ApprovalsMissing(needed, given);
        UnixTime ripeAt = UnixTime.wrap(uint40(block.timestamp + RECOVERY_DELAY));
        _nextRound(account);
        (recovery.newOwner, recovery.ripeAt) = (newOwner, ripeAt);
        emit RecoveryBegan(account, newOwner, ripeAt);
    }

    /// @inheritdoc IOwnership
    function finishRecovery(AccountIndex account) external {
        Recovery storage recovery = _recoveries[account];
        if (recovery.newOwner == address(0)) revert NoRecovery(account);
        if (block.timestamp < UnixTime.unwrap(recovery.ripeAt)) revert RecoveryWaits(recovery.ripeAt);
        _changeOwner(account, recovery.newOwner);
    }

    /// @inheritdoc IOwnership
    function registrantOf(AccountIndex account) external view returns (address registrant) {
        registrant = _registrants[account];
        if (registrant == address(0)) registrant = _accounts[account].owner;
    }

    /// @inheritdoc IOwnership
    function recoveryOf(AccountIndex account) external view returns (Recovery memory) {
        return _recoveries[account];
    }

    function _changeOwner(AccountIndex account, address newOwner) private {
        _requireFree(newOwner, account);
        address owner = _accounts[account].owner;
        if (_registrants[account] == address(0)) {
            _registrants[account] = owner;
            _holdings[owner].givenAway = account;
        }
        // What either of them signed before counts no more, also not a relayed registration.
        _useNonce(owner);
        _useNonce(newOwner);
        _holdings[owner].account = NO_ACCOUNT;
        _holdings[newOwner].account = account;
        _accounts[account].owner = newOwner;
        _nextRound(account);
        emit OwnerChanged(account, owner, newOwner);
    }

    /// @dev Ends a recovery that waits. Approvals of before count no more.
    function _nextRound(AccountIndex account) private returns (Recovery storage recovery) {
        recovery = _recoveries[account];
        unchecked {
            (recovery.round, recovery.newOwner, recovery.ripeAt) = (recovery.round + 1, address(0), UnixTime.wrap(0));
        }
    }

    /// @dev Requires that this account agrees: it calls, or signed the typed data, whose deadline has not passed.
    function _requireAgreed(address who, bytes32 structHash, uint256 deadline, bytes calldata signature) private view {
        if (who != msg.sender) _requireSigned(who, structHash, deadline, signature);
    }

    /// @dev The registrar checked the owner of an account that waits, so it stays. An account is never pending again, so only admitted ones have
    /// guardians.
    function _admittedAccountOf(address owner) private view returns (AccountIndex account) {
        Account storage stored;
        (account, stored) = _accountOfOwner(owner);
        if (stored.standing < Standing.Admitted) revert NotAdmitted(account);
    }

    function _hash(address[] calldata guardians) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(guardians));
    }
}
