// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Entry} from "./Entry.sol";
import {IAccountChanges} from "./IAccountChanges.sol";
import {Registry} from "./Registry.sol";
import {AccountIndex, Role, STATUS_CLOSED, Standing} from "./Types.sol";

/// @title What an owner can do with their account on L1, without the sequencer's help
abstract contract AccountChanges is IAccountChanges, Registry {
    bytes32 private constant FORCED_REVOKE_TYPEHASH = keccak256(
        "ForcedRevoke(address owner,bool all,uint16 slot,bool replaceDirectory,uint256 directory,uint256 nonce,"
        "uint256 deadline)"
    );
    bytes32 private constant KEY_ROTATION_TYPEHASH = keccak256(
        "KeyRotation(address owner,uint256 qx,uint256 qy,uint256 encryptionCommitment,bytes32 kemHash,bytes rsaModulus,"
        "bytes rsaSignature,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant ACCOUNT_CLOSING_TYPEHASH =
        keccak256("AccountClosing(address owner,uint256 nonce,uint256 deadline)");

    /// The last slot of a patient's grants.
    uint16 private constant LAST_SLOT = 1023;

    /// @inheritdoc IAccountChanges
    function forceRevoke(Revocation calldata revocation) external payable {
        _forceRevoke(msg.sender, revocation);
    }

    /// @inheritdoc IAccountChanges
    function forceRevokeFor(address owner, Revocation calldata revocation, uint256 deadline, bytes calldata signature)
        external
        payable
    {
        bytes32 structHash =
            keccak256(abi.encode(FORCED_REVOKE_TYPEHASH, owner, revocation, _useNonce(owner), deadline));
        _requireSigned(owner, structHash, deadline, signature);
        _forceRevoke(owner, revocation);
    }

    /// @inheritdoc IAccountChanges
    function rotateKeys(Registration calldata registration) external payable {
        _rotateKeys(msg.sender, registration);
    }

    /// @inheritdoc IAccountChanges
    function rotateKeysFor(
        address owner,
        Registration calldata registration,
        uint256 deadline,
        bytes calldata signature
    ) external payable {
        bytes32 structHash = keccak256(
            abi.encode(
                KEY_ROTATION_TYPEHASH,
                owner,
                registration.qx,
                registration.qy,
                registration.encryptionCommitment,
                registration.kemHash,
                keccak256(registration.rsaModulus),
                keccak256(registration.rsaSignature),
                _useNonce(owner),
                deadline
            )
        );
        _requireSigned(owner, structHash, deadline, signature);
        _rotateKeys(owner, registration);
    }

    /// @inheritdoc IAccountChanges
    function closeAccount() external payable {
        _close(msg.sender);
    }

    /// @inheritdoc IAccountChanges
    function closeAccountFor(address owner, uint256 deadline, bytes calldata signature) external payable {
        bytes32 structHash = keccak256(abi.encode(ACCOUNT_CLOSING_TYPEHASH, owner, _useNonce(owner), deadline));
        _requireSigned(owner, structHash, deadline, signature);
        _close(owner);
    }

    /// @inheritdoc IAccountChanges
    function withdrawRegistration() external {
        address owner = msg.sender;
        (AccountIndex account, Account storage stored) = _accountOfOwner(owner);
        if (stored.standing != Standing.Pending && stored.standing != Standing.Withheld) {
            revert NotPending(account, stored.standing);
        }
        // Everybody knows the signature of a relayed registration. With a nonce that is used, it counts no more.
        _useNonce(owner);
        delete _accounts[account];
        _holdings[owner].account = NO_ACCOUNT;
        delete _registrationHashes[account];
        emit RegistrationWithdrawn(account, owner);
    }

    /// @dev A closed account can still revoke: its grants may be read until they end.
    function _forceRevoke(address owner, Revocation calldata revocation) private {
        (AccountIndex account, Account storage stored) = _accountOfOwner(owner);
        if (stored.role != Role.Patient) revert NotPatient(account);
        bool slotFits = revocation.all ? revocation.slot == 0 : revocation.slot <= LAST_SLOT;
        bool directoryFits = revocation.replaceDirectory
            ? revocation.directory >> 248 == 0
            : revocation.directory == 0;
        if (!slotFits || !directoryFits) revert InvalidRevocation();

        uint256[4] memory entry = revocation.all
            ? Entry.revokeAll(account, revocation.replaceDirectory, revocation.directory)
            : Entry.revokeSlot(account, revocation.slot, revocation.replaceDirectory, revocation.directory);
        _enqueueChange(account, stored.entry, entry);
        emit Revoked(account, revocation);
    }

    function _rotateKeys(address owner, Registration calldata registration) private {
        (AccountIndex account, Account storage stored) = _accountOfOwner(owner);
        _requireOpen(account, stored);
        if (registration.role != stored.role || !(registration.org == stored.org)) revert AnotherRole(account);
        Keys memory keys = _checkedKeys(owner, registration);
        uint256[4] memory entry = Entry.rotateKey(account, keys.ax, keys.ay, keys.encryptionCommitment);
        _enqueueChange(account, stored.entry, entry);
        emit KeysRotated(account, keys);
    }

    function _close(address owner) private {
        (AccountIndex account, Account storage stored) = _accountOfOwner(owner);
        _requireOpen(account, stored);
        bool counted = stored.standing == Standing.Admitted;
        stored.standing = Standing.Closed;
        // Governance no longer counts a suspended hospital.
        if (counted) _tellGovernance(account, stored);
        _enqueueChange(account, stored.entry, Entry.setStatus(account, STATUS_CLOSED));
        emit Closed(account);
    }

    function _accountOfOwner(address owner) internal view returns (AccountIndex account, Account storage stored) {
        account = _holdings[owner].account;
        if (account == NO_ACCOUNT) revert NotRegistered(owner);
        stored = _accounts[account];
    }

    function _requireOpen(AccountIndex account, Account storage stored) private view {
        if (stored.standing != Standing.Admitted && stored.standing != Standing.Suspended) revert NotOpen(account);
    }
}
