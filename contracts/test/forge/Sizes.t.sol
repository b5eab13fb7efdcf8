// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../../src/governance/IGovernance.sol";
import {IGoverned} from "../../src/governance/IGoverned.sol";
import {IQueue} from "../../src/IQueue.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {QueueIndex, QueueName} from "../../src/Types.sol";
import {Governing} from "./Governing.sol";
import {between, least, vm} from "./Vm.sol";

/// @title Other sizes, verifiers and circuit versions, through the timelock
contract SizesTest is Governing {
    uint256 private _patients;

    function setUp() external {
        _deploy(_threeSizes());
    }

    function test_sizes_are_replaced() external {
        vm.assertEq(rollup.sizesRevision(), 0, "those of the deployment");
        ISettlement.Size[] memory other = _sizes([uint48(50), 7], 2);
        for (uint64 revision = 1; revision <= 3; ++revision) {
            uint64 version = 1 + revision % 2;
            _expect(DONE, _change(abi.encodeCall(IGovernance.changeSizes, (version, other))), "change");
            vm.assertEq(rollup.sizesRevision(), revision, "revision");
            vm.assertEq(rollup.circuitVersion(), version, "circuit version");
            vm.assertEq(keccak256(abi.encode(rollup.sizes())), keccak256(abi.encode(other)), "the sizes");
        }
    }

    /// @dev What the old verifier accepts, also a batch that was proved before, is not accepted any more.
    function test_the_old_verifier_no_longer_counts() external {
        Draft memory draft = _draft(1);
        draft.d2 = _operations(3, 1);
        address old = sizes[0].verifier;
        // The same slots, so that nothing but the verifiers differs.
        ISettlement.Size[] memory other = _sizes([uint48(0), 0], 3);
        for (uint256 i = 0; i < 3; ++i) (other[i].maxL1, other[i].maxL2) = (sizes[i].maxL1, sizes[i].maxL2);
        bytes memory call = abi.encodeCall(IGovernance.changeSizes, (CIRCUIT_VERSION, other));
        _expect(DONE, _schedule(REGISTRAR, call, 1), "propose");
        vm.warp(START + DELAY);
        draft.time = uint40(block.timestamp);
        _announce(draft, 1);
        uint256 here = vm.snapshotState();
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "before");
        vm.revertToStateAndDelete(here);
        _expect(DONE, _execute(call, 1), "change");
        (bool done,) = old.staticcall(abi.encodePacked(_publicInputs(draft, 1), draft.proof));
        vm.assertTrue(done, "the old verifier accepts it");
        _expect(ISettlement.ProofRejected.selector, _send(SEQUENCER, 0, _settleCall(draft)), "the old verifier");
        _adopt();
        _announce(draft, 1);
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "the new verifier");
    }

    /// @dev The verifiers stay, and the circuit version is another one: `z` binds it.
    function test_the_circuit_version_is_bound(uint64 version) external {
        if (version == CIRCUIT_VERSION) return;
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeSizes, (version, sizes))), "change");
        Draft memory draft = _draft(1);
        draft.d2 = _operations(3, 1);
        _announce(draft, 1);
        _expect(ISettlement.ProofRejected.selector, _send(SEQUENCER, 0, _settleCall(draft)), "the version before");
        circuitVersion = version;
        _announce(draft, 1);
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "the new version");
    }

    /// @dev The capacities are bound by `z`, and hold. One size gets fewer entries, the largest one more and another place, and one goes.
    function test_the_new_capacities_hold() external {
        for (uint256 i = 0; i < 50; ++i) _newPatient();
        ISettlement.Size[] memory other = new ISettlement.Size[](2);
        (other[0], other[1]) = (sizes[0], sizes[2]);
        (other[0].maxL1, other[0].maxL2) = (6, 25);
        (other[1].maxL1, other[1].maxL2) = (41, 3);
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeSizes, (CIRCUIT_VERSION, other))), "change");
        _expect(ISettlement.UnknownSize.selector, _settle(SEQUENCER, 0, 6, 2), "the third of two");
        _expect(ISettlement.ProofRejected.selector, _settle(SEQUENCER, 0, 6, 0), "a proof of the size before");
        _adopt();
        _expect(ISettlement.TooManyEntries.selector, _settle(SEQUENCER, 0, 7, 0), "seven of six");
        _expect(IQueue.OverdueEntriesOmitted.selector, _settle(SEQUENCER, 0, 5, 0), "five of six");
        _expect(DONE, _settle(SEQUENCER, 0, 6, 0), "six of six");
        Draft memory draft = _draft(1);
        draft.size = 1;
        draft.d2 = _operations(4, 1);
        _expect(ISettlement.TooManyOperations.selector, _send(SEQUENCER, 0, _settleCall(draft)), "four of three");
        (, uint256 overdue) = rollup.overdueEntries();
        vm.assertEq(overdue, 41, "as many as the largest size holds");
        _expect(ISettlement.TooManyEntries.selector, _settle(SEQUENCER, 0, 42, 1), "42 of 41");
        _expect(IQueue.OverdueEntriesOmitted.selector, _settle(SEQUENCER, 0, 40, 1), "40 of 41");
        _expect(DONE, _settle(SEQUENCER, 0, 41, 1), "41 of 41");
    }

    /// @dev What a batch must take follows the largest size, whatever it was before. Settlement goes on.
    function test_due_entries_follow_the_sizes(uint48 before, uint48 most, uint256 count) external {
        most = uint48(between(most, 1, 60));
        before = uint48(between(before, 1, most));
        count = between(count, 1, 30);
        uint48[2][] memory slots = new uint48[2][](1);
        slots[0] = [before, 1];
        delete sizes;
        _deploy(slots);
        for (uint256 i = 0; i < count; ++i) _newPatient();
        for (uint256 left = count; left != 0; (, left) = _waiting()) {
            _expect(DONE, _settle(SEQUENCER, 0, least(left, before), 0), "their registrations");
        }
        for (uint160 i = 0; i < count; ++i) _revokeAll(address(0x9a7160000 + i));
        bytes memory call = abi.encodeCall(IGovernance.changeSizes, (CIRCUIT_VERSION, _sizes([most, 1], 1)));
        _expect(DONE, _schedule(REGISTRAR, call, 1), "propose");
        vm.warp(START + DELAY);
        (uint256 overdue,) = rollup.overdueEntries();
        vm.assertEq(overdue, least(before, count), "overdue before");
        _expect(DONE, _execute(call, 1), "change");
        _adopt();
        (overdue,) = rollup.overdueEntries();
        vm.assertEq(overdue, least(most, count), "overdue");
        // Batch after batch, by anyone.
        while (overdue != 0) {
            _expect(IQueue.OverdueEntriesOmitted.selector, _settle(SEQUENCER, overdue - 1, 0, 0), "one less");
            _expect(DONE, _settle(STRANGER, overdue, 0, 0), "all");
            (overdue,) = rollup.overdueEntries();
        }
        (uint256 urgents,) = _waiting();
        vm.assertEq(urgents, 0, "everything is settled");
    }

    /// @dev A registrar proposes sizes of one entry each. Neither the proposal nor its execution keeps revocations from being settled.
    function test_smaller_sizes_starve_no_revocation() external {
        for (uint256 i = 0; i < 12; ++i) _newPatient();
        _expect(DONE, _settle(SEQUENCER, 0, 12, 2), "their registrations");
        bytes memory call = abi.encodeCall(IGovernance.changeSizes, (CIRCUIT_VERSION, _sizes([uint48(1), 1], 3)));
        _expect(DONE, _schedule(REGISTRAR, call, 1), "propose");
        _revokeAll(address(0x9a7160000));
        _strangersSettleIn6Hours(1);
        vm.assertTrue(governance.isOperationPending(_id(call, 1)), "the proposal waits");

        vm.warp(START + DELAY);
        // More than the size for operations holds.
        for (uint160 i = 1; i < 12; ++i) _revokeAll(address(0x9a7160000 + i));
        _expect(IGoverned.InvalidParameter.selector, _execute(call, 1), "execute");
        _strangersSettleIn6Hours(11);
        _expect(IGoverned.InvalidParameter.selector, _execute(call, 1), "execute again");
    }

    /// @dev New keys that registrars propose during a halt. The 14 days go on in a halt, which ends before or after them. Meanwhile nothing settles,
    /// owners append, and the deadlines of what waits move by the halt, to the second, so no forfeit is for it.
    function test_keys_that_are_proposed_during_a_halt(uint256 proposed, uint256 ends) external {
        uint256 from = START + 1 hours;
        proposed = from + 1 + proposed % (21 days - 2);
        uint256 until = ends % 2 == 0 ? from + 21 days : between(ends, proposed + 1, from + 21 days - 1);
        address[2] memory owners = _bondAndPatients();
        _revokeAll(owners[0]);
        vm.warp(from);
        _halt();
        vm.assertEq(rollup.overdueAt(_time(START)), START + 6 hours + 21 days, "it moves by the halt");

        vm.warp(proposed);
        ISettlement.Size[] memory other = _sizes([uint48(50), 7], 2);
        bytes memory call = abi.encodeCall(IGovernance.changeSizes, (CIRCUIT_VERSION + 1, other));
        bytes4 tooShort = bytes4(keccak256("TimelockInsufficientDelay(uint256,uint256)"));
        bytes4 got = _scheduleFor(REGISTRAR, address(governance), call, 1, DELAY - 1);
        _expect(tooShort, got, "a second less than 14 days");
        _expect(DONE, _schedule(REGISTRAR, call, 1), "propose");
        _revokeAll(owners[1]);
        vm.assertEq(QueueIndex.unwrap(rollup.queueLength(QueueName.Urgent)), 2, "it is appended");
        _isHalted();
        if (until > proposed + DELAY) {
            _takesEffect(call, proposed + DELAY);
            _adoptNext();
            _isHalted();
            _endsAt(from, until);
            _settlesOnTime(owners, proposed, until);
            return;
        }
        _endsAt(from, until);
        uint256 here = vm.snapshotState();
        _takesEffect(call, proposed + DELAY);
        vm.revertToStateAndDelete(here);
        // The keys before settle what waited, and then those that were proposed.
        _settlesOnTime(owners, proposed, until);
        if (block.timestamp < proposed + DELAY) vm.warp(proposed + DELAY);
        _expect(DONE, _execute(call, 1), "14 days later");
        _expect(ISettlement.ProofRejected.selector, _settle(SEQUENCER, 0, 0, 1), "a proof of the keys before");
        _adoptNext();
        _revokeAll(owners[0]);
        _expect(DONE, _settle(SEQUENCER, 1, 0, 1), "the new keys");
    }

    function test_sizes_that_are_refused() external {
        _refused(new ISettlement.Size[](0), "none");
        _refused(_sizes([uint48(40), 24], 9), "nine");
        ISettlement.Size[] memory other = _sizes([uint48(40), 24], 8);
        other[7].verifier = address(0xc0de);
        _refused(other, "a verifier without code");
        other = _sizes([uint48(40), 24], 2);
        other[1].maxL1 = 0;
        _refused(other, "a size without queue entries");
        _refused(_sizes([uint48(40), 0], 2), "no operations in any size");
        _refused(_sizes([uint48(39), 24], 8), "a queue entry less in the largest size");
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeSizes, (2, _sizes([uint48(40), 24], 8)))), "eight");
        // Wherever the largest one is. What the deployment had counts, so a size that is too large for any proof does not stay.
        other = _sizes([uint48(1), 24], 3);
        other[1].maxL1 = type(uint48).max;
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeSizes, (2, other))), "more");
        (other[1].maxL1, other[2].maxL1) = (1, 40);
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeSizes, (2, other))), "as many as in the beginning, in another place");
        bytes4 got = _change(abi.encodeCall(IGovernance.changeSizes, (2, _sizes([uint48(39), 24], 8))));
        _expect(IGoverned.InvalidParameter.selector, got, "fewer than in the beginning");
    }

    function test_another_registration_fee() external {
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeRegistrationFee, (7))), "change");
        vm.assertEq(rollup.registrationFee(), 7, "the new fee");
        bytes memory collect = abi.encodeCall(ISettlement.collectFees, (payable(address(0xfee))));
        _expect(DONE, _send(SEQUENCER, 0, collect), "the old fees");
        _expect(DONE, _change(abi.encodeCall(IGovernance.changeRegistrationFee, (FEE))), "change");
        _newPatient();
        vm.assertEq(address(rollup).balance, FEE, "paid");
    }

    /// @dev Two patients whose registrations are settled, and a bond.
    function _bondAndPatients() private returns (address[2] memory owners) {
        (owners[0],) = _patient(1);
        (owners[1],) = _patient(2);
        _expect(DONE, _settle(SEQUENCER, 0, 2, 0), "their registrations");
        bytes memory call = abi.encodeCall(IGovernance.depositBond, (SEQUENCER));
        _expect(DONE, _govern(STRANGER, 1 ether, call), "a bond");
    }

    function _takesEffect(bytes memory call, uint256 time) private {
        vm.warp(time - 1);
        _expect(WRONG_STATE, _execute(call, 1), "a second too early");
        vm.assertEq(rollup.sizesRevision(), 0, "the sizes are the same");
        vm.warp(time);
        _expect(DONE, _execute(call, 1), "14 days later");
        vm.assertEq(rollup.sizesRevision(), 1, "the new sizes");
    }

    /// @dev Two of two entries wait, and nobody settles them, nor nothing, whatever the keys are.
    function _isHalted() private {
        (uint256 urgents, uint256 ordinaries) = rollup.overdueEntries();
        vm.assertEq(urgents + ordinaries, 0, "nothing is overdue");
        address[2] memory all = [SEQUENCER, STRANGER];
        for (uint256 i = 0; i < 2; ++i) {
            _expect(IGoverned.SettlementHalted.selector, _settleAll(all[i]), "everything");
            _expect(IGoverned.SettlementHalted.selector, _settle(all[i], 0, 0, 0), "nothing");
        }
        vm.assertEq(QueueIndex.unwrap(rollup.queueHead(QueueName.Urgent)), 0, "all wait");
    }

    /// @dev The halt ends, by itself or by the guardians.
    function _endsAt(uint256 from, uint256 until) private {
        vm.warp(until - 1);
        _isHalted();
        vm.warp(until);
        if (until != from + 21 days) _resume();
    }

    /// @dev The halt is over. The first entry waited an hour before it, and the second one not at all: so they have five hours and six.
    function _settlesOnTime(address[2] memory owners, uint256 proposed, uint256 until) private {
        vm.assertEq(rollup.overdueAt(_time(START)), until + 5 hours, "the time before the halt counts");
        vm.assertEq(rollup.overdueAt(_time(proposed)), until + 6 hours, "the time in the halt does not");
        vm.warp(until + 5 hours);
        uint256 here = vm.snapshotState();
        _expect(ISettlement.NotSequencer.selector, _settle(STRANGER, 2, 0, 1), "not overdue");
        _expect(DONE, _settle(SEQUENCER, 2, 0, 1), "on time");
        for (uint256 i = 0; i < 2; ++i) _expect(IGovernance.NoForfeit.selector, _claim(owners[i], i), "on time");
        vm.assertEq(governance.bonds(), 1 ether, "the halt costs nothing");
        // A second later it is late, and the other one is not.
        vm.revertToState(here);
        vm.warp(until + 5 hours + 1);
        _expect(DONE, _settle(STRANGER, 2, 0, 1), "overdue");
        _expect(DONE, _claim(owners[0], 0), "a second late");
        _expect(IGovernance.NoForfeit.selector, _claim(owners[1], 1), "appended in the halt");
        vm.assertEq(governance.bonds(), 1 ether - FORFEIT, "one forfeit");
        vm.revertToStateAndDelete(here);
        _expect(DONE, _settle(SEQUENCER, 2, 0, 1), "settlement goes on");
    }

    function _claim(address owner, uint256 index) private returns (bytes4) {
        QueueIndex index_ = QueueIndex.wrap(uint56(index));
        bytes memory call =
            abi.encodeCall(IGovernance.claimForfeit, (0, index_, urgentWords[index], 0, payable(address(0xf0f))));
        return _govern(owner, 0, call);
    }

    /// @dev The next circuit version too.
    function _adoptNext() private {
        _adopt();
        circuitVersion = CIRCUIT_VERSION + 1;
    }

    function _refused(ISettlement.Size[] memory other, string memory what) private {
        bytes32 before = keccak256(abi.encode(rollup.sizes()));
        bytes4 got = _change(abi.encodeCall(IGovernance.changeSizes, (2, other)));
        _expect(IGoverned.InvalidParameter.selector, got, what);
        vm.assertEq(keccak256(abi.encode(rollup.sizes())), before, "the sizes are the same");
        vm.assertEq(rollup.circuitVersion(), CIRCUIT_VERSION, "the version is the same");
        vm.assertEq(rollup.sizesRevision(), 0, "the revision is the same");
    }

    /// @dev Urgent entries that were just appended become overdue, and a stranger settles all of them in one batch.
    function _strangersSettleIn6Hours(uint256 count) private {
        vm.warp(block.timestamp + 6 hours);
        _expect(ISettlement.NotSequencer.selector, _settle(STRANGER, count, 0, 2), "not overdue yet");
        vm.warp(block.timestamp + 1);
        (uint256 overdue,) = rollup.overdueEntries();
        vm.assertEq(overdue, count, "overdue");
        _expect(DONE, _settle(STRANGER, count, 0, 2), "a stranger");
        (uint256 urgents,) = _waiting();
        vm.assertEq(urgents, 0, "everything is settled");
    }

    /// @dev Sizes with new verifiers.
    function _sizes(uint48[2] memory slots, uint256 count) private returns (ISettlement.Size[] memory other) {
        other = new ISettlement.Size[](count);
        bytes memory code = vm.getCode("test/artifacts/ExpectingVerifier.json");
        for (uint256 i = 0; i < count; ++i) other[i] = ISettlement.Size(_create(code), slots[0], slots[1]);
    }

    /// @dev From now on the batches here are made for the rollup's sizes.
    function _adopt() private {
        ISettlement.Size[] memory other = rollup.sizes();
        delete sizes;
        for (uint256 i = 0; i < other.length; ++i) sizes.push(other[i]);
    }

    function _newPatient() private {
        _patient(uint160(_patients++));
    }
}
