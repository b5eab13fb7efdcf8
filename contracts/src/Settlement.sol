// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FIELD_MODULUS, Field} from "./Field.sol";
import {IGoverned} from "./governance/IGoverned.sol";
import {IQueue} from "./IQueue.sol";
import {ISettlement} from "./ISettlement.sol";
import {Queue} from "./Queue.sol";
import {BatchNumber, QueueIndex, QueueName, StateRoot, UnixTime} from "./Types.sol";

/// @title Settlement of proven batches with their data in calldata
abstract contract Settlement is ISettlement, Queue {
    /// @inheritdoc ISettlement
    uint256 public constant SEQUENCER_ABSENCE = 24 hours;
    /// @inheritdoc ISettlement
    uint256 public constant SEQUENCER_TURN = 1 hours;

    /// The longest time between the sealing of a batch and its settlement.
    uint256 private constant MAX_BATCH_AGE = 1 hours;

    /// The most sizes, so that reading all of them stays cheap.
    uint256 private constant MAX_SIZES = 8;

    /// The size of `PublicInputs`.
    uint256 private constant INPUT_BYTES = 320;

    /// The most queue entries that a batch of any size held at the deployment. No change goes below it. It reads 0 in the constructor.
    uint48 private immutable _largestAtFirst;

    /// A mapping instead of an array: a settlement reads one storage slot, and not also a length.
    mapping(uint256 position => Size) private _sizes;

    /// The circuit's public inputs, in its order: ten words.
    struct PublicInputs {
        uint256 domain;
        uint256 pre;
        uint256 post;
        uint256 time;
        uint256 n1;
        uint256 n;
        uint256 commitment;
        uint256 z;
        uint256 y1;
        uint256 y2;
    }

    constructor(Size[] memory sizes_, uint64 circuitVersion_, StateRoot genesis) {
        if (_office.sequencer == address(0)) revert InvalidParameter("sequencer");
        if (StateRoot.unwrap(genesis) >= FIELD_MODULUS) revert InvalidParameter("genesis");
        _setSizes(0, circuitVersion_, sizes_);
        _largestAtFirst = _bounds.largestL1;
        _stateRoot = genesis;
        _progress.strangersFrom = _after(SEQUENCER_ABSENCE);
    }

    /// @inheritdoc ISettlement
    function settle(Batch calldata batch, uint256[] calldata d1, uint256[] calldata d2, bytes calldata proof)
        external
    {
        // With EIP-7702, an account with code can be the origin of a transaction with other calldata than this call.
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotDirectCall(msg.sender);
        _requireStandardCalldata(d1, d2, proof);
        // Each word of the storage is read once, and `_progress` is written once, at the end. Nothing changes them meanwhile: the verifier cannot,
        // and governance only notes which entries are late.
        Office memory office = _office;
        _requireNoHalt(office);
        SizeBounds memory bounds = _bounds;
        if (batch.size >= bounds.count) revert UnknownSize(batch.size, bounds.count);
        Size memory size = _sizes[batch.size];
        Progress memory progress = _progress;
        (PublicInputs memory inputs, uint256 urgent) = _claims(batch, size, progress, d1.length, d2.length);
        Queues memory queues = _queues(progress, office);
        uint256 late;
        if (msg.sender == office.sequencer) {
            bool serves;
            (late, serves) = _requireDue(queues, bounds, size, inputs, urgent);
            if (serves) progress.strangersFrom = _after(SEQUENCER_ABSENCE);
        } else {
            late = _requireOverdue(queues, bounds, progress, inputs, urgent);
            // Otherwise a stranger with a chain of ready proofs could keep a sequencer that comes back from settling anything. Settling urgent
            // entries alone gives no such turn: one an hour would then keep strangers from the ordinary queue for ever.
            if (inputs.n1 != urgent) progress.strangersFrom = _after(SEQUENCER_TURN);
        }
        _noteLate(queues, late);
        bytes32 queueHash = _take(queues, d1, urgent, progress);
        bytes32 dataHash = _hash(d2);
        progress.time = UnixTime.wrap(uint40(inputs.time));
        progress.batches = BatchNumber.wrap(BatchNumber.unwrap(progress.batches) + 1);
        inputs.z = _evaluationPoint(inputs, bounds, size, progress.batches, queueHash, dataHash);
        inputs.y1 = _evaluate(d1, inputs.z);
        inputs.y2 = _evaluate(d2, inputs.z);
        _verify(size.verifier, inputs, proof);

        _stateRoot = StateRoot.wrap(inputs.post);
        _progress = progress;
        emit BatchSettled(progress.batches, batch, inputs.n1, inputs.n, dataHash);
    }

    /// @inheritdoc ISettlement
    function collectFees(address payable to) external {
        if (msg.sender != _office.sequencer) revert NotSequencer(msg.sender);
        uint256 amount = _uncredited();
        emit FeesCollected(to, amount);
        _send(to, amount);
    }

    /// @inheritdoc ISettlement
    function sizes() external view returns (Size[] memory all) {
        all = new Size[](_bounds.count);
        for (uint256 i = 0; i < all.length; ++i) all[i] = _sizes[i];
    }

    /// @inheritdoc IGoverned
    function setSizes(uint64 circuitVersion_, Size[] calldata sizes_) external onlyGovernance {
        uint64 revision = _bounds.revision + 1;
        _setSizes(revision, circuitVersion_, sizes_);
        emit SizesChanged(revision);
    }

    /// @inheritdoc ISettlement
    function circuitVersion() external view returns (uint256) {
        return _bounds.circuitVersion;
    }

    /// @inheritdoc ISettlement
    function domain() external view returns (uint256) {
        return _domain();
    }

    /// @inheritdoc ISettlement
    function stateRoot() external view returns (StateRoot) {
        return _stateRoot;
    }

    /// @inheritdoc ISettlement
    function batchCount() external view returns (BatchNumber) {
        return _progress.batches;
    }

    /// @inheritdoc ISettlement
    function lastBatchTime() external view returns (UnixTime) {
        return _progress.time;
    }

    /// @inheritdoc ISettlement
    function strangersFrom() external view returns (UnixTime) {
        return _progress.strangersFrom;
    }

    /// @inheritdoc IQueue
    function overdueEntries() external view returns (uint256 urgent, uint256 ordinary) {
        Queues memory queues = _queues(_progress, _office);
        uint256 limit = _bounds.largestL1;
        urgent = _olderThan(_urgent, queues.urgent, queues.office, QUEUE_DEADLINE, block.timestamp, limit);
        ordinary = _olderThan(_ordinary, queues.ordinary, queues.office, QUEUE_DEADLINE, block.timestamp, limit);
    }

    /// @inheritdoc IQueue
    function dueEntries(UnixTime time) external view returns (uint256 urgent, uint256 ordinary) {
        Queues memory queues = _queues(_progress, _office);
        uint256 limit = _bounds.largestL1;
        urgent = _olderThan(_urgent, queues.urgent, queues.office, QUEUE_DUE, UnixTime.unwrap(time), limit);
        ordinary = _olderThan(_ordinary, queues.ordinary, queues.office, QUEUE_DUE, UnixTime.unwrap(time), limit);
    }

    /// @dev A batch of the sequencer takes the due urgent entries in whatever size holds them, so a smaller size is no excuse. It fills the slots
    /// that its size has left with due ordinary entries. So a flood of registrations fills no batch of operations, and delays no urgent entry.
    /// @return late How many urgent entries are overdue.
    /// @return serves Whether the batch keeps strangers from the ordinary queue: only if it takes the due ordinary entries, or as many as the
    /// smallest size holds. A batch full of urgent entries is valid, but does not.
    function _requireDue(
        Queues memory queues,
        SizeBounds memory bounds,
        Size memory size,
        PublicInputs memory inputs,
        uint256 urgent
    ) private view returns (uint256 late, bool serves) {
        uint256 due = _olderThan(_urgent, queues.urgent, queues.office, QUEUE_DUE, inputs.time, bounds.largestL1);
        if (urgent < due) revert OverdueEntriesOmitted(QueueName.Urgent, urgent, due);
        // All overdue entries are among these: a batch is not older than what lies between `QUEUE_DUE` and `QUEUE_DEADLINE`.
        late = _olderThan(_urgent, queues.urgent, queues.office, QUEUE_DEADLINE, block.timestamp, due);

        uint256 ordinary = inputs.n1 - urgent;
        uint256 room = size.maxL1 - urgent;
        uint256 smallest = bounds.smallestL1;
        // Urgent entries can leave less room than the smallest size has. Then the batch may omit due entries, but does not serve.
        uint256 limit = room > smallest ? room : smallest;
        due = _olderThan(_ordinary, queues.ordinary, queues.office, QUEUE_DUE, inputs.time, limit);
        if (ordinary < due && ordinary < room) {
            revert OverdueEntriesOmitted(QueueName.Ordinary, ordinary, due < room ? due : room);
        }
        serves = ordinary >= due;
    }

    /// @dev A stranger settles the overdue urgent entries, whatever the sequencer settled meanwhile. The ordinary queue is open to strangers only
    /// while the sequencer is absent.
    /// @return overdue How many urgent entries are overdue.
    function _requireOverdue(
        Queues memory queues,
        SizeBounds memory bounds,
        Progress memory progress,
        PublicInputs memory inputs,
        uint256 urgent
    ) private view returns (uint256 overdue) {
        uint256 ordinary = inputs.n1 - urgent;
        overdue = _olderThan(_urgent, queues.urgent, queues.office, QUEUE_DEADLINE, block.timestamp, bounds.largestL1);
        // Younger urgent entries may come along: those that become overdue while the batch is proved do not make it void.
        uint256 overdueOrdinary;
        if (block.timestamp > UnixTime.unwrap(progress.strangersFrom)) {
            overdueOrdinary = _olderThan(
                _ordinary, queues.ordinary, queues.office, QUEUE_DEADLINE, block.timestamp, bounds.largestL1 - urgent
            );
        } else if (ordinary != 0) {
            revert NotSequencer(msg.sender);
        }
        if (overdue + overdueOrdinary == 0) revert NotSequencer(msg.sender);
        if (inputs.n != 0) revert OperationsBySequencerOnly(msg.sender);
        if (urgent < overdue) revert OverdueEntriesOmitted(QueueName.Urgent, urgent, overdue);
        // A batch of urgent entries alone is always good. One with ordinary entries starts an hour without strangers, so it must take all that fit.
        if ((ordinary != 0 || overdue == 0) && ordinary < overdueOrdinary) {
            revert OverdueEntriesOmitted(QueueName.Ordinary, ordinary, overdueOrdinary);
        }
    }

    /// @dev Tells governance which entries of a batch are overdue: their owners can claim a part of the bond.
    /// @param late How many. They are the first ones of the urgent queue.
    function _noteLate(Queues memory queues, uint256 late) private {
        if (late == 0) return;
        uint256 first = queues.urgent.head;
        governance.settledLate(QueueIndex.wrap(uint56(first)), QueueIndex.wrap(uint56(first + late)));
    }

    function _setSizes(uint64 revision, uint64 circuitVersion_, Size[] memory sizes_) private {
        if (sizes_.length == 0 || sizes_.length > MAX_SIZES) revert InvalidParameter("sizes");
        uint48 largestL1;
        uint48 smallestL1 = type(uint48).max;
        uint48 largestL2;
        for (uint256 i = 0; i < sizes_.length; ++i) {
            Size memory size = sizes_[i];
            if (size.verifier.code.length == 0) revert InvalidParameter("verifier");
            if (size.maxL1 == 0) revert InvalidParameter("maxL1");
            if (size.maxL1 > largestL1) largestL1 = size.maxL1;
            if (size.maxL1 < smallestL1) smallestL1 = size.maxL1;
            if (size.maxL2 > largestL2) largestL2 = size.maxL2;
            _sizes[i] = size;
        }
        if (largestL2 == 0) revert InvalidParameter("maxL2");
        // Otherwise registrars could starve forced revocations: they would shrink every size to one entry.
        if (largestL1 < _largestAtFirst) revert InvalidParameter("maxL1");
        _bounds = SizeBounds({
            revision: revision,
            circuitVersion: circuitVersion_,
            count: uint8(sizes_.length),
            largestL1: largestL1,
            smallestL1: smallestL1
        });
    }

    function _after(uint256 seconds_) private view returns (UnixTime) {
        return UnixTime.wrap(uint40(block.timestamp + seconds_));
    }

    /// @dev Requires that the arguments are in the calldata in order, without gaps, overlaps or extra bytes, and that the proof is padded
    /// with zeros. Solidity would also read other layouts, but the nodes that follow the rollup use other decoders.
    function _requireStandardCalldata(uint256[] calldata d1, uint256[] calldata d2, bytes calldata proof) private pure {
        bool standard;
        // The decoder refused lengths that the calldata do not hold.
        unchecked {
            // The selector, six words of `Batch`, three offsets. Each argument's length comes before its data.
            uint256 expectedD1 = 4 + 9 * 32 + 32;
            uint256 expectedD2 = expectedD1 + 32 * d1.length + 32;
            uint256 expectedProof = expectedD2 + 32 * d2.length + 32;
            uint256 end = expectedProof + (proof.length + 31) / 32 * 32;
            assembly ("memory-safe") {
                standard := and(eq(d1.offset, expectedD1), eq(d2.offset, expectedD2))
                standard := and(standard, and(eq(proof.offset, expectedProof), eq(calldatasize(), end)))
                // The last word ends with `padding` bytes, which must be 0. The shift drops all other bytes of the word. If
                // `padding` is 0, it shifts by 256 bits, which drops everything.
                let padding := sub(end, add(expectedProof, proof.length))
                standard := and(standard, iszero(shl(sub(256, shl(3, padding)), calldataload(sub(end, 32)))))
            }
        }
        if (!standard) revert NonStandardCalldata();
    }

    /// @dev Checks the claims.
    /// @return inputs The public inputs that follow from the claims alone; `z`, `y1` and `y2` are still 0.
    /// @return urgent How many of the entries are of the urgent queue: n1 at most, which is what the size holds at most.
    function _claims(
        Batch calldata batch,
        Size memory size,
        Progress memory progress,
        uint256 d1Words,
        uint256 d2Words
    ) private view returns (PublicInputs memory inputs, uint256 urgent) {
        StateRoot current = _stateRoot;
        if (!(batch.pre == current)) revert StaleBatch(current);
        uint256 post = StateRoot.unwrap(batch.post);
        if (post >= FIELD_MODULUS) revert NotCanonical(post);
        if (batch.commitment >= FIELD_MODULUS) revert NotCanonical(batch.commitment);

        uint256 time = UnixTime.unwrap(batch.time);
        uint256 earliest = UnixTime.unwrap(progress.time);
        if (block.timestamp > earliest + MAX_BATCH_AGE) earliest = block.timestamp - MAX_BATCH_AGE;
        if (time < earliest || time > block.timestamp) revert BatchTimeOutOfRange(earliest, block.timestamp);

        if (d1Words % 4 != 0) revert IncompleteEntry(d1Words);
        if (d2Words % 4 != 0) revert IncompleteEntry(d2Words);
        if (d1Words / 4 > size.maxL1) revert TooManyEntries(d1Words / 4, size.maxL1);
        urgent = batch.urgent;
        if (urgent > d1Words / 4) revert IncompleteEntry(d1Words);
        if (d2Words / 4 > size.maxL2) revert TooManyOperations(d2Words / 4, size.maxL2);

        inputs.domain = _domain();
        inputs.pre = StateRoot.unwrap(current);
        inputs.post = post;
        inputs.time = time;
        inputs.n1 = d1Words / 4;
        inputs.n = d2Words / 4;
        inputs.commitment = batch.commitment;
    }

    /// @dev The point at which D1 and D2 are evaluated. It is a hash of everything that the prover could choose.
    function _evaluationPoint(
        PublicInputs memory inputs,
        SizeBounds memory bounds,
        Size memory size,
        BatchNumber number,
        bytes32 queueHash,
        bytes32 dataHash
    ) private pure returns (uint256) {
        uint256[13] memory words = [
            inputs.domain,
            bounds.circuitVersion,
            size.maxL1,
            size.maxL2,
            BatchNumber.unwrap(number),
            inputs.pre,
            inputs.post,
            inputs.time,
            inputs.commitment,
            inputs.n1,
            inputs.n,
            uint256(queueHash),
            uint256(dataHash)
        ];
        bytes32 digest;
        assembly ("memory-safe") {
            // `abi.encode` would copy them.
            digest := keccak256(words, 416)
        }
        return uint256(digest) % FIELD_MODULUS;
    }

    function _evaluate(uint256[] calldata words, uint256 z) private pure returns (uint256) {
        (uint256 value, bool canonical) = Field.evaluate(words, z);
        if (!canonical) revert NotCanonical(Field.firstNotCanonical(words));
        return value;
    }

    /// @dev `keccak256` of words, which are copied to free memory and nowhere else.
    function _hash(uint256[] calldata words) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, words.length)
            calldatacopy(free, words.offset, size)
            hash := keccak256(free, size)
        }
    }

    /// @dev The verifier takes public inputs and proof as raw calldata, and reverts if the proof is wrong. The constructor checked that it
    /// has code.
    function _verify(address verifier, PublicInputs memory inputs, bytes calldata proof) private view {
        bool accepted;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mcopy(free, inputs, INPUT_BYTES)
            calldatacopy(add(free, INPUT_BYTES), proof.offset, proof.length)
            accepted := staticcall(gas(), verifier, free, add(INPUT_BYTES, proof.length), 0, 0)
        }
        if (!accepted) revert ProofRejected();
    }
}
