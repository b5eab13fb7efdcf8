// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IOwnership} from "../../src/IOwnership.sol";
import {IQueue} from "../../src/IQueue.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {ISettlement} from "../../src/ISettlement.sol";
import {AccountIndex, Role, Standing} from "../../src/Types.sol";
import {Heirs} from "./Heirs.sol";
import {IRollup} from "./World.sol";
import {FIELD, between, hashed, vm} from "./Vm.sol";

/// @title What owners, the registrar and relays do, in random order
/// @notice Each action makes one call, and demands the outcome that the model foresees: done, or this error.
contract Handler is Heirs {
    uint256 public doctorsOfHospitals;

    constructor() {
        _deploy(_threeSizes());
        _strangersWait(24 hours);
        _beginTerm(SEQUENCER);
        _readRsaKey();
        for (uint256 i = 0; i < ACTIVE + PASSIVE + RESERVE; ++i) {
            uint256 place = i < ACTIVE + PASSIVE ? i : i - ACTIVE - PASSIVE;
            Role role = place < 2 ? Role.Patient : place < 4 ? Role.Doctor : Role.Hospital;
            if (place >= ACTIVE) role = Role.Patient;
            address addr = vm.addr(i + 1);
            owners.push(Owner({addr: addr, key: i + 1, role: role, account: 0, nonce: 0, gave: 0}));
            vm.deal(addr, 1000 ether);
        }
        // Patients whose only part is to flood the urgent queue.
        for (uint256 i = ACTIVE; i < ACTIVE + PASSIVE; ++i) _register(i, false, i % 2 == 0, 0, FEE);
        for (uint256 i = 0; i < 2; ++i) {
            Draft memory draft = _draft(i);
            draft.size = 2;
            draft.d1 = _words(0, PASSIVE / 2);
            _settleAs(office, draft, PASSIVE / 2);
        }
    }

    function deployed() external view returns (IRollup) {
        return rollup;
    }

    function ownersInAll() external view returns (uint256) {
        return owners.length;
    }

    function ownerAt(uint256 i) external view returns (address, uint24) {
        return (owners[i].addr, owners[i].account);
    }

    function registrant(uint24 account) external view returns (address) {
        Account storage it = accounts[account - 1];
        return it.standing == Standing.None ? address(0) : owners[it.registrant].addr;
    }

    function entry(bool urgents, uint256 i) external view returns (uint256[4] memory words, uint256 time) {
        Item storage item = urgents ? urgent[i] : ordinary[i];
        return (item.words, item.time);
    }

    function payersInAll() external view returns (uint256) {
        return owners.length + 2 + KEYS;
    }

    function payer(uint256 i) external view returns (address) {
        if (i < owners.length) return owners[i].addr;
        i -= owners.length;
        return i < KEYS ? _key(i) : i == KEYS ? REGISTRAR : STRANGER;
    }

    function register(uint256 who, bool relayed, bool second, uint256 value) external {
        // The organisation is a hospital, an account that is no hospital, or none.
        uint24 org = hashed(value, 1) % 4 == 0 ? uint24(hashed(value, 2) % 60) : owners[4 + value % 2].account;
        if (owners[who % ACTIVE].role != Role.Doctor && hashed(value, 3) % 8 != 0) org = 0;
        // Doctors mostly wait for a hospital.
        if (owners[who % ACTIVE].role == Role.Doctor && org == 0 && hashed(value, 4) % 8 != 0) return;
        _register(who % ACTIVE, relayed, second, org, value % 8 == 0 ? value % FEE : registrationFee);
    }

    function endorse(uint256 who, uint256 whom, bool withdraw) external {
        Owner storage owner = owners[who % 8 == 0 ? who % ACTIVE : 4 + who % 2];
        address doctor = owners[2 + whom % 2].addr;
        bytes4 expected = _isHospital(owner.account) ? DONE : IRegistry.NotAdmittedHospital.selector;
        // One of four: else no doctor is ever admitted.
        withdraw = withdraw && whom % 4 < 2;
        bytes memory call = withdraw
            ? abi.encodeCall(IRegistry.withdrawEndorsement, (doctor))
            : abi.encodeCall(IRegistry.endorse, (doctor));
        if (_does(expected, owner.addr, 0, call)) endorsed[owner.account][doctor] = !withdraw;
    }

    function admit(uint256 random) external {
        uint24 account = _anyAccount(random);
        Account storage it = accounts[account - 1];
        IRegistry.Candidate memory candidate =
            _candidate(owners[it.owner].addr, it.role, it.org, _keys(owners[it.owner].addr, it.role, it.second));
        // A registration with another key than the one that the registrar checked.
        bool other = random % 7 == 0;
        if (other) (candidate.keys.ax, candidate.keys.ay) = (candidate.keys.ay, candidate.keys.ax);
        bytes4 expected = it.standing != Standing.Pending
            ? IRegistry.NotPending.selector
            : other ? IRegistry.RegistrationChanged.selector : _consentError(it.org, owners[it.owner].addr);
        bytes memory call = abi.encodeCall(IRegistry.admit, (AccountIndex.wrap(account), candidate));
        if (_does(expected, REGISTRAR, 0, call)) {
            _pushOrdinary(account);
            if (it.org != 0) ++doctorsOfHospitals;
            if (it.role == Role.Hospital) _hospitalChanged(account, true);
        }
    }

    function suspend(uint256 random, uint256 value) external {
        uint24 account = _anyAccount(random);
        Account storage it = accounts[account - 1];
        value %= 1 ether;
        bytes memory call = abi.encodeCall(IRegistry.suspend, (AccountIndex.wrap(account)));
        if (it.standing == Standing.Pending) {
            if (_does(value == 0 ? DONE : IRegistry.WrongFee.selector, REGISTRAR, value, call)) {
                it.standing = Standing.Withheld;
            }
            return;
        }
        bytes4 expected = it.role == Role.Patient
            ? IRegistry.PatientsAreNotSuspended.selector
            : it.standing != Standing.Admitted ? IRegistry.NotPending.selector : _changeError(account, Kind.Status, value);
        if (_does(expected, REGISTRAR, value, call)) {
            it.standing = Standing.Suspended;
            if (it.role == Role.Hospital) _hospitalChanged(account, false);
            _pushUrgent(account, Kind.Status, _statusEntry(account, 2), REGISTRAR, value);
        }
    }

    function reinstate(uint256 random, uint256 value) external {
        uint24 account = _anyAccount(random);
        Account storage it = accounts[account - 1];
        value %= 1 ether;
        bytes memory call = abi.encodeCall(IRegistry.reinstate, (AccountIndex.wrap(account)));
        if (it.standing == Standing.Withheld) {
            if (_does(value == 0 ? DONE : IRegistry.WrongFee.selector, REGISTRAR, value, call)) {
                it.standing = Standing.Pending;
            }
            return;
        }
        bytes4 expected = it.standing != Standing.Suspended
            ? IRegistry.NotSuspended.selector
            : _changeError(account, Kind.Status, value);
        if (_does(expected, REGISTRAR, value, call)) {
            it.standing = Standing.Admitted;
            if (it.role == Role.Hospital) _hospitalChanged(account, true);
            _pushUrgent(account, Kind.Status, _statusEntry(account, 1), REGISTRAR, value);
        }
    }

    function rotateKeys(uint256 who, bool second, bool relayed, uint256 value) external {
        _rotate(who % ACTIVE, second, relayed, value % 1 ether);
    }

    function closeAccount(uint256 who, bool relayed, uint256 value) external {
        // Accounts do not reopen, so most are of passive patients.
        Owner storage owner = owners[who % 32 == 0 ? who / 32 % ACTIVE : ACTIVE + who % PASSIVE];
        value %= 1 ether;
        bytes4 expected = _ownerError(owner, true);
        if (expected == DONE) expected = _changeError(owner.account, Kind.Status, value);
        bytes memory call = abi.encodeCall(IAccountChanges.closeAccount, ());
        if (relayed) {
            bytes memory signature = _signed(owner.key, _closingStruct(owner.addr, owner.nonce, FAR));
            call = abi.encodeCall(IAccountChanges.closeAccountFor, (owner.addr, FAR, signature));
        }
        if (_doesFor(owner, relayed, expected, value, call)) {
            bool counted = _isHospital(owner.account);
            accounts[owner.account - 1].standing = Standing.Closed;
            if (counted) _hospitalChanged(owner.account, false);
            uint256[4] memory words = _statusEntry(owner.account, 3);
            _pushUrgent(owner.account, Kind.Status, words, relayed ? STRANGER : owner.addr, value);
        }
    }

    function forceRevoke(uint256 who, uint256 fields, bool relayed, uint256 value) external {
        _revoke(who % ACTIVE, _revocation(fields), relayed, value % 1 ether);
    }

    /// @dev Every passive patient adds what they can.
    function flood(uint256 random) external {
        for (uint256 i = ACTIVE; i < owners.length; ++i) {
            uint256 own = hashed(random, i);
            IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
            _revoke(i, all, false, own % 0.02 ether);
            all.all = false;
            _revoke(i, all, own % 2 == 0, own % 0.02 ether);
            _rotate(i, own % 3 == 0, false, own % 0.02 ether);
        }
    }

    function withdrawRegistration(uint256 who) external {
        Owner storage owner = owners[who % ACTIVE];
        bytes4 expected = _ownerError(owner, false);
        if (expected == DONE) {
            Standing now_ = accounts[owner.account - 1].standing;
            if (now_ != Standing.Pending && now_ != Standing.Withheld) expected = IRegistry.NotPending.selector;
        }
        if (_does(expected, owner.addr, 0, abi.encodeCall(IAccountChanges.withdrawRegistration, ()))) {
            delete accounts[owner.account - 1];
            owner.account = 0;
            ++owner.nonce;
        }
    }

    /// @dev What was relayed once is refused the second time, from any sender and with any payment.
    function repeat(uint256 random) external {
        if (relayedCalls.length == 0) return;
        Relayed storage message = relayedCalls[random % relayedCalls.length];
        bytes4 what = bytes4(message.call);
        bool ofOwnership = what == IOwnership.changeOwner.selector || what == IOwnership.setGuardians.selector
            || what == IOwnership.beginRecovery.selector;
        uint256 value = what == IRegistry.registerFor.selector ? registrationFee : ofOwnership ? 0 : 1 ether;
        bytes4 got = _send(random % 2 == 0 ? STRANGER : message.owner, value, message.call);
        // A former owner may have no account, and an account no guardians any more.
        bool none = got == IAccountChanges.NotRegistered.selector || got == IOwnership.NotAdmitted.selector
            || got == IOwnership.OtherGuardians.selector;
        vm.assertTrue(
            got == IRegistry.InvalidOwnerSignature.selector || got == IRegistry.AlreadyRegistered.selector
                || got == IRegistry.RelayedRegistrationUsed.selector || (none && ofOwnership),
            "a signed message counts twice"
        );
    }

    function collectFees(bool bySequencer) external {
        address to = address(0xfee);
        bytes memory call = abi.encodeCall(ISettlement.collectFees, (payable(to)));
        uint256 before = to.balance;
        if (_does(bySequencer ? DONE : ISettlement.NotSequencer.selector, bySequencer ? office : STRANGER, 0, call)) {
            vm.assertEq(to.balance - before, fees, "the fees are collected");
            fees = 0;
        }
    }

    function withdrawCredit(uint256 who, bool refused) external {
        address from = who % 3 == 0 ? STRANGER : who % 3 == 1 ? REGISTRAR : owners[who % owners.length].addr;
        // Who was the sequencer.
        if (who % 5 == 0) from = _official(who / 5);
        // The verifier takes no ether.
        address to = refused ? sizes[0].verifier : address(0xc4ed17);
        bytes4 expected =
            credit[from] == 0 ? IQueue.NoCredit.selector : refused ? IQueue.TransferFailed.selector : DONE;
        uint256 before = to.balance;
        if (_does(expected, from, 0, abi.encodeCall(IQueue.withdrawCredit, (payable(to))))) {
            vm.assertEq(to.balance - before, credit[from], "the credit is paid");
            creditInAll -= credit[from];
            credit[from] = 0;
        }
    }

    /// @dev Ether that nobody can refuse, as a validator's reward. It goes where the fees go.
    function donate(uint256 amount) external {
        amount %= 1 ether;
        vm.deal(address(rollup), address(rollup).balance + amount);
        fees += amount;
    }

    function pass(uint256 seconds_) external {
        vm.warp(block.timestamp + between(seconds_, 1, seconds_ % 5 == 0 ? 30 hours : 3 hours));
        // To the end of a halt, or shortly before it.
        if (halted() && seconds_ % 3 == 0) {
            uint256 until = halts[halts.length - 1].until;
            uint256 end = until - (seconds_ % 2 == 0 ? 0 : hashed(seconds_, 1) % 4 hours);
            if (end > block.timestamp) vm.warp(end);
        }
    }

    function _register(uint256 who, bool relayed, bool second, uint24 org, uint256 value) private {
        Owner storage owner = owners[who];
        IRegistry.Registration memory registration = _registration(owner.addr, owner.role, second);
        registration.org = AccountIndex.wrap(org);
        bytes memory call = abi.encodeCall(IRegistry.register, (registration));
        if (relayed) {
            bytes memory signature = _signed(owner.key, _registrationStruct(owner.addr, registration, FAR));
            call = abi.encodeCall(IRegistry.registerFor, (owner.addr, registration, FAR, signature));
        }
        bytes4 expected = _registerError(owner, relayed, org, value);
        if (!_does(expected, relayed ? STRANGER : owner.addr, value, call)) return;
        if (relayed) relayedCalls.push(Relayed(owner.addr, call));
        fees += registrationFee;
        accounts.push(Account(who, who, owner.role, Standing.Pending, org, second, false));
        owner.account = uint24(accounts.length);
        if (owner.role == Role.Patient) _pushOrdinary(owner.account);
    }

    function _rotate(uint256 who, bool second, bool relayed, uint256 value) private {
        Owner storage owner = owners[who];
        IRegistry.Registration memory registration = _registration(owner.addr, owner.role, second);
        // Some rotations name another organisation.
        bool moves = value % 16 == 0;
        uint24 org = owner.account == 0 ? 0 : accounts[owner.account - 1].org;
        registration.org = AccountIndex.wrap(moves ? org + 1 : org);
        bytes memory call = abi.encodeCall(IAccountChanges.rotateKeys, (registration));
        if (relayed) {
            bytes32 structHash = _rotationStruct(owner.addr, registration, owner.nonce, FAR);
            bytes memory signature = _signed(owner.key, structHash);
            call = abi.encodeCall(IAccountChanges.rotateKeysFor, (owner.addr, registration, FAR, signature));
        }
        bytes4 expected = _ownerError(owner, true);
        if (expected == DONE && moves) expected = IAccountChanges.AnotherRole.selector;
        if (expected == DONE) expected = _changeError(owner.account, Kind.Keys, value);
        if (_doesFor(owner, relayed, expected, value, call)) {
            uint256[4] memory words = _rotateEntry(owner.account, _keys(owner.addr, owner.role, second));
            _pushUrgent(owner.account, Kind.Keys, words, relayed ? STRANGER : owner.addr, value);
        }
    }

    function _revoke(uint256 who, IAccountChanges.Revocation memory revocation, bool relayed, uint256 value) private {
        Owner storage owner = owners[who];
        Kind kind = revocation.all ? Kind.RevokeAll : Kind.RevokeSlot;
        bytes4 expected = _ownerError(owner, false);
        if (expected == DONE && owner.role != Role.Patient) expected = IAccountChanges.NotPatient.selector;
        bool fits = revocation.slot < (revocation.all ? 1 : 1024)
            && revocation.directory < (revocation.replaceDirectory ? 2 ** 248 : 1);
        if (expected == DONE && !fits) expected = IAccountChanges.InvalidRevocation.selector;
        if (expected == DONE) expected = _changeError(owner.account, kind, value);
        bytes memory call = abi.encodeCall(IAccountChanges.forceRevoke, (revocation));
        if (relayed) {
            bytes memory signature = _signed(owner.key, _revocationStruct(owner.addr, revocation, owner.nonce, FAR));
            call = abi.encodeCall(IAccountChanges.forceRevokeFor, (owner.addr, revocation, FAR, signature));
        }
        if (_doesFor(owner, relayed, expected, value, call)) {
            uint256[4] memory words = _revokeEntry(owner.account, revocation);
            _pushUrgent(owner.account, kind, words, relayed ? STRANGER : owner.addr, value);
        }
    }

    function _revocation(uint256 random) private pure returns (IAccountChanges.Revocation memory it) {
        it.all = random % 2 == 0;
        it.slot = it.all && random % 16 != 0 ? 0 : uint16(hashed(random, 1) % 1040);
        it.replaceDirectory = random % 4 < 2;
        if (it.replaceDirectory) it.directory = hashed(random, 2) % (random % 32 < 2 ? FIELD : 2 ** 248);
        else if (random % 64 < 4) it.directory = 1;
    }

    function _anyAccount(uint256 random) private view returns (uint24) {
        // Mostly one of the accounts that are not passive.
        uint256 first = accounts.length > PASSIVE && random % 16 != 0 ? PASSIVE + 1 : 1;
        return uint24(between(hashed(random, 3), first, accounts.length));
    }

    function _doesFor(Owner storage owner, bool relayed, bytes4 expected, uint256 value, bytes memory call)
        private
        returns (bool)
    {
        if (!_does(expected, relayed ? STRANGER : owner.addr, value, call)) return false;
        if (relayed) {
            relayedCalls.push(Relayed(owner.addr, call));
            ++owner.nonce;
        }
        return true;
    }
}
