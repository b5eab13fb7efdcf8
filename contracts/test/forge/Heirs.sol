// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IOwnership} from "../../src/IOwnership.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, Standing, UnixTime} from "../../src/Types.sol";
import {Electors} from "./Electors.sol";
import {hashed, vm} from "./Vm.sol";

/// @title How accounts get other owners, in random order: by their owners, and by guardians
abstract contract Heirs is Electors {
    uint256 private constant RECOVERY_DELAY = 7 days;
    uint256 private constant KEEPERS = 3;

    struct Relayed {
        address owner;
        bytes call;
    }

    /// How an account is recovered.
    struct Rescue {
        uint8 needed;
        uint256 round;
        /// The position of the new owner, plus 1; 0 if none waits.
        uint256 next;
        uint256 ripeAt;
    }

    /// What was relayed and done.
    Relayed[] internal relayedCalls;
    mapping(uint24 account => Rescue) private _rescues;

    /// @dev Among four who have the same role: two of them register, two do not.
    function changeOwner(uint256 who, uint256 random) external {
        uint256 to = _sameRole(who, hashed(random, 1));
        (Owner storage owner, Owner storage next) = (owners[_sameRole(who, hashed(random, 2))], owners[to]);
        uint24 account = owner.account;
        bytes32 hash = _changeStruct(AccountIndex.wrap(account), owner.addr, next.addr, owner.nonce, FAR);
        bool forged = random % 8 == 1;
        bytes memory call = abi.encodeCall(
            IOwnership.changeOwner,
            (owner.addr, next.addr, FAR, _signed(owner.key, hash), _signed(forged ? 1000 : next.key, hash))
        );
        bytes4 expected = _admittedError(owner);
        if (expected == DONE && forged) expected = IRegistry.InvalidOwnerSignature.selector;
        if (expected == DONE && !_isFree(next, account)) expected = IRegistry.AlreadyRegistered.selector;
        if (!_does(expected, STRANGER, 0, call)) return;
        relayedCalls.push(Relayed(owner.addr, call));
        _hand(account, to);
        _rescues[account].needed = 0;
    }

    /// @dev The same three guardians for all, of whom some must agree, or none.
    function setGuardians(uint256 who, uint256 random) external {
        Owner storage owner = owners[_sameRole(who, hashed(random, 1))];
        uint8 needed = random % 8 == 0 ? 0 : uint8(1 + hashed(random, 2) % (KEEPERS + 1));
        (address[] memory guardians,) = needed == 0 ? _ascending(new uint256[](0)) : _keepers();
        (bool relayed, bool forged) = (random % 3 == 0, hashed(random, 3) % 8 == 1);
        bytes32 hash = _guardiansStruct(owner.addr, guardians, needed, owner.nonce);
        bytes memory signature = relayed ? _signed(forged ? 1000 : owner.key, hash) : bytes("");
        bytes4 expected = _admittedError(owner);
        if (expected == DONE && relayed && forged) expected = IRegistry.InvalidOwnerSignature.selector;
        if (expected == DONE && needed > KEEPERS) expected = IOwnership.InvalidGuardians.selector;
        bytes memory call = abi.encodeCall(IOwnership.setGuardians, (owner.addr, guardians, needed, FAR, signature));
        if (!_does(expected, relayed ? STRANGER : owner.addr, 0, call)) return;
        // The owner needs no signature, so that they call again is no repetition.
        if (relayed) relayedCalls.push(Relayed(STRANGER, call));
        ++owner.nonce;
        uint24 account = owner.account;
        _nextRound(account);
        _rescues[account].needed = needed;
    }

    function beginRecovery(uint256 who, uint256 random) external {
        (uint256 from, uint256 to) = (_sameRole(who, hashed(random, 1)), _sameRole(who, hashed(random, 2)));
        // Mostly an account with guardians, and somebody who can get it.
        for (uint256 i = 0; i < 4 && random % 4 != 0; ++i) {
            if (_rescues[owners[from].account].needed == 0) from = _sameRole(who, i);
            if (!_isFree(owners[to], owners[from].account)) to = _sameRole(who, 3 - i);
        }
        uint24 account = owners[from].account;
        Rescue storage rescue = _rescues[account];
        Owner storage next = owners[to];
        (address[] memory guardians, uint256[] memory keys) = _keepers();
        bytes32 hash = _recoveryStruct(AccountIndex.wrap(account), next.addr, rescue.round, FAR);
        bool forged = random % 8 == 1;
        bytes[] memory approvals = new bytes[](KEEPERS);
        uint256 given;
        for (uint256 i = 0; i < KEEPERS; ++i) {
            if (hashed(random, 4 + i) % 8 == 0) continue;
            approvals[i] = _signed(keys[i], hash);
            ++given;
        }
        bytes memory call = abi.encodeCall(
            IOwnership.beginRecovery,
            (
                AccountIndex.wrap(account),
                next.addr,
                guardians,
                FAR,
                _signed(forged ? 1000 : next.key, hash),
                approvals
            )
        );
        bytes4 expected = given < rescue.needed ? IOwnership.ApprovalsMissing.selector : DONE;
        if (forged) expected = IRegistry.InvalidOwnerSignature.selector;
        if (!_isFree(next, account)) expected = IRegistry.AlreadyRegistered.selector;
        if (rescue.needed == 0) expected = IOwnership.OtherGuardians.selector;
        if (!_does(expected, STRANGER, 0, call)) return;
        relayedCalls.push(Relayed(next.addr, call));
        _nextRound(account);
        (rescue.next, rescue.ripeAt) = (to + 1, block.timestamp + RECOVERY_DELAY);
    }

    /// @dev Mostly of an account whose recovery waits, and mostly when it is time, or a second earlier.
    function finishRecovery(uint256 who, uint256 random) external {
        uint24 account = owners[_sameRole(who, random)].account;
        for (uint256 i = 0; i < 4 && _rescues[account].next == 0; ++i) account = owners[_sameRole(who, i)].account;
        Rescue storage rescue = _rescues[account];
        if (rescue.next != 0 && block.timestamp < rescue.ripeAt && random % 4 != 0) {
            vm.warp(rescue.ripeAt - (random % 4 == 1 ? 1 : 0));
        }
        bytes4 expected = DONE;
        if (rescue.next == 0) expected = IOwnership.NoRecovery.selector;
        else if (block.timestamp < rescue.ripeAt) expected = IOwnership.RecoveryWaits.selector;
        else if (!_isFree(owners[rescue.next - 1], account)) expected = IRegistry.AlreadyRegistered.selector;
        bytes memory call = abi.encodeCall(IOwnership.finishRecovery, (AccountIndex.wrap(account)));
        if (_does(expected, STRANGER, 0, call)) _hand(account, rescue.next - 1);
    }

    /// @dev The rollup holds these guardians and recoveries.
    function sameRecoveries() external view {
        for (uint24 account = uint24(PASSIVE) + 1; account <= accounts.length; ++account) {
            Rescue storage rescue = _rescues[account];
            IOwnership.Recovery memory it = rollup.recoveryOf(AccountIndex.wrap(account));
            vm.assertEq(it.needed, rescue.needed, "how many guardians must agree");
            vm.assertEq(it.round, rescue.round, "the round");
            vm.assertEq(it.newOwner, rescue.next == 0 ? address(0) : owners[rescue.next - 1].addr, "the new owner that waits");
            vm.assertEq(UnixTime.unwrap(it.ripeAt), rescue.ripeAt, "the end of its wait");
        }
    }

    /// @dev An account gets another owner.
    function _hand(uint24 account, uint256 to) private {
        Account storage it = accounts[account - 1];
        Owner storage owner = owners[it.owner];
        Owner storage next = owners[to];
        owners[it.registrant].gave = account;
        (it.owner, next.account, owner.account) = (to, account, 0);
        (owner.nonce, next.nonce) = (owner.nonce + 1, next.nonce + 1);
        _nextRound(account);
    }

    function _nextRound(uint24 account) private {
        Rescue storage rescue = _rescues[account];
        (rescue.round, rescue.next, rescue.ripeAt) = (rescue.round + 1, 0, 0);
    }

    function _admittedError(Owner storage owner) private view returns (bytes4 expected) {
        expected = _ownerError(owner, false);
        if (expected == DONE && accounts[owner.account - 1].standing < Standing.Admitted) {
            expected = IOwnership.NotAdmitted.selector;
        }
    }

    function _isFree(Owner storage owner, uint24 account) private view returns (bool) {
        return owner.account == 0 && (owner.gave == 0 || owner.gave == account);
    }

    function _keepers() private pure returns (address[] memory, uint256[] memory) {
        return _people(2001, KEEPERS);
    }

    function _sameRole(uint256 who, uint256 random) private pure returns (uint256) {
        uint256 one = 2 * (who % (ACTIVE / 2)) + random % 2;
        return random % 4 < 2 ? one : ACTIVE + PASSIVE + one;
    }
}
