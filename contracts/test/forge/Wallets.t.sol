// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, QueueIndex, QueueName, Role, Standing} from "../../src/Types.sol";
import {OddWallet} from "./Attackers.sol";
import {Governing} from "./Governing.sol";
import {vm} from "./Vm.sol";

/// @title Owners that are contracts (ERC-1271), and do what no honest wallet does
contract WalletsTest is Governing {
    /// The most gas of a relay (`RELAY_GAS_CAP` in `emr-chain`).
    uint256 private constant MOST_GAS = 1_000_000;
    uint256 private constant CHANGES = 3;

    OddWallet private _wallet;

    function setUp() external {
        _deploy(_threeSizes());
        _wallet = new OddWallet();
        vm.deal(address(_wallet), 1 ether);
    }

    function test_a_wallet_that_agrees_is_registered() external {
        _expect(DONE, _relay(OddWallet.Answer.Yes, 1_000_000), "registered");
        vm.assertEq(AccountIndex.unwrap(rollup.accountOf(address(_wallet))), 1, "its account");
    }

    /// @dev Whatever a wallet answers instead of a yes, the call is refused, and nothing is registered.
    function test_every_other_answer_is_refused() external {
        for (uint256 i = 1; i <= uint256(type(OddWallet.Answer).max); ++i) {
            OddWallet.Answer answer = OddWallet.Answer(i);
            if (answer == OddWallet.Answer.Endless) continue;
            if (answer == OddWallet.Answer.CallBack) _wallet.prepare(address(rollup), _registerCall());
            _expect(IRegistry.InvalidOwnerSignature.selector, _relay(answer, 10_000_000), "refused");
            vm.assertEq(rollup.accountCount(), 0, "nothing is registered");
        }
    }

    /// @dev What follows a yes is not copied: a wallet makes its relay no more expensive than by burning gas itself.
    function test_an_endless_yes_is_a_yes() external {
        uint256 before = gasleft();
        _expect(DONE, _relay(OddWallet.Answer.Yes, 10_000_000), "registered");
        uint256 plain = before - gasleft();

        _wallet = new OddWallet();
        before = gasleft();
        _expect(DONE, _relay(OddWallet.Answer.Endless, 10_000_000), "registered");
        // The wallet's own memory costs 570,000 gas. A copy of it would cost the same once more.
        vm.assertTrue(before - gasleft() - plain < 1_000_000, "the answer is copied");
    }

    /// @dev A wallet that burns all gas leaves a 64th, which is enough to refuse, so a relay always gets an answer.
    function test_a_wallet_that_burns_gas_is_refused(uint256 gas_) external {
        gas_ = 100_000 + gas_ % 5_000_000;
        _expect(IRegistry.InvalidOwnerSignature.selector, _relay(OddWallet.Answer.BurnGas, gas_), "refused");
        vm.assertEq(rollup.accountCount(), 0, "nothing is registered");
        vm.assertEq(rollup.nonces(address(_wallet)), 0, "no nonce is used");
    }

    /// @dev A wallet that says yes to everything speaks for itself only.
    function test_a_yes_is_for_the_wallet_alone(address owner) external {
        if (owner.code.length != 0 || uint160(owner) < 0x1000) return;
        _wallet.choose(OddWallet.Answer.Yes);
        IRegistry.Registration memory registration = _registration(owner, Role.Patient, false);
        bytes memory call = abi.encodeCall(IRegistry.registerFor, (owner, registration, type(uint256).max, ""));
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(address(_wallet), FEE, call), "refused");
    }

    /// @dev A nonce that a refused call used is not used.
    function test_a_refused_change_uses_no_nonce() external {
        _expect(DONE, _relay(OddWallet.Answer.Yes, 1_000_000), "registered");
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        address owner = address(_wallet);
        bytes memory call = abi.encodeCall(IAccountChanges.forceRevokeFor, (owner, all, type(uint256).max, ""));
        _wallet.choose(OddWallet.Answer.RevertEndless);
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, 0, call), "refused");
        vm.assertEq(rollup.nonces(address(_wallet)), 0, "no nonce is used");
    }

    /// @dev Each change that can be relayed, with each answer, within the gas of a relay: a yes is one, also an endless one, and everything else
    /// is refused with this error and changes nothing. The next honest call is done.
    function test_a_change_by_a_wallet_is_done_or_refused() external {
        _admittedWallet();
        for (uint256 change = 0; change < CHANGES; ++change) {
            for (uint256 i = 0; i <= uint256(type(OddWallet.Answer).max); ++i) {
                OddWallet.Answer answer = OddWallet.Answer(i);
                _wallet.choose(answer);
                if (answer == OddWallet.Answer.Yes || answer == OddWallet.Answer.Endless) continue;
                // It calls as the owner, and it relays what it is asked about. An empty call to nobody would be done.
                for (uint256 again = 0; again < (answer == OddWallet.Answer.CallBack ? 2 : 1); ++again) {
                    _wallet.prepare(address(rollup), again == 0 ? _ownCall(change) : _relayedCall(change));
                    _isRefused(change, MOST_GAS);
                }
            }
            uint256 here = vm.snapshotState();
            _isDone(change, OddWallet.Answer.Endless);
            vm.revertToStateAndDelete(here);
            _isDone(change, OddWallet.Answer.Yes);
        }
        // What was refused left nothing behind it: a batch of the three entries is right.
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        (uint256 urgents,) = _waiting();
        vm.assertEq(urgents, 0, "everything is settled");
        vm.assertEq(rollup.creditOf(STRANGER), CHANGES * 1 ether, "credit");
        vm.assertEq(address(rollup).balance, FEE + CHANGES * 1 ether, "the fee and the credit");
    }

    /// @dev However much gas a relay has, a wallet that burns all it gets is refused with the error, and not for want of gas.
    function test_a_change_by_a_wallet_that_burns_gas_is_refused(uint256 gas_) external {
        _admittedWallet();
        for (uint256 change = 0; change < CHANGES; ++change) {
            _wallet.choose(OddWallet.Answer.BurnGas);
            _isRefused(change, 100_000 + gas_ % (MOST_GAS - 100_000 + 1));
            _wallet.choose(OddWallet.Answer.Write);
            _isRefused(change, 100_000 + gas_ % (MOST_GAS - 100_000 + 1));
        }
    }

    /// @dev The same for changes: nobody asks it about the account of another owner.
    function test_a_yes_changes_no_other_account() external {
        _admittedWallet();
        (address patient,) = _patient(1);
        _expect(DONE, _settleAll(SEQUENCER), "settle");
        _wallet.choose(OddWallet.Answer.Yes);
        bytes32 before = _all();
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        IRegistry.Registration memory keys = _registration(patient, Role.Patient, true);
        bytes[CHANGES] memory calls = [
            abi.encodeCall(IAccountChanges.forceRevokeFor, (patient, all, FAR, "any")),
            abi.encodeCall(IAccountChanges.rotateKeysFor, (patient, keys, FAR, "any")),
            abi.encodeCall(IAccountChanges.closeAccountFor, (patient, FAR, "any"))
        ];
        for (uint256 i = 0; i < CHANGES; ++i) {
            bytes4 got = _send(address(_wallet), 0, calls[i]);
            _expect(IRegistry.InvalidOwnerSignature.selector, got, "for another owner");
        }
        vm.assertEq(_all(), before, "a refused call changes something");
    }

    /// @dev A wallet whose registration as a patient is settled.
    function _admittedWallet() private {
        _wallet.choose(OddWallet.Answer.Yes);
        _expect(DONE, _relay(OddWallet.Answer.Yes, MOST_GAS), "registered");
        ordinaryWords.push(_registerEntry(1, Role.Patient, 0, _keys(address(_wallet), Role.Patient, false)));
        _expect(DONE, _settleAll(SEQUENCER), "settle");
    }

    function _isRefused(uint256 change, uint256 gas_) private {
        bytes32 before = _all();
        bytes memory reason = abi.encodeWithSelector(IRegistry.InvalidOwnerSignature.selector, address(_wallet));
        (bool done, bytes memory got) = _relayed(change, gas_);
        vm.assertTrue(!done, "done without a yes");
        // The whole error, so nothing of the wallet's own reason.
        vm.assertEq(keccak256(got), keccak256(reason), "the error");
        vm.assertEq(_all(), before, "a refused call changes something");
    }

    function _isDone(uint256 change, OddWallet.Answer answer) private {
        _wallet.choose(answer);
        address owner = address(_wallet);
        uint256 nonce = rollup.nonces(owner);
        uint256 credit = rollup.creditOf(STRANGER);
        uint256 balance = address(rollup).balance;
        uint256 length = urgentWords.length;
        (bool done,) = _relayed(change, MOST_GAS);
        vm.assertTrue(done, "a wallet that agrees");
        urgentWords.push(
            change == 0
                ? _revokeEntry(1, IAccountChanges.Revocation(true, 0, false, 0))
                : change == 1 ? _rotateEntry(1, _keys(owner, Role.Patient, true)) : _statusEntry(1, 3)
        );
        vm.assertEq(QueueIndex.unwrap(rollup.queueLength(QueueName.Urgent)), length + 1, "one entry");
        (bytes27 hash,) = rollup.queueEntry(QueueName.Urgent, QueueIndex.wrap(uint56(length)));
        bytes32 words = keccak256(abi.encode(urgentWords[length]));
        vm.assertEq(bytes32(hash), words >> 40 << 40, "the entry");
        vm.assertEq(rollup.nonces(owner), nonce + 1, "the nonce");
        vm.assertEq(rollup.creditOf(STRANGER), credit + 1 ether, "credit");
        vm.assertEq(address(rollup).balance, balance + 1 ether, "balance");
        Standing standing = rollup.accountAt(AccountIndex.wrap(1)).standing;
        vm.assertTrue(standing == (change == 2 ? Standing.Closed : Standing.Admitted), "standing");
    }

    /// @dev Somebody relays a change with more ether than it costs.
    function _relayed(uint256 change, uint256 gas_) private returns (bool, bytes memory) {
        bytes memory call = _relayedCall(change);
        vm.prank(STRANGER, STRANGER);
        return address(rollup).call{value: 1 ether, gas: gas_}(call);
    }

    function _relayedCall(uint256 change) private view returns (bytes memory) {
        address owner = address(_wallet);
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        if (change == 0) return abi.encodeCall(IAccountChanges.forceRevokeFor, (owner, all, FAR, "any"));
        if (change == 2) return abi.encodeCall(IAccountChanges.closeAccountFor, (owner, FAR, "any"));
        IRegistry.Registration memory keys = _registration(owner, Role.Patient, true);
        return abi.encodeCall(IAccountChanges.rotateKeysFor, (owner, keys, FAR, "any"));
    }

    function _ownCall(uint256 change) private view returns (bytes memory) {
        IAccountChanges.Revocation memory all = IAccountChanges.Revocation(true, 0, false, 0);
        if (change == 0) return abi.encodeCall(IAccountChanges.forceRevoke, (all));
        if (change == 2) return abi.encodeCall(IAccountChanges.closeAccount, ());
        return abi.encodeCall(IAccountChanges.rotateKeys, (_registration(address(_wallet), Role.Patient, true)));
    }

    /// @dev Everything that a relayed call could change.
    function _all() private view returns (bytes32) {
        address owner = address(_wallet);
        return keccak256(
            abi.encode(
                [
                    QueueIndex.unwrap(rollup.queueLength(QueueName.Urgent)),
                    QueueIndex.unwrap(rollup.queueLength(QueueName.Ordinary)),
                    rollup.nonces(owner),
                    rollup.nonces(STRANGER),
                    rollup.creditOf(owner),
                    rollup.creditOf(STRANGER),
                    address(rollup).balance,
                    owner.balance,
                    STRANGER.balance,
                    uint256(rollup.accountAt(AccountIndex.wrap(1)).standing),
                    AccountIndex.unwrap(rollup.accountOf(owner)),
                    uint256(vm.load(address(_wallet), bytes32(uint256(1))))
                ]
            )
        );
    }

    function _registerCall() private view returns (bytes memory) {
        IRegistry.Registration memory registration = _registration(address(_wallet), Role.Patient, false);
        return abi.encodeCall(IRegistry.register, (registration));
    }

    /// @dev Somebody relays the wallet's registration with this much gas.
    function _relay(OddWallet.Answer answer, uint256 gas_) private returns (bytes4) {
        _wallet.choose(answer);
        address owner = address(_wallet);
        IRegistry.Registration memory registration = _registration(owner, Role.Patient, false);
        bytes memory call = abi.encodeCall(IRegistry.registerFor, (owner, registration, type(uint256).max, "any"));
        vm.prank(STRANGER, STRANGER);
        (bool done, bytes memory reason) = address(rollup).call{value: FEE, gas: gas_}(call);
        if (done) return DONE;
        return reason.length < 4 ? NO_REASON : bytes4(reason);
    }
}
