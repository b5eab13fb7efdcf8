// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {Role, Standing} from "../../src/Types.sol";
import {Settler} from "./Settler.sol";
import {vm} from "./Vm.sol";

/// @title Many patients who fill the queues
abstract contract Crowd is Settler {
    /// What each change carries. More than any fee here.
    uint256 internal constant CARRIED = 1 ether;

    /// @dev The model of a rollup that was deployed just now.
    function _begin() internal {
        _strangersWait(24 hours);
    }

    /// @dev New patients, whose registrations the sequencer settles. The last size must be the largest.
    function _settledPatients(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) _newPatient();
        Draft memory draft = _draft(0);
        draft.size = uint8(sizes.length - 1);
        draft.d1 = _words(0, count);
        _settleAs(SEQUENCER, draft, count);
    }

    function _newPatient() internal {
        address addr = address(uint160(0x10000 + owners.length));
        vm.deal(addr, 1e6 ether);
        bytes memory call = abi.encodeCall(IRegistry.register, (_registration(addr, Role.Patient, false)));
        _expect(DONE, _send(addr, FEE, call), "register");
        fees += FEE;
        accounts.push(Account(owners.length, owners.length, Role.Patient, Standing.Pending, 0, false, false));
        owners.push(
            Owner({addr: addr, key: 0, role: Role.Patient, account: uint24(accounts.length), nonce: 0, gave: 0})
        );
        _pushOrdinary(uint24(accounts.length));
    }

    function _revokeAll(uint256 owner) internal {
        _revoke(owner, Kind.RevokeAll, IAccountChanges.Revocation(true, 0, false, 0));
    }

    function _revokeSlot(uint256 owner) internal {
        _revoke(owner, Kind.RevokeSlot, IAccountChanges.Revocation(false, 1023, true, 1));
    }

    function _rotateKeys(uint256 owner, bool second) internal {
        address addr = owners[owner].addr;
        bytes memory call = abi.encodeCall(IAccountChanges.rotateKeys, (_registration(addr, Role.Patient, second)));
        uint256[4] memory words = _rotateEntry(owners[owner].account, _keys(addr, Role.Patient, second));
        _add(owner, Kind.Keys, call, words);
    }

    function _close(uint256 owner) internal {
        bytes memory call = abi.encodeCall(IAccountChanges.closeAccount, ());
        _add(owner, Kind.Status, call, _statusEntry(owners[owner].account, 3));
    }

    function _revoke(uint256 owner, Kind kind, IAccountChanges.Revocation memory revocation) private {
        bytes memory call = abi.encodeCall(IAccountChanges.forceRevoke, (revocation));
        _add(owner, kind, call, _revokeEntry(owners[owner].account, revocation));
    }

    function _add(uint256 owner, Kind kind, bytes memory call, uint256[4] memory words) private {
        address addr = owners[owner].addr;
        bytes4 expected = _changeError(owners[owner].account, kind, CARRIED);
        _expect(expected, _send(addr, CARRIED, call), "a change");
        if (expected == DONE) _pushUrgent(owners[owner].account, kind, words, addr, CARRIED);
    }
}
