// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IQueue} from "../../src/IQueue.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {Role} from "../../src/Types.sol";
import {Reentrant} from "./Attackers.sol";
import {Batches} from "./Batches.sol";
import {Owners} from "./Owners.sol";
import {vm} from "./Vm.sol";

/// @title Recipients of ether that call back
contract ReentrancyTest is Batches, Owners {
    Reentrant private _attacker;
    address private constant VICTIM = address(0x71c713);

    /// @dev The attacker is a patient whose registration is settled, and has a credit of 3 ether. So has somebody else.
    function setUp() external {
        _deploy(_threeSizes());
        _attacker = new Reentrant();
        vm.deal(address(_attacker), 100 ether);
        vm.deal(VICTIM, 100 ether);
        uint256[] memory words = new uint256[](8);
        address[2] memory patients = [address(_attacker), VICTIM];
        for (uint24 i = 0; i < 2; ++i) {
            IRegistry.Registration memory registration = _registration(patients[i], Role.Patient, false);
            _expect(DONE, _send(patients[i], FEE, abi.encodeCall(IRegistry.register, (registration))), "register");
            uint256[4] memory entry = _registerEntry(i + 1, Role.Patient, 0, _keys(patients[i], Role.Patient, false));
            for (uint256 j = 0; j < 4; ++j) words[4 * i + j] = entry[j];
        }
        Draft memory draft = _draft(0);
        draft.d1 = words;
        _announce(draft, 1);
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "settle");
        for (uint256 i = 0; i < 2; ++i) _expect(DONE, _send(patients[i], 3 ether, _revokeCall(1)), "credit");
    }

    /// @dev Credit is paid once, whatever the recipient calls meanwhile.
    function test_credit_is_paid_once() external {
        bytes memory again = abi.encodeCall(IQueue.withdrawCredit, (payable(address(_attacker))));
        _attacker.prepare(address(rollup), _calls(again, again), 0);
        _attackerWithdraws();
        vm.assertEq(_attacker.received(), 3 ether, "paid once");
        vm.assertEq(_attacker.callsDone(), 0, "no second withdrawal");
        _expect(IQueue.NoCredit.selector, _attacker.lastError(), "the reason");
        _sound(3 ether);
    }

    /// @dev Credit that a recipient gets while it is paid is not lost.
    function test_changes_during_a_withdrawal_count() external {
        _attacker.prepare(address(rollup), _calls(_revokeCall(2), abi.encodeCall(IAccountChanges.closeAccount, ())), 1 ether);
        _attackerWithdraws();
        // The second revocation of a slot waits behind the first one. The account is closed.
        vm.assertEq(_attacker.callsDone(), 1, "one change");
        _expect(IQueue.EntryWaiting.selector, _attacker.lastError(), "the reason of the other");
        vm.assertEq(rollup.creditOf(address(_attacker)), 1 ether, "the new credit");
        _sound(4 ether);
    }

    /// @dev A recipient cannot settle: only the origin of a transaction can.
    function test_a_recipient_cannot_settle() external {
        vm.warp(block.timestamp + 7 hours);
        Draft memory draft = _draft(1);
        draft.urgent = 2;
        draft.d1 = _bothRevocations();
        _announce(draft, 2);
        _attacker.prepare(address(rollup), _calls(_settleCall(draft), _settleCall(draft)), 0);
        _attackerWithdraws();
        vm.assertEq(_attacker.callsDone(), 0, "not settled");
        _expect(ISettlement.NotDirectCall.selector, _attacker.lastError(), "the reason");
        _expect(DONE, _send(STRANGER, 0, _settleCall(draft)), "directly, anyone can");
    }

    /// @dev A sequencer that is a contract takes the fees once, and nothing of the credits.
    function test_fees_are_collected_once() external {
        bytes memory collect = abi.encodeCall(ISettlement.collectFees, (payable(address(_attacker))));
        _attacker.prepare(address(rollup), _calls(collect, collect), 0);
        _expect(DONE, _send(SEQUENCER, 0, collect), "collect");
        vm.assertEq(_attacker.received(), 2 * FEE, "the fees of two registrations");
        _expect(ISettlement.NotSequencer.selector, _attacker.lastError(), "the recipient is not the sequencer");
        _sound(6 ether);
    }

    /// @dev The same if the recipient is the sequencer itself.
    function test_a_contract_as_sequencer_collects_once() external {
        Reentrant sequencer = new Reentrant();
        delete sizes;
        _deploy(_threeSizes(), address(sequencer));
        IRegistry.Registration memory registration = _registration(VICTIM, Role.Patient, false);
        _expect(DONE, _send(VICTIM, FEE, abi.encodeCall(IRegistry.register, (registration))), "register");
        bytes memory collect = abi.encodeCall(ISettlement.collectFees, (payable(address(sequencer))));
        sequencer.prepare(address(rollup), _calls(collect, collect), 0);
        (bool done,) = sequencer.execute(0, collect);
        vm.assertTrue(done, "collect");
        vm.assertEq(sequencer.received(), FEE, "the fee, once");
        vm.assertEq(address(rollup).balance, 0, "nothing is left");
    }

    /// @dev A recipient that refuses loses nothing.
    function test_a_refused_payment_changes_nothing() external {
        address refusing = sizes[0].verifier;
        bytes memory withdraw = abi.encodeCall(IQueue.withdrawCredit, (payable(refusing)));
        _expect(IQueue.TransferFailed.selector, _send(VICTIM, 0, withdraw), "credit");
        bytes memory collect = abi.encodeCall(ISettlement.collectFees, (payable(refusing)));
        _expect(IQueue.TransferFailed.selector, _send(SEQUENCER, 0, collect), "fees");
        vm.assertEq(rollup.creditOf(VICTIM), 3 ether, "the credit is still there");
        _sound(6 ether);
    }

    function _attackerWithdraws() private {
        (bool done,) = _attacker.execute(0, abi.encodeCall(IQueue.withdrawCredit, (payable(address(_attacker)))));
        vm.assertTrue(done, "withdraw");
    }

    /// @dev The credits are there in full.
    function _sound(uint256 credits) private view {
        uint256 known = rollup.creditOf(address(_attacker)) + rollup.creditOf(VICTIM);
        vm.assertEq(known, credits, "credits");
        vm.assertTrue(address(rollup).balance >= credits, "credits are covered");
    }

    function _bothRevocations() private pure returns (uint256[] memory words) {
        words = new uint256[](8);
        for (uint24 i = 0; i < 2; ++i) {
            uint256[4] memory entry = _revokeEntry(i + 1, _revocation(1));
            for (uint256 j = 0; j < 4; ++j) words[4 * i + j] = entry[j];
        }
    }

    function _revocation(uint16 slot) private pure returns (IAccountChanges.Revocation memory) {
        return IAccountChanges.Revocation({all: false, slot: slot, replaceDirectory: false, directory: 0});
    }

    function _revokeCall(uint16 slot) private pure returns (bytes memory) {
        return abi.encodeCall(IAccountChanges.forceRevoke, (_revocation(slot)));
    }

    function _calls(bytes memory first, bytes memory second) private pure returns (bytes[] memory calls) {
        calls = new bytes[](2);
        (calls[0], calls[1]) = (first, second);
    }
}
