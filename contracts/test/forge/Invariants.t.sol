// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountIndex, QueueIndex, QueueName, Role, Standing, UnixTime} from "../../src/Types.sol";
import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IGoverned} from "../../src/governance/IGoverned.sol";
import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IOwnership} from "../../src/IOwnership.sol";
import {IQueue} from "../../src/IQueue.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {Handler} from "./Handler.sol";
import {IOffices, IRollup} from "./World.sol";
import {hashed, vm} from "./Vm.sol";

/// @title After any sequence of calls, the rollup holds what the model holds, and settlement goes on
contract InvariantsTest {
    Handler private _handler;
    IRollup private _rollup;

    function setUp() external {
        _handler = new Handler();
        _rollup = _handler.deployed();
    }

    /// @dev forge calls only the handler.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// @dev One invariant, because forge makes all the calls again for each.
    function invariant_the_rollup_is_as_the_model_and_settlement_goes_on() external {
        _progress();
        _accounts();
        _money();
        _entries();
        _handler.sameOffices();
        _handler.sameVotes();
        _handler.sameRecoveries();
        _oneOfAKindWaits();
        _settlementGoesOn();
    }

    /// @dev The actions above are worth nothing if the model foresees only refusals.
    function test_random_actions_reach_every_transition() external {
        // First those who have organisations to find, then everybody.
        uint8[6] memory early = [0, 0, 8, 18, 20, 22];
        for (uint256 i = 0; i < 180; ++i) _act(early[i % 6], hashed(i, 0));
        for (uint256 i = 180; i < 3200; ++i) _act(hashed(i, 1) % 44, hashed(i, 0));
        bytes4[35] memory transitions = [
            IRegistry.register.selector,
            IRegistry.registerFor.selector,
            IRegistry.endorse.selector,
            IRegistry.withdrawEndorsement.selector,
            IRegistry.admit.selector,
            IRegistry.suspend.selector,
            IRegistry.reinstate.selector,
            IAccountChanges.forceRevoke.selector,
            IAccountChanges.forceRevokeFor.selector,
            IAccountChanges.rotateKeys.selector,
            IAccountChanges.rotateKeysFor.selector,
            IAccountChanges.closeAccount.selector,
            IAccountChanges.closeAccountFor.selector,
            IAccountChanges.withdrawRegistration.selector,
            IOwnership.changeOwner.selector,
            ISettlement.collectFees.selector,
            IQueue.withdrawCredit.selector,
            IGoverned.halt.selector,
            IGoverned.resume.selector,
            IGovernance.offer.selector,
            IGovernance.accept.selector,
            IGovernance.depositBond.selector,
            IGovernance.withdrawBond.selector,
            IGovernance.claimForfeit.selector,
            IGovernance.vote.selector,
            IGovernance.count.selector,
            IGovernance.install.selector,
            IOffices.schedule.selector,
            IOffices.execute.selector,
            IGovernance.withdrawProposal.selector,
            IGovernance.changeRegistrationFee.selector,
            IGovernance.appoint.selector,
            IOwnership.setGuardians.selector,
            IOwnership.beginRecovery.selector,
            IOwnership.finishRecovery.selector
        ];
        for (uint256 i = 0; i < transitions.length; ++i) {
            bytes4 missing = _handler.done(transitions[i]) == 0 ? transitions[i] : bytes4(0);
            vm.assertEq(bytes32(missing), bytes32(0), "a transition was never made");
        }
        vm.assertTrue(_handler.doctorsOfHospitals() != 0, "no doctor of a hospital was admitted");
        vm.assertTrue(_handler.settledBySequencer() > 100, "the sequencer settled seldom");
        vm.assertTrue(_handler.settledByStrangers() > 20, "strangers settled seldom");
        vm.assertTrue(_handler.refusedBatches() > 40, "few batches were refused");
        vm.assertTrue(_handler.haltsInAll() > 2, "halts were seldom");
        vm.assertTrue(_handler.tookOffice() > 10, "the office seldom changed hands");
        vm.assertTrue(_handler.burnt() != 0, "the urgent queue was never long");
        _progress();
        _accounts();
        _money();
        _entries();
        _handler.sameOffices();
        _handler.sameVotes();
        _handler.sameRecoveries();
        _oneOfAKindWaits();
        _settlementGoesOn();
    }

    function _act(uint256 which, uint256 random) private {
        uint256 who = hashed(random, 2);
        bool flag = hashed(random, 3) % 2 == 0;
        if (which == 0 || which == 21) _handler.register(who, flag, random % 4 < 2, random);
        else if (which == 1 || (which == 8 && !flag)) _handler.admit(random);
        else if (which == 2) _handler.suspend(random, who);
        else if (which == 3) _handler.reinstate(random, who);
        else if (which == 4) _handler.rotateKeys(who, random % 4 < 2, flag, random);
        else if (which == 5) _handler.closeAccount(who, flag, random);
        else if (which == 6) _handler.forceRevoke(who, random, flag, random);
        else if (which == 7 && flag) _handler.flood(random);
        else if (which == 8 && flag) _handler.withdrawRegistration(who);
        else if (which == 9) _handler.repeat(random);
        else if (which == 10) _handler.collectFees(flag);
        else if (which == 11) _handler.withdrawCredit(who, flag);
        else if (which == 12) _handler.donate(random);
        else if (which == 20 || which == 7) _handler.endorse(who, random, flag);
        else if (which < 15) _handler.settle(random);
        else if (which == 15) _handler.settleAsStranger(random);
        else if (which == 16) _handler.settleTampered(random);
        else if (which == 17) _handler.settleOtherData(random);
        else if (which == 18) _handler.settleDue(random);
        else if (which == 19) _handler.settleOverdue(random);
        else if (which == 24) _handler.changeOwner(who, random);
        else if (which == 25) flag ? _handler.halt(random) : _handler.resume(random);
        else if (which == 26) _handler.offer(random);
        else if (which == 27) _handler.accept(random);
        else if (which == 28) _handler.depositBond(random);
        else if (which == 29) _handler.withdrawBond(random);
        else if (which == 30) _handler.claimForfeit(random);
        else if (which == 32 || which == 33) _handler.vote(who, random);
        else if (which == 34) _handler.count(random);
        else if (which == 35) _handler.install(random);
        else if (which == 36) _handler.propose(random);
        else if (which == 37) _handler.execute(random);
        else if (which == 38) _handler.withdrawProposal(random);
        else if (which == 39) _handler.setGuardians(who, random);
        else if (which == 40) _handler.beginRecovery(who, random);
        else if (which == 41) _handler.finishRecovery(who, random);
        else _handler.pass(random);
    }

    function _progress() private view {
        _handler.sameProgress();
        _queue(QueueName.Urgent, _handler.urgentHead(), _handler.urgentLength());
        _queue(QueueName.Ordinary, _handler.ordinaryHead(), _handler.ordinaryLength());
        _overdue();
    }

    function _accounts() private view {
        IGovernance governance = _rollup.governance();
        vm.assertEq(_rollup.accountCount(), _handler.accountsInAll(), "accounts");
        for (uint24 account = 1; account <= _handler.accountsInAll(); ++account) {
            IRegistry.Account memory it = _rollup.accountAt(AccountIndex.wrap(account));
            vm.assertEq(uint256(it.standing), uint256(_handler.standing(account)), "standing");
            vm.assertEq(_rollup.registrantOf(AccountIndex.wrap(account)), _handler.registrant(account), "registrant");
            uint24 back = AccountIndex.unwrap(_rollup.accountOf(it.owner));
            vm.assertEq(back, it.standing == Standing.None ? 0 : account, "the owner's account");
            bool active = UnixTime.unwrap(governance.activeSince(AccountIndex.wrap(account))) != 0;
            vm.assertTrue(active == (it.role == Role.Hospital && it.standing == Standing.Admitted), "an active hospital");
        }
        for (uint256 i = 0; i < _handler.ownersInAll(); ++i) {
            (address owner, uint24 account) = _handler.ownerAt(i);
            vm.assertEq(AccountIndex.unwrap(_rollup.accountOf(owner)), account, "the owner's account");
            if (account != 0) vm.assertEq(_rollup.ownerOf(AccountIndex.wrap(account)), owner, "the account's owner");
        }
    }

    /// @dev Credits and bonds are there in full, and nothing but fees and gifts is beside them.
    function _money() private view {
        vm.assertEq(address(_rollup).balance, _handler.fees() + _handler.creditInAll(), "balance");
        vm.assertEq(address(_rollup.governance()).balance, _handler.bondInAll(), "bonds");
        uint256 credits;
        for (uint256 i = 0; i < _handler.payersInAll(); ++i) {
            address payer = _handler.payer(i);
            vm.assertEq(_rollup.creditOf(payer), _handler.credit(payer), "credit");
            credits += _rollup.creditOf(payer);
        }
        vm.assertEq(credits, _handler.creditInAll(), "all credits");
        vm.assertEq(address(0).balance, _handler.burnt(), "burnt");
    }

    /// @dev What waits is what was appended, when it was appended.
    function _entries() private view {
        for (uint256 i = _handler.urgentHead(); i < _handler.urgentLength(); ++i) {
            (uint256[4] memory words, uint256 time) = _handler.entry(true, i);
            _isQueued(QueueName.Urgent, i, words, time);
        }
        for (uint256 i = _handler.ordinaryHead(); i < _handler.ordinaryLength(); ++i) {
            (uint256[4] memory words, uint256 time) = _handler.entry(false, i);
            _isQueued(QueueName.Ordinary, i, words, time);
        }
    }

    function _isQueued(QueueName queue, uint256 index, uint256[4] memory words, uint256 time) private view {
        (bytes27 hash, uint256 appended) = _rollup.queueEntry(queue, QueueIndex.wrap(uint56(index)));
        vm.assertEq(bytes32(hash), keccak256(abi.encode(words)) >> 40 << 40, "the words of an entry");
        vm.assertEq(appended, time, "the time of an entry");
    }

    /// @dev Counted in the queue itself.
    function _oneOfAKindWaits() private view {
        (uint256 head, uint256 length) = (_handler.urgentHead(), _handler.urgentLength());
        uint256[] memory seen = new uint256[](_handler.accountsInAll() + 1);
        for (uint256 i = head; i < length; ++i) {
            (uint24 account, Handler.Kind kind,) = _handler.urgent(i);
            uint256 bit = 1 << uint256(kind);
            vm.assertEq(seen[account] & bit, 0, "two entries of a kind wait for an account");
            seen[account] |= bit;
        }
    }

    /// @dev No entry makes settlement revert, in any size, and overdue entries never wait for the sequencer.
    function _settlementGoesOn() private {
        uint256 start = vm.snapshotState();
        if (_handler.halted()) vm.warp(_handler.lastHaltUntil());
        for (uint256 size = 0; size < 3; ++size) {
            uint256 here = vm.snapshotState();
            _handler.settleDue(size);
            vm.revertToStateAndDelete(here);
        }
        uint256 before = vm.snapshotState();
        _handler.settleOverdue(0);
        vm.revertToStateAndDelete(before);
        vm.revertToStateAndDelete(start);
    }

    function _overdue() private view {
        (uint256 urgent, uint256 ordinary) = _rollup.overdueEntries();
        (uint256 modelUrgent, uint256 modelOrdinary) = _handler.overdue();
        vm.assertEq(urgent, modelUrgent, "overdue urgent entries");
        vm.assertEq(ordinary, modelOrdinary, "overdue registrations");
        (urgent, ordinary) = _rollup.dueEntries(UnixTime.wrap(uint40(block.timestamp)));
        (modelUrgent, modelOrdinary) = _handler.dueAt(block.timestamp);
        vm.assertEq(urgent, modelUrgent, "due urgent entries");
        vm.assertEq(ordinary, modelOrdinary, "due registrations");
    }

    function _queue(QueueName name, uint256 head, uint256 length) private view {
        vm.assertEq(QueueIndex.unwrap(_rollup.queueHead(name)), head, "head");
        vm.assertEq(QueueIndex.unwrap(_rollup.queueLength(name)), length, "length");
        vm.assertTrue(head <= length, "a head is beyond its queue");
    }
}
