// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchNumber, StateRoot, UnixTime} from "./Types.sol";

/// @title Settlement of proven batches
interface ISettlement {
    /// @notice A size in which batches are proved. All sizes prove the same statement, each with its own key.
    /// @param verifier The contract that verifies its proofs. Its raw calldata are the public inputs and the proof. It reverts if the proof
    /// is wrong.
    /// @param maxL1 How many queue entries a batch holds.
    /// @param maxL2 How many L2 operations a batch holds; 0 for a size that only takes queue entries.
    struct Size {
        address verifier;
        uint48 maxL1;
        uint48 maxL2;
    }

    /// @notice The claims of a batch, without its data.
    /// @param size The position of its size in `sizes`.
    /// @param urgent How many of its queue entries are of the urgent queue. They come first.
    /// @param pre State root before the batch.
    /// @param post State root after the batch.
    /// @param time The time of all its operations.
    /// @param commitment Poseidon commitment `C` to its D1 and D2.
    struct Batch {
        uint8 size;
        uint16 urgent;
        StateRoot pre;
        StateRoot post;
        UnixTime time;
        uint256 commitment;
    }

    /// @notice A batch was proved and settled.
    /// @param number Its number; the first is 1.
    /// @param batch Its claims.
    /// @param n1 How many queue entries it took.
    /// @param n How many L2 operations it holds.
    /// @param dataHash `keccak256` of the 4n words of D2.
    event BatchSettled(
        BatchNumber indexed number, Batch batch, uint256 n1, uint256 n, bytes32 dataHash
    );
    /// @notice The sequencer took the registration fees.
    event FeesCollected(address indexed to, uint256 amount);

    /// @notice Only the sequencer may do this. But anyone may settle urgent entries that are overdue, and from `strangersFrom` on also
    /// ordinary ones.
    error NotSequencer(address caller);
    /// @notice A caller other than the sequencer may settle only overdue queue entries. D2 holds only hashes of what operations wrote,
    /// so the sequencer could not continue after operations that it does not know.
    error OperationsBySequencerOnly(address caller);
    /// @notice A transaction must call `settle` directly, from an account without code, so that anyone can read the batch's data from
    /// the transaction.
    error NotDirectCall(address caller);
    /// @notice The calldata are not in the ABI's standard encoding, so other decoders might not read them.
    error NonStandardCalldata();
    /// @notice The batch starts from another state root than the current one.
    error StaleBatch(StateRoot current);
    /// @notice The batch time is outside `max(previous time, now - 1 hour) ..= now`.
    error BatchTimeOutOfRange(uint256 earliest, uint256 latest);
    /// @notice A word is not below the field's modulus.
    error NotCanonical(uint256 word);
    /// @notice The length is not a multiple of four words, or there are fewer entries than the batch calls urgent.
    error IncompleteEntry(uint256 words);
    /// @notice There is no size at this position.
    error UnknownSize(uint256 size, uint256 count);
    /// @notice There are more queue entries than a batch of this size can hold.
    error TooManyEntries(uint256 supplied, uint256 capacity);
    /// @notice There are more L2 operations than a batch of this size can hold.
    error TooManyOperations(uint256 supplied, uint256 capacity);
    /// @notice The verifier rejected the proof.
    error ProofRejected();

    /// @notice Settles a batch with its data in calldata.
    /// @dev Sequencer only; or anyone without L2 operations: urgent entries that are overdue, and from `strangersFrom` on also ordinary
    /// ones. A transaction must call this directly, in standard encoding: arguments in order, without gaps, overlaps or extra bytes,
    /// and the proof padded with zeros.
    /// @param batch What it claims.
    /// @param d1 The words of the queue entries taken, four each: first those of the urgent queue, then those of the ordinary one.
    /// @param d2 The words of its L2 operations, four each: `pack(account 24, tree 2, slot 16)`, new leaf, audit entry, key directory.
    /// @param proof The proof, which the verifier reads after the public inputs.
    function settle(Batch calldata batch, uint256[] calldata d1, uint256[] calldata d2, bytes calldata proof) external;

    /// @notice Sends the registration fees to `to`. Sequencer only.
    function collectFees(address payable to) external;

    /// @notice The domain that every signed operation is bound to: `keccak256(abi.encode(chain id, this)) >> 8`.
    function domain() external view returns (uint256);

    /// @notice The current state root. Storage slot 0.
    function stateRoot() external view returns (StateRoot);

    /// @notice Number of the last settled batch, 0 before the first.
    function batchCount() external view returns (BatchNumber);

    /// @notice Time of the last settled batch, 0 before the first.
    function lastBatchTime() external view returns (UnixTime);

    /// @notice Seconds without a settlement of the sequencer after which strangers may settle the ordinary queue.
    function SEQUENCER_ABSENCE() external view returns (uint256);

    /// @notice Seconds after a stranger's settlement in which no stranger may settle the ordinary queue.
    function SEQUENCER_TURN() external view returns (uint256);

    /// @notice The time, by L1's clock, after which strangers may settle the ordinary queue.
    function strangersFrom() external view returns (UnixTime);

    /// @notice The sizes in which batches are proved.
    function sizes() external view returns (Size[] memory);

    /// @notice The circuit version that the sizes belong to.
    function circuitVersion() external view returns (uint256);
}
