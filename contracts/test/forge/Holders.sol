// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IOwnership} from "../../src/IOwnership.sol";
import {AccountIndex, Role, UnixTime} from "../../src/Types.sol";
import {Governing} from "./Governing.sol";
import {vm} from "./Vm.sol";

/// @title What tests of ownership need: people with keys, and what they sign
/// @notice A person is a number, which is also their key.
abstract contract Holders is Governing {
    uint256 internal constant RIPE = 7 days;

    /// @dev A new patient's account.
    function _newPatient(uint256 person) internal returns (AccountIndex account) {
        account = _register(vm.addr(person), _registration(vm.addr(person), Role.Patient, false));
        ordinaryWords.push(
            _registerEntry(AccountIndex.unwrap(account), Role.Patient, 0, _keys(vm.addr(person), Role.Patient, false))
        );
    }

    /// @dev The call in which one person gives their account to another one, with both signatures.
    function _changeCall(uint256 person, uint256 next) internal view returns (bytes memory) {
        (address owner, address newOwner) = (vm.addr(person), vm.addr(next));
        bytes32 hash = _changeStruct(rollup.accountOf(owner), owner, newOwner, rollup.nonces(owner), FAR);
        return abi.encodeCall(
            IOwnership.changeOwner, (owner, newOwner, FAR, _signed(person, hash), _signed(next, hash))
        );
    }

    function _changes(uint256 person, uint256 next) internal {
        bytes memory call = _changeCall(person, next);
        _expect(DONE, _send(STRANGER, 0, call), "change of the owner");
    }

    function _sets(address owner, address[] memory guardians, uint8 needed) internal returns (bytes4) {
        return _send(owner, 0, abi.encodeCall(IOwnership.setGuardians, (owner, guardians, needed, 0, "")));
    }

    /// @dev The call in which an owner names guardians, with their signature.
    function _setCall(uint256 person, address[] memory guardians, uint8 needed) internal view returns (bytes memory) {
        address owner = vm.addr(person);
        bytes32 hash = _guardiansStruct(owner, guardians, needed, rollup.nonces(owner));
        return abi.encodeCall(IOwnership.setGuardians, (owner, guardians, needed, FAR, _signed(person, hash)));
    }

    /// @dev The approvals of those guardians whose bit is set, for the present round.
    function _approvals(AccountIndex account, uint256 next, uint256[] memory keys, uint256 bits)
        internal
        view
        returns (bytes[] memory approvals)
    {
        bytes32 hash = _recoveryStruct(account, vm.addr(next), rollup.recoveryOf(account).round, FAR);
        approvals = new bytes[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) if (bits >> i & 1 == 1) approvals[i] = _signed(keys[i], hash);
    }

    function _beginCall(AccountIndex account, uint256 next, address[] memory guardians, bytes[] memory approvals)
        internal
        view
        returns (bytes memory)
    {
        bytes32 hash = _recoveryStruct(account, vm.addr(next), rollup.recoveryOf(account).round, FAR);
        return abi.encodeCall(
            IOwnership.beginRecovery, (account, vm.addr(next), guardians, FAR, _signed(next, hash), approvals)
        );
    }

    function _finish(AccountIndex account) internal returns (bytes4) {
        return _send(STRANGER, 0, abi.encodeCall(IOwnership.finishRecovery, (account)));
    }

    function _owns(uint256 person, AccountIndex account, uint256 registrant) internal view {
        vm.assertEq(rollup.ownerOf(account), vm.addr(person), "the owner");
        vm.assertEq(AccountIndex.unwrap(rollup.accountOf(vm.addr(person))), AccountIndex.unwrap(account), "the account");
        vm.assertEq(rollup.registrantOf(account), vm.addr(registrant), "the registrant");
    }

    function _isPending(AccountIndex account, address newOwner, uint256 ripeAt) internal view {
        vm.assertEq(rollup.recoveryOf(account).newOwner, newOwner, "the new owner that waits");
        vm.assertEq(UnixTime.unwrap(rollup.recoveryOf(account).ripeAt), ripeAt, "the time from which on");
    }

    function _revokes(address owner) internal returns (bytes4) {
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        return _send(owner, 0, abi.encodeCall(IAccountChanges.forceRevoke, (all)));
    }
}
