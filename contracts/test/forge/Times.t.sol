// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "../../src/IRegistry.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {Role, UnixTime} from "../../src/Types.sol";
import {Batches} from "./Batches.sol";
import {Owners} from "./Owners.sol";
import {between, hashed, least, vm} from "./Vm.sol";

/// @title The times of batches, and which entries are due at a time
contract TimesTest is Batches, Owners {
    function setUp() external {
        _deploy(_threeSizes());
    }

    /// @dev A batch is not older than an hour, not older than the one before, and not of the future.
    function test_batch_times(uint256 first, uint256 passed, uint256 second) external {
        Draft memory draft = _draft(1);
        draft.time = uint40(START - 2 hours + first % 4 hours);
        _settles(draft, 1, draft.time >= START - 1 hours && draft.time <= START);
        uint256 previous = draft.time >= START - 1 hours && draft.time <= START ? draft.time : 0;

        vm.warp(START + passed % 3 hours);
        draft = _draft(2);
        draft.time = uint40(block.timestamp - 2 hours + second % 4 hours);
        bool right = draft.time >= block.timestamp - 1 hours && draft.time <= block.timestamp && draft.time >= previous;
        _settles(draft, previous == 0 ? 1 : 2, right);
    }

    /// @dev The bounds themselves.
    function test_the_bounds_of_batch_times() external {
        Draft memory draft = _draft(1);
        uint256[4] memory times = [START - 1 hours - 1, START + 1, START - 1 hours, START];
        for (uint256 i = 0; i < 4; ++i) {
            draft.pre = i < 3 ? GENESIS : draft.post;
            draft.time = uint40(times[i]);
            _settles(draft, i < 3 ? 1 : 2, i > 1);
        }
    }

    /// @dev Due and overdue entries are those at the head of the queue that are older than 5 and 6 hours, whatever their times are.
    function test_due_and_overdue_entries(uint256 random, uint256 count, uint256 later) external {
        count = between(count, 1, 50);
        uint256[] memory times = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            times[i] = block.timestamp;
            address owner = address(uint160(0x1000 + i));
            vm.deal(owner, 1 ether);
            IRegistry.Registration memory registration = _registration(owner, Role.Patient, false);
            _expect(DONE, _send(owner, FEE, abi.encodeCall(IRegistry.register, (registration))), "register");
            // Often several in one second, and sometimes hours apart.
            vm.warp(block.timestamp + (hashed(random, i) % 3 == 0 ? hashed(random, i) % 2 hours : 0));
        }
        uint256 time = START + later % 20 hours;
        uint256 due;
        uint256 overdue;
        for (uint256 i = 0; i < count; ++i) {
            if (time > times[i] + 5 hours) ++due;
            if (block.timestamp > times[i] + 6 hours) ++overdue;
        }
        (uint256 urgent, uint256 ordinary) = rollup.dueEntries(UnixTime.wrap(uint40(time)));
        vm.assertEq(ordinary, least(due, _largestL1()), "due");
        vm.assertEq(urgent, 0, "no urgent entry");
        (, ordinary) = rollup.overdueEntries();
        vm.assertEq(ordinary, least(overdue, _largestL1()), "overdue");
    }

    /// @dev An entry is due a second after 5 hours, and overdue a second after 6 hours.
    function test_the_second_after() external {
        address owner = address(0x1000);
        vm.deal(owner, 1 ether);
        IRegistry.Registration memory registration = _registration(owner, Role.Patient, false);
        _expect(DONE, _send(owner, FEE, abi.encodeCall(IRegistry.register, (registration))), "register");
        for (uint256 late = 0; late < 2; ++late) {
            (, uint256 due) = rollup.dueEntries(UnixTime.wrap(uint40(START + 5 hours + late)));
            vm.assertEq(due, late, "due");
            vm.warp(START + 6 hours + late);
            (, uint256 overdue) = rollup.overdueEntries();
            vm.assertEq(overdue, late, "overdue");
        }
    }

    function _settles(Draft memory draft, uint64 number, bool right) private {
        _announce(draft, number);
        bytes4 expected = right ? DONE : ISettlement.BatchTimeOutOfRange.selector;
        _expect(expected, _send(SEQUENCER, 0, _settleCall(draft)), "the outcome of a settlement");
    }
}
