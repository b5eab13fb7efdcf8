// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IQueue} from "../IQueue.sol";
import {AccountIndex, QueueIndex, QueueName, UnixTime} from "../Types.sol";
import {IGovernance} from "./IGovernance.sol";
import {Succession} from "./Succession.sol";

/// @title What the sequencer puts up for the urgent queue
/// @notice Only an entry that was overdue when it was settled takes from the bond. L1 cannot judge other promises of a hospital: it does not see
/// receipts, and what was returned to its author.
abstract contract Bond is Succession {
    /// How long a bond stays after the last term of its owner.
    uint256 public constant BOND_TIME = 30 days;
    /// How long after an entry was appended its owner can claim. Shorter than the time between two halts less a halt: the rollup knows the last
    /// halt only, and so knows for sure when the entry became overdue.
    uint256 public constant CLAIM_TIME = 150 days;

    uint96 private _forfeit;
    uint256 private _bonds;
    uint256 private _purses;
    /// Bonds lie in purses, numbered from 1. Who accepts an office gets the purse, and with it what was forfeited before.
    mapping(uint256 purse => uint256) private _amountIn;
    mapping(address sequencer => uint256 purse) private _purseOf;
    mapping(uint256 term => uint256 purse) private _purseOfTerm;
    /// Into which purse the content of another one went. A chain grows by an election or an appointment, never by offers alone.
    mapping(uint256 purse => uint256 into) private _emptiedInto;
    Late[] private _late;
    mapping(QueueIndex index => bool) private _paid;

    constructor(uint96 forfeit_) {
        _setForfeit(forfeit_);
    }

    /// @inheritdoc IGovernance
    function depositBond(address sequencer) external payable {
        _amountIn[_openPurse(sequencer)] += msg.value;
        _bonds += msg.value;
        emit BondDeposited(sequencer, msg.value);
    }

    /// @inheritdoc IGovernance
    function withdrawBond(address payable to) external {
        bool inOffice = msg.sender == _terms[_terms.length - 1].sequencer;
        uint256 until = inOffice ? type(uint256).max : UnixTime.unwrap(_left[msg.sender]) + BOND_TIME;
        if (block.timestamp < until) revert BondLocked(until);
        uint256 purse = _purseOf[msg.sender];
        uint256 amount = _amountIn[purse];
        if (amount == 0) revert NoBond(msg.sender);
        emit BondWithdrawn(msg.sender, amount);
        _pay(purse, to, amount);
    }

    /// @inheritdoc IGovernance
    function claimForfeit(uint256 late, QueueIndex index, uint256[4] calldata words, uint256 term, address payable to)
        external
    {
        if (late >= _late.length || _paid[index] || !_isLate(_late[late], index)) revert NoForfeit(index);
        (bytes27 wordsHash, uint256 appended) = ROLLUP.queueEntry(QueueName.Urgent, index);
        // Bits 59 to 82 of the first word are the account.
        AccountIndex account = AccountIndex.wrap(uint24(words[0] >> 59));
        bool known = bytes27(keccak256(abi.encode(words))) == wordsHash;
        if (!known || ROLLUP.ownerOf(account) != msg.sender) revert NoForfeit(index);
        if (block.timestamp > appended + CLAIM_TIME) revert NoForfeit(index);

        address sequencer = _sequencerAt(term, ROLLUP.overdueAt(UnixTime.wrap(uint40(appended))), index);
        uint256 purse = _purseOfTerm[term];
        while (_emptiedInto[purse] != 0) purse = _emptiedInto[purse];
        uint256 bond = _amountIn[purse];
        uint256 amount = bond < _forfeit ? bond : _forfeit;
        // What is owed stays owed until there is something to pay.
        if (amount == 0) revert NoBond(sequencer);
        _paid[index] = true;
        emit Forfeited(sequencer, index, to, amount);
        _pay(purse, to, amount);
    }

    /// @inheritdoc IGovernance
    function changeForfeit(uint96 forfeit_) external onlyTimelock {
        _setForfeit(forfeit_);
    }

    /// @inheritdoc IGovernance
    function settledLate(QueueIndex first, QueueIndex end) external onlyRollup {
        emit SettledLate(_late.length, first, end);
        _late.push(Late({first: first, end: end}));
    }

    /// @inheritdoc IGovernance
    function forfeit() external view returns (uint96) {
        return _forfeit;
    }

    /// @inheritdoc IGovernance
    function bondOf(address sequencer) external view returns (uint256) {
        return _amountIn[_purseOf[sequencer]];
    }

    /// @inheritdoc IGovernance
    function bonds() external view returns (uint256) {
        return _bonds;
    }

    /// @inheritdoc IGovernance
    function lateAt(uint256 late) external view returns (Late memory) {
        return _late[late];
    }

    /// @dev The sequencer of a term, if the time is in this term.
    function _sequencerAt(uint256 term, uint256 time, QueueIndex index) private view returns (address) {
        uint256 count_ = _terms.length;
        bool inTerm = term < count_ && UnixTime.unwrap(_terms[term].from) <= time
            && (term + 1 == count_ || time < UnixTime.unwrap(_terms[term + 1].from));
        if (!inTerm) revert NoForfeit(index);
        return _terms[term].sequencer;
    }

    /// @dev The bond goes with the office, and so does what it owes. Otherwise a sequencer would pass the office to another key of its own before
    /// or after it lets an entry become overdue.
    function _officePassed(address from, address to) internal override {
        if (from == to) return;
        (uint256 purse, uint256 other) = (_purseOf[from], _purseOf[to]);
        if (other != 0) {
            _amountIn[purse] += _amountIn[other];
            _amountIn[other] = 0;
            _emptiedInto[other] = purse;
        }
        (_purseOf[from], _purseOf[to]) = (0, purse);
    }

    function _termBegan(uint256 term, address sequencer) internal override {
        _purseOfTerm[term] = _openPurse(sequencer);
    }

    function _openPurse(address owner) private returns (uint256 purse) {
        purse = _purseOf[owner];
        if (purse == 0) {
            purse = ++_purses;
            _purseOf[owner] = purse;
        }
    }

    function _isLate(Late memory late, QueueIndex index) private pure returns (bool) {
        uint256 position = QueueIndex.unwrap(index);
        return QueueIndex.unwrap(late.first) <= position && position < QueueIndex.unwrap(late.end);
    }

    function _pay(uint256 purse, address payable to, uint256 amount) private {
        _amountIn[purse] -= amount;
        _bonds -= amount;
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert IQueue.TransferFailed(to);
    }

    function _setForfeit(uint96 forfeit_) private {
        _forfeit = forfeit_;
        emit ForfeitChanged(forfeit_);
    }
}
