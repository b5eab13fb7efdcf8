// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISettlement} from "../ISettlement.sol";
import {AccountIndex, QueueIndex, UnixTime} from "../Types.sol";

/// @title Who holds the offices of a rollup, and what they change
/// @notice The rollup's constructor creates this contract, so the rollup's address commits to it. It is OpenZeppelin's `TimelockController`:
/// registrars propose, anyone executes what waited for 14 days. Its operations call only this contract: its functions are what can be
/// changed.
interface IGovernance {
    /// @notice Who holds the offices in the beginning.
    /// @param registrars They admit and suspend doctors and hospitals, and propose changes. At least one.
    /// @param guardians They halt settlement and cancel proposals. There may be none.
    /// @param threshold How many guardians must agree. 0 exactly if there is none.
    /// @param forfeit What the owner of an overdue urgent entry gets of the sequencer's bond, in wei.
    struct Officers {
        address[] registrars;
        address[] guardians;
        uint16 threshold;
        uint96 forfeit;
    }

    /// @notice A time in which one account was the sequencer.
    struct Term {
        address sequencer;
        UnixTime from;
    }

    /// @notice Urgent entries that were overdue when they were settled: from `first` to before `end`.
    struct Late {
        QueueIndex first;
        QueueIndex end;
    }

    /// @notice A term as sequencer began.
    event SequencerAppointed(uint256 indexed term, address indexed sequencer);
    /// @notice The sequencer offers the office to another account.
    event SequencerOffered(address indexed from, address indexed to);
    /// @notice A hospital votes for a hospital as sequencer, or with 0 for none.
    event Voted(AccountIndex indexed hospital, AccountIndex indexed candidate);
    /// @notice More than half of the hospitals vote for this candidate, who can take the office from this time on.
    event Elected(AccountIndex indexed candidate, UnixTime from);
    /// @notice The candidate has no majority any more.
    event ElectionLost(AccountIndex indexed candidate);
    /// @notice A guardian agreed to an action: `HALT`, `RESUME` or the identifier of a proposal to cancel.
    event Agreed(address indexed guardian, bytes32 indexed action);
    /// @notice How many guardians must agree.
    event ThresholdChanged(uint16 threshold);
    /// @notice What the owner of an overdue entry gets.
    event ForfeitChanged(uint96 forfeit);
    /// @notice The bond of an account that is or was the sequencer.
    event BondDeposited(address indexed sequencer, uint256 amount);
    event BondWithdrawn(address indexed sequencer, uint256 amount);
    /// @notice The owner of an entry that was settled late got a part of the bond.
    event Forfeited(address indexed sequencer, QueueIndex indexed index, address to, uint256 amount);
    /// @notice Urgent entries were overdue when they were settled.
    event SettledLate(uint256 indexed late, QueueIndex first, QueueIndex end);

    /// @notice Only the rollup calls this.
    error RollupRequired(address caller);
    /// @notice Only an operation of the timelock does this.
    error TimelockRequired(address caller);
    /// @notice Operations of the timelock call only this contract, and send no ether.
    error NotThroughTimelock(address target, uint256 value);
    /// @notice Proposals wait from 14 to 90 days.
    error DelayOutOfRange(uint256 delay, uint256 shortest, uint256 longest);
    /// @notice Only registrars and guardians come and go.
    error FixedRole(bytes32 role);
    /// @notice There must always be a registrar.
    error RegistrarRequired();
    /// @notice More guardians are needed than there are, or none although there are some.
    error InvalidThreshold(uint256 threshold, uint256 guardians);
    /// @notice Only the registrar who made a proposal withdraws it.
    error NotProposer(address caller);
    /// @notice The account is no hospital that is admitted and not suspended.
    error NotActiveHospital(address caller);
    /// @notice The hospital can vote from this time on.
    error VotesFrom(uint256 time);
    /// @notice The candidate is not elected, or can take the office only from this time on.
    error NotElected(AccountIndex candidate, uint256 from);
    /// @notice Nobody offered the office to the caller.
    error NotOffered(address caller);
    /// @notice The bond stays for a time after the last term.
    error BondLocked(uint256 until);
    /// @notice There is no bond.
    error NoBond(address sequencer);
    /// @notice The entry was not settled late, is not the caller's, or was paid already.
    error NoForfeit(QueueIndex index);

