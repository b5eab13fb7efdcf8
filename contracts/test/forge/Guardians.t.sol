// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IGoverned} from "../../src/governance/IGoverned.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {UnixTime} from "../../src/Types.sol";
import {Governing} from "./Governing.sol";
import {between, vm} from "./Vm.sol";

/// @title What two of three guardians do together, and what one of them does not
contract GuardiansTest is Governing {
    address private _owner;

    /// @dev A patient whose registration is settled.
    function setUp() external {
        _deploy(_threeSizes());
        (_owner,) = _patient(1);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
    }

    function test_two_of_three_halt() external {
        _expect(DONE, _halts(0), "the first agrees");
        _expect(DONE, _halts(0), "and again");
        _isHalted(false);
        _expect(DONE, _halts(2), "the second agrees");
        _isHalted(true);
        (UnixTime from, UnixTime until) = rollup.lastHalt();
        vm.assertEq(UnixTime.unwrap(from), START, "from now on");
        vm.assertEq(UnixTime.unwrap(until), START + 21 days, "for 21 days");
        // It ends by itself.
        vm.warp(START + 21 days - 1);
        _isHalted(true);
        vm.warp(START + 21 days);
        _isHalted(false);
    }

    function test_only_guardians_agree() external {
        bytes memory change = abi.encodeCall(IGovernance.changeForfeit, (0));
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose");
        address[4] memory others = [REGISTRAR, SEQUENCER, STRANGER, address(governance)];
        for (uint256 i = 0; i < others.length; ++i) {
            _expect(UNAUTHORIZED, _govern(others[i], 0, abi.encodeCall(IGovernance.halt, ())), "halt");
            _expect(UNAUTHORIZED, _govern(others[i], 0, abi.encodeCall(IGovernance.resume, ())), "resume");
            bytes memory veto = abi.encodeCall(IGovernance.veto, (_id(change, 1)));
            _expect(UNAUTHORIZED, _govern(others[i], 0, veto), "veto");
        }
    }

    function test_an_agreement_counts_for_3_days() external {
        _expect(DONE, _halts(0), "the first agrees");
        vm.warp(START + 3 days + 1);
        _expect(DONE, _halts(1), "a second too late");
        _isHalted(false);
        vm.warp(START + 6 days + 1);
        _expect(DONE, _halts(2), "the last second");
        _isHalted(true);
    }

    /// @dev 180 days from the beginning of a halt to that of the next one, also if it ended early.
    function test_once_in_180_days(bool early) external {
        _halt();
        vm.warp(START + 1 days);
        if (early) _resume();
        vm.warp(START + 180 days - 1);
        _expect(DONE, _halts(0), "the first agrees");
        _expect(IGoverned.HaltedBefore.selector, _halts(1), "a second too early");
        _isHalted(false);
        vm.warp(START + 180 days);
        _expect(DONE, _halts(1), "the next halt");
        _isHalted(true);
    }

    /// @dev Neither a halt nor its end is longer, or the next one, by agreements from another time.
    function test_agreements_to_an_earlier_halt_do_not_count() external {
        // To an end, before the halt.
        _expect(DONE, _resumes(2), "nothing to end");
        vm.warp(START + 1);
        _halt();
        _expect(DONE, _resumes(0), "in the same second");
        _isHalted(true);
        vm.warp(START + 2);
        _expect(DONE, _resumes(1), "the only one that counts");
        _isHalted(true);
        // To a halt, during a halt.
        _expect(DONE, _halts(0), "it is halted");
        _expect(DONE, _halts(1), "it is halted");
        (, UnixTime until) = rollup.lastHalt();
        vm.assertEq(UnixTime.unwrap(until), START + 1 + 21 days, "as long as before");
        _expect(DONE, _resumes(0), "the second one");
        _isHalted(false);
        vm.warp(START + 3);
        _expect(DONE, _halts(2), "the first one after the halt");
        _isHalted(false);
        _expect(DONE, _resumes(2), "the only one that counts");
        _expect(IGoverned.NotHalted.selector, _resumes(0), "nothing to end");
    }

    function test_who_left_does_not_count() external {
        bytes memory dismiss = abi.encodeCall(governance.revokeRole, (GUARDIAN_ROLE, _guardian(0)));
        _expect(DONE, _schedule(REGISTRAR, dismiss, 1), "propose");
        vm.warp(START + DELAY);
        _expect(DONE, _halts(0), "the first agrees");
        _expect(DONE, _execute(dismiss, 1), "and is dismissed");
        _expect(DONE, _halts(1), "the second agrees");
        _isHalted(false);
        _expect(UNAUTHORIZED, _halts(0), "not a guardian");
        _expect(DONE, _halts(2), "the third agrees");
        _isHalted(true);
    }

    function test_two_of_three_cancel_a_proposal() external {
        bytes memory change = abi.encodeCall(IGovernance.appoint, (REGISTRAR));
        _expect(DONE, _vetoes(0, change), "it is not proposed yet");
        _expect(DONE, _vetoes(0, change), "again");
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose");
        vm.warp(START + DELAY);
        _expect(DONE, _vetoes(0, change), "the first agrees");
        _expect(DONE, _vetoes(0, change), "and again");
        vm.assertTrue(governance.isOperationPending(_id(change, 1)), "one is not enough");
        _expect(DONE, _vetoes(1, change), "the second agrees");
        _expect(WRONG_STATE, _execute(change, 1), "cancelled");
        // What they agreed to happened. One of them cannot use the other's agreement again.
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose again");
        _expect(DONE, _vetoes(1, change), "one of them");
        vm.assertTrue(governance.isOperationPending(_id(change, 1)), "one is not enough");
        vm.warp(START + 2 * DELAY);
        _expect(DONE, _execute(change, 1), "executed");
        _expect(DONE, _vetoes(0, change), "too late");
        _expect(WRONG_STATE, _vetoes(1, change), "too late");
    }

    /// @dev Nobody settles, whatever waits. What owners append is there all the same.
    function test_nothing_settles_in_a_halt(uint256 later) external {
        _revokeAll(_owner);
        _halt();
        vm.warp(START + later % 21 days);
        _patient(2);
        vm.warp(START + 21 days - 1);
        address[3] memory all = [SEQUENCER, STRANGER, _guardian(0)];
        for (uint256 i = 0; i < 3; ++i) {
            _expect(IGoverned.SettlementHalted.selector, _settleAll(all[i]), "everything");
            _expect(IGoverned.SettlementHalted.selector, _settle(all[i], 1, 0, 0), "an urgent entry");
            _expect(IGoverned.SettlementHalted.selector, _settle(all[i], 0, 0, 0), "nothing");
        }
        vm.warp(START + 21 days);
        _expect(ISettlement.NotSequencer.selector, _settle(STRANGER, 1, 0, 0), "it is not overdue");
        _expect(DONE, _settleAll(SEQUENCER), "the halt is over");
    }

    /// @dev An entry from before, during or after a halt that ends early or not: it is due and overdue when five and six hours have passed
    /// without the halt, to the second.
    /// forge-config: default.fuzz.runs = 256
    function test_deadlines_stand_still(uint256 appended, uint256 from, uint256 ends, bool early) external {
        appended = START + appended % 1 days;
        from = START + from % 1 days;
        uint256 until = early ? from + between(ends, 1, 1 days) : from + 21 days;
        _appendAndHalt(appended, from, until, early);
        uint256 overdueAt = rollup.overdueAt(_time(appended));
        _isTheLastSecond(appended, overdueAt, 6 hours, from, until);
        if (overdueAt < block.timestamp) return;
        vm.warp(overdueAt);
        (uint256 urgents,) = rollup.overdueEntries();
        vm.assertEq(urgents, 0, "not yet overdue");
        _expect(ISettlement.NotSequencer.selector, _settle(STRANGER, 1, 0, 0), "not yet open to strangers");
        vm.warp(overdueAt + 1);
        (urgents,) = rollup.overdueEntries();
        vm.assertEq(urgents, 1, "overdue");
        _expect(DONE, _settle(STRANGER, 1, 0, 0), "open to strangers");
    }

    /// @dev The same for what a batch must take.
    /// forge-config: default.fuzz.runs = 256
    function test_due_entries_stand_still(uint256 appended, uint256 from, uint256 ends, uint256 time) external {
        appended = START + appended % 1 days;
        from = START + from % 1 days;
        bool early = ends % 2 == 0;
        uint256 until = early ? from + between(ends, 1, 1 days) : from + 21 days;
        _appendAndHalt(appended, from, until, early);
        for (uint256 i = 0; i < 32; ++i) {
            // Also around the end of the five hours, and of the halt.
            uint256 when = i % 3 == 0 ? appended + 5 hours : i % 3 == 1 ? appended + 5 hours + until - from : until;
            when = between(uint256(keccak256(abi.encode(time, i))), when - 2, when + (i < 8 ? 2 : 6 hours));
            (uint256 urgents,) = rollup.dueEntries(_time(when));
            bool due = _passed(appended, when, from, until) > 5 hours;
            vm.assertEq(urgents, due ? 1 : 0, "due");
        }
    }

    /// @dev And for the day after which strangers settle registrations.
    /// forge-config: default.fuzz.runs = 256
    function test_the_sequencers_absence_stands_still(uint256 from, uint256 ends, bool early) external {
        from = START + from % 2 days;
        uint256 until = early ? from + between(ends, 1, 1 days) : from + 21 days;
        vm.warp(from);
        _halt();
        if (early) {
            vm.warp(until);
            _resume();
        }
        uint256 open = UnixTime.unwrap(rollup.strangersFrom());
        _isTheLastSecond(START, open, 24 hours, from, until);
        vm.warp(until);
        _expect(DONE, _settleAll(SEQUENCER), "the sequencer is back");
        vm.assertEq(UnixTime.unwrap(rollup.strangersFrom()), until + 24 hours, "a day from now");
    }

    /// @dev A revocation in the last second before a halt: it is open to strangers after the halt, just as long after as without it.
    function test_the_very_seconds() external {
        _revokeAll(_owner);
        vm.warp(START + 6 hours);
        _halt();
        // Six hours had passed when the halt began. So it is overdue a second after the end.
        vm.assertEq(rollup.overdueAt(_time(START)), START + 6 hours + 21 days, "the end of the halt");
        // A second earlier it would have been overdue when the halt began.
        vm.assertEq(rollup.overdueAt(_time(START - 1)), START + 6 hours - 1, "overdue before the halt");
        vm.warp(START + 6 hours + 21 days);
        _expect(ISettlement.NotSequencer.selector, _settle(STRANGER, 1, 0, 0), "the last second of the sequencer");
        vm.warp(START + 6 hours + 21 days + 1);
        _expect(DONE, _settle(STRANGER, 1, 0, 0), "overdue");
    }

    function _appendAndHalt(uint256 appended, uint256 from, uint256 until, bool early) private {
        if (appended <= from) _appendAt(appended);
        vm.warp(from);
        _halt();
        if (from < appended && appended <= until) _appendAt(appended);
        vm.warp(until);
        if (early) _resume();
        if (until < appended) _appendAt(appended);
    }

    function _appendAt(uint256 time) private {
        vm.warp(time);
        _revokeAll(_owner);
    }

    /// @dev At this time the whole duration has passed since `start` and no more, and a second later more.
    function _isTheLastSecond(uint256 start, uint256 time, uint256 duration, uint256 from, uint256 until) private pure {
        vm.assertEq(_passed(start, time, from, until), duration, "the whole time");
        vm.assertEq(_passed(start, time + 1, from, until), duration + 1, "a second later");
    }

    function _isHalted(bool expected) private {
        uint256 here = vm.snapshotState();
        _expect(expected ? IGoverned.SettlementHalted.selector : DONE, _settleAll(SEQUENCER), "a settlement");
        vm.revertToStateAndDelete(here);
    }

    function _halts(uint256 guardian) private returns (bytes4) {
        return _govern(_guardian(guardian), 0, abi.encodeCall(IGovernance.halt, ()));
    }

    function _resumes(uint256 guardian) private returns (bytes4) {
        return _govern(_guardian(guardian), 0, abi.encodeCall(IGovernance.resume, ()));
    }

    function _vetoes(uint256 guardian, bytes memory change) private returns (bytes4) {
        return _govern(_guardian(guardian), 0, abi.encodeCall(IGovernance.veto, (_id(change, 1))));
    }
}
