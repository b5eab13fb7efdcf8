// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISettlement} from "../../src/ISettlement.sol";
import {StateRoot, UnixTime} from "../../src/Types.sol";
import {IExpectingVerifier, World} from "./World.sol";
import {FIELD} from "./Vm.sol";

/// @title Batches, and what the rollup must pass to its verifier for them
/// @notice The public inputs are computed here from their definition (`docs/encoding.md`), not as the contract does it: by powers of z and
/// not by Horner's rule.
abstract contract Batches is World {
    struct Draft {
        uint8 size;
        uint16 urgent;
        uint256 pre;
        uint256 post;
        uint40 time;
        uint256 commitment;
        uint256[] d1;
        uint256[] d2;
        bytes proof;
    }

    /// @dev A batch on top of the current state, at the current time, whose claims depend on a number.
    function _draft(uint256 salt) internal view returns (Draft memory draft) {
        draft.pre = StateRoot.unwrap(rollup.stateRoot());
        draft.post = uint256(keccak256(abi.encode("post", salt))) % FIELD;
        draft.time = uint40(block.timestamp);
        draft.commitment = uint256(keccak256(abi.encode("commitment", salt))) % FIELD;
        draft.proof = abi.encodePacked("proof ", salt);
    }

    /// @dev D2 of some operations.
    function _operations(uint256 count, uint256 salt) internal pure returns (uint256[] memory words) {
        words = new uint256[](4 * count);
        for (uint256 i = 0; i < words.length; ++i) words[i] = uint256(keccak256(abi.encode("d2", salt, i))) % FIELD;
    }

    function _claims(Draft memory draft) internal pure returns (ISettlement.Batch memory) {
        return ISettlement.Batch({
            size: draft.size,
            urgent: draft.urgent,
            pre: StateRoot.wrap(draft.pre),
            post: StateRoot.wrap(draft.post),
            time: UnixTime.wrap(draft.time),
            commitment: draft.commitment
        });
    }

    function _settleCall(Draft memory draft) internal pure returns (bytes memory) {
        return abi.encodeCall(ISettlement.settle, (_claims(draft), draft.d1, draft.d2, draft.proof));
    }

    /// @dev The verifier of the batch's size accepts this batch, as the one with this number, and nothing else.
    function _announce(Draft memory draft, uint64 number) internal {
        bytes32 hash = keccak256(abi.encodePacked(_publicInputs(draft, number), draft.proof));
        IExpectingVerifier(sizes[draft.size].verifier).expect(hash);
    }

    function _publicInputs(Draft memory draft, uint64 number) internal view returns (uint256[10] memory inputs) {
        inputs[0] = uint256(keccak256(abi.encode(block.chainid, address(rollup)))) >> 8;
        inputs[1] = draft.pre;
        inputs[2] = draft.post;
        inputs[3] = draft.time;
        inputs[4] = draft.d1.length / 4;
        inputs[5] = draft.d2.length / 4;
        inputs[6] = draft.commitment;
        inputs[7] = _z(draft, number, inputs);
        inputs[8] = _polynomial(draft.d1, inputs[7]);
        inputs[9] = _polynomial(draft.d2, inputs[7]);
    }

    function _z(Draft memory draft, uint64 number, uint256[10] memory inputs) private view returns (uint256) {
        bytes memory head = abi.encode(
            inputs[0], circuitVersion, sizes[draft.size].maxL1, sizes[draft.size].maxL2, number, draft.pre, draft.post
        );
        bytes memory tail = abi.encode(
            draft.time,
            draft.commitment,
            inputs[4],
            inputs[5],
            _queueHash(draft.d1),
            keccak256(abi.encodePacked(draft.d2))
        );
        return uint256(keccak256(bytes.concat(head, tail))) % FIELD;
    }

    function _queueHash(uint256[] memory d1) private pure returns (bytes32 hash) {
        for (uint256 i = 0; i + 3 < d1.length; i += 4) {
            hash = keccak256(abi.encode(hash, d1[i], d1[i + 1], d1[i + 2], d1[i + 3]));
        }
    }

    function _polynomial(uint256[] memory words, uint256 z) private pure returns (uint256 value) {
        uint256 power = 1;
        for (uint256 i = 0; i < words.length; ++i) {
            value = addmod(value, mulmod(words[i], power, FIELD), FIELD);
            power = mulmod(power, z, FIELD);
        }
    }
}