    /// @notice Votes for a hospital as sequencer; with 0 for none. The caller owns a hospital that was active for 30 days.
    function vote(AccountIndex candidate) external;

    /// @notice Counts again: the hospitals that count 30 days ago change with time. Anyone may call this.
    function count(AccountIndex candidate) external;

    /// @notice Takes the office. The caller owns the hospital that has had the majority for two days.
    function install() external;

    /// @notice Offers the office to another account, at once. Sequencer only; 0 takes an offer back.
    function offer(address to) external;

    /// @notice Takes the office that the sequencer offered, and its bond. What is forfeited of earlier terms is paid of this bond, too.
    function accept(address from) external;

    /// @notice Agrees to halt settlement for 21 days. It halts when enough guardians agreed within three days.
    function halt() external;

    /// @notice Agrees to end a halt.
    function resume() external;

    /// @notice Agrees to cancel a proposal. What was cancelled and proposed again needs new agreements.
    function veto(bytes32 proposal) external;

    /// @notice Withdraws a proposal. Only the registrar who made it.
    function withdrawProposal(bytes32 proposal) external;

    /// @notice Makes this account the sequencer. Through the timelock.
    function appoint(address sequencer) external;

    /// @notice Replaces the sizes. Through the timelock.
    /// @param circuitVersion The circuit version that they belong to.
    /// @param sizes One to eight. The largest `maxL1` may not be less than at the deployment: otherwise registrars could starve forced
    /// revocations by sizes of one entry. One that is too large for any proof stops settlement until it is changed back.
    function changeSizes(uint64 circuitVersion, ISettlement.Size[] calldata sizes) external;

    /// @notice Changes the registration fee. Through the timelock.
    function changeRegistrationFee(uint256 fee) external;

    /// @notice Changes how many guardians must agree. Through the timelock.
    function changeThreshold(uint16 threshold) external;

    /// @notice Changes what overdue entries get. Through the timelock.
    function changeForfeit(uint96 forfeit) external;

    /// @notice Adds to the bond of an account.
    function depositBond(address sequencer) external payable;

    /// @notice Withdraws the caller's bond, 30 days after the caller's last term.
    function withdrawBond(address payable to) external;

    /// @notice Pays the caller for an urgent entry of theirs that was settled late. Until 150 days after it was appended.
    /// @param late The position of the event `SettledLate`.
    /// @param index The position of the entry.
    /// @param words Its words.
    /// @param term The position of the term in which it became overdue.
    function claimForfeit(uint256 late, QueueIndex index, uint256[4] calldata words, uint256 term, address payable to)
        external;

    /// @notice The rollup says that a hospital became active, or no longer is.
    function hospitalChanged(AccountIndex hospital, bool active) external;

    /// @notice The rollup says that it settles overdue urgent entries.
    function settledLate(QueueIndex first, QueueIndex end) external;

    /// @notice Whether an account is a registrar.
    function isRegistrar(address account) external view returns (bool);

    /// @notice All registrars.
    function registrars() external view returns (address[] memory);

    /// @notice All guardians, and how many must agree.
    function guardians() external view returns (address[] memory all, uint16 threshold);

    /// @notice Since when a hospital is active, or 0.
    function activeSince(AccountIndex hospital) external view returns (UnixTime);

    /// @notice For which hospital a hospital votes.
    function voteOf(AccountIndex hospital) external view returns (AccountIndex);

    /// @notice How many votes a candidate has, and more than how many halves they need: how many hospitals were active 30 days ago.
    function votes(AccountIndex candidate) external view returns (uint256 votes_, uint256 hospitals);

    /// @notice Who can take the office, and from when on.
    function election() external view returns (AccountIndex candidate, UnixTime from);

    /// @notice To whom an account offers the office.
    function offerOf(address from) external view returns (address);

    /// @notice What the owner of an overdue entry gets, in wei.
    function forfeit() external view returns (uint96);

    /// @notice The bond of an account, in wei.
    function bondOf(address sequencer) external view returns (uint256);

    /// @notice All bonds together, in wei.
    function bonds() external view returns (uint256);

    /// @notice A term.
    function termAt(uint256 term) external view returns (Term memory);

    /// @notice How many terms there were.
    function terms() external view returns (uint256);

    /// @notice A settlement of overdue entries.
    function lateAt(uint256 late) external view returns (Late memory);
}
