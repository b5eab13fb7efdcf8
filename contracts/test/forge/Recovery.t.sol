// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IOwnership} from "../../src/IOwnership.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, Role} from "../../src/Types.sol";
import {OddWallet} from "./Attackers.sol";
import {Holders} from "./Holders.sol";
import {hashed, vm} from "./Vm.sol";

/// @title Guardians give an account to another address
contract RecoveryTest is Holders {
    uint256 private constant ALICE = 0xa11ce;
    uint256 private constant BOB = 0xb0b;
    uint256 private constant CAROL = 0xca201;

    AccountIndex private _account;
    address[] private _guardians;
    uint256[] private _guardianKeys;

    /// @dev A patient with five guardians, of whom three must agree.
    function setUp() external {
        _deploy(_threeSizes());
        _account = _newPatient(ALICE);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        (_guardians, _guardianKeys) = _people(100, 5);
        _expect(DONE, _sets(vm.addr(ALICE), _guardians, 3), "guardians");
    }

    function test_a_recovered_patient_acts_and_the_former_owner_does_not() external {
        _begins(BOB, 7);
        _isPending(_account, vm.addr(BOB), START + RIPE);
        _owns(ALICE, _account, ALICE);
        vm.warp(START + RIPE - 1);
        _expect(IOwnership.RecoveryWaits.selector, _finish(_account), "a second too early");
        vm.warp(START + RIPE);
        _expect(DONE, _finish(_account), "finish");
        _owns(BOB, _account, ALICE);
        _isPending(_account, address(0), 0);
        _expect(IOwnership.NoRecovery.selector, _finish(_account), "a second time");
        _expect(IAccountChanges.NotRegistered.selector, _revokes(vm.addr(ALICE)), "the former owner");
        _expect(DONE, _revokes(vm.addr(BOB)), "the new owner");
        IRegistry.Registration memory keys = _registration(vm.addr(BOB), Role.Patient, true);
        _expect(DONE, _send(vm.addr(BOB), 0, abi.encodeCall(IAccountChanges.rotateKeys, (keys))), "the new owner");
        // The guardians stay, and begin again if need be.
        _begins(CAROL, 28);
    }

    function test_the_owner_cancels_in_the_last_second() external {
        _begins(BOB, 7);
        vm.warp(START + RIPE);
        address alice = vm.addr(ALICE);
        bytes memory relayed = _setCall(ALICE, _guardians, 3);
        uint256 here = vm.snapshotState();
        _expect(DONE, _sets(alice, _guardians, 3), "by the owner");
        _expect(IOwnership.NoRecovery.selector, _finish(_account), "it is cancelled");
        vm.revertToStateAndDelete(here);
        _expect(DONE, _send(STRANGER, 0, relayed), "relayed");
        _expect(IOwnership.NoRecovery.selector, _finish(_account), "it is cancelled");
        _begins(BOB, 7);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, relayed), "for the next one");
    }

    function test_only_the_owner_cancels() external {
        _begins(BOB, 7);
        address alice = vm.addr(ALICE);
        bytes memory call = abi.encodeCall(IOwnership.setGuardians, (alice, _guardians, 3, FAR, ""));
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(vm.addr(BOB), 0, call), "the new owner");
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(_guardians[0], 0, call), "a guardian");
        call = abi.encodeCall(IOwnership.setGuardians, (vm.addr(BOB), _guardians, 3, FAR, ""));
        _expect(IAccountChanges.NotRegistered.selector, _send(vm.addr(BOB), 0, call), "no owner");
        _isPending(_account, vm.addr(BOB), START + RIPE);
    }

    /// forge-config: default.fuzz.runs = 256
    /// @dev Any guardians, any number that must agree, and any approvals: right, missing, of others, for others.
    function test_k_of_n(uint256 random) external {
        uint256 count = 1 + random % 16;
        uint8 needed = uint8(1 + hashed(random, 1) % count);
        uint256[] memory keys;
        (_guardians, keys) = _people(200, count);
        _expect(DONE, _sets(vm.addr(ALICE), _guardians, needed), "guardians");
        uint256 bits = hashed(random, 2);
        bytes[] memory approvals = _approvals(_account, BOB, keys, bits);
        uint256 given;
        for (uint256 i = 0; i < count; ++i) given += bits >> i & 1;
        bytes4 expected = given < needed ? IOwnership.ApprovalsMissing.selector : DONE;
        uint256 one = hashed(random, 3) % count;
        uint256 other = hashed(random, 4) % count;
        uint256 kind = hashed(random, 5) % 5;
        bytes32 wrong = _recoveryStruct(_account, vm.addr(BOB), rollup.recoveryOf(_account).round + 1, FAR);
        // Another guardian's, another round's, and none at all.
        if (kind == 1 && one != other) approvals[one] = _approvals(_account, BOB, keys, 2 ** count - 1)[other];
        else if (kind == 2) approvals[one] = _signed(keys[one], wrong);
        else if (kind == 3) approvals[one] = hex"00";
        else kind = 0;
        if (kind != 0) expected = IRegistry.InvalidOwnerSignature.selector;
        bytes memory call = _beginCall(_account, BOB, _guardians, approvals);
        _expect(expected, _send(STRANGER, 0, call), "approvals");
        _isPending(_account, expected == DONE ? vm.addr(BOB) : address(0), expected == DONE ? START + RIPE : 0);
    }

    /// @dev Guardians ascend, so none counts twice.
    function test_lists_that_are_refused(uint256 random) external {
        uint256 count = 2 + random % 15;
        (address[] memory guardians,) = _people(200, count);
        uint256 i = hashed(random, 1) % (count - 1);
        uint256 kind = hashed(random, 2) % 6;
        uint8 needed = uint8(count);
        if (kind == 0) guardians[i] = guardians[i + 1];
        else if (kind == 1) (guardians[i], guardians[i + 1]) = (guardians[i + 1], guardians[i]);
        else if (kind == 2) guardians[0] = address(0);
        else if (kind == 3) needed = uint8(count + 1);
        else if (kind == 4) needed = 0;
        else (guardians,) = _people(200, 17);
        _expect(IOwnership.InvalidGuardians.selector, _sets(vm.addr(ALICE), guardians, needed), "refused");
        uint256[] memory people = new uint256[](2);
        (people[0], people[1]) = (ALICE, 300 + count);
        (guardians,) = _ascending(people);
        _expect(IOwnership.InvalidGuardians.selector, _sets(vm.addr(ALICE), guardians, 1), "the owner");
        _expect(IOwnership.InvalidGuardians.selector, _sets(vm.addr(ALICE), new address[](0), 1), "one of none");
        (guardians,) = _people(200, 16);
        _expect(DONE, _sets(vm.addr(ALICE), guardians, 16), "the most");
    }

    function test_without_guardians_nothing_begins() external {
        address[] memory none = new address[](0);
        bytes memory call = _beginCall(_account, BOB, none, new bytes[](0));
        _expect(IOwnership.OtherGuardians.selector, _send(STRANGER, 0, call), "none of five");
        _expect(DONE, _sets(vm.addr(ALICE), none, 0), "no guardians");
        call = _beginCall(_account, BOB, none, new bytes[](0));
        _expect(IOwnership.OtherGuardians.selector, _send(STRANGER, 0, call), "none of none");
        AccountIndex other = _newPatient(CAROL);
        call = _beginCall(other, BOB, none, new bytes[](0));
        _expect(IOwnership.OtherGuardians.selector, _send(STRANGER, 0, call), "there never were any");
        call = _beginCall(AccountIndex.wrap(9), BOB, none, new bytes[](0));
        _expect(IOwnership.OtherGuardians.selector, _send(STRANGER, 0, call), "there is no account");
        _expect(IOwnership.NoRecovery.selector, _finish(AccountIndex.wrap(9)), "there is no account");
    }

    /// @dev Lists that are shorter, longer, or in another order than the owner set.
    function test_other_lists() external {
        bytes[] memory approvals = _approvals(_account, BOB, _guardianKeys, 31);
        bytes4 refused = IOwnership.OtherGuardians.selector;
        address[] memory guardians = _guardians;
        (guardians[0], guardians[1]) = (guardians[1], guardians[0]);
        (approvals[0], approvals[1]) = (approvals[1], approvals[0]);
        _expect(refused, _send(STRANGER, 0, _beginCall(_account, BOB, guardians, approvals)), "order");
        (guardians,) = _people(100, 4);
        _expect(refused, _send(STRANGER, 0, _beginCall(_account, BOB, guardians, new bytes[](4))), "shorter");
        _expect(refused, _send(STRANGER, 0, _beginCall(_account, BOB, _guardians, new bytes[](4))), "approvals");
        _expect(refused, _send(STRANGER, 0, _beginCall(_account, BOB, _guardians, new bytes[](6))), "approvals");
    }

    /// @dev The guardians' set is signed like everything else, and the signature counts once.
    function test_guardians_by_relay() external {
        address alice = vm.addr(ALICE);
        (address[] memory guardians,) = _people(300, 3);
        bytes memory signature = _signed(ALICE, _guardiansStruct(alice, guardians, 2, 1));
        bytes memory call = abi.encodeCall(IOwnership.setGuardians, (alice, guardians, 2, FAR, signature));
        bytes memory other = abi.encodeCall(IOwnership.setGuardians, (alice, guardians, 1, FAR, signature));
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, other), "fewer");
        other = abi.encodeCall(IOwnership.setGuardians, (alice, _guardians, 2, FAR, signature));
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, other), "others");
        _expect(DONE, _send(STRANGER, 0, call), "relayed");
        vm.assertEq(rollup.recoveryOf(_account).needed, 2, "how many");
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "a second time");
        _expect(DONE, _sets(alice, _guardians, 3), "by the owner");
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "after another set");
    }

    /// @dev After each of these, approvals of before are worth nothing.
    function test_approvals_count_in_one_round() external {
        bytes memory old = _beginCall(_account, BOB, _guardians, _approvals(_account, BOB, _guardianKeys, 7));
        uint256 here = vm.snapshotState();
        bytes4 refused = IRegistry.InvalidOwnerSignature.selector;
        for (uint256 kind = 0; kind < 5; ++kind) {
            if (kind == 0) _expect(DONE, _sets(vm.addr(ALICE), _guardians, 3), "the same guardians again");
            if (kind == 1) {
                _changes(ALICE, CAROL);
                _changes(CAROL, ALICE);
                vm.assertEq(rollup.recoveryOf(_account).needed, 0, "a thief may have named them");
                _expect(DONE, _sets(vm.addr(ALICE), _guardians, 3), "guardians");
            }
            if (kind == 2) _expect(DONE, _send(STRANGER, 0, old), "begin");
            if (kind == 3) {
                _begins(BOB, 7);
                _expect(DONE, _sets(vm.addr(ALICE), _guardians, 3), "cancel");
            }
            if (kind == 4) {
                _begins(CAROL, 7);
                vm.warp(START + RIPE);
                _expect(DONE, _finish(_account), "finish");
            }
            _expect(refused, _send(STRANGER, 0, old), "approvals of before");
            vm.revertToState(here);
        }
        _expect(DONE, _send(STRANGER, 0, old), "in their round");
    }

    /// @dev A second account with the same guardians in the same round, another chain, and another deadline.
    function test_approvals_are_for_one_account() external {
        AccountIndex other = _newPatient(CAROL);
        _expect(DONE, _sets(vm.addr(CAROL), _guardians, 3), "the same guardians");
        bytes[] memory approvals = _approvals(_account, BOB, _guardianKeys, 7);
        bytes memory call = _beginCall(other, BOB, _guardians, approvals);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "another account");
        call = _beginCall(_account, BOB + 1, _guardians, approvals);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "another owner");
        call = _beginCall(_account, BOB, _guardians, approvals);
        vm.chainId(block.chainid + 1);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "another chain");
        vm.chainId(block.chainid - 1);
        bytes32 hash = _recoveryStruct(_account, vm.addr(BOB), 1, block.timestamp);
        for (uint256 i = 0; i < 3; ++i) approvals[i] = _signed(_guardianKeys[i], hash);
        call = abi.encodeCall(
            IOwnership.beginRecovery,
            (_account, vm.addr(BOB), _guardians, block.timestamp, _signed(BOB, hash), approvals)
        );
        vm.warp(block.timestamp + 1);
        _expect(IRegistry.RegistrationExpired.selector, _send(STRANGER, 0, call), "too late");
        vm.warp(block.timestamp - 1);
        _expect(DONE, _send(STRANGER, 0, call), "in the last second");
    }

    function test_the_new_owner_must_agree() external {
        bytes[] memory approvals = _approvals(_account, BOB, _guardianKeys, 31);
        bytes memory call =
            abi.encodeCall(IOwnership.beginRecovery, (_account, vm.addr(BOB), _guardians, FAR, "", approvals));
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "without their signature");
        _expect(DONE, _send(vm.addr(BOB), 0, call), "they call");
    }

    /// @dev The caller's approval needs no signature, whatever else they are.
    function test_a_guardian_who_calls_approves() external {
        bytes memory call = _beginCall(_account, BOB, _guardians, _approvals(_account, BOB, _guardianKeys, 3));
        _expect(IOwnership.ApprovalsMissing.selector, _send(STRANGER, 0, call), "two");
        _expect(IOwnership.ApprovalsMissing.selector, _send(_guardians[0], 0, call), "still two");
        _expect(DONE, _send(_guardians[4], 0, call), "three");
    }

    /// @dev The owner and the guardians can always go on, and the delay begins again.
    function test_a_new_recovery_takes_the_place_of_the_old_one() external {
        _begins(BOB, 7);
        vm.warp(START + 6 days);
        _begins(CAROL, 28);
        _isPending(_account, vm.addr(CAROL), START + 6 days + RIPE);
        vm.warp(START + RIPE);
        _expect(IOwnership.RecoveryWaits.selector, _finish(_account), "the delay begins again");
        // The new owner registers, so that the recovery can never be finished.
        _newPatient(CAROL);
        vm.warp(START + 6 days + RIPE);
        _expect(IRegistry.AlreadyRegistered.selector, _finish(_account), "the new owner has an account");
        bytes memory call = _beginCall(_account, CAROL, _guardians, _approvals(_account, CAROL, _guardianKeys, 7));
        _expect(IRegistry.AlreadyRegistered.selector, _send(STRANGER, 0, call), "and none begins");
        _begins(BOB, 7);
        vm.warp(block.timestamp + RIPE);
        _expect(DONE, _finish(_account), "another new owner");
        _owns(BOB, _account, ALICE);
    }

    function test_what_an_owner_does_ends_a_recovery() external {
        _begins(BOB, 7);
        _changes(ALICE, CAROL);
        _isPending(_account, address(0), 0);
        _expect(DONE, _sets(vm.addr(CAROL), _guardians, 3), "guardians");
        _begins(BOB, 7);
        (address[] memory others,) = _people(300, 2);
        _expect(DONE, _sets(vm.addr(CAROL), others, 1), "other guardians");
        _isPending(_account, address(0), 0);
        bytes memory call = _beginCall(_account, BOB, _guardians, _approvals(_account, BOB, _guardianKeys, 31));
        _expect(IOwnership.OtherGuardians.selector, _send(STRANGER, 0, call), "the guardians of before");
    }

    /// @dev One of two accounts goes to the new owner, and the other one stays.
    function test_two_accounts_and_one_new_owner() external {
        AccountIndex other = _newPatient(CAROL);
        _expect(DONE, _sets(vm.addr(CAROL), _guardians, 3), "the same guardians");
        bytes[] memory approvals = _approvals(other, BOB, _guardianKeys, 7);
        _expect(DONE, _send(STRANGER, 0, _beginCall(other, BOB, _guardians, approvals)), "begin");
        _begins(BOB, 7);
        vm.warp(START + RIPE);
        _expect(DONE, _finish(other), "the first");
        _expect(IRegistry.AlreadyRegistered.selector, _finish(_account), "the second");
        bytes memory call = _changeCall(ALICE, BOB);
        _expect(IRegistry.AlreadyRegistered.selector, _send(STRANGER, 0, call), "nor by the owner");
        _owns(ALICE, _account, ALICE);
        _owns(BOB, other, CAROL);
    }

    /// @dev A guardian whose contract reverts, burns gas or answers endlessly is left out. One that agrees counts.
    function test_guardians_that_are_wallets(uint256 random) external {
        OddWallet wallet = new OddWallet();
        address[] memory guardians = new address[](3);
        (guardians[0], guardians[1], guardians[2]) = (address(wallet), vm.addr(100), vm.addr(101));
        uint256[] memory keys = new uint256[](3);
        for (uint256 i = 0; i < 2; ++i) {
            for (uint256 j = 0; j < 2; ++j) {
                if (guardians[j] > guardians[j + 1]) (guardians[j], guardians[j + 1]) = (guardians[j + 1], guardians[j]);
            }
        }
        uint256 place;
        for (uint256 i = 0; i < 3; ++i) {
            keys[i] = guardians[i] == vm.addr(100) ? 100 : 101;
            if (guardians[i] == address(wallet)) place = i;
        }
        _expect(DONE, _sets(vm.addr(ALICE), guardians, 2), "guardians");
        OddWallet.Answer answer = OddWallet.Answer(random % (uint256(type(OddWallet.Answer).max) + 1));
        wallet.choose(answer);
        bytes[] memory approvals = _approvals(_account, BOB, keys, 7 ^ 1 << place);
        uint256 here = vm.snapshotState();
        bytes memory call = _beginCall(_account, BOB, guardians, approvals);
        _expect(DONE, _send(STRANGER, 0, call), "it is left out");
        vm.revertToStateAndDelete(here);
        approvals[place] = "any";
        approvals[(place + 1) % 3] = "";
        call = _beginCall(_account, BOB, guardians, approvals);
        bool yes = answer == OddWallet.Answer.Yes || answer == OddWallet.Answer.Endless;
        vm.prank(STRANGER, STRANGER);
        (bool done,) = address(rollup).call{gas: 5_000_000}(call);
        // With an empty call to nobody, the last answer is a yes.
        vm.assertTrue(done == (yes || answer == OddWallet.Answer.CallBack), "it counts if it agrees");
    }

    /// @dev Guardians whose bits are set begin a recovery.
    function _begins(uint256 next, uint256 bits) private {
        bytes[] memory approvals = _approvals(_account, next, _guardianKeys, bits);
        bytes memory call = _beginCall(_account, next, _guardians, approvals);
        _expect(DONE, _send(STRANGER, 0, call), "begin");
    }
}
