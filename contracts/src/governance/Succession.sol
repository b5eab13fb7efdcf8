// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {AccountIndex, UnixTime} from "../Types.sol";
import {IGovernance} from "./IGovernance.sol";
import {Offices} from "./Offices.sol";

/// @title Who is the sequencer
/// @notice The sequencer passes the office on, or hospitals give it to one of them by a vote, or registrars do through the timelock.
abstract contract Succession is Offices {
    using Checkpoints for Checkpoints.Trace208;

    /// How long a hospital is active before it votes, and before it counts.
    uint256 public constant VOTER_AGE = 30 days;
    /// How long the sequencer stays after a vote.
    uint256 public constant NOTICE = 2 days;

    AccountIndex private constant NOBODY = AccountIndex.wrap(0);
    UnixTime private constant NEVER = UnixTime.wrap(0);

    Term[] internal _terms;
    /// When the last term of an account ended.
    mapping(address sequencer => UnixTime) internal _left;
    mapping(address from => address to) private _offers;
    mapping(AccountIndex hospital => UnixTime) private _activeSince;
    mapping(AccountIndex hospital => AccountIndex candidate) private _votes;
    mapping(AccountIndex candidate => uint256) private _tally;
    /// How many hospitals were active, by time.
    Checkpoints.Trace208 private _active;
    AccountIndex private _elected;
    UnixTime private _electedFrom;

    constructor(address sequencer) {
        _beginTerm(sequencer);
    }

    /// @inheritdoc IGovernance
    function vote(AccountIndex candidate) external {
        AccountIndex hospital = _callersHospital();
        uint256 from = UnixTime.unwrap(_activeSince[hospital]) + VOTER_AGE;
        if (block.timestamp < from) revert VotesFrom(from);
        if (!(candidate == NOBODY) && UnixTime.unwrap(_activeSince[candidate]) == 0) {
            revert NotActiveHospital(ROLLUP.ownerOf(candidate));
        }
        _moveVote(hospital, candidate);
    }

    /// @inheritdoc IGovernance
    function count(AccountIndex candidate) public {
        bool majority = !(candidate == NOBODY) && _hasMajority(candidate);
        if (majority && !(candidate == _elected)) {
            _elected = candidate;
            _electedFrom = UnixTime.wrap(uint40(block.timestamp + NOTICE));
            emit Elected(candidate, _electedFrom);
        } else if (!majority && candidate == _elected && !(candidate == NOBODY)) {
            (_elected, _electedFrom) = (NOBODY, NEVER);
            emit ElectionLost(candidate);
        }
    }

    /// @inheritdoc IGovernance
    function install() external {
        AccountIndex hospital = _callersHospital();
        uint256 from = UnixTime.unwrap(_electedFrom);
        bool elected = hospital == _elected && _hasMajority(hospital);
        if (!elected || block.timestamp < from) revert NotElected(hospital, elected ? from : 0);
        (_elected, _electedFrom) = (NOBODY, NEVER);
        _appoint(msg.sender);
    }

    /// @inheritdoc IGovernance
    function offer(address to) external {
        if (msg.sender != ROLLUP.sequencer()) revert NotOffered(msg.sender);
        _offers[msg.sender] = to;
        emit SequencerOffered(msg.sender, to);
    }

    /// @inheritdoc IGovernance
    function accept(address from) external {
        if (_offers[from] != msg.sender || from != ROLLUP.sequencer()) revert NotOffered(msg.sender);
        _officePassed(from, msg.sender);
        _appoint(msg.sender);
    }

    /// @inheritdoc IGovernance
    function appoint(address sequencer) external onlyTimelock {
        _appoint(sequencer);
    }

    /// @inheritdoc IGovernance
    function hospitalChanged(AccountIndex hospital, bool active) external onlyRollup {
        uint48 time = uint48(block.timestamp);
        if (active) {
            _activeSince[hospital] = UnixTime.wrap(uint40(time));
            _active.push(time, _active.latest() + 1);
        } else {
            _activeSince[hospital] = NEVER;
            _active.push(time, _active.latest() - 1);
            _moveVote(hospital, NOBODY);
        }
    }

    /// @inheritdoc IGovernance
    function activeSince(AccountIndex hospital) external view returns (UnixTime) {
        return _activeSince[hospital];
    }

    /// @inheritdoc IGovernance
    function voteOf(AccountIndex hospital) external view returns (AccountIndex) {
        return _votes[hospital];
    }

    /// @inheritdoc IGovernance
    function votes(AccountIndex candidate) public view returns (uint256 votes_, uint256 hospitals) {
        // A chain for development can begin at time 0.
        uint256 then = block.timestamp > VOTER_AGE ? block.timestamp - VOTER_AGE : 0;
        return (_tally[candidate], _active.upperLookupRecent(uint48(then)));
    }

    /// @inheritdoc IGovernance
    function election() external view returns (AccountIndex candidate, UnixTime from) {
        return (_elected, _electedFrom);
    }

    /// @inheritdoc IGovernance
    function offerOf(address from) external view returns (address) {
        return _offers[from];
    }

    /// @inheritdoc IGovernance
    function termAt(uint256 term) external view returns (Term memory) {
        return _terms[term];
    }

    /// @inheritdoc IGovernance
    function terms() external view returns (uint256) {
        return _terms.length;
    }

    /// @dev A hospital that votes was active 30 days ago, so votes never exceed the hospitals that count.
    function _hasMajority(AccountIndex candidate) private view returns (bool) {
        (uint256 votes_, uint256 hospitals) = votes(candidate);
        return 2 * votes_ > hospitals && UnixTime.unwrap(_activeSince[candidate]) != 0;
    }

    function _moveVote(AccountIndex hospital, AccountIndex candidate) private {
        // Who lost the majority by the passing of time, and gets it back now, waits again.
        count(_elected);
        AccountIndex before = _votes[hospital];
        if (!(before == NOBODY)) --_tally[before];
        _votes[hospital] = candidate;
        if (!(candidate == NOBODY)) ++_tally[candidate];
        emit Voted(hospital, candidate);
        if (!(before == candidate)) count(before);
        count(candidate);
        // A candidate that is no hospital any more loses the office that it has not taken.
        if (UnixTime.unwrap(_activeSince[hospital]) == 0) count(hospital);
    }

    /// @dev The sequencer passes the office on.
    function _officePassed(address from, address to) internal virtual;

    /// @dev A term begins.
    function _termBegan(uint256 term, address sequencer) internal virtual;

    function _appoint(address sequencer) private {
        address before = _terms[_terms.length - 1].sequencer;
        _left[before] = UnixTime.wrap(uint40(block.timestamp));
        // An offer must not come back with a later term.
        delete _offers[before];
        _beginTerm(sequencer);
        ROLLUP.setSequencer(sequencer);
    }

    function _beginTerm(address sequencer) private {
        _terms.push(Term({sequencer: sequencer, from: UnixTime.wrap(uint40(block.timestamp))}));
        _termBegan(_terms.length - 1, sequencer);
        emit SequencerAppointed(_terms.length - 1, sequencer);
    }

    function _callersHospital() private view returns (AccountIndex hospital) {
        hospital = ROLLUP.accountOf(msg.sender);
        if (UnixTime.unwrap(_activeSince[hospital]) == 0) revert NotActiveHospital(msg.sender);
    }
}
