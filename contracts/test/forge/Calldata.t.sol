// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "../../src/IRegistry.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {Role} from "../../src/Types.sol";
import {Batches} from "./Batches.sol";
import {Owners} from "./Owners.sol";
import {FIELD, between, hashed, vm} from "./Vm.sol";

/// @title The calldata of a settlement: one encoding, and every byte counts
/// @notice The verifier accepts the honest batch in every test here, so only the rollup stands between other calldata and a settlement.
contract CalldataTest is Batches, Owners {
    /// Selector, the six words of `Batch`, three offsets.
    uint256 private constant OFFSETS = 4 + 6 * 32;
    uint256 private constant HEAD = 4 + 9 * 32;

    /// @dev Two registrations wait.
    function setUp() external {
        _deploy(_threeSizes());
        for (uint160 i = 1; i <= 2; ++i) {
            address owner = address(0x1000 + i);
            vm.deal(owner, 1 ether);
            IRegistry.Registration memory registration = _registration(owner, Role.Patient, false);
            _expect(DONE, _send(owner, FEE, abi.encodeCall(IRegistry.register, (registration))), "register");
        }
    }

    /// @dev A proof of any length is padded with zeros, and no operation or entry is needed.
    function test_standard_calldata_are_accepted(uint256 proofBytes, uint256 entries, uint256 operations) external {
        Draft memory draft = _honest(entries % 3, operations % 25, proofBytes % 100);
        _expect(DONE, _send(SEQUENCER, 0, _settleCall(draft)), "settled");
    }

    /// @dev Everybody must find the batch in the calldata of a transaction. So neither a contract without code yet nor an origin with code
    /// (EIP-7702) can settle.
    function test_only_direct_calls() external {
        bytes memory call = _settleCall(_honest(2, 3, 50));
        vm.prank(SEQUENCER, STRANGER);
        (bool done, bytes memory reason) = address(rollup).call(call);
        vm.assertTrue(!done, "the caller is not the origin");
        _expect(ISettlement.NotDirectCall.selector, bytes4(reason), "the reason");

        vm.etch(SEQUENCER, abi.encodePacked(hex"ef0100", address(this)));
        _expect(ISettlement.NotDirectCall.selector, _send(SEQUENCER, 0, call), "the origin has code");
        vm.etch(SEQUENCER, "");
        _expect(DONE, _send(SEQUENCER, 0, call), "settled");
    }

    /// @dev One byte is another one.
    function test_every_byte_counts(uint256 place, uint8 change) external {
        bytes memory call = _settleCall(_honest(2, 3, 50));
        place %= call.length;
        if (place < 4) place = call.length - 1 - place;
        if (change == 0) change = 1;
        call[place] = bytes1(uint8(call[place]) ^ change);
        _refused(call);
    }

    /// @dev The same for every byte that is padding: of fields, of lengths and offsets, and after the proof.
    function test_every_zero_counts() external {
        bytes memory call = _settleCall(_honest(2, 1, 33));
        for (uint256 place = 4; place < call.length; ++place) {
            if (call[place] != 0) continue;
            call[place] = 0x80;
            _refused(call);
            call[place] = 0;
        }
    }

    /// @dev Something after the proof, or the end is missing.
    function test_every_length_counts(uint256 bytes_, bytes1 value) external {
        bytes memory call = _settleCall(_honest(2, 3, 50));
        bytes memory more = new bytes(between(bytes_, 1, 200));
        for (uint256 i = 0; i < more.length; ++i) more[i] = value;
        _refused(bytes.concat(call, more));
        _refused(_part(call, 0, between(bytes_, 4, call.length - 1)));
    }

    /// @dev A gap before one of the arguments, with offsets that jump over it. Solidity reads the same arguments.
    function test_gaps_are_refused(uint256 argument, uint256 words, bytes32 content) external {
        bytes memory call = _settleCall(_honest(2, 3, 50));
        argument %= 3;
        uint256 gap = between(words, 1, 8) * 32;
        bytes memory filler = new bytes(gap);
        for (uint256 i = 0; i < gap; ++i) filler[i] = content[i % 32];
        uint256 place = 4 + _word(call, OFFSETS + 32 * argument);
        for (uint256 i = argument; i < 3; ++i) _set(call, OFFSETS + 32 * i, _word(call, OFFSETS + 32 * i) + gap);
        bytes memory other = bytes.concat(_part(call, 0, place), filler, _part(call, place, call.length));
        _reads(other);
        _expect(ISettlement.NonStandardCalldata.selector, _send(SEQUENCER, 0, other), "a gap");
    }

    /// @dev The arguments are there in another order. Solidity reads the same arguments.
    function test_another_order_is_refused() external {
        bytes memory call = _settleCall(_honest(2, 3, 50));
        (uint256 d1, uint256 d2) = (4 + _word(call, OFFSETS), 4 + _word(call, OFFSETS + 32));
        uint256 proof = 4 + _word(call, OFFSETS + 64);
        bytes memory other = bytes.concat(
            _part(call, 0, HEAD), _part(call, d2, proof), _part(call, d1, d2), _part(call, proof, call.length)
        );
        _set(other, OFFSETS, HEAD - 4 + proof - d2);
        _set(other, OFFSETS + 32, HEAD - 4);
        _reads(other);
        _expect(ISettlement.NonStandardCalldata.selector, _send(SEQUENCER, 0, other), "another order");
    }

    /// @dev D1 or D2 is read from inside the proof. Where it should be, there is something else of the same length.
    function test_data_inside_the_proof_are_refused() external {
        for (uint256 argument = 0; argument < 2; ++argument) {
            Draft memory draft = _honest(2, 3, 0);
            uint256[] memory words = argument == 0 ? draft.d1 : draft.d2;
            draft.proof = abi.encodePacked(words.length, words);
            _announce(draft, 1);
            bytes memory call = _settleCall(draft);
            uint256 place = 4 + _word(call, OFFSETS + 32 * argument);
            for (uint256 i = 1; i <= words.length; ++i) _set(call, place + 32 * i, 7);
            _set(call, OFFSETS + 32 * argument, _word(call, OFFSETS + 64) + 32);
            _reads(call);
            _expect(ISettlement.NonStandardCalldata.selector, _send(SEQUENCER, 0, call), "inside the proof");
        }
    }

    /// @dev The proof is read from inside D2. Where it should be, there is something else of the same length.
    function test_a_proof_inside_the_data_is_refused() external {
        Draft memory draft = _honest(2, 3, 0);
        draft.d2[3] = 64;
        draft.proof = abi.encodePacked(draft.d2[4], draft.d2[5]);
        _announce(draft, 1);
        bytes memory call = _settleCall(draft);
        uint256 place = 4 + _word(call, OFFSETS + 64);
        _set(call, place + 32, 7);
        _set(call, OFFSETS + 64, _word(call, OFFSETS + 32) + 32 + 3 * 32);
        _reads(call);
        _expect(ISettlement.NonStandardCalldata.selector, _send(SEQUENCER, 0, call), "inside D2");
    }

    /// @dev D1 and D2 are the same bytes. Solidity reads both.
    function test_overlaps_are_refused() external {
        Draft memory draft = _honest(0, 0, 50);
        bytes memory call = _settleCall(draft);
        uint256 d2 = _word(call, OFFSETS + 32);
        bytes memory other = bytes.concat(_part(call, 0, 4 + d2 - 32), _part(call, 4 + d2, call.length));
        _set(other, OFFSETS + 32, d2 - 32);
        _set(other, OFFSETS + 64, _word(call, OFFSETS + 64) - 32);
        _reads(other);
        _expect(ISettlement.NonStandardCalldata.selector, _send(SEQUENCER, 0, other), "an overlap");
    }

    /// @dev A word that is not below the field's modulus, although the verifier would take what follows from it.
    function test_words_are_canonical(uint256 which, uint256 excess) external {
        Draft memory draft = _honest(2, 3, 50);
        uint256 word = FIELD + excess % (type(uint256).max - FIELD);
        which %= 14;
        if (which == 12) draft.post = word;
        else if (which == 13) draft.commitment = word;
        else draft.d2[which] = word;
        _announce(draft, 1);
        _expect(ISettlement.NotCanonical.selector, _send(SEQUENCER, 0, _settleCall(draft)), "not canonical");
    }

    /// @dev A word and the word plus the modulus are no two encodings of one batch.
    function test_a_word_has_no_twin(uint256 which) external {
        Draft memory draft = _honest(2, 3, 50);
        which %= 14;
        // Every word below 4 p has such a twin in 256 bits.
        if (which == 12) draft.post += FIELD;
        else if (which == 13) draft.commitment += FIELD;
        else draft.d2[which] += FIELD;
        _expect(ISettlement.NotCanonical.selector, _send(SEQUENCER, 0, _settleCall(draft)), "a twin");
    }

    function _honest(uint256 entries, uint256 operations, uint256 proofBytes) private returns (Draft memory draft) {
        draft = _draft(7);
        draft.d1 = new uint256[](4 * entries);
        for (uint24 i = 0; i < entries; ++i) {
            address owner = address(uint160(0x1001 + i));
            uint256[4] memory entry = _registerEntry(i + 1, Role.Patient, 0, _keys(owner, Role.Patient, false));
            for (uint256 j = 0; j < 4; ++j) draft.d1[4 * i + j] = entry[j];
        }
        draft.d2 = _operations(operations, 7);
        draft.proof = new bytes(proofBytes);
        for (uint256 i = 0; i < proofBytes; ++i) draft.proof[i] = bytes1(uint8(hashed(i, 7)) | 1);
        _announce(draft, 1);
    }

    function _refused(bytes memory call) private {
        vm.assertTrue(_send(SEQUENCER, 0, call) != DONE, "other calldata were accepted");
    }

    /// @dev Solidity's own decoder takes these calldata, so the refusal that follows is the rollup's.
    function _reads(bytes memory call) private view {
        this.decode(_part(call, 4, call.length));
    }

    function decode(bytes calldata arguments) external pure {
        abi.decode(arguments, (ISettlement.Batch, uint256[], uint256[], bytes));
    }

    function _part(bytes memory data, uint256 from, uint256 end) private pure returns (bytes memory part) {
        part = new bytes(end - from);
        for (uint256 i = 0; i < part.length; ++i) part[i] = data[from + i];
    }

    function _word(bytes memory data, uint256 place) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), place))
        }
    }

    function _set(bytes memory data, uint256 place, uint256 word) private pure {
        assembly ("memory-safe") {
            mstore(add(add(data, 0x20), place), word)
        }
    }
}
