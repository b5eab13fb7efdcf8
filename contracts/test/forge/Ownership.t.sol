// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IOwnership} from "../../src/IOwnership.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, Role, Standing} from "../../src/Types.sol";
import {OddWallet} from "./Attackers.sol";
import {Holders} from "./Holders.sol";
import {vm} from "./Vm.sol";

/// @title An owner gives their account to another address
contract OwnershipTest is Holders {
    uint256 private constant ALICE = 0xa11ce;
    uint256 private constant BOB = 0xb0b;
    uint256 private constant CAROL = 0xca201;

    AccountIndex private _account;

    /// @dev A patient whose registration is settled.
    function setUp() external {
        _deploy(_threeSizes());
        _readRsaKey();
        _account = _newPatient(ALICE);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
    }

    function test_the_new_owner_acts_and_the_former_one_does_not() external {
        _changes(ALICE, BOB);
        _owns(BOB, _account, ALICE);
        vm.assertEq(AccountIndex.unwrap(rollup.accountOf(vm.addr(ALICE))), 0, "the former owner");
        _expect(IAccountChanges.NotRegistered.selector, _revokes(vm.addr(ALICE)), "the former owner");
        _expect(DONE, _revokes(vm.addr(BOB)), "the new owner");
        IRegistry.Registration memory keys = _registration(vm.addr(BOB), Role.Patient, true);
        bytes memory call = abi.encodeCall(IAccountChanges.rotateKeys, (keys));
        _expect(IAccountChanges.NotRegistered.selector, _send(vm.addr(ALICE), 0, call), "the former owner");
        _expect(DONE, _send(vm.addr(BOB), 0, call), "the new owner");
    }

    /// @dev The caller needs no signature, and each of the others does.
    function test_both_agree() external {
        (address alice, address bob) = (vm.addr(ALICE), vm.addr(BOB));
        bytes32 hash = _changeStruct(_account, alice, bob, 0, FAR);
        (bytes memory byAlice, bytes memory byBob) = (_signed(ALICE, hash), _signed(BOB, hash));
        bytes4 refused = IRegistry.InvalidOwnerSignature.selector;
        _tries(refused, alice, byAlice, "");
        _tries(refused, bob, "", byBob);
        _tries(refused, STRANGER, byAlice, "");
        _tries(refused, STRANGER, "", byBob);
        _tries(refused, STRANGER, byBob, byAlice);
        _tries(refused, STRANGER, byAlice, byAlice);
        _tries(DONE, alice, "", byBob);
        _tries(DONE, bob, byAlice, "");
        _tries(DONE, STRANGER, byAlice, byBob);
    }

    /// @dev Other fields, another chain, another contract, and a second too late.
    function test_what_is_signed_is_bound() external {
        (address alice, address bob) = (vm.addr(ALICE), vm.addr(BOB));
        AccountIndex other = _newPatient(CAROL);
        bytes32[4] memory wrong = [
            _changeStruct(other, alice, bob, 0, FAR),
            _changeStruct(_account, bob, alice, 0, FAR),
            _changeStruct(_account, alice, bob, 1, FAR),
            _changeStruct(_account, alice, bob, 0, FAR - 1)
        ];
        for (uint256 i = 0; i < wrong.length; ++i) {
            _tries(IRegistry.InvalidOwnerSignature.selector, alice, "", _signed(BOB, wrong[i]));
        }
        bytes memory byBob = _signed(BOB, _changeStruct(_account, alice, bob, 0, FAR));
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        _tries(IRegistry.InvalidOwnerSignature.selector, alice, "", byBob);
        vm.chainId(chain);
        _tries(DONE, alice, "", byBob);

        byBob = _signed(BOB, _changeStruct(_account, alice, bob, 0, block.timestamp));
        bytes memory call = abi.encodeCall(IOwnership.changeOwner, (alice, bob, block.timestamp, "", byBob));
        vm.warp(block.timestamp + 1);
        _expect(IRegistry.RegistrationExpired.selector, _send(alice, 0, call), "too late");
        vm.warp(block.timestamp - 1);
        _expect(DONE, _send(alice, 0, call), "in the last second");
    }

    function test_an_account_comes_back_and_no_signature_does() external {
        (address alice, address bob) = (vm.addr(ALICE), vm.addr(BOB));
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        bytes memory revokes = abi.encodeCall(
            IAccountChanges.forceRevokeFor, (alice, all, FAR, _signed(ALICE, _revocationStruct(alice, all, 0, FAR)))
        );
        bytes memory closes = abi.encodeCall(
            IAccountChanges.closeAccountFor, (bob, FAR, _signed(BOB, _closingStruct(bob, 0, FAR)))
        );
        bytes memory there = _changeCall(ALICE, BOB);
        _changes(ALICE, BOB);
        _expect(IAccountChanges.NotRegistered.selector, _send(STRANGER, 0, there), "a second time");
        // What the new owner signed before they owned anything.
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, closes), "signed before");
        _changes(BOB, ALICE);
        _owns(ALICE, _account, ALICE);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, there), "there again");
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, revokes), "a revocation of before");
        _changes(ALICE, BOB);
        _owns(BOB, _account, ALICE);
    }

    /// @dev Clients know an account by its registrant, so no address becomes the registrant of two.
    function test_who_registered_once_owns_no_other_account() external {
        AccountIndex other = _newPatient(CAROL);
        _changes(ALICE, BOB);
        address alice = vm.addr(ALICE);
        IRegistry.Registration memory registration = _registration(alice, Role.Patient, true);
        bytes memory call = abi.encodeCall(IRegistry.register, (registration));
        _expect(IRegistry.AlreadyRegistered.selector, _send(alice, FEE, call), "register");
        bytes memory signature = _signed(ALICE, _registrationStruct(alice, registration, FAR));
        call = abi.encodeCall(IRegistry.registerFor, (alice, registration, FAR, signature));
        _expect(IRegistry.RelayedRegistrationUsed.selector, _send(STRANGER, FEE, call), "relayed");
        call = _changeCall(CAROL, ALICE);
        _expect(IRegistry.AlreadyRegistered.selector, _send(STRANGER, 0, call), "another account");
        vm.assertEq(rollup.registrantOf(other), vm.addr(CAROL), "the other registrant");
    }

    /// @dev Who owned the account of another registrant, and gave it away, can still register; but nobody relays what they signed before.
    function test_a_later_owner_can_register() external {
        address bob = vm.addr(BOB);
        IRegistry.Registration memory registration = _registration(bob, Role.Patient, false);
        bytes memory signature = _signed(BOB, _registrationStruct(bob, registration, FAR));
        bytes memory relayed = abi.encodeCall(IRegistry.registerFor, (bob, registration, FAR, signature));
        _changes(ALICE, BOB);
        _expect(IRegistry.RelayedRegistrationUsed.selector, _send(STRANGER, FEE, relayed), "while they own it");
        _changes(BOB, CAROL);
        _expect(IRegistry.RelayedRegistrationUsed.selector, _send(STRANGER, FEE, relayed), "afterwards");
        AccountIndex second = _newPatient(BOB);
        _owns(BOB, second, BOB);
        _owns(CAROL, _account, ALICE);
    }

    function test_an_owner_of_an_account_gets_no_second_one() external {
        _newPatient(BOB);
        bytes memory call = _changeCall(ALICE, BOB);
        _expect(IRegistry.AlreadyRegistered.selector, _send(STRANGER, 0, call), "another's");
        call = _changeCall(ALICE, ALICE);
        _expect(IRegistry.AlreadyRegistered.selector, _send(STRANGER, 0, call), "their own");
    }

    /// @dev The zero address, and this rollup, agree to nothing.
    function test_nobody_is_no_owner() external {
        address[2] memory nobodies = [address(0), address(rollup)];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory call = abi.encodeCall(IOwnership.changeOwner, (vm.addr(ALICE), nobodies[i], FAR, "", ""));
            _expect(IRegistry.InvalidOwnerSignature.selector, _send(vm.addr(ALICE), 0, call), "nobody");
        }
    }

    /// @dev Every standing of a doctor's account. The registrar admits who registered, or nobody.
    function test_an_account_that_waits_stays() external {
        address bob = vm.addr(BOB);
        AccountIndex account = _register(bob, _registration(bob, Role.Doctor, false));
        _refusesPending();
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.suspend, (account))), "hold back");
        _refusesPending();
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.reinstate, (account))), "go on");
        IRegistry.Keys memory keys = _keys(bob, Role.Doctor, false);
        IRegistry.Candidate memory candidate = _candidate(bob, Role.Doctor, 0, keys);
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.admit, (account, candidate))), "admit");
        ordinaryWords.push(_registerEntry(AccountIndex.unwrap(account), Role.Doctor, 0, keys));
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        _changes(BOB, CAROL);
        _suspend(account);
        _changes(CAROL, BOB);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        _close(bob);
        _changes(BOB, CAROL);
        vm.assertEq(uint256(rollup.accountAt(account).standing), uint256(Standing.Closed), "closed");
        _owns(CAROL, account, BOB);
    }

    function test_the_new_owner_of_a_closed_account_revokes() external {
        _close(vm.addr(ALICE));
        _changes(ALICE, BOB);
        _expect(DONE, _revokes(vm.addr(BOB)), "revoke");
        bytes memory call = abi.encodeCall(IAccountChanges.closeAccount, ());
        _expect(IAccountChanges.NotOpen.selector, _send(vm.addr(BOB), 0, call), "closed");
    }

    /// @dev A wallet agrees as it does elsewhere (ERC-1271), as the former and as the new owner.
    function test_wallets() external {
        OddWallet wallet = new OddWallet();
        address alice = vm.addr(ALICE);
        bytes memory call = abi.encodeCall(IOwnership.changeOwner, (alice, address(wallet), FAR, "", "any"));
        wallet.choose(OddWallet.Answer.No);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(alice, 0, call), "no");
        wallet.choose(OddWallet.Answer.BurnGas);
        vm.prank(alice, alice);
        (bool done,) = address(rollup).call{gas: 3_000_000}(call);
        vm.assertTrue(!done, "it burns the gas");
        wallet.choose(OddWallet.Answer.Yes);
        _expect(DONE, _send(alice, 0, call), "yes");
        vm.assertEq(rollup.ownerOf(_account), address(wallet), "the wallet");
        bytes memory byBob = _signed(BOB, _changeStruct(_account, address(wallet), vm.addr(BOB), 1, FAR));
        call = abi.encodeCall(IOwnership.changeOwner, (address(wallet), vm.addr(BOB), FAR, "any", byBob));
        _expect(DONE, _send(STRANGER, 0, call), "yes again");
        _owns(BOB, _account, ALICE);
    }

    /// @dev A hospital votes once, whoever owns it, and its present owner takes the office.
    function test_a_hospital_votes_once() external {
        address alice = vm.addr(0x1405);
        AccountIndex hospital = _admitted(alice);
        AccountIndex second = _admitted(vm.addr(0x1406));
        vm.warp(block.timestamp + 30 days);
        bytes memory vote = abi.encodeCall(IGovernance.vote, (hospital));
        _expect(DONE, _govern(alice, 0, vote), "vote");
        _changes(0x1405, BOB);
        _expect(IGovernance.NotActiveHospital.selector, _govern(alice, 0, vote), "the former owner");
        _expect(DONE, _govern(vm.addr(BOB), 0, vote), "the same vote");
        (uint256 votes, uint256 hospitals) = governance.votes(hospital);
        vm.assertTrue(votes == 1 && hospitals == 2, "it counts once");
        _expect(DONE, _govern(vm.addr(BOB), 0, abi.encodeCall(IGovernance.vote, (second))), "another vote");
        (votes,) = governance.votes(hospital);
        vm.assertEq(votes, 0, "the vote moved");
        _expect(DONE, _govern(vm.addr(BOB), 0, vote), "back");
        _expect(DONE, _govern(vm.addr(0x1406), 0, vote), "the second hospital");
        vm.warp(block.timestamp + 2 days);
        bytes memory install = abi.encodeCall(IGovernance.install, ());
        _expect(IGovernance.NotActiveHospital.selector, _govern(alice, 0, install), "the former owner");
        _expect(DONE, _govern(vm.addr(BOB), 0, install), "the present owner");
        vm.assertEq(rollup.sequencer(), vm.addr(BOB), "sequencer");
    }

    function _admitted(address owner) private returns (AccountIndex account) {
        account = _register(owner, _registration(owner, Role.Hospital, false));
        IRegistry.Candidate memory candidate = _candidate(owner, Role.Hospital, 0, _keys(owner, Role.Hospital, false));
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.admit, (account, candidate))), "admit");
    }

    function _refusesPending() private {
        bytes memory call = _changeCall(BOB, CAROL);
        _expect(IOwnership.NotAdmitted.selector, _send(STRANGER, 0, call), "it waits");
        (address[] memory guardians,) = _people(100, 1);
        _expect(IOwnership.NotAdmitted.selector, _sets(vm.addr(BOB), guardians, 1), "it waits");
    }

    /// @dev A change from Alice to Bob that is undone again.
    function _tries(bytes4 expected, address from, bytes memory byAlice, bytes memory byBob) private {
        uint256 here = vm.snapshotState();
        bytes memory call =
            abi.encodeCall(IOwnership.changeOwner, (vm.addr(ALICE), vm.addr(BOB), FAR, byAlice, byBob));
        _expect(expected, _send(from, 0, call), "a change");
        vm.revertToStateAndDelete(here);
    }
}
