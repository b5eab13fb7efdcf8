// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, BatchNumber, QueueIndex, QueueName, Role, UnixTime} from "../../src/Types.sol";
import {Batches} from "./Batches.sol";
import {Owners} from "./Owners.sol";
import {vm} from "./Vm.sol";

/// @title What tests of the governance need: proposals, hospitals, patients, and batches of what waits
abstract contract Governing is Batches, Owners {
    uint256 internal constant HALT_TIME = 21 days;
    bytes32 internal constant PROPOSER_ROLE = keccak256("PROPOSER_ROLE");
    bytes32 internal constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");

    uint256[4][] internal urgentWords;
    uint256[4][] internal ordinaryWords;

    function _schedule(address from, bytes memory data, uint256 salt) internal returns (bytes4) {
        return _scheduleFor(from, address(governance), data, salt, DELAY);
    }

    function _scheduleFor(address from, address target, bytes memory data, uint256 salt, uint256 delay)
        internal
        returns (bytes4)
    {
        return _govern(from, 0, abi.encodeCall(governance.schedule, (target, 0, data, 0, bytes32(salt), delay)));
    }

    function _execute(bytes memory data, uint256 salt) internal returns (bytes4) {
        return _govern(
            STRANGER, 0, abi.encodeCall(governance.execute, (address(governance), 0, data, 0, bytes32(salt)))
        );
    }

    function _id(bytes memory data, uint256 salt) internal view returns (bytes32) {
        return governance.hashOperation(address(governance), 0, data, 0, bytes32(salt));
    }

    /// @dev The registrar proposes a call of the governance, and a stranger executes it 14 days later. Returns how the execution ends.
    function _change(bytes memory data) internal returns (bytes4) {
        uint256 salt = block.timestamp;
        _expect(DONE, _schedule(REGISTRAR, data, salt), "propose");
        vm.warp(block.timestamp + DELAY);
        return _execute(data, salt);
    }

    /// @dev Guardians 0 and 1 halt settlement.
    function _halt() internal {
        for (uint256 i = 0; i < THRESHOLD; ++i) {
            _expect(DONE, _govern(_guardian(i), 0, abi.encodeCall(governance.halt, ())), "halt");
        }
    }

    function _resume() internal {
        for (uint256 i = 0; i < THRESHOLD; ++i) {
            _expect(DONE, _govern(_guardian(i), 0, abi.encodeCall(governance.resume, ())), "resume");
        }
    }

    /// @dev The owner of a new hospital that is admitted.
    function _hospital(uint160 number) internal returns (address owner, AccountIndex account) {
        owner = address(0x405917a10000 + number);
        IRegistry.Registration memory registration = _registration(owner, Role.Hospital, false);
        account = _register(owner, registration);
        IRegistry.Keys memory keys = _keys(owner, Role.Hospital, false);
        IRegistry.Candidate memory candidate = _candidate(owner, Role.Hospital, 0, keys);
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.admit, (account, candidate))), "admit");
        ordinaryWords.push(_registerEntry(AccountIndex.unwrap(account), Role.Hospital, 0, keys));
    }

    /// @dev The owner of a new patient's account.
    function _patient(uint160 number) internal returns (address owner, AccountIndex account) {
        owner = address(0x9a7160000 + number);
        account = _register(owner, _registration(owner, Role.Patient, false));
        IRegistry.Keys memory keys = _keys(owner, Role.Patient, false);
        ordinaryWords.push(_registerEntry(AccountIndex.unwrap(account), Role.Patient, 0, keys));
    }

    function _revokeAll(address patient) internal {
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        _expect(DONE, _send(patient, 0, abi.encodeCall(IAccountChanges.forceRevoke, (all))), "revoke");
        urgentWords.push(_revokeEntry(AccountIndex.unwrap(rollup.accountOf(patient)), all));
    }

    function _suspend(AccountIndex account) internal {
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.suspend, (account))), "suspend");
        urgentWords.push(_statusEntry(AccountIndex.unwrap(account), 2));
    }

    function _reinstate(AccountIndex account) internal {
        _expect(DONE, _send(REGISTRAR, 0, abi.encodeCall(IRegistry.reinstate, (account))), "reinstate");
        urgentWords.push(_statusEntry(AccountIndex.unwrap(account), 1));
    }

    function _close(address owner) internal {
        _expect(DONE, _send(owner, 0, abi.encodeCall(IAccountChanges.closeAccount, ())), "close");
        urgentWords.push(_statusEntry(AccountIndex.unwrap(rollup.accountOf(owner)), 3));
    }

    /// @dev Everything that waits, in the last size, as a batch whose proof is right.
    function _settleAll(address from) internal returns (bytes4) {
        (uint256 urgents, uint256 ordinaries) = _waiting();
        return _settle(from, urgents, ordinaries, uint8(sizes.length - 1));
    }

    function _settle(address from, uint256 urgents, uint256 ordinaries, uint8 size) internal returns (bytes4) {
        Draft memory draft = _draft(block.timestamp);
        (draft.size, draft.urgent) = (size, uint16(urgents));
        draft.d1 = new uint256[](4 * (urgents + ordinaries));
        uint256 urgentHead = QueueIndex.unwrap(rollup.queueHead(QueueName.Urgent));
        uint256 ordinaryHead = QueueIndex.unwrap(rollup.queueHead(QueueName.Ordinary));
        for (uint256 i = 0; i < draft.d1.length; ++i) {
            draft.d1[i] = i < 4 * urgents
                ? urgentWords[urgentHead + i / 4][i % 4]
                : ordinaryWords[ordinaryHead + i / 4 - urgents][i % 4];
        }
        _announce(draft, BatchNumber.unwrap(rollup.batchCount()) + 1);
        return _send(from, 0, _settleCall(draft));
    }

    function _waiting() internal view returns (uint256 urgents, uint256 ordinaries) {
        urgents = urgentWords.length - QueueIndex.unwrap(rollup.queueHead(QueueName.Urgent));
        ordinaries = ordinaryWords.length - QueueIndex.unwrap(rollup.queueHead(QueueName.Ordinary));
    }

    /// @dev How much time has passed since `start` if it stands still from `from` to `until`.
    function _passed(uint256 start, uint256 time, uint256 from, uint256 until) internal pure returns (uint256) {
        if (time < start) return 0;
        if (from < start) from = start;
        if (until > time) until = time;
        return time - start - (from < until ? until - from : 0);
    }

    function _time(uint256 time) internal pure returns (UnixTime) {
        return UnixTime.wrap(uint40(time));
    }

    function _register(address owner, IRegistry.Registration memory registration) internal returns (AccountIndex) {
        vm.deal(owner, 1000 ether);
        _expect(DONE, _send(owner, FEE, abi.encodeCall(IRegistry.register, (registration))), "register");
        return rollup.accountOf(owner);
    }
}
