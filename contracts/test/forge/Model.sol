// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IQueue} from "../../src/IQueue.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {Role, Standing} from "../../src/Types.sol";
import {Batches} from "./Batches.sol";
import {Owners} from "./Owners.sol";
import {least, vm} from "./Vm.sol";

/// @title What the rollup should hold, and whether it should refuse a call
/// @notice A second, plain description of the contracts. It keeps whole entries and whole accounts, and counts what waits by kind, where the
/// contracts keep hashes and positions.
abstract contract Model is Batches, Owners {
    uint256 internal constant DUE = 5 hours;
    uint256 internal constant DEADLINE = 6 hours;

    enum Kind {
        Register,
        RevokeSlot,
        RevokeAll,
        Status,
        Keys
    }

    struct Item {
        uint256[4] words;
        uint24 account;
        Kind kind;
        uint256 time;
    }

    struct Owner {
        address addr;
        uint256 key;
        Role role;
        uint24 account;
        uint256 nonce;
        /// The account that they registered and gave away at least once.
        uint24 gave;
    }

    struct Account {
        uint256 owner;
        uint256 registrant;
        Role role;
        Standing standing;
        uint24 org;
        bool second;
        bool settled;
    }

    Owner[] internal owners;
    /// The first account has index 1.
    Account[] internal accounts;
    Item[] public urgent;
    Item[] public ordinary;
    uint256 public urgentHead;
    uint256 public ordinaryHead;
    mapping(uint24 account => mapping(Kind kind => uint256)) public waiting;
    mapping(uint24 hospital => mapping(address doctor => bool)) internal endorsed;

    uint256 public root = GENESIS;
    uint64 public batches;
    uint256 public lastTime;
    /// Strangers wait this long from this time on, and longer during a halt.
    uint256 private _waitFrom;
    uint256 private _waitTime;

    struct Halt {
        uint256 from;
        uint256 until;
    }

    /// All halts, oldest first. The contracts know only the last one.
    Halt[] public halts;
    /// Who is the sequencer.
    address public office = SEQUENCER;
    /// The urgent entries that were overdue when they were settled, and in which settlement of such entries.
    struct LateEntry {
        uint256 late;
        uint256 index;
    }

    LateEntry[] public lateEntries;
    uint256 public lateInAll;

    mapping(address => uint256) public credit;
    uint256 public creditInAll;
    uint256 public fees;
    uint256 public burnt;
    /// What a registration costs.
    uint256 public registrationFee = FEE;
    /// For each queue, hashes of its first entries: of the first, of the first two, and so on.
    mapping(bool urgents => bytes32[]) private _appended;
    /// The same of all words that batches brought.
    mapping(bool urgents => bytes32) private _applied;

    /// @dev From when on strangers may settle the ordinary queue.
    function strangersFrom() public view returns (uint256) {
        return _end(_waitFrom, _waitTime);
    }

    function _strangersWait(uint256 time) internal {
        (_waitFrom, _waitTime) = (block.timestamp, time);
    }

    function haltsInAll() external view returns (uint256) {
        return halts.length;
    }

    function lastHaltUntil() external view returns (uint256) {
        return halts[halts.length - 1].until;
    }

    function halted() public view returns (bool) {
        return halts.length != 0 && block.timestamp < halts[halts.length - 1].until;
    }

    /// @dev How much of the time since `start` has passed: a halt does not count.
    function _passed(uint256 start, uint256 time) internal view returns (uint256 passed) {
        if (time <= start) return 0;
        passed = time - start;
        for (uint256 i = 0; i < halts.length; ++i) {
            uint256 from = halts[i].from > start ? halts[i].from : start;
            uint256 until = least(halts[i].until, time);
            if (from < until) passed -= until - from;
        }
    }

    /// @dev The last second at which no more than this time has passed since `start`.
    function _end(uint256 start, uint256 time) internal view returns (uint256 end) {
        end = start + time;
        for (uint256 i = 0; i < halts.length; ++i) {
            if (_passed(start, halts[i].until) <= time && start < halts[i].until) {
                end = halts[i].until + time - _passed(start, halts[i].until);
            }
        }
    }

    function urgentLength() public view returns (uint256) {
        return urgent.length;
    }

    function ordinaryLength() public view returns (uint256) {
        return ordinary.length;
    }

    function accountsInAll() public view returns (uint256) {
        return accounts.length;
    }

    function standing(uint24 account) public view returns (Standing) {
        return accounts[account - 1].standing;
    }

    /// @dev Which error an urgent entry of this account should meet.
    function _changeError(uint24 account, Kind kind, uint256 value) internal view returns (bytes4) {
        if (!accounts[account - 1].settled || waiting[account][kind] != 0) return IQueue.EntryWaiting.selector;
        return value < _urgentFee() ? IQueue.UrgentFeeMissing.selector : DONE;
    }

    function _urgentFee() internal view returns (uint256) {
        uint256 ahead = urgent.length - urgentHead;
        return ahead < 128 ? 0 : (ahead - 127) * 0.0001 ether;
    }

    function _pushUrgent(uint24 account, Kind kind, uint256[4] memory words, address sender, uint256 value) internal {
        uint256 fee = _urgentFee();
        burnt += fee;
        credit[sender] += value - fee;
        creditInAll += value - fee;
        urgent.push(Item(words, account, kind, block.timestamp));
        _append(true, words);
        ++waiting[account][kind];
    }

    function _pushOrdinary(uint24 account) internal {
        Account storage it = accounts[account - 1];
        address owner = owners[it.owner].addr;
        it.standing = Standing.Admitted;
        uint256[4] memory words = _registerEntry(account, it.role, it.org, _keys(owner, it.role, it.second));
        ordinary.push(Item(words, account, Kind.Register, block.timestamp));
        _append(false, words);
    }

    /// @dev How many entries at the head of a queue are older than this.
    function _older(bool urgents, uint256 age, uint256 time) internal view returns (uint256 count) {
        Item[] storage queue = urgents ? urgent : ordinary;
        uint256 head = urgents ? urgentHead : ordinaryHead;
        while (head + count < queue.length && _passed(queue[head + count].time, time) > age) ++count;
    }

    function dueAt(uint256 time) public view returns (uint256, uint256) {
        return (least(_older(true, DUE, time), _largestL1()), least(_older(false, DUE, time), _largestL1()));
    }

    function overdue() public view returns (uint256, uint256) {
        return (
            least(_older(true, DEADLINE, block.timestamp), _largestL1()),
            least(_older(false, DEADLINE, block.timestamp), _largestL1())
        );
    }

    /// @dev Which error a batch of the sequencer should meet that takes this many entries, and is otherwise right.
    function _sequencerError(Draft memory draft, uint256 registrations) internal view returns (bytes4) {
        uint256 due = least(_older(true, DUE, draft.time), _largestL1());
        if (draft.urgent < due) return IQueue.OverdueEntriesOmitted.selector;
        due = least(_older(false, DUE, draft.time), sizes[draft.size].maxL1 - draft.urgent);
        return registrations < due ? IQueue.OverdueEntriesOmitted.selector : DONE;
    }

    /// @dev The same for anyone else.
    function _strangerError(Draft memory draft, uint256 registrations) internal view returns (bytes4) {
        bool open = block.timestamp > strangersFrom();
        uint256 late = least(_older(true, DEADLINE, block.timestamp), _largestL1());
        uint256 lateOrdinary =
            open ? least(_older(false, DEADLINE, block.timestamp), _largestL1() - draft.urgent) : 0;
        if (!open && registrations != 0 || late + lateOrdinary == 0) return ISettlement.NotSequencer.selector;
        if (draft.d2.length != 0) return ISettlement.OperationsBySequencerOnly.selector;
        if (draft.urgent < late) return IQueue.OverdueEntriesOmitted.selector;
        if ((registrations != 0 || late == 0) && registrations < lateOrdinary) {
            return IQueue.OverdueEntriesOmitted.selector;
        }
        return DONE;
    }

    /// @dev A batch was settled.
    function _settled(bool bySequencer, Draft memory draft, uint256 registrations) internal {
        if (!bySequencer) {
            if (registrations != 0) _strangersWait(1 hours);
        } else if (registrations >= least(_older(false, DUE, draft.time), _smallestL1())) {
            _strangersWait(24 hours);
        }
        vm.assertEq(draft.pre, root, "a batch on another root");
        for (uint256 i = 0; i < draft.d1.length; i += 4) {
            bool urgents = i < 4 * draft.urgent;
            uint256[4] memory words = [draft.d1[i], draft.d1[i + 1], draft.d1[i + 2], draft.d1[i + 3]];
            _applied[urgents] = keccak256(abi.encode(_applied[urgents], words));
        }
        uint256 late = least(_older(true, DEADLINE, block.timestamp), draft.urgent);
        for (uint256 i = 0; i < late; ++i) lateEntries.push(LateEntry(lateInAll, urgentHead + i));
        if (late != 0) ++lateInAll;
        for (uint256 i = 0; i < draft.urgent; ++i) {
            Item storage item = urgent[urgentHead++];
            --waiting[item.account][item.kind];
        }
        for (uint256 i = 0; i < registrations; ++i) accounts[ordinary[ordinaryHead++].account - 1].settled = true;
        root = draft.post;
        lastTime = draft.time;
        ++batches;
    }

    /// @dev What all batches brought are the first entries of a queue, up to this head: none was skipped, and none came twice.
    function broughtUpTo(bool urgents, uint256 head) public view returns (bool) {
        return _applied[urgents] == (head == 0 ? bytes32(0) : _appended[urgents][head - 1]);
    }

    function _append(bool urgents, uint256[4] memory words) private {
        bytes32[] storage hashes = _appended[urgents];
        hashes.push(keccak256(abi.encode(hashes.length == 0 ? bytes32(0) : hashes[hashes.length - 1], words)));
    }

    /// @dev The words of entries at the heads: urgent ones, then registrations.
    function _words(uint256 urgents, uint256 registrations) internal view returns (uint256[] memory words) {
        words = new uint256[](4 * (urgents + registrations));
        for (uint256 i = 0; i < urgents + registrations; ++i) {
            Item storage item = i < urgents ? urgent[urgentHead + i] : ordinary[ordinaryHead + i - urgents];
            for (uint256 j = 0; j < 4; ++j) words[4 * i + j] = item.words[j];
        }
    }

    /// @dev Which error a call of an owner should meet before the fields of the call are read.
    function _ownerError(Owner storage owner, bool mustBeOpen) internal view returns (bytes4) {
        if (owner.account == 0) return IAccountChanges.NotRegistered.selector;
        Standing now_ = accounts[owner.account - 1].standing;
        bool open = now_ == Standing.Admitted || now_ == Standing.Suspended;
        return mustBeOpen && !open ? IAccountChanges.NotOpen.selector : DONE;
    }

    function _registerError(Owner storage owner, bool relayed, uint24 org, uint256 value)
        internal
        view
        returns (bytes4)
    {
        if (relayed && owner.nonce != 0) return IRegistry.RelayedRegistrationUsed.selector;
        if (value != registrationFee) return IRegistry.WrongFee.selector;
        if (owner.account != 0 || owner.gave != 0) return IRegistry.AlreadyRegistered.selector;
        if (org != 0 && owner.role != Role.Doctor) return IRegistry.UnexpectedOrganisation.selector;
        return _consentError(org, owner.addr);
    }

    /// @dev Which error a doctor of this organisation should meet. None without an organisation.
    function _consentError(uint24 org, address doctor) internal view returns (bytes4) {
        if (org == 0) return DONE;
        if (!_isHospital(org)) return IRegistry.NotAdmittedHospital.selector;
        return endorsed[org][doctor] ? DONE : IRegistry.NotEndorsed.selector;
    }

    function _isHospital(uint24 account) internal view returns (bool) {
        if (account == 0 || account > accounts.length) return false;
        Account storage it = accounts[account - 1];
        return it.role == Role.Hospital && it.standing == Standing.Admitted;
    }
}
