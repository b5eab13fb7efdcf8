// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {AccountIndex, UnixTime} from "../../src/Types.sol";
import {Officials} from "./Officials.sol";
import {hashed, vm} from "./Vm.sol";

/// @title What hospitals vote, and what registrars propose, in random order
/// @notice Who was active when is noted as it happens, and votes are counted one by one, where the contracts keep sums.
abstract contract Electors is Officials {
    uint256 private constant VOTER_AGE = 30 days;
    uint256 private constant NOTICE = 2 days;
    uint256 private constant EXECUTION_TIME = 30 days;

    struct Activity {
        uint256 time;
        bool begins;
    }

    struct Proposal {
        bytes call;
        uint256 ripeAt;
        /// It was executed or withdrawn.
        bool gone;
        /// The sequencer that it appoints, or nobody and the fee that it sets.
        address sequencer;
        uint256 fee;
    }

    Activity[] private _activities;
    mapping(uint24 hospital => uint256) private _activeSince;
    mapping(uint24 hospital => uint24) private _votes;
    uint24 private _elected;
    uint256 private _electedFrom;
    Proposal[] private _proposals;

    function vote(uint256 who, uint256 random) external {
        Owner storage owner = who % 8 == 0 ? owners[hashed(who, 1) % ACTIVE] : owners[_hospital(who)];
        uint24 hospital = owner.account;
        uint256 from = _activeSince[hospital] + VOTER_AGE;
        if (_activeSince[hospital] != 0 && block.timestamp < from && random % 2 == 0) vm.warp(from - hashed(random, 1) % 2);
        uint24 candidate = _candidate(random);
        bytes4 expected = candidate != 0 && _activeSince[candidate] == 0 ? IGovernance.NotActiveHospital.selector : DONE;
        if (block.timestamp < from) expected = IGovernance.VotesFrom.selector;
        if (_activeSince[hospital] == 0) expected = IGovernance.NotActiveHospital.selector;
        bytes memory call = abi.encodeCall(IGovernance.vote, (AccountIndex.wrap(candidate)));
        if (_governs(expected, owner.addr, 0, call)) _moveVote(hospital, candidate);
    }

    function count(uint256 random) external {
        uint24 candidate = _candidate(random);
        _governs(DONE, STRANGER, 0, abi.encodeCall(IGovernance.count, (AccountIndex.wrap(candidate))));
        _count(candidate);
    }

    /// @dev Mostly the elected, and sometimes in the last second of the notice, or in the second after it.
    function install(uint256 random) external {
        uint256 who = _hospital(random);
        for (uint256 i = 0; i < HOSPITALS && random % 8 != 0 && _elected != 0; ++i) {
            if (owners[_hospital(i)].account == _elected) who = _hospital(i);
        }
        if (_elected != 0 && block.timestamp < _electedFrom && random % 4 != 1) vm.warp(_electedFrom - hashed(random, 1) % 2);
        uint24 hospital = owners[who].account;
        bool elected = hospital == _elected && _hasMajority(hospital) && block.timestamp >= _electedFrom;
        bytes4 expected = _activeSince[hospital] == 0
            ? IGovernance.NotActiveHospital.selector
            : elected ? DONE : IGovernance.NotElected.selector;
        if (!_governs(expected, owners[who].addr, 0, abi.encodeCall(IGovernance.install, ()))) return;
        _elected = 0;
        _takesOffice(owners[who].addr);
    }

    /// @dev Another registration fee, or another sequencer.
    function propose(uint256 random) external {
        Proposal storage it = _proposals.push();
        if (random % 3 == 0) it.sequencer = _official(hashed(random, 1));
        else it.fee = random % 3 == 1 ? FEE : hashed(random, 2) % 0.02 ether;
        it.call = it.sequencer != address(0)
            ? abi.encodeCall(IGovernance.appoint, (it.sequencer))
            : abi.encodeCall(IGovernance.changeRegistrationFee, (it.fee));
        uint256 delay = DELAY + hashed(random, 3) % 2 days;
        it.ripeAt = block.timestamp + delay;
        bool allowed = random % 8 != 1;
        bytes32 salt = bytes32(_proposals.length - 1);
        bytes memory call = abi.encodeCall(governance.schedule, (address(governance), 0, it.call, 0, salt, delay));
        if (!_governs(allowed ? DONE : UNAUTHORIZED, allowed ? REGISTRAR : STRANGER, 0, call)) _proposals.pop();
    }

    /// @dev Anyone, between 14 and 44 days after the proposal.
    function execute(uint256 random) external {
        if (_proposals.length == 0) return;
        uint256 which = _recent(random);
        Proposal storage it = _proposals[which];
        uint256 ripeAt = it.ripeAt;
        uint256 kind = random % 16;
        if (block.timestamp < ripeAt && kind < 12) vm.warp(ripeAt - (kind == 0 ? 1 : 0));
        if (kind == 1 && block.timestamp <= ripeAt + EXECUTION_TIME) vm.warp(ripeAt + EXECUTION_TIME + hashed(random, 1) % 2);
        bytes4 expected =
            it.gone || block.timestamp < ripeAt || block.timestamp > ripeAt + EXECUTION_TIME ? WRONG_STATE : DONE;
        bytes memory call =
            abi.encodeCall(governance.execute, (address(governance), 0, it.call, 0, bytes32(which)));
        if (!_governs(expected, STRANGER, 0, call)) return;
        it.gone = true;
        ++done[bytes4(it.call)];
        if (it.sequencer != address(0)) _takesOffice(it.sequencer);
        else registrationFee = it.fee;
    }

    function withdrawProposal(uint256 random) external {
        if (_proposals.length == 0) return;
        uint256 which = _recent(random);
        Proposal storage it = _proposals[which];
        bool late = block.timestamp > it.ripeAt + EXECUTION_TIME;
        bytes4 expected = it.gone || late ? WRONG_STATE : DONE;
        if (random % 4 == 0) expected = IGovernance.NotProposer.selector;
        bytes32 id = governance.hashOperation(address(governance), 0, it.call, 0, bytes32(which));
        bytes memory call = abi.encodeCall(IGovernance.withdrawProposal, (id));
        if (_governs(expected, random % 4 == 0 ? STRANGER : REGISTRAR, 0, call)) it.gone = true;
    }

    /// @dev The governance holds these votes, and the rollup has this fee.
    function sameVotes() external view {
        vm.assertEq(rollup.registrationFee(), registrationFee, "the registration fee");
        (AccountIndex candidate, UnixTime from) = governance.election();
        vm.assertEq(AccountIndex.unwrap(candidate), _elected, "the elected");
        if (_elected != 0) vm.assertEq(UnixTime.unwrap(from), _electedFrom, "the end of the notice");
        for (uint256 i = 0; i < HOSPITALS; ++i) {
            uint24 hospital = owners[_hospital(i)].account;
            if (hospital == 0) continue;
            AccountIndex account = AccountIndex.wrap(hospital);
            vm.assertEq(AccountIndex.unwrap(governance.voteOf(account)), _votes[hospital], "a vote");
            vm.assertEq(UnixTime.unwrap(governance.activeSince(account)), _activeSince[hospital], "active since");
            (uint256 votes, uint256 hospitals) = governance.votes(account);
            vm.assertEq(votes, _tally(hospital), "votes");
            vm.assertEq(hospitals, _voters(), "hospitals that count");
        }
    }

    /// @dev A hospital was admitted or reinstated, or is suspended or closed.
    function _hospitalChanged(uint24 hospital, bool active) internal {
        _activities.push(Activity(block.timestamp, active));
        _activeSince[hospital] = active ? block.timestamp : 0;
        if (!active) _moveVote(hospital, 0);
    }

    function _moveVote(uint24 hospital, uint24 candidate) private {
        _count(_elected);
        uint24 before = _votes[hospital];
        _votes[hospital] = candidate;
        if (before != candidate) _count(before);
        _count(candidate);
        if (_activeSince[hospital] == 0) _count(hospital);
    }

    function _count(uint24 candidate) private {
        if (candidate == 0) return;
        bool majority = _hasMajority(candidate);
        if (majority && candidate != _elected) (_elected, _electedFrom) = (candidate, block.timestamp + NOTICE);
        else if (!majority && candidate == _elected) _elected = 0;
    }

    function _hasMajority(uint24 candidate) private view returns (bool) {
        return _activeSince[candidate] != 0 && 2 * _tally(candidate) > _voters();
    }

    function _tally(uint24 candidate) private view returns (uint256 votes) {
        for (uint24 i = 1; i <= accounts.length; ++i) if (_votes[i] == candidate) ++votes;
    }

    /// @dev The hospitals that were active 30 days ago.
    function _voters() private view returns (uint256 voters) {
        for (uint256 i = 0; i < _activities.length; ++i) {
            if (_activities[i].time > block.timestamp - VOTER_AGE) break;
            if (_activities[i].begins) ++voters;
            else --voters;
        }
    }

    /// @dev A hospital in most cases. Sometimes nobody, and sometimes an account that is not a hospital.
    function _candidate(uint256 random) private view returns (uint24) {
        if (random % 16 == 1) return 0;
        if (random % 16 == 2) return uint24(hashed(random, 2) % (accounts.length + 2));
        uint24 hospital = owners[_hospital(hashed(random, 3))].account;
        // Seldom one that is not active, or no candidate would get enough votes.
        for (uint256 i = 0; i < HOSPITALS && random % 4 != 0 && _activeSince[hospital] == 0; ++i) {
            hospital = owners[_hospital(i)].account;
        }
        return hospital;
    }

    function _recent(uint256 random) private view returns (uint256) {
        uint256 back = hashed(random, 4) % 4;
        return back < _proposals.length ? _proposals.length - 1 - back : 0;
    }
}
