// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "./IRegistry.sol";
import {AccountIndex} from "./Types.sol";

/// @title What an owner can do with their account on L1, without the sequencer's help
/// @notice Each change is an entry of the urgent queue and costs `urgentFee()`. The registration of the account must be settled. The sequencer must settle it, or anyone can. What is sent
/// beyond the fee becomes the sender's credit. Everything can be relayed: the owner signs EIP-712 with their `nonces(owner)`, domain ("EMR
/// Rollup", "1", chain, this), and pays nothing.
interface IAccountChanges {
    /// @notice The grants of a patient that end.
    /// @param all Whether all grants end.
    /// @param slot The slot of the grant that ends, 0 to 1023; 0 if `all`.
    /// @param replaceDirectory Whether the patient's key directory is replaced.
    /// @param directory The commitment to the new key directory, below 2^248; 0 if it is not replaced.
    struct Revocation {
        bool all;
        uint16 slot;
        bool replaceDirectory;
        uint256 directory;
    }

    /// @notice A patient ended grants. It has effect once the entry is settled; honest nodes stop serving at once.
    event Revoked(AccountIndex indexed account, Revocation revocation);
    /// @notice An owner gave their account new keys. They count once the entry is settled.
    event KeysRotated(AccountIndex indexed account, IRegistry.Keys keys);
    /// @notice An owner closed their account.
    event Closed(AccountIndex indexed account);
    /// @notice An owner withdrew a registration that was not admitted. They may register again.
    event RegistrationWithdrawn(AccountIndex indexed account, address indexed owner);

    /// @notice The owner has no account.
    error NotRegistered(address owner);
    /// @notice Only a patient has grants.
    error NotPatient(AccountIndex account);
    /// @notice The revocation names a slot above 1023, a slot although all grants end, or a directory that is not below 2^248 or not replaced.
    error InvalidRevocation();
    /// @notice The account is closed, or waits for admission.
    error NotOpen(AccountIndex account);
    /// @notice Role and organisation of an account never change.
    error AnotherRole(AccountIndex account);

    /// @notice Ends grants of the caller, a patient.
    function forceRevoke(Revocation calldata revocation) external payable;

    /// @notice Ends grants of `owner`, who signed `ForcedRevoke(address owner,bool all,uint16 slot,bool replaceDirectory,uint256
    /// directory,uint256 nonce,uint256 deadline)`.
    function forceRevokeFor(address owner, Revocation calldata revocation, uint256 deadline, bytes calldata signature)
        external
        payable;

    /// @notice Gives the caller's account new keys. Role and organisation must be the account's; the other fields are as in a registration.
    function rotateKeys(IRegistry.Registration calldata registration) external payable;

    /// @notice Gives the account of `owner` new keys. The owner signed `KeyRotation(address owner,uint256 qx,uint256 qy,uint256
    /// encryptionCommitment,bytes32 kemHash,bytes rsaModulus,bytes rsaSignature,uint256 nonce,uint256 deadline)`.
    function rotateKeysFor(
        address owner,
        IRegistry.Registration calldata registration,
        uint256 deadline,
        bytes calldata signature
    ) external payable;

    /// @notice Withdraws the caller's registration, which must not be admitted. The caller may register again, but not by `registerFor`, so
    /// that nobody repeats what they signed before.
    function withdrawRegistration() external;

    /// @notice Closes the caller's account, permanently.
    function closeAccount() external payable;

    /// @notice Closes the account of `owner`, who signed `AccountClosing(address owner,uint256 nonce,uint256 deadline)`.
    function closeAccountFor(address owner, uint256 deadline, bytes calldata signature) external payable;
}
