// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IQueue} from "../../src/IQueue.sol";
import {QueueIndex} from "../../src/Types.sol";
import {Reentrant} from "./Attackers.sol";
import {Governing} from "./Governing.sol";
import {hashed, vm} from "./Vm.sol";

/// @title What the sequencer puts up, and what it loses to owners of overdue entries
contract BondTest is Governing {
    address private constant TO = address(0xf0f);
    uint256 private constant BOND = 1 ether;

    address[] private _patients;

    /// @dev Four patients whose registrations are settled, and a bond.
    function setUp() external {
        _deploy(_threeSizes());
        for (uint160 i = 0; i < 4; ++i) {
            (address owner,) = _patient(i);
            _patients.push(owner);
        }
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        _deposit(SEQUENCER, BOND);
    }

    function test_anyone_deposits_for_anyone() external {
        _deposit(SEQUENCER, 2 ether);
        _deposit(STRANGER, 3 ether);
        _deposit(TO, 0);
        vm.assertEq(governance.bondOf(SEQUENCER), BOND + 2 ether, "the sequencer's");
        vm.assertEq(governance.bondOf(STRANGER), 3 ether, "somebody's");
        _holds(BOND + 5 ether);
        // Who was never the sequencer owes nothing.
        _expect(DONE, _withdraw(STRANGER, TO), "withdraw");
        vm.assertEq(TO.balance, 3 ether, "withdrawn");
        _expect(IGovernance.NoBond.selector, _withdraw(STRANGER, TO), "once");
        _holds(BOND + 2 ether);
    }

    function test_a_bond_stays_for_30_days() external {
        vm.warp(START + 1000 days);
        _expect(IGovernance.BondLocked.selector, _withdraw(SEQUENCER, TO), "in office");
        _appoint(STRANGER);
        uint256 left = block.timestamp;
        vm.warp(left + 30 days - 1);
        _expect(IGovernance.BondLocked.selector, _withdraw(SEQUENCER, TO), "a second too early");
        vm.warp(left + 30 days);
        uint256 here = vm.snapshotState();
        _expect(IQueue.TransferFailed.selector, _withdraw(SEQUENCER, sizes[0].verifier), "it takes no ether");
        _holds(BOND);
        _expect(DONE, _withdraw(SEQUENCER, TO), "withdraw");
        vm.assertEq(TO.balance, BOND, "withdrawn");
        _holds(0);
        // Again in office, it is locked again.
        vm.revertToStateAndDelete(here);
        _appoint(SEQUENCER);
        _expect(IGovernance.BondLocked.selector, _withdraw(SEQUENCER, TO), "in office");
    }

    /// @dev To the second.
    function test_only_overdue_entries_take_from_the_bond(bool late, bool byStranger) external {
        _revokeAll(_patients[0]);
        vm.warp(START + 6 hours + (late ? 1 : 0));
        _expect(DONE, _settle(late && byStranger ? STRANGER : SEQUENCER, 1, 0, 0), "settle");
        _expect(late ? DONE : IGovernance.NoForfeit.selector, _claim(_patients[0], 0, 0, 0), "claim");
        vm.assertEq(TO.balance, late ? FORFEIT : 0, "the forfeit");
        _holds(BOND - TO.balance);
    }

    /// @dev An entry that waits is not settled late yet.
    function test_only_settled_entries_take_from_the_bond() external {
        _revokeAll(_patients[0]);
        _revokeAll(_patients[1]);
        vm.warp(START + 7 hours);
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[0], 0, 0, 0), "it waits");
        // An entry beside them that is not overdue.
        _revokeAll(_patients[2]);
        _expect(DONE, _settle(STRANGER, 3, 0, 0), "settle");
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "overdue");
        _expect(DONE, _claim(_patients[1], 0, 1, 0), "overdue");
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[2], 0, 2, 0), "not overdue");
        _revokeAll(_patients[2]);
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[2], 0, 3, 0), "it waits");
    }

    function test_only_the_owner_claims_and_once() external {
        _lateEntry(0);
        _lateEntry(1);
        bytes4 refused = IGovernance.NoForfeit.selector;
        _expect(refused, _claim(_patients[1], 0, 0, 0), "another patient");
        _expect(refused, _claim(SEQUENCER, 0, 0, 0), "the sequencer");
        _expect(refused, _claim(_patients[0], 1, 0, 0), "another settlement");
        _expect(refused, _claim(_patients[0], 2, 0, 0), "no settlement");
        _expect(refused, _claim(_patients[0], 0, 1, 0), "another entry");
        _expect(refused, _claim(_patients[0], 0, 0, 1), "no term");
        uint256[4] memory words = urgentWords[0];
        words[0] ^= 1;
        _expect(refused, _claimWith(_patients[0], 0, 0, words, 0, TO), "other words");
        // The other patient's words, with the same result.
        _expect(refused, _claimWith(_patients[1], 0, 0, urgentWords[1], 0, TO), "other words");
        address refusing = sizes[0].verifier;
        _expect(IQueue.TransferFailed.selector, _claimWith(_patients[0], 0, 0, urgentWords[0], 0, refusing), "refused");
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "claim");
        _expect(refused, _claim(_patients[0], 0, 0, 0), "once");
        _expect(DONE, _claim(_patients[1], 1, 1, 0), "the other one");
        vm.assertEq(TO.balance, 2 * FORFEIT, "two forfeits");
        _holds(BOND - 2 * FORFEIT);
    }

    function test_a_bond_smaller_than_the_forfeit() external {
        for (uint256 i = 0; i < 3; ++i) _lateEntry(i);
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeForfeit, (0.6 ether))), "another forfeit");
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "the whole forfeit");
        _expect(DONE, _claim(_patients[1], 1, 1, 0), "what is left");
        vm.assertEq(TO.balance, BOND, "no more than the bond");
        _holds(0);
        _expect(IGovernance.NoBond.selector, _claim(_patients[2], 2, 2, 0), "nothing is left");
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[1], 1, 1, 0), "once");
        _deposit(SEQUENCER, 5 ether);
        _expect(DONE, _claim(_patients[2], 2, 2, 0), "from a new bond");
        vm.assertEq(TO.balance, BOND + 0.6 ether, "the whole forfeit");
        _holds(4.4 ether);
    }

    /// @dev The sequencer in whose term the entry became overdue pays, whoever settles it.
    function test_the_sequencer_of_the_time_pays(uint256 passed) external {
        uint256[4] memory times = [6 hours - 1, 6 hours, 6 hours + 1, passed % 12 hours];
        for (uint256 i = 0; i < 4; ++i) {
            uint256 here = vm.snapshotState();
            _replacedAfter(times[i]);
            vm.revertToStateAndDelete(here);
        }
    }

    /// @dev The time of a halt is nobody's fault.
    function test_no_forfeit_for_a_halt(uint256 before) external {
        _revokeAll(_patients[0]);
        _revokeAll(_patients[1]);
        before %= 6 hours + 1;
        vm.warp(START + before);
        _halt();
        vm.warp(START + 6 hours + HALT_TIME);
        uint256 here = vm.snapshotState();
        _expect(DONE, _settleAll(SEQUENCER), "in time");
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[0], 0, 0, 0), "in time");
        vm.revertToStateAndDelete(here);
        _appoint(STRANGER);
        vm.warp(block.timestamp + 1);
        _expect(DONE, _settleAll(STRANGER), "too late");
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[0], 0, 0, 1), "it was overdue before");
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "from the first sequencer");
        // The rollup knows the last halt only. After the next one it no longer knows when the entry became overdue.
        vm.warp(START + 150 days);
        here = vm.snapshotState();
        _expect(DONE, _claim(_patients[1], 0, 1, 0), "the last second");
        vm.revertToStateAndDelete(here);
        vm.warp(START + 150 days + 1);
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[1], 0, 1, 0), "too late to claim");
    }

    /// @dev Who becomes the sequencer during a halt has the rest of the time after it.
    function test_a_new_sequencer_during_a_halt() external {
        bytes memory appoint = abi.encodeCall(IGovernance.appoint, (STRANGER));
        _expect(DONE, _schedule(REGISTRAR, appoint, 1), "propose");
        vm.warp(START + DELAY);
        _revokeAll(_patients[0]);
        _halt();
        vm.warp(START + DELAY + 10 days);
        _expect(DONE, _execute(appoint, 1), "another sequencer");
        vm.warp(START + DELAY + HALT_TIME + 6 hours + 1);
        _expect(DONE, _settleAll(STRANGER), "too late");
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[0], 0, 0, 0), "not the first one");
        _expect(IGovernance.NoBond.selector, _claim(_patients[0], 0, 0, 1), "the second one, who has no bond");
        _deposit(STRANGER, BOND);
        _expect(DONE, _claim(_patients[0], 0, 0, 1), "the second one");
    }

    /// @dev Passing the office on, before or after entries are overdue, back and forth, saves no bond.
    function test_the_bond_goes_with_the_office(uint256 random) external {
        address[4] memory keys = [SEQUENCER, STRANGER, address(0xeee), address(0xddd)];
        uint256 holder;
        uint256 inAll = BOND;
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = hashed(random, i) % 4; j > 0; --j) {
                vm.warp(block.timestamp + hashed(random, 100 * i + j) % 2);
                uint256 next = hashed(random, 10 * i + j) % 4;
                if (hashed(random, 20 * i + j) % 3 == 0) {
                    _deposit(keys[next], 0.1 ether);
                    inAll += 0.1 ether;
                }
                uint256 together = governance.bondOf(keys[holder]) + governance.bondOf(keys[next]);
                if (next == holder) together /= 2;
                _pass(keys[holder], keys[next]);
                if (next != holder) vm.assertEq(governance.bondOf(keys[holder]), 0, "nothing stays behind");
                holder = next;
                vm.assertEq(governance.bondOf(keys[holder]), together, "the bond goes along");
            }
            _lateEntry(i);
        }
        for (uint256 i = 0; i < 4; ++i) {
            if (i != holder) _expect(_noBondOf(keys[i]), _withdraw(keys[i], TO), "withdraw");
        }
        uint256 left = governance.bondOf(keys[holder]);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertTrue(_claimAnyTerm(i), "a forfeit is paid");
            vm.assertEq(governance.bondOf(keys[holder]), left - (i + 1) * FORFEIT, "from the one bond");
        }
        vm.assertTrue(inAll >= left, "no bond from nothing");
    }

    /// @dev An empty key takes the office over after the damage. It takes the debt over, too.
    function test_an_empty_key_does_not_help() external {
        _lateEntry(0);
        _pass(SEQUENCER, STRANGER);
        vm.assertEq(governance.bondOf(SEQUENCER), 0, "gone");
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "claim");
        vm.assertEq(governance.bondOf(STRANGER), BOND - FORFEIT, "from the bond that went along");
        // What the first one puts up afterwards is not for its old debts.
        _lateEntry(1);
        _pass(STRANGER, SEQUENCER);
        _pass(SEQUENCER, STRANGER);
        _deposit(SEQUENCER, BOND);
        _expect(DONE, _claim(_patients[1], 1, 1, 1), "claim");
        vm.assertEq(governance.bondOf(STRANGER), BOND - 2 * FORFEIT, "from the bond of the office");
        _expect(IGovernance.BondLocked.selector, _withdraw(SEQUENCER, TO), "30 days all the same");
        _holds(2 * BOND - 2 * FORFEIT);
    }

    /// @dev Who was voted out and takes an offer later brings a bond and old debts along.
    function test_debts_of_an_earlier_term() external {
        _lateEntry(0);
        _appoint(STRANGER);
        _deposit(STRANGER, BOND);
        _lateEntry(1);
        _pass(STRANGER, SEQUENCER);
        vm.assertEq(governance.bondOf(SEQUENCER), 2 * BOND, "both bonds");
        _pass(SEQUENCER, address(0xeee));
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "the first debt");
        _expect(DONE, _claim(_patients[1], 1, 1, 1), "the second debt");
        vm.assertEq(governance.bondOf(address(0xeee)), 2 * BOND - 2 * FORFEIT, "from all of it");
        _holds(2 * BOND - 2 * FORFEIT);
    }

    function test_an_offer_to_oneself() external {
        _lateEntry(0);
        _pass(SEQUENCER, SEQUENCER);
        vm.assertEq(governance.bondOf(SEQUENCER), BOND, "the bond is the same");
        _expect(IGovernance.BondLocked.selector, _withdraw(SEQUENCER, TO), "in office");
        _expect(DONE, _claim(_patients[0], 0, 0, 0), "claim");
        _holds(BOND - FORFEIT);
    }

    /// @dev Recipients that call back get nothing twice.
    function test_recipients_that_call_back() external {
        Reentrant attacker = new Reentrant();
        _deposit(address(attacker), BOND);
        bytes memory withdraw = abi.encodeCall(IGovernance.withdrawBond, (payable(address(attacker))));
        bytes[] memory calls = new bytes[](1);
        calls[0] = withdraw;
        attacker.prepare(address(governance), calls, 0);
        (bool done,) = attacker.execute(0, withdraw);
        vm.assertTrue(done, "withdraw");
        vm.assertEq(attacker.received(), BOND, "once");
        vm.assertEq(attacker.callsDone(), 0, "not again");
        _holds(BOND);

        _lateEntry(0);
        bytes4 got = _claimWith(_patients[0], 0, 0, urgentWords[0], 0, address(attacker));
        _expect(DONE, got, "claim");
        vm.assertEq(attacker.received(), BOND + FORFEIT, "once");
        _holds(BOND - FORFEIT);
    }

    /// @dev An entry is appended. Another sequencer is appointed so many seconds later, and the entry is settled late.
    function _replacedAfter(uint256 passed) private {
        _deposit(STRANGER, BOND);
        bytes memory appoint = abi.encodeCall(IGovernance.appoint, (STRANGER));
        _expect(DONE, _schedule(REGISTRAR, appoint, 1), "propose");
        vm.warp(START + DELAY);
        _revokeAll(_patients[0]);
        vm.warp(START + DELAY + passed);
        _expect(DONE, _execute(appoint, 1), "another sequencer");
        vm.warp(START + DELAY + 12 hours);
        _expect(DONE, _settleAll(STRANGER), "settle");
        // The last second of the deadline decides.
        bool first = passed > 6 hours;
        _expect(IGovernance.NoForfeit.selector, _claim(_patients[0], 0, 0, first ? 1 : 0), "the other term");
        _expect(DONE, _claim(_patients[0], 0, 0, first ? 0 : 1), "the term");
        vm.assertEq(governance.bondOf(SEQUENCER), first ? BOND - FORFEIT : BOND, "the first one's bond");
        vm.assertEq(governance.bondOf(STRANGER), first ? BOND : BOND - FORFEIT, "the second one's bond");
        _holds(2 * BOND - FORFEIT);
    }

    /// @dev A patient revokes. The sequencer settles it an hour too late.
    function _lateEntry(uint256 patient) private {
        _revokeAll(_patients[patient]);
        vm.warp(block.timestamp + 7 hours);
        _expect(DONE, _settleAll(rollup.sequencer()), "settle");
    }

    function _claimAnyTerm(uint256 patient) private returns (bool) {
        for (uint256 term = 0; term < governance.terms(); ++term) {
            if (_claim(_patients[patient], patient, patient, term) == DONE) return true;
        }
        return false;
    }

    function _claim(address from, uint256 late, uint256 index, uint256 term) private returns (bytes4) {
        return _claimWith(from, late, index, urgentWords[index], term, TO);
    }

    function _claimWith(
        address from,
        uint256 late,
        uint256 index,
        uint256[4] memory words,
        uint256 term,
        address to
    ) private returns (bytes4) {
        QueueIndex position = QueueIndex.wrap(uint56(index));
        return _govern(from, 0, abi.encodeCall(IGovernance.claimForfeit, (late, position, words, term, payable(to))));
    }

    function _deposit(address sequencer, uint256 value) private {
        _expect(DONE, _govern(REGISTRAR, value, abi.encodeCall(IGovernance.depositBond, (sequencer))), "deposit");
    }

    function _withdraw(address from, address to) private returns (bytes4) {
        return _govern(from, 0, abi.encodeCall(IGovernance.withdrawBond, (payable(to))));
    }

    /// @dev Who left less than 30 days ago has to wait. Who was never the sequencer has no bond here, or may withdraw it.
    function _noBondOf(address key) private view returns (bytes4) {
        for (uint256 i = 0; i < governance.terms(); ++i) {
            if (governance.termAt(i).sequencer == key) return IGovernance.BondLocked.selector;
        }
        return governance.bondOf(key) == 0 ? IGovernance.NoBond.selector : DONE;
    }

    function _pass(address from, address to) private {
        _expect(DONE, _govern(from, 0, abi.encodeCall(IGovernance.offer, (to))), "offer");
        _expect(DONE, _govern(to, 0, abi.encodeCall(IGovernance.accept, (from))), "accept");
    }

    function _appoint(address sequencer) private {
        _expect(DONE, _change(abi.encodeCall(IGovernance.appoint, (sequencer))), "appoint");
    }

    function _holds(uint256 bonds) private view {
        vm.assertEq(governance.bonds(), bonds, "all bonds");
        vm.assertEq(address(governance).balance, bonds, "the ether");
    }
}
