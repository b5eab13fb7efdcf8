// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGoverned} from "../../src/governance/IGoverned.sol";
import {IQueue} from "../../src/IQueue.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {BatchNumber, QueueIndex, QueueName, StateRoot, UnixTime} from "../../src/Types.sol";
import {Model} from "./Model.sol";
import {FIELD, between, hashed, least, vm} from "./Vm.sol";

/// @title Batches of the sequencer and of strangers, in random order
abstract contract Settler is Model {
    uint256 public settledBySequencer;
    uint256 public settledByStrangers;
    uint256 public refusedBatches;

    /// @dev The sequencer takes what is due, or somewhat more. In one of four cases it takes what it likes.
    function settle(uint256 random) external {
        Draft memory draft = _draft(random);
        draft.size = uint8(hashed(random, 1) % sizes.length);
        uint256 earliest = lastTime + 1 hours < block.timestamp ? block.timestamp - 1 hours : lastTime;
        draft.time = uint40(between(hashed(random, 2), earliest, block.timestamp));
        (uint256 dueUrgent, uint256 dueOrdinary) = dueAt(draft.time);
        bool careless = random % 4 == 0;
        uint256 registrations = _choose(draft, careless, random, dueUrgent, dueOrdinary);
        draft.d2 = _operations(hashed(random, 3) % (sizes[draft.size].maxL2 + 1), random);
        _settleAs(office, draft, registrations);
    }

    /// @dev A stranger takes what is overdue, or more. In one of four cases they take what they like.
    function settleAsStranger(uint256 random) external {
        Draft memory draft = _draft(random);
        draft.size = uint8(hashed(random, 1) % sizes.length);
        (uint256 lateUrgent, uint256 lateOrdinary) = overdue();
        if (block.timestamp <= strangersFrom()) lateOrdinary = 0;
        bool careless = random % 4 == 0;
        uint256 registrations = _choose(draft, careless, random, lateUrgent, lateOrdinary);
        if (block.timestamp <= strangersFrom() && !careless) {
            registrations = 0;
            draft.d1 = _words(draft.urgent, 0);
        }
        if (careless && random % 8 == 0) draft.d2 = _operations(least(1, sizes[draft.size].maxL2), random);
        _settleAs(STRANGER, draft, registrations);
    }

    /// @dev The sequencer takes just what is due now, in any size.
    function settleDue(uint256 random) public {
        Draft memory draft = _draft(random);
        draft.size = uint8(random % sizes.length);
        (uint256 urgents, uint256 registrations) = dueAt(draft.time);
        if (urgents > sizes[draft.size].maxL1) draft.size = 2;
        draft.urgent = uint16(urgents);
        registrations = least(registrations, _roomAfter(draft));
        draft.d1 = _words(urgents, registrations);
        _expect(DONE, _sequencerError(draft, registrations), "a batch of what is due is right");
        _settleAs(office, draft, registrations);
    }

    /// @dev A stranger takes just what is overdue and open to strangers. Nothing if there is nothing.
    function settleOverdue(uint256 random) public {
        Draft memory draft = _draft(random);
        draft.size = 2;
        (uint256 urgents, uint256 registrations) = overdue();
        if (block.timestamp <= strangersFrom()) registrations = 0;
        if (urgents + registrations == 0) return;
        draft.urgent = uint16(urgents);
        registrations = least(registrations, _roomAfter(draft));
        draft.d1 = _words(urgents, registrations);
        _expect(DONE, _strangerError(draft, registrations), "a batch of what is overdue is right");
        _settleAs(STRANGER, draft, registrations);
    }

    /// @dev Entries that are skipped, reordered, repeated, altered, or missing in the queue.
    function settleTampered(uint256 random) external {
        Draft memory draft = _draft(random);
        draft.size = 2;
        uint256 most = sizes[2].maxL1;
        draft.urgent = uint16(least(urgent.length - urgentHead, most));
        uint256 registrations = least(ordinary.length - ordinaryHead, most - draft.urgent);
        draft.d1 = _words(draft.urgent, registrations);
        uint256 entries = draft.d1.length / 4;
        uint256 one = entries == 0 ? 0 : hashed(random, 4) % entries;
        uint256 other = entries == 0 ? 0 : hashed(random, 5) % entries;
        if (random % 3 == 0 && entries < most) {
            // One entry more than there is.
            uint256[] memory longer = new uint256[](4 * entries + 4);
            for (uint256 i = 0; i < 4 * entries; ++i) longer[i] = draft.d1[i];
            draft.d1 = longer;
            _refuses(draft, IQueue.EntriesNotQueued.selector);
        } else if (random % 3 == 1 && one != other) {
            for (uint256 i = 0; i < 4; ++i) {
                (draft.d1[4 * one + i], draft.d1[4 * other + i]) = (draft.d1[4 * other + i], draft.d1[4 * one + i]);
            }
            _refuses(draft, IQueue.EntryMismatch.selector);
        } else if (entries != 0) {
            uint256 word = 4 * one + hashed(random, 6) % 4;
            draft.d1[word] ^= 1 << hashed(random, 7) % 256;
            _refuses(draft, IQueue.EntryMismatch.selector);
        }
    }

    /// @dev Data that the proof is not about.
    function settleOtherData(uint256 random) external {
        Draft memory draft = _draft(random);
        draft.urgent = uint16(_older(true, DUE, draft.time));
        uint256 registrations = least(_older(false, DUE, draft.time), _roomAfter(draft));
        if (draft.urgent > sizes[0].maxL1) return;
        draft.d1 = _words(draft.urgent, registrations);
        draft.d2 = _operations(2, random);
        _announce(draft, batches + 1);
        if (random % 4 == 0) draft.d2[random % 8] = addmod(draft.d2[random % 8], 1, FIELD);
        else if (random % 4 == 1) draft.post = addmod(draft.post, 1, FIELD);
        else if (random % 4 == 2) draft.commitment = addmod(draft.commitment, 1, FIELD);
        else draft.proof[0] ^= 0x01;
        bytes4 expected = halted() ? IGoverned.SettlementHalted.selector : ISettlement.ProofRejected.selector;
        _expect(expected, _send(office, 0, _settleCall(draft)), "other data");
        ++refusedBatches;
    }

    /// @dev Settles as this account, and demands the outcome that the model foresees.
    function _settleAs(address from, Draft memory draft, uint256 registrations) internal {
        bytes4 expected = from == office ? _sequencerError(draft, registrations) : _strangerError(draft, registrations);
        if (halted()) expected = IGoverned.SettlementHalted.selector;
        _announce(draft, batches + 1);
        _expect(expected, _send(from, 0, _settleCall(draft)), "the outcome of a settlement");
        if (expected != DONE) {
            ++refusedBatches;
            return;
        }
        _settled(from == office, draft, registrations);
        if (from == office) ++settledBySequencer;
        else ++settledByStrangers;
        sameProgress();
        // Who settles takes every overdue urgent entry, or as many as a batch holds.
        vm.assertTrue(
            _older(true, DEADLINE, block.timestamp) == 0 || draft.urgent == _largestL1(), "an overdue entry is left"
        );
    }

    /// @dev What the rollup holds about settlement is what the model holds.
    function sameProgress() public view {
        vm.assertEq(StateRoot.unwrap(rollup.stateRoot()), root, "root");
        vm.assertEq(BatchNumber.unwrap(rollup.batchCount()), batches, "batches");
        vm.assertEq(UnixTime.unwrap(rollup.lastBatchTime()), lastTime, "time");
        vm.assertEq(UnixTime.unwrap(rollup.strangersFrom()), strangersFrom(), "strangersFrom");
        uint256 head = QueueIndex.unwrap(rollup.queueHead(QueueName.Urgent));
        vm.assertEq(head, urgentHead, "urgent head");
        vm.assertTrue(broughtUpTo(true, head), "the urgent entries that were settled");
        head = QueueIndex.unwrap(rollup.queueHead(QueueName.Ordinary));
        vm.assertEq(head, ordinaryHead, "ordinary head");
        vm.assertTrue(broughtUpTo(false, head), "the registrations that were settled");
    }

    /// @dev Chooses how many entries a batch takes. Returns the number of registrations.
    function _choose(Draft memory draft, bool careless, uint256 random, uint256 urgents, uint256 registrations)
        private
        view
        returns (uint256)
    {
        if (!careless && urgents > sizes[draft.size].maxL1) draft.size = 2;
        uint256 most = least(urgent.length - urgentHead, sizes[draft.size].maxL1);
        draft.urgent = uint16(between(hashed(random, 8), careless ? 0 : least(urgents, most), most));
        most = least(ordinary.length - ordinaryHead, _roomAfter(draft));
        registrations = between(hashed(random, 9), careless ? 0 : least(registrations, most), most);
        draft.d1 = _words(draft.urgent, registrations);
        return registrations;
    }

    function _roomAfter(Draft memory draft) private view returns (uint256) {
        uint256 room = sizes[draft.size].maxL1;
        return draft.urgent < room ? room - draft.urgent : 0;
    }

    function _refuses(Draft memory draft, bytes4 expected) private {
        if (halted()) expected = IGoverned.SettlementHalted.selector;
        _announce(draft, batches + 1);
        _expect(expected, _send(office, 0, _settleCall(draft)), "entries that are not those of the queue");
        ++refusedBatches;
    }
}
