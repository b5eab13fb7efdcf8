// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountIndex, UnixTime} from "./Types.sol";

/// @title Who owns an account: change by the owner, and recovery by guardians
/// @notice An owner who loses their key gets the account back with the help of guardians whom they chose before. Everything can be relayed: who
/// must agree signs EIP-712, domain ("EMR Rollup", "1", chain, this). The caller needs no signature of their own. Nothing of this enters a
/// queue, costs a fee, or changes the keys of an account.
/// @dev An owner's key decides alone and at once, so guardians help against the loss of a key and not against its theft.
interface IOwnership {
    /// @notice Guardians of an account, and the recovery that waits.
    /// @param guardians `keccak256(abi.encodePacked(guardians))`, one word for each, or 0 if there never were any.
    /// @param needed How many of them must agree, or 0 if there are none.
    /// @param round Grows with each change of this struct and of the owner. Approvals count in one round only.
    /// @param newOwner Who becomes the owner, or 0 if no recovery waits.
    /// @param ripeAt From when on the recovery can be finished, or 0.
    struct Recovery {
        bytes32 guardians;
        uint8 needed;
        uint48 round;
        address newOwner;
        UnixTime ripeAt;
    }

    /// @notice An account has another owner. A recovery that waited has ended. The guardians stay only if they recovered the account.
    event OwnerChanged(AccountIndex indexed account, address indexed owner, address indexed newOwner);
    /// @notice An account has these guardians, of whom `needed` must agree. A recovery that waited has ended.
    event GuardiansChanged(AccountIndex indexed account, address[] guardians, uint8 needed);
    /// @notice Guardians began a recovery. It takes the place of one that waited.
    event RecoveryBegan(AccountIndex indexed account, address indexed newOwner, UnixTime ripeAt);

    /// @notice The account waits for admission. Its owner can withdraw the registration instead.
    error NotAdmitted(AccountIndex account);
    /// @notice The guardians do not ascend, are more than 16, or contain the owner or the zero address; or fewer or more are needed than there can be.
    error InvalidGuardians();
    /// @notice These are not the guardians of the account, or there is not one approval for each.
    error OtherGuardians(AccountIndex account);
    /// @notice Fewer guardians approved than must.
    error ApprovalsMissing(uint256 needed, uint256 given);
    /// @notice No recovery waits.
    error NoRecovery(AccountIndex account);
    /// @notice The recovery can be finished from this time on.
    error RecoveryWaits(UnixTime ripeAt);

    /// @notice How long the owner has to cancel a recovery: 7 days.
    function RECOVERY_DELAY() external view returns (uint256);

    /// @notice Gives the account of `owner` to `newOwner`, at once. Both signed `OwnerChange(uint24 account,address owner,address
    /// newOwner,uint256 nonce,uint256 deadline)` with `nonces(owner)`. The account is admitted; it may be suspended or closed. It has no guardians then.
    /// @dev The new owner must agree. Otherwise anybody could occupy the address of somebody who wants to register.
    /// @param newOwner Who has no account, and never registered another one.
    function changeOwner(
        address owner,
        address newOwner,
        uint256 deadline,
        bytes calldata ownerSignature,
        bytes calldata newOwnerSignature
    ) external;

    /// @notice Gives the account of `owner` these guardians. This cancels a recovery, also if they are the same as before. The owner signed `GuardiansChange(address owner,address[]
    /// guardians,uint8 needed,uint256 nonce,uint256 deadline)` with `nonces(owner)`.
    /// @param guardians At most 16 accounts in ascending order, without the owner. None ends recovery.
    /// @param needed How many of them must agree; 0 exactly if there are none.
    function setGuardians(
        address owner,
        address[] calldata guardians,
        uint8 needed,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Begins a recovery: `newOwner` becomes the owner in 7 days, unless the owner cancels (`setGuardians`). The new owner and enough guardians signed
    /// `Recovery(uint24 account,address newOwner,uint256 round,uint256 deadline)` with the account's present round. A recovery that waited ends.
    /// @param newOwner Who has no account, and never registered another one.
    /// @param guardians The guardians, as the owner set them.
    /// @param approvals For each guardian the signature, or nothing.
    function beginRecovery(
        AccountIndex account,
        address newOwner,
        address[] calldata guardians,
        uint256 deadline,
        bytes calldata newOwnerSignature,
        bytes[] calldata approvals
    ) external;

    /// @notice Gives the account to its new owner, from `ripeAt` on. Anyone may call this. While the new owner has an account, it fails, and
    /// guardians can begin another recovery.
    function finishRecovery(AccountIndex account) external;

    /// @notice The address that registered the account, whoever owns it now; the zero address if the index is not assigned. No two accounts have
    /// the same one, unless a registration was withdrawn.
    function registrantOf(AccountIndex account) external view returns (address);

    /// @notice The guardians of an account, and the recovery that waits.
    function recoveryOf(AccountIndex account) external view returns (Recovery memory);
}
