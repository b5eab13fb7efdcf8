// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountIndex, QueueIndex, QueueName, UnixTime} from "./Types.sol";

/// @title The two L1 queues
/// @notice Operations that the sequencer must take in order, the urgent queue first. An entry is four canonical field elements. The contract
/// stores only 216 bits of their hash, and the time; the caller of `settle` supplies the words.
interface IQueue {
    /// @notice An entry was appended.
    /// @param queue The queue.
    /// @param index Its position there.
    /// @param words `pack(kind 8, account 24, role 8, status 8, org 24, tree 2, slot 16, replace_directory 1)`, A.x, A.y, opaque.
    event Enqueued(QueueName indexed queue, QueueIndex indexed index, uint256[4] words);
    /// @notice What a caller sent beyond the fee can be withdrawn.
    event Credited(address indexed to, uint256 amount);

    /// @notice The supplied words are not those of the entry.
    error EntryMismatch(QueueName queue, QueueIndex index);
    /// @notice More entries are supplied than are waiting in the queue.
    error EntriesNotQueued(QueueName queue, uint256 supplied, uint256 waiting);
    /// @notice Fewer entries of a queue are supplied than the caller must take.
    error OverdueEntriesOmitted(QueueName queue, uint256 supplied, uint256 required);
    /// @notice An entry of the same kind for this account waits at this position. Wait until it is settled.
    error EntryWaiting(AccountIndex account, QueueName queue, QueueIndex index);
    /// @notice The value sent is less than `urgentFee()`.
    error UrgentFeeMissing(uint256 fee, uint256 sent);
    /// @notice The caller has no credit.
    error NoCredit(address caller);
    /// @notice Ether could not be sent.
    error TransferFailed(address to);

    /// @notice Seconds after which an entry is overdue, by the block's time. Then anyone may settle it if it is in the urgent queue.
    function QUEUE_DEADLINE() external view returns (uint256);

    /// @notice Seconds after which the sequencer's batches must take an entry, by the batch's own time. So whether a batch takes enough
    /// does not change while it is proved. A batch is at most an hour old, so an entry is due before it is overdue.
    function QUEUE_DUE() external view returns (uint256);

    /// @notice How many entries can wait in the urgent queue before a further one costs a fee.
    function FREE_URGENT_ENTRIES() external view returns (uint256);

    /// @notice By how much the fee rises with each entry more that waits, in wei.
    function URGENT_FEE_STEP() external view returns (uint256);

    /// @notice Position of the first entry of a queue that is not settled.
    function queueHead(QueueName queue) external view returns (QueueIndex);

    /// @notice How many entries were appended to a queue in all.
    function queueLength(QueueName queue) external view returns (QueueIndex);

    /// @notice What the next entry of the urgent queue costs, in wei. The fee is burnt: nobody gains from a long queue.
    function urgentFee() external view returns (uint256);

    /// @notice How many entries are overdue: in each queue up to the most that a batch of any size holds.
    function overdueEntries() external view returns (uint256 urgent, uint256 ordinary);

    /// @notice How many entries of each queue are due for a batch of the sequencer with this time: up to the most that a batch of any size
    /// holds. A batch takes all due urgent entries, and as many due ordinary ones as its size has slots left.
    function dueEntries(UnixTime time) external view returns (uint256 urgent, uint256 ordinary);

    /// @notice The first 216 bits of `keccak256` of the entry's four words, and when it was appended.
    function queueEntry(QueueName queue, QueueIndex index)
        external
        view
        returns (bytes27 wordsHash, uint256 enqueuedAt);

    /// @notice What this account sent beyond fees and has not withdrawn, in wei.
    function creditOf(address account) external view returns (uint256);

    /// @notice Sends the caller's credit to `to`.
    function withdrawCredit(address payable to) external;
}
