// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IEmrRollup} from "../../src/IEmrRollup.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, QueueIndex, StateRoot} from "../../src/Types.sol";
import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IGoverned} from "../../src/governance/IGoverned.sol";
import {Governing} from "./Governing.sol";
import {vm} from "./Vm.sol";

/// @title Registrars, guardians, and the timelock between a proposal and its execution
contract OfficesTest is Governing {
    address private constant OTHER = address(0x07e5);

    function setUp() external {
        _deploy(_threeSizes());
    }

    /// @dev Two registrars.
    function _officers() internal view override returns (IGovernance.Officers memory officers) {
        officers = super._officers();
        officers.registrars = new address[](2);
        (officers.registrars[0], officers.registrars[1]) = (REGISTRAR, OTHER);
    }

    function test_the_offices_of_the_beginning() external view {
        vm.assertEq(keccak256(abi.encode(governance.registrars())), keccak256(abi.encode(_officers().registrars)), "");
        (address[] memory guardians, uint16 threshold) = governance.guardians();
        vm.assertEq(keccak256(abi.encode(guardians)), keccak256(abi.encode(_officers().guardians)), "guardians");
        vm.assertEq(threshold, THRESHOLD, "threshold");
        vm.assertEq(governance.forfeit(), FORFEIT, "forfeit");
        vm.assertEq(governance.getMinDelay(), DELAY, "delay");
        vm.assertEq(rollup.sequencer(), SEQUENCER, "sequencer");
        vm.assertEq(governance.termAt(0).sequencer, SEQUENCER, "the first term");
        vm.assertEq(governance.terms(), 1, "terms");
        // Only the contract itself gives offices, and cancels. Anyone executes.
        address[5] memory all = [REGISTRAR, OTHER, SEQUENCER, _guardian(0), address(rollup)];
        for (uint256 i = 0; i < all.length; ++i) {
            vm.assertTrue(!governance.hasRole(0, all[i]), "an administrator");
            vm.assertTrue(!governance.hasRole(keccak256("CANCELLER_ROLE"), all[i]), "a canceller");
        }
        vm.assertTrue(governance.hasRole(keccak256("EXECUTOR_ROLE"), address(0)), "anyone executes");
    }

    function test_a_change_waits_14_days() external {
        bytes memory change = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        bytes4 tooShort = bytes4(keccak256("TimelockInsufficientDelay(uint256,uint256)"));
        _expect(tooShort, _scheduleFor(REGISTRAR, address(governance), change, 1, DELAY - 1), "a second less");
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose");
        _expect(WRONG_STATE, _schedule(OTHER, change, 1), "it waits already");
        vm.warp(START + DELAY - 1);
        _expect(WRONG_STATE, _execute(change, 1), "a second too early");
        vm.warp(START + DELAY);
        _expect(WRONG_STATE, _execute(change, 2), "another proposal");
        _expect(DONE, _execute(change, 1), "a stranger executes");
        vm.assertEq(rollup.registrationFee(), 7, "the new fee");
        _expect(WRONG_STATE, _execute(change, 1), "once");
        _expect(WRONG_STATE, _schedule(REGISTRAR, change, 1), "never again");
    }

    function test_only_registrars_propose() external {
        bytes memory change = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        address[5] memory others = [SEQUENCER, STRANGER, _guardian(0), address(rollup), address(governance)];
        for (uint256 i = 0; i < others.length; ++i) {
            _expect(UNAUTHORIZED, _schedule(others[i], change, 1), "propose");
            _expect(IGovernance.NotProposer.selector, _withdraw(others[i], change, 1), "withdraw");
        }
        _expect(DONE, _schedule(OTHER, change, 1), "a registrar proposes");
    }

    /// @dev Operations reach neither the rollup nor the bonds, and carry no ether.
    function test_operations_call_only_the_governance() external {
        _expect(DONE, _govern(STRANGER, 5 ether, abi.encodeCall(IGovernance.depositBond, (SEQUENCER))), "a bond");
        bytes memory takeOffice = abi.encodeCall(IGoverned.setSequencer, (REGISTRAR));
        _expect(DONE, _scheduleFor(REGISTRAR, address(rollup), takeOffice, 1, DELAY), "propose");
        bytes memory pay =
            abi.encodeCall(governance.schedule, (REGISTRAR, 5 ether, "", 0, bytes32(uint256(2)), DELAY));
        _expect(DONE, _govern(REGISTRAR, 0, pay), "propose");
        bytes memory deposit = abi.encodeCall(IGovernance.depositBond, (REGISTRAR));
        bytes memory back =
            abi.encodeCall(governance.schedule, (address(governance), 5 ether, deposit, 0, bytes32(uint256(3)), DELAY));
        _expect(DONE, _govern(REGISTRAR, 0, back), "propose");
        vm.warp(START + DELAY);
        bytes4 refused = IGovernance.NotThroughTimelock.selector;
        _expect(refused, _perform(address(rollup), 0, takeOffice, 1, 0), "a call of the rollup");
        _expect(refused, _perform(REGISTRAR, 5 ether, "", 2, 0), "a payment");
        _expect(refused, _perform(REGISTRAR, 5 ether, "", 2, 5 ether), "a payment with its own ether");
        _expect(refused, _perform(address(governance), 5 ether, deposit, 3, 0), "a payment to itself");
        vm.assertEq(address(governance).balance, 5 ether, "the bond is still there");
        vm.assertEq(rollup.sequencer(), SEQUENCER, "the sequencer is the same");
    }

    /// @dev The same for one call of several: nothing happens.
    function test_a_batch_with_another_target() external {
        address[] memory targets = new address[](2);
        (targets[0], targets[1]) = (address(governance), address(rollup));
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        calls[1] = abi.encodeCall(IGoverned.setRegistrationFee, (7));
        _expect(IGovernance.NotThroughTimelock.selector, _changeTogether(targets, calls), "not through the timelock");
        vm.assertEq(rollup.registrationFee(), FEE, "nothing happened");
        (targets[1], calls[1]) = (address(governance), abi.encodeCall(IGovernance.changeForfeit, (8)));
        _expect(DONE, _changeTogether(targets, calls), "both");
        vm.assertEq(rollup.registrationFee() + governance.forfeit(), 7 + 8, "the new fee and forfeit");
    }

    /// @dev Ether that comes with an execution, or alone, would never leave the contract.
    function test_ether_is_refused() external {
        bytes memory change = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose");
        vm.warp(START + DELAY);
        bytes4 refused = IGovernance.NotThroughTimelock.selector;
        _expect(refused, _perform(address(governance), 0, change, 1, 1), "a wei");
        _expect(refused, _govern(STRANGER, 1, ""), "a payment");
        _expect(DONE, _execute(change, 1), "without ether");
    }

    function test_a_proposer_withdraws() external {
        bytes memory change = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose");
        _expect(IGovernance.NotProposer.selector, _withdraw(OTHER, change, 1), "the other registrar");
        bytes memory cancel = abi.encodeCall(governance.cancel, (_id(change, 1)));
        _expect(UNAUTHORIZED, _govern(REGISTRAR, 0, cancel), "directly");
        _expect(DONE, _withdraw(REGISTRAR, change, 1), "withdraw");
        _expect(WRONG_STATE, _withdraw(REGISTRAR, change, 1), "once");
        // Who proposes it next is the proposer.
        _expect(DONE, _schedule(OTHER, change, 1), "propose again");
        _expect(IGovernance.NotProposer.selector, _withdraw(REGISTRAR, change, 1), "the proposer before");
        vm.warp(START + DELAY);
        _expect(DONE, _withdraw(OTHER, change, 1), "also when it is ready");
        _expect(WRONG_STATE, _execute(change, 1), "withdrawn");
    }

    /// @dev A registrar cannot stop the proposal that dismisses them.
    function test_a_registrar_is_dismissed() external {
        bytes memory dismiss = abi.encodeCall(governance.revokeRole, (PROPOSER_ROLE, REGISTRAR));
        _expect(DONE, _schedule(OTHER, dismiss, 1), "propose");
        _expect(IGovernance.NotProposer.selector, _withdraw(REGISTRAR, dismiss, 1), "withdraw");
        _expect(WRONG_STATE, _schedule(REGISTRAR, dismiss, 1), "make it their own");
        bytes memory cancel = abi.encodeCall(governance.cancel, (_id(dismiss, 1)));
        _expect(UNAUTHORIZED, _govern(REGISTRAR, 0, cancel), "cancel");
        _expect(UNAUTHORIZED, _govern(REGISTRAR, 0, abi.encodeCall(IGovernance.veto, (_id(dismiss, 1)))), "veto");
        // A longer delay that they propose afterwards comes later.
        bytes memory longer = abi.encodeCall(governance.updateDelay, (1000 days));
        vm.warp(START + 1);
        _expect(DONE, _schedule(REGISTRAR, longer, 1), "propose");
        vm.warp(START + DELAY);
        _expect(WRONG_STATE, _execute(longer, 1), "too early");
        _expect(DONE, _execute(dismiss, 1), "dismissed");
        vm.assertTrue(!governance.isRegistrar(REGISTRAR), "no registrar");
        _expect(UNAUTHORIZED, _schedule(REGISTRAR, longer, 2), "proposes nothing");
        bytes memory suspend = abi.encodeCall(IRegistry.suspend, (AccountIndex.wrap(1)));
        _expect(IGoverned.NotRegistrar.selector, _send(REGISTRAR, 0, suspend), "suspends nobody");
    }

    /// @dev What they proposed after the proposal that dismisses them ends with it: they cannot propose their own return.
    function test_a_dismissed_registrar_does_not_come_back() external {
        bytes memory dismiss = abi.encodeCall(governance.revokeRole, (PROPOSER_ROLE, REGISTRAR));
        bytes memory back = abi.encodeCall(governance.grantRole, (PROPOSER_ROLE, STRANGER));
        _expect(DONE, _schedule(OTHER, dismiss, 1), "propose");
        _expect(DONE, _schedule(REGISTRAR, back, 1), "propose");
        _expect(DONE, _schedule(REGISTRAR, back, 2), "propose");
        vm.warp(START + DELAY);
        uint256 here = vm.snapshotState();
        _expect(DONE, _execute(back, 1), "while they are a registrar");
        vm.revertToStateAndDelete(here);
        _expect(DONE, _execute(dismiss, 1), "dismissed");
        vm.warp(START + DELAY + 1);
        _expect(WRONG_STATE, _execute(back, 1), "not any more");
        vm.assertTrue(!governance.isOperationPending(_id(back, 2)), "as if nobody had proposed it");
        _expect(DONE, _schedule(OTHER, back, 1), "another registrar proposes it");
        vm.warp(START + 2 * DELAY + 1);
        _expect(DONE, _execute(back, 1), "and it is executed");
    }

    /// @dev A registrar proposes a successor and their own dismissal.
    function test_a_registrar_hands_over() external {
        address[] memory targets = new address[](2);
        (targets[0], targets[1]) = (address(governance), address(governance));
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(governance.grantRole, (PROPOSER_ROLE, STRANGER));
        calls[1] = abi.encodeCall(governance.revokeRole, (PROPOSER_ROLE, REGISTRAR));
        _expect(DONE, _changeTogether(targets, calls), "together");
        vm.assertTrue(governance.isRegistrar(STRANGER) && !governance.isRegistrar(REGISTRAR), "handed over");
    }

    function test_the_last_registrar_stays() external {
        bytes memory resign = abi.encodeCall(governance.renounceRole, (PROPOSER_ROLE, OTHER));
        _expect(DONE, _govern(OTHER, 0, resign), "one of two resigns");
        resign = abi.encodeCall(governance.renounceRole, (PROPOSER_ROLE, REGISTRAR));
        _expect(IGovernance.RegistrarRequired.selector, _govern(REGISTRAR, 0, resign), "the last one");
        bytes memory dismiss = abi.encodeCall(governance.revokeRole, (PROPOSER_ROLE, REGISTRAR));
        _expect(IGovernance.RegistrarRequired.selector, _change(dismiss), "the last one");
        // Nobody holds the key of the zero address.
        bytes memory nobody = abi.encodeCall(governance.grantRole, (PROPOSER_ROLE, address(0)));
        _expect(IGovernance.RegistrarRequired.selector, _change(nobody), "nobody");
        vm.assertTrue(governance.isRegistrar(REGISTRAR), "still a registrar");
        _expect(DONE, _change(abi.encodeCall(governance.grantRole, (PROPOSER_ROLE, OTHER))), "a second one");
        _expect(DONE, _change(dismiss), "now");
        vm.assertEq(governance.registrars()[0], OTHER, "the other one");
    }

    function test_the_bounds_of_the_threshold() external {
        bytes4 invalid = IGovernance.InvalidThreshold.selector;
        _expect(invalid, _change(abi.encodeCall(IGovernance.changeThreshold, (0))), "none of three");
        _expect(invalid, _change(abi.encodeCall(IGovernance.changeThreshold, (4))), "four of three");
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeThreshold, (3))), "all");
        bytes memory dismiss = abi.encodeCall(governance.revokeRole, (GUARDIAN_ROLE, _guardian(2)));
        _expect(invalid, _change(dismiss), "three of two");
        bytes memory resign = abi.encodeCall(governance.renounceRole, (GUARDIAN_ROLE, _guardian(2)));
        _expect(invalid, _govern(_guardian(2), 0, resign), "three of two");
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeThreshold, (2))), "two");
        _expect(DONE, _govern(_guardian(2), 0, resign), "two of two");
        (address[] memory guardians, uint16 threshold) = governance.guardians();
        vm.assertEq(guardians.length * 10 + threshold, 22, "two of two");
    }

    function test_officers_that_are_refused() external {
        IGovernance.Officers memory officers = _officers();
        _deploys(officers, true);
        for (uint16 threshold = 0; threshold <= 4; ++threshold) {
            officers.threshold = threshold;
            _deploys(officers, threshold != 0 && threshold != 4);
        }
        officers.guardians = new address[](0);
        officers.threshold = 1;
        _deploys(officers, false);
        officers.threshold = 0;
        _deploys(officers, true);
        officers.registrars = new address[](1);
        _deploys(officers, false);
        officers.registrars = new address[](0);
        _deploys(officers, false);
    }

    function test_direct_calls_are_refused() external {
        bytes[5] memory changes = [
            abi.encodeCall(IGovernance.appoint, (STRANGER)),
            abi.encodeCall(IGovernance.changeSizes, (2, sizes)),
            abi.encodeCall(IGovernance.changeRegistrationFee, (7)),
            abi.encodeCall(IGovernance.changeThreshold, (1)),
            abi.encodeCall(IGovernance.changeForfeit, (0))
        ];
        bytes[5] memory setters = [
            abi.encodeCall(IGoverned.setSequencer, (STRANGER)),
            abi.encodeCall(IGoverned.setSizes, (2, sizes)),
            abi.encodeCall(IGoverned.setRegistrationFee, (7)),
            abi.encodeCall(IGoverned.halt, ()),
            abi.encodeCall(IGoverned.resume, ())
        ];
        address[5] memory callers = [REGISTRAR, _guardian(0), SEQUENCER, STRANGER, address(rollup)];
        for (uint256 i = 0; i < callers.length; ++i) {
            address from = callers[i];
            for (uint256 j = 0; j < 5; ++j) {
                _expect(IGovernance.TimelockRequired.selector, _govern(from, 0, changes[j]), "a change");
                _expect(IGoverned.GovernanceRequired.selector, _send(from, 0, setters[j]), "a setter");
            }
            bytes4 expected = bytes4(keccak256("TimelockUnauthorizedCaller(address)"));
            _expect(expected, _govern(from, 0, abi.encodeCall(governance.updateDelay, (DELAY))), "the delay");
            bytes memory grant = abi.encodeCall(governance.grantRole, (PROPOSER_ROLE, STRANGER));
            _expect(UNAUTHORIZED, _govern(from, 0, grant), "an office");
            if (from == address(rollup)) continue;
            expected = IGovernance.RollupRequired.selector;
            bytes memory tell = abi.encodeCall(IGovernance.hospitalChanged, (AccountIndex.wrap(1), true));
            _expect(expected, _govern(from, 0, tell), "a hospital");
            tell = abi.encodeCall(IGovernance.settledLate, (QueueIndex.wrap(0), QueueIndex.wrap(9)));
            _expect(expected, _govern(from, 0, tell), "late entries");
        }
    }

    /// @dev Nobody gets a way around the timelock, and nobody takes the veto away from the guardians.
    function test_only_registrars_and_guardians_come_and_go() external {
        bytes32 canceller = keccak256("CANCELLER_ROLE");
        bytes32[3] memory fixedRoles = [bytes32(0), keccak256("EXECUTOR_ROLE"), canceller];
        for (uint256 i = 0; i < fixedRoles.length; ++i) {
            bytes memory grant = abi.encodeCall(governance.grantRole, (fixedRoles[i], REGISTRAR));
            _expect(IGovernance.FixedRole.selector, _change(grant), "a role is given");
        }
        bytes memory revoke = abi.encodeCall(governance.revokeRole, (canceller, address(governance)));
        _expect(IGovernance.FixedRole.selector, _change(revoke), "the veto is taken away");
        bytes memory renounce = abi.encodeCall(governance.renounceRole, (bytes32(0), address(governance)));
        _expect(IGovernance.FixedRole.selector, _change(renounce), "the timelock gives its role up");
        bytes memory nobody = abi.encodeCall(governance.grantRole, (keccak256("GUARDIAN_ROLE"), address(0)));
        _expect(IGovernance.FixedRole.selector, _change(nobody), "nobody becomes a guardian");
    }

    function test_the_delay_is_14_days_or_more() external {
        bytes memory any = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        bytes4 tooLong = IGovernance.DelayOutOfRange.selector;
        _expect(tooLong, _scheduleFor(REGISTRAR, address(governance), any, 1, 90 days + 1), "a delay of more than 90 days");
        bytes memory shorter = abi.encodeCall(governance.updateDelay, (DELAY - 1));
        _expect(IGovernance.DelayOutOfRange.selector, _change(shorter), "a second less");
        bytes memory longer = abi.encodeCall(governance.updateDelay, (90 days + 1));
        _expect(IGovernance.DelayOutOfRange.selector, _change(longer), "more than 90 days");
        _expect(DONE, _change(abi.encodeCall(governance.updateDelay, (20 days))), "longer");
        bytes4 tooShort = bytes4(keccak256("TimelockInsufficientDelay(uint256,uint256)"));
        _expect(tooShort, _schedule(REGISTRAR, shorter, 1), "14 days are too short now");
    }

    /// @dev What everybody forgot is not carried out later, when it may do harm.
    function test_proposals_lapse() external {
        bytes memory change = abi.encodeCall(IGovernance.changeRegistrationFee, (7));
        _expect(DONE, _schedule(REGISTRAR, change, 1), "propose");
        _expect(DONE, _schedule(REGISTRAR, change, 2), "propose");
        vm.warp(START + DELAY + 30 days);
        vm.assertTrue(governance.isOperationPending(_id(change, 1)), "the last second");
        _expect(DONE, _execute(change, 2), "the last second");
        vm.warp(START + DELAY + 30 days + 1);
        vm.assertTrue(!governance.isOperationPending(_id(change, 1)), "lapsed");
        _expect(WRONG_STATE, _execute(change, 1), "lapsed");
        vm.assertTrue(governance.isOperationDone(_id(change, 2)), "what was done stays done");
        _expect(DONE, _schedule(OTHER, change, 1), "propose again");
        _expect(WRONG_STATE, _execute(change, 1), "it waits again");
        _expect(DONE, _withdraw(OTHER, change, 1), "its proposer withdraws it");
    }

    function _withdraw(address from, bytes memory data, uint256 salt) private returns (bytes4) {
        return _govern(from, 0, abi.encodeCall(IGovernance.withdrawProposal, (_id(data, salt))));
    }

    function _perform(address target, uint256 value, bytes memory data, uint256 salt, uint256 sent)
        private
        returns (bytes4)
    {
        return _govern(STRANGER, sent, abi.encodeCall(governance.execute, (target, value, data, 0, bytes32(salt))));
    }

    function _changeTogether(address[] memory targets, bytes[] memory calls) private returns (bytes4) {
        uint256[] memory values = new uint256[](2);
        bytes memory call = abi.encodeCall(governance.scheduleBatch, (targets, values, calls, 0, 0, DELAY));
        _expect(DONE, _govern(REGISTRAR, 0, call), "propose");
        vm.warp(block.timestamp + DELAY);
        return _govern(STRANGER, 0, abi.encodeCall(governance.executeBatch, (targets, values, calls, 0, 0)));
    }

    function _deploys(IGovernance.Officers memory officers, bool expected) private {
        IEmrRollup.Parameters memory parameters =
            IEmrRollup.Parameters(sizes, CIRCUIT_VERSION, StateRoot.wrap(GENESIS), SEQUENCER, officers, FEE);
        bytes memory code = bytes.concat(vm.getCode("artifacts/EmrRollup.json"), abi.encode(parameters));
        address created;
        assembly ("memory-safe") {
            created := create(0, add(code, 0x20), mload(code))
        }
        vm.assertTrue((created != address(0)) == expected, "a deployment");
    }
}
