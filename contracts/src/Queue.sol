// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Entry} from "./Entry.sol";
import {Governed} from "./Governed.sol";
import {IGoverned} from "./governance/IGoverned.sol";
import {IQueue} from "./IQueue.sol";
import {AccountIndex, QueueIndex, QueueName, UnixTime} from "./Types.sol";

/// @title The two L1 queues
abstract contract Queue is IQueue, Governed {
    /// @inheritdoc IQueue
    uint256 public constant QUEUE_DEADLINE = 6 hours;
    /// @inheritdoc IQueue
    uint256 public constant QUEUE_DUE = 5 hours;
    /// @inheritdoc IQueue
    uint256 public constant FREE_URGENT_ENTRIES = 128;
    /// @inheritdoc IQueue
    uint256 public constant URGENT_FEE_STEP = 0.0001 ether;

    /// Four words.
    uint256 private constant ENTRY_BYTES = 0x80;

    /// How many entries were appended to each queue. One word, because a settlement reads both.
    struct Lengths {
        QueueIndex urgent;
        QueueIndex ordinary;
    }

    /// The entries of a queue that are not settled.
    struct Unsettled {
        uint256 head;
        uint256 count;
    }

    /// What a settlement reads of the queues, and the last halt, during which deadlines stand still.
    struct Queues {
        Unsettled urgent;
        Unsettled ordinary;
        Office office;
    }

    /// One word for each entry: 216 bits of the hash of its words, and the time at which it was appended (40 bits).
    mapping(uint256 index => uint256 hashAndTime) internal _urgent;
    mapping(uint256 index => uint256 hashAndTime) internal _ordinary;
    Lengths private _lengths;
    /// For each account, 64 bits for each `Entry.variety`: the position of the newest entry, plus 1; 0 if there was none.
    mapping(AccountIndex account => uint256 positions) private _newest;
    mapping(address account => uint256 amount) private _credits;
    uint256 private _creditsInAll;

    /// @inheritdoc IQueue
    function queueHead(QueueName queue) public view returns (QueueIndex) {
        return queue == QueueName.Urgent ? _progress.urgentHead : _progress.ordinaryHead;
    }

    /// @inheritdoc IQueue
    function queueLength(QueueName queue) external view returns (QueueIndex) {
        return queue == QueueName.Urgent ? _lengths.urgent : _lengths.ordinary;
    }

    /// @inheritdoc IQueue
    function queueEntry(QueueName queue, QueueIndex index)
        external
        view
        returns (bytes27 wordsHash, uint256 enqueuedAt)
    {
        uint256 entry = _entries(queue)[QueueIndex.unwrap(index)];
        return (bytes27(bytes32(entry)), uint40(entry));
    }

    /// @inheritdoc IQueue
    function urgentFee() public view returns (uint256) {
        uint256 waiting = QueueIndex.unwrap(_lengths.urgent) - QueueIndex.unwrap(_progress.urgentHead);
        return waiting < FREE_URGENT_ENTRIES ? 0 : (waiting - FREE_URGENT_ENTRIES + 1) * URGENT_FEE_STEP;
    }

    /// @inheritdoc IGoverned
    function overdueAt(UnixTime appended) external view returns (uint256) {
        return _deadline(_office, UnixTime.unwrap(appended), QUEUE_DEADLINE);
    }

    /// @inheritdoc IGoverned
    function setSequencer(address sequencer_) external onlyGovernance {
        if (sequencer_ == address(0)) revert InvalidParameter("sequencer");
        address before = _office.sequencer;
        uint256 fees = _uncredited();
        if (fees != 0) _credit(before, fees);
        _office.sequencer = sequencer_;
        emit SequencerChanged(before, sequencer_);
    }

    /// @inheritdoc IQueue
    function creditOf(address account) external view returns (uint256) {
        return _credits[account];
    }

    /// @inheritdoc IQueue
    function withdrawCredit(address payable to) external {
        uint256 amount = _credits[msg.sender];
        if (amount == 0) revert NoCredit(msg.sender);
        _credits[msg.sender] = 0;
        _creditsInAll -= amount;
        _send(to, amount);
    }

    /// @dev Appends a registration. Returns its position.
    function _enqueueRegistration(uint256[4] memory words) internal returns (uint256) {
        return _append(words);
    }

    /// @dev Appends an entry that changes an account to the urgent queue, for its fee. The registration of the account must be settled: before,
    /// the change would have no effect, and behind it in the ordinary queue it would wait as long as registrations can.
    /// @param registration The position of the account's Register entry in the ordinary queue.
    function _enqueueChange(AccountIndex account, uint256 registration, uint256[4] memory words) internal {
        if (registration >= QueueIndex.unwrap(_progress.ordinaryHead)) {
            revert EntryWaiting(account, QueueName.Ordinary, QueueIndex.wrap(uint56(registration)));
        }
        uint256 newest = _newest[account];
        uint256 shift = 64 * Entry.variety(words);
        uint64 before = uint64(newest >> shift);
        if (before > QueueIndex.unwrap(_progress.urgentHead)) {
            revert EntryWaiting(account, QueueName.Urgent, QueueIndex.wrap(uint56(before - 1)));
        }

        uint256 fee = urgentFee();
        if (msg.value < fee) revert UrgentFeeMissing(fee, msg.value);
        uint256 index = _append(words);
        _newest[account] = newest & ~(uint256(type(uint64).max) << shift) | (index + 1) << shift;

        if (msg.value > fee) _credit(msg.sender, msg.value - fee);
        // Burnt, so that a sequencer which floods its own queue gets nothing back.
        if (fee != 0) _send(payable(address(0)), fee);
    }

    /// @dev Ether of the contract that belongs to nobody else: the registration fees.
    function _uncredited() internal view returns (uint256) {
        return address(this).balance - _creditsInAll;
    }

    function _send(address payable to, uint256 amount) internal {
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to);
    }

    /// @dev Reads what waits in both queues.
    function _queues(Progress memory progress, Office memory office) internal view returns (Queues memory) {
        Lengths memory lengths = _lengths;
        uint256 urgent = QueueIndex.unwrap(progress.urgentHead);
        uint256 ordinary = QueueIndex.unwrap(progress.ordinaryHead);
        return Queues({
            urgent: Unsettled({head: urgent, count: QueueIndex.unwrap(lengths.urgent) - urgent}),
            ordinary: Unsettled({head: ordinary, count: QueueIndex.unwrap(lengths.ordinary) - ordinary}),
            office: office
        });
    }

    /// @dev Counts the entries at a queue's head that are older than `age` at a time, up to `limit`.
    function _olderThan(
        mapping(uint256 => uint256) storage entries,
        Unsettled memory unsettled,
        Office memory office,
        uint256 age,
        uint256 time,
        uint256 limit
    ) internal view returns (uint256 count) {
        uint256 head = unsettled.head;
        if (limit > unsettled.count) limit = unsettled.count;
        while (count < limit && _deadline(office, uint40(entries[head + count]), age) < time) ++count;
    }

    /// @dev Checks the words of entries, which must be complete, and takes the entries from the heads of the queues.
    /// @param urgent How many entries are of the urgent queue. They come first.
    /// @param progress It gets the new heads.
    /// @return rolling The queue hash: `h_0 = 0`, `h_{i+1} = keccak256(h_i || the four words of entry i)`.
    function _take(Queues memory queues, uint256[] calldata words, uint256 urgent, Progress memory progress)
        internal
        view
        returns (bytes32 rolling)
    {
        // Fails if there are fewer entries than urgent ones. Nothing else bounds what is read of the calldata below.
        uint256 ordinary = words.length / 4 - urgent;
        uint256 place;
        assembly ("memory-safe") {
            place := words.offset
        }
        rolling = _check(QueueName.Urgent, queues.urgent, place, urgent, 0);
        rolling = _check(QueueName.Ordinary, queues.ordinary, place + ENTRY_BYTES * urgent, ordinary, rolling);
        progress.urgentHead = QueueIndex.wrap(uint56(queues.urgent.head + urgent));
        progress.ordinaryHead = QueueIndex.wrap(uint56(queues.ordinary.head + ordinary));
    }

    /// @dev Checks that the calldata at `place` are the words of the first entries of a queue.
    function _check(QueueName queue, Unsettled memory unsettled, uint256 place, uint256 count, bytes32 rolling)
        private
        view
        returns (bytes32)
    {
        if (count > unsettled.count) revert EntriesNotQueued(queue, count, unsettled.count);
        mapping(uint256 => uint256) storage entries = _entries(queue);
        uint256 index = unsettled.head;
        for (uint256 end = index + count; index < end; ++index) {
            bytes32 hash;
            assembly ("memory-safe") {
                // The queue hash and the entry's words side by side in free memory: one copy of the words for both hashes.
                let free := mload(0x40)
                mstore(free, rolling)
                calldatacopy(add(free, 0x20), place, ENTRY_BYTES)
                hash := keccak256(add(free, 0x20), ENTRY_BYTES)
                rolling := keccak256(free, add(ENTRY_BYTES, 0x20))
                place := add(place, ENTRY_BYTES)
            }
            if (bytes27(hash) != bytes27(bytes32(entries[index]))) {
                revert EntryMismatch(queue, QueueIndex.wrap(uint56(index)));
            }
        }
        return rolling;
    }

    function _append(uint256[4] memory words) private returns (uint256 index) {
        QueueName queue = Entry.isRegistration(words) ? QueueName.Ordinary : QueueName.Urgent;
        if (queue == QueueName.Urgent) {
            index = QueueIndex.unwrap(_lengths.urgent);
            _lengths.urgent = QueueIndex.wrap(uint56(index + 1));
        } else {
            index = QueueIndex.unwrap(_lengths.ordinary);
            _lengths.ordinary = QueueIndex.wrap(uint56(index + 1));
        }
        _entries(queue)[index] = uint256(keccak256(abi.encode(words))) >> 40 << 40 | uint40(block.timestamp);
        emit Enqueued(queue, QueueIndex.wrap(uint56(index)), words);
    }

    function _credit(address to, uint256 amount) internal {
        _credits[to] += amount;
        _creditsInAll += amount;
        emit Credited(to, amount);
    }

    function _entries(QueueName queue) private view returns (mapping(uint256 => uint256) storage) {
        return queue == QueueName.Urgent ? _urgent : _ordinary;
    }
}
