// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IQueue} from "../../src/IQueue.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {UnixTime} from "../../src/Types.sol";
import {Crowd} from "./Crowd.sol";
import {vm} from "./Vm.sol";

/// @title What it costs to fill the urgent queue, with the sizes that are deployed
contract FloodTest is Crowd {
    uint256 private constant PATIENTS = 133;

    function setUp() external {
        uint48[2][] memory slots = new uint48[2][](3);
        (slots[0], slots[1], slots[2]) = ([uint48(5), 9], [uint48(8), 90], [uint48(175), 0]);
        _deploy(slots);
        _begin();
        _settledPatients(PATIENTS);
    }

    /// @dev The figure of docs/contracts.md: 525 entries are three batches of strangers, and cost 7.9 ether, which is burnt.
    function test_filling_three_batches_costs_8_ether() external {
        uint256 credits = _fill(525);
        vm.assertEq(burnt, 7.9003 ether, "the fees");
        vm.assertEq(address(0).balance, burnt, "they are burnt");
        vm.assertEq(credits, 525 * CARRIED - burnt, "the rest is credit");
        vm.assertEq(rollup.urgentFee(), 398 * 0.0001 ether, "the next one costs");

        // The sequencer gets the fees of registrations only, also if it flooded the queue itself.
        bytes memory collect = abi.encodeCall(ISettlement.collectFees, (payable(SEQUENCER)));
        _expect(DONE, _send(SEQUENCER, 0, collect), "collect");
        vm.assertEq(SEQUENCER.balance, PATIENTS * FEE, "nothing of the flood");

        // Three batches, one after the other, and all have waited 6 hours at most.
        vm.warp(block.timestamp + 6 hours + 1);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(urgentHead, i * 175, "so far");
            settleOverdue(i);
        }
        vm.assertEq(urgentHead, 525, "everything is settled");
        vm.assertEq(rollup.urgentFee(), 0, "the queue is free again");
    }

    /// forge-config: default.fuzz.runs = 8
    /// @dev With a wei less than the fee, nothing is queued, and the ether stays with the sender.
    function test_a_wei_less_than_the_fee(uint256 length) external {
        length = 128 + length % 32;
        _fill(length);
        uint256 fee = (length - 127) * 0.0001 ether;
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        bytes memory call = abi.encodeCall(IAccountChanges.forceRevoke, (all));
        address last = owners[PATIENTS - 1].addr;
        _expect(IQueue.UrgentFeeMissing.selector, _send(last, fee - 1, call), "a wei less");
        vm.assertEq(rollup.creditOf(last), 0, "no credit");
        _expect(DONE, _send(last, fee, call), "the fee");
        vm.assertEq(rollup.creditOf(last), 0, "no credit");
    }

    /// @dev A flood of registrations delays no urgent entry, and takes no slot from one.
    function test_registrations_do_not_delay_a_revocation() external {
        for (uint256 i = 0; i < 200; ++i) _newPatient();
        vm.warp(block.timestamp + 1 hours);
        _revokeAll(0);
        vm.warp(block.timestamp + 6 hours + 1);
        (uint256 urgents,) = rollup.dueEntries(UnixTime.wrap(uint40(block.timestamp)));
        vm.assertEq(urgents, 1, "the revocation is due");
        settleOverdue(0);
        vm.assertEq(urgentHead, 1, "a stranger settles it");
        vm.assertEq(ordinaryHead, PATIENTS, "alone, because the sequencer was here a few hours ago");
    }

    /// @dev Fills the urgent queue up to this length. Returns what was sent and not burnt.
    function _fill(uint256 length) private returns (uint256) {
        for (uint256 i = 0; urgent.length < length; ++i) {
            uint256 owner = i % (PATIENTS - 1);
            uint256 kind = i / (PATIENTS - 1);
            if (kind == 0) _revokeAll(owner);
            else if (kind == 1) _revokeSlot(owner);
            else if (kind == 2) _rotateKeys(owner, true);
            else _close(owner);
        }
        vm.assertEq(urgent.length, length, "the queue's length");
        return creditInAll;
    }
}
