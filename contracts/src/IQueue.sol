// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {QueueIndex, UnixTime} from "./Types.sol";

/// @title The L1 queue
/// @notice Operations that the sequencer must take in order. An entry is four canonical field elements. The contract stores only
/// their hash; the caller of `settle` supplies the words.
interface IQueue {
    /// @notice An entry was appended.
    /// @param index Its position.
    /// @param words `pack(kind 8, account 24, role 8, status 8, org 24, tree 2, slot 16, replace_directory 1)`, A.x, A.y, opaque.
    event Enqueued(QueueIndex indexed index, uint256[4] words);

    /// @notice The supplied words are not those of the entry.
    error EntryMismatch(QueueIndex index);
    /// @notice More entries are supplied than are waiting in the queue.
    error EntriesNotQueued(uint256 supplied, uint256 waiting);
    /// @notice Fewer entries are supplied than the caller must take.
    error OverdueEntriesOmitted(uint256 supplied, uint256 required);

    /// @notice Seconds after which an entry is overdue, by the block's time. Then anyone may settle it.
    function QUEUE_DEADLINE() external view returns (uint256);

    /// @notice Seconds after which the sequencer's batches must take an entry, by the batch's own time. So whether a batch takes enough
    /// does not change while it is proved. A batch is at most an hour old, so an entry is due before it is overdue.
    function QUEUE_DUE() external view returns (uint256);

    /// @notice Position of the first entry that is not settled.
    function queueHead() external view returns (QueueIndex);

    /// @notice How many entries were appended in all.
    function queueLength() external view returns (QueueIndex);

    /// @notice How many entries are overdue, up to the most that a batch of any size holds. While this is not 0, anyone may settle at least
    /// these, except in the sequencer's turn.
    function overdueEntries() external view returns (uint256);

    /// @notice How many entries a batch of the sequencer with this time must take at least: those that are due then, up to the most that a
    /// batch of any size holds.
    function dueEntries(UnixTime time) external view returns (uint256);

    /// @notice `keccak256` of the entry's four words, and when it was appended.
    function queueEntry(QueueIndex index) external view returns (bytes32 wordsHash, uint256 enqueuedAt);
}
