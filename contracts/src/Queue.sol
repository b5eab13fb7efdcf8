// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IQueue} from "./IQueue.sol";
import {RollupState} from "./RollupState.sol";
import {AccountIndex, QueueIndex, Role} from "./Types.sol";

/// @title The L1 queue
abstract contract Queue is IQueue, RollupState {
    /// @inheritdoc IQueue
    uint256 public constant QUEUE_DEADLINE = 6 hours;
    /// @inheritdoc IQueue
    uint256 public constant QUEUE_DUE = 5 hours;

    /// Code of the operation kind Register.
    uint256 private constant KIND_REGISTER = 16;
    /// Code of the account status active.
    uint256 private constant STATUS_ACTIVE = 1;

    mapping(uint256 index => bytes32 wordsHash) private _entries;
    /// The time at which each entry was appended; six share a slot. The array's length is the number of entries.
    uint40[] private _enqueuedAt;

    /// @inheritdoc IQueue
    function queueHead() external view returns (QueueIndex) {
        return _progress.queueHead;
    }

    /// @inheritdoc IQueue
    function queueLength() external view returns (QueueIndex) {
        return QueueIndex.wrap(uint64(_enqueuedAt.length));
    }

    /// @inheritdoc IQueue
    function queueEntry(QueueIndex index) external view returns (bytes32 wordsHash, uint256 enqueuedAt) {
        uint256 position = QueueIndex.unwrap(index);
        return (_entries[position], _enqueuedAt[position]);
    }

    /// @dev Appends the Register entry of an account. All its words are canonical: the packed word has 91 bits, the coordinates come
    /// reduced from `BabyJubjub.timesEight`, and the registry checked that the commitment is below 2^248.
    function _enqueueRegister(
        AccountIndex account,
        Role role,
        AccountIndex org,
        uint256 ax,
        uint256 ay,
        uint256 encryptionCommitment
    ) internal {
        // kind 8, account 24, role 8, status 8, org 24, tree 2, slot 16, replace_directory 1; the last three are 0.
        uint256 packed = KIND_REGISTER << 83;
        packed |= uint256(AccountIndex.unwrap(account)) << 59;
        packed |= uint256(role) << 51;
        packed |= STATUS_ACTIVE << 43;
        packed |= uint256(AccountIndex.unwrap(org)) << 19;
        uint256[4] memory words = [packed, ax, ay, encryptionCommitment];

        uint256 index = _enqueuedAt.length;
        _entries[index] = keccak256(abi.encode(words));
        _enqueuedAt.push(uint40(block.timestamp));
        emit Enqueued(QueueIndex.wrap(uint64(index)), words);
    }

    /// @dev Counts the entries at the head that are older than `age` at a time, up to `limit`.
    function _olderThan(uint256 age, uint256 time, uint256 limit) internal view returns (uint256 count) {
        uint256 head = QueueIndex.unwrap(_progress.queueHead);
        uint256 length = _enqueuedAt.length;
        while (count < limit && head + count < length && _enqueuedAt[head + count] + age < time) ++count;
    }

    /// @dev Checks the words of entries, which must be complete, and takes the entries from the head.
    /// @return rolling The queue hash: `h_0 = 0`, `h_{i+1} = keccak256(h_i || the four words of entry i)`.
    function _take(uint256[] calldata words, uint256 required) internal returns (bytes32 rolling) {
        uint256 count = words.length / 4;
        uint256 head = QueueIndex.unwrap(_progress.queueHead);
        uint256 waiting = _enqueuedAt.length - head;
        if (count > waiting) revert EntriesNotQueued(count, waiting);
        if (count < required) revert OverdueEntriesOmitted(count, required);
        for (uint256 i = 0; i < count; ++i) {
            uint256[] calldata entry = words[4 * i:4 * i + 4];
            if (keccak256(abi.encodePacked(entry)) != _entries[head + i]) {
                revert EntryMismatch(QueueIndex.wrap(uint64(head + i)));
            }
            rolling = keccak256(abi.encodePacked(rolling, entry));
        }
        _progress.queueHead = QueueIndex.wrap(uint64(head + count));
    }
}
