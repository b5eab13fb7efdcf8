// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IQueue} from "../../src/IQueue.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {QueueIndex, QueueName, UnixTime} from "../../src/Types.sol";
import {Crowd} from "./Crowd.sol";
import {FIELD, vm} from "./Vm.sol";

/// @title What the errors of a settlement name, word by word and entry by entry
/// @notice Both queues were settled in part, so positions in a queue and positions in a batch differ.
contract RefusalsTest is Crowd {
    uint256 private constant URGENT = 3;
    uint256 private constant ORDINARY = 4;
    uint256 private constant SETTLED = 5;

    function setUp() external {
        _deploy(_threeSizes());
        _begin();
        _settledPatients(SETTLED);
        _revokeAll(0);
        _revokeAll(1);
        Draft memory draft = _draft(1);
        draft.urgent = 2;
        draft.d1 = _words(2, 0);
        _settleAs(SEQUENCER, draft, 0);
        // Alternately, because one word of the storage holds both lengths.
        for (uint256 i = 0; i < ORDINARY; ++i) {
            _newPatient();
            if (i < URGENT) _revokeAll(2 + i);
        }
        vm.assertEq(QueueIndex.unwrap(rollup.queueLength(QueueName.Urgent)), 2 + URGENT, "urgent");
        vm.assertEq(QueueIndex.unwrap(rollup.queueLength(QueueName.Ordinary)), SETTLED + ORDINARY, "ordinary");
    }

    /// @dev Each word of D2 has its own check, at the least and the greatest that is refused. Of two, the first is named.
    function test_the_first_word_that_is_not_canonical() external {
        for (uint256 first = 0; first < 12; ++first) {
            for (uint256 second = first; second < 12; ++second) {
                Draft memory draft = _draft(2);
                draft.d2 = _operations(3, 2);
                draft.d2[second] = type(uint256).max;
                draft.d2[first] = FIELD;
                _refused(draft, _notCanonical(FIELD), "the least");
                draft.d2[second] = FIELD;
                draft.d2[first] = type(uint256).max;
                _refused(draft, _notCanonical(type(uint256).max), "the greatest");
            }
        }
    }

    /// @dev The greatest words that are canonical. No sum of them overflows.
    function test_the_greatest_words() external {
        for (uint256 salt = 0; salt < 8; ++salt) {
            Draft memory draft = _draft(salt);
            draft.d2 = _operations(24, 0);
            for (uint256 i = 0; i < draft.d2.length; ++i) draft.d2[i] = FIELD - 1;
            _settleAs(SEQUENCER, draft, 0);
        }
    }

    /// @dev More than wait in a queue, whatever waits in the other one.
    function test_more_entries_than_wait() external {
        for (uint256 more = 1; more < ORDINARY; ++more) {
            // The words behind the urgent queue's end are those of the other queue.
            Draft memory draft = _mixed(URGENT, ORDINARY);
            draft.urgent = uint16(URGENT + more);
            _refused(draft, _notQueued(QueueName.Urgent, URGENT + more, URGENT), "urgent");
            draft = _mixed(1, ORDINARY);
            draft.d1 = _longer(draft.d1, 4 * (1 + ORDINARY + more));
            draft.size = 2;
            _refused(draft, _notQueued(QueueName.Ordinary, ORDINARY + more, ORDINARY), "ordinary");
        }
    }

    /// @dev Each word of each entry, in both queues.
    function test_the_entry_that_does_not_match() external {
        for (uint256 word = 0; word < 4 * (URGENT + ORDINARY); ++word) {
            Draft memory draft = _mixed(URGENT, ORDINARY);
            draft.d1[word] ^= 1;
            bytes memory expected = word / 4 < URGENT
                ? _mismatch(QueueName.Urgent, 2 + word / 4)
                : _mismatch(QueueName.Ordinary, SETTLED + word / 4 - URGENT);
            _refused(draft, expected, "another word");
        }
    }

    /// @dev The lower 40 bits of what is stored are a time, and no part of the hash. All others count.
    function test_every_bit_of_a_stored_hash_counts() external {
        Draft memory draft = _mixed(1, 0);
        bytes32 place = keccak256(abi.encode(uint256(2), uint256(4)));
        bytes32 word = vm.load(address(rollup), place);
        for (uint256 bit = 40; bit < 256; ++bit) {
            vm.store(address(rollup), place, word ^ bytes32(1 << bit));
            _refused(draft, _mismatch(QueueName.Urgent, 2), "another hash");
        }
        vm.store(address(rollup), place, word ^ bytes32(uint256(1)));
        _settleAs(SEQUENCER, draft, 0);
    }

    /// @dev The batch calls more entries urgent than it has, also if as many wait. Nothing else is read as an entry.
    function test_fewer_entries_than_urgent_ones() external {
        for (uint256 entries = 0; entries < URGENT; ++entries) {
            Draft memory draft = _mixed(entries, 0);
            draft.urgent = uint16(URGENT);
            _refused(draft, abi.encodeWithSelector(ISettlement.IncompleteEntry.selector, 4 * entries), "urgent ones");
            draft.urgent = type(uint16).max;
            _refused(draft, abi.encodeWithSelector(ISettlement.IncompleteEntry.selector, 4 * entries), "the most");
        }
    }

    /// @dev What the sequencer must take: of the urgent entries all, of the others what the size has room for.
    function test_what_the_sequencer_omitted() external {
        vm.warp(block.timestamp + 5 hours + 1);
        for (uint8 size = 0; size < 3; ++size) {
            for (uint256 urgents = 0; urgents <= URGENT && urgents <= sizes[size].maxL1; ++urgents) {
                uint256 room = sizes[size].maxL1 - urgents;
                uint256 required = room < ORDINARY ? room : ORDINARY;
                for (uint256 ordinaries = 0; ordinaries <= required; ++ordinaries) {
                    Draft memory draft = _mixed(urgents, ordinaries);
                    draft.size = size;
                    if (urgents < URGENT) _refused(draft, _omitted(QueueName.Urgent, urgents, URGENT), "urgent");
                    else if (ordinaries < required) {
                        _refused(draft, _omitted(QueueName.Ordinary, ordinaries, required), "ordinary");
                    }
                }
            }
        }
    }

    /// @dev A batch of the sequencer keeps strangers out if it takes all due registrations, or as many as the smallest size holds: not if urgent
    /// entries leave it less room than that.
    function test_what_keeps_strangers_out() external {
        for (uint256 room = 0; room <= 3; ++room) {
            uint256 here = vm.snapshotState();
            uint256 before = UnixTime.unwrap(rollup.strangersFrom());
            uint256 urgents = sizes[0].maxL1 - room;
            for (uint256 i = 0; i < urgents - URGENT; ++i) _revokeSlot(i);
            vm.warp(block.timestamp + 5 hours + 1);
            if (room != 0) _refused(_mixed(urgents, room - 1), _omitted(QueueName.Ordinary, room - 1, room), "one less");
            _settleAs(SEQUENCER, _mixed(urgents, room), room);
            uint256 expected = room < _smallestL1() ? before : block.timestamp + 24 hours;
            vm.assertEq(UnixTime.unwrap(rollup.strangersFrom()), expected, "strangersFrom");
            vm.revertToStateAndDelete(here);
        }
    }

    /// @dev An urgent entry is late when more than 6 hours have passed. Governance hears of each late entry when it is settled. An entry that is only due is not late.
    function test_late_entries_are_noted() external {
        uint256 appended = block.timestamp;
        for (uint256 late = 0; late < 2; ++late) {
            for (uint256 age = 0; age < 2; ++age) {
                uint256 here = vm.snapshotState();
                vm.warp(appended + 6 hours + late);
                Draft memory draft = _mixed(URGENT, ORDINARY);
                // The oldest batch that is settled, and the newest.
                draft.time = uint40(block.timestamp - age * 1 hours);
                _announce(draft, batches + 1);
                _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "settled");
                try governance.lateAt(0) returns (IGovernance.Late memory noted) {
                    vm.assertEq(late, 1, "noted");
                    vm.assertEq(QueueIndex.unwrap(noted.first), 2, "first");
                    vm.assertEq(QueueIndex.unwrap(noted.end), 2 + URGENT, "end");
                } catch {
                    vm.assertEq(late, 0, "not noted");
                }
                vm.revertToStateAndDelete(here);
            }
        }
    }

    /// @dev The entries at the heads of the queues.
    function _mixed(uint256 urgents, uint256 ordinaries) private view returns (Draft memory draft) {
        draft = _draft(2);
        draft.urgent = uint16(urgents);
        draft.d1 = _words(urgents, ordinaries);
    }

    function _longer(uint256[] memory words, uint256 length) private pure returns (uint256[] memory longer) {
        longer = new uint256[](length);
        for (uint256 i = 0; i < words.length; ++i) longer[i] = words[i];
    }

    /// @dev The whole of the error, not only its name. The verifier would accept the batch.
    function _refused(Draft memory draft, bytes memory expected, string memory what) private {
        _announce(draft, batches + 1);
        vm.prank(SEQUENCER, SEQUENCER);
        (bool done, bytes memory reason) = address(rollup).call(_settleCall(draft));
        vm.assertTrue(!done, what);
        vm.assertEq(keccak256(reason), keccak256(expected), what);
    }

    function _notCanonical(uint256 word) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISettlement.NotCanonical.selector, word);
    }

    function _notQueued(QueueName queue, uint256 supplied, uint256 waits) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IQueue.EntriesNotQueued.selector, queue, supplied, waits);
    }

    function _mismatch(QueueName queue, uint256 index) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IQueue.EntryMismatch.selector, queue, index);
    }

    function _omitted(QueueName queue, uint256 supplied, uint256 required) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IQueue.OverdueEntriesOmitted.selector, queue, supplied, required);
    }
}
