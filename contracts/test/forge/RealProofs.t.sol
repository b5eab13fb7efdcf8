// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IEmrRollup} from "../../src/IEmrRollup.sol";
import {IQueue} from "../../src/IQueue.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {StateRoot} from "../../src/Types.sol";
import {Batches} from "./Batches.sol";
import {IRollup} from "./World.sol";
import {FIELD, between, vm} from "./Vm.sol";

/// @title A real proof, the real verifiers and keys, and everything that the proof is not about
/// @notice `proven.json` is written and checked by the test `circuit_proof` of emr-rollup.
contract RealProofsTest is Batches {
    // Storage of the rollup (contracts/artifacts/storage-layout.json).
    uint256 private constant PROGRESS = 1;
    uint256 private constant ORDINARY = 5;
    uint256 private constant LENGTHS = 6;
    /// Bits before the number of batches in `Progress`.
    uint256 private constant BATCHES = 40;
    /// Bits before the length of the ordinary queue in `Lengths`.
    uint256 private constant ORDINARY_LENGTH = 56;

    string private _json;
    address private _place;

    function setUp() external {
        _json = vm.readFile("test/forge/proven.json");
        _place = vm.parseJsonAddress(_json, ".rollup");
        vm.assertEq(block.chainid, vm.parseJsonUint(_json, ".chainId"), "the chain");
        vm.warp(vm.parseJsonUint(_json, ".time") + 10 minutes);
        sizes.push(_size("generated/VerifyingKeySmall.json", 5, 9));
        sizes.push(_size("generated/VerifyingKeyStandard.json", 8, 90));
        sizes.push(_size("generated/VerifyingKeyQueue.json", 175, 0));
        _deployAt(_place, 1);
    }

    function test_it_is_settled() external {
        Draft memory draft = _proven();
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "settled");
        vm.assertEq(StateRoot.unwrap(rollup.stateRoot()), draft.post, "the new root");
        _expect(ISettlement.StaleBatch.selector, _send(SEQUENCER, 0, _settleCall(draft)), "once");
    }

    /// forge-config: default.fuzz.runs = 2
    /// @dev Every word of D2.
    function test_other_operations(uint256 difference) external {
        difference = between(difference, 1, FIELD - 1);
        uint256 words = _proven().d2.length;
        vm.assertTrue(words >= 4, "there are operations");
        for (uint256 i = 0; i < words; ++i) {
            Draft memory draft = _proven();
            draft.d2[i] = addmod(draft.d2[i], difference, FIELD);
            _rejected(draft);
        }
    }

    function test_fewer_or_more_operations() external {
        Draft memory draft = _proven();
        uint256[] memory all = draft.d2;
        draft.d2 = _first(all, all.length - 4);
        _rejected(draft);
        // An operation of zeros: the polynomial and the commitment stay the same.
        draft.d2 = _first(all, all.length + 4);
        _rejected(draft);
        draft.d2 = _first(all, all.length + 8);
        _expect(ISettlement.TooManyOperations.selector, _send(SEQUENCER, 0, _settleCall(draft)), "too many");
        draft.d2 = _first(all, 0);
        _rejected(draft);
    }

    /// forge-config: default.fuzz.runs = 16
    function test_other_claims(uint256 difference) external {
        difference = between(difference, 1, FIELD - 1);
        Draft memory draft = _proven();
        draft.post = addmod(draft.post, difference, FIELD);
        _rejected(draft);
        draft = _proven();
        draft.commitment = addmod(draft.commitment, difference, FIELD);
        _rejected(draft);
        draft = _proven();
        draft.time += uint40(between(difference, 1, 10 minutes));
        _rejected(draft);
    }

    /// forge-config: default.fuzz.runs = 16
    function test_another_state_before(uint256 root) external {
        vm.store(_place, 0, bytes32(root % FIELD));
        Draft memory draft = _proven();
        if (root % FIELD == draft.pre) return;
        _expect(ISettlement.StaleBatch.selector, _send(SEQUENCER, 0, _settleCall(draft)), "stale");
        draft.pre = root % FIELD;
        _rejected(draft);
    }

    /// forge-config: default.fuzz.runs = 16
    function test_another_number(uint64 batches) external {
        if (batches == 0) batches = 1;
        if (batches == type(uint64).max) batches = 2;
        uint256 progress = uint256(vm.load(_place, bytes32(PROGRESS)));
        vm.store(_place, bytes32(PROGRESS), bytes32(progress | uint256(batches) << BATCHES));
        _rejected(_proven());
    }

    /// @dev The statement is the same in every size, but the key is not.
    function test_another_size() external {
        Draft memory draft = _proven();
        draft.size = 1;
        _rejected(draft);
    }

    /// @dev The key of one size under the slots of another one.
    function test_other_slots_for_the_same_key() external {
        sizes[0].maxL2 = 10;
        _deployAt(_place, 1);
        _rejected(_proven());
        (sizes[0].maxL2, sizes[0].maxL1) = (9, 6);
        _deployAt(_place, 1);
        _rejected(_proven());
    }

    function test_another_circuit_version() external {
        _deployAt(_place, 2);
        _rejected(_proven());
    }

    /// forge-config: default.fuzz.runs = 16
    function test_another_chain_or_rollup(address place) external {
        vm.chainId(1);
        _rejected(_proven());
        vm.chainId(31337);
        if (place == _place || uint160(place) < 0x10000 || place.code.length != 0) return;
        _deployAt(place, 1);
        _rejected(_proven());
    }

    /// forge-config: default.fuzz.runs = 16
    /// @dev The queue holds another entry, which D1 names. The commitment and the queue hash are then others.
    function test_another_entry(uint256 entry, uint256 word, uint256 difference) external {
        Draft memory draft = _proven();
        uint256 place = entry % (draft.d1.length / 4) * 4 + word % 4;
        draft.d1[place] = addmod(draft.d1[place], between(difference, 1, FIELD - 1), FIELD);
        _expect(IQueue.EntryMismatch.selector, _send(SEQUENCER, 0, _settleCall(draft)), "not the queue's");
        _fillQueue(draft.d1);
        _rejected(draft);
    }

    /// forge-config: default.fuzz.runs = 16
    function test_another_proof(uint256 place, uint256 bit) external {
        Draft memory draft = _proven();
        draft.proof[place % draft.proof.length] ^= bytes1(uint8(1 << bit % 8));
        _rejected(draft);
    }

    /// forge-config: default.fuzz.runs = 16
    function test_shorter_and_longer_proofs(uint256 length) external {
        Draft memory draft = _proven();
        bytes memory whole = draft.proof;
        draft.proof = bytes.concat(whole, new bytes(between(length, 1, 100)));
        _rejected(draft);
        draft.proof = new bytes(length % whole.length);
        for (uint256 i = 0; i < draft.proof.length; ++i) draft.proof[i] = whole[i];
        _rejected(draft);
    }

    function _rejected(Draft memory draft) private {
        _expect(ISettlement.ProofRejected.selector, _send(SEQUENCER, 0, _settleCall(draft)), "rejected");
    }

    function _proven() private view returns (Draft memory draft) {
        draft.pre = uint256(vm.parseJsonBytes32(_json, ".pre"));
        draft.post = uint256(vm.parseJsonBytes32(_json, ".post"));
        draft.time = uint40(vm.parseJsonUint(_json, ".time"));
        draft.commitment = uint256(vm.parseJsonBytes32(_json, ".commitment"));
        draft.d1 = _numbers(vm.parseJsonBytes32Array(_json, ".d1"));
        draft.d2 = _numbers(vm.parseJsonBytes32Array(_json, ".d2"));
        draft.proof = vm.parseJsonBytes(_json, ".proof");
    }

    function _size(string memory key, uint48 maxL1, uint48 maxL2) private returns (ISettlement.Size memory) {
        address keyContract = _create(vm.getCode(key));
        address verifier = _create(bytes.concat(vm.getCode("artifacts/Verifier.json"), abi.encode(keyContract)));
        return ISettlement.Size({verifier: verifier, maxL1: maxL1, maxL2: maxL2});
    }

    /// @dev Runs the constructor at this address, because the proof is about it. The batch's entries wait in the queue.
    function _deployAt(address place, uint64 version) private {
        Draft memory draft = _proven();
        IEmrRollup.Parameters memory parameters = IEmrRollup.Parameters({
            sizes: sizes,
            circuitVersion: version,
            genesis: StateRoot.wrap(draft.pre),
            sequencer: SEQUENCER,
            officers: _officers(),
            registrationFee: FEE
        });
        vm.etch(place, bytes.concat(vm.getCode("artifacts/EmrRollup.json"), abi.encode(parameters)));
        (bool done, bytes memory code) = place.call("");
        vm.assertTrue(done, "the constructor");
        vm.etch(place, code);
        rollup = IRollup(place);
        _fillQueue(draft.d1);
    }

    function _fillQueue(uint256[] memory words) private {
        vm.store(address(rollup), bytes32(LENGTHS), bytes32(words.length / 4 << ORDINARY_LENGTH));
        for (uint256 i = 0; i < words.length / 4; ++i) {
            bytes32 hash = keccak256(abi.encode(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]));
            vm.store(address(rollup), keccak256(abi.encode(i, ORDINARY)), hash >> 40 << 40 | bytes32(block.timestamp));
        }
    }

    /// @dev As many words, filled up with zeros.
    function _first(uint256[] memory words, uint256 count) private pure returns (uint256[] memory part) {
        part = new uint256[](count);
        for (uint256 i = 0; i < count && i < words.length; ++i) part[i] = words[i];
    }

    function _numbers(bytes32[] memory words) private pure returns (uint256[] memory numbers) {
        numbers = new uint256[](words.length);
        for (uint256 i = 0; i < words.length; ++i) numbers[i] = uint256(words[i]);
    }
}
