// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IGoverned} from "../../src/governance/IGoverned.sol";
import {IQueue} from "../../src/IQueue.sol";
import {QueueIndex} from "../../src/Types.sol";
import {Settler} from "./Settler.sol";
import {hashed, vm} from "./Vm.sol";

/// @title What guardians, sequencers and owners of late entries do with the governance, in random order
/// @notice Whose bond answers for a term is noted for each term, where the contracts keep bonds in purses.
abstract contract Officials is Settler {
    // The first owners act, those in the middle are patients who mostly flood the urgent queue, and the last ones register nothing and get
    // accounts of others. Of the first and of the last, two each are for patients, doctors and hospitals.
    uint256 internal constant ACTIVE = 6;
    uint256 internal constant PASSIVE = 46;
    uint256 internal constant RESERVE = 6;
    /// How many owners are for hospitals.
    uint256 internal constant HOSPITALS = 4;
    /// How many keys that are no owners hand the office over to each other, and to hospitals.
    uint256 internal constant KEYS = 4;
    uint256 internal constant OFFICIALS = KEYS + HOSPITALS;
    uint256 private constant GUARDIANS = 3;

    struct Term {
        address sequencer;
        uint256 from;
        /// Whose bond answers for it.
        address liable;
    }

    Term[] private _terms;
    mapping(address => address) private _offers;
    mapping(address => uint256) private _left;
    mapping(address => uint256) public bond;
    uint256 public bondInAll;
    mapping(uint256 index => bool) private _paid;
    /// When a guardian agreed: to a halt (0), to its end (1).
    uint256[GUARDIANS][2] private _agreed;
    mapping(bytes4 selector => uint256) public done;
    uint256 public tookOffice;
    uint256 public forfeits;

    function halt(uint256 random) external {
        uint256 since = halts.length == 0 ? 0 : halts[halts.length - 1].until;
        bool soon = halts.length != 0 && block.timestamp < halts[halts.length - 1].from + 180 days;
        // A halt is seldom possible, so sometimes half a year passes.
        if (soon && !halted() && random % 8 == 0) vm.warp(halts[halts.length - 1].from + 180 days - hashed(random, 1) % 2);
        soon = halts.length != 0 && block.timestamp < halts[halts.length - 1].from + 180 days;
        for (uint256 i = 0; i < THRESHOLD; ++i) {
            uint256 guardian = (random + i) % GUARDIANS;
            bytes memory call = abi.encodeCall(IGovernance.halt, ());
            if (!_agrees(0, guardian, since, soon ? IGoverned.HaltedBefore.selector : DONE, call)) continue;
            halts.push(Halt(block.timestamp, block.timestamp + 21 days));
            ++done[IGoverned.halt.selector];
            return;
        }
    }

    function resume(uint256 random) external {
        uint256 since = halts.length == 0 ? 0 : halts[halts.length - 1].from;
        bytes4 refusal = halted() ? DONE : IGoverned.NotHalted.selector;
        // Seldom both, or no halt would last.
        for (uint256 i = 0; i < (random % 4 == 0 ? 2 : 1); ++i) {
            uint256 guardian = (random + i) % GUARDIANS;
            if (!_agrees(1, guardian, since, refusal, abi.encodeCall(IGovernance.resume, ()))) continue;
            halts[halts.length - 1].until = block.timestamp;
            ++done[IGoverned.resume.selector];
            return;
        }
    }

    function offer(uint256 random) external {
        address from = random % 4 == 0 ? _official(hashed(random, 1)) : office;
        address to = random % 16 == 1 ? address(0) : _official(hashed(random, 2));
        bytes4 expected = from == office ? DONE : IGovernance.NotOffered.selector;
        if (_governs(expected, from, 0, abi.encodeCall(IGovernance.offer, (to)))) _offers[from] = to;
    }

    function accept(uint256 random) external {
        address from = random % 4 == 0 ? _official(hashed(random, 1)) : office;
        address to = random % 4 == 1 || _offers[from] == address(0) ? _official(hashed(random, 2)) : _offers[from];
        bytes4 expected = from == office && _offers[from] == to ? DONE : IGovernance.NotOffered.selector;
        if (!_governs(expected, to, 0, abi.encodeCall(IGovernance.accept, (from)))) return;
        if (from != to) (bond[from], bond[to]) = (0, bond[from] + bond[to]);
        for (uint256 i = 0; i < _terms.length; ++i) if (_terms[i].liable == from) _terms[i].liable = to;
        _takesOffice(to);
    }

    function depositBond(uint256 random) external {
        address to = random % 2 == 0 ? office : _official(hashed(random, 1));
        uint256 value = hashed(random, 2) % 0.3 ether;
        _governs(DONE, STRANGER, value, abi.encodeCall(IGovernance.depositBond, (to)));
        bond[to] += value;
        bondInAll += value;
    }

    function withdrawBond(uint256 random) external {
        address from = _official(random);
        // It takes no ether.
        address to = random % 8 < 2 ? sizes[0].verifier : address(0xb0bd);
        bytes4 expected = to == address(0xb0bd) ? DONE : IQueue.TransferFailed.selector;
        if (bond[from] == 0) expected = IGovernance.NoBond.selector;
        if (from == office || block.timestamp < _left[from] + 30 days) expected = IGovernance.BondLocked.selector;
        uint256 before = to.balance;
        if (!_governs(expected, from, 0, abi.encodeCall(IGovernance.withdrawBond, (payable(to))))) return;
        vm.assertEq(to.balance - before, bond[from], "the bond is paid");
        bondInAll -= bond[from];
        bond[from] = 0;
    }

    function claimForfeit(uint256 random) external {
        if (lateEntries.length == 0) return;
        LateEntry storage it = lateEntries[hashed(random, 1) % lateEntries.length];
        Item storage item = urgent[it.index];
        uint256 end = _end(item.time, DEADLINE);
        uint256 term;
        while (term + 1 < _terms.length && _terms[term + 1].from <= end) ++term;
        address liable = _terms[term].liable;
        address owner = owners[accounts[item.account - 1].owner].addr;
        uint256 kind = random % 16;
        bool wrong = _paid[it.index] || block.timestamp > item.time + 150 days || kind < 4;
        bytes4 expected = wrong ? IGovernance.NoForfeit.selector : bond[liable] == 0 ? IGovernance.NoBond.selector : DONE;
        uint256[4] memory words = item.words;
        if (kind == 0) words[3] ^= 1;
        bytes memory call = abi.encodeCall(
            IGovernance.claimForfeit,
            (
                kind == 1 ? it.late + 1 : it.late,
                QueueIndex.wrap(uint56(it.index)),
                words,
                kind == 2 ? term + 1 : term,
                payable(address(0xf0f))
            )
        );
        uint256 before = address(0xf0f).balance;
        if (!_governs(expected, kind == 3 ? STRANGER : owner, 0, call)) return;
        uint256 amount = bond[liable] < FORFEIT ? bond[liable] : FORFEIT;
        vm.assertEq(address(0xf0f).balance - before, amount, "the forfeit is paid");
        bond[liable] -= amount;
        bondInAll -= amount;
        _paid[it.index] = true;
        ++forfeits;
    }

    /// @dev The governance holds what the model holds.
    function sameOffices() external view {
        vm.assertEq(rollup.sequencer(), office, "sequencer");
        vm.assertEq(governance.terms(), _terms.length, "terms");
        vm.assertEq(governance.termAt(_terms.length - 1).sequencer, office, "the last term");
        vm.assertEq(address(governance).balance, bondInAll, "bonds");
        vm.assertEq(governance.bonds(), bondInAll, "all bonds");
        uint256 sum;
        for (uint256 i = 0; i < OFFICIALS; ++i) {
            address official = _official(i);
            vm.assertEq(governance.bondOf(official), bond[official], "a bond");
            vm.assertEq(governance.offerOf(official), _offers[official], "an offer");
            sum += bond[official];
        }
        vm.assertEq(sum, bondInAll, "the sum of bonds");
    }

    function _key(uint256 i) internal pure returns (address) {
        return i == 0 ? SEQUENCER : address(uint160(SEQUENCER) + uint160(i));
    }

    /// @dev The position of an owner who is for hospitals.
    function _hospital(uint256 i) internal pure returns (uint256) {
        return i % 4 < 2 ? 4 + i % 4 : ACTIVE + PASSIVE + 2 + i % 4;
    }

    function _official(uint256 i) internal view returns (address) {
        i %= OFFICIALS;
        return i < KEYS ? _key(i) : owners[_hospital(i - KEYS)].addr;
    }

    /// @dev The next term begins. The sequencer before has the fees until now.
    function _takesOffice(address to) internal {
        if (fees != 0) (credit[office], creditInAll, fees) = (credit[office] + fees, creditInAll + fees, 0);
        (_left[office], _offers[office], office) = (block.timestamp, address(0), to);
        _beginTerm(to);
        ++tookOffice;
    }

    function _beginTerm(address sequencer) internal {
        _terms.push(Term(sequencer, block.timestamp, sequencer));
    }

    /// @dev A guardian agrees to a halt (0) or to its end (1). Returns whether it happens.
    function _agrees(uint256 action, uint256 guardian, uint256 since, bytes4 refusal, bytes memory call)
        private
        returns (bool)
    {
        uint256 count = 1;
        for (uint256 i = 0; i < GUARDIANS; ++i) {
            uint256 time = _agreed[action][i];
            if (i != guardian && time != 0 && time + 3 days >= block.timestamp && time > since) ++count;
        }
        // Whoever agrees while the halt lasts, or in the second of its end, agrees to nothing.
        if (block.timestamp <= since) count = 0;
        bool enough = count >= THRESHOLD;
        if (!_governs(enough ? refusal : DONE, _guardian(guardian), 0, call)) return false;
        _agreed[action][guardian] = block.timestamp;
        if (enough) delete _agreed[action];
        return enough;
    }

    function _governs(bytes4 expected, address from, uint256 value, bytes memory call) internal returns (bool) {
        _expect(expected, _govern(from, value, call), "the outcome of a call of the governance");
        if (expected == DONE) ++done[bytes4(call)];
        return expected == DONE;
    }

    /// @dev Makes a call of the rollup, and demands the outcome that is expected.
    function _does(bytes4 expected, address from, uint256 value, bytes memory call) internal returns (bool) {
        if (from.balance < value + 1 ether) vm.deal(from, 1000 ether);
        _expect(expected, _send(from, value, call), "the outcome of a call");
        if (expected == DONE) ++done[bytes4(call)];
        return expected == DONE;
    }
}
