// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, Role} from "../../src/Types.sol";
import {OddWallet} from "./Attackers.sol";
import {Owners} from "./Owners.sol";
import {vm} from "./Vm.sol";

/// @title Owners that are contracts (ERC-1271), and do what no honest wallet does
contract WalletsTest is Owners {
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
        // The wallet's own memory costs 2.2 million gas. A copy of it would cost the same once more.
        vm.assertTrue(before - gasleft() - plain < 3_000_000, "the answer is copied");
    }

    /// @dev A wallet that burns all gas leaves a 64th, which is enough to refuse, so a relay always gets an answer.
    function test_a_wallet_that_burns_gas_is_refused(uint256 gas_) external {
        gas_ = 300_000 + gas_ % 5_000_000;
        bytes4 got = _relay(OddWallet.Answer.BurnGas, gas_);
        vm.assertTrue(got == IRegistry.InvalidOwnerSignature.selector || got == NO_REASON, "refused");
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
