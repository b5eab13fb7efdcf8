// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IGoverned} from "../../src/governance/IGoverned.sol";
import {IQueue} from "../../src/IQueue.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {AccountIndex, BatchNumber, QueueIndex, QueueName, UnixTime} from "../../src/Types.sol";
import {Governing} from "./Governing.sol";
import {hashed, vm} from "./Vm.sol";

/// @title How the sequencer's office goes to another account
contract SuccessionTest is Governing {
    uint256 private constant AGE = 30 days;
    AccountIndex private constant NOBODY = AccountIndex.wrap(0);

    address[] private _owners;
    AccountIndex[] private _accounts;

    /// @dev Five hospitals whose registrations are settled.
    function setUp() external {
        _deploy(_threeSizes());
        _readRsaKey();
        for (uint256 i = 0; i < 5; ++i) _newHospital();
        _expect(DONE, _settleAll(SEQUENCER), "settle");
    }

    function test_hospitals_vote_after_30_days() external {
        vm.warp(START + AGE - 1);
        _expect(IGovernance.VotesFrom.selector, _vote(0, 1), "a second too early");
        vm.warp(START + AGE);
        _expect(DONE, _vote(0, 1), "vote");
        vm.assertEq(AccountIndex.unwrap(governance.voteOf(_accounts[0])), AccountIndex.unwrap(_accounts[1]), "its vote");
        _tally(1, 1, 5);
    }

    function test_only_hospitals_vote_and_stand() external {
        (address patient, AccountIndex account) = _patient(1);
        vm.warp(START + AGE);
        bytes memory call = abi.encodeCall(IGovernance.vote, (_accounts[0]));
        address[4] memory others = [patient, STRANGER, SEQUENCER, REGISTRAR];
        for (uint256 i = 0; i < others.length; ++i) {
            _expect(IGovernance.NotActiveHospital.selector, _govern(others[i], 0, call), "vote");
            bytes4 got = _govern(others[i], 0, abi.encodeCall(IGovernance.install, ()));
            _expect(IGovernance.NotActiveHospital.selector, got, "install");
        }
        AccountIndex[2] memory candidates = [account, AccountIndex.wrap(1000)];
        for (uint256 i = 0; i < candidates.length; ++i) {
            bytes4 got = _govern(_owners[0], 0, abi.encodeCall(IGovernance.vote, (candidates[i])));
            _expect(IGovernance.NotActiveHospital.selector, got, "stand");
        }
    }

    /// @dev More than half, and not half. A candidate may vote for themselves.
    function test_more_than_half() external {
        for (uint256 hospitals = 5; hospitals <= 8; ++hospitals) {
            uint256 start = block.timestamp;
            uint256 here = vm.snapshotState();
            vm.warp(start + AGE);
            for (uint256 voters = 1; voters <= hospitals; ++voters) {
                _expect(DONE, _vote(voters - 1, 0), "vote");
                _tally(0, voters, hospitals);
                bool majority = 2 * voters > hospitals;
                // The notice begins with the vote that makes the majority.
                _isElected(majority ? 1 : 0, start + AGE + (hospitals / 2 + 1) * 1 hours + 2 days - 1 hours);
                uint256 before = vm.snapshotState();
                vm.warp(block.timestamp + 2 days);
                _expect(majority ? DONE : IGovernance.NotElected.selector, _install(0), "install");
                vm.revertToStateAndDelete(before);
                vm.warp(block.timestamp + 1 hours);
            }
            vm.revertToStateAndDelete(here);
            _newHospital();
        }
    }

    /// @dev Hospitals count 30 days after they became active, to the second: so new ones neither vote nor prevent an election.
    function test_hospitals_count_after_30_days() external {
        vm.warp(START + 10 days);
        _newHospital();
        _newHospital();
        vm.warp(START + AGE);
        for (uint256 i = 0; i < 3; ++i) _expect(DONE, _vote(i, 0), "vote");
        _isElected(1, START + AGE + 2 days);
        vm.warp(START + 10 days + AGE - 1);
        _tally(0, 3, 5);
        _count(0);
        _isElected(1, START + AGE + 2 days);
        vm.warp(START + 10 days + AGE);
        _tally(0, 3, 7);
        _expect(IGovernance.NotElected.selector, _install(0), "not counted again, and no majority all the same");
        _count(0);
        _isElected(0, 0);
        _expect(DONE, _vote(6, 0), "the fourth of seven");
        _isElected(1, block.timestamp + 2 days);
    }

    /// @dev Who lost the majority while nobody counted, and gets it back, waits two days again.
    function test_a_majority_that_was_lost_unnoticed() external {
        _elect(0);
        vm.warp(START + AGE + 1);
        for (uint256 i = 0; i < 2; ++i) _newHospital();
        vm.warp(START + 2 * AGE + 1);
        // Three of seven.
        _tally(0, 3, 7);
        _isElected(1, START + AGE + 2 days);
        _expect(DONE, _vote(3, 0), "the fourth");
        _isElected(1, block.timestamp + 2 days);
        _expect(IGovernance.NotElected.selector, _install(0), "the notice begins again");
    }

    /// @dev The same the other way round: hospitals that are no longer active count for 30 days more.
    function test_suspended_hospitals_count_for_30_days() external {
        vm.warp(START + AGE);
        _expect(DONE, _vote(0, 0), "vote");
        _expect(DONE, _vote(1, 0), "vote");
        _suspend(_accounts[3]);
        _suspend(_accounts[4]);
        vm.warp(START + 2 * AGE - 1);
        _count(0);
        _tally(0, 2, 5);
        _isElected(0, 0);
        vm.warp(START + 2 * AGE);
        _isElected(0, 0);
        _count(0);
        _tally(0, 2, 3);
        _isElected(1, block.timestamp + 2 days);
    }

    /// @dev Two days' notice. Then the new sequencer settles, with a proof as anybody, and the old one does not.
    function test_the_elected_takes_the_office() external {
        _elect(0);
        vm.warp(START + AGE + 2 days - 1);
        _expect(IGovernance.NotElected.selector, _install(0), "a second too early");
        _count(0);
        _isElected(1, START + AGE + 2 days);
        vm.warp(START + AGE + 2 days);
        _expect(IGovernance.NotElected.selector, _install(1), "another hospital");
        _expect(DONE, _settle(SEQUENCER, 0, 0, 0), "still the old one");
        _expect(ISettlement.NotSequencer.selector, _settle(_owners[0], 0, 0, 0), "not yet");
        uint256 fees = address(rollup).balance;
        vm.assertEq(fees, 5 * FEE, "fees");

        _expect(DONE, _install(0), "install");
        vm.assertEq(rollup.sequencer(), _owners[0], "the sequencer");
        vm.assertEq(governance.terms(), 2, "terms");
        vm.assertEq(UnixTime.unwrap(governance.termAt(1).from), block.timestamp, "since now");
        _isElected(0, 0);
        _expect(IGovernance.NotElected.selector, _install(0), "once");
        _expect(ISettlement.NotSequencer.selector, _settle(SEQUENCER, 0, 0, 0), "the old one");
        _expect(DONE, _settle(_owners[0], 0, 0, 0), "the new one");
        Draft memory draft = _draft(99);
        draft.d2 = _operations(2, 1);
        _expect(ISettlement.ProofRejected.selector, _send(_owners[0], 0, _settleCall(draft)), "without a proof");

        // The old one has the fees until now, and the new one those from now on.
        vm.assertEq(rollup.creditOf(SEQUENCER), fees, "credit");
        _patient(1);
        bytes memory collect = abi.encodeCall(ISettlement.collectFees, (payable(address(0xfee))));
        _expect(ISettlement.NotSequencer.selector, _send(SEQUENCER, 0, collect), "the old one");
        _expect(DONE, _send(_owners[0], 0, collect), "the new one");
        vm.assertEq(address(0xfee).balance, FEE, "one fee");
        bytes memory withdraw = abi.encodeCall(IQueue.withdrawCredit, (payable(address(0xc4ed17))));
        _expect(DONE, _send(SEQUENCER, 0, withdraw), "the credit");
        vm.assertEq(address(0xc4ed17).balance, fees, "the credit");
        vm.assertEq(address(rollup).balance, 0, "nothing is left");
    }

    /// @dev Entries that were appended before a vote, during the notice, and after the office was taken. None is lost or taken twice, whether the new
    /// sequencer takes the office before they are overdue or after, and in whatever batches they are settled.
    function test_urgent_entries_wait_through_a_vote(uint256 random) external {
        address[3] memory patients;
        for (uint160 i = 0; i < 3; ++i) (patients[i],) = _patient(i);
        _expect(DONE, _settleAll(SEQUENCER), "their registrations");
        _elect(0);
        uint256 taken = START + AGE + 2 days;
        vm.warp(taken - random % 8 hours);
        _revokeAll(patients[0]);
        vm.warp(taken - hashed(random, 1) % (taken - block.timestamp + 1));
        _revokeAll(patients[1]);
        vm.warp(taken);
        (uint256 late,) = rollup.overdueEntries();
        // What the old sequencer has ready, with operations.
        Draft memory ready = _revocations(0, 2);
        uint256 here = vm.snapshotState();
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(ready)), "before");
        vm.revertToStateAndDelete(here);

        bytes32 waiting = _progress(2);
        _expect(DONE, _install(0), "install");
        vm.assertEq(_progress(2), waiting, "what waits is the same");
        // The old one has no more than any stranger: overdue entries, without operations.
        bytes4 refused = late == 0 ? ISettlement.NotSequencer.selector : ISettlement.OperationsBySequencerOnly.selector;
        _expect(refused, _send(SEQUENCER, 0, _settleCall(ready)), "the old one");
        vm.assertEq(_progress(2), waiting, "what waits is the same");
        _revokeAll(patients[2]);
        waiting = _progress(3);

        here = vm.snapshotState();
        _expect(DONE, _settle(_owners[0], 3, 0, 2), "all at once");
        _areSettled(3);
        vm.revertToState(here);
        vm.warp(taken + 5 hours + 1);
        for (uint256 i = 0; i < 3; ++i) {
            _expect(IQueue.OverdueEntriesOmitted.selector, _settle(_owners[0], i, 0, 2), "some are left out");
        }
        vm.assertEq(_progress(3), waiting, "all wait");
        _expect(DONE, _settle(_owners[0], 3, 0, 2), "what is due");
        _areSettled(3);
        vm.revertToStateAndDelete(here);
        // A proof is not bound to who sends it, so that of the old one is good, once.
        _expect(DONE, _send(_owners[0], 0, _settleCall(ready)), "the proof that was ready");
        _areSettled(2);
        _expect(ISettlement.StaleBatch.selector, _send(_owners[0], 0, _settleCall(ready)), "once");
        _expect(IQueue.EntriesNotQueued.selector, _send(_owners[0], 0, _settleCall(_revocations(0, 2))), "twice");
        _expect(IQueue.EntryMismatch.selector, _send(_owners[0], 0, _settleCall(_revocations(1, 1))), "one of them twice");
        _expect(DONE, _send(_owners[0], 0, _settleCall(_revocations(2, 1))), "the last one");
        _areSettled(3);
    }

    function test_votes_move() external {
        _elect(0);
        vm.warp(START + AGE + 1 days);
        _expect(DONE, _vote(2, 1), "to another candidate");
        _tally(0, 2, 5);
        _tally(1, 1, 5);
        _isElected(0, 0);
        _expect(DONE, _vote(2, 0), "and back");
        // The notice begins again.
        _isElected(1, START + AGE + 3 days);
        for (uint256 i = 0; i < 3; ++i) _expect(DONE, _vote(i, 1), "all to another candidate");
        _isElected(2, START + AGE + 3 days);
        _expect(DONE, _vote(2, 1), "the same vote again");
        _tally(1, 3, 5);
        vm.warp(START + AGE + 3 days);
        _expect(IGovernance.NotElected.selector, _install(0), "who lost it");
        _expect(DONE, _govern(_owners[2], 0, abi.encodeCall(IGovernance.vote, (NOBODY))), "for nobody");
        _tally(1, 2, 5);
        _expect(IGovernance.NotElected.selector, _install(1), "the majority is lost");
    }

    function test_counting_changes_nothing_by_itself() external {
        vm.warp(START + AGE);
        _expect(DONE, _vote(0, 0), "vote");
        for (uint256 i = 0; i < 5; ++i) _count(i);
        _govern(STRANGER, 0, abi.encodeCall(IGovernance.count, (NOBODY)));
        _govern(STRANGER, 0, abi.encodeCall(IGovernance.count, (AccountIndex.wrap(1000))));
        _isElected(0, 0);
        _elect(0);
        vm.warp(START + AGE + 1 days);
        for (uint256 i = 0; i < 5; ++i) _count(i);
        _govern(STRANGER, 0, abi.encodeCall(IGovernance.count, (NOBODY)));
        _isElected(1, START + AGE + 2 days);
    }

    /// @dev Suspended and closed hospitals lose their vote. Who is reinstated waits 30 days again.
    function test_a_suspension_takes_the_vote() external {
        _elect(0);
        vm.warp(START + AGE + 1);
        _suspend(_accounts[1]);
        _tally(0, 2, 5);
        _isElected(0, 0);
        vm.assertEq(UnixTime.unwrap(governance.activeSince(_accounts[1])), 0, "not active");
        _expect(IGovernance.NotActiveHospital.selector, _vote(1, 0), "no vote");
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        vm.warp(START + AGE + 2);
        _reinstate(_accounts[1]);
        _tally(0, 2, 5);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        vm.warp(START + 2 * AGE + 1);
        _expect(IGovernance.VotesFrom.selector, _vote(1, 0), "a second too early");
        vm.warp(START + 2 * AGE + 2);
        _expect(DONE, _vote(1, 0), "again");
        _isElected(1, block.timestamp + 2 days);
        _close(_owners[2]);
        _tally(0, 2, 5);
        _isElected(0, 0);
        _expect(IGovernance.NotActiveHospital.selector, _vote(2, 0), "closed");
        // A suspended hospital that closes is taken away once.
        _suspend(_accounts[3]);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        _close(_owners[3]);
        vm.warp(block.timestamp + AGE);
        _tally(0, 2, 3);
    }

    /// @dev A candidate who is suspended before they take the office has to be elected again.
    function test_a_suspended_candidate() external {
        _elect(0);
        vm.warp(START + AGE + 2 days);
        _suspend(_accounts[0]);
        _isElected(0, 0);
        _expect(IGovernance.NotActiveHospital.selector, _install(0), "install");
        _expect(IGovernance.NotActiveHospital.selector, _vote(3, 0), "no candidate");
        _count(0);
        _isElected(0, 0);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        _reinstate(_accounts[0]);
        _expect(IGovernance.NotElected.selector, _install(0), "it is not counted yet");
        _count(0);
        // The others' two votes are not enough: the candidate lost their own.
        _isElected(0, 0);
        _expect(DONE, _vote(3, 0), "the third vote");
        _isElected(1, block.timestamp + 2 days);
        _expect(IGovernance.NotElected.selector, _install(0), "the notice begins again");
    }

    function test_an_offer() external {
        bytes4 refused = IGovernance.NotOffered.selector;
        _expect(refused, _govern(STRANGER, 0, abi.encodeCall(IGovernance.offer, (STRANGER))), "not the sequencer");
        _expect(refused, _accept(STRANGER, SEQUENCER), "nothing is offered");
        _expect(DONE, _offer(SEQUENCER, STRANGER), "offer");
        _expect(refused, _accept(REGISTRAR, SEQUENCER), "to somebody else");
        _expect(DONE, _offer(SEQUENCER, address(0)), "take it back");
        _expect(refused, _accept(STRANGER, SEQUENCER), "taken back");
        _expect(DONE, _offer(SEQUENCER, REGISTRAR), "offer");
        _expect(DONE, _offer(SEQUENCER, STRANGER), "to another one");
        _expect(refused, _accept(REGISTRAR, SEQUENCER), "the one before");
        _expect(DONE, _accept(STRANGER, SEQUENCER), "accept");
        vm.assertEq(rollup.sequencer(), STRANGER, "the sequencer");
        vm.assertEq(rollup.creditOf(SEQUENCER), 5 * FEE, "the fees");
        _expect(refused, _accept(STRANGER, SEQUENCER), "once");
        _expect(ISettlement.NotSequencer.selector, _settle(SEQUENCER, 0, 0, 0), "the old one");
        _expect(DONE, _settle(STRANGER, 0, 0, 0), "the new one");
        _expect(refused, _offer(SEQUENCER, SEQUENCER), "not the sequencer any more");
    }

    /// @dev An offer ends with the term in which it was made, also if its maker comes back.
    function test_an_old_offer_is_void() external {
        _expect(DONE, _offer(SEQUENCER, STRANGER), "offer");
        _elect(0);
        vm.warp(START + AGE + 2 days);
        _expect(DONE, _install(0), "install");
        _expect(IGovernance.NotOffered.selector, _accept(STRANGER, SEQUENCER), "replaced");
        _expect(DONE, _offer(_owners[0], SEQUENCER), "back");
        _expect(DONE, _accept(SEQUENCER, _owners[0]), "back");
        vm.assertEq(governance.offerOf(SEQUENCER), address(0), "no offer");
        _expect(IGovernance.NotOffered.selector, _accept(STRANGER, SEQUENCER), "an offer of an earlier term");
        // The same if the timelock replaces it.
        _expect(DONE, _offer(SEQUENCER, STRANGER), "offer");
        _expect(DONE, _change(abi.encodeCall(IGovernance.appoint, (_owners[1]))), "appoint");
        _expect(DONE, _change(abi.encodeCall(IGovernance.appoint, (SEQUENCER))), "appoint");
        _expect(IGovernance.NotOffered.selector, _accept(STRANGER, SEQUENCER), "an offer of an earlier term");
    }

    function test_registrars_appoint_through_the_timelock() external {
        bytes4 nobody = _change(abi.encodeCall(IGovernance.appoint, (address(0))));
        _expect(IGoverned.InvalidParameter.selector, nobody, "nobody");
        _expect(DONE, _change(abi.encodeCall(IGovernance.appoint, (STRANGER))), "appoint");
        vm.assertEq(rollup.sequencer(), STRANGER, "the sequencer");
        vm.assertEq(rollup.creditOf(SEQUENCER), 5 * FEE, "the fees");
        _expect(DONE, _settle(STRANGER, 0, 0, 0), "the new one");
        _expect(ISettlement.NotSequencer.selector, _settle(SEQUENCER, 0, 0, 0), "the old one");
    }

    /// @dev A halt stops settlement, and not succession.
    function test_succession_during_a_halt() external {
        _elect(0);
        vm.warp(START + AGE + 2 days);
        _halt();
        _expect(DONE, _install(0), "install");
        _expect(IGoverned.SettlementHalted.selector, _settle(_owners[0], 0, 0, 0), "halted");
        vm.warp(START + AGE + 2 days + HALT_TIME);
        _expect(DONE, _settle(_owners[0], 0, 0, 0), "the new one");
    }

    /// @dev A batch of these urgent entries and of operations, whose proof is right.
    function _revocations(uint256 first, uint256 count) private returns (Draft memory draft) {
        draft = _draft(first + count);
        draft.urgent = uint16(count);
        draft.d1 = new uint256[](4 * count);
        for (uint256 i = 0; i < draft.d1.length; ++i) draft.d1[i] = urgentWords[first + i / 4][i % 4];
        draft.d2 = _operations(2, 1);
        _announce(draft, BatchNumber.unwrap(rollup.batchCount()) + 1);
    }

    /// @dev The root, the number of batches, and this many entries of the urgent queue.
    function _progress(uint256 entries) private view returns (bytes32 hash) {
        QueueIndex head = rollup.queueHead(QueueName.Urgent);
        QueueIndex length = rollup.queueLength(QueueName.Urgent);
        hash = keccak256(abi.encode(rollup.stateRoot(), rollup.batchCount(), head, length));
        for (uint56 i = 0; i < entries; ++i) {
            (bytes27 words, uint256 time) = rollup.queueEntry(QueueName.Urgent, QueueIndex.wrap(i));
            hash = keccak256(abi.encode(hash, words, time));
        }
    }

    /// @dev So many of three urgent entries.
    function _areSettled(uint256 count) private view {
        vm.assertEq(QueueIndex.unwrap(rollup.queueHead(QueueName.Urgent)), count, "the head");
        vm.assertEq(QueueIndex.unwrap(rollup.queueLength(QueueName.Urgent)), 3, "the length");
    }

    function _newHospital() private {
        (address owner, AccountIndex account) = _hospital(uint160(_owners.length));
        _owners.push(owner);
        _accounts.push(account);
    }

    /// @dev Three of five vote for this one, 30 days after the beginning.
    function _elect(uint256 candidate) private {
        vm.warp(START + AGE);
        for (uint256 i = 0; i < 3; ++i) _expect(DONE, _vote(i, candidate), "vote");
        _isElected(candidate + 1, START + AGE + 2 days);
    }

    function _vote(uint256 hospital, uint256 candidate) private returns (bytes4) {
        return _govern(_owners[hospital], 0, abi.encodeCall(IGovernance.vote, (_accounts[candidate])));
    }

    function _count(uint256 candidate) private {
        bytes memory call = abi.encodeCall(IGovernance.count, (_accounts[candidate]));
        _expect(DONE, _govern(STRANGER, 0, call), "anyone counts");
    }

    function _install(uint256 hospital) private returns (bytes4) {
        return _govern(_owners[hospital], 0, abi.encodeCall(IGovernance.install, ()));
    }

    function _offer(address from, address to) private returns (bytes4) {
        return _govern(from, 0, abi.encodeCall(IGovernance.offer, (to)));
    }

    function _accept(address to, address from) private returns (bytes4) {
        return _govern(to, 0, abi.encodeCall(IGovernance.accept, (from)));
    }

    function _tally(uint256 candidate, uint256 votes, uint256 hospitals) private view {
        (uint256 votes_, uint256 hospitals_) = governance.votes(_accounts[candidate]);
        vm.assertEq(votes_, votes, "votes");
        vm.assertEq(hospitals_, hospitals, "hospitals that count");
    }

    /// @dev The account that is elected, or 0, and when it can take the office.
    function _isElected(uint256 account, uint256 from) private view {
        (AccountIndex candidate, UnixTime from_) = governance.election();
        vm.assertEq(AccountIndex.unwrap(candidate), account, "the elected");
        if (account != 0) vm.assertEq(UnixTime.unwrap(from_), from, "the end of the notice");
    }
}
