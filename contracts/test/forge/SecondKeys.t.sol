// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, Role} from "../../src/Types.sol";
import {Owners} from "./Owners.sol";
import {vm} from "./Vm.sol";

/// @title The second encryption key of an account: who says which one it is
contract SecondKeysTest is Owners {
    uint256 private constant KEY = 0xa11ce;
    address private immutable OWNER = vm.addr(KEY);

    function setUp() external {
        _deploy(_threeSizes());
        _readRsaKey();
        vm.deal(OWNER, 1 ether);
    }

    /// @dev Whatever the hash is, what waits for admission commits to it and to the RSA key.
    function test_the_commitment_covers_it(bytes32 kemHash, bool hospital) external {
        Role role = hospital ? Role.Hospital : Role.Doctor;
        _expect(DONE, _register(_proved(role, kemHash, kemHash)), "registered");
        IRegistry.Keys memory keys = _keys(OWNER, role, false);
        keys.encryptionCommitment = _committed(kemHash);
        bytes32 expected = keccak256(abi.encode(AccountIndex.wrap(1), _candidate(OWNER, role, 0, keys)));
        vm.assertEq(rollup.registrationHash(AccountIndex.wrap(1)), expected, "what waits");
    }

    /// @dev Nobody registers a key for an owner that the owner's RSA key did not sign, and nobody leaves it out.
    function test_the_rsa_key_signs_it(bytes32 proved, bytes32 sent, bool hospital) external {
        if (proved == sent) return;
        Role role = hospital ? Role.Hospital : Role.Doctor;
        _expect(IRegistry.InvalidRsaSignature.selector, _register(_proved(role, proved, sent)), "another one");
        if (proved == 0) return;
        _expect(IRegistry.InvalidRsaSignature.selector, _register(_proved(role, proved, 0)), "none");
    }

    /// @dev Who relays a registration cannot change it, also not to one that an RSA key signed.
    function test_a_relay_does_not_change_it(bytes32 signed, bytes32 sent) external {
        if (signed == sent) return;
        bytes32 structHash = _registrationStruct(OWNER, _proved(Role.Doctor, signed, signed), FAR);
        bytes memory signature = _signed(KEY, structHash);
        IRegistry.Registration memory other = _proved(Role.Doctor, sent, sent);
        bytes memory call = abi.encodeCall(IRegistry.registerFor, (OWNER, other, FAR, signature));
        _expect(IRegistry.InvalidOwnerSignature.selector, _send(STRANGER, FEE, call), "changed");
    }

    /// @dev A hash on chain would tell who a patient is elsewhere. Their commitment covers it.
    function test_a_patient_publishes_none(bytes32 kemHash) external {
        if (kemHash == 0) return;
        IRegistry.Registration memory patient = _registration(OWNER, Role.Patient, false);
        patient.kemHash = kemHash;
        _expect(IRegistry.UnexpectedKemHash.selector, _register(patient), "a registration");
        patient.kemHash = 0;
        _expect(DONE, _register(patient), "registered");
        patient.kemHash = kemHash;
        bytes memory call = abi.encodeCall(IAccountChanges.rotateKeys, (patient));
        _expect(IRegistry.UnexpectedKemHash.selector, _send(OWNER, 0.1 ether, call), "a rotation");
    }

    /// @dev Seven words.
    function test_what_the_rsa_key_signs(uint256 ax, uint256 ay, bool hospital, bytes32 kemHash) external view {
        Role role = hospital ? Role.Hospital : Role.Doctor;
        bytes32 tag = keccak256("emr/rsa/possession/v2");
        uint256 domain = uint256(keccak256(abi.encode(block.chainid, address(rollup)))) >> 8;
        uint256 code = hospital ? 3 : 2;
        bytes memory expected =
            bytes.concat(abi.encode(tag, domain, OWNER), abi.encode(ax, ay, code), abi.encodePacked(kemHash));
        vm.assertEq(expected.length, 224, "its length");
        vm.assertEq(
            keccak256(rollup.possessionMessage(OWNER, ax, ay, role, kemHash)), keccak256(expected), "its words"
        );
    }

    /// @dev A registration that sends one hash, with the proof for another.
    function _proved(Role role, bytes32 proved, bytes32 sent)
        private
        view
        returns (IRegistry.Registration memory registration)
    {
        registration = _registration(OWNER, role, false);
        registration.kemHash = sent;
        registration.rsaSignature = _possession(OWNER, role, false, proved);
    }

    function _register(IRegistry.Registration memory registration) private returns (bytes4) {
        return _send(OWNER, FEE, abi.encodeCall(IRegistry.register, (registration)));
    }
}
