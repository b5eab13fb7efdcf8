// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IQueue} from "../../src/IQueue.sol";
import {Crowd} from "./Crowd.sol";
import {between, hashed, least, vm} from "./Vm.sol";

/// @title Many rounds of strangers against a sequencer that does no more than it must, while both queues are flooded
contract RaceTest is Crowd {
    uint256 private constant PATIENTS = 40;

    /// @dev The patients' registrations are settled.
    function setUp() external {
        _deploy(_threeSizes());
        _begin();
        _settledPatients(PATIENTS);
    }

    /// @dev The sequencer settles nothing. Strangers settle every urgent entry as soon as it is 6 hours old, batch after batch.
    /// forge-config: default.fuzz.runs = 8
    function test_a_silent_sequencer(uint256 random) external {
        for (uint256 round = 0; round < 12; ++round) {
            _flood(hashed(random, round));
            vm.warp(block.timestamp + between(hashed(random, round + 100), 1 minutes, 4 hours));
            uint256 batchesNeeded = (_older(true, DEADLINE, block.timestamp) + _largestL1() - 1) / _largestL1();
            for (uint256 i = 0; i < batchesNeeded; ++i) _strangersTurn(round * 100 + i);
            vm.assertEq(_older(true, DEADLINE, block.timestamp), 0, "an urgent entry older than 6 hours waits");
        }
    }

    /// @dev The sequencer settles before each stranger, so that each proof of a stranger is stale. It leaves out what it can: it claims the
    /// earliest time, takes the fewest entries, and fills its batches with operations. Entries that are overdue are settled all the same,
    /// because its own batches must take them.
    /// forge-config: default.fuzz.runs = 8
    function test_a_sequencer_that_is_always_first(uint256 random) external {
        for (uint256 round = 0; round < 12; ++round) {
            _flood(hashed(random, round));
            vm.warp(block.timestamp + between(hashed(random, round + 100), 1 minutes, 4 hours));
            uint256 settlements = (_older(true, DEADLINE, block.timestamp) + _largestL1() - 1) / _largestL1();
            for (uint256 i = 0; i < settlements; ++i) {
                uint256 late = least(_older(true, DEADLINE, block.timestamp), _largestL1());
                uint256 head = urgentHead;
                if (hashed(random, round * 100 + i) % 4 == 0) _strangersTurn(round * 100 + i);
                else _grudging(round * 100 + i);
                vm.assertTrue(urgentHead - head >= late, "a settlement that leaves overdue entries");
            }
            vm.assertEq(_older(true, DEADLINE, block.timestamp), 0, "an urgent entry older than 6 hours waits");
        }
    }

    /// @dev The sequencer is present, and keeps registrations out with batches that do not take them. After 24 hours strangers settle them.
    /// forge-config: default.fuzz.runs = 8
    function test_a_sequencer_that_keeps_registrations_out(uint256 random) external {
        uint256 start = block.timestamp;
        for (uint256 i = 0; i < 60; ++i) _newPatient();
        while (block.timestamp <= start + 31 hours) {
            vm.warp(block.timestamp + between(hashed(random, block.timestamp), 10 minutes, 2 hours));
            _flood(hashed(random, block.timestamp));
            _urgentOnly(block.timestamp);
        }
        vm.assertTrue(block.timestamp > strangersFrom(), "24 hours are over");
        uint256 head = ordinaryHead;
        vm.assertTrue(head < PATIENTS + 60, "registrations were kept out");
        // Behind the urgent entries, if these fill a batch.
        uint256 most = (urgent.length - urgentHead) / _largestL1() + 1;
        for (uint256 i = 0; i < most && ordinaryHead == head; ++i) settleOverdue(i);
        vm.assertTrue(ordinaryHead > head, "a stranger settles registrations");
    }

    /// @dev After a stranger's batch of registrations, the sequencer has an hour without strangers. Strangers that settle urgent entries
    /// meanwhile neither shorten nor prolong it.
    /// forge-config: default.fuzz.runs = 8
    function test_the_sequencers_turn(uint256 random) external {
        for (uint256 i = 0; i < 100; ++i) _newPatient();
        _flood(random);
        vm.warp(block.timestamp + 25 hours);
        _oneRegistrationTooFew(random);
        while (_older(true, DEADLINE, block.timestamp) != 0) settleOverdue(block.timestamp);
        if (strangersFrom() < block.timestamp) settleOverdue(0);
        uint256 turn = strangersFrom();
        vm.assertEq(turn, block.timestamp + 1 hours, "an hour for the sequencer");
        vm.warp(turn - random % 1 hours);
        Draft memory draft = _draft(random);
        draft.size = 2;
        draft.d1 = _words(0, 8);
        bytes4 refused = _strangerError(draft, 8);
        vm.assertTrue(refused != DONE, "strangers are kept out");
        _settleAs(STRANGER, draft, 8);
        settleDue(2);
        vm.assertEq(strangersFrom(), block.timestamp + 24 hours, "the sequencer is back");
    }

    /// @dev A stranger who takes some registrations, and not all that fit, would start the hour for nothing.
    function _oneRegistrationTooFew(uint256 salt) private {
        Draft memory draft = _draft(salt);
        draft.size = 2;
        uint256 late = _older(true, DEADLINE, block.timestamp);
        // Behind as many as fill batches.
        for (; late >= _largestL1() - 1; late = _older(true, DEADLINE, block.timestamp)) _strangersTurn(2 * late);
        draft.pre = root;
        draft.urgent = uint16(late);
        uint256 registrations = _largestL1() - late - 1;
        draft.d1 = _words(late, registrations);
        _expect(IQueue.OverdueEntriesOmitted.selector, _strangerError(draft, registrations), "one too few");
        _settleAs(STRANGER, draft, registrations);
        if (late == 0) return;
        draft.d1 = _words(late, 0);
        _expect(DONE, _strangerError(draft, 0), "urgent ones alone are right");
        _settleAs(STRANGER, draft, 0);
    }

    /// @dev A stranger with the largest batch of overdue entries. In one of two cases they take younger ones along.
    function _strangersTurn(uint256 salt) private {
        Draft memory draft = _draft(salt);
        draft.size = 2;
        uint256 late = least(_older(true, DEADLINE, block.timestamp), _largestL1());
        uint256 more = salt % 2 == 0 ? 0 : least(urgent.length - urgentHead, _largestL1()) - late;
        draft.urgent = uint16(late + more);
        draft.d1 = _words(draft.urgent, 0);
        _expect(DONE, _strangerError(draft, 0), "a stranger can always settle overdue urgent entries");
        _settleAs(STRANGER, draft, 0);
    }

    /// @dev The least that the contract takes of the sequencer, at the earliest time, in the smallest size that does, with operations.
    function _grudging(uint256 salt) private {
        Draft memory draft = _draft(salt);
        uint256 earliest = block.timestamp - 1 hours;
        draft.time = uint40(earliest > lastTime ? earliest : lastTime);
        uint256 due = least(_older(true, DUE, draft.time), _largestL1());
        // A small size that is full of urgent entries is no excuse, and one entry less is too few.
        for (uint8 size = 1; size < 3 && due > 2; ++size) {
            draft.size = size;
            draft.urgent = uint16(size == 1 ? 2 : due - 1);
            draft.d1 = _words(draft.urgent, 0);
            _expect(IQueue.OverdueEntriesOmitted.selector, _sequencerError(draft, 0), "too few");
            _settleAs(SEQUENCER, draft, 0);
        }
        draft.size = due <= 2 ? 1 : due <= 8 ? 0 : 2;
        draft.urgent = uint16(due);
        uint256 registrations = least(_older(false, DUE, draft.time), sizes[draft.size].maxL1 - due);
        draft.d1 = _words(due, registrations);
        draft.d2 = _operations(sizes[draft.size].maxL2, salt);
        _expect(DONE, _sequencerError(draft, registrations), "the least that is right");
        _settleAs(SEQUENCER, draft, registrations);
    }

    /// @dev A batch that is full of urgent entries, so that it has no slot for a registration.
    function _urgentOnly(uint256 salt) private {
        Draft memory draft = _draft(salt);
        draft.size = 1;
        if (urgent.length - urgentHead < 2) return;
        draft.urgent = 2;
        draft.d1 = _words(2, 0);
        if (_sequencerError(draft, 0) != DONE) {
            draft.size = 2;
            draft.urgent = uint16(least(urgent.length - urgentHead, _largestL1()));
            draft.d1 = _words(draft.urgent, 0);
        }
        if (_sequencerError(draft, 0) == DONE) _settleAs(SEQUENCER, draft, 0);
    }

    /// @dev New registrations, and everything that a random half of the patients can add to the urgent queue.
    function _flood(uint256 random) private {
        for (uint256 i = 0; i < random % 6; ++i) _newPatient();
        for (uint256 i = 0; i < owners.length; ++i) {
            uint256 own = hashed(random, i);
            if (own % 2 == 0 || !accounts[owners[i].account - 1].settled) continue;
            _revokeAll(i);
            if (own % 4 == 3) _rotateKeys(i, own % 8 > 3);
        }
    }
}
